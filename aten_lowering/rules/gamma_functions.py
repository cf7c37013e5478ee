"""The gamma function's logarithm, its derivatives, the incomplete gamma functions and the zeta function.

They are computed in doubles, from asymptotic series in Bernoulli's numbers, beyond a point to which the
functions' recurrences lead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dtype
from aten_lowering.elementwise import any_of, broadcast, floating, polynomial, repeat_while, wide
from aten_lowering.promotion import Operand, float_type, promoted
from aten_lowering.registry import lowers
from aten_lowering.rules.creations import filled_like

aten = torch.ops.aten

_DOUBLE = ir.DataType.DOUBLE
_SHIFT = 8  # from here on, eight terms of the asymptotic series are right to 1e-15


def _bernoulli(count: int) -> list[Fraction]:
    """B_2, B_4, …: `count` of them."""
    numbers = [Fraction(1)]
    for m in range(1, 2 * count + 1):
        numbers.append(-sum((math.comb(m + 1, k) * numbers[k] for k in range(m)), Fraction(0)) / (m + 1))
    return numbers[2::2]


_BERNOULLI = _bernoulli(8)


def _number(op: Builder, number: float) -> Value:
    return op.constant(number, _DOUBLE)


def _sine_of_turns(op: Builder, x: Value) -> tuple[Value, Value]:
    """`sin(pi x)` and `cos(pi x)` up to a sign that both share, exact for large x."""
    part = op.Mul(op.Sub(x, op.Round(x)), math.pi)
    return op.Sin(part), op.Cos(part)


@lowers(aten.lgamma.default)
def lgamma(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], log |gamma(x)|.

    For x < 1/2, `log(pi / |sin(pi x)|) - lgamma(1 - x)`.
    """
    x = floating(op, self)
    given = wide(op, x)
    below = op.Less(given, 0.5)
    positive = op.Clip(op.Where(below, op.Sub(1, given), given), None, 1e300)
    result = _log_gamma(op, positive)
    sine, _ = _sine_of_turns(op, given)
    mirrored = op.Sub(op.Sub(math.log(math.pi), op.Log(op.Abs(sine))), result)
    result = op.Where(below, mirrored, result)
    infinite = op.Equal(op.Abs(given), math.inf)
    return op.cast(op.Where(infinite, _number(op, math.inf), result), dtype(x))


def _log_gamma(op: Builder, x: Value) -> Value:
    """Stirling's series for x > 0: at x + 8, less the logarithm of x (x + 1) … (x + 7), where x is small."""
    small = op.Less(x, _SHIFT)
    bounded = op.Min(x, _SHIFT)
    product = bounded
    for k in range(1, _SHIFT):
        product = op.Mul(product, op.Add(bounded, k))
    z = op.Where(small, op.Add(x, _SHIFT), x)
    inverse = op.Reciprocal(z)
    series = [float(b) / (2 * k * (2 * k - 1)) for k, b in enumerate(_BERNOULLI, 1)]
    rest = op.Mul(polynomial(op, op.Mul(inverse, inverse), series), inverse)
    main = op.Sub(op.Mul(op.Sub(z, 0.5), op.Log(z)), z)
    result = op.Add(op.Add(main, 0.5 * math.log(2 * math.pi)), rest)
    return op.Where(small, op.Sub(result, op.Log(product)), result)


@lowers(aten.digamma.default)
def digamma(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], the derivative of log gamma(x): -inf at 0, inf at -0.0, NaN at the negative integers.

    For x < 1/2, `digamma(1 - x) - pi / tan(pi x)`.
    """
    x = floating(op, self)
    given = wide(op, x)
    below = op.Less(given, 0.5)
    result = _digamma(op, op.Where(below, op.Sub(1, given), given))
    sine, cosine = _sine_of_turns(op, given)
    mirrored = op.Sub(result, op.Div(op.Mul(cosine, math.pi), sine))
    pole = op.And(op.Less(given, 0), op.Equal(sine, 0))
    mirrored = op.Where(pole, _number(op, math.nan), mirrored)
    result = op.Where(below, mirrored, result)
    return op.cast(op.Where(op.Equal(given, 0), op.Neg(op.Reciprocal(given)), result), dtype(x))


def _digamma(op: Builder, x: Value) -> Value:
    """For x > 0: `log(z) - 1 / 2z - sum_k B_2k / (2k z^2k)` at z = x + 8, less 1 / x + … + 1 / (x + 7)."""
    small = op.Less(x, _SHIFT)
    total = op.Reciprocal(x)
    for k in range(1, _SHIFT):
        total = op.Add(total, op.Reciprocal(op.Add(x, k)))
    z = op.Where(small, op.Add(x, _SHIFT), x)
    inverse = op.Reciprocal(z)
    square = op.Mul(inverse, inverse)
    series = op.Mul(polynomial(op, square, [float(b) / (2 * k) for k, b in enumerate(_BERNOULLI, 1)]), square)
    result = op.Sub(op.Sub(op.Log(z), op.Mul(inverse, 0.5)), series)
    return op.Where(small, op.Sub(result, total), result)


@lowers(aten.polygamma.default)
def polygamma(op: Builder, n: int, self: Value) -> Value:
    """[*S] -> [*S], the n-th derivative of digamma: (-1)^(n + 1) n! zeta(n + 1, x)."""
    if n == 0:
        return digamma(op, self)
    x = floating(op, self)
    given = wide(op, x)
    if n == 1:
        return op.cast(_trigamma(op, x, given), dtype(x))
    total = _zeta(op, filled_like(op, given, float(n + 1), _DOUBLE), given)
    return op.cast(op.Mul(total, float((-1) ** (n + 1) * math.factorial(n))), dtype(x))


def _trigamma(op: Builder, x: Value, given: Value) -> Value:
    """`zeta(2, x)`; for x < 1/2, `pi^2 / sin^2(pi x) - zeta(2, 1 - x)`.

    The sine is that of the rounded pi x, which near a pole is far from the exact one: it is what torch takes.
    """
    below = op.Less(given, 0.5)
    exact = x.dtype == _DOUBLE
    angle = op.Mul(x if exact else op.cast(x, ir.DataType.FLOAT), math.pi)
    sine = wide(op, op.Sin(angle))
    mirrored = op.Div(math.pi**2, op.Mul(sine, sine))
    argument = op.Where(below, op.Sub(1, given), given)
    total = _positive_zeta(op, filled_like(op, given, 2.0, _DOUBLE), argument)
    return op.Where(below, op.Sub(mirrored, total), total)


@lowers(aten.special_zeta.default, aten.special_zeta.self_scalar, aten.special_zeta.other_scalar)
def zeta(op: Builder, self: Operand, other: Operand) -> Value:
    """[*A], [*B] -> broadcast, Hurwitz's zeta function, the sum of (b + k)^-a for k = 0, 1, ….

    inf for a = 1 and for an integer b <= 0; NaN for a < 1, and for a b < 0 beside an a that is no integer.
    """
    kind = float_type([self, other])
    s, q = broadcast(op, *(wide(op, value) for value in promoted(op, self, other, to=kind)))
    total = _zeta(op, s, q)
    below = op.LessOrEqual(q, 0)
    pole = op.And(below, op.Equal(q, op.Floor(q)))
    total = op.Where(pole, _number(op, math.inf), total)
    undefined = op.And(op.And(below, op.Not(pole)), op.Not(op.Equal(s, op.Floor(s))))
    total = op.Where(op.Or(undefined, op.Less(s, 1)), _number(op, math.nan), total)
    return op.cast(op.Where(op.Equal(s, 1), _number(op, math.inf), total), kind)


def _zeta(op: Builder, s: Value, q: Value) -> Value:
    """The zeta function for q > 0, and below for an integer s.

    With r = ceil(q) - q, the terms below 0 are those of r, r + 1, …, -q with the sign of (-1)^s.
    """
    negative = op.And(op.Less(q, 0), op.Less(op.Abs(q), math.inf))
    start = op.Where(negative, q, _number(op, -0.5))
    rest = op.Sub(op.Ceil(start), start)
    first = op.Where(negative, op.Sub(1, rest), q)
    below = op.Sub(_positive_zeta(op, s, rest), _positive_zeta(op, s, op.Sub(1, start)))
    odd = op.Abs(op.Mod(s, 2.0, fmod=1))
    signed = op.Mul(below, op.Sub(1, op.Mul(odd, 2)))
    return op.Add(_positive_zeta(op, s, first), op.Where(negative, signed, _number(op, 0)))


def _positive_zeta(op: Builder, s: Value, q: Value) -> Value:
    """The first 9 terms, and the others by Euler's and Maclaurin's formula."""
    power = op.Neg(s)
    total = op.Pow(q, power)
    for k in range(1, 9):
        total = op.Add(total, op.Pow(op.Add(q, k), power))
    at = op.Add(q, 9)
    last = op.Pow(at, power)
    rest = op.Add(op.Div(op.Mul(last, at), op.Sub(s, 1)), op.Mul(last, 0.5))
    square = op.Mul(at, at)
    factor = op.Div(op.Mul(last, s), at)
    for k, bernoulli in enumerate(_BERNOULLI, 1):
        rest = op.Add(rest, op.Mul(factor, float(bernoulli) / math.factorial(2 * k)))
        if k < len(_BERNOULLI):
            rising = op.Mul(op.Add(s, 2 * k - 1), op.Add(s, 2 * k))
            factor = op.Div(op.Mul(factor, rising), square)
    return op.Add(total, rest)


@lowers(aten.igamma.default)
def igamma(op: Builder, self: Value, other: Value) -> Value:
    """[*A], [*X] -> broadcast, the lower incomplete gamma function P(a, x), regularized."""
    return _incomplete(op, self, other, lower=True)


@lowers(aten.igammac.default)
def igammac(op: Builder, self: Value, other: Value) -> Value:
    """[*A], [*X] -> broadcast, the upper incomplete gamma function Q(a, x) = 1 - P(a, x), regularized."""
    return _incomplete(op, self, other, lower=False)


def _incomplete(op: Builder, self: Value, other: Value, *, lower: bool) -> Value:
    """Below x = a + 1 the series, above it the continued fraction, of which each is the other's complement."""
    kind = float_type([self, other])
    a, x = broadcast(op, *(wide(op, value) for value in promoted(op, self, other, to=kind)))
    by_series = op.Less(x, op.Add(a, 1))
    inside = op.And(op.Greater(a, 0), op.And(op.Greater(x, 0), op.Less(op.Max(a, x), math.inf)))
    one = _number(op, 1)
    order = op.Where(inside, a, one)
    logarithm = op.Sub(op.Sub(op.Mul(order, op.Log(op.Where(inside, x, one))), x), _log_gamma(op, order))
    front = op.Exp(logarithm)
    series = op.Mul(front, _series(op, order, op.Where(op.And(inside, by_series), x, one)))
    fraction = op.Mul(front, _fraction(op, order, op.Where(op.Or(by_series, op.Not(inside)), op.Add(order, 1), x)))
    if lower:
        result = op.Where(by_series, series, op.Sub(1, fraction))
    else:
        result = op.Where(by_series, op.Sub(1, series), fraction)
    return op.cast(op.Where(inside, result, _edge(op, a, x, lower=lower)), kind)


def _edge(op: Builder, a: Value, x: Value, *, lower: bool) -> Value:
    """P or Q at the ends of their domain: P is 0 at x = 0 and for an infinite a, 1 for a = 0 and an infinite x."""
    zero, one, nan = (_number(op, number) for number in (0, 1, math.nan))
    at_zero, at_one = (zero, one) if lower else (one, zero)
    result = op.Where(op.Equal(x, 0), at_zero, at_one)
    infinite_order = op.Equal(a, math.inf)
    result = op.Where(infinite_order, op.Where(op.Equal(x, math.inf), nan, at_zero), result)
    valid = op.And(op.GreaterOrEqual(a, 0), op.GreaterOrEqual(x, 0))
    valid = op.And(valid, op.Greater(op.Max(a, x), 0))
    return op.Where(valid, result, nan)


def _series(op: Builder, a: Value, x: Value) -> Value:
    """`sum_n x^n / (a (a + 1) … (a + n))`."""

    def add(inner: Builder, total: Value, term: Value, at: Value) -> tuple[Value, Sequence[Value]]:
        at = inner.Add(at, 1)
        term = inner.Mul(term, inner.Div(x, at))
        total = inner.Add(total, term)
        return any_of(inner, inner.Greater(term, inner.Mul(total, 1e-16))), (total, term, at)

    first = op.Reciprocal(a)
    return repeat_while(op, [first, first, a], add)[0]


def _fraction(op: Builder, a: Value, x: Value) -> Value:
    """`1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - 2 (2 - a) / …))`, by Lentz's method."""

    def step(
        inner: Builder, result: Value, c: Value, d: Value, n: Value
    ) -> tuple[Value, Sequence[Value]]:  # fmt: skip
        numerator = inner.Mul(n, inner.Sub(a, n))
        denominator = inner.Add(inner.Sub(x, a), inner.Add(inner.Mul(n, 2), 1))
        d = inner.Reciprocal(inner.Add(inner.Mul(numerator, d), denominator))
        c = inner.Add(inner.Div(numerator, c), denominator)
        change = inner.Mul(c, d)
        moving = inner.Greater(inner.Abs(inner.Sub(change, 1)), 1e-15)
        going = inner.And(any_of(inner, moving), inner.Less(n, 2000))
        return going, (inner.Mul(result, change), c, d, inner.Add(n, 1))

    d = op.Reciprocal(op.Add(op.Sub(x, a), 1))
    infinite = op.Add(op.Mul(x, 0), 1e300)
    return repeat_while(op, [d, infinite, d, _number(op, 1)], step)[0]
