"""Eigenvalues of symmetric matrices and singular values, by Jacobi's rotations.

A round rotates disjoint pairs of columns at once, such that a sweep of rounds meets each pair; sweeps end
when no pair is left to rotate. Values are accurate to the last digits. Vectors are those of torch up to
their signs, and up to rotations among equal values, which LAPACK decides by rounding errors.
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
from aten_lowering.rules.reflections import completed
from shape_inference import Size, at_least, larger, smaller

__all__ = ["eigenvalues", "singular_values"]

aten = torch.ops.aten
_SWEEPS = 30
# What is left of a pair that counts as nothing, beside the sizes of its columns.
_PRECISION = {ir.DataType.FLOAT: 1e-7, ir.DataType.DOUBLE: 1e-15}


class _Rotation(NamedTuple):
    """For each column: its partner [N], and the cosine and the tangent of its turn [*B, N]."""

    partners: Value
    cosine: Value
    tangent: Value


def _partners(op: Builder, step: Value, count: Size) -> Value:
    """[N]: with whom each column is paired in a round, as in a tournament of n players, n even.

    Player n - 1 stays, the others i meet the j with i + j = round mod n - 1; who meets itself meets him.
    A player without a partner, for odd N, is its own.
    """
    players = (count + 1) // 2 * 2
    columns, last = counted(op, count), op.scalar(players - 1)
    cycle = op.Max(last, 1)
    other = op.Mod(op.Sub(op.Add(step, cycle), columns), cycle)
    other = op.Where(op.Equal(other, columns), last, other)
    middle = op.Mod(op.Mul(step, op.Div(op.scalar(players), 2)), cycle)
    other = op.Where(op.Equal(columns, last), middle, other)
    return op.Where(op.Less(other, op.scalar(count)), other, columns)


def _rotation(op: Builder, partners: Value, own: Value, mixed: Value, bound: Value) -> _Rotation:
    """How to turn pairs of columns with squares `own` and products `mixed`, [*B, N] each, to products of 0.

    cot 2t = (own_j - own_i) / (2 mixed); of the two angles the smaller. Products up to the bound stay.
    """
    kind = dtype(own)
    zero, one = op.constant(0.0, kind), op.constant(1.0, kind)
    others = op.Gather(own, partners, axis=-1)
    counts = op.And(op.Greater(op.Abs(mixed), bound), op.Not(op.Equal(partners, counted(op, dims(own)[-1]))))
    cotangent = op.Div(op.Sub(others, own), op.Where(counts, op.Mul(mixed, 2.0), one))
    is_first = op.Less(counted(op, dims(own)[-1]), partners)
    sign = op.Where(is_first, one, op.constant(-1.0, kind))
    sign = op.Where(op.Equal(cotangent, 0.0), sign, op.Sign(cotangent))
    tangent = op.Div(sign, op.Add(op.Abs(cotangent), op.Sqrt(op.Add(op.Mul(cotangent, cotangent), 1.0))))
    tangent = op.Where(counts, tangent, zero)
    cosine = op.Div(one, op.Sqrt(op.Add(op.Mul(tangent, tangent), 1.0)))
    return _Rotation(partners, cosine, tangent)


def _turned(op: Builder, matrix: Value, rotation: _Rotation) -> Value:
    """[*B, M, N] -> [*B, M, N], `cos t (column - tan t partner)`."""
    partner = op.Gather(matrix, rotation.partners, axis=-1)
    difference = op.Sub(matrix, op.Mul(partner, op.unsqueeze(rotation.tangent, [-2])))
    return op.Mul(difference, op.unsqueeze(rotation.cosine, [-2]))


def _sweeps(op: Builder, count: Size, state: list[Value], rounds: object) -> list[Value]:
    """Repeat a round until a sweep of them turned nothing; the last of the state is how far it turned."""

    def sweep(op: Builder, index: Value, *values: Value) -> tuple[list[Value], list[Value]]:
        *kept, turned = values
        return repeated(op, (count + 1) // 2 * 2 - 1, [*kept, op.Mul(turned, 0.0)], rounds), []  # type: ignore[arg-type]  # a round

    def is_done(op: Builder, *values: Value) -> Value:
        return op.Equal(values[-1], 0.0)

    first = op.constant(0.0, dtype(state[0]))
    return repeated(op, _SWEEPS, [*state, first], sweep, until=is_done)[:-1]


def _most(op: Builder, turned: Value, rotation: _Rotation) -> Value:
    """[], the largest turn so far."""
    return op.Max(turned, op.ReduceMax(op.Abs(rotation.tangent), keepdims=0))


# Symmetric matrices


def _diagonalized(op: Builder, matrix: Value) -> tuple[Value, Value]:
    """[*B, N, N] symmetric -> eigenvalues [*B, N], ascending, and vectors [*B, N, N]."""
    *batch, count, _ = dims(matrix)
    kind = dtype(matrix)
    if count == 0:
        return op.expand(op.constant(0.0, kind), [*batch, 0]), matrix
    vectors = op.expand(identity(op, count, count, kind), [*batch, count, count])

    def round_(
        op: Builder, step: Value, matrix: Value, vectors: Value, turned: Value
    ) -> tuple[list[Value], list[Value]]:
        partners = _partners(op, step, count)
        one_hot = op.cast(op.Equal(op.unsqueeze(counted(op, count), [1]), partners), kind)
        own = op.reduce("ReduceSum", op.Mul(matrix, identity_of(op, matrix)), [-2])
        mixed = op.reduce("ReduceSum", op.Mul(matrix, one_hot), [-2])
        largest = op.reduce("ReduceMax", op.Abs(own), [-1], keepdims=True)
        rotation = _rotation(op, partners, own, mixed, op.Mul(largest, _PRECISION[kind]))
        half = transposed(op, _turned(op, matrix, rotation))
        matrix = _turned(op, half, rotation)
        return [matrix, _turned(op, vectors, rotation), _most(op, turned, rotation)], []

    matrix, vectors = _sweeps(op, count, [matrix, vectors], round_)
    values = op.reduce("ReduceSum", op.Mul(matrix, identity_of(op, matrix)), [-2])
    values, order = op.TopK(values, op.shape([count]), axis=-1, largest=0, _outputs=2)
    return values, _columns(op, vectors, order)


def _columns(op: Builder, matrix: Value, order: Value) -> Value:
    """[*B, M, N], [*B, N] -> [*B, M, N], columns in another order."""
    return op.GatherElements(matrix, op.Expand(op.unsqueeze(order, [-2]), op.shape(dims(matrix))), axis=-1)


def _symmetric(op: Builder, matrix: Value, part: str) -> Value:
    """[*B, N, N] -> [*B, N, N], one half mirrored over the other."""
    upper = part.upper() == "U"
    half = op.Trilu(matrix, upper=int(upper))
    other = op.Trilu(matrix, 1 if upper else -1, upper=int(upper))
    return op.Add(half, transposed(op, other))


def eigenvalues(op: Builder, matrix: Value, part: str = "L") -> Value:
    """[*B, N, N] symmetric -> [*B, N], ascending."""
    return _diagonalized(op, _symmetric(op, matrix, part))[0]


@lowers(aten._linalg_eigh.default)
def linalg_eigh(op: Builder, A: Value, UPLO: str, compute_v: bool) -> tuple[Value, Value]:
    """[*B, N, N] -> eigenvalues [*B, N], ascending, and vectors [*B, N, N]."""
    values, vectors = _diagonalized(op, _symmetric(op, A, UPLO))
    return values, vectors if compute_v else op.constant(np.zeros(0), dtype(A))


# Singular values


def _decomposed(op: Builder, matrix: Value) -> tuple[Value, Value, Value]:
    """[*B, N, M], N >= M -> U [*B, N, M], values [*B, M], descending, V [*B, M, M].

    The columns of the matrix are turned until they are orthogonal: then they are U times the values.
    """
    *batch, _, count = dims(matrix)
    kind = dtype(matrix)
    vectors = op.expand(identity(op, count, count, kind), [*batch, count, count])

    def round_(
        op: Builder, step: Value, matrix: Value, vectors: Value, turned: Value
    ) -> tuple[list[Value], list[Value]]:
        partners = _partners(op, step, count)
        own = op.reduce("ReduceSumSquare", matrix, [-2])
        mixed = op.reduce("ReduceSum", op.Mul(matrix, op.Gather(matrix, partners, axis=-1)), [-2])
        sizes = op.Sqrt(op.Mul(own, op.Gather(own, partners, axis=-1)))
        rotation = _rotation(op, partners, own, mixed, op.Mul(sizes, _PRECISION[kind]))
        return [_turned(op, matrix, rotation), _turned(op, vectors, rotation), _most(op, turned, rotation)], []

    matrix, vectors = _sweeps(op, count, [matrix, vectors], round_)
    values, order = op.TopK(op.reduce("ReduceL2", matrix, [-2]), op.shape([count]), axis=-1, _outputs=2)
    safe = op.Where(op.Equal(values, 0.0), op.constant(1.0, kind), values)
    return op.Div(_columns(op, matrix, order), op.unsqueeze(safe, [-2])), values, _columns(op, vectors, order)


def _singular(op: Builder, matrix: Value) -> tuple[Value, Value, Value]:
    """[*B, N, M] -> U [*B, N, K], values [*B, K], V [*B, M, K], K = min(N, M)."""
    *batch, count, columns = dims(matrix)
    is_tall = at_least(count, columns)
    if smaller(count, columns) == 0:
        sizes: list[list[Size]] = [[*batch, count, 0], [*batch, 0], [*batch, columns, 0]]
        left, values, right = (op.expand(op.constant(0.0, dtype(matrix)), size) for size in sizes)
        return left, values, right
    if is_tall:
        return _decomposed(op, matrix)
    if is_tall is None:
        return _singular_of_any(op, matrix)
    right, values, left = _decomposed(op, transposed(op, matrix))
    return left, values, right


def _singular_of_any(op: Builder, matrix: Value) -> tuple[Value, Value, Value]:
    """The same where only the model knows which size is larger: rows of 0 are added, then taken off."""
    *batch, count, columns = dims(matrix)
    least, height = smaller(count, columns), larger(count, columns)
    before = [0] * rank(matrix)
    pads = op.shape([*before, *before[:-2], height - count, 0])
    left, values, right = _decomposed(op, op.sized(op.Pad(matrix, pads), [*batch, height, columns]))
    left = op.slice(op.slice(left, -1, 0, least), -2, 0, count)
    return left, op.slice(values, -1, 0, least), op.slice(right, -1, 0, least)


def singular_values(op: Builder, matrix: Value) -> Value:
    """[*B, N, M] -> [*B, min(N, M)], descending."""
    return _singular(op, matrix)[1]


@lowers(aten._linalg_svd.default)
def linalg_svd(
    op: Builder, A: Value, full_matrices: bool, compute_uv: bool, driver: str | None
) -> tuple[Value, Value, Value]:  # fmt: skip
    """[*B, N, M] -> U [*B, N, K], values [*B, K], V^T [*B, K, M], K = min(N, M); [*B, N, N] and [*B, M, M] where full.

    Vectors to values of 0 may be 0, where torch chooses some that are orthogonal to all others.
    """
    left, values, right = _singular(op, A)
    if not compute_uv:
        nothing = op.constant(np.zeros(0), dtype(A))
        return nothing, values, nothing
    if full_matrices:
        left = left if dims(left)[-1] == dims(left)[-2] else completed(op, left)
        right = right if dims(right)[-1] == dims(right)[-2] else completed(op, right)
    return left, values, transposed(op, right)


@lowers(aten.linalg_pinv.atol_rtol_tensor)
def linalg_pinv(op: Builder, self: Value, atol: Value | None, rtol: Value | None, hermitian: bool) -> Value:
    """[*B, N, M] -> [*B, M, N], with values up to max(atol, rtol * largest) taken for 0.

    Without tolerances, rtol is max(N, M) times the precision of the dtype.
    """
    left, values, right = _singular(op, _symmetric(op, self, "L") if hermitian else self)
    kind = dtype(self)
    largest = op.slice(values, -1, 0, 1)
    if rtol is None and atol is None:
        length = op.scalar(larger(*dims(self)[-2:]), kind)
        bound = op.Mul(largest, op.Mul(length, float(np.finfo(kind.numpy()).eps)))
    else:
        bound = op.constant(0.0, kind) if rtol is None else op.Mul(largest, op.unsqueeze(op.cast(rtol, kind), [-1]))
        if atol is not None:
            bound = op.Max(bound, op.unsqueeze(op.cast(atol, kind), [-1]))
    one = op.constant(1.0, kind)
    counts = op.Greater(values, bound)
    turned = op.Where(counts, op.Div(one, op.Where(counts, values, one)), op.constant(0.0, kind))
    result = op.MatMul(op.Mul(right, op.unsqueeze(turned, [-2])), transposed(op, left))
    *batch, count, columns = dims(self)
    return op.sized(result, [*batch, columns, count])
