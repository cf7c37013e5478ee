"""`len`, `min`, `max` and `torch.tensor`, which Python and torch would answer with numbers: sizes stay symbolic."""

from __future__ import annotations

import builtins
import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch


@contextlib.contextmanager
def lengths() -> Iterator[None]:
    """Let `len(tensor)` be symbolic, which Python itself takes only as a number."""
    original = builtins.len

    def length(item: Any) -> Any:
        return item.shape[0] if isinstance(item, torch.Tensor) and item.ndim else original(item)

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
