"""Arithmetic on complex tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.complexes import Complex, Operand, as_complex, joined, part_type, parts
from aten_lowering.dtypes import from_torch
from aten_lowering.errors import UnsupportedArgument
from aten_lowering.promotion import as_value
from aten_lowering.registry import lowers_complex
from aten_lowering.rules.functions import atan2
from shape_inference import Size

aten = torch.ops.aten


# Parts


@lowers_complex(aten.view_as_real.default, aten.view_as_real_copy.default)
def view_as_real(op: Builder, self: Complex) -> Value:
    """[*S] -> [*S, 2]."""
    return self.value


@lowers_complex(aten.view_as_complex.default, aten.view_as_complex_copy.default)
def view_as_complex(op: Builder, self: Value) -> Complex:
    """[*S, 2] -> [*S]."""
    return Complex(self)


@lowers_complex(aten.real.default)
def real(op: Builder, self: Complex) -> Value:
    """[*S] -> [*S], the real parts."""
    return op.Gather(self.value, op.constant(0), axis=-1)


@lowers_complex(aten.imag.default)
def imag(op: Builder, self: Complex) -> Value:
    """[*S] -> [*S], the imaginary parts."""
    return op.Gather(self.value, op.constant(1), axis=-1)


@lowers_complex(aten.complex.default)
def complex_(op: Builder, real: Value, imag: Value) -> Complex:
    """[*A], [*B] -> broadcast, of real and imaginary parts."""
    first, second = _broadcast(op, op.unsqueeze(real, [-1]), op.unsqueeze(imag, [-1]))
    return joined(op, first, second)


@lowers_complex(aten.polar.default)
def polar(op: Builder, abs: Value, angle: Value) -> Complex:
    """[*A], [*B] -> broadcast, `abs (cos angle + i sin angle)`."""
    turn = op.unsqueeze(angle, [-1])
    direction = op.Concat(op.Cos(turn), op.Sin(turn), axis=-1)
    return Complex(op.Mul(op.unsqueeze(abs, [-1]), direction))


@lowers_complex(aten.abs.default, aten.absolute.default)
def abs_(op: Builder, self: Complex) -> Value:
    """[*S] -> [*S], the moduli."""
    return op.reduce("ReduceL2", self.value, [-1])


@lowers_complex(aten.angle.default)
def angle(op: Builder, self: Complex) -> Value:
    """[*S] -> [*S], the arguments, from -pi to pi."""
    return atan2(op, imag(op, self), real(op, self))


@lowers_complex(
    aten._conj.default, aten.conj.default, aten.conj_physical.default, aten._conj_physical.default,
    aten._conj_copy.default,
)  # fmt: skip
def conj(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], the conjugates."""
    return Complex(op.Mul(self.value, op.constant([1.0, -1.0], self.dtype)))


@lowers_complex(aten.view.dtype)
def view_dtype(op: Builder, self: Complex | Value, dtype: torch.dtype) -> Complex | Value:
    """[*S, N] complex -> [*S, 2 N] real, or back."""
    if isinstance(self, Complex):
        if from_torch(dtype) != self.dtype or dtype.is_complex:
            raise UnsupportedArgument(f"aten.view.dtype: dtype must be that of the parts, got {dtype}")
        *lead, last = self.dims
        return op.reshape(self.value, [*lead, last * 2])
    if from_torch(dtype) != self.dtype:
        raise UnsupportedArgument(f"aten.view.dtype: dtype must have parts of {self.dtype}, got {dtype}")
    *lead, last = dims(self)
    return Complex(op.reshape(self, [*lead, last // 2, 2]))


@lowers_complex(aten.to.dtype, aten.to.dtype_layout, aten.to.device, aten._to_copy.default)
def to(op: Builder, self: Complex | Value, dtype: torch.dtype | None) -> Complex | Value:
    """[*S] -> [*S], real or complex to complex or real; the imaginary parts are lost."""
    if dtype is None:
        return self
    if dtype.is_complex:
        return as_complex(op, self, from_torch(dtype))
    return op.cast(real(op, self) if isinstance(self, Complex) else self, from_torch(dtype))


@lowers_complex(aten.to.other, aten.type_as.default)
def to_other(op: Builder, self: Complex | Value, other: Complex | Value) -> Complex | Value:
    """[*S] -> [*S], in the dtype of another tensor."""
    if isinstance(other, Complex):
        return as_complex(op, self, other.dtype)
    return op.cast(real(op, self) if isinstance(self, Complex) else self, dtype(other))


# Sums and products


def _broadcast(op: Builder, first: Value, second: Value) -> tuple[Value, Value]:
    """Two tensors stretched to one shape; a runtime size may be what stretches."""
    if dims(first) == dims(second):
        return first, second
    return op.Expand(first, op.Shape(second)), op.Expand(second, op.Shape(first))


@lowers_complex(aten.add.Tensor, aten.add.Scalar)
def add(op: Builder, self: Operand, other: Operand, alpha: Any) -> Complex:
    """[*A], [*B] -> broadcast, `self + alpha * other`."""
    kind = part_type(self, other)
    other = other if alpha == 1 else mul(op, as_complex(op, other, kind), alpha)
    return Complex(op.Add(as_complex(op, self, kind).value, as_complex(op, other, kind).value))


@lowers_complex(aten.sub.Tensor, aten.sub.Scalar, aten.subtract.Tensor)
def sub(op: Builder, self: Operand, other: Operand, alpha: Any) -> Complex:
    """[*A], [*B] -> broadcast, `self - alpha * other`."""
    kind = part_type(self, other)
    other = other if alpha == 1 else mul(op, as_complex(op, other, kind), alpha)
    return Complex(op.Sub(as_complex(op, self, kind).value, as_complex(op, other, kind).value))


@lowers_complex(aten.rsub.Tensor, aten.rsub.Scalar)
def rsub(op: Builder, self: Operand, other: Operand, alpha: Any) -> Complex:
    """[*A], [*B] -> broadcast, `other - alpha * self`."""
    return sub(op, other, self, alpha)


@lowers_complex(aten.neg.default, aten.negative.default, aten._neg_view.default)
def neg(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], -x."""
    return Complex(op.Neg(self.value))


@lowers_complex(aten.mul.Tensor, aten.mul.Scalar, aten.multiply.Tensor)
def mul(op: Builder, self: Operand, other: Operand) -> Complex:
    """[*A], [*B] -> broadcast, self * other.

    (a + b i)(c + d i) = c (a, b) + d (-b, a): two products of pairs and a swap, no parts of the first.
    """
    kind = part_type(self, other)
    if not isinstance(self, Complex) or (isinstance(other, Complex) and _weighs_more(other, self)):
        self, other = other, self
    if isinstance(other, complex) and not other.imag:
        other = other.real
    if not isinstance(self, Complex):  # a real tensor and a complex number
        self = as_complex(op, self, kind)
    first = op.cast(self.value, kind)
    if not isinstance(other, (Complex, complex)):
        factor = as_value(op, other, kind)
        return Complex(op.Mul(first, op.unsqueeze(factor, [-1]) if rank(factor) else factor))
    swapped = op.Gather(first, [1, 0], axis=-1)
    if isinstance(other, complex):
        turned = op.Mul(swapped, op.constant([-other.imag, other.imag], kind))
        return Complex(op.Add(op.Mul(first, other.real), turned) if other.real else turned)
    c, d = parts(op, as_complex(op, other, kind))
    return Complex(op.Add(op.Mul(first, c), op.Mul(swapped, op.Mul(d, op.constant([-1.0, 1.0], kind)))))


def _weighs_more(other: Complex, self: Complex) -> bool:
    """Whether it is cheaper to take the parts of `self` than of `other`."""
    if other.value.const_value is not None or self.value.const_value is not None:
        return other.value.const_value is None
    return other.rank > self.rank


@lowers_complex(aten.div.Tensor, aten.div.Scalar, aten.true_divide.Tensor, aten.divide.Tensor)
def div(op: Builder, self: Operand, other: Operand) -> Complex:
    """[*A], [*B] -> broadcast, `self * conj(other) / |other|^2`."""
    kind = part_type(self, other)
    first = as_complex(op, self, kind)
    if not isinstance(other, (Complex, complex)):
        divisor = as_value(op, other, kind)
        return Complex(op.Div(first.value, op.unsqueeze(divisor, [-1]) if rank(divisor) else divisor))
    second = as_complex(op, other, kind)
    squared = op.reduce("ReduceSumSquare", second.value, [-1], keepdims=True)
    return Complex(op.Div(mul(op, first, conj(op, second)).value, squared))


@lowers_complex(aten.reciprocal.default)
def reciprocal(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], 1 / x."""
    squared = op.reduce("ReduceSumSquare", self.value, [-1], keepdims=True)
    return Complex(op.Div(conj(op, self).value, squared))


@lowers_complex(aten.square.default)
def square(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], x x."""
    return mul(op, self, self)


@lowers_complex(aten.pow.Tensor_Scalar)
def pow_(op: Builder, self: Complex, exponent: float | complex) -> Complex:
    """[*S] -> [*S], by products for small integers, else `exp(exponent * log x)`."""
    if isinstance(exponent, (int, float)) and exponent in (1, 2, 3, 4):
        result = self
        for _ in range(int(exponent) - 1):
            result = mul(op, result, self)
        return result
    if exponent == -1:
        return reciprocal(op, self)
    return exp(op, mul(op, log(op, self), exponent))


# Functions


@lowers_complex(aten.exp.default)
def exp(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], `e^a (cos b + i sin b)`."""
    a, b = parts(op, self)
    return Complex(op.Mul(op.Exp(a), op.Concat(op.Cos(b), op.Sin(b), axis=-1)))


@lowers_complex(aten.log.default)
def log(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], `log |x| + i arg x`."""
    size = op.reduce("ReduceL2", self.value, [-1], keepdims=True)
    return joined(op, op.Log(size), op.unsqueeze(angle(op, self), [-1]))


@lowers_complex(aten.sqrt.default)
def sqrt(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], the root with a real part that is not negative: half the argument."""
    size = op.Sqrt(op.reduce("ReduceL2", self.value, [-1], keepdims=True))
    half = op.unsqueeze(op.Mul(angle(op, self), 0.5), [-1])
    return Complex(op.Mul(size, op.Concat(op.Cos(half), op.Sin(half), axis=-1)))


def _hyperbolic(op: Builder, x: Value) -> tuple[Value, Value]:
    """The hyperbolic cosine and sine."""
    up, down = op.Exp(x), op.Exp(op.Neg(x))
    return op.Mul(op.Add(up, down), 0.5), op.Mul(op.Sub(up, down), 0.5)


@lowers_complex(aten.cos.default)
def cos(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], `cos a cosh b - i sin a sinh b`."""
    a, b = parts(op, self)
    even, odd = _hyperbolic(op, b)
    return joined(op, op.Mul(op.Cos(a), even), op.Neg(op.Mul(op.Sin(a), odd)))


@lowers_complex(aten.sin.default)
def sin(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], `sin a cosh b + i cos a sinh b`."""
    a, b = parts(op, self)
    even, odd = _hyperbolic(op, b)
    return joined(op, op.Mul(op.Sin(a), even), op.Mul(op.Cos(a), odd))


@lowers_complex(aten.sigmoid.default)
def sigmoid(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], `1 / (1 + exp(-x))`."""
    return reciprocal(op, add(op, exp(op, neg(op, self)), 1, 1))


@lowers_complex(aten.tanh.default)
def tanh(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], `2 sigmoid(2 x) - 1`."""
    return sub(op, mul(op, sigmoid(op, mul(op, self, 2)), 2), 1, 1)


@lowers_complex(aten.sgn.default)
def sgn(op: Builder, self: Complex) -> Complex:
    """[*S] -> [*S], `x / |x|`, 0 at 0."""
    size = op.reduce("ReduceL2", self.value, [-1], keepdims=True)
    return Complex(op.Div(self.value, op.Where(op.Equal(size, 0.0), op.constant(1.0, self.dtype), size)))


# Comparisons


@lowers_complex(aten.eq.Tensor, aten.eq.Scalar)
def eq(op: Builder, self: Operand, other: Operand) -> Value:
    """[*A], [*B] -> broadcast, whether both parts are equal."""
    kind = part_type(self, other)
    same = op.Equal(as_complex(op, self, kind).value, as_complex(op, other, kind).value)
    return op.cast(op.reduce("ReduceMin", op.cast(same, ir.DataType.INT32), [-1]), ir.DataType.BOOL)


@lowers_complex(aten.ne.Tensor, aten.ne.Scalar)
def ne(op: Builder, self: Operand, other: Operand) -> Value:
    """[*A], [*B] -> broadcast, whether a part differs."""
    return op.Not(eq(op, self, other))


@lowers_complex(aten.isnan.default)
def isnan(op: Builder, self: Complex) -> Value:
    """[*S] -> [*S], whether a part is NaN."""
    found = op.cast(op.IsNaN(self.value), ir.DataType.INT32)
    return op.cast(op.reduce("ReduceMax", found, [-1]), ir.DataType.BOOL)


@lowers_complex(aten.isinf.default)
def isinf(op: Builder, self: Complex) -> Value:
    """[*S] -> [*S], whether a part is infinite."""
    found = op.cast(op.IsInf(self.value), ir.DataType.INT32)
    return op.cast(op.reduce("ReduceMax", found, [-1]), ir.DataType.BOOL)


@lowers_complex(aten.isfinite.default)
def isfinite(op: Builder, self: Complex) -> Value:
    """[*S] -> [*S], whether neither part is infinite or NaN."""
    return op.Not(op.Or(isnan(op, self), isinf(op, self)))


# Reductions


def _axes(self: Complex, axes: Sequence[int] | None) -> list[int]:
    return [axis % self.rank for axis in axes] if axes and self.rank else list(range(self.rank))


@lowers_complex(aten.sum.default)
def sum_all(op: Builder, self: Complex) -> Complex:
    """[*S] -> [], the sum of all."""
    return sum_(op, self, None, False)


@lowers_complex(aten.mean.default)
def mean_all(op: Builder, self: Complex) -> Complex:
    """[*S] -> [], the mean of all."""
    return mean(op, self, None, False)


@lowers_complex(aten.sum.dim_IntList)
def sum_(op: Builder, self: Complex, dim: Sequence[int] | None, keepdim: bool) -> Complex:
    """[*S] -> the sums along some axes."""
    return Complex(op.reduce("ReduceSum", self.value, _axes(self, dim), keepdim))


@lowers_complex(aten.mean.dim)
def mean(op: Builder, self: Complex, dim: Sequence[int] | None, keepdim: bool) -> Complex:
    """[*S] -> the means along some axes."""
    return Complex(op.reduce("ReduceMean", self.value, _axes(self, dim), keepdim))


# Products of matrices


@lowers_complex(aten.matmul.default, aten.linalg_matmul.default)
def matmul(op: Builder, self: Operand, other: Operand) -> Complex:
    """[*B, N, K], [*B, K, M] -> [*B, N, M], vectors as in numpy.

    One real product of twice the sizes: (a + b i)(c + d i) = (a, b) ((c, d), (-d, c)).
    """
    kind = part_type(self, other)
    first, second = as_complex(op, self, kind).value, as_complex(op, other, kind).value
    is_row, is_column = rank(first) == 2, rank(second) == 2
    first = op.unsqueeze(first, [0]) if is_row else first
    second = op.unsqueeze(second, [1]) if is_column else second
    *lead, rows, inner, _ = dims(first)
    turned = op.Mul(op.Gather(second, [1, 0], axis=-1), op.constant([-1.0, 1.0], kind))
    block = op.Concat(op.unsqueeze(second, [-3]), op.unsqueeze(turned, [-3]), axis=-3)
    columns = dims(second)[-2]
    block = op.reshape(block, [*dims(second)[:-3], inner * 2, columns * 2])
    product = op.MatMul(op.reshape(first, [*lead, rows, inner * 2]), block)
    sizes: list[Size] = [*dims(product)[:-1], columns, 2]
    if is_row:
        sizes.pop(-3)
    if is_column:
        sizes.pop(-2)
    return Complex(op.reshape(product, sizes))


@lowers_complex(aten.mm.default, aten.bmm.default)
def mm(op: Builder, self: Complex, mat2: Complex) -> Complex:
    """[*B, N, K], [*B, K, M] -> [*B, N, M]."""
    return matmul(op, self, mat2)


@lowers_complex(aten.mv.default)
def mv(op: Builder, self: Complex, vec: Complex) -> Complex:
    """[N, K], [K] -> [N]."""
    return matmul(op, self, vec)


@lowers_complex(aten.dot.default)
def dot(op: Builder, self: Complex, tensor: Complex) -> Complex:
    """[K], [K] -> []."""
    return matmul(op, self, tensor)


@lowers_complex(aten.vdot.default)
def vdot(op: Builder, self: Complex, other: Complex) -> Complex:
    """[K], [K] -> [], `conj(self) . other`."""
    return matmul(op, conj(op, self), other)
