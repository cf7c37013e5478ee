"""torch's dtypes and ONNX's."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch

__all__ = [
    "DEFAULT_DTYPES",
    "FLOATS",
    "INTEGERS",
    "UNSIGNED",
    "as_dtype",
    "from_torch",
    "is_float",
    "is_integer",
    "to_torch",
    "torch_promotion",
]

_FROM_TORCH: dict[torch.dtype, ir.DataType] = {
    torch.float32: ir.DataType.FLOAT,
    torch.float64: ir.DataType.DOUBLE,
    torch.float16: ir.DataType.FLOAT16,
    torch.bfloat16: ir.DataType.BFLOAT16,
    torch.int8: ir.DataType.INT8,
    torch.int16: ir.DataType.INT16,
    torch.int32: ir.DataType.INT32,
    torch.int64: ir.DataType.INT64,
    torch.uint8: ir.DataType.UINT8,
    torch.uint16: ir.DataType.UINT16,
    torch.uint32: ir.DataType.UINT32,
    torch.uint64: ir.DataType.UINT64,
    torch.bool: ir.DataType.BOOL,
    # A complex tensor is a real one with a last dimension of 2.
    torch.complex64: ir.DataType.FLOAT,
    torch.complex128: ir.DataType.DOUBLE,
    torch.complex32: ir.DataType.FLOAT16,
    torch.float8_e4m3fn: ir.DataType.FLOAT8E4M3FN,
    torch.float8_e4m3fnuz: ir.DataType.FLOAT8E4M3FNUZ,
    torch.float8_e5m2: ir.DataType.FLOAT8E5M2,
    torch.float8_e5m2fnuz: ir.DataType.FLOAT8E5M2FNUZ,
}
_TO_TORCH = {onnx: dtype for dtype, onnx in reversed(_FROM_TORCH.items()) if not dtype.is_complex}

FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16})
INTEGERS = frozenset(
    {
        ir.DataType.INT8, ir.DataType.INT16, ir.DataType.INT32, ir.DataType.INT64,
        ir.DataType.UINT8, ir.DataType.UINT16, ir.DataType.UINT32, ir.DataType.UINT64,
    }
)  # fmt: skip
UNSIGNED = frozenset({ir.DataType.UINT8, ir.DataType.UINT16, ir.DataType.UINT32, ir.DataType.UINT64})


def from_torch(dtype: torch.dtype) -> ir.DataType:
    """The ONNX element type of a torch dtype; a complex one's is that of its two parts."""
    return _FROM_TORCH[dtype]


def to_torch(dtype: ir.DataType) -> torch.dtype:
    """The torch dtype of an ONNX element type that has one."""
    return _TO_TORCH[dtype]


def is_float(dtype: ir.DataType) -> bool:
    """Whether an element type is one of the floating-point ones that torch computes with."""
    return dtype in FLOATS


def is_integer(dtype: ir.DataType) -> bool:
    """Whether an element type is an integer one; bool is not."""
    return dtype in INTEGERS


def torch_promotion(first: ir.DataType, second: ir.DataType) -> ir.DataType:
    """What torch makes of two element types of one category."""
    if first == second:
        return first
    return _FROM_TORCH[torch.promote_types(_TO_TORCH[first], _TO_TORCH[second])]


# What a Python number becomes, by numpy's kind of it.
DEFAULT_DTYPES = {
    "i": ir.DataType.INT64, "u": ir.DataType.INT64, "f": ir.DataType.FLOAT, "b": ir.DataType.BOOL,
}  # fmt: skip


def as_dtype(array: np.ndarray, dtype: ir.DataType) -> np.ndarray:
    """The array as an element type; Python numbers outside of it wrap as they do in torch."""
    wanted = dtype.numpy()
    if array.dtype == wanted:
        return np.ascontiguousarray(array).reshape(array.shape)
    if dtype.is_floating_point() or array.dtype.kind != "f":
        with np.errstate(over="ignore"):
            return array.astype(wanted)
    with np.errstate(invalid="ignore"):
        return np.clip(np.nan_to_num(array), -(2.0**63), 2.0**63 - 1024).astype(np.int64).astype(wanted)
