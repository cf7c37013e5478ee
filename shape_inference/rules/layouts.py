"""Operators that make, read and change shapes without touching elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from shape_inference.broadcasting import broadcast, unified
from shape_inference.contents import (
    INTEGERS,
    array_of,
    content_of,
    count,
    static_shape,
    tensor_content,
)
from shape_inference.dims import Dim, Size, at_least, ceil_div, divisible, larger, product, same
from shape_inference.registry import Call, infers
from shape_inference.types import MAX_CONTENT, Content, TensorType, Type

Types = tuple[Type | None, ...]
Shape = tuple[Size, ...]
_INT64 = ir.DataType.INT64
_SHAPES = (_INT64, ir.DataType.UNDEFINED)
_AXES = list(range(64))  # no tensor has more


@infers("Shape")
def shape(call: Call) -> Types:
    """Return the sizes of the axes start:end: [*S] -> [len(S[start:end])], its contents S."""
    x = call.tensor(0)
    dims = x.shape
    if dims is None:
        return (TensorType(_INT64, (call.fresh("rank"),)),)
    if call.attributes:
        dims = dims[slice(call.attribute("start", 0), call.attribute("end"))]
    return (TensorType(_INT64, (len(dims),), dims if len(dims) <= MAX_CONTENT else None),)


@infers("Size")
def size(call: Call) -> Types:
    """Return the number of elements: [*S] -> [], its contents prod(S)."""
    x = call.tensor(0)
    return (TensorType(_INT64, (), None if x.shape is None else (product(x.shape),)),)


def _wanted(call: Call, index: int) -> tuple[Shape | None, int | None]:
    """The contents of a shape tensor, and how many there are."""
    tensor = call.tensor(index)
    if tensor.dtype not in _SHAPES:
        call.fail(f"input {index} must be INT64", tensor.dtype.name)
    if tensor.shape is None:
        return None, None
    if len(tensor.shape) != 1:
        call.fail(f"input {index} must have rank 1", tensor)
    rank = tensor.shape[0]
    content = tensor.content
    if content is None:
        return None, rank if rank.__class__ is int else None
    if tensor.dtype is _INT64:
        return content, len(content)  # type: ignore[return-value]  # integers are no floats
    return call.sizes(index), len(content)


@infers("Reshape")
def reshape(call: Call) -> Types:
    """Give the elements another shape: [*S], [r] -> its contents, -1 being prod(S) / the others."""
    x = call.tensor(0)
    if call.version < 5:
        wanted: Shape | None = tuple(call.required("shape"))
        rank: int | None = None
    else:
        wanted, rank = _wanted(call, 1)
    if wanted is None:
        dims = None if rank is None else call.unknown_shape(rank, "reshape")
        return (TensorType(x.dtype, dims),)
    result = list(wanted)
    rest: list[int] = []  # where a -1 is, or what may be one
    copied: list[int] = []  # the axes that are taken from x by a 0
    ones = 0
    for axis, dim in enumerate(wanted):
        if dim.__class__ is Dim:
            low = dim.minimum
            if low is None or low < 0:
                rest.append(axis)
        elif dim > 0:  # type: ignore[operator]  # it is an int
            continue
        elif dim == -1:
            ones += 1
            rest.append(axis)
        elif dim == 0:
            if not call.attributes.get("allowzero"):
                copied.append(axis)
                result[axis] = _copied(call, x, axis, wanted)
        else:
            call.fail("shape must have no negative number but -1", _show(wanted))
    if ones > 1:
        call.fail("shape must have at most one -1", _show(wanted))
    if len(rest) == 1:
        result[rest[0]] = _inferred(call, x.shape, result, rest[0], copied)
    elif rest:
        for axis in rest:
            result[axis] = call.fresh("reshape")
    elif x.shape is not None:
        _check_count(call, x.shape, tuple(result))
    return (TensorType(x.dtype, tuple(result), x.content),)


def _copied(call: Call, x: TensorType, axis: int, wanted: Shape) -> Size:
    """The size that a 0 stands for."""
    if x.shape is None:
        return call.fresh("reshape")
    if axis >= len(x.shape):
        call.fail(f"shape must have no 0 beyond the rank {len(x.shape)}", _show(wanted))
    return x.shape[axis]


def _inferred(call: Call, source: Shape | None, dims: list[Size], rest: int, copied: list[int]) -> Size:
    """The dim of a -1: what is in the source and in no other dim."""
    if source is None:
        return call.fresh("reshape")
    number = 1
    symbols: list[Size] = []
    for axis, size in enumerate(source):
        if axis in copied:
            continue
        if size.__class__ is int:
            number *= size
        else:
            symbols.append(size)
    divisor = 1
    others: list[Size] = []
    for axis, dim in enumerate(dims):
        if axis == rest or axis in copied:
            continue
        if dim.__class__ is int:
            divisor *= dim
            continue
        for place, candidate in enumerate(symbols):
            if candidate is dim:
                del symbols[place]
                break
        else:
            others.append(dim)
    if not others and divisor and number % divisor == 0:
        # Nearly all cases, without a polynomial: what is left is one dim, or a multiple of it.
        number //= divisor
        return product([*symbols, number]) if number != 1 or len(symbols) != 1 else symbols[0]
    total = product([*symbols, number])
    by = product(others) * divisor if others else divisor
    if by == 0:
        if same(total, 0) is False:
            call.fail("shape must hold all elements", f"{_show(source)} as {_show(dims)}")
        return 0
    if divisible(total, by) is False:
        call.fail("the other dims must divide the elements", f"{_show(source)} as {_show(dims)}")
    return total // by


def _check_count(call: Call, source: Shape, dims: Shape) -> None:
    """Fail where the numbers of elements differ by a number; a proof for symbols is not worth its time."""
    given, wanted = static_shape(source), static_shape(dims)
    if given is not None and wanted is not None:
        differ = math.prod(given) != math.prod(wanted)
    elif any(dim is other for dim in dims if dim.__class__ is Dim for other in source):
        return  # it may be 0, and then there are as many elements whatever the other dims are
    else:
        difference = product(source) - product(dims)
        differ = difference.__class__ is int and difference != 0
    if differ:
        call.fail("shape must hold all elements", f"{_show(source)} as {_show(dims)}")


def _show(dims: Any) -> str:
    return f"[{', '.join(map(str, dims))}]"


@infers("Expand")
def expand(call: Call) -> Types:
    """Stretch to a shape: [*S], [r] -> broadcast of S and the contents."""
    x = call.tensor(0)
    wanted, rank = _wanted(call, 1)
    if wanted is None:
        if rank is not None and x.shape is not None:
            return (TensorType(x.dtype, _expanded(call, x.shape, rank)),)
        return (TensorType(x.dtype, None),)
    dims = broadcast(call, x.shape, wanted)
    return (TensorType(x.dtype, dims, _stretched(x, dims)),)


def _expanded(call: Call, dims: Shape, rank: int) -> Shape:
    lead = max(rank - len(dims), 0)
    kept = tuple(
        dim if position < len(dims) - rank or (at_least(dim, 2) is True) else call.fresh("expand")
        for position, dim in enumerate(dims)
    )
    return call.unknown_shape(lead, "expand") + kept


def _stretched(x: TensorType, dims: Shape | None) -> Content | None:
    total = count(dims)
    if x.content is None or total is None:
        return None
    if len(x.content) == 1:
        return x.content * total
    array = array_of(x)
    if array is None:
        return None
    return content_of(np.broadcast_to(array, static_shape(dims) or ()))


def _axes(call: Call, index: int) -> Sequence[int] | None:
    """The axes, an attribute before opset 13 and an input since; None where they are not known."""
    found: Sequence[int] | None = call.attribute("axes") if call.version < 13 else call.integers(index)
    return found


def _shifted(call: Call, dims: Shape | None, sign: int) -> Shape | None:
    """A shape with as many axes more or fewer as there are elements in input 1."""
    number = count(call.tensor(1).shape)
    if dims is None or number is None:
        return None
    return call.unknown_shape(len(dims) + sign * number, "dim")


@infers("Unsqueeze")
def unsqueeze(call: Call) -> Types:
    """Insert axes of size 1, at their places in the result: [*S] -> [*S with ones]."""
    x = call.tensor(0)
    axes = _axes(call, 1)
    if axes is None:
        if call.version < 13:
            call.required("axes")
        return (TensorType(x.dtype, _shifted(call, x.shape, 1)),)
    if x.shape is None:
        return (TensorType(x.dtype, None, x.content),)
    rank = len(x.shape) + len(axes)
    places = [call.axis(axis, rank) for axis in axes]
    if len(places) > 1:
        if len(set(places)) != len(places):
            call.fail("axes must not repeat", list(axes))
        places.sort()
    dims = list(x.shape)
    for place in places:
        dims.insert(place, 1)
    return (TensorType(x.dtype, tuple(dims), x.content),)


@infers("Squeeze")
def squeeze(call: Call) -> Types:
    """Remove axes of size 1: [*S] -> [*S without them]; no axes: all that are 1."""
    x = call.tensor(0)
    if x.shape is None:
        return (TensorType(x.dtype, None, x.content),)
    axes = _axes(call, 1)
    if axes is None:
        if call.version >= 13 and call.has(1):
            return (TensorType(x.dtype, _shifted(call, x.shape, -1)),)
        ones = [same(dim, 1) for dim in x.shape]
        if None in ones:
            return (TensorType(x.dtype, None, x.content),)
        kept = tuple(dim for dim, one in zip(x.shape, ones, strict=True) if not one)
        return (TensorType(x.dtype, kept, x.content),)
    places = [call.axis(axis, len(x.shape)) for axis in axes]
    for place in places:
        if x.shape[place] != 1 and same(x.shape[place], 1) is False:
            call.fail(f"axis {place} must have size 1", x.shape[place])
    kept = tuple([dim for place, dim in enumerate(x.shape) if place not in places])
    return (TensorType(x.dtype, kept, x.content),)


@infers("Flatten")
def flatten(call: Call) -> Types:
    """Make a matrix: [*A, *B], axis=len(A) -> [prod A, prod B]."""
    x = call.tensor(0)
    if x.shape is None:
        return (TensorType(x.dtype, call.unknown_shape(2, "flatten"), x.content),)
    axis = call.attribute("axis", 1)
    rank = len(x.shape)
    if not -rank <= axis <= rank:
        call.fail(f"axis must be in [{-rank}, {rank}]", axis)
    if axis < 0:
        axis += rank
    dims = (product(x.shape[:axis]), product(x.shape[axis:]))
    return (TensorType(x.dtype, dims, x.content),)


@infers("Transpose")
def transpose(call: Call) -> Types:
    """Reorder the axes: [*S] -> [S[p] for p in perm]; perm is the reverse by default."""
    x = call.tensor(0)
    perm = call.attributes.get("perm")
    if x.shape is None:
        if perm is None:
            return (TensorType(x.dtype, None),)
        return (TensorType(x.dtype, call.unknown_shape(len(perm), "transpose")),)
    rank = len(x.shape)
    if perm is None:
        perm = range(rank - 1, -1, -1)
    elif len(perm) != rank or sorted(perm) != _AXES[:rank]:
        call.fail(f"perm must be a permutation of 0..{rank - 1}", list(perm))
    dims = tuple([x.shape[axis] for axis in perm])
    if x.content is None:
        return (TensorType(x.dtype, dims),)
    array = array_of(x)
    moved = None if array is None else content_of(array.transpose(tuple(perm)))
    return (TensorType(x.dtype, dims, moved),)


@infers("ConstantOfShape")
def constant_of_shape(call: Call) -> Types:
    """Fill a shape with one value (0.0 by default): [r] -> its contents."""
    value = call.attribute("value")
    dtype = ir.DataType.FLOAT if value is None else value.dtype
    wanted, rank = _wanted(call, 0)
    if wanted is None:
        dims = None if rank is None else call.unknown_shape(rank, "dim")
        return (TensorType(dtype, dims),)
    for dim in wanted:
        if isinstance(dim, int) and dim < 0:
            call.fail("shape must not be negative", _show(wanted))
    total = count(wanted)
    filling: Content | None = (0.0,) if value is None else tensor_content(value, dtype, (1,))
    content = None if total is None or filling is None else filling * total
    return (TensorType(dtype, wanted, content),)


@infers("Range")
def range_(call: Call) -> Types:
    """Count from start to limit by delta: [], [], [] -> [max(0, ceil((limit - start) / delta))]."""
    start, limit, delta = call.tensor(0), call.tensor(1), call.tensor(2)
    dtype = start.dtype
    for tensor in (limit, delta):
        if tensor.dtype is not dtype and ir.DataType.UNDEFINED not in (dtype, tensor.dtype):
            call.fail("inputs must have one element type", f"{dtype.name}, {tensor.dtype.name}")
    if start.content is None or limit.content is None or delta.content is None:
        return (TensorType(dtype, (call.fresh("range"),)),)
    a, b, step = (_whole(tensor.content[0]) for tensor in (start, limit, delta))  # type: ignore[index]  # all have contents
    if type(step) is not Dim and step == 0:
        call.fail("delta must not be 0", 0)
    if isinstance(a, float) or isinstance(b, float) or isinstance(step, float):
        if type(a) is Dim or type(b) is Dim or type(step) is Dim:
            return (TensorType(dtype, (call.fresh("range"),)),)
        return (TensorType(dtype, (max(0, math.ceil((b - a) / step)),)),)
    if type(step) is Dim and not at_least(step, 1):
        return (TensorType(dtype, (call.fresh("range"),)),)
    length = larger(ceil_div(b - a, step), 0)
    content = None
    if isinstance(length, int) and length <= MAX_CONTENT and dtype in INTEGERS:
        content = tuple([a + step * index for index in range(length)])
    return (TensorType(dtype, (length,), content),)


def _whole(item: Any) -> int | float | Dim:
    """A whole number as an int, whatever its type."""
    if isinstance(item, float) and item.is_integer():
        return int(item)
    return item


@infers("Tile")
def tile(call: Call) -> Types:
    """Repeat along each axis: [*S], [r] -> [s * n for s, n in S, contents]."""
    x = call.tensor(0)
    repeats, rank = _wanted(call, 1)
    if x.shape is None:
        return (TensorType(x.dtype, None if rank is None else call.unknown_shape(rank, "tile")),)
    if rank is not None and rank != len(x.shape):
        call.fail(f"repeats must have {len(x.shape)} elements", rank)
    if repeats is None:
        return (TensorType(x.dtype, call.unknown_shape(len(x.shape), "tile")),)
    dims = tuple([dim * times for dim, times in zip(x.shape, repeats, strict=True)])
    content = None
    array = array_of(x)
    if array is not None and count(dims) is not None:
        content = content_of(np.tile(array, static_shape(repeats) or ()))
    return (TensorType(x.dtype, dims, content),)


@infers("DepthToSpace", "SpaceToDepth")
def depth_to_space(call: Call) -> Types:
    """Move blocks: [N, C, H, W] -> [N, C/b², H*b, W*b], and back for SpaceToDepth."""
    x = call.tensor(0)
    block = call.required("blocksize")
    if x.shape is None:
        return (TensorType(x.dtype, call.unknown_shape(4, "dim")),)
    if len(x.shape) != 4:
        call.fail("input must have rank 4", x)
    n, c, h, w = x.shape
    if call.op_type == "DepthToSpace":
        if divisible(c, block * block) is False:
            call.fail(f"channels must be a multiple of {block * block}", c)
        return (TensorType(x.dtype, (n, c // (block * block), h * block, w * block)),)
    for dim in (h, w):
        if divisible(dim, block) is False:
            call.fail(f"height and width must be multiples of {block}", dim)
    return (TensorType(x.dtype, (n, c * (block * block), h // block, w // block)),)


@infers("Trilu")
def trilu(call: Call) -> Types:
    """Keep a triangle: [*B, N, M] -> [*B, N, M]."""
    x = call.tensor(0)
    if x.shape is not None and len(x.shape) < 2:
        call.fail("input must have at least rank 2", x)
    return (TensorType(x.dtype, x.shape),)


@infers("ReverseSequence")
def reverse_sequence(call: Call) -> Types:
    """Turn sequences around: [*S], [batch] -> [*S]."""
    x, lengths = call.tensor(0), call.tensor(1)
    if x.shape is not None and len(x.shape) < 2:
        call.fail("input must have at least rank 2", x)
    if x.shape is not None and lengths.shape is not None:
        batch = x.shape[call.axis(call.attribute("batch_axis", 1), len(x.shape))]
        unified(call, batch, lengths.shape[0], "the batch and the number of lengths")
    return (TensorType(x.dtype, x.shape),)
