"""Bessel functions, plain and modified, and Airy's function, in doubles.

Three ways to compute one: the power series near 0; the asymptotic series far from it; and in between, or
where all terms are positive, the trapezoidal rule on an integral, which is right to the last digit for
functions that are periodic or fall off on both sides.  The last takes memory of some 64 numbers an element.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dtype
from aten_lowering.elementwise import floating, polynomial, weighted_sum, wide
from aten_lowering.registry import lowers

aten = torch.ops.aten

_DOUBLE = ir.DataType.DOUBLE
_FAR = 12.0  # of J and Y: from here on the asymptotic series are right to 1e-10
_POINTS = 64
_EULER = 0.5772156649015329


def _number(op: Builder, number: float) -> Value:
    return op.constant(number, _DOUBLE)


def _asymptotic(order: int, count: int) -> list[float]:
    """`a_k = (4 n^2 - 1) (4 n^2 - 9) … (4 n^2 - (2 k - 1)^2) / (k! 8^k)`, for k = 0, 1, …."""
    terms = [1.0]
    for k in range(1, count):
        terms.append(terms[-1] * (4 * order**2 - (2 * k - 1) ** 2) / (8 * k))
    return terms


# I, exponentially scaled: e^-|x| I(x).


def _scaled_i(op: Builder, x: Value, order: int) -> Value:
    """For |x| < 30 the mean of `exp(|x| (cos t - 1))` over a circle, for I1 with `x sin^2 t`; beyond, the series."""
    size = op.Abs(x)
    angles = np.pi * (np.arange(_POINTS) + 0.5) / _POINTS
    weights = np.full(_POINTS, 1 / _POINTS) if order == 0 else np.sin(angles) ** 2 / _POINTS
    column = op.Unsqueeze(op.Min(size, 30), [-1])
    near = weighted_sum(op, op.Exp(op.Mul(column, op.constant(np.cos(angles) - 1))), weights)
    if order == 1:
        near = op.Mul(near, size)
    inverse = op.Reciprocal(op.Max(size, 30))
    series = [(-1) ** k * term for k, term in enumerate(_asymptotic(order, 16))]
    far = op.Mul(polynomial(op, inverse, series), op.Sqrt(op.Mul(inverse, 1 / (2 * math.pi))))
    result = op.Where(op.Less(size, 30), near, far)
    return op.Mul(result, op.Sign(x)) if order == 1 else result


def _plain_i(op: Builder, x: Value, order: int) -> Value:
    """I, whose halves of the exponential are multiplied one by one, so that none overflows before the product."""
    half = op.Exp(op.Mul(op.Abs(x), 0.5))
    return op.Mul(op.Mul(_scaled_i(op, x, order), half), half)


# K.


def _scaled_k(op: Builder, x: Value, order: int) -> Value:
    """`e^x K(x)`: for x >= 2 the integral of `exp(-x (cosh t - 1)) cosh(n t)`; around it the two series; inf at 0."""
    step = 0.125
    places = step * np.arange(40)
    weights = step * np.cosh(order * places)
    weights[0] /= 2
    column = op.Unsqueeze(op.Clip(x, 2, 30), [-1])
    middle = weighted_sum(op, op.Exp(op.Mul(column, op.constant(1 - np.cosh(places)))), weights)
    near = op.Mul(_small_k(op, op.Min(x, 2), order), op.Exp(op.Min(x, 2)))
    inverse = op.Reciprocal(op.Max(x, 30))
    far = op.Mul(polynomial(op, inverse, _asymptotic(order, 16)), op.Sqrt(op.Mul(inverse, math.pi / 2)))
    result = op.Where(op.Less(x, 2), near, op.Where(op.Less(x, 30), middle, far))
    result = op.Where(op.Equal(x, 0), _number(op, math.inf), result)
    return op.Where(op.Less(x, 0), _number(op, math.nan), result)


def _small_k(op: Builder, x: Value, order: int) -> Value:
    """K for x <= 2, from `log(x / 2) I(x)` and a power series."""
    quarter = op.Mul(op.Mul(x, x), 0.25)
    logarithm = op.Log(op.Mul(x, 0.5))
    if order == 0:
        first, second = _power_series(0, _harmonic_0)
        return op.Sub(polynomial(op, quarter, second), op.Mul(logarithm, polynomial(op, quarter, first)))
    first, second = _power_series(1, _harmonic_1)
    product = op.Sub(op.Mul(logarithm, polynomial(op, quarter, first)), polynomial(op, quarter, second))
    return op.Add(op.Reciprocal(x), op.Mul(product, op.Mul(x, 0.5)))


def _harmonic_0(k: int) -> float:
    """`psi(k + 1)`: 1 + 1/2 + … + 1/k less Euler's constant."""
    return sum(1 / j for j in range(1, k + 1)) - _EULER


def _harmonic_1(k: int) -> float:
    """`(psi(k + 1) + psi(k + 2)) / 2`."""
    return (_harmonic_0(k) + _harmonic_0(k + 1)) / 2


def _power_series(
    order: int, weight: Callable[[int], float], count: int = 16, sign: int = 1
) -> tuple[list[float], list[float]]:  # fmt: skip
    """The coefficients `sign^k / (k! (k + n)!)`, and the same times a weight."""
    plain = [float(sign) ** k / (math.factorial(k) * math.factorial(k + order)) for k in range(count)]
    return plain, [c * weight(k) for k, c in enumerate(plain)]


# J and Y.


def _near_j(op: Builder, x: Value, order: int) -> Value:
    quarter = op.Mul(op.Mul(x, x), 0.25)
    series, _ = _power_series(order, _harmonic_0, 40, -1)
    result = polynomial(op, quarter, series, _FAR**2 / 4)
    return result if order == 0 else op.Mul(result, op.Mul(x, 0.5))


def _near_y(op: Builder, x: Value, order: int) -> Value:
    """`2 / pi` times `log(x / 2) J(x)` less a power series, and for Y1 less `1 / x`."""
    quarter = op.Mul(op.Mul(x, x), 0.25)
    _, series = _power_series(order, _harmonic_1 if order else _harmonic_0, 40, -1)
    rest = polynomial(op, quarter, series, _FAR**2 / 4)
    rest = rest if order == 0 else op.Add(op.Mul(rest, op.Mul(x, 0.5)), op.Reciprocal(x))
    return op.Mul(op.Sub(op.Mul(op.Log(op.Mul(x, 0.5)), _near_j(op, x, order)), rest), 2 / math.pi)


def _waves(op: Builder, x: Value, order: int, *, second: bool) -> Value:
    """J or Y for x >= 12: `sqrt(2 / pi x) (P cos c - Q sin c)` or `(P sin c + Q cos c)`, c = x - (2 n + 1) pi / 4."""
    x = op.Max(x, _FAR)
    inverse = op.Reciprocal(x)
    square = op.Mul(inverse, inverse)
    terms = _asymptotic(order, 20)
    p = polynomial(op, square, [(-1) ** k * term for k, term in enumerate(terms[0::2])])
    q = op.Mul(polynomial(op, square, [(-1) ** k * term for k, term in enumerate(terms[1::2])]), inverse)
    phase = op.Sub(x, (2 * order + 1) * math.pi / 4)
    sine, cosine = op.Sin(phase), op.Cos(phase)
    if second:
        wave = op.Add(op.Mul(p, sine), op.Mul(q, cosine))
    else:
        wave = op.Sub(op.Mul(p, cosine), op.Mul(q, sine))
    return op.Mul(wave, op.Sqrt(op.Mul(inverse, 2 / math.pi)))


def _j(op: Builder, x: Value, order: int) -> Value:
    size = op.Min(op.Abs(x), 1e15)
    near = _near_j(op, op.Min(size, _FAR), order)
    result = op.Where(op.Less(size, _FAR), near, _waves(op, size, order, second=False))
    result = op.Where(op.Equal(op.Abs(x), math.inf), _number(op, 0), result)
    return op.Mul(result, op.Sign(x)) if order == 1 else result


def _y(op: Builder, x: Value, order: int) -> Value:
    size = op.Min(x, 1e15)
    near = _near_y(op, op.Clip(size, 1e-300, _FAR), order)
    result = op.Where(op.Less(size, _FAR), near, _waves(op, size, order, second=True))
    result = op.Where(op.Equal(x, math.inf), _number(op, 0), result)
    result = op.Where(op.Equal(x, 0), _number(op, -math.inf), result)
    return op.Where(op.Less(x, 0), _number(op, math.nan), result)


def _plain_k(op: Builder, x: Value, order: int) -> Value:
    return op.Mul(_scaled_k(op, x, order), op.Exp(op.Neg(x)))


# The functions of an order, 0 or 1, of doubles.
FUNCTIONS: dict[Any, tuple[Callable[[Builder, Value, int], Value], int]] = {
    aten.i0.default: (_plain_i, 0),
    aten.special_i0e.default: (_scaled_i, 0),
    aten.special_i1.default: (_plain_i, 1),
    aten.special_i1e.default: (_scaled_i, 1),
    aten.special_modified_bessel_i0.default: (_plain_i, 0),
    aten.special_modified_bessel_i1.default: (_plain_i, 1),
    aten.special_modified_bessel_k0.default: (_plain_k, 0),
    aten.special_modified_bessel_k1.default: (_plain_k, 1),
    aten.special_bessel_j0.default: (_j, 0),
    aten.special_bessel_j1.default: (_j, 1),
    aten.special_bessel_y0.default: (_y, 0),
    aten.special_bessel_y1.default: (_y, 1),
}


def _function(overload: Any, function: Callable[[Builder, Value, int], Value], order: int) -> None:
    @lowers(overload)
    def rule(op: Builder, self: Value) -> Value:
        x = floating(op, self)
        return op.cast(function(op, wide(op, x), order), dtype(x))


for _overload, (_of_order, _order) in FUNCTIONS.items():
    _function(_overload, _of_order, _order)


@lowers(aten.special_scaled_modified_bessel_k0.default)
def scaled_modified_bessel_k0(op: Builder, x: Value) -> Value:
    """[*S] -> [*S], e^x K0(x)."""
    given = floating(op, x)
    return op.cast(_scaled_k(op, wide(op, given), 0), dtype(given))


@lowers(aten.special_scaled_modified_bessel_k1.default)
def scaled_modified_bessel_k1(op: Builder, x: Value) -> Value:
    """[*S] -> [*S], e^x K1(x)."""
    given = floating(op, x)
    return op.cast(_scaled_k(op, wide(op, given), 1), dtype(given))


@lowers(aten.special_spherical_bessel_j0.default)
def spherical_bessel_j0(op: Builder, x: Value) -> Value:
    """[*S] -> [*S], sin(x) / x: 1 at 0, 0 at the infinities."""
    given = floating(op, x)
    z = wide(op, given)
    result = op.Where(op.Equal(z, 0), _number(op, 1), op.Div(op.Sin(z), z))
    return op.cast(op.Where(op.Equal(op.Abs(z), math.inf), _number(op, 0), result), dtype(given))


@lowers(aten.special_airy_ai.default)
def airy_ai(op: Builder, x: Value) -> Value:
    """[*S] -> [*S], Airy's function Ai.

    From 2 on by an integral, down to -7 by the power series, below that by the asymptotic one.
    """
    given = floating(op, x)
    z = wide(op, given)
    result = op.Where(op.Less(z, -7), _airy_waves(op, z), _airy_series(op, op.Clip(z, -7, 2)))
    result = op.Where(op.Greater(z, 2), _airy_decay(op, z), result)
    return op.cast(op.Where(op.Equal(z, -math.inf), _number(op, math.nan), result), dtype(given))


def _airy_series(op: Builder, x: Value) -> Value:
    """`c_1 (1 + x^3 / (2 3) + …) - c_2 x (1 + x^3 / (3 4) + …)`."""
    first, second = [1.0], [1.0]
    for k in range(1, 26):
        first.append(first[-1] / ((3 * k - 1) * 3 * k))
        second.append(second[-1] / (3 * k * (3 * k + 1)))
    cube = op.Mul(op.Mul(x, x), x)
    at_0 = 1 / (3 ** (2 / 3) * math.gamma(2 / 3))
    slope = 1 / (3 ** (1 / 3) * math.gamma(1 / 3))
    one = op.Mul(polynomial(op, cube, first, 343), at_0)
    return op.Sub(one, op.Mul(op.Mul(polynomial(op, cube, second, 343), x), slope))


def _airy_decay(op: Builder, x: Value) -> Value:
    """For x >= 2: `exp(-z) / (pi x^1/4)` times the integral of `exp(-s^2) cos(s^3 / 3 x^3/4)`, z = 2/3 x^3/2."""
    x = op.Clip(x, 2, 1e4)
    step = 0.25
    places = step * np.arange(27)
    weights = step * np.exp(-(places**2))
    weights[0] /= 2
    root = op.Sqrt(x)
    fourth = op.Sqrt(root)
    column = op.Unsqueeze(op.Reciprocal(op.Mul(root, fourth)), [-1])
    integral = weighted_sum(op, op.Cos(op.Mul(column, op.constant(places**3 / 3))), weights)
    falling = op.Exp(op.Mul(op.Mul(x, root), -2 / 3))
    return op.Mul(op.Div(op.Mul(integral, falling), fourth), 1 / math.pi)


def _airy_waves(op: Builder, x: Value) -> Value:
    """For x <= -7: `(cos(c) L + sin(c) M) / (sqrt(pi) |x|^1/4)`, c = z - pi / 4."""
    size = op.Clip(op.Neg(x), 7, 1e10)
    root = op.Sqrt(size)
    z = op.Mul(op.Mul(size, root), 2 / 3)
    terms = [1.0]
    for k in range(1, 20):
        terms.append(terms[-1] * (6 * k - 5) * (6 * k - 3) * (6 * k - 1) / (216 * k * (2 * k - 1)))
    inverse = op.Reciprocal(z)
    square = op.Mul(inverse, inverse)
    even = polynomial(op, square, [(-1) ** k * term for k, term in enumerate(terms[0::2])])
    odd = op.Mul(polynomial(op, square, [(-1) ** k * term for k, term in enumerate(terms[1::2])]), inverse)
    phase = op.Sub(z, math.pi / 4)
    wave = op.Add(op.Mul(op.Cos(phase), even), op.Mul(op.Sin(phase), odd))
    return op.Div(wave, op.Mul(op.Sqrt(root), math.sqrt(math.pi)))
