"""Quantization to few bits and back."""

from __future__ import annotations

import onnx_ir as ir

from shape_inference.registry import Call, infers
from shape_inference.types import TensorType, Type

Types = tuple[Type | None, ...]
_UINT8 = ir.DataType.UINT8


@infers("QuantizeLinear")
def quantize_linear(call: Call) -> Types:
    """Quantize: [*S] -> [*S], the zero point's type, `output_dtype` or UINT8."""
    x, zero = call.tensor(0), call.optional(2)
    given = call.attribute("output_dtype")
    if zero is not None:
        dtype = zero.dtype
    else:
        dtype = ir.DataType(given) if given else _UINT8
    return (TensorType(dtype, x.shape),)


@infers("DequantizeLinear")
def dequantize_linear(call: Call) -> Types:
    """Turn back into numbers: [*S] -> [*S], the scale's type or `output_dtype`."""
    x, scale = call.tensor(0), call.tensor(1)
    given = call.attribute("output_dtype")
    dtype = ir.DataType(given) if given else scale.dtype
    return (TensorType(dtype if call.version >= 19 else ir.DataType.FLOAT, x.shape),)


@infers("DynamicQuantizeLinear")
def dynamic_quantize_linear(call: Call) -> Types:
    """Quantize to the range found: [*S] -> UINT8 [*S], scale [], zero point []."""
    x = call.tensor(0)
    return (
        TensorType(_UINT8, x.shape),
        TensorType(ir.DataType.FLOAT, ()),
        TensorType(_UINT8, ()),
    )
