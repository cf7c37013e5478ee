"""Views that keep the order of the elements: view, reshape, flatten, squeeze, unsqueeze."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from aten_lowering.axes import axis_of
from aten_lowering.builder import Builder, Value, dims, rank
from aten_lowering.registry import lowers
from shape_inference import Size, product

aten = torch.ops.aten


@lowers(
    aten.view.default, aten._unsafe_view.default, aten.view_copy.default, aten._reshape_copy.default
)  # fmt: skip
def view(op: Builder, self: Value, size: Sequence[Size]) -> Value:
    """[*S] -> size, in which one -1 stands for what is left."""
    return op.reshape(self, completed(dims(self), size))


@lowers(aten.reshape.default)
def reshape(op: Builder, self: Value, shape: Sequence[Size]) -> Value:
    """[*S] -> shape, in which one -1 stands for what is left."""
    return op.reshape(self, completed(dims(self), shape))


def completed(old: Sequence[Size], sizes: Sequence[Size]) -> list[Size]:
    """The sizes with their -1 computed: prod(old) / prod(others)."""
    rest = next((place for place, size in enumerate(sizes) if type(size) is int and size == -1), None)
    if rest is None:
        return list(sizes)
    left, others = list(old), [size for place, size in enumerate(sizes) if place != rest]
    for size in others[:]:  # what both have needs no division
        if type(size) is not int and size in left:
            left.remove(size)
            others.remove(size)
    divisor = product(others)
    whole = product(left)
    missing = 0 if divisor == 0 else whole if divisor == 1 else whole // divisor
    return [missing if place == rest else size for place, size in enumerate(sizes)]


@lowers(aten._reshape_alias.default, aten._reshape_alias_copy.default)
def reshape_alias(op: Builder, self: Value, size: Sequence[Size], stride: Sequence[Size]) -> Value:
    """[*S] -> size; ONNX has no strides."""
    return op.reshape(self, list(size))


@lowers(aten.view_as.default, aten.reshape_as.default)
def view_as(op: Builder, self: Value, other: Value) -> Value:
    """[*S], [*T] -> [*T]."""
    return op.reshape(self, dims(other))


@lowers(aten.ravel.default)
def ravel(op: Builder, self: Value) -> Value:
    """[*S] -> [prod(S)]."""
    return flat(op, self)


def flat(op: Builder, value: Value) -> Value:
    """[*S] -> [prod(S)]."""
    return value if rank(value) == 1 else op.reshape(value, [product(dims(value))])


@lowers(aten.flatten.using_ints)
def flatten(op: Builder, self: Value, start_dim: int, end_dim: int) -> Value:
    """[*L, *M, *R] -> [*L, prod(M), *R], M the axes from start_dim to end_dim."""
    start, end = axis_of(self, start_dim), axis_of(self, end_dim)
    old = dims(self)
    return op.reshape(self, [*old[:start], product(old[start : end + 1]), *old[end + 1 :]])


@lowers(aten.unflatten.int)
def unflatten(op: Builder, self: Value, dim: int, sizes: Sequence[Size]) -> Value:
    """[*L, prod(sizes), *R] -> [*L, *sizes, *R]."""
    axis, old = axis_of(self, dim), dims(self)
    return op.reshape(self, [*old[:axis], *completed([old[axis]], sizes), *old[axis + 1 :]])


@lowers(aten.squeeze.default, aten.squeeze_copy.default)
def squeeze(op: Builder, self: Value) -> Value:
    """[*S] -> [*S without its 1s]; a dynamic size is not taken for 1."""
    return op.squeeze(self, [axis for axis, size in enumerate(dims(self)) if size == 1])


@lowers(aten.squeeze.dim, aten.squeeze_copy.dim)
def squeeze_dim(op: Builder, self: Value, dim: int) -> Value:
    """[*L, 1, *R] -> [*L, *R]; the same tensor where the size is not 1."""
    return squeeze_dims(op, self, [dim])


@lowers(aten.squeeze.dims, aten.squeeze_copy.dims)
def squeeze_dims(op: Builder, self: Value, dim: Sequence[int]) -> Value:
    """[*S] -> [*S without those of the axes whose size is 1]."""
    old = dims(self)
    return op.squeeze(self, sorted(axis for axis in {axis_of(self, d) for d in dim} if old[axis : axis + 1] == (1,)))


@lowers(aten.unsqueeze.default, aten.unsqueeze_copy.default)
def unsqueeze(op: Builder, self: Value, dim: int) -> Value:
    """[*L, *R] -> [*L, 1, *R], dim=len(L)."""
    return op.unsqueeze(self, [dim % (rank(self) + 1)])


@lowers(aten.atleast_1d.default)
def atleast_1d(op: Builder, self: Value) -> Value:
    """[] -> [1]."""
    return op.unsqueeze(self, [0]) if rank(self) == 0 else self


@lowers(aten.atleast_2d.default)
def atleast_2d(op: Builder, self: Value) -> Value:
    """[] -> [1, 1], [a] -> [1, a]."""
    return op.unsqueeze(self, list(range(2 - rank(self))))


@lowers(aten.atleast_3d.default)
def atleast_3d(op: Builder, self: Value) -> Value:
    """[] -> [1, 1, 1], [a] -> [1, a, 1], [a, b] -> [a, b, 1]."""
    return op.unsqueeze(self, {0: [0, 1, 2], 1: [0, 2], 2: [2]}.get(rank(self), []))


@lowers(aten.atleast_1d.Sequence)
def atleast_1d_all(op: Builder, tensors: Sequence[Value]) -> list[Value]:
    """Each on its own."""
    return [atleast_1d(op, tensor) for tensor in tensors]


@lowers(aten.atleast_2d.Sequence)
def atleast_2d_all(op: Builder, tensors: Sequence[Value]) -> list[Value]:
    """Each on its own."""
    return [atleast_2d(op, tensor) for tensor in tensors]


@lowers(aten.atleast_3d.Sequence)
def atleast_3d_all(op: Builder, tensors: Sequence[Value]) -> list[Value]:
    """Each on its own."""
    return [atleast_3d(op, tensor) for tensor in tensors]
