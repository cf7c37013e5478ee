"""Triangular systems, and the Cholesky factors of positive definite matrices.

Each is one Loop over the rows or columns, for all matrices of a batch at once. Where torch raises an
error for a matrix that is not positive definite, the results are NaN.
"""

from __future__ import annotations

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.loops import counted, repeated
from aten_lowering.registry import lowers
from aten_lowering.rules.matrices import identity_of, transposed
from shape_inference import Size

__all__ = ["batch_of", "cholesky_factor", "substituted"]

aten = torch.ops.aten


def batch_of(first: Value, second: Value) -> list[Size]:
    """The dims before the matrices, stretched to each other."""
    count = max(rank(first), rank(second)) - 2
    a, b = ((1,) * (count + 2 - rank(matrix)) + dims(matrix)[:-2] for matrix in (first, second))
    return [y if type(x) is int and x == 1 else x for x, y in zip(a, b, strict=True)]


def substituted(op: Builder, triangle: Value, right: Value, *, upper: bool, unit: bool = False) -> Value:
    """[*B, N, N], [*B, N, M] -> [*B, N, M], the X of `triangle X = right`, row by row.

    The other half of the matrix is not read: it meets rows of X that are still 0.
    """
    batch, (count, columns) = batch_of(triangle, right), dims(right)[-2:]
    right = op.expand(right, [*batch, count, columns])
    zeros = op.expand(op.constant(0.0, dtype(right)), [*batch, count, columns])

    def substitute(op: Builder, step: Value, solution: Value) -> tuple[list[Value], list[Value]]:
        k = op.unsqueeze(op.Sub(op.scalar(count - 1), step) if upper else step, [0])
        row = op.Gather(triangle, k, axis=-2)
        found = op.Sub(op.Gather(right, k, axis=-2), op.MatMul(row, solution))
        if not unit:
            found = op.Div(found, op.Gather(row, k, axis=-1))
        here = op.unsqueeze(op.Equal(counted(op, count), k), [1])
        return [op.Where(here, found, solution)], []

    return repeated(op, count, [zeros], substitute)[0]


@lowers(aten.linalg_solve_triangular.default)
def linalg_solve_triangular(op: Builder, self: Value, B: Value, upper: bool, left: bool, unitriangular: bool) -> Value:
    """[*B, N, N], [*B, N, M] -> the X of `self X = B`, or of `X self = B`."""
    if left:
        return substituted(op, self, B, upper=upper, unit=unitriangular)
    solution = substituted(op, transposed(op, self), transposed(op, B), upper=not upper, unit=unitriangular)
    return transposed(op, solution)


@lowers(aten.triangular_solve.default)
def triangular_solve(
    op: Builder, self: Value, A: Value, upper: bool, transpose: bool, unitriangular: bool
) -> tuple[Value, Value]:  # fmt: skip
    """[*B, N, M], [*B, N, N] -> the X of `A X = self`, and A."""
    triangle = transposed(op, A) if transpose else A
    batch = batch_of(self, A)
    solution = substituted(op, triangle, self, upper=upper != transpose, unit=unitriangular)
    return solution, op.expand(A, [*batch, *dims(A)[-2:]])


def cholesky_factor(op: Builder, matrix: Value, *, upper: bool) -> Value:
    """[*B, N, N] -> [*B, N, N], the L of `L L^T = matrix`, or its transpose; the other half is not read.

    Each round takes a column off: l = s_k / sqrt(s_kk), s = s - l l^T.
    """
    *batch, count, _ = dims(matrix)
    kind = dtype(matrix)
    matrix = transposed(op, matrix) if upper else matrix

    def take(op: Builder, k: Value, rest: Value) -> tuple[list[Value], list[Value]]:
        column = op.Gather(rest, op.unsqueeze(k, [0]), axis=-1)
        corner = op.Gather(column, op.unsqueeze(k, [0]), axis=-2)
        below = op.unsqueeze(op.GreaterOrEqual(counted(op, count), k), [1])
        column = op.Where(below, op.Div(column, op.Sqrt(corner)), op.constant(0.0, kind))
        return [op.Sub(rest, op.MatMul(column, transposed(op, column)))], [op.squeeze(column, [-1])]

    rows = op.sized(repeated(op, count, [matrix], take)[1], [count, *batch, count])
    places = list(range(1, len(batch) + 1))
    return op.transpose(rows, [*places, 0, len(batch) + 1] if upper else [*places, len(batch) + 1, 0])


@lowers(aten.linalg_cholesky.default, aten.cholesky.default)
def cholesky(op: Builder, self: Value, upper: bool) -> Value:
    """[*B, N, N] -> [*B, N, N], the L of `L L^T = self`, or its transpose."""
    return cholesky_factor(op, self, upper=upper)


@lowers(aten.linalg_cholesky_ex.default)
def linalg_cholesky_ex(op: Builder, self: Value, upper: bool, check_errors: bool) -> tuple[Value, Value]:
    """[*B, N, N] -> [*B, N, N], and the order of the first minor that is not positive [*B], else 0."""
    factor = cholesky_factor(op, self, upper=upper)
    if dims(self)[-1] == 0:
        return factor, op.expand(op.constant(0, ir.DataType.INT32), dims(self)[:-2])
    diagonal = op.reduce("ReduceSum", op.Mul(factor, identity_of(op, factor)), [-1])
    wrong = op.cast(op.IsNaN(diagonal), ir.DataType.INT32)
    first = op.cast(op.Add(op.ArgMax(wrong, axis=-1, keepdims=0), 1), ir.DataType.INT32)
    return factor, op.Mul(first, op.reduce("ReduceMax", wrong, [-1]))


@lowers(aten.cholesky_solve.default)
def cholesky_solve(op: Builder, self: Value, input2: Value, upper: bool) -> Value:
    """[*B, N, M], [*B, N, N] -> [*B, N, M], the X of `L L^T X = self`."""
    lower = transposed(op, input2) if upper else input2
    half = substituted(op, lower, self, upper=False)
    return substituted(op, transposed(op, lower), half, upper=True)


@lowers(aten.cholesky_inverse.default)
def cholesky_inverse(op: Builder, self: Value, upper: bool) -> Value:
    """[*B, N, N] -> [*B, N, N], the inverse of `L L^T`."""
    return cholesky_solve(op, identity_of(op, self), self, upper)
