"""Powers, and the functions of two numbers that are made of powers and logarithms."""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dtype
from aten_lowering.dtypes import UNSIGNED, is_float
from aten_lowering.elementwise import any_of, broadcast, floating, is_negative, pointwise, repeat_while, where, wide
from aten_lowering.promotion import Operand, float_type, promoted, result_type, standing_for
from aten_lowering.registry import lowers
from aten_lowering.rules.creations import filled_like
from aten_lowering.rules.functions import log1p, softplus_of

aten = torch.ops.aten

_BOOL, _DOUBLE, _FLOAT, _INT64 = ir.DataType.BOOL, ir.DataType.DOUBLE, ir.DataType.FLOAT, ir.DataType.INT64


@lowers(aten.pow.Tensor_Scalar)
def pow_scalar(op: Builder, self: Value, exponent: Operand) -> Value:
    """[*S] -> [*S], x^number."""
    kind = result_type(self, standing_for(exponent))
    x = op.cast(self, kind)
    if kind == ir.DataType.BOOL and isinstance(exponent, bool):
        return x if exponent else filled_like(op, x, True, kind)
    if not is_float(kind):
        if isinstance(exponent, int) and exponent >= 0:
            return _repeated(op, x, int(exponent))
        return _integer_power(op, *promoted(op, x, exponent, to=kind))
    if exponent == 2:
        return squared(op, x)
    if isinstance(exponent, (int, float)) and exponent in _ROOTS:
        for op_type in _ROOTS[exponent]:
            x = op.emit(op_type, [x], {})
        return x
    return op.Pow(x, *promoted(op, exponent, to=kind))


def squared(op: Builder, x: Value) -> Value:
    """x^2, as Pow, which onnxruntime puts together with the rest of a norm.

    Not of doubles: it takes the epsilon of such a norm for 1e-5.
    """
    return op.Mul(x, x) if dtype(x) == _DOUBLE else op.Pow(x, 2.0)


# The exponents that torch itself computes in another way.
_ROOTS: dict[float, tuple[str, ...]] = {0.5: ("Sqrt",), -0.5: ("Sqrt", "Reciprocal"), -1: ("Reciprocal",), 1: ()}


def _repeated(op: Builder, x: Value, exponent: int) -> Value:
    """An integer's power by squaring, which wraps as torch's does; onnxruntime computes Pow in doubles."""
    if exponent == 0:
        return filled_like(op, x, 1, dtype(x))
    result = None
    while exponent:
        if exponent & 1:
            result = x if result is None else op.Mul(result, x)
        exponent >>= 1
        x = op.Mul(x, x) if exponent else x
    assert result is not None  # the exponent is positive
    return result


@lowers(aten.pow.Tensor_Tensor)
def pow_tensor(op: Builder, self: Value, exponent: Value) -> Value:
    """[*A], [*B] -> broadcast, a^b."""
    a, b = promoted(op, self, exponent)
    return op.Pow(a, b) if is_float(dtype(a)) else _integer_power(op, a, b)


@lowers(aten.pow.Scalar)
def scalar_pow(op: Builder, self: Operand, exponent: Value) -> Value:
    """[*S] -> [*S], number^x."""
    a, b = promoted(op, self, exponent, to=result_type(standing_for(self), exponent))
    return op.Pow(a, b) if is_float(dtype(a)) else _integer_power(op, a, b)


def _integer_power(op: Builder, base: Value, exponent: Value) -> Value:
    """`base^exponent` by squaring, one bit of all exponents a turn; it wraps as torch's does.

    With a negative exponent it is 1 for 1, 1 or -1 for -1, else 0.
    """
    kind = dtype(base)
    base, exponent = broadcast(op, base, exponent)
    bits = op.Abs(op.cast(exponent, _INT64))

    def square(inner: Builder, result: Value, power: Value, rest: Value) -> tuple[Value, Sequence[Value]]:
        odd = inner.cast(inner.Mod(rest, 2), kind)
        factor = inner.Add(inner.Mul(odd, inner.Sub(power, 1)), 1)
        rest = inner.Div(rest, 2)
        return any_of(inner, rest), (inner.Mul(result, factor), inner.Mul(power, power), rest)

    result, *_ = repeat_while(op, [filled_like(op, base, 1, kind), base, bits], square)
    if kind in UNSIGNED:
        return result
    vanishes = op.And(op.Less(exponent, 0), op.Not(op.Equal(op.Abs(base), 1)))
    return where(op, vanishes, op.constant(0, kind), result)


@lowers(aten.hypot.default)
def hypot(op: Builder, self: Value, other: Value) -> Value:
    """[*A], [*B] -> broadcast, sqrt(a^2 + b^2), in doubles, so that no square overflows."""
    kind = float_type([self, other])
    a, b = (wide(op, value) for value in promoted(op, self, other, to=kind))
    return op.cast(op.Sqrt(op.Add(op.Mul(a, a), op.Mul(b, b))), kind)


@lowers(aten.xlogy.Tensor, aten.xlogy.Scalar_Self, aten.xlogy.Scalar_Other)
def xlogy(op: Builder, self: Operand, other: Operand) -> Value:
    """[*A], [*B] -> broadcast, a log(b); 0 where a is 0 and b a number."""
    a, b = promoted(op, self, other, to=float_type([self, other]))
    return _times_logarithm(op, a, b, op.Log(b))


@lowers(aten.special_xlog1py.default, aten.special_xlog1py.self_scalar, aten.special_xlog1py.other_scalar)
def xlog1py(op: Builder, self: Operand, other: Operand) -> Value:
    """[*A], [*B] -> broadcast, a log(1 + b); 0 where a is 0 and b a number."""
    a, b = promoted(op, self, other, to=float_type([self, other]))
    return _times_logarithm(op, a, b, log1p(op, b))


def _times_logarithm(op: Builder, a: Value, b: Value, logarithm: Value) -> Value:
    zero = op.And(op.Equal(a, 0), op.Not(pointwise(op, "IsNaN", b)))
    return op.Where(zero, op.constant(0, dtype(a)), op.Mul(a, logarithm))


@lowers(aten.special_entr.default)
def entr(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], -x log(x): 0 at 0, -inf below."""
    x = floating(op, self)
    kind = dtype(x)
    inside = op.Where(op.Equal(x, 0), op.constant(0, kind), op.Neg(op.Mul(x, op.Log(x))))
    return op.Where(op.Less(x, 0), op.constant(-math.inf, kind), inside)


@lowers(aten.logaddexp.default)
def logaddexp(op: Builder, self: Value, other: Value) -> Value:
    """[*A], [*B] -> broadcast, log(e^a + e^b) = max + softplus(-|a - b|)."""
    return _log_of_sum(op, self, other, 1.0)


@lowers(aten.logaddexp2.default)
def logaddexp2(op: Builder, self: Value, other: Value) -> Value:
    """[*A], [*B] -> broadcast, log2(2^a + 2^b)."""
    return _log_of_sum(op, self, other, math.log(2))


def _log_of_sum(op: Builder, self: Value, other: Value, base: float) -> Value:
    a, b = promoted(op, self, other, to=float_type([self, other]))
    # Of two equal infinities the difference is NaN.
    away = op.Where(op.Equal(a, b), op.constant(0, dtype(a)), op.Neg(op.Abs(op.Sub(a, b))))
    more = softplus_of(op, away if base == 1 else op.Mul(away, base))
    return op.Add(op.Max(a, b), more if base == 1 else op.Div(more, base))


@lowers(aten.copysign.Tensor, aten.copysign.Scalar)
def copysign(op: Builder, self: Value, other: Operand) -> Value:
    """[*A], [*B] -> broadcast, |a| with the sign of b, that of -0.0 included; a NaN's counts as positive."""
    kind = float_type([self, other])
    size, signed = promoted(op, self, other, to=kind)
    size = op.Abs(size)
    return op.Where(is_negative(op, signed), op.Neg(size), size)


@lowers(aten.heaviside.default)
def heaviside(op: Builder, self: Value, values: Value) -> Value:
    """[*A], [*V] -> broadcast, 0 below 0 and for NaN, 1 above 0, v at 0."""
    x, at_zero = promoted(op, self, values, to=dtype(self))
    if x.dtype == _BOOL:
        return op.Or(x, at_zero)
    step = op.cast(op.Greater(x, 0), dtype(x))
    return where(op, op.Equal(x, 0), at_zero, step)
