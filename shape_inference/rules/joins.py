"""Operators that put tensors together and take them apart: Concat, Split, Slice, Pad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from shape_inference.broadcasting import one_type, unified
from shape_inference.contents import array_of, content_of, count
from shape_inference.dims import Dim, Size, at_least, ceil_div, divisible, larger, smaller
from shape_inference.registry import Call, infers
from shape_inference.types import MAX_CONTENT, Content, TensorType, Type

Types = tuple[Type | None, ...]
Shape = tuple[Size, ...]


@infers("Concat")
def concat(call: Call) -> Types:
    """Put tensors side by side: [*L, a_i, *R] each, axis=len(L) -> [*L, sum a_i, *R]."""
    tensors = call.tensors()
    dtype = one_type(call, tensors)
    shapes = [tensor.shape for tensor in tensors if tensor.shape is not None]
    if not shapes:
        return (TensorType(dtype, None),)
    first = shapes[0]
    axis = call.axis(call.required("axis") if call.version >= 4 else call.attribute("axis", 1), len(first))
    result = list(first)
    total: Size = first[axis]
    for dims in shapes[1:]:
        if len(dims) != len(first):
            call.fail("inputs must have one rank", [len(dims) for dims in shapes])
        total = dims[axis] + total
        for place, dim in enumerate(dims):
            if place != axis and result[place] is not dim:
                result[place] = unified(call, result[place], dim, f"sizes of axis {place}")
    result[axis] = total if len(shapes) == len(tensors) else call.fresh("concat")
    for tensor in tensors:
        if tensor.content is not None:
            return (TensorType(dtype, tuple(result), _joined(call, tensors, axis, tuple(result))),)
    return (TensorType(dtype, tuple(result)),)


def _joined(call: Call, tensors: list[TensorType], axis: int, dims: Shape) -> Content | None:
    """The contents of a Concat of which some are known; what is not known in a vector of sizes gets names."""
    if count(dims) is None:
        return None
    if len(dims) == 1:
        items: list[Any] = []
        for tensor in tensors:
            if tensor.content is not None:
                items += tensor.content
            elif tensor.dtype is ir.DataType.INT64 and tensor.shape is not None:
                items += call.unknown_content(count(tensor.shape) or 0, "size")
            else:
                return None
        return tuple(items)
    arrays = [array for array in map(array_of, tensors) if array is not None]
    return content_of(np.concatenate(arrays, axis)) if len(arrays) == len(tensors) else None


@infers("Split")
def split(call: Call) -> Types:
    """Take apart along an axis: [*L, a, *R] -> [*L, a_i, *R] each, in equal parts by default."""
    x = call.tensor(0)
    if x.shape is None:
        return (TensorType(x.dtype, None),) * call.output_count
    axis = call.axis(call.attribute("axis", 0), len(x.shape))
    whole = x.shape[axis]
    parts = _parts(call, whole)
    array = array_of(x)
    results = []
    start: Any = 0
    for part in parts:
        if at_least(part, 0) is False:
            call.fail("the parts must not be negative", f"{part} of {whole}")
        dims = (*x.shape[:axis], part, *x.shape[axis + 1 :])
        content = None
        if array is not None and isinstance(part, int) and isinstance(start, int):
            content = content_of(array.take(range(start, start + part), axis))
        start = start + part
        results.append(TensorType(x.dtype, dims, content))
    return tuple(results)


def _parts(call: Call, whole: Size) -> list[Size]:
    """The sizes of the outputs of a Split."""
    outputs = call.output_count
    given: Any = call.attribute("split")
    if call.version >= 13 and call.has(1):
        given = call.sizes(1)
        if given is None:
            return [call.fresh("split") for _ in range(outputs)]
    if given is not None:
        parts: list[Size] = list(given)
        if len(parts) != outputs:
            call.fail(f"split must have {outputs} elements", len(parts))
        unified(call, sum(parts[1:], parts[0]), whole, "the axis and the sum of the parts")
        return parts
    count_wanted = call.attribute("num_outputs", outputs)
    if count_wanted != outputs:
        call.fail(f"num_outputs must be the number of outputs, {outputs}", count_wanted)
    if call.version >= 18:
        part = ceil_div(whole, outputs)
        return [part] * (outputs - 1) + [whole - part * (outputs - 1)]
    if divisible(whole, outputs) is False:
        call.fail(f"the axis must be divisible by {outputs}", whole)
    return [whole // outputs] * outputs


@infers("Slice")
def slice_(call: Call) -> Types:
    """Take start:end:step of some axes: [*S] -> [max(0, ceil((end - start) / step)) there]."""
    x = call.tensor(0)
    starts, ends, axes, steps = _slice_inputs(call)
    if x.shape is None:
        return (TensorType(x.dtype, None),)
    rank = len(x.shape)
    if axes is None:
        return (TensorType(x.dtype, call.unknown_shape(rank, "slice")),)
    dims = list(x.shape)
    taken: list[tuple[int, range]] = []
    for position, given in enumerate(axes):
        axis = call.axis(given, rank)
        places: _Places | None = None
        if starts is not None and ends is not None and steps is not None:
            places = _places(call, dims[axis], starts[position], ends[position], steps[position])
        if places.__class__ is range:
            dims[axis] = len(places)
            taken.append((axis, places))
        elif places is None:
            dims[axis] = call.fresh("slice")
        else:
            low, high, step = places
            length = ceil_div(high - low, step) if step > 0 else ceil_div(low - high, -step)
            dims[axis] = larger(length, 0)
    if x.content is None or len(taken) < len(axes):
        return (TensorType(x.dtype, tuple(dims)),)
    return (TensorType(x.dtype, tuple(dims), _taken(x, taken)),)


def _taken(x: TensorType, taken: list[tuple[int, range]]) -> Content | None:
    """The contents at some places of some axes."""
    if x.content is not None and x.shape is not None and len(x.shape) == len(taken) == 1:
        return tuple([x.content[place] for place in taken[0][1]])
    array = array_of(x)
    if array is None:
        return None
    for axis, places in taken:
        array = array.take(places, axis)
    return content_of(array)


def _slice_inputs(
    call: Call,
) -> tuple[Shape | None, Shape | None, Sequence[int] | None, Shape | None]:
    """The starts, ends, axes and steps of a Slice; None for what is not known."""
    if call.version < 10:
        starts: Shape | None = tuple(call.required("starts"))
        ends: Shape | None = tuple(call.required("ends"))
        axes: Sequence[int] | None = call.attribute("axes")
        steps: Shape | None = None
        given_axes, given_steps = axes is not None, False
    else:
        starts, ends, axes, steps = call.sizes(1), call.sizes(2), call.integers(3), call.sizes(4)
        given_axes, given_steps = call.has(3), call.has(4)
    known = starts if starts is not None else ends
    number = len(known) if known is not None else count(call.tensor(1).shape)
    if not given_axes and number is not None:
        axes = range(number)
    if not given_steps and axes is not None:
        steps = (1,) * len(axes)
    for item in (starts, ends, axes, steps):
        if item is not None and number is not None and len(item) != number:
            lengths = {len(item) for item in (starts, ends, axes, steps) if item is not None}
            call.fail("starts, ends, axes and steps must have one length", sorted(lengths))
    return starts, ends, axes, steps


# From here on a start or an end means "all the way".
_FAR = 2**31 - 1


_Places = range | tuple[Size, Size, int]


def _places(call: Call, dim: Size, start: Size, end: Size, step: Size) -> _Places | None:
    """What start:end:step means on an axis, as `range` takes it; None where that is open."""
    if type(step) is Dim:
        return None
    if step == 0:
        call.fail("steps must not be 0", 0)
    if step > 0:
        if dim.__class__ is start.__class__ is end.__class__ is int:
            return range(*slice(start, end, step).indices(dim))
        low, high = _clamped(start, dim, 0, dim), _clamped(end, dim, 0, dim)
    else:
        low = _clamped(start, dim, 0, dim - 1)
        low = None if low is None else smaller(low, dim - 1)  # which is -1 where there is nothing
        high = -1 if isinstance(end, int) and end <= -_FAR else _clamped(end, dim, -1, dim - 1)
    if low is None or high is None:
        return None
    return range(low, high, step) if low.__class__ is high.__class__ is int else (low, high, step)


def _clamped(place: Size, dim: Size, low: Size, high: Size) -> Size | None:
    """A start or end within an axis; a negative one counts from the back."""
    if place.__class__ is int:
        if place >= _FAR:
            return high
        if place < 0:
            return low if place <= -_FAR else larger(dim + place, low)
        return 0 if place == low == 0 and high is dim else smaller(place, high)
    if at_least(place, 0):
        return smaller(place, high)
    if at_least(-1, place):
        return larger(dim + place, low)
    return None


@infers("Pad")
def pad(call: Call) -> Types:
    """Add at both ends of the axes: [*S] -> [s + before + after]."""
    x = call.tensor(0)
    if call.version < 11:
        given: Any = call.attribute("pads") or call.attribute("paddings")
        if given is None:
            call.required("pads")
    else:
        given = call.sizes(1)
    if x.shape is None:
        return (TensorType(x.dtype, None),)
    rank = len(x.shape)
    axes: list[int] | None = list(range(rank))
    if call.version >= 18 and call.has(3):
        chosen = call.integers(3)
        axes = None if chosen is None else [call.axis(axis, rank) for axis in chosen]
    if given is None or axes is None:
        if axes is None:
            return (TensorType(x.dtype, call.unknown_shape(rank, "pad")),)
        kept = tuple(call.fresh("pad") if axis in axes else dim for axis, dim in enumerate(x.shape))
        return (TensorType(x.dtype, kept),)
    if len(given) != 2 * len(axes):
        call.fail(f"pads must have {2 * len(axes)} elements", len(given))
    dims = list(x.shape)
    for position, axis in enumerate(axes):
        dims[axis] = dims[axis] + given[position] + given[position + len(axes)]
        if isinstance(dims[axis], int) and dims[axis] < 0:  # type: ignore[operator]  # its class was compared
            call.fail("pads must leave no negative size", list(given))
    content = None
    if len(dims) == 1 and x.content is not None and call.attribute("mode", "constant") == "constant":
        content = _padded(call, x, given, dims[0])
    return (TensorType(x.dtype, tuple(dims), content),)


def _padded(call: Call, x: TensorType, given: Any, length: Size) -> Content | None:
    before, after = given
    if not isinstance(before, int) or not isinstance(after, int) or x.content is None:
        return None
    if not isinstance(length, int) or length > MAX_CONTENT or before < 0 or after < 0:
        return None
    filling: Content | None = (0,)
    if call.has(2):
        filling = call.content(2)
    if filling is None:
        return None
    return filling * before + x.content + filling * after
