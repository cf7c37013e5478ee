"""Axes counted from the front, and places along them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from aten_lowering.builder import Builder, Value, dims, rank
from shape_inference import Size

__all__ = ["arange", "arange_axis", "axis_of", "is_arange"]

_MOST_READ = 4096


def axis_of(value: Value, dim: int) -> int:
    """A dim as an axis counted from the front; 0 for a tensor of rank 0, of which torch takes 0 and -1."""
    return dim % rank(value) if rank(value) else 0


def arange(op: Builder, size: Size, kind: ir.DataType = ir.DataType.INT64) -> Value:
    """0, 1, ... size - 1, of shape [size]: a constant where the size is a number."""
    if type(size) is int:
        return op.constant(list(range(size)), kind)
    numbers: Value = op.Range(op.constant(0), op.scalar(size), op.constant(1))
    return op.cast(numbers, kind)


def is_arange(op: Builder, value: Value, size: Size) -> bool:
    """Whether a vector is known to be 0, 1, ... size - 1."""
    return rank(value) == 1 and arange_axis(op, value, size) == 0


def arange_axis(op: Builder, value: Value, size: Size) -> int | None:
    """The axis along which a tensor is known to be 0, 1, ... size - 1, all others being of size 1."""
    long = [axis for axis, length in enumerate(dims(value)) if length != 1]
    if len(long) != 1 or dims(value)[long[0]] != size:
        return None
    if value.const_value is not None:
        if not isinstance(size, int) or size > _MOST_READ:
            return None
        return long[0] if (value.const_value.numpy().reshape(-1) == np.arange(size)).all() else None
    node = value.producer()
    if node is None:
        return None
    if node.op_type == "Range":
        start, _, step = (op.content(item) if item is not None else None for item in node.inputs)
        return long[0] if start == (0,) and step == (1,) else None
    sources = [item for item in node.inputs if item is not None and (node.op_type != "Add" or not _is_zero(op, item))]
    if node.op_type in ("Unsqueeze", "Squeeze", "Reshape", "Cast") or (node.op_type == "Add" and len(sources) == 1):
        return long[0] if arange_axis(op, sources[0], size) is not None else None
    return None


def _is_zero(op: Builder, value: Value) -> bool:
    content = op.content(value)
    return content is not None and all(type(item) is int and item == 0 for item in content)
