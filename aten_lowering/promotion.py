"""torch's type promotion, on ONNX values and Python numbers.

Source: https://docs.pytorch.org/docs/stable/tensor_attributes.html#type-promotion
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from aten_lowering.builder import Builder, Value, dtype, rank
from aten_lowering.dtypes import is_float, torch_promotion
from aten_lowering.quotients import Quotient, number
from shape_inference import Dim

__all__ = ["Operand", "as_value", "float_type", "numeric", "promoted", "result_type", "standing_for"]

Operand = Value | Dim | Quotient | int | float | bool


def result_type(*operands: Operand) -> ir.DataType:
    """The dtype in which torch computes with the operands.

    Tensors with dims count first, tensors of rank 0 next, Python numbers last; a later one matters only
    where it is of a higher category (bool < integer < float).
    """
    best: ir.DataType | None = None
    for group in _groups(operands):
        kind: ir.DataType | None = None
        for found in group:
            kind = found if kind is None else torch_promotion(kind, found)
        if kind is not None and (best is None or _category(kind) > _category(best)):
            best = kind
    assert best is not None  # every call has an operand
    return best


def promoted(op: Builder, *operands: Operand, to: ir.DataType | None = None) -> list[Value]:
    """The operands as values of one dtype: the given one, or what torch promotes them to."""
    wanted = to if to is not None else result_type(*operands)
    return [as_value(op, operand, wanted) for operand in operands]


def numeric(op: Builder, value: Value) -> Value:
    """The value; a bool one as int64, as torch sums and multiplies it."""
    return op.cast(value, ir.DataType.INT64) if value.dtype == ir.DataType.BOOL else value


def float_type(operands: Sequence[Operand]) -> ir.DataType:
    """The dtype of a result that is never an integer: float32 where the operands are integers."""
    kind = result_type(*operands)
    return kind if is_float(kind) else ir.DataType.FLOAT


def standing_for(number: Operand) -> Operand:
    """What counts in promotion for the number of a Scalar argument: of `tensor.item()` only its category."""
    if not isinstance(number, Value):
        return number
    return (True, 1, 1.0)[_category(dtype(number))]


def as_value(op: Builder, operand: Operand, wanted: ir.DataType) -> Value:
    """An operand as a value of a dtype; a number becomes a constant of rank 0."""
    operand = number(op, operand)
    if isinstance(operand, Value):
        return op.cast(operand, wanted)
    if isinstance(operand, Dim):
        return op.scalar(operand, wanted)
    return op.constant(operand, wanted)


def _groups(operands: Sequence[Operand]) -> list[list[ir.DataType]]:
    with_dims: list[ir.DataType] = []
    rank_0: list[ir.DataType] = []
    numbers: list[ir.DataType] = []
    for operand in operands:
        if isinstance(operand, Value):
            (with_dims if rank(operand) else rank_0).append(dtype(operand))
        elif isinstance(operand, bool):
            numbers.append(ir.DataType.BOOL)
        elif isinstance(operand, (int, Dim)):
            numbers.append(ir.DataType.INT64)
        else:
            numbers.append(ir.DataType.FLOAT)
    return [with_dims, rank_0, numbers]


def _category(kind: ir.DataType) -> int:
    if kind == ir.DataType.BOOL:
        return 0
    return 2 if is_float(kind) else 1
