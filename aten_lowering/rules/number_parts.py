"""Parts and neighbours of numbers: common divisors, mantissas and exponents, the next float."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dtype
from aten_lowering.elementwise import any_of, broadcast, repeat_while, wide
from aten_lowering.promotion import promoted
from aten_lowering.registry import lowers

aten = torch.ops.aten

_DOUBLE, _FLOAT, _INT32, _INT64 = ir.DataType.DOUBLE, ir.DataType.FLOAT, ir.DataType.INT32, ir.DataType.INT64
# The bits of a mantissa, and the smallest number above 0.
_PRECISIONS = {
    _DOUBLE: (53, 5e-324),
    _FLOAT: (24, 2.0**-149),
    ir.DataType.FLOAT16: (11, 2.0**-24),
    ir.DataType.BFLOAT16: (8, 2.0**-133),
}


@lowers(aten.gcd.default)
def gcd(op: Builder, self: Value, other: Value) -> Value:
    """[*A], [*B] -> broadcast, the greatest common divisor, by Euclid's algorithm on all at once."""
    a, b = promoted(op, self, other)
    return op.cast(_divisor(op, op.cast(a, _INT64), op.cast(b, _INT64)), dtype(a))


@lowers(aten.lcm.default)
def lcm(op: Builder, self: Value, other: Value) -> Value:
    """[*A], [*B] -> broadcast, the least common multiple: |a / gcd(a, b) b|, 0 beside a 0."""
    a, b = promoted(op, self, other)
    divisor = op.cast(_divisor(op, op.cast(a, _INT64), op.cast(b, _INT64)), dtype(a))
    return op.Abs(op.Mul(op.Div(a, op.Add(divisor, op.cast(op.Equal(divisor, 0), dtype(a)))), b))


def _divisor(op: Builder, a: Value, b: Value) -> Value:
    def divide(inner: Builder, x: Value, y: Value) -> tuple[Value, Sequence[Value]]:
        done = inner.Equal(y, 0)
        rest = inner.Mod(x, inner.Where(done, inner.constant(1), y))
        x, y = inner.Where(done, x, y), inner.Where(done, y, rest)
        return any_of(inner, y), (x, y)

    return op.Abs(repeat_while(op, broadcast(op, a, b), divide)[0])


@lowers(aten.frexp.Tensor)
def frexp(op: Builder, self: Value) -> tuple[Value, Value]:
    """[*S] -> [*S], [*S], x = m 2^e with 1/2 <= |m| < 1; (x, 0) for 0, an infinity and NaN.

    The exponent that the logarithm gives may be one off, which the mantissa tells.
    """
    x = wide(op, self)
    size = op.Abs(x)
    plain = op.Or(op.Equal(size, 0), op.Not(op.Less(size, math.inf)))
    one = op.constant(1.0, _DOUBLE)
    # A denormal double has too small a logarithm for its power of two: it is taken times 2^64.
    tiny = op.Less(size, 2.0**-960)
    size = op.Where(plain, one, op.Where(tiny, op.Mul(size, 2.0**64), size))
    rough = op.Floor(op.Mul(op.Log(size), 1 / math.log(2)))
    scaled = op.Div(size, op.Pow(op.constant(2.0, _DOUBLE), rough))  # about 1 to 2
    exponent = op.Add(rough, op.Add(wide(op, op.GreaterOrEqual(scaled, 1)), wide(op, op.GreaterOrEqual(scaled, 2))))
    mantissa = op.Div(op.Div(size, op.Pow(op.constant(2.0, _DOUBLE), op.Sub(exponent, 1))), 2)
    exponent = op.Sub(exponent, op.Mul(wide(op, tiny), 64))
    mantissa = op.Where(plain, x, op.Mul(mantissa, op.Sign(x)))
    whole = op.Cast(op.Where(plain, op.constant(0.0, _DOUBLE), exponent), to=_INT32)
    return op.cast(mantissa, dtype(self)), whole


@lowers(aten.nextafter.default)
def nextafter(op: Builder, self: Value, other: Value) -> Value:
    """[*A], [*B] -> broadcast, the number next to a on the way to b.

    It is a moved by a little more than half its last digit, and rounded.
    """
    kind = dtype(self)
    bits, smallest = _PRECISIONS[kind]
    a, b = wide(op, self), wide(op, other)
    # What is beyond the largest number stands for infinity on the way back from there.
    start = op.Clip(a, -_BEYOND[kind], _BEYOND[kind])
    step = op.Mul(op.Abs(start), 2.0**-bits * (1 + 2.0 ** (2 - bits)))
    step = op.Max(step, smallest if kind == _DOUBLE else 0.75 * smallest)
    moved = op.cast(op.Add(start, op.Mul(step, op.Sign(op.Sub(b, start)))), kind)
    if kind == _DOUBLE:
        moved = op.Where(op.Equal(op.Abs(a), math.inf), start, moved)
    return op.Where(op.Equal(self, other), other, moved)


_BEYOND = {
    _DOUBLE: float(np.finfo(np.float64).max),
    _FLOAT: 2.0**128,
    ir.DataType.FLOAT16: 2.0**16,
    ir.DataType.BFLOAT16: 2.0**128,
}
