"""Functions of a square matrix: powers and the exponential."""

from __future__ import annotations

import math

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype
from aten_lowering.elementwise import wide
from aten_lowering.loops import repeated
from aten_lowering.registry import lowers
from aten_lowering.rules.linear_systems import inverse
from aten_lowering.rules.matrices import identity_of, multiplied

aten = torch.ops.aten

_DOUBLE = ir.DataType.DOUBLE
_TERMS = 16  # of the series: they reach the last digit of doubles, for matrices of norm 1 / 2


@lowers(aten.linalg_matrix_power.default, aten.matrix_power.default)
def matrix_power(op: Builder, self: Value, n: int) -> Value:
    """[*B, N, N] -> [*B, N, N], the matrix times itself n times, by repeated squaring."""
    if n == 0:
        return op.expand(identity_of(op, self), dims(self))
    square = inverse(op, self) if n < 0 else self
    result: Value | None = None
    for place, digit in enumerate(reversed(f"{abs(n):b}")):
        square = multiplied(op, square, square) if place else square
        if digit == "1":
            result = square if result is None else multiplied(op, result, square)
    assert result is not None  # the first digit of n is 1
    return result


@lowers(aten.linalg_matrix_exp.default, aten.matrix_exp.default)
def matrix_exp(op: Builder, self: Value) -> Value:
    """[*B, N, N] -> [*B, N, N], `sum of self^k / k!`.

    exp(A) = exp(A / 2^s)^(2^s), s such that the norm of A / 2^s is at most 1 / 2; in doubles, for each
    squaring doubles what was rounded before.
    """
    matrix = wide(op, self)
    norm = op.reduce("ReduceMax", op.reduce("ReduceSum", op.Abs(matrix), [-2], keepdims=True), [-1], keepdims=True)
    norm = op.Max(norm, op.constant(0.5, _DOUBLE))
    halvings = op.Ceil(op.Div(op.Log(op.Mul(norm, 2.0)), math.log(2)))
    small = op.Div(matrix, op.Pow(op.constant(2.0, _DOUBLE), halvings))
    one = identity_of(op, matrix)

    def add(op: Builder, step: Value, total: Value) -> tuple[list[Value], list[Value]]:
        divisor = op.cast(op.Sub(op.constant(_TERMS), step), _DOUBLE)
        return [op.Add(one, op.Div(op.MatMul(small, total), divisor))], []

    def square(op: Builder, step: Value, power: Value) -> tuple[list[Value], list[Value]]:
        return [op.Where(op.Less(op.cast(step, _DOUBLE), halvings), op.MatMul(power, power), power)], []

    (total,) = repeated(op, _TERMS, [op.expand(one, dims(matrix))], add)
    squarings = op.fresh("squarings")
    op.source(squarings, op.cast(op.ReduceMax(halvings, keepdims=0), ir.DataType.INT64), None)
    return op.cast(repeated(op, squarings, [total], square)[0], dtype(self))
