"""`x[i, j]` and `x[i, j] = y` by tensors of integers and masks, and their relatives take, put, index_select.

The indices of one call stand for axes of x: None leaves an axis alone, a mask of rank k stands for k
axes, its NonZero for k vectors of integers.  Integers broadcast together to I.  Where their axes are
neighbours, I takes their place in the result; else it comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import onnx_ir as ir
import torch

from aten_lowering.axes import arange_axis, axis_of, is_arange
from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.elementwise import compressed, where
from aten_lowering.errors import OpsetError
from aten_lowering.promotion import Operand, as_value
from aten_lowering.registry import lowers
from aten_lowering.rules.layouts import broadcast_sizes
from aten_lowering.rules.reshapes import flat
from shape_inference import Size, product

aten = torch.ops.aten

_MASKS = (ir.DataType.BOOL, ir.DataType.UINT8)


class Places(NamedTuple):
    """Integer indices, and the axes that they stand for."""

    axes: list[int]
    indices: list[Value]

    @property
    def adjacent(self) -> bool:
        """Whether the axes are neighbours."""
        return self.axes[-1] - self.axes[0] == len(self.axes) - 1

    @property
    def sizes(self) -> list[Size]:
        """What the indices broadcast to."""
        return broadcast_sizes([dims(index) for index in self.indices])


@lowers(aten.index.Tensor, aten._unsafe_index.Tensor)
def index(op: Builder, self: Value, indices: Sequence[Value | None]) -> Value:
    """[*S] -> [*L, *I, *R], or [*I, *S without the axes of the indices] where these are no neighbours."""
    given = [(place, item) for place, item in enumerate(indices) if item is not None]
    if not given:
        return self
    if len(given) == 1 and given[0][1].dtype in _MASKS:
        return _selected(op, self, *given[0])
    places = _places(op, indices)
    if len(places.axes) == 1:
        return op.Gather(self, places.indices[0], axis=places.axes[0])
    if places.adjacent and places.axes[0] > 0:
        return _gathered_inside(op, self, places)
    order = [*places.axes, *(axis for axis in range(rank(self)) if axis not in places.axes)]
    front = op.transpose(self, order)
    axes = [
        _axis_along(op, item, size, len(places.sizes)) for item, size in zip(places.indices, dims(front), strict=False)
    ]
    known = [axis for axis in axes if axis is not None]
    if len(known) == len(axes) and known == sorted(set(known)):
        return op.reshape(front, [*places.sizes, *dims(front)[len(axes) :]])
    rows = next(count for count in range(len(axes)) if axes[count] != count or count == len(axes) - 1)
    return op.GatherND(front, stacked(op, places.indices[rows:], places.sizes), batch_dims=rows or None)


def _axis_along(op: Builder, index: Value, size: Size, wide: int) -> int | None:
    """The axis of the result along which an index runs through its axis of x from end to end.

    Where each of them does, and in order, x[arange(n)[:, None], arange(m)] is x in another shape; where
    the first of them do, x[arange(n)[:, None], j] picks of each row its own.
    """
    axis = arange_axis(op, index, size)
    return None if axis is None else axis + wide - rank(index)


def _selected(op: Builder, value: Value, place: int, mask: Value) -> Value:
    """`x[..., mask]`: [*L, *M, *R], mask [*M] -> [*L, n, *R]."""
    depth, old = rank(mask), dims(value)
    mask = op.cast(mask, ir.DataType.BOOL)
    if depth == 0:
        value = op.unsqueeze(value, [place])
        return compressed(op, value, op.unsqueeze(mask, [0]), axis=place)
    if depth == rank(value):
        return compressed(op, value, flat(op, mask))
    if depth > 1:
        value = op.reshape(value, [*old[:place], product(old[place : place + depth]), *old[place + depth :]])
    return compressed(op, value, flat(op, mask), axis=place)


def _places(op: Builder, indices: Sequence[Value | None]) -> Places:
    """The indices with every mask replaced by the integers that it stands for."""
    axes: list[int] = []
    integers: list[Value] = []
    axis = 0
    for item in indices:
        if item is None:
            axis += 1
        elif item.dtype in _MASKS:
            found = op.NonZero(op.cast(item, ir.DataType.BOOL))
            for row in range(rank(item)):
                integers.append(op.Gather(found, row, axis=0) if rank(item) > 1 else op.squeeze(found, [0]))
            axes += range(axis, axis + rank(item))
            axis += rank(item)
        else:
            axes.append(axis)
            integers.append(item)
            axis += 1
    return Places(axes, [as_places(op, item) for item in integers])


def as_places(op: Builder, places: Value) -> Value:
    """Indices as int32 or int64, which are all that ONNX takes."""
    return places if places.dtype in (ir.DataType.INT32, ir.DataType.INT64) else op.cast(places, ir.DataType.INT64)


def stacked(op: Builder, indices: Sequence[Value], sizes: Sequence[Size]) -> Value:
    """Put together k indices that broadcast to the sizes I -> int64 [*I, k]."""
    columns = [op.unsqueeze(op.expand(op.cast(item, ir.DataType.INT64), sizes), [len(sizes)]) for item in indices]
    return columns[0] if len(columns) == 1 else op.Concat(*columns, axis=-1)


def _gathered_inside(op: Builder, value: Value, places: Places) -> Value:
    """Neighbouring axes behind others: they become one, and the indices one into it."""
    old, first = dims(value), places.axes[0]
    sizes = [old[axis] for axis in places.axes]
    joined = op.reshape(value, [*old[:first], product(sizes), *old[first + len(sizes) :]])
    return op.Gather(joined, linear(op, places.indices, sizes), axis=first)


def linear(op: Builder, indices: Sequence[Value], sizes: Sequence[Size]) -> Value:
    """Indices into axes of the given sizes -> one index into all of them, in row-major order."""
    total: Value | None = None
    for item, size in zip(indices, sizes, strict=True):
        place = nonnegative(op, op.cast(item, ir.DataType.INT64), size)
        total = place if total is None else op.Add(op.Mul(total, op.scalar(size)), place)
    assert total is not None  # there is at least one index
    return total


def nonnegative(op: Builder, index: Value, size: Size) -> Value:
    """The index with negative entries counted from the front; Mod takes the sign of the divisor."""
    node = index.producer()
    if (node is not None and node.op_type in ("NonZero", "Range")) or is_arange(op, index, size):
        return index
    known = op.content(index)
    if known is not None and all(type(item) is int and item >= 0 for item in known):
        return index
    return op.Mod(index, op.scalar(size))


# Writing.


@lowers(aten.index_put.default, aten._unsafe_index_put.default)
def index_put(
    op: Builder, self: Value, indices: Sequence[Value | None], values: Value, accumulate: bool
) -> Value:  # fmt: skip
    """[*S] -> [*S] with `values`, broadcast to what `x[indices]` has, put in or added there."""
    values = op.cast(values, dtype(self))
    given = [(place, item) for place, item in enumerate(indices) if item is not None]
    if not given:
        values = op.expand(values, dims(self))
        return op.Add(self, values) if accumulate else values
    if len(given) == 1 and given[0][1].dtype in _MASKS:
        place, mask = given[0]
        if (wide := _beside_mask(op, self, place, mask, values)) is not None:
            return _put_where(op, self, place, mask, wide, accumulate)
    return _put(op, self, _places(op, indices), values, accumulate)


@lowers(aten._index_put_impl.default)
def index_put_impl(
    op: Builder, self: Value, indices: Sequence[Value | None], values: Value, accumulate: bool, unsafe: bool
) -> Value:  # fmt: skip
    """The same; `unsafe` leaves out a check."""
    return index_put(op, self, indices, values, accumulate)


def _beside_mask(op: Builder, value: Value, place: int, mask: Value, values: Value) -> Value | None:
    """The values so that they broadcast with x; None where each chosen element has its own.

    They broadcast to [*L, n, *R] as they are; where they are 1 instead of n, this is [*L, *1s, *R].
    """
    behind = rank(value) - place - rank(mask)
    if rank(values) <= behind:
        return values
    if dims(values)[rank(values) - behind - 1] != 1:
        return None
    old = dims(values)
    at = rank(values) - behind
    return op.reshape(values, [*old[: at - 1], *[1] * rank(mask), *old[at:]])


def _put_where(op: Builder, value: Value, place: int, mask: Value, values: Value, accumulate: bool) -> Value:
    behind = rank(value) - place - rank(mask)
    mask = op.cast(mask, ir.DataType.BOOL)
    wide = op.unsqueeze(mask, list(range(rank(mask), rank(mask) + behind)))
    put = where(op, wide, op.Add(value, values) if accumulate else values, value)
    return op.sized(put, dims(value))


def _put(op: Builder, value: Value, places: Places, values: Value, accumulate: bool) -> Value:
    old, sizes, first = dims(value), places.sizes, places.axes[0]
    others = [axis for axis in range(len(old)) if axis not in places.axes]
    if len(places.axes) == 1 and len(sizes) <= 1:
        rows = op.expand(values, [*old[:first], *(sizes or [1]), *old[first + 1 :]])
        return scattered(op, value, places.indices[0], rows, first, "add" if accumulate else None)
    lead = first if places.adjacent else 0
    wanted = [old[axis] for axis in others]
    values = op.expand(values, [*wanted[:lead], *sizes, *wanted[lead:]])
    order = [*range(lead, lead + len(sizes)), *range(lead), *range(lead + len(sizes), rank(values))]
    axes = [*places.axes, *others]
    front, values = op.transpose(value, axes), op.transpose(values, order)
    if accumulate:
        put = _added(op, front, places, values)
    else:
        put = op.ScatterND(front, stacked(op, places.indices, sizes), values)
    return op.transpose(put, [axes.index(axis) for axis in range(len(axes))])


def _added(op: Builder, value: Value, places: Places, values: Value) -> Value:
    """Values [*I, *R] added to [*S, *R] at the places, of S and R one axis each made."""
    old, depth = dims(value), len(places.axes)
    rest = list(old[depth:])
    table = op.reshape(value, [product(old[:depth]), *rest])
    rows = op.reshape(values, [product(places.sizes), *rest])
    at = op.expand(linear(op, places.indices, old[:depth]), places.sizes)
    return op.reshape(scattered(op, table, flat(op, at), rows, 0, "add"), list(old))


# What onnxruntime's scatters reduce in another dtype, which holds all values and sums.
_REDUCED_IN = {
    ir.DataType.FLOAT16: ir.DataType.FLOAT, ir.DataType.BFLOAT16: ir.DataType.FLOAT,
    ir.DataType.BOOL: ir.DataType.INT32,
}  # fmt: skip


def scattered(op: Builder, value: Value, places: Value, rows: Value, axis: int, reduction: str | None) -> Value:
    """[*L, a, *R] with rows [*L, n, *R] put at places [n] of an axis, or reduced into it."""
    if rank(value) == 0:
        put = scattered(op, op.unsqueeze(value, [0]), places, op.reshape(rows, [1]), 0, reduction)
        return op.reshape(put, [])
    places = op.reshape(places, [1]) if rank(places) == 0 else places
    if axis == 0 and reduction is None:
        return op.ScatterND(value, op.unsqueeze(op.cast(places, ir.DataType.INT64), [1]), rows)
    along = op.unsqueeze(places, list(range(1, rank(value) - axis)))
    return scatter_elements(op, value, op.expand(along, dims(rows)), rows, axis, reduction)


def scatter_elements(
    op: Builder, value: Value, index: Value, src: Value, axis: int, reduction: str | None
) -> Value:  # fmt: skip
    """[*S], [*I], [*I] -> [*S] with src's elements put, or reduced in, at the places along an axis.

    Never ScatterND: onnxruntime's reduces on several threads at once, and loses what falls on one place.
    """
    if reduction in ("max", "min") and op.opset_version < 18:
        raise OpsetError(f"scatter by {reduction}: needs opset 18", hint="ask for opset_version=18")
    kind = dtype(value)
    used = _REDUCED_IN.get(kind, kind) if reduction else kind
    result = op.ScatterElements(op.cast(value, used), index, op.cast(src, used), axis=axis, reduction=reduction)
    return op.cast(result, kind)


# One axis.


@lowers(aten.index_select.default)
def index_select(op: Builder, self: Value, dim: int, index: Value) -> Value:
    """[*L, a, *R], [n] -> [*L, n, *R]."""
    if rank(self) == 0:
        return self
    places = op.reshape(index, [1]) if rank(index) == 0 else index
    return op.Gather(self, as_places(op, places), axis=axis_of(self, dim))


@lowers(aten.index_copy.default)
def index_copy(op: Builder, self: Value, dim: int, index: Value, source: Value) -> Value:
    """[*L, a, *R], [n], [*L, n, *R] -> [*L, a, *R] with the rows of source at the places."""
    return scattered(op, self, index, _rows(op, self, source, dim, index), axis_of(self, dim), None)


@lowers(aten.index_add.default)
def index_add(op: Builder, self: Value, dim: int, index: Value, source: Value, alpha: Operand) -> Value:
    """[*L, a, *R], [n], [*L, n, *R] -> [*L, a, *R] + alpha times the rows of source at the places."""
    rows = _rows(op, self, source, dim, index)
    if not (isinstance(alpha, (int, float)) and alpha == 1):
        times = op.And if dtype(self) == ir.DataType.BOOL else op.Mul
        rows = times(rows, as_value(op, alpha, dtype(self)))
    return scattered(op, self, index, rows, axis_of(self, dim), "add")


@lowers(aten.index_fill.int_Scalar, aten.index_fill.int_Tensor)
def index_fill(op: Builder, self: Value, dim: int, index: Value, value: Operand) -> Value:
    """[*L, a, *R], [n] -> [*L, a, *R] with one number at the places."""
    axis, old = axis_of(self, dim), dims(self)
    number = as_value(op, value, dtype(self))
    count = dims(index)[0] if rank(index) else 1
    rows = op.expand(number, [*old[:axis], count, *old[axis + 1 :]])
    return scattered(op, self, index, rows, axis, None)


def _rows(op: Builder, value: Value, source: Value, dim: int, index: Value) -> Value:
    """The source as [*L, n, *R]; torch takes one of rank 0 beside one index."""
    source = op.cast(source, dtype(value))
    return op.reshape(source, [1] * max(rank(value), 1)) if rank(source) == 0 else source


# The flattened tensor.


@lowers(aten.take.default)
def take(op: Builder, self: Value, index: Value) -> Value:
    """[*S], [*I] -> [*I] from the flattened tensor."""
    return op.Gather(flat(op, self), index, axis=0)


@lowers(aten.put.default)
def put(op: Builder, self: Value, index: Value, source: Value, accumulate: bool) -> Value:
    """[*S], [*I], [*I] -> [*S] with the source's elements at places of the flattened tensor."""
    reduction = "add" if accumulate else None
    result = scattered(op, flat(op, self), flat(op, index), flat(op, source), 0, reduction)
    return op.reshape(result, dims(self))
