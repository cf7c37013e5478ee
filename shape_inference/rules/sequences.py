"""Sequences and optionals."""

from __future__ import annotations

from typing import Any, NoReturn

import onnx_ir as ir

from shape_inference.dims import Size, same
from shape_inference.registry import UNKNOWN, Call, infers
from shape_inference.types import OptionalType, SequenceType, TensorType, Type
from shape_inference.values import type_from_proto

Types = tuple[Type | None, ...]
_INT64, _BOOL = ir.DataType.INT64, ir.DataType.BOOL


def _sequence(call: Call, index: int) -> SequenceType:
    x = call.any_type(index)
    if isinstance(x, OptionalType) and isinstance(x.element, SequenceType):
        x = x.element
    if x is UNKNOWN:
        return SequenceType(None)
    if not isinstance(x, SequenceType):
        _refuse(call, index, "a sequence", x)
    return x


def _refuse(call: Call, index: int, what: str, got: object) -> NoReturn:
    call.fail(f"input {index} must be {what}", got)


def common(call: Call, types: list[Any]) -> Any:
    """What holds for all of these types: sizes that differ become new symbols."""
    first: Any = types[0]
    for other in types[1:]:
        first = _common(call, first, other)
    return first


def _common(call: Call, a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, TensorType) and isinstance(b, TensorType):
        if a.dtype is not b.dtype and ir.DataType.UNDEFINED not in (a.dtype, b.dtype):
            call.fail("elements must have one element type", f"{a} and {b}")
        dtype = a.dtype if b.dtype is ir.DataType.UNDEFINED else b.dtype
        if a.shape is None or b.shape is None or len(a.shape) != len(b.shape):
            return TensorType(dtype, None)
        return TensorType(dtype, common_shape(call, a.shape, b.shape))
    if type(a) is not type(b):
        call.fail("elements must have one type", f"{a} and {b}")
    return type(a)(_common(call, a.element, b.element))


def common_shape(call: Call, a: tuple[Size, ...], b: tuple[Size, ...]) -> tuple[Size, ...]:
    """The sizes that two shapes share, and new symbols where they differ."""
    return tuple(
        x if x is y or same(x, y) else call.fresh("dim") for x, y in zip(a, b, strict=True)
    )


@infers("SequenceConstruct")
def sequence_construct(call: Call) -> Types:
    """Make a sequence of tensors."""
    tensors = [call.tensor(index) for index in range(len(call.inputs))]
    return (SequenceType(_without_content(common(call, list(tensors)))),)


def _without_content(element: Any) -> Any:
    if isinstance(element, TensorType) and element.content is not None:
        return TensorType(element.dtype, element.shape)
    return element


@infers("SequenceEmpty")
def sequence_empty(call: Call) -> Types:
    """Make an empty sequence."""
    return (SequenceType(TensorType(ir.DataType(call.attribute("dtype", 1)), None)),)


@infers("SequenceInsert")
def sequence_insert(call: Call) -> Types:
    """Put a tensor into a sequence."""
    x, tensor = _sequence(call, 0), call.tensor(1)
    return (SequenceType(_without_content(_common(call, x.element, tensor))),)


@infers("SequenceErase")
def sequence_erase(call: Call) -> Types:
    """Take a tensor out of a sequence."""
    return (_sequence(call, 0),)


@infers("SequenceAt")
def sequence_at(call: Call) -> Types:
    """Return one tensor of a sequence."""
    return (_sequence(call, 0).element,)


@infers("SequenceLength")
def sequence_length(call: Call) -> Types:
    """Return the number of tensors: []."""
    _sequence(call, 0)
    return (TensorType(_INT64, ()),)


@infers("ConcatFromSequence")
def concat_from_sequence(call: Call) -> Types:
    """Put the tensors of a sequence side by side, or on a new axis: [*L, a, *R] -> [*L, n, *R]."""
    element: Any = _sequence(call, 0).element
    if element is None or element.shape is None:
        return (None if element is None else TensorType(element.dtype, None),)
    axis = call.required("axis")
    rank = len(element.shape)
    if call.attribute("new_axis", 0):
        axis = call.axis(axis, rank + 1)
        dims = (*element.shape[:axis], call.fresh("stack"), *element.shape[axis:])
    else:
        axis = call.axis(axis, rank)
        dims = (*element.shape[:axis], call.fresh("concat"), *element.shape[axis + 1 :])
    return (TensorType(element.dtype, dims),)


@infers("SequenceMap")
def sequence_map(call: Call) -> Types:
    """Run a graph on each tensor of a sequence."""
    first = _sequence(call, 0)
    given: list[Type | None] = [first.element]
    for index in range(1, len(call.inputs)):
        x = call.any_type(index)
        given.append(x.element if isinstance(x, SequenceType) else x)
    results = call.run(call.required("body"), given)
    return tuple(None if result is None else SequenceType(result) for result in results)


@infers("Optional")
def optional(call: Call) -> Types:
    """Wrap a value, or make an empty optional of a type."""
    if call.has(0):
        x: Any = call.any_type(0)
        return (OptionalType(_without_content(x)),)
    given = call.required("type")
    return (OptionalType(type_from_proto(given, call.fresh)),)  # type: ignore[arg-type]  # a model with an optional of an optional is not valid


@infers("OptionalGetElement")
def optional_get_element(call: Call) -> Types:
    """Unwrap a value; from opset 18 on it may be no optional at all."""
    x = call.any_type(0)
    return (x.element if isinstance(x, OptionalType) else x,)


@infers("OptionalHasElement")
def optional_has_element(call: Call) -> Types:
    """Return whether there is a value: [], bool."""
    x = call.inputs[0] if call.inputs else None
    if x is None:
        return (TensorType(_BOOL, (), (False,)),)
    known = not isinstance(x, OptionalType) and x is not UNKNOWN
    return (TensorType(_BOOL, (), (True,) if known else None),)
