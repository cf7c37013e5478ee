"""Tensors taken apart along a dynamic dim: as many parts as the example has, each a slice of its own."""

from __future__ import annotations

import operator
from itertools import pairwise
from typing import Any

import torch

from exporter.capture.data_dependence.counts import RESHAPES
from exporter.capture.recorder import Recorder
from exporter.capture.sizes import SAMPLES, SizeNode
from exporter.capture.tensors import RecordedTensor
from exporter.capture.torch_internals import schema_of

aten = torch.ops.aten

_UNBINDS = (aten.unbind.int, aten.unbind_copy.int)
_SPLITS = (aten.split.Tensor, aten.unsafe_split.Tensor, aten.split_copy.Tensor)
_CHUNKS = (aten.chunk.default, aten.unsafe_chunk.default)
TAKES_APART = (*_UNBINDS, *_SPLITS, *_CHUNKS)


def take_apart(recorder: Recorder, func: Any, *args: Any, **kwargs: Any) -> Any:
    """Parts by their places where the sizes decide how many they are.

    Where the samples disagree about how many, the dim is fixed by whoever uses the parts, but not by
    whoever uses only one of the first.  Where the length of a part depends on a size too, their number is
    what the example has, which is a condition on the sizes.
    """
    names = [argument.name for argument in schema_of(func).arguments]
    given = {"dim": 0} | dict(zip(names, args, strict=False)) | kwargs
    tensor, dim = given["self"], given["dim"]
    whole = tensor.shape[dim] if tensor.ndim else 1
    step = given.get("split_size", 1)
    if not isinstance(whole, torch.SymInt) and not isinstance(step, torch.SymInt):
        return recorder.call(func, args, kwargs)
    if func in _CHUNKS:
        step = (whole + given["chunks"] - 1) // given["chunks"]
    counts = _counts(whole, step)
    if func in _CHUNKS and set(counts) == {given["chunks"]}:
        parts = list(recorder.call(func, args, kwargs))
        recorder.limit([_compared(whole, operator.gt, step * (counts[0] - 1))], parts)
        return parts
    if func in _UNBINDS:
        parts = [recorder.call(aten.select.int, (tensor, dim, place), {}) for place in range(counts[0])]
    else:
        ends = [step * (place + 1) for place in range(counts[0])]
        if len(set(counts)) == 1:
            ends[-1:] = [None]
        starts = [0, *ends[:-1]]
        bounds = zip(starts, ends, strict=True)
        parts = [recorder.call(aten.slice.Tensor, (tensor, dim, start, end), {}) for start, end in bounds]
    if len(set(counts)) == 1 and isinstance(whole, torch.SymInt) and type(step) is int:
        least = [_compared(whole, operator.gt, step * (counts[0] - 1))] if counts[0] > 1 else []
        recorder.limit([*least, _compared(whole, operator.le, step * counts[0])], parts)
    if len(set(counts)) > 1 and parts:
        if isinstance(step, torch.SymInt):  # `x.split(x.shape[1] // 2, 1)`
            least = [_compared(step * (counts[0] - 1), operator.lt, whole)] if counts[0] > 1 else []
            recorder.limit([*least, _compared(step * counts[0], operator.ge, whole)], parts)
        elif isinstance(whole, torch.SymInt):
            recorder.fix_count(whole.node, parts)
    return parts


def split_by_sizes(recorder: Recorder, func: Any, tensor: torch.Tensor, sizes: Any, dim: int = 0) -> Any:
    """`split` by a list of sizes that depend on values: together they are the whole, whatever each is."""
    if not any(isinstance(size, torch.SymInt) and size.node.data for size in sizes):
        return recorder.call(func, (tensor, sizes, dim), {})
    parts, start = [], 0
    for size in sizes:
        parts.append(recorder.call(aten.slice.Tensor, (tensor, dim, start, start + size), {}))
        start = start + size
    lengths = tuple(_values(part.shape[dim]) for part in parts)
    recorder.wholes[lengths] = _values(tensor.shape[dim])
    base = recorder.node_of(recorder.tensor(tensor))
    for place, part in enumerate(parts):
        node = recorder.node_of(part)
        if node is not base:
            node.meta["part"] = base, dim % tensor.ndim, place, len(parts)
    return parts


def put_together(recorder: Recorder, func: Any, tensors: list[torch.Tensor], dim: int = 0) -> torch.Tensor:
    """`stack(list(x))` along a dynamic dim is `x` itself, and `cat(list(x))` is `x` with its first two dims as one.

    `cat(x.split(sizes))` is `x` too, however many sizes there are.
    """
    tensors = _of_comprehension(recorder, tensors)
    if any(type(tensor) is RecordedTensor and tensor.rows is not None for tensor in tensors):
        return _with_rows(recorder, tensors, dim, is_stack=func is aten.stack.default)
    if func is aten.cat.default and (split := _split(recorder, tensors, dim)) is not None:
        return split
    whole = _taken_apart(recorder, tensors) if dim == 0 else None
    if whole is None:
        result: torch.Tensor = recorder.call(func, (tensors, dim), {})
    elif func is aten.cat.default:
        result = recorder.call(aten.flatten.using_ints, (whole, 0, 1), {})
    else:
        result = recorder.call(aten.clone.default, (whole,), {})
    return result


def _of_comprehension(recorder: Recorder, tensors: list[Any]) -> list[Any]:
    """A list that is put together, where it is a comprehension's: one tensor in its place, which has the rows."""
    is_plain = all(type(tensor) is RecordedTensor and tensor.rows is None for tensor in tensors)
    if not recorder.comprehensions or len(tensors) != 3 or not is_plain:
        return tensors
    graphs = [recorder.node_of(tensor).graph for tensor in tensors[1:]]
    for comprehension in recorder.comprehensions:
        if comprehension.graphs == graphs:
            return [recorder.all_rows(comprehension.rows(tensors[0], tensors[1:]))]
    return tensors


def _with_rows(recorder: Recorder, tensors: list[Any], dim: int, *, is_stack: bool) -> torch.Tensor:
    """`stack` and `cat` of a list with what each round of a loop appended to it."""
    rank = tensors[0].ndim
    axis = dim % (rank + 1 if is_stack else rank)
    with recorder:
        parts = []
        for tensor in tensors:
            rows = tensor.rows if type(tensor) is RecordedTensor else None
            if rows is None:
                parts.append(tensor.unsqueeze(axis) if is_stack else tensor)
            else:
                moved = rows.movedim(0, axis)
                parts.append(moved if is_stack else moved.flatten(axis, axis + 1))
        return torch.cat(parts, axis)


def _taken_apart(recorder: Recorder, tensors: list[torch.Tensor]) -> RecordedTensor | None:
    """The tensor whose parts along its first, dynamic dim these are, all and in order."""
    first = tensors[0]
    whole = first.parent if type(first) is RecordedTensor else None
    if whole is None or whole.ndim < 2 or not isinstance(whole.shape[0], torch.SymInt):
        return None
    base = recorder.node_of(whole)
    for place, tensor in enumerate(tensors):
        node = recorder.node_of(recorder.tensor(tensor))
        if node.target is not aten.select.int or node.args != (base, 0, place):
            return None
    return whole if len(tensors) == whole.shape[0].node.values[0] else None


def _split(recorder: Recorder, tensors: list[torch.Tensor], dim: int) -> torch.Tensor | None:
    """What was split into these, all in order, where each may have become rows of another length: `reshape(-1, 8)`."""
    found = []
    for place, tensor in enumerate(tensors):
        node: Any = recorder.node_of(recorder.tensor(tensor))
        shapes: list[Any] = []
        while _is_of_rows(node):
            shapes.append(node.args[1])
            node = node.args[0]
        base, along, *order = node.meta.get("part", (None, None))
        if order != [place, len(tensors)] or along != dim % tensor.ndim or (shapes and along):
            return None
        found.append((base, shapes))
    base, shapes = found[0]
    if any(item != found[0] for item in found):
        return None
    (specs,) = base.meta["specs"]
    joined: torch.Tensor = recorder.wrap(specs, tensors[0].device, base)
    for shape in reversed(shapes):
        joined = recorder.call(aten.reshape.default, (joined, shape), {})
    return joined


def _is_of_rows(node: Any) -> bool:
    """Whether a node is a reshape to [-1, ...] of known sizes."""
    if node.target not in RESHAPES:
        return False
    shape = node.args[1]
    return bool(shape) and shape[0] == -1 and all(type(size) is int for size in shape)


def split_by_tensor(recorder: Recorder, func: Any, tensor: torch.Tensor, places: torch.Tensor, dim: int = 0) -> Any:
    """`tensor_split` by a tensor of places: slices whose bounds are its elements."""
    known = recorder.value_of(recorder.tensor(places))
    if known is not None:
        numbers = known.tolist()
        overload = aten.tensor_split.indices if known.ndim else aten.tensor_split.sections
        return recorder.call(overload, (tensor, numbers, dim), {})
    if not places.ndim:
        raise recorder.data_dependent("a number of parts that a tensor holds")
    elements = [recorder.call(aten.select.int, (places, 0, i), {}) for i in range(places.shape[0])]
    bounds = [0, *map(recorder.open_number, elements), None]
    return [recorder.call(aten.slice.Tensor, (tensor, dim, *ends), {}) for ends in pairwise(bounds)]


def _counts(whole: Any, step: Any) -> list[int]:
    """How many parts there are at each sample."""
    pairs = zip(_values(whole), _values(step), strict=True)
    return [max(-(-size // part), 1) if part else 1 for size, part in pairs]


def _compared(size: Any, comparison: Any, other: Any) -> SizeNode:
    node: SizeNode = size.node
    return node.compared(comparison, other.node if isinstance(other, torch.SymInt) else other)


def _values(size: Any) -> tuple[int, ...]:
    return tuple(size.node.values) if isinstance(size, torch.SymInt) else (size,) * SAMPLES
