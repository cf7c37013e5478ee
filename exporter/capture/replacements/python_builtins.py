"""`len`, `min`, `max`, `range` and `torch.tensor`, which would take sizes for numbers: they stay symbolic."""

from __future__ import annotations

import builtins
import contextlib
import functools
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from exporter.capture.loops.number_lists import NumberList
from exporter.capture.sizes import SAMPLES


@contextlib.contextmanager
def lengths(*kinds: type) -> Iterator[None]:
    """Let `len` of tensors of some classes, and what is like them, be symbolic, which Python takes only as a number."""
    original = builtins.len

    def length(item: Any) -> Any:
        return item.shape[0] if type(item) in kinds and item.ndim else original(item)  # asked for thousands of times

    builtins.len = length
    try:
        yield
    finally:
        builtins.len = original


@contextlib.contextmanager
def extremes() -> Iterator[None]:
    """Let `min` and `max` of sizes be symbolic, where Python itself would decide between them."""
    originals = builtins.min, builtins.max

    def extreme(original: Callable[..., Any], symbolic: Callable[..., Any]) -> Callable[..., Any]:
        def function(*items: Any, **settings: Any) -> Any:
            if len(items) == 1 and isinstance(items[0], Iterator):
                items = (list(items[0]),)
            given = items[0] if len(items) == 1 and isinstance(items[0], (list, tuple)) else items
            if not settings and any(type(item) in (torch.SymInt, torch.SymFloat) for item in given):
                return functools.reduce(symbolic, given)
            return original(*items, **settings)

        return function

    builtins.min, builtins.max = extreme(min, torch.sym_min), extreme(max, torch.sym_max)
    try:
        yield
    finally:
        builtins.min, builtins.max = originals


@contextlib.contextmanager
def tensors_of_parts(kind: type[torch.Tensor]) -> Iterator[None]:
    """Let `torch.tensor([height, x.max()])` keep what is symbolic: sizes, and tensors of a class."""
    original = torch.tensor

    def is_open(data: Any) -> bool:
        if isinstance(data, (list, tuple)):
            return any(map(is_open, data))
        return isinstance(data, (torch.SymInt, torch.SymFloat, kind))

    def tensor(data: Any, **options: Any) -> torch.Tensor:
        if isinstance(data, NumberList):
            return data.numbers.to(options.get("dtype") or data.numbers.dtype)
        if isinstance(data, torch.Tensor) or not is_open(data):
            return original(data, **options)
        if isinstance(data, (list, tuple)):
            made = torch.stack([item if isinstance(item, torch.Tensor) else tensor(item) for item in data])
        else:
            made = torch.full((), data, dtype=torch.int64 if isinstance(data, torch.SymInt) else None)
        return made.to(options.get("dtype") or made.dtype)

    torch.tensor = tensor  # type: ignore[assignment]  # its options are passed on as they come
    try:
        yield
    finally:
        torch.tensor = original


@contextlib.contextmanager
def ranges(*others: Callable[[types.FrameType, Sequence[Any]], Any]) -> Iterator[None]:
    """Let `range(0, length, length)` be symbolic where it has as many items at every size that is sampled.

    Where it has not, `others` may have something else to go through, for a call in a frame, or None.
    """
    original = builtins.range

    class Ranges(type):
        def __call__(cls, *bounds: Any) -> Any:
            if not any(type(bound) is torch.SymInt for bound in bounds):
                return original(*bounds)
            places = _places(bounds)
            for other in others:
                places = other(sys._getframe(1), bounds) if places is None else places
            return original(*bounds) if places is None else places

        def __instancecheck__(cls, item: Any) -> bool:
            return isinstance(item, original)

    builtins.range = Ranges("range", (), {})  # type: ignore[assignment, misc]  # nobody makes subclasses of it
    try:
        yield
    finally:
        builtins.range = original  # type: ignore[misc]  # the same


def _places(bounds: Sequence[Any]) -> list[Any] | None:
    """The items of a range; None where their number differs, or depends on values or on a step's sign.

    The comparisons that the loop would make are made, so that they are known as the model's decisions.
    """
    start, stop, step = (0, *bounds, 1) if len(bounds) == 1 else (*bounds, 1)[:3]
    nodes = [bound.node for bound in (start, stop, step) if type(bound) is torch.SymInt]
    if any(node.data for node in nodes):
        return None
    columns = [
        bound.node.values if type(bound) is torch.SymInt else (bound,) * SAMPLES for bound in (start, stop, step)
    ]
    counts = {len(range(*sample)) for sample in zip(*columns, strict=False) if sample[2] > 0}
    if len(counts) != 1 or min(columns[2]) <= 0:
        return None
    (count,) = counts
    places = [start + place * step if place else start for place in range(count)]
    if all(place < stop for place in places[-1:]) and not start + count * step < stop:
        return places
    return None
