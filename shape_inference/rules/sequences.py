"""Sequences and optionals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx_ir as ir

from shape_inference.dims import Dim, Size, ceil_div, divisible, same
from shape_inference.registry import UNKNOWN, Call, infers
from shape_inference.types import OptionalType, SequenceType, TensorType, Type
from shape_inference.values import type_from_proto

__all__ = ["common", "symbols_in", "without_content"]

Types = tuple[Type | None, ...]
_INT64, _BOOL = ir.DataType.INT64, ir.DataType.BOOL


def _sequence(call: Call, index: int) -> SequenceType:
    x = call.any_type(index)
    if isinstance(x, OptionalType) and isinstance(x.element, SequenceType):
        x = x.element
    if x is UNKNOWN:
        return SequenceType(None)
    if not isinstance(x, SequenceType):
        call.fail(f"input {index} must be a sequence", x)
    return x


def without_content(given: Any) -> Any:
    """A type as it is without its contents."""
    if isinstance(given, TensorType) and given.content is not None:
        return TensorType(given.dtype, given.shape)
    return given


def symbols_in(given: Type | None) -> frozenset[Dim]:
    """The symbols in the sizes of a type."""
    while given is not None and not isinstance(given, TensorType):
        given = given.element
    if given is None or given.shape is None:
        return frozenset()
    return frozenset().union(*(dim.symbols() for dim in given.shape if type(dim) is Dim))


def common(call: Call, a: Any, b: Any, made: set[Dim]) -> Any:
    """What holds for both types: sizes that differ become new symbols, which `made` collects."""
    if a is None or b is None:
        return None
    if isinstance(a, TensorType) and isinstance(b, TensorType):
        if a.dtype is not b.dtype and ir.DataType.UNDEFINED not in (a.dtype, b.dtype):
            call.fail("elements must have one element type", f"{a} and {b}")
        dtype = a.dtype if b.dtype is ir.DataType.UNDEFINED else b.dtype
        if a.shape is None or b.shape is None or len(a.shape) != len(b.shape):
            return TensorType(dtype, None)
        dims: list[Size] = []
        for x, y in zip(a.shape, b.shape, strict=True):
            if x not in made and x is not y and not same(x, y):
                x = call.fresh("dim")
                made.add(x)
            dims.append(x)
        return TensorType(dtype, tuple(dims))
    if type(a) is not type(b):
        call.fail("elements must have one type", f"{a} and {b}")
    if isinstance(a, SequenceType):
        return _common_sequence(call, a, b)
    return OptionalType(common(call, a.element, b.element, made))


def _common_sequence(call: Call, a: SequenceType, b: SequenceType) -> SequenceType:
    """A sequence that is as either; an empty one says nothing about the elements."""
    length = a.length if a.length is not None and a.length is b.length else None
    if a.length == 0 or b.length == 0:
        filled = b if a.length == 0 else a
        return SequenceType(filled.element, length, filled.varying)
    varying = set(a.varying | b.varying)
    element = common(call, a.element, b.element, varying)
    return SequenceType(element, length, frozenset(varying))


def _renamed(call: Call, given: Any, varying: Iterable[Dim]) -> Any:
    """An element with symbols of its own in place of those that differ from one to the next."""
    if not isinstance(given, TensorType) or given.shape is None or not varying:
        return given
    names: dict[str, Size] = {dim.value: call.fresh("element") for dim in varying}
    return TensorType(
        given.dtype,
        tuple([dim.substitute(names) if type(dim) is Dim else dim for dim in given.shape]),
    )


@infers("SequenceConstruct")
def sequence_construct(call: Call) -> Types:
    """Make a sequence of tensors."""
    tensors = [call.tensor(index) for index in range(len(call.inputs))]
    varying: set[Dim] = set()
    element = without_content(tensors[0])
    for tensor in tensors[1:]:
        element = common(call, element, tensor, varying)
    return (SequenceType(element, len(tensors), frozenset(varying)),)


@infers("SequenceEmpty")
def sequence_empty(call: Call) -> Types:
    """Make an empty sequence."""
    return (SequenceType(TensorType(ir.DataType(call.attribute("dtype", 1)), None), 0),)


@infers("SequenceInsert")
def sequence_insert(call: Call) -> Types:
    """Put a tensor into a sequence."""
    x, tensor = _sequence(call, 0), call.tensor(1)
    if x.length == 0 or x.element is None:
        element = without_content(tensor) if x.length == 0 else None
        return (SequenceType(element, 1 if x.length == 0 else None),)
    varying = set(x.varying)
    element = common(call, x.element, tensor, varying)
    length = None if x.length is None else x.length + 1
    return (SequenceType(element, length, frozenset(varying)),)


@infers("SequenceErase")
def sequence_erase(call: Call) -> Types:
    """Take a tensor out of a sequence."""
    x = _sequence(call, 0)
    return (SequenceType(x.element, None if x.length is None else x.length - 1, x.varying),)


@infers("SequenceAt")
def sequence_at(call: Call) -> Types:
    """Return one tensor of a sequence."""
    x = _sequence(call, 0)
    return (_renamed(call, x.element, x.varying),)


@infers("SequenceLength")
def sequence_length(call: Call) -> Types:
    """Return the number of tensors: []."""
    x = _sequence(call, 0)
    return (TensorType(_INT64, (), None if x.length is None else (x.length,)),)


@infers("ConcatFromSequence")
def concat_from_sequence(call: Call) -> Types:
    """Put the tensors of a sequence side by side, or on a new axis: [*L, a, *R] -> [*L, n, *R]."""
    x = _sequence(call, 0)
    if not isinstance(x.element, TensorType):
        return (None,)
    dims, dtype = x.element.shape, x.element.dtype
    if dims is None:
        return (TensorType(dtype, None),)
    axis = call.required("axis")
    length = x.length
    if call.attribute("new_axis", 0):
        axis = call.axis(axis, len(dims) + 1)
        stack = call.fresh("stack") if length is None else length
        return (TensorType(dtype, (*dims[:axis], stack, *dims[axis:])),)
    axis = call.axis(axis, len(dims))
    part = dims[axis]
    uneven = type(part) is Dim and not x.varying.isdisjoint(part.symbols())
    total = call.fresh("concat") if length is None or uneven else part * length
    return (TensorType(dtype, (*dims[:axis], total, *dims[axis + 1 :])),)


@infers("SplitToSequence")
def split_to_sequence(call: Call) -> Types:
    """Take apart along an axis: [*L, a, *R] -> a sequence of [*L, a_i, *R]."""
    x = call.tensor(0)
    if x.shape is None:
        return (SequenceType(TensorType(x.dtype, None)),)
    axis = call.axis(call.attribute("axis", 0), len(x.shape))
    before, whole, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    if not call.has(1):
        kept: tuple[Size, ...] = (1,) if call.attribute("keepdims", 1) else ()
        return (SequenceType(TensorType(x.dtype, before + kept + after), whole),)
    given, chosen = call.sizes(1), call.tensor(1)
    length: Size | None = None
    part: Size | None = None
    if given is not None and chosen.shape == ():
        length = ceil_div(whole, given[0])
        part = given[0] if divisible(whole, given[0]) else None
    elif given is not None:
        length = len(given)
        part = given[0] if given and given.count(given[0]) == length else None
    elif chosen.shape is not None and len(chosen.shape) == 1:
        length = chosen.shape[0]
    if part is not None:
        return (SequenceType(TensorType(x.dtype, (*before, part, *after)), length),)
    uneven = call.fresh("split")
    element = TensorType(x.dtype, (*before, uneven, *after))
    return (SequenceType(element, length, frozenset({uneven})),)


@infers("SequenceMap")
def sequence_map(call: Call) -> Types:
    """Run a graph on each tensor of a sequence."""
    first = _sequence(call, 0)
    given: list[Type | None] = [first.element]
    steady: set[Dim] = set(symbols_in(first.element) - first.varying)
    for index in range(1, len(call.inputs)):
        x = call.any_type(index)
        item: Any = x.element if isinstance(x, SequenceType) else x
        given.append(without_content(item))
        steady |= symbols_in(item) - (x.varying if isinstance(x, SequenceType) else frozenset())
    results = call.run(call.required("body"), given, False)
    return tuple(
        None
        if result is None
        else SequenceType(without_content(result), first.length, frozenset(symbols_in(result) - steady))
        for result in results
    )


@infers("Optional")
def optional(call: Call) -> Types:
    """Wrap a value, or make an empty optional of a type."""
    if call.has(0):
        x: Any = call.any_type(0)
        return (OptionalType(without_content(x)),)
    given: Any = type_from_proto(call.required("type"), call.fresh)
    return (OptionalType(given),)


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
