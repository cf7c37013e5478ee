"""Arithmetic: sums, products, quotients with their roundings, remainders, powers, bounds."""

from __future__ import annotations

import math
from typing import Any

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dtype
from aten_lowering.dtypes import UNSIGNED, is_float
from aten_lowering.elementwise import numbers_in, pointwise, truncated, where
from aten_lowering.promotion import Operand, float_type, promoted, result_type, standing_for
from aten_lowering.registry import lowers

aten = torch.ops.aten

_BOOL = ir.DataType.BOOL

# Two operands of one promoted dtype: the op, and the one for bool.
BINARY: dict[Any, tuple[str, str]] = {
    aten.maximum.default: ("Max", "Or"),
    aten.minimum.default: ("Min", "And"),
    aten.max.other: ("Max", "Or"),
    aten.min.other: ("Min", "And"),
}


def _binary(overload: Any, op_type: str, on_bool: str) -> None:
    @lowers(overload)
    def rule(op: Builder, self: Operand, other: Operand) -> Value:
        a, b = promoted(op, self, other)
        return op.emit(on_bool, [a, b], {}) if a.dtype == _BOOL else pointwise(op, op_type, a, b)


for _overload, (_op_type, _on_bool) in BINARY.items():
    _binary(_overload, _op_type, _on_bool)


def _with_number(op: Builder, self: Value, other: Operand) -> list[Value]:
    """A tensor and a number in the dtype that torch promotes them to."""
    return promoted(op, self, other, to=result_type(self, standing_for(other)))


def _scaled(op: Builder, op_type: str, kind: ir.DataType, a: Operand, b: Operand) -> Value:
    """A product or quotient; in float32 where a factor is out of the range of float16, as torch computes it."""
    beyond = kind == ir.DataType.FLOAT16 and any(_is_beyond_half(number) for number in (a, b))
    return op.cast(op.emit(op_type, promoted(op, a, b, to=ir.DataType.FLOAT if beyond else kind), {}), kind)


def _is_beyond_half(number: Operand) -> bool:
    """Whether a finite number overflows as a float16, or loses digits as a subnormal one."""
    return isinstance(number, (int, float)) and (65504 < abs(number) < math.inf or 0 < abs(number) < 2.0**-14)


@lowers(aten.mul.Tensor)
def mul(op: Builder, self: Operand, other: Operand) -> Value:
    """[*A], [*B] -> broadcast, a b; of bools, a and b."""
    kind = result_type(self, other)
    return op.And(*promoted(op, self, other)) if kind == _BOOL else _scaled(op, "Mul", kind, self, other)


@lowers(aten.mul.Scalar)
def mul_scalar(op: Builder, self: Value, other: Operand) -> Value:
    """[*S] -> [*S], x * number."""
    kind = result_type(self, standing_for(other))
    return op.And(*_with_number(op, self, other)) if kind == _BOOL else _scaled(op, "Mul", kind, self, other)


@lowers(aten.add.Tensor)
def add(op: Builder, self: Operand, other: Operand, alpha: Operand) -> Value:
    """[*A], [*B] -> broadcast, a + alpha b; of bools, a or b."""
    a, b = promoted(op, self, other)
    return _sum(op, "Add", a, b, alpha=alpha)


@lowers(aten.add.Scalar)
def add_scalar(op: Builder, self: Value, other: Operand, alpha: Operand) -> Value:
    """[*S] -> [*S], x + alpha number."""
    return _sum(op, "Add", *_with_number(op, self, other), alpha=alpha)


@lowers(aten._add_relu.Tensor, aten._add_relu.Scalar)
def add_relu(op: Builder, self: Value, other: Operand, alpha: Operand) -> Value:
    """[*A], [*B] -> broadcast, max(a + alpha b, 0)."""
    return op.Relu(add(op, self, other, alpha))


@lowers(aten.sub.Tensor)
def sub(op: Builder, self: Operand, other: Operand, alpha: Operand) -> Value:
    """[*A], [*B] -> broadcast, a - alpha b."""
    a, b = promoted(op, self, other)
    return _sum(op, "Sub", a, b, alpha=alpha)


@lowers(aten.sub.Scalar)
def sub_scalar(op: Builder, self: Value, other: Operand, alpha: Operand) -> Value:
    """[*S] -> [*S], x - alpha number."""
    return _sum(op, "Sub", *_with_number(op, self, other), alpha=alpha)


@lowers(aten.rsub.Tensor)
def rsub(op: Builder, self: Operand, other: Operand, alpha: Operand) -> Value:
    """[*A], [*B] -> broadcast, b - alpha a."""
    a, b = promoted(op, self, other)
    return _sum(op, "Sub", b, a, alpha=alpha)


@lowers(aten.rsub.Scalar)
def rsub_scalar(op: Builder, self: Value, other: Operand, alpha: Operand) -> Value:
    """[*S] -> [*S], number - alpha x."""
    a, b = _with_number(op, self, other)
    return _sum(op, "Sub", b, a, alpha=alpha)


def _sum(op: Builder, op_type: str, a: Value, b: Value, *, alpha: Operand) -> Value:
    if a.dtype == _BOOL:
        return op.Or(a, op.And(b, bool(alpha)) if alpha is not True and alpha != 1 else b)
    if isinstance(alpha, Value) or alpha != 1:
        (factor,) = promoted(op, alpha, to=dtype(b))
        b = op.Mul(b, factor)
    return op.emit(op_type, [a, b], {})


@lowers(aten.div.Tensor)
def div(op: Builder, self: Operand, other: Operand) -> Value:
    """[*A], [*B] -> broadcast, a / b; of integers, in float32."""
    return _scaled(op, "Div", float_type([self, other]), self, other)


@lowers(aten.div.Scalar)
def div_scalar(op: Builder, self: Value, other: Operand) -> Value:
    """[*S] -> [*S], x / number; of integers, in float32."""
    return _scaled(op, "Div", float_type([self, standing_for(other)]), self, other)


@lowers(aten.div.Tensor_mode)
def div_mode(op: Builder, self: Operand, other: Operand, rounding_mode: str | None) -> Value:
    """[*A], [*B] -> broadcast, a / b as it is, or rounded down or toward zero, where integers stay integers."""
    if rounding_mode is None:
        return div(op, self, other)
    return _rounded_quotient(op, *promoted(op, self, other), mode=rounding_mode)


@lowers(aten.div.Scalar_mode)
def div_scalar_mode(op: Builder, self: Value, other: Operand, rounding_mode: str | None) -> Value:
    """[*S] -> [*S], x / number as it is, or rounded down or toward zero."""
    if rounding_mode is None:
        return div_scalar(op, self, other)
    return _rounded_quotient(op, *_with_number(op, self, other), mode=rounding_mode)


@lowers(aten.floor_divide.default)
def floor_divide(op: Builder, self: Operand, other: Operand) -> Value:
    """[*A], [*B] -> broadcast, a / b rounded down."""
    return _rounded_quotient(op, *promoted(op, self, other), mode="floor")


@lowers(aten.floor_divide.Scalar)
def floor_divide_scalar(op: Builder, self: Value, other: Operand) -> Value:
    """[*S] -> [*S], x / number rounded down."""
    return _rounded_quotient(op, *_with_number(op, self, other), mode="floor")


def _rounded_quotient(op: Builder, a: Value, b: Value, *, mode: str) -> Value:
    """`a / b` rounded; ONNX's integer Div rounds toward zero, its Mod has the divisor's sign."""
    if is_float(dtype(a)):
        return truncated(op, op.Div(a, b)) if mode == "trunc" else _floor_of_quotient(op, a, b)
    if mode == "trunc" or a.dtype in UNSIGNED:
        return op.Div(a, b)
    return op.Div(op.Sub(a, op.Mod(a, b)), b)


def _floor_of_quotient(op: Builder, a: Value, b: Value) -> Value:
    """`floor(a / b)` of the exact quotient, from the exact remainder: a rounded quotient may reach the next integer."""
    known = numbers_in(op, b)
    if known is not None and all(item and math.frexp(item)[0] in (0.5, -0.5) for item in known):
        return op.Floor(op.Div(a, b))
    remainder = op.Mod(a, b, fmod=1)
    below = op.Min(op.Mul(op.Sign(remainder), op.Sign(b)), 0)
    floor = pointwise(op, "Round", op.Add(op.Div(op.Sub(a, remainder), b), below))
    if known is not None and all(known):
        return floor
    return op.Where(op.Equal(b, 0), op.Div(a, b), floor)


@lowers(aten.remainder.Tensor, aten.remainder.Scalar_Tensor)
def remainder(op: Builder, self: Operand, other: Operand) -> Value:
    """[*A], [*B] -> broadcast, a - b floor(a / b): the divisor's sign."""
    return _remainder(op, *promoted(op, self, other))


@lowers(aten.remainder.Scalar)
def remainder_scalar(op: Builder, self: Value, other: Operand) -> Value:
    """[*S] -> [*S], x - b floor(x / b) for a number b."""
    return _remainder(op, *_with_number(op, self, other))


def _remainder(op: Builder, a: Value, b: Value) -> Value:
    """Exact, as C's fmod is; that has the dividend's sign, so the divisor is added where the signs differ."""
    if not is_float(dtype(a)):
        return op.Mod(a, b)
    rest = op.Mod(a, b, fmod=1)
    known = numbers_in(op, b)
    if known is not None and min(known, default=1) > 0:
        differs = op.Less(rest, 0)
    elif known is not None and max(known) < 0:
        differs = op.Greater(rest, 0)
    else:
        differs = op.Less(op.Mul(op.Sign(rest), op.Sign(b)), 0)
    return op.Where(differs, op.Add(rest, b), rest)


@lowers(aten.fmod.Tensor)
def fmod(op: Builder, self: Operand, other: Operand) -> Value:
    """[*A], [*B] -> broadcast, a - b trunc(a / b): the dividend's sign."""
    return op.Mod(*promoted(op, self, other), fmod=1)


@lowers(aten.fmod.Scalar)
def fmod_scalar(op: Builder, self: Value, other: Operand) -> Value:
    """[*S] -> [*S], x - b trunc(x / b) for a number b."""
    return op.Mod(*_with_number(op, self, other), fmod=1)


@lowers(aten.neg.default, aten._neg_view.default, aten._neg_view_copy.default)
def neg(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], -x; unsigned integers wrap."""
    return op.Sub(0, self) if self.dtype in UNSIGNED else op.Neg(self)


@lowers(aten.abs.default)
def abs_value(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], |x|."""
    return op.Abs(self)


@lowers(aten.sign.default, aten.sgn.default)
def sign(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], -1, 0 or 1; a NaN stays NaN, where torch gives 0."""
    return self if self.dtype == _BOOL else op.Sign(self)


@lowers(aten.addcmul.default)
def addcmul(op: Builder, self: Value, tensor1: Value, tensor2: Value, value: Operand) -> Value:
    """[*A], [*B], [*C] -> broadcast, a + value b c."""
    a, b, c = promoted(op, self, tensor1, tensor2)
    return _sum(op, "Add", a, op.Mul(b, c), alpha=value)


@lowers(aten.addcdiv.default)
def addcdiv(op: Builder, self: Value, tensor1: Value, tensor2: Value, value: Operand) -> Value:
    """[*A], [*B], [*C] -> broadcast, a + value b / c."""
    a, b, c = promoted(op, self, tensor1, tensor2)
    return _sum(op, "Add", a, op.Div(b, c), alpha=value)


@lowers(aten.lerp.Tensor, aten.lerp.Scalar)
def lerp(op: Builder, self: Value, end: Value, weight: Operand) -> Value:
    """[*A], [*B], [*W] -> broadcast, a + weight (b - a)."""
    kind = dtype(self)
    a, b, c = promoted(op, self, end, weight, to=kind)
    return op.Add(a, op.Mul(c, op.Sub(b, a)))


@lowers(aten.clamp.default)
def clamp(op: Builder, self: Value, min: Operand | None, max: Operand | None) -> Value:
    """[*S] -> [*S], no less than min, then no more than max; NaN stays."""
    bounds = [bound for bound in (min, max) if bound is not None]
    kind = result_type(self, *map(standing_for, bounds))
    x = op.cast(self, kind)
    low, high = (None if bound is None else promoted(op, bound, to=kind)[0] for bound in (min, max))
    return pointwise(op, "Clip", x, low, high)


@lowers(aten.clamp_min.default)
def clamp_min(op: Builder, self: Value, min: Operand) -> Value:
    """[*S] -> [*S], no less than min."""
    return clamp(op, self, min, None)


@lowers(aten.clamp_max.default)
def clamp_max(op: Builder, self: Value, max: Operand) -> Value:
    """[*S] -> [*S], no more than max."""
    return clamp(op, self, None, max)


@lowers(aten.clamp.Tensor)
def clamp_tensor(op: Builder, self: Value, min: Value | None, max: Value | None) -> Value:
    """[*S], [*A], [*B] -> broadcast, no less than min, then no more than max."""
    bounds = [bound for bound in (min, max) if bound is not None]
    kind = result_type(self, *bounds)
    x = op.cast(self, kind)
    for op_type, bound in (("Max", min), ("Min", max)):
        if bound is not None:
            x = pointwise(op, op_type, x, op.cast(bound, kind))
    return x


@lowers(aten.clamp_min.Tensor)
def clamp_min_tensor(op: Builder, self: Value, min: Value) -> Value:
    """[*S], [*A] -> broadcast, no less than min."""
    return clamp_tensor(op, self, min, None)


@lowers(aten.clamp_max.Tensor)
def clamp_max_tensor(op: Builder, self: Value, max: Value) -> Value:
    """[*S], [*A] -> broadcast, no more than max."""
    return clamp_tensor(op, self, None, max)


@lowers(aten.fmax.default)
def fmax(op: Builder, self: Value, other: Value) -> Value:
    """[*A], [*B] -> broadcast, the larger; where one is NaN, the other."""
    return _number_of_two(op, "Max", "Less", self, other)


@lowers(aten.fmin.default)
def fmin(op: Builder, self: Value, other: Value) -> Value:
    """[*A], [*B] -> broadcast, the smaller; where one is NaN, the other."""
    return _number_of_two(op, "Min", "Greater", self, other)


def _number_of_two(op: Builder, op_type: str, other_wins: str, self: Value, other: Value) -> Value:
    a, b = promoted(op, self, other)
    if a.dtype == _BOOL:
        return op.Or(a, b) if op_type == "Max" else op.And(a, b)
    if not is_float(dtype(a)):
        return pointwise(op, op_type, a, b)
    return where(op, op.Or(op.emit(other_wins, [a, b], {}), op.IsNaN(a)), b, a)
