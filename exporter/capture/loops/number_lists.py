"""`list(range(size))` by a dynamic size: a vector holds the numbers, of which there are as many as there may be.

`[tensor] * size` is a list too, of one tensor that stands for all.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import types
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from exporter.capture.branching.inert import Extent, extent_of, place_of, tree_of
from exporter.errors import CaptureError

if TYPE_CHECKING:
    from exporter.capture.recorder import Recorder


class NumberList:
    """What stands for a list of numbers: parts of it, its length and what it is put together of are symbolic.

    Attributes:
        numbers: [n], int64 or what torch makes of floats.
    """

    ndim = 1

    def __init__(self, numbers: torch.Tensor) -> None:
        self.numbers = numbers

    @property
    def shape(self) -> torch.Size:
        """How many they are: [n]."""
        return self.numbers.shape

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, slice):
            return self.numbers[index].item()
        step = 1 if index.step is None else index.step
        if step > 0:
            return NumberList(self.numbers[index])
        if index.start is not None or index.stop is not None:
            raise CaptureError("a list of as many numbers as a dynamic size: a part backward from or to a place")
        return NumberList(self.numbers.flip(0)[::-step])

    def __add__(self, other: Any) -> NumberList:
        return NumberList(torch.cat([self.numbers, _numbers(other)]))

    def __radd__(self, other: Any) -> NumberList:
        return NumberList(torch.cat([_numbers(other), self.numbers]))

    def __reversed__(self) -> NumberList:
        return self[::-1]

    def __iter__(self) -> Iterator[Any]:
        """The numbers one by one, for which the length has to be a number."""
        return iter([self[place] for place in range(int(self.shape[0]))])


def _numbers(items: Any) -> torch.Tensor:
    if isinstance(items, NumberList):
        return items.numbers
    return torch.tensor(items, dtype=None if float in map(type, items) else torch.int64)


class RepeatedTensors(list[torch.Tensor]):
    """`[tensor] * size` for cat and stack, and `len`; whatever else is done with it takes the size for a number.

    Attributes:
        shape: how many there are.
    """

    ndim = 1

    def __init__(self, tensor: torch.Tensor, every: torch.Tensor, count: torch.SymInt) -> None:
        """Take the tensor, and what stands for all of it."""
        super().__init__([every])
        self.shape, self._tensor = (count,), tensor

    def _each(self) -> list[torch.Tensor]:
        return [self._tensor] * int(self.shape[0])

    def __getitem__(self, index: Any) -> Any:
        return self._each()[index]

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(self._each())

    def __add__(self, other: Any) -> Any:
        return self._each() + other


@contextlib.contextmanager
def repeated_lists(repeats: Callable[[], bool], recorder: Recorder) -> Iterator[None]:
    """Let `[0] * size` of numbers, and `[tensor] * size`, be symbolic, where Python would take the size for a number.

    Args:
        repeats: whether lists of numbers may be; it is told so by being asked.
        recorder: records what the tensors are.
    """
    names = "__mul__", "__rmul__"
    originals = {name: getattr(torch.SymInt, name) for name in names}

    def taking(original: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def multiplied(size: Any, other: Any) -> Any:
            if type(other) is list and other and {*map(type, other)} <= _NUMBERS and repeats():
                return NumberList(_numbers(other).repeat(size))
            if type(other) is list and len(other) == 1 and isinstance(other[0], torch.Tensor):
                (tensor,) = other
                every = recorder.all_rows(tensor.unsqueeze(0).expand(size, *tensor.shape))
                return RepeatedTensors(tensor, every, size)
            return original(size, other)

        return multiplied

    for name, original in originals.items():
        setattr(torch.SymInt, name, taking(original))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(torch.SymInt, name, original)


_NUMBERS = {int, float, torch.SymInt}


def is_listed(frame: types.FrameType) -> bool:
    """Whether the call that a frame is at is what a `list(...)` is made of, as in `list(range(size))`."""
    return place_of(frame) in _listed(frame.f_code)


@functools.lru_cache(maxsize=256)
def _listed(code: types.CodeType) -> Sequence[Extent]:
    tree = tree_of(code)
    found: list[Extent] = []
    for node in () if tree is None else ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="list"), args=[ast.Call() as items], keywords=[]):
                found.append(extent_of(items))
    return found
