"""Element types to compute in, where a value's own would lose digits or has no kernel in onnxruntime."""

from __future__ import annotations

import onnx_ir as ir

from aten_lowering.builder import Builder, Value, dtype

__all__ = ["opmath", "ordered", "widened"]

_HALVES = {ir.DataType.FLOAT16, ir.DataType.BFLOAT16}

# onnxruntime's kernels that compare elements (ReduceMax, ArgMax, TopK, Where) lack these types, and ONNX's
# TopK and losses do not take bfloat16.
_ORDERED_AS = {
    ir.DataType.BFLOAT16: ir.DataType.FLOAT,
    ir.DataType.BOOL: ir.DataType.UINT8,
    ir.DataType.INT16: ir.DataType.INT32,
    ir.DataType.UINT16: ir.DataType.INT32,
    ir.DataType.UINT32: ir.DataType.INT64,
}


def opmath(kind: ir.DataType) -> ir.DataType:
    """The type in which torch computes a formula on elements of a type: float32 for both halves."""
    return ir.DataType.FLOAT if kind in _HALVES else kind


def widened(op: Builder, value: Value) -> Value:
    """The value in the type in which torch computes formulas on it."""
    return op.cast(value, opmath(dtype(value)))


def ordered(op: Builder, value: Value) -> Value:
    """The value in a type whose elements onnxruntime can compare; the order stays."""
    return op.cast(value, _ORDERED_AS.get(dtype(value), dtype(value)))
