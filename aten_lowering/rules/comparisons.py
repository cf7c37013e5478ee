"""Comparisons, logic on truth values and on bits, and choices by a condition."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dtype, rank
from aten_lowering.dtypes import is_float
from aten_lowering.elementwise import boolean, is_negative, numbers_in, pointwise, where
from aten_lowering.promotion import Operand, as_value, promoted, result_type, standing_for
from aten_lowering.registry import lowers

aten = torch.ops.aten

_BOOL, _INT32, _INT64, _UINT8 = ir.DataType.BOOL, ir.DataType.INT32, ir.DataType.INT64, ir.DataType.UINT8

# The packet, whose overloads are Tensor and Scalar, and the op.
RELATIONS: dict[Any, str] = {
    aten.eq: "Equal",
    aten.lt: "Less",
    aten.le: "LessOrEqual",
    aten.gt: "Greater",
    aten.ge: "GreaterOrEqual",
}
# On truth values, on which any number is cast: the op.
LOGIC: dict[Any, str] = {
    aten.logical_and.default: "And",
    aten.logical_or.default: "Or",
    aten.logical_xor.default: "Xor",
}
# The packet, whose overloads are Tensor, Scalar and Scalar_Tensor; the op for integers and the one for bool.
BITS: dict[Any, tuple[str, str]] = {
    aten.bitwise_and: ("BitwiseAnd", "And"),
    aten.bitwise_or: ("BitwiseOr", "Or"),
    aten.bitwise_xor: ("BitwiseXor", "Xor"),
}


def _operands(op: Builder, self: Operand, other: Operand, *, other_is_number: bool) -> list[Value]:
    kind = result_type(self, standing_for(other) if other_is_number else other)
    return promoted(op, self, other, to=kind)


def _relation(packet: Any, op_type: str) -> None:
    @lowers(packet.Tensor)
    def tensor(op: Builder, self: Operand, other: Operand) -> Value:
        return _compared(op, op_type, *_operands(op, self, other, other_is_number=False))

    @lowers(packet.Scalar)
    def scalar(op: Builder, self: Value, other: Operand) -> Value:
        return _compared(op, op_type, *_operands(op, self, other, other_is_number=True))


def _compared(op: Builder, op_type: str, a: Value, b: Value) -> Value:
    """Compare; bools, which only Equal takes, as integers."""
    if a.dtype == _BOOL and op_type != "Equal":
        a, b = op.cast(a, _UINT8), op.cast(b, _UINT8)
    return op.emit(op_type, [a, b], {})


for _packet, _op_type in RELATIONS.items():
    _relation(_packet, _op_type)


@lowers(aten.ne.Tensor)
def ne(op: Builder, self: Operand, other: Operand) -> Value:
    """[*A], [*B] -> broadcast, a != b."""
    return _unequal(op, *_operands(op, self, other, other_is_number=False))


@lowers(aten.ne.Scalar)
def ne_scalar(op: Builder, self: Value, other: Operand) -> Value:
    """[*S] -> [*S], x != number."""
    return _unequal(op, *_operands(op, self, other, other_is_number=True))


def _unequal(op: Builder, a: Value, b: Value) -> Value:
    """Of numbers with 0: the truth of the number."""
    if a.dtype == _BOOL:
        return op.Xor(a, b)
    if numbers_in(op, b) == (0,) and rank(b) == 0:
        return boolean(op, a)
    return op.Not(op.Equal(a, b))


def _logic(overload: Any, op_type: str) -> None:
    @lowers(overload)
    def rule(op: Builder, self: Value, other: Value) -> Value:
        return op.emit(op_type, [boolean(op, self), boolean(op, other)], {})


for _overload, _op_type in LOGIC.items():
    _logic(_overload, _op_type)


@lowers(aten.logical_not.default)
def logical_not(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], x == 0."""
    return op.Not(self) if self.dtype == _BOOL else op.Equal(self, 0)


def _bits(packet: Any, op_type: str, on_bool: str) -> None:
    @lowers(packet.Tensor, packet.Scalar, packet.Scalar_Tensor)
    def rule(op: Builder, self: Operand, other: Operand) -> Value:
        a, b = promoted(op, self, other)
        return op.emit(on_bool if a.dtype == _BOOL else op_type, [a, b], {})


for _packet, (_op_type, _on_bool) in BITS.items():
    _bits(_packet, _op_type, _on_bool)


@lowers(aten.bitwise_not.default)
def bitwise_not(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], every bit turned."""
    return op.Not(self) if self.dtype == _BOOL else op.BitwiseNot(self)


@lowers(
    aten.bitwise_left_shift.Tensor, aten.bitwise_left_shift.Tensor_Scalar, aten.bitwise_left_shift.Scalar_Tensor,
    aten.__lshift__.Tensor, aten.__lshift__.Scalar,
)  # fmt: skip
def left_shift(op: Builder, self: Operand, other: Operand) -> Value:
    """[*A], [*B] -> broadcast, a 2^b as the integer wraps; 0 where b is negative or as large as the width."""
    kind = result_type(self, other)
    return op.cast(_shifted(op, *_shift_operands(op, self, other, kind), direction="LEFT", kind=kind), kind)


@lowers(
    aten.bitwise_right_shift.Tensor, aten.bitwise_right_shift.Tensor_Scalar, aten.bitwise_right_shift.Scalar_Tensor,
    aten.__rshift__.Tensor, aten.__rshift__.Scalar,
)  # fmt: skip
def right_shift(op: Builder, self: Operand, other: Operand) -> Value:
    """[*A], [*B] -> broadcast, a / 2^b rounded down.

    A shift that is negative or as large as the width leaves the sign: -1 or 0.
    """
    kind = result_type(self, other)
    a, b = _shift_operands(op, self, other, kind)
    if kind in _UNSIGNED:
        return op.cast(_shifted(op, a, b, direction="RIGHT", kind=kind), kind)
    below = op.Less(a, 0)
    # ~(~a >> b) == a >> b, and ~a is not negative where a is.
    shifted = _shifted(op, op.Where(below, op.BitwiseNot(a), a), b, direction="RIGHT", kind=kind)
    return op.cast(op.Where(below, op.BitwiseNot(shifted), shifted), kind)


_UNSIGNED = {_UINT8: _UINT8, ir.DataType.UINT16: ir.DataType.UINT32, ir.DataType.UINT32: ir.DataType.UINT32,
             ir.DataType.UINT64: ir.DataType.UINT64}  # fmt: skip


def _shift_operands(op: Builder, self: Operand, other: Operand, kind: ir.DataType) -> list[Value]:
    """The operands in an integer dtype that is at least 32 bits wide, or unsigned."""
    wide = _UNSIGNED.get(kind, _INT64 if kind == _INT64 else _INT32)
    return promoted(op, self, other, to=wide)


def _shifted(op: Builder, a: Value, b: Value, *, direction: str, kind: ir.DataType) -> Value:
    """A shift of the bits; the runtime shifts only unsigned ones, and by less than their width."""
    unsigned = {_INT32: ir.DataType.UINT32, _INT64: ir.DataType.UINT64}.get(dtype(a), dtype(a))
    width = kind.bitwidth
    known = numbers_in(op, b)
    if known is not None and all(0 <= item < width for item in known):
        return op.cast(op.BitShift(op.cast(a, unsigned), op.cast(b, unsigned), direction=direction), dtype(a))
    inside = op.Less(b, width) if b.dtype in _UNSIGNED else op.And(op.GreaterOrEqual(b, 0), op.Less(b, width))
    count = where(op, inside, b, op.constant(0, dtype(b)))
    result = op.cast(op.BitShift(op.cast(a, unsigned), op.cast(count, unsigned), direction=direction), dtype(a))
    return where(op, inside, result, op.constant(0, dtype(a)))


@lowers(aten.isnan.default)
def isnan(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], whether it is no number."""
    return pointwise(op, "IsNaN", self) if is_float(dtype(self)) else op.Not(op.Equal(self, self))


@lowers(aten.isinf.default)
def isinf(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], whether it is an infinity."""
    return pointwise(op, "IsInf", self) if is_float(dtype(self)) else op.Not(op.Equal(self, self))


@lowers(aten.isposinf.default)
def isposinf(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], whether it is +inf."""
    if not is_float(dtype(self)):
        return op.Not(op.Equal(self, self))
    return pointwise(op, "IsInf", self, detect_negative=0)


@lowers(aten.isneginf.default)
def isneginf(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], whether it is -inf."""
    if not is_float(dtype(self)):
        return op.Not(op.Equal(self, self))
    return pointwise(op, "IsInf", self, detect_positive=0)


@lowers(aten.isfinite.default)
def isfinite(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], whether it is neither an infinity nor NaN."""
    return op.Less(op.Abs(self), float("inf")) if is_float(dtype(self)) else op.Equal(self, self)


@lowers(aten.signbit.default)
def signbit(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], whether the sign bit is set, -0.0 included; of a NaN, False."""
    if self.dtype == _BOOL:
        return op.Xor(self, self)
    return is_negative(op, self)


@lowers(aten.where.self)
def where_self(op: Builder, condition: Value, self: Value, other: Value) -> Value:
    """[*C], [*A], [*B] -> broadcast, condition ? a : b."""
    return _chosen(op, condition, *promoted(op, self, other))


@lowers(aten.where.ScalarSelf)
def where_scalar_self(op: Builder, condition: Value, self: Operand, other: Value) -> Value:
    """[*C], [*B] -> broadcast, condition ? number : b."""
    return _chosen(op, condition, *promoted(op, self, other, to=result_type(standing_for(self), other)))


@lowers(aten.where.ScalarOther)
def where_scalar_other(op: Builder, condition: Value, self: Value, other: Operand) -> Value:
    """[*C], [*A] -> broadcast, condition ? a : number."""
    return _chosen(op, condition, *promoted(op, self, other, to=result_type(self, standing_for(other))))


@lowers(aten.where.Scalar)
def where_scalars(op: Builder, condition: Value, self: Operand, other: Operand) -> Value:
    """[*C] -> [*C], condition ? number : number."""
    return _chosen(op, condition, *promoted(op, self, other, to=result_type(standing_for(self), standing_for(other))))


def _chosen(op: Builder, condition: Value, a: Value, b: Value) -> Value:
    return where(op, boolean(op, condition), a, b)


@lowers(aten.isin.Tensor_Tensor)
def isin(op: Builder, elements: Value, test_elements: Value, invert: bool, assume_unique: bool) -> Value:
    """[*S], [*T] -> [*S], whether an element is one of the others; in memory the product of both sizes."""
    a, b = promoted(op, elements, test_elements)
    equal = op.Equal(op.unsqueeze(a, [-1]), op.Reshape(b, [-1]))
    kind = ir.DataType.FLOAT if a.dtype == _BOOL else _INT32
    found = op.Cast(op.reduce("ReduceSum", op.cast(equal, kind), [-1]), to=_BOOL)
    return op.Not(found) if invert else found


@lowers(aten.isin.Tensor_Scalar)
def isin_scalar(op: Builder, elements: Value, test_element: Operand, invert: bool, assume_unique: bool) -> Value:
    """[*S] -> [*S], whether an element equals the number."""
    a, b = _operands(op, elements, test_element, other_is_number=True)
    return _unequal(op, a, b) if invert else op.Equal(a, b)


@lowers(aten.isin.Scalar_Tensor)
def scalar_isin(op: Builder, element: Operand, test_elements: Value, invert: bool, assume_unique: bool) -> Value:
    """[*T] -> [], whether the number is one of the elements."""
    kind = result_type(standing_for(element), test_elements)
    return isin(op, as_value(op, element, kind), op.cast(test_elements, kind), invert, assume_unique)
