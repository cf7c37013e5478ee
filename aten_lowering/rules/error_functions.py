"""The error function, its complement and inverse, and those of the normal distribution.

All but erf of a float32 are computed in doubles: from series and sums of which every term is positive,
so that no digits are lost.  Memory is that of 13 numbers an element.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dtype
from aten_lowering.elementwise import floating, pointwise, polynomial, weighted_sum, wide
from aten_lowering.registry import lowers
from aten_lowering.rules.functions import logarithm_of_one_more

aten = torch.ops.aten

_DOUBLE = ir.DataType.DOUBLE
_STEP = 0.5
_TERMS = 13


@lowers(aten.erf.default)
def erf(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    x = floating(op, self)
    if x.dtype != _DOUBLE:
        return pointwise(op, "Erf", x)
    far = op.Mul(op.Sign(x), op.Sub(1, _complement(op, op.Abs(x))))
    return op.Where(op.Less(op.Abs(x), 1), _near_zero(op, x), far)


def _near_zero(op: Builder, x: Value) -> Value:
    """The error function for |x| < 1: `2 / sqrt(pi) exp(-x^2) x sum_n (2 x^2)^n / (2 n + 1)!!`."""
    x = op.Clip(x, -1, 1)
    square = op.Mul(x, x)
    coefficients = [2 / math.sqrt(math.pi)]
    for n in range(1, 20):
        coefficients.append(coefficients[-1] * 2 / (2 * n + 1))
    return op.Mul(op.Mul(x, op.Exp(op.Neg(square))), polynomial(op, square, coefficients))


def _scaled_complement(op: Builder, x: Value) -> Value:
    """`exp(x^2) erfc(x)` for x >= 1.

    The trapezoidal rule for the integral of `x / (pi (t^2 + x^2)) exp(-t^2)`, and the residue that it adds.
    Source: Chiarella and Reichel, Mathematics of Computation 22 (1968).
    """
    x = op.Max(x, 1)
    places = (_STEP * np.arange(1, _TERMS)) ** 2
    column = op.Unsqueeze(op.Reciprocal(op.Mul(x, x)), [-1])
    terms = op.Reciprocal(op.Add(op.Mul(column, op.constant(places)), 1))
    total = op.Add(weighted_sum(op, terms, 2 * np.exp(-places)), 1)
    rule = op.Div(op.Mul(total, _STEP / math.pi), x)
    near = op.Min(x, 6)
    residue = op.Div(op.Mul(op.Exp(op.Mul(near, near)), 2), op.Sub(op.Exp(op.Mul(near, 2 * math.pi / _STEP)), 1))
    return op.Where(op.Less(x, 6), op.Sub(rule, residue), rule)


def _complement(op: Builder, x: Value) -> Value:
    """The complementary error function of doubles."""
    size = op.Abs(x)
    tail = op.Mul(op.Exp(op.Neg(op.Mul(x, x))), _scaled_complement(op, size))
    far = op.Where(op.Less(x, 0), op.Sub(2, tail), tail)
    return op.Where(op.Less(size, 1), op.Sub(1, _near_zero(op, x)), far)


def _scaled_complement_anywhere(op: Builder, x: Value) -> Value:
    """`exp(x^2) erfc(x)` of doubles."""
    square = op.Exp(op.Mul(x, x))
    large = op.Where(op.Less(x, 0), op.Sub(op.Mul(square, 2), _scaled_complement(op, op.Neg(x))),
                     _scaled_complement(op, x))  # fmt: skip
    bounded = op.Clip(x, -1, 1)
    near = op.Mul(op.Exp(op.Mul(bounded, bounded)), op.Sub(1, _near_zero(op, x)))
    return op.Where(op.Less(op.Abs(x), 1), near, large)


@lowers(aten.erfc.default)
def erfc(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], 1 - erf(x)."""
    x = floating(op, self)
    return op.cast(_complement(op, wide(op, x)), dtype(x))


@lowers(aten.special_erfcx.default)
def erfcx(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], exp(x^2) erfc(x)."""
    x = floating(op, self)
    return op.cast(_scaled_complement_anywhere(op, wide(op, x)), dtype(x))


@lowers(aten.special_ndtr.default)
def ndtr(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], the part of the normal distribution below x: erfc(-x / sqrt(2)) / 2."""
    x = floating(op, self)
    return op.cast(op.Mul(_complement(op, op.Mul(wide(op, x), -math.sqrt(0.5))), 0.5), dtype(x))


@lowers(aten.special_log_ndtr.default)
def log_ndtr(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], the logarithm of the part of the normal distribution below x."""
    x = floating(op, self)
    scaled = op.Mul(wide(op, x), -math.sqrt(0.5))
    left = op.Sub(op.Log(op.Mul(_scaled_complement(op, scaled), 0.5)), op.Mul(scaled, scaled))
    above = op.Mul(_complement(op, op.Neg(scaled)), 0.5)
    right = logarithm_of_one_more(op, op.Neg(above))
    return op.cast(op.Where(op.Greater(scaled, 1), left, right), dtype(x))


def _quantile(op: Builder, tail: Value) -> Value:
    """The x >= 0 above which lies `tail` <= 1/2 of the normal distribution.

    A start that is right to 5e-4, and two steps of Halley's method, each of which triples the digits.
    Source: Abramowitz and Stegun, 26.2.23.
    """
    z = op.Sqrt(op.Mul(op.Log(tail), -2))
    numerator = polynomial(op, z, [2.515517, 0.802853, 0.010328])
    x = op.Sub(z, op.Div(numerator, polynomial(op, z, [1, 1.432788, 0.189269, 0.001308])))
    for _ in range(2):
        density = op.Exp(op.Mul(op.Mul(x, x), 0.5))
        mills = op.Mul(_scaled_complement_anywhere(op, op.Mul(x, math.sqrt(0.5))), math.sqrt(math.pi / 2))
        step = op.Sub(mills, op.Mul(op.Mul(tail, density), math.sqrt(2 * math.pi)))
        x = op.Add(x, op.Div(step, op.Add(op.Mul(op.Mul(x, step), 0.5), 1)))
    return x


@lowers(aten.special_ndtri.default)
def ndtri(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], the number below which lies x of the normal distribution; NaN outside of [0, 1]."""
    x = floating(op, self)
    part = wide(op, x)
    upper = op.Greater(part, 0.5)
    tail = op.Where(upper, op.Sub(1, part), part)
    inside = op.Greater(tail, 0)
    size = _quantile(op, op.Where(inside, tail, op.constant(0.5, _DOUBLE)))
    edge = op.Where(op.Equal(tail, 0), op.constant(math.inf, _DOUBLE), op.constant(math.nan, _DOUBLE))
    size = op.Where(inside, size, edge)
    return op.cast(op.Where(upper, size, op.Neg(size)), dtype(x))


@lowers(aten.erfinv.default)
def erfinv(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], the y of which erf(y) = x; NaN outside of [-1, 1].

    Near 0, sqrt(pi) / 2 (x + pi x^3 / 12).
    """
    x = floating(op, self)
    part = wide(op, x)
    tail = op.Mul(op.Sub(1, op.Abs(part)), 0.5)
    inside = op.Greater(tail, 0)
    size = op.Mul(_quantile(op, op.Where(inside, tail, op.constant(0.5, _DOUBLE))), math.sqrt(0.5))
    edge = op.Where(op.Equal(tail, 0), op.constant(math.inf, _DOUBLE), op.constant(math.nan, _DOUBLE))
    far = op.Mul(op.Sign(part), op.Where(inside, size, edge))
    near = op.Mul(part, op.Add(op.Mul(op.Mul(part, part), math.pi**1.5 / 24), math.sqrt(math.pi) / 2))
    return op.cast(op.Where(op.Less(op.Abs(part), 1e-3), near, far), dtype(x))
