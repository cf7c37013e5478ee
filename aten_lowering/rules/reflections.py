"""Orthogonal factors, by Householder reflections as LAPACK makes them, so that signs agree."""

from __future__ import annotations

import numpy as np
import torch

from aten_lowering.builder import Builder, Value, dims, dtype
from aten_lowering.loops import counted, repeated
from aten_lowering.registry import lowers
from aten_lowering.rules.matrices import identity, transposed
from shape_inference import Size, smaller

aten = torch.ops.aten


def _reflected(op: Builder, matrix: Value, vector: Value, factor: Value) -> Value:
    """[*B, N, M], [*B, N, 1], [*B, 1, 1] -> [*B, N, M], `matrix - factor v v^T matrix`."""
    return op.Sub(matrix, op.Mul(op.Mul(factor, vector), op.MatMul(transposed(op, vector), matrix)))


def _packed(op: Builder, matrix: Value) -> tuple[Value, Value]:
    """[*B, N, M] -> R above the reflections' vectors [*B, N, M], and their factors [*B, min(N, M)].

    With x the column from the diagonal on, beta = -sign(x_0) |x|: the vector is x / (x_0 - beta) with a
    1 in front, the factor (beta - x_0) / beta; nothing is reflected where all but x_0 is 0.
    """
    *batch, count, columns = dims(matrix)
    steps, kind = smaller(count, columns), dtype(matrix)
    zero, one = op.constant(0.0, kind), op.constant(1.0, kind)

    def reflect(op: Builder, k: Value, state: Value) -> tuple[list[Value], list[Value]]:
        rows = op.unsqueeze(counted(op, count), [1])
        here, below = op.Equal(rows, k), op.Greater(rows, k)
        column = op.Gather(state, op.unsqueeze(k, [0]), axis=-1)
        head = op.Gather(column, op.unsqueeze(k, [0]), axis=-2)
        tail = op.Where(below, column, zero)
        rest = op.reduce("ReduceSumSquare", tail, [-2], keepdims=True)
        size = op.Sqrt(op.Add(rest, op.Mul(head, head)))
        is_flat = op.Equal(rest, 0.0)
        beta = op.Where(is_flat, head, op.Where(op.Less(head, 0.0), size, op.Neg(size)))
        factor = op.Where(is_flat, zero, op.Div(op.Sub(beta, head), op.Where(is_flat, one, beta)))
        tail = op.Div(tail, op.Where(is_flat, one, op.Sub(head, beta)))
        vector = op.Where(here, one, tail)
        columns_ = counted(op, columns)
        right = op.Where(op.Greater(columns_, k), _reflected(op, state, vector, factor), state)
        left = op.Where(here, beta, op.Where(below, tail, column))
        state = op.Where(op.Equal(columns_, k), left, right)
        return [state], [op.squeeze(factor, [-2, -1])]

    packed, factors = repeated(op, steps, [matrix], reflect)
    factors = op.transpose(op.sized(factors, [steps, *batch]), [*range(1, len(batch) + 1), 0])
    return packed, factors


def _applied(
    op: Builder, packed: Value, factors: Value, other: Value, *, backward: bool, transpose: bool = False
) -> Value:  # fmt: skip
    """[*B, N, K], [*B, K], [*B, N, M] -> [*B, N, M], the reflections one after the other, or backward."""
    count, steps = dims(packed)[-2], dims(factors)[-1]
    kind = dtype(packed)

    def reflect(op: Builder, step: Value, state: Value) -> tuple[list[Value], list[Value]]:
        k = op.Sub(op.scalar(steps - 1), step) if backward else step
        rows = op.unsqueeze(counted(op, count), [1])
        column = op.Gather(packed, op.unsqueeze(k, [0]), axis=-1)
        vector = op.Where(op.Greater(rows, k), column, op.cast(op.Equal(rows, k), kind))
        factor = op.unsqueeze(op.Gather(factors, op.unsqueeze(k, [0]), axis=-1), [-1])
        return [_reflected(op, state, vector, factor)], []

    return repeated(op, steps, [other], reflect)[0]


def _orthogonal(op: Builder, packed: Value, factors: Value, columns: Size) -> Value:
    """[*B, N, K], [*B, K] -> [*B, N, M], the first columns of the product of the reflections."""
    *batch, count, _ = dims(packed)
    start = op.expand(identity(op, count, columns, dtype(packed)), [*batch, count, columns])
    return _applied(op, packed, factors, start, backward=True)


def completed(op: Builder, columns: Value) -> Value:
    """[*B, N, M] of orthonormal columns, the last may be 0 -> [*B, N, N], with further ones in their places."""
    count, kept = dims(columns)[-2:]
    packed, factors = _packed(op, columns)
    every = _orthogonal(op, packed, factors, count)
    known = op.reduce("ReduceSumSquare", columns, [-2], keepdims=True)
    first = op.Where(op.Equal(known, 0.0), op.slice(every, -1, 0, kept), columns)
    return op.sized(op.Concat(first, op.slice(every, -1, kept, count), axis=-1), dims(every))


@lowers(aten.geqrf.default)
def geqrf(op: Builder, self: Value) -> tuple[Value, Value]:
    """[*B, N, M] -> R above the reflections' vectors [*B, N, M], and their factors [*B, min(N, M)]."""
    return _packed(op, self)


@lowers(aten.linalg_householder_product.default)
def linalg_householder_product(op: Builder, input: Value, tau: Value) -> Value:
    """[*B, N, M], [*B, K] -> [*B, N, M]."""
    return _orthogonal(op, input, tau, dims(input)[-1])


@lowers(aten.orgqr.default)
def orgqr(op: Builder, self: Value, input2: Value) -> Value:
    """[*B, N, M], [*B, K] -> [*B, N, M]."""
    return _orthogonal(op, self, input2, dims(self)[-1])


@lowers(aten.ormqr.default)
def ormqr(op: Builder, self: Value, input2: Value, input3: Value, left: bool, transpose: bool) -> Value:
    """[*B, N, K], [*B, K], [*B, N, M] -> [*B, N, M], Q or Q^T times a matrix, from the left or right."""
    if left:
        return _applied(op, self, input2, input3, backward=not transpose)
    turned = _applied(op, self, input2, transposed(op, input3), backward=transpose)
    return transposed(op, turned)


@lowers(aten.linalg_qr.default)
def linalg_qr(op: Builder, A: Value, mode: str) -> tuple[Value, Value]:
    """[*B, N, M] -> Q [*B, N, K], R [*B, K, M], K = min(N, M), or N where complete."""
    count, columns = dims(A)[-2:]
    packed, factors = _packed(op, A)
    kept = count if mode == "complete" else smaller(count, columns)
    upper = op.slice(op.Trilu(packed, upper=1), -2, 0, kept)
    if mode == "r":
        return op.constant(np.zeros(0), dtype(A)), upper
    return _orthogonal(op, packed, factors, kept), upper


@lowers(aten.qr.default)
def qr(op: Builder, self: Value, some: bool) -> tuple[Value, Value]:
    """[*B, N, M] -> Q, R."""
    return linalg_qr(op, self, "reduced" if some else "complete")
