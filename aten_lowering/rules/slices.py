"""Parts of a tensor by constant or symbolic places, and tensors with such a part replaced."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from aten_lowering.axes import arange, axis_of
from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.elementwise import where
from aten_lowering.registry import lowers
from aten_lowering.rules.layouts import strided_places
from aten_lowering.rules.reshapes import flat
from shape_inference import Size, at_least, larger, same, smaller

aten = torch.ops.aten

_END = 2**63 - 1


@lowers(aten.slice.Tensor, aten.slice_copy.Tensor)
def slice_(op: Builder, self: Value, dim: int, start: Size | None, end: Size | None, step: Size) -> Value:
    """[*L, a, *R] -> [*L, n, *R]: x[start:end:step] as in Python, step > 0."""
    axis = axis_of(self, dim)
    size = dims(self)[axis]
    start = 0 if start is None else from_behind(start, size)
    end = _END if end is None or at_least(end, size) else from_behind(end, size)
    if same(start, 0) and same(step, 1) and end == _END:
        return self
    return op.Slice(self, op.shape([start]), op.shape([end]), [axis], op.shape([step]))


@lowers(aten.select.int, aten.select_copy.int)
def select(op: Builder, self: Value, dim: int, index: Size) -> Value:
    """[*L, a, *R] -> [*L, *R], the element `index` of an axis."""
    axis = axis_of(self, dim)
    size = dims(self)[axis]
    if size == 1:
        return op.squeeze(self, [axis])
    if op.target == "coreml" and type(index) is int:  # MLProgram has no Gather, NeuralNetwork none by a scalar
        return op.squeeze(slice_(op, self, axis, index, None if index == -1 else index + 1, 1), [axis])
    return op.Gather(self, op.scalar(from_behind(index, size)), axis=axis)


def from_behind(place: Size, size: Size) -> Size:
    """A place that is known by its distance to the end, as a negative number; any other as it is."""
    behind = place - size
    if type(place) is int or type(behind) is not int or behind >= 0:
        return place
    return behind if behind == -1 or at_least(size, -behind) else place


@lowers(aten.narrow.default, aten.narrow_copy.default)
def narrow(op: Builder, self: Value, dim: int, start: Size, length: Size) -> Value:
    """[*L, a, *R] -> [*L, length, *R], from `start` on."""
    axis = axis_of(self, dim)
    if type(start) is int and start < 0:
        start = dims(self)[axis] + start
    sizes = list(dims(self))
    sizes[axis_of(self, dim)] = length
    return op.sized(slice_(op, self, dim, start, start + length, 1), sizes)


@lowers(aten.narrow.Tensor)
def narrow_at(op: Builder, self: Value, dim: int, start: Value, length: Size) -> Value:
    """[*L, a, *R] -> [*L, length, *R], from a place that a tensor holds, negative from the back."""
    places = op.Add(op.reshape(start, [1]), op.cast(arange(op, length), dtype(start)))
    return op.Gather(self, places, axis=axis_of(self, dim))


# Replaced parts.


@lowers(aten.slice_scatter.default)
def slice_scatter(
    op: Builder, self: Value, src: Value, dim: int, start: Size | None, end: Size | None, step: Size
) -> Value:  # fmt: skip
    """[*L, a, *R], [*L, n, *R] -> [*L, a, *R] with src at start:end:step of an axis."""
    axis = axis_of(self, dim)
    size = dims(self)[axis]
    if dims(src)[axis] == 0:
        return self
    if same(step, 1) and (start is None or _is_before(start, end)):
        pieces = [] if start is None or same(start, 0) else [_cut(op, self, axis, 0, start)]
        rest = [] if end is None or at_least(end, size) else [_cut(op, self, axis, end, _END)]
        return _joined(op, [*pieces, src, *rest], axis, dims(self))
    first, last = _place(start, size, 0), _place(end, size, size)
    last = larger(first, last)
    if same(step, 1):
        pieces = [_cut(op, self, axis, 0, first), src, _cut(op, self, axis, last, _END)]
        return _joined(op, pieces, axis, dims(self))
    return _strided_scatter(op, self, src, axis, first, last, step)


def _is_before(start: Size, end: Size | None) -> bool:
    """Whether `start` stands before `end` as they are, both counted from the same side."""
    if end is None:
        return True
    if type(start) is int and type(end) is int:
        return start <= end and (start < 0) == (end < 0)
    return bool(at_least(end, start) and at_least(start, 0))


def _cut(op: Builder, value: Value, axis: int, start: Size, end: Size) -> Value:
    """The slice start:end of an axis, as ONNX clamps it."""
    return op.Slice(value, op.shape([start]), op.shape([end]), [axis])


def _joined(op: Builder, pieces: Sequence[Value], axis: int, sizes: Sequence[Size]) -> Value:
    """The pieces of a tensor of known sizes together, without those that are empty."""
    kept = [piece for piece in pieces if dims(piece)[axis] != 0] or pieces[:1]
    return op.sized(kept[0] if len(kept) == 1 else op.Concat(*kept, axis=axis), sizes)


def _place(place: Size | None, size: Size, default: Size) -> Size:
    """A start or end within an axis, as Python slices understand it."""
    if place is None:
        return default
    if type(place) is int and place < 0:
        return larger(place + size, 0)
    return smaller(place, size)


def _strided_scatter(op: Builder, value: Value, src: Value, axis: int, first: Size, last: Size, step: Size) -> Value:
    size = dims(value)[axis]
    if type(size) is int and type(first) is int and type(last) is int and type(step) is int:
        chosen = range(first, last, step)
        places, mask = np.zeros(size, np.int64), np.zeros(size, np.bool_)
        places[chosen], mask[chosen] = range(len(chosen)), True
        spread_src = op.Gather(src, places, axis=axis) if len(chosen) > 1 else src
        return where(op, op.constant(mask.reshape([-1] + [1] * (rank(value) - axis - 1))), spread_src, value)
    places = op.Range(op.scalar(first), op.scalar(last), op.scalar(step))
    return put_rows(op, value, op.unsqueeze(places, [1]), src, axis)


def put_rows(op: Builder, value: Value, places: Value, rows: Value, axis: int) -> Value:
    """[*L, a, *R] with the rows [*L, n, *R] put at places [n, 1] of an axis."""
    order = [axis, *(other for other in range(rank(value)) if other != axis)]
    put = op.ScatterND(op.transpose(value, order), places, op.transpose(rows, order))
    return op.transpose(put, [order.index(place) for place in range(len(order))])


@lowers(aten.select_scatter.default)
def select_scatter(op: Builder, self: Value, src: Value, dim: int, index: Size) -> Value:
    """[*L, a, *R], [*L, *R] -> [*L, a, *R] with src at `index` of an axis."""
    axis = axis_of(self, dim)
    old = dims(self)
    size = old[axis]
    src = op.unsqueeze(src, [axis])
    if type(size) is int and type(index) is int:
        mask = (np.arange(size) == index % size).reshape([-1] + [1] * (rank(self) - axis - 1))
        return src if size == 1 else where(op, op.constant(mask), src, self)
    if axis == 0:
        return op.ScatterND(self, op.reshape(op.scalar(index), [1, 1]), src)
    pieces = [src] if same(index, 0) else [_cut(op, self, axis, 0, index), src]
    if same(index, -1) is not True:
        pieces.append(_cut(op, self, axis, index + 1, _END))
    return _joined(op, pieces, axis, old)


@lowers(aten.as_strided_scatter.default)
def as_strided_scatter(
    op: Builder, self: Value, src: Value, size: Sequence[Size], stride: Sequence[Size], storage_offset: Size | None
) -> Value:  # fmt: skip
    """[*S], src `size` -> [*S] with src where `as_strided` looks."""
    places = flat(op, strided_places(op, size, stride, storage_offset))
    put = op.ScatterElements(flat(op, self), places, flat(op, op.expand(src, size)), axis=0)
    return op.reshape(put, dims(self))
