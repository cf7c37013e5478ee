"""What depends on no input is computed while a model is recorded, as long as it is small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from exporter.capture.tensors import RecordedTensor
from exporter.capture.torch_internals import outside_modes

aten = torch.ops.aten

FOLD_LIMIT = 1024  # elements, of all arguments and of each result
_CREATIONS = {aten.arange.default, aten.arange.start, aten.arange.start_step, aten.zeros.default,
              aten.ones.default, aten.full.default, aten.scalar_tensor.default, aten.linspace.default,
              aten.eye.default, aten.eye.m, aten.empty.memory_format}  # fmt: skip


def folded(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], tensors: Sequence[RecordedTensor]) -> Any:
    """The real result of a call whose tensors are all known and small; else None."""
    if torch.Tag.nondeterministic_seeded in func.tags:
        return None
    if tensors:
        if any(tensor.constant is None for tensor in tensors):
            return None
        if sum(tensor.numel() for tensor in tensors) > FOLD_LIMIT:
            return None
    elif func not in _CREATIONS or not _is_small_creation(func, args):
        return None
    real = {name: _real(argument) for name, argument in kwargs.items()}
    if "device" in real:
        real["device"] = torch.device("cpu")
    with outside_modes():
        result = func(*map(_real, args), **real)
    results = result if isinstance(result, (list, tuple)) else [result]
    too_large = any(isinstance(item, torch.Tensor) and item.numel() > FOLD_LIMIT for item in results)
    return None if too_large else result


def _is_small_creation(func: Any, args: Sequence[Any]) -> bool:
    if func in (aten.arange.default, aten.arange.start, aten.arange.start_step):
        start, end, step = {1: (0, args[0], 1), 2: (args[0], args[-1], 1)}.get(len(args), args[:3])
        return abs(end - start) <= FOLD_LIMIT * abs(step)
    if func in (aten.eye.default, aten.eye.m):
        return max(args[:2]) ** 2 <= FOLD_LIMIT
    shape = (
        args[0] if args and isinstance(args[0], (list, tuple)) else [args[2]] if func is aten.linspace.default else []
    )
    count = 1
    for size in shape:
        count *= size
    return count <= FOLD_LIMIT


def _real(argument: Any) -> Any:
    if type(argument) is RecordedTensor:
        return argument.constant
    if type(argument) is list:
        return [_real(item) for item in argument]
    return argument
