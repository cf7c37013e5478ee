"""Arithmetic that Python code did on sizes: exact on symbolic integers, fractions where it divides."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value
from aten_lowering.errors import LoweringError
from shape_inference import Dim, Size, at_least, larger, same, smaller

__all__ = ["SIZE_FUNCTIONS", "Quotient", "number"]


@dataclass(frozen=True)
class Quotient:
    """A symbolic size over an integer or another size: what `size / 2` or `size * 0.5` is in Python."""

    numerator: Size
    denominator: Size = 1

    def floor(self) -> Size:
        """The largest integer that is not above it."""
        return self.numerator // self.denominator

    def value(self, op: Builder) -> Value:
        """The number as a float32 of rank 0."""
        top = op.scalar(self.numerator, ir.DataType.FLOAT)
        return top if self.denominator == 1 else op.Div(top, op.scalar(self.denominator, ir.DataType.FLOAT))


def number(op: Builder, item: Any) -> Any:
    """What a rule gets for a number that was computed from sizes: a size, a number, or a float32 value."""
    return item.value(op) if isinstance(item, Quotient) else item


def _quotient(item: Any) -> Quotient:
    if isinstance(item, Quotient):
        return item
    if isinstance(item, float):
        exact = Fraction(item).limit_denominator(1 << 20)
        if float(exact) != item:
            raise LoweringError(f"a size times {item}: the factor must be a fraction of small integers")
        return Quotient(exact.numerator, exact.denominator)
    return Quotient(item)


def _arithmetic(function: Callable[[Any, Any], Any], on_values: str) -> Callable[..., Any]:
    """The function where it is exact on sizes and fractions, else the ONNX op on float32 values."""

    def apply(op: Builder, a: Any, b: Any) -> Any:
        if isinstance(a, Value) or isinstance(b, Value):
            return op.emit(on_values, [_as_value(op, a), _as_value(op, b)], {})
        if isinstance(a, (Quotient, float)) or isinstance(b, (Quotient, float)):
            if isinstance(a, float) and isinstance(b, float):
                return function(a, b)
            return _on_quotients(op, function, on_values, a, b)
        return function(a, b)

    return apply


def _on_quotients(op: Builder, function: Callable[[Any, Any], Any], on_values: str, a: Any, b: Any) -> Any:
    try:
        left, right = _quotient(a), _quotient(b)
    except LoweringError:
        return op.emit(on_values, [_as_value(op, a), _as_value(op, b)], {})
    if function is operator.mul:
        return _reduced(left.numerator * right.numerator, left.denominator * right.denominator)
    if function is operator.truediv:
        return _reduced(left.numerator * right.denominator, left.denominator * right.numerator)
    crossed = function(left.numerator * right.denominator, right.numerator * left.denominator)
    return _reduced(crossed, left.denominator * right.denominator)


def _reduced(numerator: Size, denominator: Size) -> Any:
    if type(numerator) is int and type(denominator) is int:
        return numerator / denominator
    return Quotient(numerator, denominator)


def _extreme(pick: Callable[[Size, Size], Size], on_values: str) -> Callable[..., Any]:
    """The smaller or the larger of two numbers; denominators are sizes, and so positive."""

    def apply(op: Builder, a: Any, b: Any) -> Any:
        if isinstance(a, Value) or isinstance(b, Value):
            return op.emit(on_values, [_as_value(op, a), _as_value(op, b)], {})
        if isinstance(a, (Quotient, float)) or isinstance(b, (Quotient, float)):
            return _on_quotients(op, pick, on_values, a, b)
        return pick(a, b)

    return apply


def _truediv(op: Builder, a: Any, b: Any) -> Any:
    if isinstance(a, Value) or isinstance(b, Value):
        return op.Div(_as_value(op, a), _as_value(op, b))
    return _on_quotients(op, operator.truediv, "Div", a, b)


def _floordiv(op: Builder, a: Any, b: Any) -> Any:
    if isinstance(a, (Quotient, float)) or isinstance(b, (Quotient, float)):
        left, right = _quotient(a), _quotient(b)
        return (left.numerator * right.denominator) // (left.denominator * right.numerator)
    return a // b


def _floor(op: Builder, a: Any) -> Any:
    if isinstance(a, Value):
        return _size_of_value(op, op.Floor(a))
    return a.floor() if isinstance(a, Quotient) else math.floor(a) if isinstance(a, float) else a


def _trunc(op: Builder, a: Any) -> Any:
    """Towards zero, as a cast to integers goes."""
    if isinstance(a, Quotient):
        return a.floor() if at_least(a.numerator, 0) else _size_of_value(op, a.value(op))
    return _size_of_value(op, a) if isinstance(a, Value) else math.trunc(a) if isinstance(a, float) else a


def _ceil(op: Builder, a: Any) -> Any:
    if isinstance(a, Value):
        return _size_of_value(op, op.Ceil(a))
    if isinstance(a, Quotient):
        return -((-a.numerator) // a.denominator)
    return math.ceil(a) if isinstance(a, float) else a


def _round(op: Builder, a: Any, digits: int | None = None) -> Any:
    """To the nearest integer, of two equally near ones the even one; or to a number of decimals."""
    if digits is not None:
        scale = 10.0**digits
        return op.Div(op.Round(op.Mul(_as_value(op, a), scale)), scale)
    if isinstance(a, Quotient):
        double = 2 * a.denominator
        nearest = (2 * a.numerator + a.denominator) // double
        if type(a.denominator) is int and a.denominator % 2:  # no number lies in the middle
            return nearest
        is_between = 1 - smaller((2 * a.numerator + a.denominator) % double, 1)
        return nearest - nearest % 2 * is_between
    if isinstance(a, Value):
        return _size_of_value(op, op.Round(a))
    return round(a) if isinstance(a, float) else a


def _absolute(op: Builder, a: Any) -> Any:
    if isinstance(a, Quotient):
        return Quotient(larger(a.numerator, -a.numerator), a.denominator)
    return op.Abs(a) if isinstance(a, Value) else larger(a, -a)


def _mod(op: Builder, a: Any, b: Any) -> Any:
    """What is left of a division; it has the sign of the divisor."""
    if isinstance(a, (Dim, int)) and isinstance(b, (Dim, int)):
        return a % b
    if isinstance(a, Value) or isinstance(b, Value):
        first, second = _as_value(op, a), _as_value(op, b)
        return op.Sub(first, op.Mul(second, op.Floor(op.Div(first, second))))
    quotient = SIZE_FUNCTIONS[operator.mul](op, b, _floordiv(op, a, b))
    return SIZE_FUNCTIONS[operator.sub](op, a, quotient)


def _shift(op: Builder, a: Size, b: Size, *, left: bool) -> Size:
    """Times or by a power of 2, rounded down."""
    power = 1 << b if type(b) is int else _size_of_value(op, op.Pow(2.0, _as_value(op, b)))
    return a * power if left else a // power


def _size_of_value(op: Builder, value: Value) -> Size:
    size = op.fresh("size")
    op.source(size, op.cast(value, ir.DataType.INT64), None)
    return size


def _as_value(op: Builder, item: Any) -> Value:
    """A number as a float32 of rank 0; one that a tensor of another precision holds as well."""
    if isinstance(item, Value):
        return op.cast(item, ir.DataType.FLOAT)
    if isinstance(item, Quotient):
        return item.value(op)
    return op.scalar(item, ir.DataType.FLOAT) if isinstance(item, Dim) else op.constant(float(item))


def _pow(op: Builder, a: Any, b: Any) -> Any:
    if isinstance(b, int) and b >= 0 and isinstance(a, (Dim, int)):
        result: Any = 1
        for _ in range(b):
            result = result * a
        return result
    power: Value = op.Pow(_as_value(op, a), _as_value(op, b))
    return _size_of_value(op, power) if isinstance(a, (Dim, int)) and isinstance(b, Dim) else power


def _comparison(known: Callable[[Any, Any], bool | None], op_type: str) -> Callable[..., Any]:
    def apply(op: Builder, a: Any, b: Any) -> Any:
        if isinstance(a, (int, float)) and isinstance(b, (int, float)):
            return known(a, b)
        if isinstance(a, (Dim, int)) and isinstance(b, (Dim, int)):
            decided = known(a, b)
            if decided is not None:
                return decided
            return op.emit(op_type, [op.scalar(a), op.scalar(b)], {})
        return op.emit(op_type, [_as_value(op, a), _as_value(op, b)], {})

    return apply


def _logic(known: Callable[[Any, Any], bool], op_type: str) -> Callable[..., Any]:
    """A truth of two truths, each Python's own or a value."""

    def apply(op: Builder, a: Any, b: Any) -> Any:
        if isinstance(a, bool) and isinstance(b, bool):
            return known(a, b)
        return op.emit(op_type, [x if isinstance(x, Value) else op.constant(x) for x in (a, b)], {})

    return apply


def _unary(on_number: Callable[[Any], Any], op_type: str) -> Callable[..., Any]:
    def apply(op: Builder, a: Any) -> Any:
        if isinstance(a, (int, float)):
            return on_number(a)
        return op.emit(op_type, [_as_value(op, a)], {})

    return apply


def _logarithm(base: int) -> Callable[..., Any]:
    """In float64, in which that of a power of the base is a whole number."""

    def apply(op: Builder, a: Any) -> Any:
        if isinstance(a, (int, float)):
            return math.log(a, base)
        wide = op.cast(_as_value(op, a), ir.DataType.DOUBLE)
        return op.cast(op.Div(op.Log(wide), math.log(base)), ir.DataType.FLOAT)

    return apply


def _not(decided: bool | None) -> bool | None:
    return None if decided is None else not decided


def _negation(op: Builder, a: Any) -> Any:
    return op.Not(a) if isinstance(a, Value) else not a


def _unequal(op: Builder, a: Any, b: Any) -> Any:
    return _negation(op, _comparison(same, "Equal")(op, a, b))


SIZE_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    operator.add: _arithmetic(operator.add, "Add"),
    operator.sub: _arithmetic(operator.sub, "Sub"),
    operator.mul: _arithmetic(operator.mul, "Mul"),
    operator.truediv: _truediv,
    operator.floordiv: _floordiv,
    operator.mod: _mod,
    operator.lshift: partial(_shift, left=True),
    operator.rshift: partial(_shift, left=False),
    operator.pow: _pow,
    operator.neg: lambda op, a: Quotient(-a.numerator, a.denominator) if isinstance(a, Quotient) else -a,
    operator.pos: lambda op, a: a,
    operator.eq: _comparison(same, "Equal"),
    operator.ne: _unequal,
    operator.not_: _negation,
    operator.ge: _comparison(at_least, "GreaterOrEqual"),
    operator.le: _comparison(lambda a, b: at_least(b, a), "LessOrEqual"),
    operator.gt: _comparison(lambda a, b: _not(at_least(b, a)), "Greater"),
    operator.lt: _comparison(lambda a, b: _not(at_least(a, b)), "Less"),
    operator.and_: _logic(operator.and_, "And"),
    operator.or_: _logic(operator.or_, "Or"),
    math.floor: _floor,
    math.trunc: _trunc,
    math.ceil: _ceil,
    round: _round,
    math.sqrt: _unary(math.sqrt, "Sqrt"),
    math.log: _unary(math.log, "Log"),
    math.log2: _logarithm(2),
    math.log10: _logarithm(10),
    math.exp: _unary(math.exp, "Exp"),
    math.sin: _unary(math.sin, "Sin"),
    math.cos: _unary(math.cos, "Cos"),
    min: _extreme(smaller, "Min"),
    max: _extreme(larger, "Max"),
    operator.abs: _absolute,
    math.fabs: _absolute,
    math.tan: _unary(math.tan, "Tan"),
    math.tanh: _unary(math.tanh, "Tanh"),
    math.atan: _unary(math.atan, "Atan"),
    math.erf: _unary(math.erf, "Erf"),
    torch.sym_float: lambda op, a: a if isinstance(a, (Quotient, float, Value)) else Quotient(a),
}
