"""Losses of one element against another, and of pairs."""

from __future__ import annotations

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dtype, rank
from aten_lowering.precision import opmath
from aten_lowering.promotion import as_value, float_type, promoted
from aten_lowering.registry import lowers
from aten_lowering.rules.losses import reduced

aten = torch.ops.aten

_SUM = 2


def _wide(op: Builder, *values: Value) -> list[Value]:
    """The values in the dtype in which torch computes formulas on them."""
    return promoted(op, *values, to=opmath(float_type(values)))


def _done(op: Builder, loss: Value, reduction: int, *inputs: Value) -> Value:
    """The loss reduced, in the dtype of the inputs."""
    return op.cast(reduced(op, loss, reduction), float_type(inputs))


@lowers(aten.mse_loss.default)
def mse_loss(op: Builder, self: Value, target: Value, reduction: int) -> Value:
    """[*S], [*S] -> [] or [*S]: (x - t)^2."""
    x, t = _wide(op, self, target)
    difference = op.Sub(x, t)
    if reduction == _SUM and rank(difference):
        total = op.reduce("ReduceSumSquare", difference, list(range(rank(difference))))
        return op.cast(total, float_type([self, target]))
    return _done(op, op.Mul(difference, difference), reduction, self, target)


@lowers(aten.l1_loss.default)
def l1_loss(op: Builder, self: Value, target: Value, reduction: int) -> Value:
    """[*S], [*S] -> [] or [*S]: |x - t|."""
    x, t = promoted(op, self, target)
    return reduced(op, op.Abs(op.Sub(x, t)), reduction)


@lowers(aten.smooth_l1_loss.default)
def smooth_l1_loss(op: Builder, self: Value, target: Value, reduction: int, beta: float) -> Value:
    """[*S], [*S] -> [] or [*S]: d^2 / 2 beta where d = |x - t| < beta, else d - beta / 2."""
    x, t = _wide(op, self, target)
    d = op.Abs(op.Sub(x, t))
    if beta:
        d = op.Where(op.Less(d, beta), op.Mul(op.Mul(d, d), 0.5 / beta), op.Sub(d, 0.5 * beta))
    return _done(op, d, reduction, self, target)


@lowers(aten.huber_loss.default)
def huber_loss(op: Builder, self: Value, target: Value, reduction: int, delta: float) -> Value:
    """[*S], [*S] -> [] or [*S]: d^2 / 2 where d = |x - t| <= delta, else delta (d - delta / 2)."""
    x, t = _wide(op, self, target)
    d = op.Abs(op.Sub(x, t))
    far = op.Mul(op.Sub(d, 0.5 * delta), delta)
    loss = op.Where(op.LessOrEqual(d, delta), op.Mul(op.Mul(d, d), 0.5), far)
    return _done(op, loss, reduction, self, target)


@lowers(aten.binary_cross_entropy.default)
def binary_cross_entropy(
    op: Builder, self: Value, target: Value, weight: Value | None, reduction: int
) -> Value:  # fmt: skip
    """[*S], [*S] -> [] or [*S]: -w (t log p + (1 - t) log(1 - p)), logarithms of at least -100."""
    p, t = _wide(op, self, target)
    yes, no = op.Max(op.Log(p), -100.0), op.Max(op.Log(op.Sub(1.0, p)), -100.0)
    loss = op.Sub(op.Mul(op.Sub(t, 1.0), no), op.Mul(t, yes))
    if weight is not None:
        loss = op.Mul(loss, op.cast(weight, dtype(loss)))
    return _done(op, loss, reduction, self, target)


def softplus(op: Builder, x: Value) -> Value:
    """log(1 + exp(x)) without overflow; onnxruntime's Softplus takes float32 alone."""
    if x.dtype != ir.DataType.DOUBLE:
        return op.Softplus(x)
    return op.Add(op.Max(x, 0.0), op.Log(op.Add(op.Exp(op.Neg(op.Abs(x))), 1.0)))


@lowers(aten.binary_cross_entropy_with_logits.default)
def binary_cross_entropy_with_logits(
    op: Builder, self: Value, target: Value, weight: Value | None, pos_weight: Value | None, reduction: int
) -> Value:  # fmt: skip
    """[*S], [*S] -> [] or [*S]: w ((1 - t) x + (1 + (p - 1) t) log(1 + exp(-x))), p being pos_weight."""
    x, t = _wide(op, self, target)
    likely = softplus(op, op.Neg(x))
    if pos_weight is not None:
        factor = op.Add(op.Mul(op.Sub(op.cast(pos_weight, dtype(x)), 1.0), t), 1.0)
        likely = op.Mul(factor, likely)
    loss = op.Add(op.Mul(op.Sub(1.0, t), x), likely)
    if weight is not None:
        loss = op.Mul(loss, op.cast(weight, dtype(loss)))
    return _done(op, loss, reduction, self, target)


@lowers(aten.kl_div.default)
def kl_div(op: Builder, self: Value, target: Value, reduction: int, log_target: bool) -> Value:
    """[*S], [*S] -> [] or [*S]: t (log t - x), 0 where t is 0; of logarithms, exp(t) (t - x)."""
    x, t = _wide(op, self, target)
    if log_target:
        loss = op.Mul(op.Exp(t), op.Sub(t, x))
    else:
        log_t = op.Log(op.Where(op.Equal(t, 0.0), 1.0, t))
        loss = op.Mul(t, op.Sub(log_t, x))
    return _done(op, loss, reduction, self, target)


@lowers(aten.soft_margin_loss.default)
def soft_margin_loss(op: Builder, self: Value, target: Value, reduction: int) -> Value:
    """[*S], [*S] -> [] or [*S]: log(1 + exp(-t x)); infinite where the exponential is above what float16 holds."""
    x, t = _wide(op, self, target)
    power = op.Exp(op.Neg(op.Mul(t, x)))
    if dtype(self) == ir.DataType.FLOAT16:
        power = op.Where(op.Greater(power, 65504.0), float("inf"), power)
    return _done(op, op.Log(op.Add(power, 1.0)), reduction, self, target)


@lowers(aten.margin_ranking_loss.default)
def margin_ranking_loss(
    op: Builder, input1: Value, input2: Value, target: Value, margin: float, reduction: int
) -> Value:  # fmt: skip
    """[*S], [*S], [*S] -> [] or [*S]: max(0, margin - t (x - y))."""
    x, y, t, m = promoted(op, input1, input2, target, margin)
    return reduced(op, op.Max(op.Sub(m, op.Mul(t, op.Sub(x, y))), 0.0), reduction)


@lowers(aten.hinge_embedding_loss.default)
def hinge_embedding_loss(op: Builder, self: Value, target: Value, margin: float, reduction: int) -> Value:
    """[*S], [*S] -> [] or [*S]: x where t is 1, max(0, margin - x) where it is -1, both where it is neither."""
    x, t = promoted(op, self, target, to=dtype(self))
    far = op.Where(op.Equal(t, 1), 0, op.Max(op.Sub(as_value(op, margin, dtype(x)), x), 0))
    return reduced(op, op.Add(far, op.Where(op.Equal(t, -1), 0, x)), reduction)
