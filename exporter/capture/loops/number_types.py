"""`int(size)`, `float(size)` and `list(range(size))`, which Python takes for numbers: symbolic in modules that ask.

These are types that are asked for everywhere, so they are replaced nowhere before it is known that a module's code
calls one with a size, or with a tensor whose value nobody knows; then the model is recorded again, with other
types among that module's globals.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import re
import sys
import traceback
import types
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from exporter.capture.loops.number_lists import NumberList, is_listed
from exporter.capture.tensors import RecordedTensor

Globals = dict[str, Any]
_NAMES = ("int", "float", "list")
_IDENTITY = re.compile(rf"\bis\s+(not\s+)?({'|'.join(_NAMES)})\b")  # `type(x) is int`, where no other type will do


class NumbersAsked(BaseException):
    """A module's code makes numbers of what is symbolic, by a type of Python's; no `except Exception` may catch it.

    Attributes:
        module: the module's globals.
    """

    def __init__(self, module: Globals) -> None:
        super().__init__(module.get("__name__"))
        self.module = module


def ask_for_numbers(frame: types.FrameType | None, known: Sequence[Globals] | None) -> None:
    """Have the model recorded again where a frame calls a type of numbers, which its module could have otherwise.

    Args:
        frame: the model's, that needs a number.
        known: the modules that have it; None where the model cannot be recorded again.

    Raises:
        NumbersAsked: the module could.
    """
    if frame is None or known is None or not set(_NAMES) & set(frame.f_code.co_names):
        return
    if _may_replace(frame.f_globals, known):
        raise NumbersAsked(frame.f_globals)


def asks_for_type(error: Exception, known: Sequence[Globals] | None) -> Globals | None:
    """The module whose code refused what is no instance of `int` or `float`, where it could have others; else None.

    Args:
        error: what it raised; in `isinstance(size, int)`, a symbolic size is an integer with another `int`.
        known: the modules that have it; None where the model cannot be recorded again.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = set(frames[-1].f_code.co_names)
    if known is None or "isinstance" not in names or not names & set(_NAMES):
        return None
    return frames[-1].f_globals if _may_replace(frames[-1].f_globals, known) else None


def _may_replace(module: Globals, known: Sequence[Globals]) -> bool:
    """Whether a module may have other types of numbers, and has none yet."""
    return not any(item is module for item in known) and not set(_NAMES) & set(module) and not _compares(module)


def _compares(module: Globals) -> bool:
    """Whether a module's code may tell a type from others by its identity."""
    source = sys.modules.get(module.get("__name__", ""))
    try:
        return source is None or _IDENTITY.search(inspect.getsource(source)) is not None
    except OSError:
        return True


@contextlib.contextmanager
def numbers(modules: Sequence[Globals]) -> Iterator[None]:
    """Let numbers of what is symbolic stay symbolic in modules, given by their globals."""
    for module in modules:
        module.update(_TYPES)
    try:
        yield
    finally:
        for module in modules:
            for name in _NAMES:
                del module[name]


class _NumberType(type):
    """The class of what stands for a type: equal to it, with its instances and the symbolic ones."""

    _original: type
    _symbolic: type

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs:
            if cls._original is list:
                return args[0] if type(args[0]) is NumberList else list(args[0])
            number = args[0].item() if type(args[0]) is RecordedTensor else args[0]
            if isinstance(number, (torch.SymInt, torch.SymFloat)):
                return _symbolic(cls._original, number)
        return cls._original(*args, **kwargs)

    def __instancecheck__(cls, item: Any) -> bool:
        return isinstance(item, (cls._original, cls._symbolic))

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, cls._original)

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is cls._original

    def __hash__(cls) -> int:
        return hash(cls._original)


def listed(frame: types.FrameType, bounds: Sequence[Any]) -> NumberList | None:
    """What `range(*bounds)` is for a module whose `list` takes it for a symbolic list; else None."""
    if frame.f_globals.get("list") is not _TYPES["list"] or not is_listed(frame):
        return None
    return NumberList(torch.arange(*bounds))


def _symbolic(kind: type, number: Any) -> Any:
    """A symbolic number as an integer, toward zero, or as a float."""
    if kind is float:
        return torch.sym_float(number)
    return math.trunc(number) if isinstance(number, torch.SymFloat) else number


_TYPES: Globals = {
    kind.__name__: _NumberType(kind.__name__, (kind,), {"_original": kind, "_symbolic": symbolic})
    for kind, symbolic in ((int, torch.SymInt), (float, torch.SymFloat), (list, NumberList))
}
