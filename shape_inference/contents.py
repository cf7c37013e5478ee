"""Contents of small tensors: exact elements, computed along with the shapes."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from shape_inference.dims import Dim, Size, at_least, divisible, larger, same
from shape_inference.types import MAX_CONTENT, Content, TensorType

__all__ = [
    "FLOATS",
    "INTEGERS",
    "array_of",
    "compare",
    "content_of",
    "count",
    "elementwise",
    "static_shape",
    "tensor_content",
    "truncated_div",
]

# Tuples, not sets: the hash of a DataType costs more than a comparison with each of these.
INTEGERS = (
    ir.DataType.INT64,
    ir.DataType.INT32,
    ir.DataType.INT16,
    ir.DataType.INT8,
    ir.DataType.UINT64,
    ir.DataType.UINT32,
    ir.DataType.UINT16,
    ir.DataType.UINT8,
)
FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16)


def static_shape(shape: tuple[Size, ...] | None) -> tuple[int, ...] | None:
    """The shape if all its dims are numbers."""
    if shape is None:
        return None
    for dim in shape:
        if dim.__class__ is not int:
            return None
    return shape  # type: ignore[return-value]  # all dims are ints


def count(shape: tuple[Size, ...] | None) -> int | None:
    """How many elements a tensor has if that is a number of at most MAX_CONTENT."""
    static = static_shape(shape)
    if static is None:
        return None
    total = math.prod(static)
    return total if total <= MAX_CONTENT else None


def array_of(tensor: TensorType) -> np.ndarray[Any, Any] | None:
    """The contents as an array of objects, in the tensor's shape."""
    shape = static_shape(tensor.shape)
    if tensor.content is None or shape is None:
        return None
    array = np.empty(len(tensor.content), dtype=object)
    array[:] = tensor.content
    return array.reshape(shape)


def content_of(array: Any) -> Content | None:
    """The elements of an array of objects, if they are few enough to follow."""
    return tuple(array.reshape(-1)) if array.size <= MAX_CONTENT else None


_READABLE = (*INTEGERS, *FLOATS, ir.DataType.BOOL, ir.DataType.BFLOAT16)

# A tensor in another file is read for its contents only if it has so few elements.
_MAX_EXTERNAL = 16


def tensor_content(tensor: ir.TensorProtocol, dtype: ir.DataType, shape: tuple[Size, ...] | None) -> Content | None:
    """The elements of a constant, if they are few enough and numbers; big data is not touched."""
    total = count(shape)
    if total is None or dtype not in _READABLE:
        return None
    if type(tensor) is ir.ExternalTensor and (total > _MAX_EXTERNAL or not os.path.exists(tensor.path)):
        return None
    return tuple(tensor.numpy().reshape(-1).tolist())


def elementwise(
    function: Callable[..., Any], shape: tuple[Size, ...] | None, tensors: list[TensorType]
) -> Content | None:
    """Apply a function to the contents, laid over one another; a None from it leaves no content."""
    for tensor in tensors:
        if tensor.content is None:
            return None
    total = count(shape)
    if total is None:
        return None
    columns: list[Content] = []
    for tensor in tensors:
        content = tensor.content or ()
        if len(content) == total and (len(content) == 1 or tensor.shape == shape):
            columns.append(content)
        elif len(content) == 1:
            columns.append(content * total)
        else:
            array = array_of(tensor)
            if array is None:
                return None
            columns.append(tuple(np.broadcast_to(array, shape).reshape(-1)))  # type: ignore[arg-type]  # `count` saw only ints
    try:
        result = tuple([function(*row) for row in zip(*columns, strict=True)])
    except (ArithmeticError, TypeError, ValueError):
        return None
    return None if None in map(_marker, result) else result


def _marker(value: object) -> object:
    """None for None alone, so that no Dim is compared."""
    return None if value is None else 0


def compare(a: Any, b: Any, relation: str) -> bool | None:
    """Decide a relation of two elements; None where it is open."""
    if type(a) is not Dim and type(b) is not Dim:
        return _PLAIN[relation](a, b)
    if isinstance(a, float) or isinstance(b, float):
        return None
    if relation == "==":
        return same(a, b)
    if relation == ">=":
        return at_least(a, b)
    if relation == "<=":
        return at_least(b, a)
    reverse = at_least(b, a) if relation == ">" else at_least(a, b)
    return None if reverse is None else not reverse


_PLAIN: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: bool(a == b),
    ">=": lambda a, b: bool(a >= b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    "<": lambda a, b: bool(a < b),
}


def truncated_div(a: Any, b: Any) -> Any:
    """Integer division that rounds toward zero, as ONNX does."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b if (a >= 0) == (b > 0) else -(-a // b)
    if isinstance(b, int) and b < 0:
        a, b = -a, -b
    if not at_least(b, 0):  # it is not 0, or there is no quotient
        quotient = a // b
        return quotient if divisible(a, b) else None
    if at_least(a, 0):
        return a // b
    return larger(a, 0) // b - larger(-a, 0) // b
