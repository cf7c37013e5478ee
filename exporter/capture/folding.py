"""What depends on no input is computed while a model is recorded, as long as it is small."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from exporter.capture.tensors import RecordedTensor
from exporter.capture.torch_internals import is_random, outside_modes

if TYPE_CHECKING:
    from exporter.capture.recorder import Recorder

aten = torch.ops.aten

FOLD_LIMIT = 1024  # elements, of all arguments and of each result
_INTEGER_LIMIT = 1 << 16  # of integers and truths, by which code may decide
_DRAWN_LIMIT = 1 << 20  # of what is drawn from a seed that the model sets: drawn at run time, it is something else
_CREATIONS = {aten.arange.default, aten.arange.start, aten.arange.start_step, aten.zeros.default,
              aten.ones.default, aten.full.default, aten.scalar_tensor.default, aten.linspace.default,
              aten.eye.default, aten.eye.m, aten.empty.memory_format}  # fmt: skip
# What draws numbers -> which of its arguments is the shape.
_DRAWN = {aten.randn.default: 0, aten.rand.default: 0, aten.randint.default: 1, aten.randint.low: 2}


def folded(
    func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], tensors: Sequence[RecordedTensor],
    is_seeded: bool = False,
) -> Any:  # fmt: skip
    """The real result of a call whose tensors are all known and small; else None.

    Random numbers are known where torch is `is_seeded` by the model: as in eager, they are the same in every run.
    """
    if is_random(func):
        known = is_seeded and not tensors and func in _DRAWN and math.prod(args[_DRAWN[func]]) <= _DRAWN_LIMIT
        return _computed(func, args, kwargs) if known else None
    if tensors:
        if any(tensor.constant is None for tensor in tensors):
            return None
        if sum(tensor.numel() for tensor in tensors) > _limit(tensors):
            return None
    elif func not in _CREATIONS or not _is_small_creation(func, args):
        return None
    result = _computed(func, args, kwargs)
    results = result if isinstance(result, (list, tuple)) else [result]
    found = [item for item in results if isinstance(item, torch.Tensor)]
    return None if any(item.numel() > _limit([item]) for item in found) else result


def _computed(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    real = {name: _real(argument) for name, argument in kwargs.items()}
    if "device" in real:
        real["device"] = torch.device("cpu")
    with outside_modes():
        return func(*map(_real, args), **real)


@contextlib.contextmanager
def seeds(recorder: Recorder) -> Iterator[None]:
    """Note where the model sets torch's seed, as for the random rotations of a hash."""
    original = torch.manual_seed

    def manual_seed(seed: int) -> torch.Generator:
        recorder.is_seeded = True
        return original(seed)

    torch.manual_seed = manual_seed
    try:
        yield
    finally:
        torch.manual_seed = original


def _limit(tensors: Sequence[torch.Tensor]) -> int:
    return (
        FOLD_LIMIT if any(tensor.is_floating_point() or tensor.is_complex() for tensor in tensors) else _INTEGER_LIMIT
    )


def _is_small_creation(func: Any, args: Sequence[Any]) -> bool:
    if func in (aten.arange.default, aten.arange.start, aten.arange.start_step):
        start, end, step = {1: (0, args[0], 1), 2: (args[0], args[-1], 1)}.get(len(args), args[:3])
        return abs(end - start) <= FOLD_LIMIT * abs(step)
    if func in (aten.eye.default, aten.eye.m):
        return max(args[:2]) ** 2 <= FOLD_LIMIT
    shape = (
        args[0] if args and isinstance(args[0], (list, tuple)) else [args[2]] if func is aten.linspace.default else []
    )
    return math.prod(shape) <= FOLD_LIMIT


def _real(argument: Any) -> Any:
    if type(argument) is RecordedTensor:
        return argument.constant
    if type(argument) is list:
        return [_real(item) for item in argument]
    return argument
