"""Norms, variances, and what is scaled by a norm: reductions that are formulas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.dimensions import axes_of, count
from aten_lowering.dtypes import from_torch
from aten_lowering.precision import opmath, widened
from aten_lowering.promotion import float_type, promoted
from aten_lowering.registry import lowers
from aten_lowering.rules.reductions import extreme, mean_of
from shape_inference import Size, larger

aten = torch.ops.aten
Dims = int | Sequence[int] | None

_ONE_OP = {1.0: "ReduceL1", 2.0: "ReduceL2"}


def vector_norm(op: Builder, x: Value, order: float, axes: Sequence[int], keepdim: bool) -> Value:
    """(sum |x|^p)^(1/p) over axes; of order 0 the number of non-zero elements, of order inf the greatest |x|."""
    if order == 0:
        truths = op.cast(op.cast(x, ir.DataType.BOOL), dtype(x))
        return op.reduce("ReduceSum", truths, axes, keepdim)
    if not axes:
        return op.Abs(x)
    if order in _ONE_OP:
        return op.reduce(_ONE_OP[order], x, axes, keepdim)
    if math.isinf(order):
        return extreme(op, "ReduceMax" if order > 0 else "ReduceMin", op.Abs(x), axes, keepdim)
    powers = op.Pow(op.Abs(x), float(order))
    return op.Pow(op.reduce("ReduceSum", powers, axes, keepdim), 1.0 / order)


def _norm(op: Builder, self: Value, order: Any, dim: Dims, keepdim: bool, kind: torch.dtype | None) -> Value:
    """A vector norm in the dtype asked for; half ones are computed in float32."""
    wanted = from_torch(kind) if kind is not None else dtype(self)
    value = op.cast(op.cast(self, wanted), opmath(wanted))
    order = 2.0 if order is None else float(order)
    return op.cast(vector_norm(op, value, order, axes_of(self, dim), keepdim), wanted)


@lowers(aten.linalg_vector_norm.default)
def linalg_vector_norm(
    op: Builder, self: Value, ord: float, dim: Dims, keepdim: bool, dtype: torch.dtype | None
) -> Value:  # fmt: skip
    """[*S] -> [*S] without the dims; no dims: all of them."""
    return _norm(op, self, ord, dim, keepdim, dtype)


@lowers(aten.norm.Scalar)
def norm(op: Builder, self: Value, p: float) -> Value:
    """[*S] -> []."""
    return _norm(op, self, p, None, False, None)


@lowers(aten.norm.ScalarOpt_dim)
def norm_dims(op: Builder, self: Value, p: float | None, dim: Dims, keepdim: bool) -> Value:
    """[*S] -> [*S] without the dims."""
    return _norm(op, self, p, dim, keepdim, None)


@lowers(aten.norm.ScalarOpt_dtype)
def norm_dtype(op: Builder, self: Value, p: float | None, dtype: torch.dtype) -> Value:
    """[*S] -> []."""
    return _norm(op, self, p, None, False, dtype)


@lowers(aten.norm.ScalarOpt_dim_dtype)
def norm_dims_dtype(
    op: Builder, self: Value, p: float | None, dim: Dims, keepdim: bool, dtype: torch.dtype
) -> Value:  # fmt: skip
    """[*S] -> [*S] without the dims."""
    return _norm(op, self, p, dim, keepdim, dtype)


# Distances and angles.


@lowers(aten.dist.default)
def dist(op: Builder, self: Value, other: Value, p: float) -> Value:
    """[*S], [*S] -> [], the norm of the difference."""
    first, second = promoted(op, self, other)
    return _norm(op, op.Sub(first, second), p, None, False, None)


@lowers(aten.cosine_similarity.default)
def cosine_similarity(op: Builder, x1: Value, x2: Value, dim: int, eps: float) -> Value:
    """[*S], [*S] -> [*S] without the dim: x . y / (max(|x|, eps) max(|y|, eps))."""
    kind = float_type([x1, x2])
    x, y = op.cast(x1, opmath(kind)), op.cast(x2, opmath(kind))
    product = op.Mul(x, y)
    axes = axes_of(product, dim)
    scale = op.Mul(*[op.Max(_length(op, v, dims(product), axes), eps) for v in (x, y)])
    return op.cast(op.Div(op.reduce("ReduceSum", product, axes), op.squeeze(scale, axes)), kind)


def _length(op: Builder, x: Value, sizes: Sequence[Size], axes: Sequence[int]) -> Value:
    """The Euclidean norm over axes, these kept, of x broadcast to the sizes."""
    own = [axis - len(sizes) + rank(x) for axis in axes]
    if any(axis < 0 or dims(x)[axis] != sizes[whole] for axis, whole in zip(own, axes, strict=True)):
        x, own = op.expand(x, sizes), list(axes)
    return vector_norm(op, x, 2.0, own, True)


# What is scaled by a norm.


@lowers(aten.renorm.default)
def renorm(op: Builder, self: Value, p: float, dim: int, maxnorm: float) -> Value:
    """[*S] -> [*S]: each slice along the dim, scaled to a norm of at most maxnorm."""
    x = widened(op, self)
    axes = [axis for axis in range(rank(self)) if axis != dim % rank(self)]
    length = vector_norm(op, x, float(p), axes, True)
    factor = op.Where(op.Greater(length, maxnorm), op.Div(maxnorm, op.Add(length, 1e-7)), 1.0)
    return op.cast(op.Mul(x, factor), dtype(self))


# Weight normalization.


def _except(op: Builder, v: Value, order: float, dim: int) -> Value:
    """The norm over all axes but one, these kept; over all where the dim is -1."""
    if dim == -1:
        return vector_norm(op, v, order, axes_of(v, None), False)
    return vector_norm(op, v, order, [axis for axis in range(rank(v)) if axis != dim], True)


@lowers(aten.norm_except_dim.default)
def norm_except_dim(op: Builder, v: Value, pow: int, dim: int) -> Value:
    """[*L, a, *R], dim=len(L) -> [1..., a, 1...]; dim -1 -> []."""
    return op.cast(_except(op, widened(op, v), float(pow), dim), dtype(v))


@lowers(aten._weight_norm.default)
def weight_norm(op: Builder, v: Value, g: Value, dim: int) -> Value:
    """[*S], [1..., a, 1...] -> [*S]: g v / |v|, the norm over all axes but the dim."""
    return weight_norm_interface(op, v, g, dim)[0]


@lowers(aten._weight_norm_interface.default)
def weight_norm_interface(op: Builder, v: Value, g: Value, dim: int) -> tuple[Value, Value]:
    """`_weight_norm`, and the norm."""
    wide = widened(op, v)
    length = _except(op, wide, 2.0, dim)
    scaled = op.Mul(wide, op.Div(op.cast(g, dtype(wide)), length))
    return op.cast(scaled, dtype(v)), length


# Variances and standard deviations.


def _spread(
    op: Builder, self: Value, dim: Dims, correction: float | None, keepdim: bool, root: bool
) -> tuple[Value, Value]:  # fmt: skip
    """The variance, sum (x - mean)^2 / max(n - correction, 0), or its root, and the mean."""
    x = widened(op, self)
    axes = axes_of(self, dim)
    mean = mean_of(op, x, axes, True)
    centred = op.Sub(x, mean)
    total = op.reduce("ReduceSumSquare", centred, axes, keepdim) if axes else op.Mul(centred, centred)
    size, correction = count(x, axes), 1 if correction is None else correction
    if type(size) is int:
        divisor = op.constant(max(size - correction, 0), dtype(x))
    elif float(correction).is_integer():
        divisor = op.scalar(larger(size - int(correction), 0), dtype(x))
    else:
        divisor = op.Max(op.Sub(op.scalar(size, dtype(x)), correction), 0.0)
    variance = op.Div(total, divisor)
    result = op.Sqrt(variance) if root else variance
    return op.cast(result, dtype(self)), op.cast(mean if keepdim else op.squeeze(mean, axes), dtype(self))


def _spreads(root: bool, packet: Any, packet_with_mean: Any) -> None:
    @lowers(packet.default)
    def rule(op: Builder, self: Value, unbiased: bool) -> Value:
        return _spread(op, self, None, int(unbiased), False, root)[0]

    @lowers(packet.dim)
    def rule_dims(op: Builder, self: Value, dim: Dims, unbiased: bool, keepdim: bool) -> Value:
        return _spread(op, self, dim, int(unbiased), keepdim, root)[0]

    @lowers(packet.correction)
    def rule_correction(op: Builder, self: Value, dim: Dims, correction: float | None, keepdim: bool) -> Value:
        """[*S] -> [*S] without the dims; of nothing, and of too few for the correction, NaN or inf."""
        return _spread(op, self, dim, correction, keepdim, root)[0]

    @lowers(packet_with_mean.default)
    def rule_mean(op: Builder, self: Value, unbiased: bool) -> tuple[Value, Value]:
        return _spread(op, self, None, int(unbiased), False, root)

    @lowers(packet_with_mean.dim)
    def rule_mean_dims(op: Builder, self: Value, dim: Dims, unbiased: bool, keepdim: bool) -> tuple[Value, Value]:
        return _spread(op, self, dim, int(unbiased), keepdim, root)

    @lowers(packet_with_mean.correction)
    def rule_mean_correction(
        op: Builder, self: Value, dim: Dims, correction: float | None, keepdim: bool
    ) -> tuple[Value, Value]:  # fmt: skip
        return _spread(op, self, dim, correction, keepdim, root)


_spreads(False, aten.var, aten.var_mean)
_spreads(True, aten.std, aten.std_mean)
