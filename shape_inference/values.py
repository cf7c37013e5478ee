"""Between onnx_ir's types and ours."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir

from shape_inference.contents import FLOATS, count, tensor_content
from shape_inference.dims import Dim, Size, parse
from shape_inference.types import MAX_CONTENT, OptionalType, SequenceType, TensorType, Type

__all__ = ["ir_shape", "ir_type", "shape_of", "tensor_type", "type_from_proto", "type_of"]

Fresh = Callable[[str], Dim]

_MAX_FLOATS = 16
_IS_LITTLE = sys.byteorder == "little"


def shape_of(shape: Any, fresh: Fresh, symbols: Mapping[str, Dim] | None = None) -> tuple[Size, ...] | None:
    """The dims of an onnx_ir shape: ours as they are, texts read, unknown ones named."""
    if shape is None:
        return None
    dims: list[Size] = []
    for dim in shape:
        if dim.__class__ is Dim or (isinstance(dim, int) and dim >= 0):
            dims.append(dim)
        elif isinstance(dim, int) or dim.value is None:  # -1 is how some programs write an unknown size
            dims.append(fresh("dim"))
        else:
            dims.append(parse(dim.value, symbols))
    return tuple(dims)


def type_of(value: ir.Value, fresh: Fresh, symbols: Mapping[str, Dim] | None = None) -> Type | None:
    """What a value says about itself; None if it has no type."""
    constant = value.const_value
    if constant is not None:
        return tensor_type(constant)
    if value.type is None:
        return None
    return _typed(value.type, shape_of(value.shape, fresh, symbols))


def tensor_type(tensor: ir.TensorProtocol) -> TensorType:
    """The type of a constant, with its contents if they are few; of floats, only what may be scales is read."""
    if type(tensor) is ir.serde.TensorProtoTensor:
        proto = tensor.raw
        dtype, dims = ir.DataType(proto.data_type), tuple(proto.dims)
        if dtype is ir.DataType.INT64 and len(dims) < 2 and proto.HasField("raw_data") and _IS_LITTLE:
            # Nearly all constants that shapes are computed from: read without the way through numpy.
            raw = proto.raw_data
            few = len(raw) <= 8 * MAX_CONTENT
            return TensorType(dtype, dims, tuple(memoryview(raw).cast("q")) if few else None)
    else:
        shape = tensor.shape
        dtype, dims = tensor.dtype, tuple(shape.dims if type(shape) is ir.Shape else shape)
    if dtype in FLOATS and (len(dims) > 1 or (count(dims) or 0) > _MAX_FLOATS):
        return TensorType(dtype, dims)
    return TensorType(dtype, dims, tensor_content(tensor, dtype, dims))


def _typed(given: Any, dims: tuple[Size, ...] | None) -> Type | None:
    """An onnx_ir type with the shape of its innermost tensor."""
    # Compared by class: an isinstance of onnx_ir's classes, which are protocols, costs 1 µs.
    kind = type(given)
    if kind is ir.TensorType:
        return TensorType(given.dtype, dims)
    if kind is ir.SequenceType:
        return SequenceType(_typed(given.elem_type, dims))
    if kind is ir.OptionalType:
        return OptionalType(_typed(given.elem_type, dims))  # type: ignore[arg-type]  # no optional holds an optional
    return None


def type_from_proto(given: Any, fresh: Fresh) -> Type | None:
    """The type in an attribute: onnx_ir's pair of type and shape."""
    if type(given) is ir.TypeAndShape:
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
