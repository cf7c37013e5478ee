"""Distances between the rows of matrices."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.dtypes import is_float
from aten_lowering.promotion import promoted
from aten_lowering.registry import lowers
from aten_lowering.rules.matrices import transposed
from shape_inference import Size

aten = torch.ops.aten

# torch multiplies matrices where there are more rows than this, and so does the rule, where it knows.
_FEW_ROWS = 25


def _norm(op: Builder, difference: Value, p: float) -> Value:
    """[*S, M] -> [*S], `(sum |d|^p)^(1/p)`; the number of those that are not 0 where p is 0."""
    kind = dtype(difference)
    if dims(difference)[-1] == 0:
        return op.expand(op.constant(0.0, kind), dims(difference)[:-1])
    if p in (1.0, 2.0):
        return op.reduce("ReduceL1" if p == 1 else "ReduceL2", difference, [-1])
    if p == 0:
        return op.reduce("ReduceSum", op.cast(op.Not(op.Equal(difference, 0.0)), kind), [-1])
    sizes = op.Abs(difference)
    if p == math.inf:
        return op.reduce("ReduceMax", sizes, [-1])
    return op.Pow(op.reduce("ReduceSum", op.Pow(sizes, p), [-1]), 1 / p)


@lowers(aten.cdist.default, aten._cdist_forward.default)
def cdist(op: Builder, x1: Value, x2: Value, p: float, compute_mode: int | None) -> Value:
    """[*B, P, M], [*B, R, M] -> [*B, P, R], the p-norms of the differences.

    Euclidean distances between many rows come, as in torch, from |x|^2 - 2 x y + |y|^2, which loses
    digits of small ones.
    """
    many = _is_many(dims(x1)[-2]) or _is_many(dims(x2)[-2])
    if p != 2 or compute_mode == 2 or not (many or compute_mode == 1):
        return _norm(op, op.Sub(op.unsqueeze(x1, [-2]), op.unsqueeze(x2, [-3])), p)
    return _euclidean(op, x1, x2)


def _is_many(count: Size) -> bool:
    return type(count) is int and count > _FEW_ROWS


def _euclidean(op: Builder, x1: Value, x2: Value) -> Value:
    first = op.reduce("ReduceSumSquare", x1, [-1], keepdims=True)
    second = transposed(op, op.reduce("ReduceSumSquare", x2, [-1], keepdims=True))
    products = op.MatMul(op.Mul(x1, -2.0), transposed(op, x2))
    squares = op.Add(op.Add(products, first), second)
    return op.Sqrt(op.Max(squares, op.constant(0.0, dtype(x1))))


@lowers(aten._euclidean_dist.default)
def euclidean_dist(op: Builder, x1: Value, x2: Value) -> Value:
    """[*B, P, M], [*B, R, M] -> [*B, P, R], by a product of matrices."""
    return _euclidean(op, x1, x2)


@lowers(aten.pdist.default, aten._pdist_forward.default)
def pdist(op: Builder, self: Value, p: float) -> Value:
    """[N, M] -> [N (N - 1) / 2], the p-norms of the differences of row i and row j, i < j."""
    count = dims(self)[0]
    if type(count) is int:
        first, second = np.triu_indices(count, 1)
        rows, others = op.Gather(self, op.constant(first)), op.Gather(self, op.constant(second))
    else:
        ones = op.expand(op.constant(1, ir.DataType.INT32), [count, count])
        places = op.NonZero(op.Trilu(ones, 1, upper=1))
        places = op.sized(places, [2, count * (count - 1) // 2])
        rows, others = (
            op.Gather(self, op.Gather(places, op.constant(0))),
            op.Gather(self, op.Gather(places, op.constant(1))),
        )
    return _norm(op, op.Sub(rows, others), p)


@lowers(aten.pairwise_distance.default)
def pairwise_distance(op: Builder, x1: Value, x2: Value, p: float, eps: float, keepdim: bool) -> Value:
    """[*B, M], [*B, M] -> [*B], the p-norms of `x1 - x2 + eps`."""
    difference = op.Sub(*promoted(op, x1, x2))
    if not is_float(dtype(difference)):
        difference = op.cast(difference, ir.DataType.FLOAT)
    distance = _norm(op, op.Add(difference, eps), p)
    return op.unsqueeze(distance, [rank(distance)]) if keepdim else distance
