"""Gradients of activations: g times the derivative at x, or in terms of the result y."""

from __future__ import annotations

import math

import torch

from aten_lowering.builder import Builder, Value, dtype
from aten_lowering.promotion import Operand, as_value
from aten_lowering.registry import lowers
from aten_lowering.rules.error_functions import erf
from aten_lowering.rules.functions import softplus_of

aten = torch.ops.aten


def _where(op: Builder, condition: Value, chosen: Value, other: float | Value) -> Value:
    return op.Where(condition, chosen, other if not isinstance(other, float) else op.constant(other, dtype(chosen)))


def _number(op: Builder, number: Operand, like: Value) -> Value:
    return as_value(op, number, dtype(like))


@lowers(aten.threshold_backward.default)
def threshold_backward(op: Builder, grad_output: Value, self: Value, threshold: Operand) -> Value:
    """[*S]: g where x > threshold; the gradient of relu."""
    above = op.Greater(self, _number(op, threshold, self))
    return _where(op, above, grad_output, 0.0)


@lowers(aten.sigmoid_backward.default)
def sigmoid_backward(op: Builder, grad_output: Value, output: Value) -> Value:
    """[*S]: g y (1 - y)."""
    return op.Mul(grad_output, op.Mul(output, op.Sub(1.0, output)))


@lowers(aten.tanh_backward.default)
def tanh_backward(op: Builder, grad_output: Value, output: Value) -> Value:
    """[*S]: g (1 - y^2)."""
    return op.Mul(grad_output, op.Sub(1.0, op.Mul(output, output)))


@lowers(aten.silu_backward.default)
def silu_backward(op: Builder, grad_output: Value, self: Value) -> Value:
    """[*S]: g s (1 + x (1 - s)), s = sigmoid(x)."""
    share = op.Sigmoid(self)
    return op.Mul(grad_output, op.Mul(share, op.Add(op.Mul(self, op.Sub(1.0, share)), 1.0)))


@lowers(aten.gelu_backward.default)
def gelu_backward(op: Builder, grad_output: Value, self: Value, approximate: str) -> Value:
    """[*S]: g (Phi(x) + x phi(x)); with tanh the derivative of that formula."""
    square = op.Mul(self, self)
    if approximate == "tanh":
        factor = math.sqrt(2 / math.pi)
        curve = op.Tanh(op.Mul(self, op.Add(op.Mul(square, 0.044715 * factor), factor)))
        slope = op.Mul(self, op.Add(op.Mul(square, 3 * 0.044715 * factor), factor))
        rising = op.Mul(op.Sub(1.0, op.Mul(curve, curve)), slope)
        return op.Mul(grad_output, op.Mul(op.Add(op.Add(curve, rising), 1.0), 0.5))
    below = op.Mul(op.Add(erf(op, op.Mul(self, math.sqrt(0.5))), 1.0), 0.5)
    density = op.Mul(op.Exp(op.Mul(square, -0.5)), 1 / math.sqrt(2 * math.pi))
    return op.Mul(grad_output, op.Add(below, op.Mul(self, density)))


@lowers(aten.hardswish_backward.default)
def hardswish_backward(op: Builder, grad_output: Value, self: Value) -> Value:
    """[*S]: g (x / 3 + 1 / 2) between -3 and 3, g above, 0 below."""
    inside = op.Mul(grad_output, op.Add(op.Mul(self, 1 / 3), 0.5))
    outside = _where(op, op.Greater(self, 3.0), grad_output, 0.0)
    return op.Where(op.Less(op.Abs(self), 3.0), inside, outside)


@lowers(aten.hardsigmoid_backward.default)
def hardsigmoid_backward(op: Builder, grad_output: Value, self: Value) -> Value:
    """[*S]: g / 6 between -3 and 3, else 0."""
    return _where(op, op.Less(op.Abs(self), 3.0), op.Mul(grad_output, 1 / 6), 0.0)


@lowers(aten.hardtanh_backward.default)
def hardtanh_backward(op: Builder, grad_output: Value, self: Value, min_val: Operand, max_val: Operand) -> Value:
    """[*S]: g between the bounds, else 0."""
    low, high = (_number(op, bound, self) for bound in (min_val, max_val))
    return _where(op, op.And(op.Greater(self, low), op.Less(self, high)), grad_output, 0.0)


@lowers(aten.hardshrink_backward.default)
def hardshrink_backward(op: Builder, grad_out: Value, self: Value, lambd: Operand) -> Value:
    """[*S]: g where |x| > lambda."""
    return _where(op, op.Greater(op.Abs(self), _number(op, lambd, self)), grad_out, 0.0)


@lowers(aten.softshrink_backward.default)
def softshrink_backward(op: Builder, grad_output: Value, self: Value, lambd: Operand) -> Value:
    """[*S]: g where |x| > lambda."""
    return hardshrink_backward(op, grad_output, self, lambd)


@lowers(aten.leaky_relu_backward.default)
def leaky_relu_backward(
    op: Builder, grad_output: Value, self: Value, negative_slope: Operand, self_is_result: bool
) -> Value:  # fmt: skip
    """[*S]: g above 0, else slope g; the result has the sign of x."""
    return op.Where(op.Greater(self, 0.0), grad_output, op.Mul(grad_output, _number(op, negative_slope, self)))


@lowers(aten.elu_backward.default)
def elu_backward(
    op: Builder, grad_output: Value, alpha: Operand, scale: Operand, input_scale: Operand, is_result: bool,
    self_or_result: Value,
) -> Value:  # fmt: skip
    """[*S]: scale g above 0, else g a c scale exp(c x), which is g c (y + a scale)."""
    x = self_or_result
    size, rise, pace = (_number(op, number, x) for number in (scale, alpha, input_scale))
    if is_result:
        below = op.Mul(op.Mul(grad_output, pace), op.Add(x, op.Mul(rise, size)))
    else:
        below = op.Mul(op.Mul(grad_output, op.Mul(op.Mul(rise, size), pace)), op.Exp(op.Mul(op.Min(x, 0.0), pace)))
    return op.Where(op.Greater(x, 0.0), op.Mul(grad_output, size), below)


@lowers(aten.softplus_backward.default)
def softplus_backward(op: Builder, grad_output: Value, self: Value, beta: Operand, threshold: Operand) -> Value:
    """[*S]: g sigmoid(beta x), g above the threshold."""
    scaled = op.Mul(self, _number(op, beta, self))
    return op.Where(
        op.Greater(scaled, _number(op, threshold, self)), grad_output, op.Mul(grad_output, op.Sigmoid(scaled))
    )


@lowers(aten.mish_backward.default)
def mish_backward(op: Builder, grad_output: Value, self: Value) -> Value:
    """[*S]: g (t + x s (1 - t^2)), t = tanh(softplus(x)), s = sigmoid(x)."""
    curve = op.Tanh(softplus_of(op, self))
    rising = op.Mul(op.Mul(self, op.Sigmoid(self)), op.Sub(1.0, op.Mul(curve, curve)))
    return op.Mul(grad_output, op.Add(curve, rising))


@lowers(aten.log_sigmoid_backward.default)
def log_sigmoid_backward(op: Builder, grad_output: Value, self: Value, buffer: Value) -> Value:
    """[*S]: g sigmoid(-x)."""
    return op.Mul(grad_output, op.Sigmoid(op.Neg(self)))
