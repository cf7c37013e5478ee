"""Between onnx_ir's types and ours."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Set
from typing import Any

import onnx
import onnx_ir as ir

from shape_inference.contents import FLOATS, tensor_content
from shape_inference.dims import Dim, Size, parse
from shape_inference.types import MAX_CONTENT, Content, OptionalType, SequenceType, TensorType, Type, tensor_in

__all__ = ["shape_of", "tensor_type", "type_from_proto", "type_of", "write"]

Fresh = Callable[[str], Dim]

# Where they are found at once: each is needed for every value.
_ProtoTensor, _Shape, _TensorType = ir.serde.TensorProtoTensor, ir.Shape, ir.TensorType
_UNDEFINED = ir.DataType.UNDEFINED
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
    if type(tensor) is _ProtoTensor:
        proto = tensor.raw
        kind = proto.data_type
        dtype, dims = _DTYPES[kind], tuple(proto.dims[:])  # a slice at once, not an item at a time
        if kind in _RAW and proto.HasField("raw_data") and _IS_LITTLE:
            return TensorType(dtype, dims, _raw_content(kind, dims, proto))
    else:
        shape = tensor.shape
        dtype, dims = tensor.dtype, shape.dims if type(shape) is _Shape else tuple(shape)
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


def write(types: Mapping[ir.Value, Type], settled: Set[ir.Value]) -> None:
    """Put types into the model, but for those of settled values.

    Values of equal shapes share one onnx_ir shape, frozen as onnx_ir wants what is shared; an input has its own.
    """
    shapes: dict[tuple[Size, ...], ir.Shape] = {}
    for value, given in types.items():
        if value in settled:
            continue
        if given.__class__ is TensorType:
            tensor: TensorType | None = given
            if given.dtype is not _UNDEFINED:
                value.type = _TensorType(given.dtype)
        else:
            tensor, kind = tensor_in(given), _ir_type(given)
            if kind is not None:
                value.type = kind
        dims = None if tensor is None else tensor.shape
        if dims is None:
            continue
        if value.is_graph_input():
            value.shape = _shape(dims, False)
            continue
        shape = shapes.get(dims)
        if shape is None:
            shape = shapes[dims] = _shape(dims, True)
        value.shape = shape


def _ir_type(given: Type) -> ir.TypeProtocol | None:
    """The onnx_ir type, without the shape."""
    if isinstance(given, TensorType):
        return ir.TensorType(given.dtype) if given.dtype is not _UNDEFINED else None
    element = None if given.element is None else _ir_type(given.element)
    if element is None:
        return None
    return ir.SequenceType(element) if type(given) is SequenceType else ir.OptionalType(element)


def _assembled(dims: tuple[Size, ...], frozen: bool) -> ir.Shape:
    shape = ir.Shape.__new__(ir.Shape)
    shape._dims = list(dims)
    shape._denotations = [None] * len(dims)
    shape._frozen = frozen
    return shape


def _constructed(dims: tuple[Size, ...], frozen: bool) -> ir.Shape:
    return ir.Shape(dims, frozen=frozen)


def _parts(shape: ir.Shape) -> dict[str, object]:
    slots = {name for kind in ir.Shape.__mro__ for name in getattr(kind, "__slots__", ())}
    return {name: getattr(shape, name) for name in (*slots, *vars(shape)) if not name.startswith("__")}


# onnx_ir's constructor takes 2 µs to look at what the dims are, a quarter of the time of a whole pass. It is passed by
# where a shape consists of what we think it does.
_shape = _assembled if _parts(_assembled((1, 2), True)) == _parts(_constructed((1, 2), True)) else _constructed
