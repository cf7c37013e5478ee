"""Linear systems, inverses and determinants, by elimination with row exchanges.

Each is one Loop over the columns, for all matrices of a batch at once. Where torch raises an error for a
singular matrix, the results are infinite or NaN.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.loops import counted, repeated
from aten_lowering.registry import lowers
from aten_lowering.rules.matrices import identity, identity_of, transposed
from aten_lowering.rules.triangles import batch_of, substituted
from shape_inference import Size, smaller

__all__ = ["inverse", "solved"]

aten = torch.ops.aten
_INT32, _INT64 = ir.DataType.INT32, ir.DataType.INT64


def _exchange(op: Builder, k: Value, pivot: Value, count: Size) -> Value:
    """[*B, 1] -> [*B, N]: the numbers of the rows, those of k and of the pivot exchanged."""
    rows = counted(op, count)
    here = op.Equal(rows, k)
    return op.Where(here, pivot, op.Where(op.Equal(rows, pivot), k, rows))


def _taken(op: Builder, matrix: Value, rows: Value) -> Value:
    """[*B, N, M], [*B, N] -> [*B, N, M], rows in another order."""
    return op.GatherElements(matrix, op.Expand(op.unsqueeze(rows, [-1]), op.shape(dims(matrix))), axis=-2)


def _pivot(op: Builder, matrix: Value, k: Value, pivoted: bool) -> tuple[Value, Value]:
    """Column k [*B, N], and the row of its largest element at or below the diagonal, [*B, 1]."""
    column = op.Gather(matrix, k, axis=-1)
    rows = counted(op, dims(matrix)[-2])
    if not pivoted:
        return column, op.Expand(k, op.shape([*dims(matrix)[:-2], 1]))
    sizes = op.Where(op.Less(rows, k), op.constant(-1.0, dtype(matrix)), op.Abs(column))
    return column, op.ArgMax(sizes, axis=-1, keepdims=1)


# Solving: the matrix beside the right sides, until the matrix is the identity


def solved(op: Builder, matrix: Value, right: Value) -> Value:
    """[*B, N, N], [*B, N, M] -> [*B, N, M], the X of `matrix X = right`."""
    batch, count = batch_of(matrix, right), dims(matrix)[-1]
    columns = dims(right)[-1]
    matrix = op.expand(matrix, [*batch, count, count])
    right = op.expand(right, [*batch, count, columns])
    if 0 in batch:  # onnxruntime's loops lose the shapes of nothing
        return right
    state = op.sized(op.Concat(matrix, right, axis=-1), [*batch, count, count + columns])

    def eliminate(op: Builder, k: Value, state: Value) -> tuple[list[Value], list[Value]]:
        _, pivot = _pivot(op, state, k, pivoted=True)
        state = _taken(op, state, _exchange(op, k, pivot, count))
        column = op.Gather(state, op.unsqueeze(k, [0]), axis=-1)
        row = op.Gather(state, op.unsqueeze(k, [0]), axis=-2)
        here = op.unsqueeze(op.Equal(counted(op, count), k), [1])
        scaled = op.Div(row, op.Gather(row, op.unsqueeze(k, [0]), axis=-1))
        return [op.Where(here, scaled, op.Sub(state, op.Mul(column, scaled)))], []

    (state,) = repeated(op, count, [state], eliminate)
    return op.slice(state, -1, count, count + columns)


def inverse(op: Builder, matrix: Value) -> Value:
    """[*B, N, N] -> [*B, N, N]."""
    count = dims(matrix)[-1]
    return solved(op, matrix, identity(op, count, count, dtype(matrix)))


def _no_errors(op: Builder, matrix: Value) -> Value:
    """[*B], zeros: torch's report of what went wrong."""
    return op.expand(op.constant(0, _INT32), dims(matrix)[:-2])


@lowers(aten.inverse.default)
def inverse_(op: Builder, self: Value) -> Value:
    """[*B, N, N] -> [*B, N, N]."""
    return inverse(op, self)


@lowers(aten.linalg_inv.default)
def linalg_inv(op: Builder, A: Value) -> Value:
    """[*B, N, N] -> [*B, N, N]."""
    return inverse(op, A)


@lowers(aten.linalg_inv_ex.default)
def linalg_inv_ex(op: Builder, A: Value, check_errors: bool) -> tuple[Value, Value]:
    """[*B, N, N] -> [*B, N, N], and no errors [*B]."""
    return inverse(op, A), _no_errors(op, A)


@lowers(aten.linalg_solve.default)
def linalg_solve(op: Builder, A: Value, B: Value, left: bool) -> Value:
    """[*B, N, N], [*B, N, M] or [*B, N] -> the X of `A X = B`, or of `X A = B`."""
    is_vector = rank(B) == 1 or (rank(A) - 1 == rank(B) and dims(A)[:-1] == dims(B))
    right = op.unsqueeze(B, [-1]) if is_vector else B
    if left or is_vector:
        result = solved(op, A, right)
    else:
        result = transposed(op, solved(op, transposed(op, A), transposed(op, right)))
    return op.squeeze(result, [-1]) if is_vector else result


@lowers(aten.linalg_solve_ex.default)
def linalg_solve_ex(op: Builder, A: Value, B: Value, left: bool, check_errors: bool) -> tuple[Value, Value]:
    """[*B, N, N], [*B, N, M] -> the X of `A X = B`, and no errors [*B]."""
    return linalg_solve(op, A, B, left), _no_errors(op, A)


@lowers(aten._linalg_solve_ex.default)
def linalg_solve_ex_(op: Builder, A: Value, B: Value, left: bool, check_errors: bool) -> tuple[Value, ...]:
    """[*B, N, N], [*B, N, M] -> the X of `A X = B`, factors of A, and no errors [*B]."""
    factors = _factored(op, A)
    return linalg_solve(op, A, B, left), factors.packed, factors.pivots, _no_errors(op, A)


# Factors


class _Factors(NamedTuple):
    """L without its ones and U in one matrix; the row that each was exchanged with, from 1; their order; its sign."""

    packed: Value
    pivots: Value
    order: Value
    sign: Value


def _factored(op: Builder, matrix: Value, *, pivoted: bool = True) -> _Factors:
    """[*B, N, M] -> [*B, N, M], [*B, min(N, M)], [*B, N], [*B]."""
    *batch, count, columns = dims(matrix)
    kind = dtype(matrix)
    rows = op.expand(counted(op, count), [*batch, count])
    sign = op.expand(op.constant(1.0, kind), batch)

    def eliminate(op: Builder, k: Value, state: Value, order: Value, sign: Value) -> tuple[list[Value], list[Value]]:
        _, pivot = _pivot(op, state, k, pivoted)
        exchange = _exchange(op, k, pivot, count)
        state, order = _taken(op, state, exchange), op.GatherElements(order, exchange, axis=-1)
        here = op.unsqueeze(k, [0])
        row, column = op.Gather(state, here, axis=-2), op.Gather(state, here, axis=-1)
        below = op.unsqueeze(op.Greater(counted(op, count), k), [1])
        divisor = op.Gather(row, here, axis=-1)
        safe = op.Where(op.Equal(divisor, 0.0), op.constant(1.0, kind), divisor)
        factor = op.Where(below, op.Div(column, safe), op.constant(0.0, kind))
        right = op.Greater(counted(op, columns), k)
        state = op.Sub(state, op.Mul(factor, op.Where(right, row, op.constant(0.0, kind))))
        state = op.Where(op.And(below, op.Equal(counted(op, columns), k)), factor, state)
        stays = op.squeeze(op.Equal(pivot, k), [-1])
        return [state, order, op.Where(stays, sign, op.Neg(sign))], [op.squeeze(pivot, [-1])]

    steps = smaller(count, columns)
    if 0 in batch:  # onnxruntime's loops lose the shapes of nothing
        return _Factors(matrix, op.expand(op.constant(0, _INT32), [*batch, steps]), rows, sign)
    packed, order, sign, pivots = repeated(op, steps, [matrix, rows, sign], eliminate)
    pivots = op.transpose(pivots, [*range(1, len(batch) + 1), 0])
    pivots = op.cast(op.Add(op.sized(pivots, [*batch, steps]), 1), _INT32)
    return _Factors(packed, pivots, order, sign)


def _permutation(op: Builder, order: Value, kind: ir.DataType) -> Value:
    """[*B, N] -> [*B, N, N], the P of `A = P L U`: column i has its one where row i comes from."""
    rows = op.unsqueeze(counted(op, dims(order)[-1]), [1])
    return op.cast(op.Equal(rows, op.unsqueeze(order, [-2])), kind)


def _unpacked(op: Builder, packed: Value) -> tuple[Value, Value]:
    """[*B, N, M] -> L [*B, N, K], U [*B, K, M], K = min(N, M)."""
    count, columns = dims(packed)[-2:]
    least = smaller(count, columns)
    lower = op.slice(op.Trilu(packed, -1, upper=0), -1, 0, least)
    lower = op.Add(lower, identity(op, count, least, dtype(packed)))
    return lower, op.slice(op.Trilu(packed, upper=1), -2, 0, least)


def _nothing(op: Builder, kind: ir.DataType) -> Value:
    return op.constant(np.zeros(0), kind)


@lowers(aten.linalg_lu.default)
def linalg_lu(op: Builder, A: Value, pivot: bool) -> tuple[Value, Value, Value]:
    """[*B, N, M] -> P [*B, N, N], L [*B, N, K], U [*B, K, M], `A = P L U`."""
    factors = _factored(op, A, pivoted=pivot)
    permutation = _permutation(op, factors.order, dtype(A)) if pivot else _nothing(op, dtype(A))
    return permutation, *_unpacked(op, factors.packed)


@lowers(aten.linalg_lu_factor_ex.default)
def linalg_lu_factor_ex(op: Builder, A: Value, pivot: bool, check_errors: bool) -> tuple[Value, Value, Value]:
    """[*B, N, M] -> L and U [*B, N, M], exchanges [*B, K], no errors [*B]."""
    factors = _factored(op, A, pivoted=pivot)
    return factors.packed, factors.pivots, _no_errors(op, A)


@lowers(aten.linalg_lu_factor.default)
def linalg_lu_factor(op: Builder, A: Value, pivot: bool) -> tuple[Value, Value]:
    """[*B, N, M] -> L and U [*B, N, M], exchanges [*B, K]."""
    factors = _factored(op, A, pivoted=pivot)
    return factors.packed, factors.pivots


def _order(op: Builder, pivots: Value, count: Size) -> Value:
    """[*B, K] -> [*B, N]: the order of the rows after these exchanges, one after the other."""
    batch = dims(pivots)[:-1]
    pivots = op.Sub(op.cast(pivots, _INT64), 1)

    def exchange(op: Builder, k: Value, order: Value) -> tuple[list[Value], list[Value]]:
        pivot = op.Gather(pivots, op.unsqueeze(k, [0]), axis=-1)
        return [op.GatherElements(order, _exchange(op, k, pivot, count), axis=-1)], []

    (order,) = repeated(op, dims(pivots)[-1], [op.expand(counted(op, count), [*batch, count])], exchange)
    return order


@lowers(aten.lu_unpack.default)
def lu_unpack(
    op: Builder, LU_data: Value, LU_pivots: Value, unpack_data: bool, unpack_pivots: bool
) -> tuple[Value, Value, Value]:  # fmt: skip
    """[*B, N, M], [*B, K] -> P [*B, N, N], L [*B, N, K], U [*B, K, M]."""
    kind = dtype(LU_data)
    nothing = _nothing(op, kind)
    permutation = nothing
    if unpack_pivots:
        permutation = _permutation(op, _order(op, LU_pivots, dims(LU_data)[-2]), kind)
    lower, upper = _unpacked(op, LU_data) if unpack_data else (nothing, nothing)
    return permutation, lower, upper


@lowers(aten.linalg_lu_solve.default)
def linalg_lu_solve(op: Builder, LU: Value, pivots: Value, B: Value, left: bool, adjoint: bool) -> Value:
    """[*B, N, N], [*B, N], [*B, N, M] -> the X of `P L U X = B`; of the transpose with `adjoint`."""
    if not left:
        return transposed(op, linalg_lu_solve(op, LU, pivots, transposed(op, B), True, not adjoint))
    permutation = _permutation(op, _order(op, pivots, dims(LU)[-1]), dtype(LU))
    if adjoint:
        turned = transposed(op, LU)
        half = substituted(op, turned, B, upper=False)
        return op.MatMul(permutation, substituted(op, turned, half, upper=True, unit=True))
    half = substituted(op, LU, op.MatMul(transposed(op, permutation), B), upper=False, unit=True)
    return substituted(op, LU, half, upper=True)


# Determinants


def _determinant(op: Builder, matrix: Value) -> Value:
    """[*B, N, N] -> [*B]."""
    if dtype(matrix) == ir.DataType.FLOAT:  # runtimes have no other kernel
        return op.Det(matrix)
    factors = _factored(op, matrix)
    return op.Mul(factors.sign, op.reduce("ReduceProd", _diagonal(op, factors.packed), [-1]))


def _diagonal(op: Builder, matrix: Value) -> Value:
    """[*B, N, N] -> [*B, N]."""
    return op.reduce("ReduceSum", op.Mul(matrix, identity_of(op, matrix)), [-1])


@lowers(aten.linalg_det.default)
def linalg_det(op: Builder, A: Value) -> Value:
    """[*B, N, N] -> [*B]."""
    return _determinant(op, A)


@lowers(aten.det.default)
def det(op: Builder, self: Value) -> Value:
    """[*B, N, N] -> [*B]."""
    return _determinant(op, self)


@lowers(aten._linalg_det.default)
def determinant_and_factors(op: Builder, A: Value) -> tuple[Value, None, None]:
    """[*B, N, N] -> [*B]; without the factors, by which torch computes the gradient."""
    return _determinant(op, A), None, None


@lowers(aten._linalg_slogdet.default)
def logarithm_and_factors(op: Builder, A: Value) -> tuple[Value, Value, None, None]:
    """[*B, N, N] -> the results of `linalg_slogdet`; without the factors, by which torch computes the gradient."""
    return *linalg_slogdet(op, A), None, None


@lowers(aten.linalg_slogdet.default)
def linalg_slogdet(op: Builder, A: Value) -> tuple[Value, Value]:
    """[*B, N, N] -> [*B], [*B]: the sign of the determinant, and the logarithm of its size."""
    factors = _factored(op, A)
    diagonal = _diagonal(op, factors.packed)
    sign = op.Mul(factors.sign, op.reduce("ReduceProd", op.Sign(diagonal), [-1]))
    return sign, op.reduce("ReduceSum", op.Log(op.Abs(diagonal)), [-1])


@lowers(aten.slogdet.default)
def slogdet(op: Builder, self: Value) -> tuple[Value, Value]:
    """[*B, N, N] -> [*B], [*B]: the sign of the determinant, and the logarithm of its size."""
    return linalg_slogdet(op, self)


@lowers(aten.logdet.default)
def logdet(op: Builder, self: Value) -> Value:
    """[*B, N, N] -> [*B], the logarithm of the determinant; NaN where that is negative."""
    sign, size = linalg_slogdet(op, self)
    return op.Where(op.Less(sign, 0.0), op.constant(float("nan"), dtype(self)), size)
