"""What a lint asks of a model: dtypes, static shapes, constants and attributes."""

from __future__ import annotations

from typing import Any

import onnx
import onnx_ir as ir

__all__ = ["attribute", "dtype", "has_static_shape", "is_constant", "rank", "since_version", "static_shape"]


def rank(value: ir.Value | None) -> int | None:
    """The number of dims of a value, where it is known."""
    return None if value is None or value.shape is None else len(value.shape)


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """The shape of a value whose dims are all numbers; None for any other."""
    if value is None or value.shape is None:
        return None
    dims = tuple(dim for dim in value.shape if isinstance(dim, int))
    return dims if len(dims) == len(value.shape) else None


def has_static_shape(value: ir.Value | None) -> bool:
    """Whether the dims of a value are all numbers; an input that is left out is no hindrance."""
    return value is None or static_shape(value) is not None


def is_constant(value: ir.Value | None) -> bool:
    """Whether a value is an initializer or a Constant; an input that is left out is."""
    if value is None:
        return True
    producer = value.producer()
    return value.is_initializer() or (producer is not None and producer.op_type == "Constant")


def dtype(value: ir.Value | None) -> ir.DataType | None:
    """The element type of a value, where it is known."""
    return None if value is None else value.dtype


def attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    """The value of a node's attribute."""
    found = node.attributes.get(name)
    return default if found is None else found.value


def since_version(node: ir.Node, opset_version: int) -> int | None:
    """The version of the operator's definition that an opset has; None where ONNX does not know it."""
    try:
        return int(onnx.defs.get_schema(node.op_type, opset_version, node.domain).since_version)
    except onnx.defs.SchemaError:
        return None
