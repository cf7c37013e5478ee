"""Between onnx_ir's types and ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir

from shape_inference.contents import tensor_content
from shape_inference.dims import Dim, Size, parse
from shape_inference.types import OptionalType, SequenceType, TensorType, Type

__all__ = ["ir_shape", "ir_type", "shape_of", "type_from_proto", "type_of"]

Fresh = Callable[[str], Dim]


def shape_of(shape: ir.Shape | None, fresh: Fresh, symbols: Mapping[str, Dim] | None = None) -> tuple[Size, ...] | None:
    """The dims of an onnx_ir shape: ours as they are, texts read, unknown ones named."""
    if shape is None:
        return None
    dims: list[Size] = []
    for dim in shape:
        if isinstance(dim, int) or dim.__class__ is Dim:
            dims.append(dim)
        elif dim.value is None:
            dims.append(fresh("dim"))
        else:
            dims.append(parse(dim.value, symbols))
    return tuple(dims)


def type_of(value: ir.Value, fresh: Fresh, symbols: Mapping[str, Dim] | None = None) -> Type | None:
    """What a value says about itself; None if it has no type."""
    constant = value.const_value
    if constant is not None:
        dims = shape_of(constant.shape, fresh) if isinstance(constant.shape, ir.Shape) else None
        return TensorType(constant.dtype, dims, tensor_content(constant))
    if value.type is None:
        return None
    return _typed(value.type, shape_of(value.shape, fresh, symbols))


def _typed(given: Any, dims: tuple[Size, ...] | None) -> Type | None:
    """An onnx_ir type with the shape of its innermost tensor."""
    if isinstance(given, ir.TensorType):
        return TensorType(given.dtype, dims)
    if isinstance(given, ir.SequenceType):
        return SequenceType(_typed(given.elem_type, dims))
    if isinstance(given, ir.OptionalType):
        return OptionalType(_typed(given.elem_type, dims))  # type: ignore[arg-type]  # a model with an optional of an optional is not valid
    return None


def type_from_proto(given: Any, fresh: Fresh) -> Type | None:
    """The type in an attribute: onnx_ir's pair of type and shape."""
    if isinstance(given, ir.TypeAndShape):
        return _typed(given.type, shape_of(given.shape, fresh))
    return None


def ir_type(given: Type | None) -> ir.TypeProtocol | None:
    """The onnx_ir type, without the shape."""
    if isinstance(given, TensorType):
        known = given.dtype is not ir.DataType.UNDEFINED
        return ir.TensorType(given.dtype) if known else None
    if given is None or given.element is None:
        return None
    element = ir_type(given.element)
    if element is None:
        return None
    return ir.SequenceType(element) if isinstance(given, SequenceType) else ir.OptionalType(element)


def ir_shape(given: Type | None) -> ir.Shape | None:
    """The onnx_ir shape, of the innermost tensor."""
    while given is not None and not isinstance(given, TensorType):
        given = given.element
    if given is None or given.shape is None:
        return None
    return ir.Shape(given.shape)
