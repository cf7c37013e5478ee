"""Axes counted from the front, and places along them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from aten_lowering.builder import Builder, Value, dims, rank
from shape_inference import Size

__all__ = ["arange", "axis_of", "is_arange"]

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
    if dims(value) != (size,):
        return False
    if type(size) is int:
        constant = value.const_value
        return constant is not None and size <= _MOST_READ and bool((constant.numpy() == np.arange(size)).all())
    node = value.producer()
    if node is None or node.op_type != "Range":
        return False
    start, _, step = node.inputs
    return start is not None and step is not None and op.content(start) == (0,) and op.content(step) == (1,)
