"""Questions about values that the passes ask: what is known, and what is certain.

An answer is only "yes" where it is proven: an unnamed unknown dim equals nothing, not even itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir

__all__ = [
    "FLOATS",
    "INTEGERS",
    "SMALL_BYTES",
    "Array",
    "Dims",
    "attribute",
    "axes",
    "bytes_of",
    "constant",
    "dims",
    "has_one_use",
    "integers",
    "is_unknown",
    "is_used",
    "made_by",
    "normalized",
    "same_dims",
    "same_shape",
    "scalar",
    "size_bytes",
    "small_array",
    "static_dims",
]

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
Dims: TypeAlias = "tuple[int | ir.SymbolicDim, ...]"

FLOATS = frozenset({ir.DataType.FLOAT16, ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.BFLOAT16})
INTEGERS = frozenset(
    {
        ir.DataType.INT8,
        ir.DataType.INT16,
        ir.DataType.INT32,
        ir.DataType.INT64,
        ir.DataType.UINT8,
        ir.DataType.UINT16,
        ir.DataType.UINT32,
        ir.DataType.UINT64,
    }
)

SMALL_BYTES = 1024
"""A constant above this size is a weight: its bytes are not read while exporting."""


def is_used(value: ir.Value) -> bool:
    """Whether any node reads the value. `Value.uses()` copies them all; this takes O(1)."""
    return bool(value._uses)


def has_one_use(value: ir.Value) -> bool:
    """Whether one input of one node is all that reads the value."""
    return len(value._uses) == 1 and not value.is_graph_output()


def bytes_of(tensor: ir.TensorProtocol) -> int:
    """What the tensor takes when written. `nbytes` multiplies the shape anew each time."""
    if type(tensor) is ir.Tensor and isinstance(tensor.raw, np.ndarray):
        return tensor.raw.nbytes
    return tensor.nbytes


def constant(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor of an initializer that no caller can override, else None."""
    if value is None:
        return None
    tensor = value.const_value
    if tensor is None or not value.is_initializer() or value.is_graph_input():
        return None
    return tensor


def small_array(value: ir.Value | None) -> Array | None:
    """The contents of a constant of at most SMALL_BYTES, else None."""
    tensor = constant(value)
    if tensor is None or bytes_of(tensor) > SMALL_BYTES or tensor.dtype is ir.DataType.STRING:
        return None
    return tensor.numpy()


def integers(value: ir.Value | None) -> tuple[int, ...] | None:
    """The contents of a small constant integer tensor, flat, else None."""
    if value is None or value.const_value is None:
        return None
    array = small_array(value)
    if array is None or array.dtype.kind not in "iu":
        return None
    return tuple(array.ravel().tolist())


def scalar(value: ir.Value | None) -> Array | None:
    """The contents of a constant of one element, of any rank, as a 0-d array, else None."""
    if value is None or value.const_value is None:  # nearly always
        return None
    for dim in value.shape or value.const_value.shape:
        if dim != 1:
            return None
    array = small_array(value)
    return None if array is None else array.reshape(())


def dims(value: ir.Value | None) -> Dims | None:
    """The dims of a value, or None where its rank is unknown."""
    if value is None or value.shape is None:
        return None
    return value.shape.dims


def static_dims(value: ir.Value | None) -> tuple[int, ...] | None:
    """The dims of a value where all of them are numbers, else None."""
    if value is None or value.shape is None:
        return None
    found = [dim for dim in value.shape if isinstance(dim, int)]
    return tuple(found) if len(found) == len(value.shape) else None


def size_bytes(value: ir.Value) -> int | None:
    """What the value takes when written, or None where it is not known."""
    shape = static_dims(value)
    if shape is None or value.dtype is None or value.dtype is ir.DataType.STRING:
        return None
    elements = 1
    for dim in shape:
        elements *= dim
    return (elements * value.dtype.bitwidth + 7) // 8


def made_by(value: ir.Value | None, op_types: Collection[str]) -> ir.Node | None:
    """The node that makes the value, where it is one of these ONNX ops, or the one named."""
    node = None if value is None else value.producer()
    if node is None or node.domain:
        return None
    found = node.op_type == op_types if isinstance(op_types, str) else node.op_type in op_types
    return node if found else None


def is_unknown(dim: int | ir.SymbolicDim) -> bool:
    """Whether the dim has no name: it may be anything, also beside one that looks the same."""
    return not isinstance(dim, int) and type(dim) is ir.SymbolicDim and dim.value is None


def same_dims(left: Iterable[int | ir.SymbolicDim], right: Iterable[int | ir.SymbolicDim]) -> bool:
    """Whether two lists of dims are equal for every size that a caller may choose."""
    left = list(left)
    return left == list(right) and not any(map(is_unknown, left))


def same_shape(left: ir.Value | None, right: ir.Value | None) -> bool:
    """Whether two values have the same shape for every size that a caller may choose."""
    if left is None or right is None or left.shape is None or right.shape is None:
        return False
    return left.shape == right.shape and not any(map(is_unknown, left.shape))


def attribute(node: ir.Node, name: str, default: Any) -> Any:
    """An attribute's value, or the default where the node does not have it."""
    found = node.attributes.data.get(name)
    return default if found is None else found.value


def normalized(numbers: Sequence[int], rank: int) -> tuple[int, ...]:
    """Axes counted from the front."""
    return tuple(axis % rank if rank else axis for axis in numbers)


def axes(node: ir.Node, position: int = 1) -> tuple[int, ...] | None:
    """The axes of a node, from its input at `position` or its attribute, as they are written."""
    if len(node.inputs) > position and node.inputs[position] is not None:
        return integers(node.inputs[position])
    written = attribute(node, "axes", None)
    return None if written is None else tuple(written)
