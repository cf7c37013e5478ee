"""Elements in another order, or several times: transpose, permute, expand, repeat, roll, flip, unfold."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from aten_lowering.axes import arange, axis_of
from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.registry import lowers
from aten_lowering.rules.reshapes import flat
from shape_inference import Dim, Size, at_least, stretched

aten = torch.ops.aten

# Exchanges of the last two axes; rank 0 and 1 stay as they are.
MATRIX_TRANSPOSES: tuple[Any, ...] = (
    aten.t.default, aten.t_copy.default, aten.numpy_T.default, aten.mT.default,
    aten.mH.default, aten.matrix_H.default, aten.adjoint.default,
)  # fmt: skip


@lowers(aten.transpose.int, aten.transpose_copy.int)
def transpose(op: Builder, self: Value, dim0: int, dim1: int) -> Value:
    """[*S] -> [*S with two sizes exchanged]."""
    order = list(range(rank(self)))
    if not order:
        return self
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return op.transpose(self, order)


@lowers(aten.swapdims.default)
def swapdims(op: Builder, self: Value, dim0: int, dim1: int) -> Value:
    """The same as `transpose`."""
    return transpose(op, self, dim0, dim1)


@lowers(aten.swapaxes.default)
def swapaxes(op: Builder, self: Value, axis0: int, axis1: int) -> Value:
    """The same as `transpose`."""
    return transpose(op, self, axis0, axis1)


@lowers(aten.permute.default, aten.permute_copy.default)
def permute(op: Builder, self: Value, dims: Sequence[int]) -> Value:
    """[*S] -> [S[dims[0]], S[dims[1]], …]."""
    return op.transpose(self, dims)


def _matrix_transpose(overload: Any) -> None:
    reverses = overload is aten.numpy_T.default

    @lowers(overload)
    def rule(op: Builder, self: Value) -> Value:
        """[*B, n, m] -> [*B, m, n]; numpy_T reverses all axes."""
        if reverses:
            return op.transpose(self, list(reversed(range(rank(self)))))
        return self if rank(self) < 2 else transpose(op, self, -2, -1)


for _overload in MATRIX_TRANSPOSES:
    _matrix_transpose(_overload)


@lowers(aten.movedim.intlist, aten.moveaxis.intlist)
def movedim(op: Builder, self: Value, source: Sequence[int], destination: Sequence[int]) -> Value:
    """Put the axes `source` at the places `destination`; the others keep their order."""
    places = {axis_of(self, place): axis_of(self, axis) for axis, place in zip(source, destination, strict=True)}
    others = iter([axis for axis in range(rank(self)) if axis not in places.values()])
    return op.transpose(self, [places[place] if place in places else next(others) for place in range(rank(self))])


@lowers(aten.movedim.int, aten.moveaxis.int)
def movedim_one(op: Builder, self: Value, source: int, destination: int) -> Value:
    """Put one axis at another place."""
    return movedim(op, self, [source], [destination])


# Broadcasting.


@lowers(aten.expand.default, aten.expand_copy.default)
def expand(op: Builder, self: Value, size: Sequence[Size], implicit: bool) -> Value:
    """[*S] -> size, in which -1 stands for the size that there is."""
    old = dims(self)
    new = len(size) - len(old)
    wanted = [old[i - new] if type(n) is int and n == -1 else n for i, n in enumerate(size)]
    return op.expand(self, wanted)


@lowers(aten.broadcast_to.default)
def broadcast_to(op: Builder, self: Value, size: Sequence[Size]) -> Value:
    """The same as `expand`."""
    return expand(op, self, size, False)


@lowers(aten.expand_as.default)
def expand_as(op: Builder, self: Value, other: Value) -> Value:
    """[*S], [*T] -> [*T]."""
    return op.expand(self, dims(other))


@lowers(aten.broadcast_tensors.default)
def broadcast_tensors(op: Builder, tensors: Sequence[Value]) -> list[Value]:
    """Each in the shape that they broadcast to."""
    sizes = broadcast_sizes([dims(tensor) for tensor in tensors])
    return [op.expand(tensor, sizes) for tensor in tensors]


def broadcast_sizes(shapes: Sequence[Sequence[Size]]) -> list[Size]:
    """What the shapes broadcast to."""
    result: list[Size] = [1] * max(map(len, shapes), default=0)
    for shape in shapes:
        for place, size in enumerate(shape, len(result) - len(shape)):
            result[place] = stretched(result[place], size)
    return result


# Repetition.


@lowers(aten.repeat.default)
def repeat(op: Builder, self: Value, repeats: Sequence[Size]) -> Value:
    """[*S], repeats r -> [r_i S_i], with axes of size 1 in front where r is longer than S."""
    new = len(repeats) - rank(self)
    old = [1] * new + list(dims(self))
    if all(n == 1 or r == 1 for n, r in zip(old, repeats, strict=True)):
        return op.expand(self, [n if r == 1 else r for n, r in zip(old, repeats, strict=True)])
    return op.Tile(op.unsqueeze(self, list(range(new))), op.shape(repeats))


@lowers(aten.tile.default)
def tile(op: Builder, self: Value, dims: Sequence[Size]) -> Value:
    """`repeat`, where ones are put in front of too few repeats."""
    return repeat(op, self, [1] * (rank(self) - len(dims)) + list(dims))


_MOST_PLACES = 1 << 16


@lowers(aten.repeat_interleave.self_int)
def repeat_interleave(op: Builder, self: Value, repeats: Size, dim: int | None, output_size: Size | None) -> Value:
    """[*L, a, *R] -> [*L, a * repeats, *R]: each element so often, one after another; no dim: flattened."""
    value, axis = (flat(op, self), 0) if dim is None else (self, axis_of(self, dim))
    if rank(value) == 0:
        value = op.unsqueeze(value, [0])
    old = dims(value)
    count = old[axis]
    if type(count) is int and type(repeats) is int and count * repeats <= _MOST_PLACES:
        return op.Gather(value, np.arange(count).repeat(repeats).tolist(), axis=axis)
    wide = op.expand(op.unsqueeze(value, [axis + 1]), [*old[: axis + 1], repeats, *old[axis + 1 :]])
    return op.reshape(wide, [*old[:axis], count * repeats, *old[axis + 1 :]])


@lowers(aten.repeat_interleave.self_Tensor)
def repeat_interleave_each(
    op: Builder, self: Value, repeats: Value, dim: int | None, output_size: Size | None
) -> Value:  # fmt: skip
    """[*L, a, *R], repeats [a] -> [*L, sum(repeats), *R]; no dim: flattened; one repeat counts for all."""
    value, axis = (flat(op, self), 0) if dim is None else (self, axis_of(self, dim))
    repeats = op.expand(op.reshape(repeats, [1]) if rank(repeats) == 0 else repeats, [dims(value)[axis]])
    return op.Gather(value, repeated_places(op, repeats, output_size), axis=axis)


@lowers(aten.repeat_interleave.Tensor)
def repeated_places(op: Builder, repeats: Value, output_size: Size | None) -> Value:
    """Each place so often as its entry says: [n] -> [sum(repeats)], as int64 or as `repeats` is.

    A one is added where each place but the first begins; the running sum of them is the place.
    """
    kind = dtype(repeats)
    known: Any = op.content(repeats)
    if known is not None and not any(isinstance(item, Dim) for item in known):
        return op.constant(np.arange(len(known)).repeat(known), kind)
    ends = op.CumSum(repeats, 0)
    total: Any = op.Gather(ends, [-1], axis=0) if output_size is None else output_size
    wide = op.cast(total if isinstance(total, Value) else op.shape([total]), kind)
    shape = op.cast(op.Add(wide, 1), ir.DataType.INT64)
    marks = op.ScatterElements(
        op.Expand(op.constant(0, kind), shape), op.cast(ends, ir.DataType.INT64),
        op.Expand(op.constant(1, kind), op.shape(dims(repeats))), axis=0, reduction="add",
    )  # fmt: skip
    return op.Slice(op.CumSum(marks, 0), [0], [-1])


# Order.


@lowers(aten.roll.default)
def roll(op: Builder, self: Value, shifts: Sequence[Size], dims: Sequence[int]) -> Value:
    """[*S] -> [*S]: y[i] = x[(i - shift) mod size] along each of the axes; no axes: as if flattened."""
    if not dims:
        sizes = self.shape
        rolled = _rolled(op, flat(op, self), shifts[0], 0)
        return op.reshape(rolled, list(sizes))  # type: ignore[arg-type]  # every value has a shape
    for shift, dim in zip(shifts, dims, strict=True):
        self = _rolled(op, self, shift, axis_of(self, dim))
    return self


def _rolled(op: Builder, value: Value, shift: Size, axis: int) -> Value:
    if rank(value) == 0:
        return value
    size = dims(value)[axis]
    if type(size) is int and type(shift) is int:
        if size == 0 or shift % size == 0:
            return value
        if size <= _MOST_PLACES and _is_wide(dims(value)[axis + 1 :]):
            return op.Gather(value, np.roll(np.arange(size), shift).tolist(), axis=axis)
        first, second = op.split(value, [size - shift % size, shift % size], axis)
        return op.Concat(second, first, axis=axis)
    start = op.shape([-shift])
    if type(shift) is not int or not at_least(size, abs(shift)):
        start = op.Mod(start, op.size(size))
    begin, end = op.Slice(value, start, [_END], [axis]), op.Slice(value, [0], start, [axis])
    return op.sized(op.Concat(begin, end, axis=axis), dims(value))


_END = 2**63 - 1


def _is_wide(sizes: Sequence[Size]) -> bool:
    """Whether rows are long enough that picking them one by one costs no more than copying."""
    return math.prod(size for size in sizes if type(size) is int) >= 8


@lowers(aten.flip.default)
def flip(op: Builder, self: Value, dims: Sequence[int]) -> Value:
    """[*S] -> [*S], the axes from back to front."""
    sizes = tuple(self.shape or ())
    axes = [axis for axis in {axis_of(self, dim) for dim in dims} if sizes and sizes[axis] not in (0, 1)]
    if not axes:
        return self
    count = len(axes)
    return op.Slice(self, [-1] * count, [-_END] * count, axes, [-1] * count)


@lowers(aten.flipud.default)
def flipud(op: Builder, self: Value) -> Value:
    """Axis 0 from back to front."""
    return flip(op, self, [0])


@lowers(aten.fliplr.default)
def fliplr(op: Builder, self: Value) -> Value:
    """Axis 1 from back to front."""
    return flip(op, self, [1])


@lowers(aten.rot90.default)
def rot90(op: Builder, self: Value, k: int, dims: Sequence[int]) -> Value:
    """Turn by 90 degrees k times, from the first axis to the second."""
    first, second = dims
    turns: dict[int, Callable[[], Value]] = {
        0: lambda: self,
        1: lambda: transpose(op, flip(op, self, [second]), first, second),
        2: lambda: flip(op, self, dims),
        3: lambda: transpose(op, flip(op, self, [first]), first, second),
    }
    return turns[k % 4]()


# Windows.


@lowers(aten.unfold.default, aten.unfold_copy.default)
def unfold(op: Builder, self: Value, dimension: int, size: Size, step: Size) -> Value:
    """[*L, a, *R] -> [*L, (a - size) // step + 1, *R, size]: windows along an axis."""
    if rank(self) == 0:
        return op.reshape(self, [size])
    axis = axis_of(self, dimension)
    count = (dims(self)[axis] - size) // step + 1
    starts = op.Mul(arange(op, count), op.scalar(step))
    places = op.Add(op.unsqueeze(starts, [1]), arange(op, size))
    windows = op.Gather(self, places, axis=axis)
    order = [place for place in range(rank(windows)) if place != axis + 1]
    return op.transpose(windows, [*order, axis + 1])


@lowers(aten.as_strided.default, aten.as_strided_copy.default)
def as_strided(
    op: Builder, self: Value, size: Sequence[Size], stride: Sequence[Size], storage_offset: Size | None
) -> Value:  # fmt: skip
    """[*S] -> size: element i is at offset + sum(i_d * stride_d) of the flattened tensor.

    The tensor is taken to be all of its memory, in order; the capture sees to that.
    """
    return op.Gather(flat(op, self), strided_places(op, size, stride, storage_offset), axis=0)


def strided_places(op: Builder, size: Sequence[Size], stride: Sequence[Size], offset: Size | None) -> Value:
    """Where the elements of a strided view are in memory: int64 of shape `size`."""
    places = op.scalar(offset or 0)
    for axis, (count, step) in enumerate(zip(size, stride, strict=True)):
        along = op.Mul(arange(op, count), op.scalar(step))
        places = op.Add(places, op.unsqueeze(along, list(range(1, len(size) - axis))))
    return places
