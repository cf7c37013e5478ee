"""Functions of one real variable that ONNX has, or that a short formula gives; and roundings.

Integers are taken as float32, as torch does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dtype
from aten_lowering.dtypes import is_float
from aten_lowering.elementwise import floating, inverse_tangent, is_negative, pointwise, truncated, wide
from aten_lowering.promotion import float_type, promoted
from aten_lowering.registry import lowers

aten = torch.ops.aten

_FLOAT, _DOUBLE = ir.DataType.FLOAT, ir.DataType.DOUBLE

# One ONNX op, which onnxruntime computes in every float dtype, or in float32 for float16.
UNARY: dict[Any, str] = {
    aten.exp.default: "Exp",
    aten.log.default: "Log",
    aten.sqrt.default: "Sqrt",
    aten.sin.default: "Sin",
    aten.cos.default: "Cos",
    aten.reciprocal.default: "Reciprocal",
}
# One ONNX op for float32; the formula where it is a double, for which there is no kernel.
UNARY_AND_DOUBLE: dict[Any, tuple[str, Callable[[Builder, Value], Value]]] = {
    aten.tan.default: ("Tan", lambda op, x: op.Div(op.Sin(x), op.Cos(x))),
    aten.sinh.default: ("Sinh", lambda op, x: _half_difference(op, x)),
    aten.cosh.default: ("Cosh", lambda op, x: op.Mul(op.Add(op.Exp(x), op.Exp(op.Neg(x))), 0.5)),
    aten.asin.default: ("Asin", lambda op, x: inverse_tangent(op, op.Div(x, _other_leg(op, x)))),
    aten.acos.default: ("Acos", lambda op, x: _arc_cosine(op, x)),
    aten.atan.default: ("Atan", lambda op, x: inverse_tangent(op, x)),
    aten.asinh.default: ("Asinh", lambda op, x: _area_sine(op, x)),
    aten.acosh.default: ("Acosh", lambda op, x: _area_cosine(op, x)),
    aten.atanh.default: ("Atanh", lambda op, x: _area_tangent(op, x)),
}
# Functions that change no integer.
ROUNDINGS: dict[Any, Callable[[Builder, Value], Value]] = {
    aten.ceil.default: lambda op, x: op.Ceil(x),
    aten.floor.default: lambda op, x: op.Floor(x),
    aten.round.default: lambda op, x: pointwise(op, "Round", x),
    aten.trunc.default: truncated,
}


def _unary(overload: Any, op_type: str) -> None:
    @lowers(overload)
    def rule(op: Builder, self: Value) -> Value:
        return pointwise(op, op_type, floating(op, self))


def _unary_and_double(overload: Any, op_type: str, on_double: Callable[[Builder, Value], Value]) -> None:
    @lowers(overload)
    def rule(op: Builder, self: Value) -> Value:
        if self.dtype == _DOUBLE:
            return on_double(op, self)
        return pointwise(op, op_type, floating(op, self))


def _rounding(overload: Any, function: Callable[[Builder, Value], Value]) -> None:
    @lowers(overload)
    def rule(op: Builder, self: Value) -> Value:
        return function(op, self) if is_float(dtype(self)) else self


for _overload, _op_type in UNARY.items():
    _unary(_overload, _op_type)
for _overload, (_op_type, _on_double) in UNARY_AND_DOUBLE.items():
    _unary_and_double(_overload, _op_type, _on_double)
for _overload, _function in ROUNDINGS.items():
    _rounding(_overload, _function)


def _half_difference(op: Builder, x: Value) -> Value:
    """`sinh(x) = (m + m / (m + 1)) / 2` for m = e^x - 1."""
    grown = exponential_less_one(op, op.Abs(x))
    # m / (m + 1) = 1 - 1 / (m + 1), which is 1 where m is infinite.
    half = op.Mul(op.Add(grown, op.Div(1.0, op.Add(op.Reciprocal(grown), 1))), 0.5)
    return op.Mul(op.Sign(x), half)


def _other_leg(op: Builder, x: Value) -> Value:
    """`sqrt(1 - x^2)`."""
    return op.Sqrt(op.Mul(op.Sub(1, x), op.Add(x, 1)))


def _arc_cosine(op: Builder, x: Value) -> Value:
    """`acos(x) = 2 atan(sqrt((1 - x) / (1 + x)))`."""
    return op.Mul(inverse_tangent(op, op.Sqrt(op.Div(op.Sub(1, x), op.Add(x, 1)))), 2)


def _area_sine(op: Builder, x: Value) -> Value:
    """`asinh(x) = sign(x) log1p(|x| + x^2 / (1 + sqrt(x^2 + 1)))`, whose quotient does not overflow before |x|^2."""
    size = op.Abs(x)
    root = op.Sqrt(op.Add(op.Mul(x, x), 1))
    quotient = op.Mul(size, op.Div(size, op.Add(root, 1)))
    return op.Mul(op.Sign(x), logarithm_of_one_more(op, op.Add(size, quotient)))


def _area_cosine(op: Builder, x: Value) -> Value:
    """`acosh(x) = log(x + sqrt(x - 1) sqrt(x + 1))`."""
    return op.Log(op.Add(x, op.Mul(op.Sqrt(op.Sub(x, 1)), op.Sqrt(op.Add(x, 1)))))


def _area_tangent(op: Builder, x: Value) -> Value:
    """`atanh(x) = log1p(2 x / (1 - x)) / 2`."""
    return op.Mul(logarithm_of_one_more(op, op.Div(op.Mul(x, 2), op.Sub(1, x))), 0.5)


def exponential_less_one(op: Builder, x: Value) -> Value:
    """`exp(x) - 1` of doubles; near 0, `2 t / (1 - t)` for t = tanh(x / 2), which loses no digit."""
    tangent = op.Tanh(op.Mul(op.Clip(x, -1, 1), 0.5))
    near = op.Div(op.Mul(tangent, 2), op.Sub(1, tangent))
    return op.Where(op.Less(op.Abs(x), 1), near, op.Sub(op.Exp(x), 1))


def logarithm_of_one_more(op: Builder, x: Value) -> Value:
    """`log(1 + x)` of doubles: `log(u) x / (u - 1)` for the rounded u = 1 + x, where that is not 1 or infinite."""
    u = op.Add(x, 1)
    step = op.Sub(u, 1)
    simple = op.Or(op.Equal(step, 0), op.Greater(u, 1e15))
    log = op.Log(u)
    exact = op.Mul(log, op.Div(x, op.Where(simple, op.constant(1, dtype(x)), step)))
    return op.Where(op.Equal(step, 0), x, op.Where(simple, log, exact))


def softplus_of(op: Builder, x: Value) -> Value:
    """`log(1 + exp(x))`; of doubles, for which there is no kernel, `max(x, 0) + log1p(exp(-|x|))`."""
    if x.dtype != _DOUBLE:
        return pointwise(op, "Softplus", x)
    return op.Add(op.Max(x, 0), logarithm_of_one_more(op, op.Exp(op.Neg(op.Abs(x)))))


@lowers(aten.expm1.default)
def expm1(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], exp(x) - 1; of a float32 in doubles, to 1e-16."""
    x = floating(op, self)
    if x.dtype == _DOUBLE:
        return exponential_less_one(op, x)
    return op.cast(op.Sub(op.Exp(wide(op, x)), 1), dtype(x))


@lowers(aten.log1p.default)
def log1p(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], log(1 + x); of a float32 in doubles, to 1e-16."""
    x = floating(op, self)
    if x.dtype == _DOUBLE:
        return logarithm_of_one_more(op, x)
    return op.cast(op.Log(op.Add(wide(op, x), 1)), dtype(x))


@lowers(aten.log2.default)
def log2(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], log(x) / log(2)."""
    return op.Div(op.Log(floating(op, self)), math.log(2))


@lowers(aten.log10.default)
def log10(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], log(x) / log(10)."""
    return op.Div(op.Log(floating(op, self)), math.log(10))


@lowers(aten.exp2.default)
def exp2(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], 2^x."""
    x = floating(op, self)
    return op.Pow(op.constant(2, dtype(x)), x)


@lowers(aten.rsqrt.default)
def rsqrt(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], 1 / sqrt(x)."""
    return op.Reciprocal(op.Sqrt(floating(op, self)))


@lowers(aten.deg2rad.default)
def deg2rad(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], x pi / 180."""
    return op.Mul(floating(op, self), math.pi / 180)


@lowers(aten.rad2deg.default)
def rad2deg(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], x 180 / pi."""
    return op.Mul(floating(op, self), 180 / math.pi)


@lowers(aten.frac.default)
def frac(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], x - trunc(x)."""
    return op.Mod(self, 1, fmod=1)


@lowers(aten.round.decimals)
def round_decimals(op: Builder, self: Value, decimals: int) -> Value:
    """[*S] -> [*S], round(x 10^d) / 10^d; halves go to the even number."""
    if decimals == 0:
        return pointwise(op, "Round", self)
    factor = 10.0 ** abs(decimals)
    before, after = (op.Mul, op.Div) if decimals > 0 else (op.Div, op.Mul)
    return after(pointwise(op, "Round", before(self, factor)), factor)


@lowers(aten.logit.default)
def logit(op: Builder, self: Value, eps: float | None) -> Value:
    """[*S] -> [*S], log(x / (1 - x)), of x between eps and 1 - eps where that is given."""
    x = floating(op, self)
    if eps is not None and eps >= 0:
        x = pointwise(op, "Clip", x, eps, 1 - eps)
    return op.Log(op.Div(x, op.Sub(1, x)))


@lowers(aten.sinc.default)
def sinc(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], sin(pi x) / (pi x), and 1 at 0."""
    x = op.Mul(floating(op, self), math.pi)
    zero = op.Equal(x, 0)
    one = op.constant(1, dtype(x))
    return op.Where(zero, one, op.Div(pointwise(op, "Sin", x), x))


@lowers(aten.angle.default)
def angle(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], of real numbers: pi for a negative one, 0 for another; NaN stays."""
    x = floating(op, self)
    kind = dtype(x)
    result = op.Where(op.Less(x, 0), op.constant(math.pi, kind), op.constant(0, kind))
    return op.Where(pointwise(op, "IsNaN", x), x, result) if is_float(dtype(self)) else result


@lowers(aten.nan_to_num.default)
def nan_to_num(op: Builder, self: Value, nan: float | None, posinf: float | None, neginf: float | None) -> Value:
    """[*S] -> [*S], NaN as 0 and infinities as the largest numbers, or as what is given."""
    if not is_float(dtype(self)):
        return self
    kind = dtype(self)
    x = op.Where(pointwise(op, "IsNaN", self), op.constant(nan or 0.0, kind), self)
    if posinf is None and neginf is None:
        largest = _LARGEST[kind]
        return pointwise(op, "Clip", x, -largest, largest)
    for given, sign, other in ((posinf, 1, "detect_negative"), (neginf, -1, "detect_positive")):
        number = op.constant(sign * _LARGEST[kind] if given is None else given, kind)
        x = op.Where(pointwise(op, "IsInf", self, **{other: 0}), number, x)
    return x


_LARGEST = {
    ir.DataType.FLOAT: float(np.finfo(np.float32).max),
    ir.DataType.DOUBLE: float(np.finfo(np.float64).max),
    ir.DataType.FLOAT16: 65504.0,
    ir.DataType.BFLOAT16: float(torch.finfo(torch.bfloat16).max),
}


@lowers(aten.atan2.default)
def atan2(op: Builder, self: Value, other: Value) -> Value:
    """[*Y], [*X] -> broadcast, the angle of the point (x, y): atan(y / x), turned by pi where x is negative."""
    kind = float_type([self, other])
    y, x = (pointwise(op, "Clip", v, -_LARGEST[kind], _LARGEST[kind]) for v in promoted(op, self, other, to=kind))
    quotient = op.Div(y, x)
    inner = inverse_tangent(op, quotient) if kind == _DOUBLE else pointwise(op, "Atan", quotient)
    inner = op.Where(op.And(op.Equal(y, 0), op.Equal(x, 0)), y, inner)
    half_turn = op.Where(is_negative(op, y), op.constant(-math.pi, kind), op.constant(math.pi, kind))
    # Where x is not negative, nothing is added: -0.0 must stay.
    return op.Where(is_negative(op, x), op.Add(op.Where(op.Equal(y, 0), op.constant(0, kind), inner), half_turn), inner)
