"""Tensors taken apart along a dynamic dim: as many parts as the example has, each a slice of its own."""

from __future__ import annotations

from typing import Any

import torch

from exporter.capture.recorder import Recorder
from exporter.capture.torch_internals import schema_of

aten = torch.ops.aten

_UNBINDS = (aten.unbind.int, aten.unbind_copy.int)
_SPLITS = (aten.split.Tensor, aten.unsafe_split.Tensor, aten.split_copy.Tensor)
_CHUNKS = (aten.chunk.default, aten.unsafe_chunk.default)
TAKES_APART = (*_UNBINDS, *_SPLITS, *_CHUNKS)


def take_apart(recorder: Recorder, func: Any, *args: Any, **kwargs: Any) -> Any:
    """Parts by their places where the sizes decide how many they are.

    Where the samples disagree about how many, the dim is fixed by whoever uses the parts, but not by
    whoever uses only one of the first.
    """
    names = [argument.name for argument in schema_of(func).arguments]
    given = {"dim": 0} | dict(zip(names, args, strict=False)) | kwargs
    tensor, dim = given["self"], given["dim"]
    whole = tensor.shape[dim] if tensor.ndim else 1
    step = given.get("split_size", 1)
    if type(whole) is not torch.SymInt and type(step) is not torch.SymInt:
        return recorder.call(func, args, kwargs)
    if func in _CHUNKS:
        step = (whole + given["chunks"] - 1) // given["chunks"]
    counts = _counts(whole, step)
    if func in _CHUNKS and set(counts) == {given["chunks"]}:
        return recorder.call(func, args, kwargs)
    if func in _UNBINDS:
        parts = [recorder.call(aten.select.int, (tensor, dim, place), {}) for place in range(counts[0])]
    else:
        ends = [step * (place + 1) for place in range(counts[0])]
        if len(set(counts)) == 1:
            ends[-1:] = [None]
        starts = [0, *ends[:-1]]
        bounds = zip(starts, ends, strict=True)
        parts = [recorder.call(aten.slice.Tensor, (tensor, dim, start, end), {}) for start, end in bounds]
    if len(set(counts)) > 1 and parts:
        recorder.fix_count(whole.node if type(whole) is torch.SymInt else step.node, parts)
    return parts


def _counts(whole: Any, step: Any) -> list[int]:
    """How many parts there are at each sample."""
    pairs = zip(_values(whole), _values(step), strict=True)
    return [max(-(-size // part), 1) if part else 1 for size, part in pairs]


def _values(size: Any) -> tuple[int, ...]:
    return tuple(size.node.values) if type(size) is torch.SymInt else (size,) * 3
