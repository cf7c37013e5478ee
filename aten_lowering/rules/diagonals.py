"""Diagonals and triangles of matrices, block matrices and grids."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import torch

from aten_lowering.axes import arange, axis_of
from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.elementwise import where
from aten_lowering.promotion import promoted
from aten_lowering.registry import lowers
from aten_lowering.rules.joins import stack
from aten_lowering.rules.pads import padded
from aten_lowering.rules.reshapes import flat
from shape_inference import Size, larger, product, smaller

aten = torch.ops.aten

# What onnxruntime's Trilu has no kernel for; all go through int64 without loss.
_SHORT = (ir.DataType.INT8, ir.DataType.INT16, ir.DataType.UINT8, ir.DataType.UINT16)


@lowers(aten.tril.default)
def tril(op: Builder, self: Value, diagonal: Size) -> Value:
    """[*B, n, m] -> [*B, n, m], zero above a diagonal."""
    return _triangle(op, self, diagonal, upper=0)


@lowers(aten.triu.default)
def triu(op: Builder, self: Value, diagonal: Size) -> Value:
    """[*B, n, m] -> [*B, n, m], zero below a diagonal."""
    return _triangle(op, self, diagonal, upper=1)


def _triangle(op: Builder, value: Value, diagonal: Size, upper: int) -> Value:
    kind = dtype(value)
    wide = op.cast(value, ir.DataType.INT64) if kind in _SHORT else value
    return op.cast(op.Trilu(wide, None if diagonal == 0 else op.scalar(diagonal), upper=upper), kind)


# One diagonal.


@lowers(aten.diagonal.default, aten.diagonal_copy.default)
def diagonal(op: Builder, self: Value, offset: int, dim1: int, dim2: int) -> Value:
    """[*B, n, m] (the axes dim1 and dim2 put last) -> [*B, k]: the elements (i, i + offset).

    In the flattened matrix they are m + 1 apart.
    """
    first, second = axis_of(self, dim1), axis_of(self, dim2)
    others = [axis for axis in range(rank(self)) if axis not in (first, second)]
    matrices = op.transpose(self, [*others, first, second])
    *batch, rows, columns = dims(matrices)
    count = diagonal_size(rows, columns, offset)
    start = offset if offset >= 0 else -offset * columns
    step = columns + 1
    rows_flat = op.reshape(matrices, [*batch, rows * columns])
    end = start + (count - 1) * step + 1
    picked = op.Slice(rows_flat, op.shape([start]), op.shape([end]), [-1], op.shape([step]))
    return op.sized(picked, [*batch, count])


def diagonal_size(rows: Size, columns: Size, offset: int) -> Size:
    """How long a diagonal is."""
    return larger(smaller(rows + min(offset, 0), columns - max(offset, 0)), 0)


@lowers(aten.linalg_diagonal.default)
def linalg_diagonal(op: Builder, A: Value, offset: int, dim1: int, dim2: int) -> Value:
    """The same as `diagonal`, of the last two axes by default."""
    return diagonal(op, A, offset, dim1, dim2)


@lowers(aten.trace.default)
def trace(op: Builder, self: Value) -> Value:
    """[n, m] -> []: the sum of the diagonal, of integers as int64."""
    picked = diagonal(op, self, 0, 0, 1)
    if dtype(picked).is_integer() or dtype(picked) == ir.DataType.BOOL:
        picked = op.cast(picked, ir.DataType.INT64)
    return op.reduce("ReduceSum", picked, [0])


@lowers(aten.diag_embed.default)
def diag_embed(op: Builder, self: Value, offset: int, dim1: int, dim2: int) -> Value:
    """[*B, k] -> [*B, n, n] with n = k + |offset|, zero but on a diagonal; its axes go to dim1 and dim2."""
    size = dims(self)[-1] + abs(offset)
    on_columns = op.unsqueeze(padded(op, self, _to_columns(self, size, offset), "constant"), [rank(self) - 1])
    matrices = where(op, _is_diagonal(op, size, size, offset), on_columns, op.constant(0, dtype(self)))
    first, second = dim1 % rank(matrices), dim2 % rank(matrices)
    others = iter(range(rank(matrices) - 2))
    places = {first: rank(matrices) - 2, second: rank(matrices) - 1}
    return op.transpose(
        matrices, [places[axis] if axis in places else next(others) for axis in range(rank(matrices))]
    )  # fmt: skip


def _to_columns(diagonal: Value, columns: Size, offset: int) -> list[Size]:
    """The pads that put each element of a diagonal at its column."""
    before = max(offset, 0)
    return [before, columns - before - dims(diagonal)[-1]]


def _is_diagonal(op: Builder, rows: Size, columns: Size, offset: int) -> Value:
    """Bool [rows, columns], true on a diagonal."""
    if type(rows) is int and type(columns) is int:
        return op.constant(np.eye(rows, columns, offset, dtype=bool))
    row = op.unsqueeze(arange(op, rows), [1])
    return op.Equal(op.Add(row, offset) if offset else row, arange(op, columns))


@lowers(aten.diag.default)
def diag(op: Builder, self: Value, diagonal: int) -> Value:
    """[k] -> [n, n] with it on a diagonal; [n, m] -> its diagonal."""
    if rank(self) == 1:
        return diag_embed(op, self, diagonal, 0, 1)
    return linalg_diagonal(op, self, diagonal, 0, 1)


@lowers(aten.diagflat.default)
def diagflat(op: Builder, self: Value, offset: int) -> Value:
    """[*S] -> [n, n], all elements on a diagonal."""
    return diag_embed(op, flat(op, self), offset, 0, 1)


@lowers(aten.diagonal_scatter.default)
def diagonal_scatter(op: Builder, self: Value, src: Value, offset: int, dim1: int, dim2: int) -> Value:
    """[*S] with src, of the shape of its `diagonal`, on that diagonal."""
    first, second = axis_of(self, dim1), axis_of(self, dim2)
    order = [*(axis for axis in range(rank(self)) if axis not in (first, second)), first, second]
    matrices = op.transpose(self, order)
    rows, columns = dims(matrices)[-2:]
    on_columns = op.unsqueeze(padded(op, src, _to_columns(src, columns, offset), "constant"), [rank(src) - 1])
    put = op.sized(where(op, _is_diagonal(op, rows, columns, offset), on_columns, matrices), dims(matrices))
    return op.transpose(put, [order.index(axis) for axis in range(len(order))])


# Matrices of blocks and products.


@lowers(aten.block_diag.default)
def block_diag(op: Builder, tensors: Sequence[Value]) -> Value:
    """[n_i, m_i] each (a vector is a row) -> [sum n_i, sum m_i], zero beside the blocks."""
    blocks = [op.reshape(t, [1, product(dims(t))]) if rank(t) < 2 else t for t in promoted(op, *tensors)]
    total: Size = sum((dims(block)[1] for block in blocks), 0)
    rows: list[Value] = []
    before: Size = 0
    for block in blocks:
        width = dims(block)[1]
        rows.append(padded(op, block, [before, total - before - width], "constant"))
        before = before + width
    return rows[0] if len(rows) == 1 else op.Concat(*rows, axis=0)


# Grids.


@lowers(aten.meshgrid.default)
def meshgrid(op: Builder, tensors: Sequence[Value]) -> list[Value]:
    """[n_i] each -> [n_0, n_1, …] each, which change along their own axis alone."""
    return meshgrid_by(op, tensors, "ij")


@lowers(aten.meshgrid.indexing)
def meshgrid_by(op: Builder, tensors: Sequence[Value], indexing: str) -> list[Value]:
    """`meshgrid`; with "xy" the first two axes of the results are exchanged."""
    axes = list(range(len(tensors)))
    if indexing == "xy" and len(axes) > 1:
        axes[:2] = [1, 0]
    sizes: list[Size] = [1] * len(axes)
    for axis, tensor in zip(axes, tensors, strict=True):
        sizes[axis] = product(dims(tensor))
    grids = []
    for axis, tensor in zip(axes, tensors, strict=True):
        grids.append(op.expand(op.reshape(tensor, [sizes[axis], *[1] * (len(axes) - axis - 1)]), sizes))
    return grids


@lowers(aten.cartesian_prod.default)
def cartesian_prod(op: Builder, tensors: Sequence[Value]) -> Value:
    """[n_i] each -> [prod n_i, how many]: all tuples of one element of each."""
    if len(tensors) == 1:
        return tensors[0]
    grids = meshgrid(op, promoted(op, *tensors))
    return stack(op, [flat(op, grid) for grid in grids], 1)


@lowers(aten.combinations.default)
def combinations(op: Builder, self: Value, r: int, with_replacement: bool) -> Value:
    """[n] -> [n over r, r]: all tuples of elements in the order in which they stand."""
    count = dims(self)[0]
    if type(count) is not int:
        return _open_combinations(op, self, r, with_replacement)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    places = np.array(list(choose(range(count), r)), dtype=np.int64).reshape(-1, r)
    return op.Gather(self, places, axis=0)


def _open_combinations(op: Builder, value: Value, depth: int, with_replacement: bool) -> Value:
    """Of all tuples of places those that rise, found in a mask of so many axes."""
    count = dims(value)[0]
    number: Size = 1
    for i in range(depth):
        number = number * (count + i if with_replacement else count - i)
    if depth == 1:
        return op.unsqueeze(value, [1])
    places = arange(op, count)
    along = [op.unsqueeze(places, list(range(1, depth - axis))) for axis in range(depth)]
    relation = "LessOrEqual" if with_replacement else "Less"
    rises = [op.emit(relation, list(pair), {}) for pair in itertools.pairwise(along)]
    chosen = op.NonZero(functools.reduce(op.And, rises))
    return op.sized(op.Gather(value, op.transpose(chosen, [1, 0]), axis=0), [number // math.factorial(depth), depth])
