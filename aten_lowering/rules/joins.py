"""Tensors put together, and taken apart: cat, stack, split, chunk, unbind."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch

from aten_lowering.axes import axis_of
from aten_lowering.builder import Builder, Value, dims, rank
from aten_lowering.errors import LoweringError
from aten_lowering.promotion import promoted
from aten_lowering.registry import lowers
from aten_lowering.rules.reshapes import atleast_1d_all, atleast_2d_all, atleast_3d_all
from shape_inference import Size, ceil_div, larger, smaller

aten = torch.ops.aten


@lowers(aten.cat.default, aten.concat.default, aten.concatenate.default)
def cat(op: Builder, tensors: Sequence[Value], dim: int) -> Value:
    """Put tensors side by side: [*L, a_i, *R] each, dim=len(L) -> [*L, sum a_i, *R].

    Tensors of shape [0] are left out: torch takes them beside any rank, Concat does not.
    """
    tensors = promoted(op, *tensors)
    kept = [tensor for tensor in tensors if dims(tensor) != (0,)] or tensors[:1]
    return kept[0] if len(kept) == 1 else op.Concat(*kept, axis=axis_of(kept[0], dim))


@lowers(aten.stack.default)
def stack(op: Builder, tensors: Sequence[Value], dim: int) -> Value:
    """Put tensors beside one another on a new axis: n times [*L, *R], dim=len(L) -> [*L, n, *R].

    Put together along the first axis of R and reshaped, they are two nodes however many they are.
    """
    tensors = promoted(op, *tensors)
    old, count = dims(tensors[0]), len(tensors)
    axis = dim % (len(old) + 1)
    if count == 1 or axis == len(old) or sum(type(size) is not int for size in old[axis:]) > 1:
        return _stacked_last(op, tensors, axis)
    joined = op.Concat(*tensors, axis=axis)
    return op.reshape(joined, [*old[:axis], count, *old[axis:]])


def _stacked_last(op: Builder, tensors: Sequence[Value], axis: int) -> Value:
    parts = [op.unsqueeze(tensor, [axis]) for tensor in tensors]
    return parts[0] if len(parts) == 1 else op.Concat(*parts, axis=axis)


@lowers(aten.hstack.default)
def hstack(op: Builder, tensors: Sequence[Value]) -> Value:
    """Put vectors end to end, and all else side by side along axis 1."""
    tensors = atleast_1d_all(op, tensors)
    return cat(op, tensors, 0 if rank(tensors[0]) == 1 else 1)


@lowers(aten.vstack.default, aten.row_stack.default)
def vstack(op: Builder, tensors: Sequence[Value]) -> Value:
    """Put tensors of at least rank 2 one below the other: along axis 0."""
    return cat(op, atleast_2d_all(op, tensors), 0)


@lowers(aten.dstack.default)
def dstack(op: Builder, tensors: Sequence[Value]) -> Value:
    """Put tensors of at least rank 3 together along axis 2."""
    return cat(op, atleast_3d_all(op, tensors), 2)


@lowers(aten.column_stack.default)
def column_stack(op: Builder, tensors: Sequence[Value]) -> Value:
    """Put columns side by side: [n] is a column [n, 1], [] is [1, 1]."""
    columns = [op.unsqueeze(t, list(range(rank(t), 2))) for t in tensors]
    return cat(op, columns, 1)


# Taking apart.


@lowers(aten.split.Tensor, aten.unsafe_split.Tensor, aten.split_copy.Tensor)
def split(op: Builder, self: Value, split_size: Size, dim: int) -> Sequence[Value]:
    """[*L, a, *R] -> ceil(a / split_size) parts, the last with what is left."""
    axis = axis_of(self, dim)
    whole = dims(self)[axis]
    if whole == 0 or same_size(split_size, whole):
        return [self]
    return parts(op, self, even_sizes(whole, split_size), axis)


def same_size(a: Size, b: Size) -> bool:
    """Whether two sizes are known to be equal."""
    return a is b or (type(a) is int and a == b)


def even_sizes(whole: Size, size: Size) -> list[Size]:
    """The sizes of parts of one size and of what is left.

    Raises:
        LoweringError: how many they are depends on a dynamic size.
    """
    count = ceil_div(whole, size)
    if type(count) is not int:
        raise LoweringError(
            f"split: the number of parts must not depend on a dynamic size, got {whole} in parts of {size}",
            hint="use chunk, or slices",
        )
    return [size] * (count - 1) + [whole - size * (count - 1)]


@lowers(
    aten.split_with_sizes.default, aten.split_with_sizes_copy.default, aten.unsafe_split_with_sizes.default
)  # fmt: skip
def split_with_sizes(op: Builder, self: Value, split_sizes: Sequence[Size], dim: int) -> Sequence[Value]:
    """[*L, sum a_i, *R] -> [*L, a_i, *R] each."""
    return parts(op, self, list(split_sizes), axis_of(self, dim))


@lowers(aten.split.sizes)
def split_sizes(op: Builder, self: Value, split_size: Sequence[Size], dim: int) -> Sequence[Value]:
    """[*L, sum a_i, *R] -> [*L, a_i, *R] each."""
    return split_with_sizes(op, self, split_size, dim)


def parts(op: Builder, value: Value, sizes: Sequence[Size], axis: int) -> Sequence[Value]:
    """The value cut into parts along an axis, by as few computed sizes as can be."""
    whole = dims(value)[axis]
    if len(sizes) == 1:
        return [value]
    if op.opset_version >= 18 and type(whole) is not int and list(sizes) == _chunk_sizes(whole, len(sizes)):
        return op.Split(value, axis=axis, num_outputs=len(sizes), _outputs=len(sizes))
    return op.split(value, sizes, axis)


def _chunk_sizes(whole: Size, count: int) -> list[Size]:
    size = ceil_div(whole, count)
    return [size] * (count - 1) + [whole - size * (count - 1)]


@lowers(aten.chunk.default, aten.unsafe_chunk.default)
def chunk(op: Builder, self: Value, chunks: int, dim: int) -> Sequence[Value]:
    """[*L, a, *R] -> at most `chunks` parts of ceil(a / chunks), the last with what is left.

    A dynamic size is taken to give all of them; the capture holds it to that.
    """
    axis = axis_of(self, dim)
    whole = dims(self)[axis]
    if type(whole) is not int:
        return parts(op, self, _chunk_sizes(whole, chunks), axis)
    if whole == 0:
        return [self] * chunks
    return parts(op, self, even_sizes(whole, -(-whole // chunks)), axis)


@lowers(aten.tensor_split.sections)
def tensor_split(op: Builder, self: Value, sections: int, dim: int) -> Sequence[Value]:
    """[*L, a, *R] -> `sections` parts: the first a % sections of them are larger by 1."""
    axis = axis_of(self, dim)
    whole = dims(self)[axis]
    return parts(op, self, [(whole + (sections - 1 - i)) // sections for i in range(sections)], axis)


@lowers(aten.tensor_split.indices)
def tensor_split_at(op: Builder, self: Value, indices: Sequence[Size], dim: int) -> Sequence[Value]:
    """[*L, a, *R] -> one part more than there are indices, each from one index to the next."""
    axis = axis_of(self, dim)
    whole = dims(self)[axis]
    places: list[Size] = [0, *(_clamped(index, whole) for index in indices), whole]
    sizes = [larger(end - start, 0) for start, end in pairwise(places)]
    if all(type(place) is int for place in places[:-1]) and places[:-1] == sorted(places[:-1]):  # type: ignore[type-var]  # ints
        return parts(op, self, sizes, axis)
    return [op.slice(self, axis, start, larger(start, end)) for start, end in pairwise(places)]


def _clamped(index: Size, whole: Size) -> Size:
    if type(index) is int and index < 0:
        return larger(whole + index, 0)
    return smaller(index, whole)


def _default_axis(name: str, value: Value) -> int:
    """The axis that the name says: for hsplit 0 for vectors, 1 for all else."""
    return {"hsplit": min(rank(value), 2) - 1, "vsplit": 0, "dsplit": 2}[name]


def _named_splits(name: str) -> None:
    @lowers(getattr(aten, name).int)
    def by_count(op: Builder, self: Value, sections: int) -> Sequence[Value]:
        """`tensor_split` along the axis that the name says."""
        return tensor_split(op, self, sections, _default_axis(name, self))

    @lowers(getattr(aten, name).array)
    def by_places(op: Builder, self: Value, indices: Sequence[Size]) -> Sequence[Value]:
        """`tensor_split` along the axis that the name says."""
        return tensor_split_at(op, self, indices, _default_axis(name, self))


for _name in ("hsplit", "vsplit", "dsplit"):
    _named_splits(_name)


@lowers(aten.unbind.int, aten.unbind_copy.int)
def unbind(op: Builder, self: Value, dim: int) -> list[Value]:
    """[*L, a, *R] -> a times [*L, *R]; those that nobody uses cost nothing."""
    axis = axis_of(self, dim)
    count = dims(self)[axis]
    if type(count) is not int:
        raise LoweringError(
            f"unbind: the number of results must not depend on a dynamic size, got {count}",
            hint="make this dim static, or index the tensor",
        )
    if count == 1:
        return [op.squeeze(self, [axis])]
    return [op.Gather(self, index, axis=axis) for index in range(count)]
