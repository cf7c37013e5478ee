"""Activations: pointwise functions of layers, float to float, and dropout."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.dtypes import is_float, is_integer
from aten_lowering.elementwise import pointwise, where
from aten_lowering.promotion import Operand, as_value
from aten_lowering.registry import lowers
from aten_lowering.rules.error_functions import erf
from aten_lowering.rules.functions import exponential_less_one, softplus_of
from aten_lowering.rules.randoms import uniform

aten = torch.ops.aten

# One overload, one ONNX op without attributes, for floats; integers become float32.
POINTWISE: dict[Any, str] = {
    aten.sigmoid.default: "Sigmoid",
    aten.tanh.default: "Tanh",
    aten.hardswish.default: "HardSwish",
    aten.selu.default: "Selu",
}


def _pointwise(overload: Any, op_type: str) -> None:
    @lowers(overload)
    def rule(op: Builder, self: Value) -> Value:
        x = self if is_float(dtype(self)) else op.cast(self, ir.DataType.FLOAT)
        return _activated(op, op_type, x)


for _overload, _op_type in POINTWISE.items():
    _pointwise(_overload, _op_type)


def _activated(op: Builder, op_type: str, x: Value, **attributes: float) -> Value:
    """One ONNX op; of doubles, for which there is no kernel, and for CoreML's HardSwish, what it stands for."""
    if op_type == "HardSwish" and op.target == "coreml":
        return op.Mul(x, op.HardSigmoid(x, alpha=1 / 6, beta=0.5))
    if x.dtype == ir.DataType.DOUBLE and op_type in _OF_DOUBLES:
        return _OF_DOUBLES[op_type](op, x, **attributes)
    return pointwise(op, op_type, x, **attributes)


def _elu_of_doubles(op: Builder, x: Value, alpha: float = 1.0) -> Value:
    below = op.Mul(exponential_less_one(op, op.Min(x, 0)), alpha)
    return op.Where(op.Greater(x, 0), x, below)


def _hard_sigmoid_of_doubles(op: Builder, x: Value, alpha: float = 1 / 6, beta: float = 0.5) -> Value:
    return op.Clip(op.Add(op.Mul(x, alpha), beta), 0, 1)


_OF_DOUBLES: dict[str, Callable[..., Value]] = {
    "Elu": _elu_of_doubles,
    "HardSigmoid": _hard_sigmoid_of_doubles,
    "HardSwish": lambda op, x: op.Mul(x, _hard_sigmoid_of_doubles(op, x)),
    "LeakyRelu": lambda op, x, alpha: op.Where(op.Less(x, 0), op.Mul(x, alpha), x),
    "Mish": lambda op, x: op.Mul(x, op.Tanh(softplus_of(op, x))),
    "Selu": lambda op, x: op.Mul(_elu_of_doubles(op, x, 1.6732632423543772), 1.0507009873554805),
}


def _number(op: Builder, number: Operand, like: Value) -> Value:
    """A number argument as a constant of the dtype of the tensor beside it."""
    return as_value(op, number, dtype(like))


@lowers(aten.relu.default)
def relu(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], max(x, 0)."""
    if is_integer(dtype(self)):
        return pointwise(op, "Max", self, 0)
    return op.Relu(self)


@lowers(aten.relu6.default)
def relu6(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], min(max(x, 0), 6)."""
    return pointwise(op, "Clip", self, 0, 6)


@lowers(aten.hardtanh.default)
def hardtanh(op: Builder, self: Value, min_val: Operand, max_val: Operand) -> Value:
    """[*S] -> [*S], min(max(x, low), high)."""
    low, high = (op.cast(_number(op, bound, self), dtype(self)) for bound in (min_val, max_val))
    return pointwise(op, "Clip", self, low, high)


@lowers(aten.gelu.default)
def gelu(op: Builder, self: Value, approximate: str) -> Value:
    """[*S] -> [*S], x Phi(x); with tanh, x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2.

    Before opset 20 it is written in the form that onnxruntime fuses.
    """
    if op.opset_version >= 20 and dtype(self) != ir.DataType.DOUBLE:
        return pointwise(op, "Gelu", self, approximate=approximate)
    if approximate == "tanh":
        inner = op.Mul(op.Add(self, op.Mul(op.Pow(self, 3), 0.044715)), math.sqrt(2 / math.pi))
        return op.Mul(op.Mul(self, 0.5), op.Add(op.Tanh(inner), 1))
    error = erf(op, op.Div(self, math.sqrt(2)))
    return op.Mul(op.Mul(self, op.Add(error, 1)), 0.5)


@lowers(aten.silu.default)
def silu(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], x sigmoid(x)."""
    return op.Mul(self, op.Sigmoid(self))


@lowers(aten.mish.default)
def mish(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], x tanh(softplus(x))."""
    if op.opset_version >= 18:
        return _activated(op, "Mish", self)
    return op.Mul(self, op.Tanh(softplus_of(op, self)))


@lowers(aten.hardsigmoid.default)
def hardsigmoid(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], min(max(x / 6 + 1 / 2, 0), 1)."""
    return _activated(op, "HardSigmoid", self, alpha=1 / 6, beta=0.5)


@lowers(aten.elu.default)
def elu(op: Builder, self: Value, alpha: Operand, scale: Operand, input_scale: Operand) -> Value:
    """[*S] -> [*S], scale (x > 0 ? x : alpha (exp(input_scale x) - 1))."""
    if scale == 1 and input_scale == 1 and isinstance(alpha, (int, float)):
        return _activated(op, "Elu", self, alpha=float(alpha))
    grown = _activated(op, "Elu", op.Mul(self, _number(op, input_scale, self)))
    below = op.Mul(grown, _number(op, alpha, self))
    return op.Mul(op.Where(op.Greater(self, 0), self, below), _number(op, scale, self))


@lowers(aten.celu.default)
def celu(op: Builder, self: Value, alpha: Operand) -> Value:
    """[*S] -> [*S], x > 0 ? x : alpha (exp(x / alpha) - 1)."""
    if alpha == 1:
        return _activated(op, "Elu", self)
    if dtype(self) == ir.DataType.FLOAT and isinstance(alpha, (int, float)):
        return op.Celu(self, alpha=float(alpha))
    factor = _number(op, alpha, self)
    return op.Where(op.Greater(self, 0), self, op.Mul(_activated(op, "Elu", op.Div(self, factor)), factor))


@lowers(aten.leaky_relu.default)
def leaky_relu(op: Builder, self: Value, negative_slope: Operand) -> Value:
    """[*S] -> [*S], x > 0 ? x : slope x."""
    if isinstance(negative_slope, (int, float)):
        return _activated(op, "LeakyRelu", self, alpha=float(negative_slope))
    return op.Where(op.Greater(self, 0), self, op.Mul(self, _number(op, negative_slope, self)))


@lowers(aten.prelu.default, aten._prelu_kernel.default)
def prelu(op: Builder, self: Value, weight: Value) -> Value:
    """[N, C, *S], [C] or [1] -> [N, C, *S], x > 0 ? x : slope x; the kernel's slope has the input's rank."""
    if rank(weight) == 1 and rank(self) > 1 and dims(weight)[0] != 1:
        weight = op.unsqueeze(weight, range(1, rank(self) - 1))
    elif rank(weight) == 1 and rank(self) == 0:
        weight = op.squeeze(weight, [0])
    if self.dtype == ir.DataType.DOUBLE:
        return op.Where(op.Less(self, 0), op.Mul(self, weight), self)
    return pointwise(op, "PRelu", self, weight)


@lowers(aten.rrelu.default)
def rrelu(op: Builder, self: Value, lower: Operand, upper: Operand, training: bool) -> Value:
    """[*S] -> [*S], x >= 0 ? x : slope x; the slope is the middle of its range, in training drawn from it."""
    low, high = (_number(op, bound, self) for bound in (lower, upper))
    if training:
        slope = op.Add(low, op.Mul(uniform(op, self, 0.0, 1.0), op.Sub(high, low)))
    elif isinstance(lower, (int, float)) and isinstance(upper, (int, float)):
        return _activated(op, "LeakyRelu", self, alpha=(lower + upper) / 2)
    else:
        slope = op.Div(op.Add(low, high), 2)
    return op.Where(op.Less(self, 0), op.Mul(self, slope), self)


@lowers(aten.softplus.default)
def softplus(op: Builder, self: Value, beta: Operand, threshold: Operand) -> Value:
    """[*S] -> [*S], log(1 + exp(beta x)) / beta; x itself where beta x is above the threshold."""
    scaled = self if beta == 1 else op.Mul(self, _number(op, beta, self))
    result = softplus_of(op, scaled)
    if beta != 1:
        result = op.Div(result, _number(op, beta, self))
    if isinstance(threshold, (int, float)) and threshold >= 20:  # softplus(x) == x there, to the last bit
        return result
    return op.Where(op.Greater(scaled, _number(op, threshold, self)), self, result)


@lowers(aten.softshrink.default)
def softshrink(op: Builder, self: Value, lambd: Operand) -> Value:
    """[*S] -> [*S], x moved toward zero by lambda, and no further: x - min(max(x, -lambda), lambda)."""
    bound = _number(op, lambd, self)
    return op.Sub(self, pointwise(op, "Clip", self, op.Neg(bound), bound))


@lowers(aten.hardshrink.default)
def hardshrink(op: Builder, self: Value, lambd: Operand) -> Value:
    """[*S] -> [*S], |x| <= lambda ? 0 : x; NaN stays, which Shrink makes 0."""
    inside = op.LessOrEqual(op.Abs(self), _number(op, lambd, self))
    return op.Where(inside, op.constant(0, dtype(self)), self)


@lowers(aten.threshold.default)
def threshold(op: Builder, self: Value, threshold: Operand, value: Operand) -> Value:
    """[*S] -> [*S], x > threshold ? x : value."""
    if threshold == 0 and value == 0:
        return relu(op, self)
    above = op.LessOrEqual(self, _number(op, threshold, self))
    return where(op, above, _number(op, value, self), self)


@lowers(aten.glu.default)
def glu(op: Builder, self: Value, dim: int) -> Value:
    """[*L, 2n, *R] -> [*L, n, *R], a sigmoid(b) of the halves."""
    half = dims(self)[dim] // 2
    a, b = op.split(self, [half, half], dim)
    return op.Mul(a, op.Sigmoid(b))


@lowers(aten.log_sigmoid.default)
def log_sigmoid(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], log(sigmoid(x)) = -softplus(-x)."""
    return op.Neg(softplus_of(op, op.Neg(self)))


@lowers(aten.log_sigmoid_forward.default)
def log_sigmoid_forward(op: Builder, self: Value) -> tuple[Value, Value]:
    """[*S] -> [*S], log(sigmoid(x)); the buffer of its gradient is exp(-|x|)."""
    return log_sigmoid(op, self), op.Exp(op.Neg(op.Abs(self)))
