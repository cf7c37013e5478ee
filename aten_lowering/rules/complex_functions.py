"""Functions of complex tensors that are made of the exponential, the logarithm and the root.

Source: W. Kahan, "Branch cuts for complex elementary functions", 1987, for the inverse functions.
"""

from __future__ import annotations

import math

import torch

from aten_lowering.builder import Builder, Value
from aten_lowering.complexes import Complex, Operand, as_complex, joined, part_type, parts
from aten_lowering.dtypes import from_torch
from aten_lowering.registry import lowers_complex, registry
from aten_lowering.rules.complexes import add, conj, cos, exp, log, mul, reciprocal, sin, sqrt, sub, tanh
from aten_lowering.rules.functions import atan2
from aten_lowering.rules.scans import cumprod as cumprod_of_reals

aten = torch.ops.aten


def _turned(op: Builder, z: Complex) -> Complex:
    """`i z`."""
    a, b = parts(op, z)
    return joined(op, op.Neg(b), a)


def _turned_back(op: Builder, z: Complex) -> Complex:
    """`-i z`."""
    a, b = parts(op, z)
    return joined(op, b, op.Neg(a))


def _area_sine(op: Builder, x: Value) -> Value:
    rule = registry.find(aten.asinh.default)
    assert rule is not None  # it is a row of a table
    result: Value = rule(op, [x], {})
    return result


@lowers_complex(aten.cosh.default)
def cosh(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], `cos(i z)`."""
    return cos(op, _turned(op, self))


@lowers_complex(aten.sinh.default)
def sinh(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], `-i sin(i z)`."""
    return _turned_back(op, sin(op, _turned(op, self)))


@lowers_complex(aten.tan.default)
def tan(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], `-i tanh(i z)`."""
    return _turned_back(op, tanh(op, _turned(op, self)))


def _roots(op: Builder, z: Complex) -> tuple[Complex, Complex]:
    """`sqrt(1 - z)` and `sqrt(1 + z)`."""
    return sqrt(op, sub(op, 1, z, 1)), sqrt(op, add(op, z, 1, 1))


@lowers_complex(aten.asin.default)
def asin(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], the arc sine."""
    less, more = _roots(op, self)
    a, _ = parts(op, self)
    across, _ = parts(op, mul(op, less, more))
    _, height = parts(op, mul(op, conj(op, less), more))
    return joined(op, atan2(op, a, across), _area_sine(op, height))


@lowers_complex(aten.acos.default)
def acos(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], the arc cosine."""
    less, more = _roots(op, self)
    _, height = parts(op, mul(op, conj(op, more), less))
    angle = op.Mul(atan2(op, parts(op, less)[0], parts(op, more)[0]), 2.0)
    return joined(op, angle, _area_sine(op, height))


@lowers_complex(aten.asinh.default)
def asinh(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], `-i asin(i z)`."""
    return _turned_back(op, asin(op, _turned(op, self)))


@lowers_complex(aten.acosh.default)
def acosh(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], the inverse of cosh with a real part that is not negative."""
    less, more = sqrt(op, sub(op, self, 1, 1)), sqrt(op, add(op, self, 1, 1))
    width, _ = parts(op, mul(op, conj(op, less), more))
    angle = op.Mul(atan2(op, parts(op, less)[1], parts(op, more)[0]), 2.0)
    return joined(op, _area_sine(op, width), angle)


@lowers_complex(aten.atanh.default)
def atanh(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], `(log(1 + z) - log(1 - z)) / 2`, from its two parts."""
    x, y = parts(op, self)
    height = op.Mul(y, y)
    more, less = op.Add(x, 1.0), op.Sub(1.0, x)
    ratio = op.Div(op.Add(op.Mul(more, more), height), op.Add(op.Mul(less, less), height))
    angle = atan2(op, op.Mul(y, 2.0), op.Sub(op.Mul(more, less), height))
    return joined(op, op.Mul(op.Log(ratio), 0.25), op.Mul(angle, 0.5))


@lowers_complex(aten.atan.default)
def atan(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], `-i atanh(i z)`."""
    return _turned_back(op, atanh(op, _turned(op, self)))


@lowers_complex(aten.log10.default)
def log10(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], the logarithm to the base of 10."""
    return mul(op, log(op, self), 1 / math.log(10))


@lowers_complex(aten.log2.default)
def log2(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], the logarithm to the base of 2."""
    return mul(op, log(op, self), 1 / math.log(2))


@lowers_complex(aten.log1p.default)
def log1p(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], `log(1 + z)`; near 0 it loses digits."""
    return log(op, add(op, self, 1, 1))


@lowers_complex(aten.expm1.default)
def expm1(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], `exp(z) - 1`; near 0 it loses digits."""
    return sub(op, exp(op, self), 1, 1)


@lowers_complex(aten.exp2.default)
def exp2(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], `2^z`."""
    return exp(op, mul(op, self, math.log(2)))


@lowers_complex(aten.rsqrt.default)
def rsqrt(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], `1 / sqrt(z)`."""
    return reciprocal(op, sqrt(op, self))


@lowers_complex(aten.pow.Tensor_Tensor, aten.pow.Scalar)
def pow_(op: Builder, self: Operand, exponent: Operand) -> Complex:
    """[*A], [*B] -> broadcast, `exp(b log a)`; of 0 it is 0, or NaN where b is 0."""
    kind = part_type(self, exponent)
    base, power = as_complex(op, self, kind), as_complex(op, exponent, kind)
    size = op.reduce("ReduceL2", base.value, [-1], keepdims=True)
    is_zero = op.Equal(size, 0.0)
    safe = Complex(op.Where(is_zero, op.constant([1.0, 0.0], kind), base.value))
    result = exp(op, mul(op, log(op, safe), power))
    has_none = op.Equal(op.reduce("ReduceL2", power.value, [-1], keepdims=True), 0.0)
    of_zero = op.Where(has_none, op.constant(math.nan, kind), op.constant(0.0, kind))
    return Complex(op.Where(is_zero, of_zero, result.value))


# Products: their moduli are multiplied, their angles added up.


def _polar(op: Builder, z: Complex) -> tuple[Value, Value]:
    """Moduli and angles, [*S] each."""
    a, b = parts(op, z)
    return op.reduce("ReduceL2", z.value, [-1]), op.squeeze(atan2(op, b, a), [-1])


def _of_polar(op: Builder, size: Value, angle: Value) -> Complex:
    turn = op.unsqueeze(angle, [-1])
    return Complex(op.Mul(op.unsqueeze(size, [-1]), op.Concat(op.Cos(turn), op.Sin(turn), axis=-1)))


def _as_dtype(op: Builder, z: Complex, dtype: torch.dtype | None) -> Complex:
    return z if dtype is None else as_complex(op, z, from_torch(dtype))


@lowers_complex(aten.prod.default)
def prod(op: Builder, self: Complex, dtype: torch.dtype | None) -> Complex:
    """[*S] -> [], the product of all."""
    size, angle = _polar(op, _as_dtype(op, self, dtype))
    axes = list(range(self.rank))
    return _of_polar(op, op.reduce("ReduceProd", size, axes), op.reduce("ReduceSum", angle, axes))


@lowers_complex(aten.prod.dim_int)
def prod_dim(op: Builder, self: Complex, dim: int, keepdim: bool, dtype: torch.dtype | None) -> Complex:
    """[*L, a, *R] -> [*L, *R]."""
    if not self.rank:
        return _as_dtype(op, self, dtype)
    size, angle = _polar(op, _as_dtype(op, self, dtype))
    axis = [dim % self.rank]
    return _of_polar(op, op.reduce("ReduceProd", size, axis, keepdim), op.reduce("ReduceSum", angle, axis, keepdim))


@lowers_complex(aten.cumprod.default)
def cumprod(op: Builder, self: Complex, dim: int, dtype: torch.dtype | None) -> Complex:
    """[*S] -> [*S], y_i = x_0 * ... * x_i along the dim."""
    if not self.rank:
        return _as_dtype(op, self, dtype)
    size, angle = _polar(op, _as_dtype(op, self, dtype))
    return _of_polar(op, cumprod_of_reals(op, size, dim, None), op.CumSum(angle, op.constant(dim % self.rank)))
