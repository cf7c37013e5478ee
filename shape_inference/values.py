"""Between onnx_ir's types and ours."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

import onnx
import onnx_ir as ir

from shape_inference.contents import FLOATS, tensor_content
from shape_inference.dims import Dim, Size, parse
from shape_inference.types import MAX_CONTENT, Content, OptionalType, SequenceType, TensorType, Type

__all__ = ["ir_shape", "ir_type", "shape_from", "shape_of", "tensor_type", "type_from_proto", "type_of"]

Fresh = Callable[[str], Dim]

_MAX_FLOATS = 16
_DTYPES = {dtype.value: dtype for dtype in ir.DataType}  # in a third of the time of the enum's own look-up
_IS_LITTLE = sys.byteorder == "little"

# By the number of an element type: how memoryview calls it, its bytes, and how many elements are followed.
_RAW: dict[int, tuple[str, int, int]] = {
    ir.DataType.INT64.value: ("q", 8, MAX_CONTENT),
    ir.DataType.INT32.value: ("i", 4, MAX_CONTENT),
    ir.DataType.BOOL.value: ("?", 1, MAX_CONTENT),
    ir.DataType.FLOAT.value: ("f", 4, _MAX_FLOATS),
    ir.DataType.DOUBLE.value: ("d", 8, _MAX_FLOATS),
}


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
        kind = proto.data_type
        dtype, dims = _DTYPES[kind], tuple(proto.dims[:])  # a slice at once, not an item at a time
        if kind in _RAW and proto.HasField("raw_data") and _IS_LITTLE:
            return TensorType(dtype, dims, _raw_content(kind, dims, proto))
    else:
        shape = tensor.shape
        dtype, dims = tensor.dtype, shape.dims if type(shape) is ir.Shape else tuple(shape)
    if dtype in FLOATS and (len(dims) > 1 or (dims and dims[0] > _MAX_FLOATS)):
        return TensorType(dtype, dims)
    return TensorType(dtype, dims, tensor_content(tensor, dtype, dims))


def _raw_content(kind: int, dims: tuple[int, ...], proto: onnx.TensorProto) -> Content | None:
    """The elements of a constant, if they are few: nearly all that shapes are computed from, without numpy.

    Raises:
        ValueError: There are more or fewer bytes than the shape has.
    """
    code, size, most = _RAW[kind]
    count = math.prod(dims)
    if count > most or (len(dims) > 1 and most == _MAX_FLOATS):
        return None
    raw = proto.raw_data
    if len(raw) != count * size:
        raise ValueError(f"{len(raw)} bytes for {count * size}")
    return tuple(memoryview(raw).cast(code)) if count else ()  # type: ignore[call-overload]  # a code of struct


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
    return None if given is None or given.shape is None else shape_from(given.shape)


def _assembled(dims: tuple[Size, ...]) -> ir.Shape:
    shape = _new_shape(ir.Shape)
    shape._dims = list(dims)
    shape._denotations = [None] * len(dims)
    shape._frozen = False
    return shape


def _shape_from() -> Callable[[tuple[Size, ...]], ir.Shape]:
    """How to make an onnx_ir shape of ints and dims of ours.

    Its constructor takes 2 µs to look at what the dims are, a quarter of the time of a whole pass. It is passed
    by where a shape consists of what we think it does.
    """
    made, own = ir.Shape((1, 2)), _assembled((1, 2))
    slots = {name for kind in ir.Shape.__mro__ for name in getattr(kind, "__slots__", ())}
    parts = {name for name in (*slots, *vars(made)) if not name.startswith("__")}
    is_known = parts == _PARTS and all(getattr(made, name) == getattr(own, name) for name in parts)
    return _assembled if is_known else ir.Shape


_PARTS = {"_dims", "_denotations", "_frozen"}
_new_shape = ir.Shape.__new__
shape_from = _shape_from()
