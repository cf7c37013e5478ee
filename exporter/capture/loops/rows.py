"""The rows of tensors of a dynamic size: parts that are counted from the end, loops by `enumerate` and `zip`."""

from __future__ import annotations

import builtins
import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from exporter.capture.loops.comprehensions import rolled_comprehension
from exporter.capture.loops.manner import Manner
from exporter.capture.loops.rolling import rolled_together
from exporter.capture.recorder import Recorder
from exporter.capture.tensors import RecordedTensor


class Parts(tuple[torch.Tensor, ...]):
    """The parts of a tensor; those that are counted from its end are taken from there, however many there are."""

    whole: torch.Tensor | None = None
    dim = 0

    def __getitem__(self, place: Any) -> Any:
        is_from_end = type(place) is int and -len(self) <= place < 0
        return (
            self.whole.select(self.dim, place) if is_from_end and self.whole is not None else super().__getitem__(place)
        )


def parts_of(tensor: torch.Tensor, dim: int, parts: Sequence[torch.Tensor]) -> Parts:
    """The parts of a tensor along a dim, all that there are at the example."""
    made = Parts(parts)
    made.whole, made.dim = tensor, dim
    return made


@contextlib.contextmanager
def rows_together(recorder: Recorder, manner: Manner) -> Iterator[None]:
    """Let `for i, row in enumerate(x)` and `for a, b in zip(x, y)` be loops of the graph by dynamic sizes."""
    originals = builtins.enumerate, builtins.zip

    def rounds(name: str, items: Sequence[Any]) -> Iterator[Any] | None:
        columns = [column for item in items if (column := _column(item)) is not None]
        if not columns or len(columns) < len(items):
            return None
        lengths = [tensor.shape[axis] for tensor, axis in columns]
        if len({length.node.values if isinstance(length, torch.SymInt) else None for length in lengths}) > 1:
            return None
        frame, size = sys._getframe(2), lengths[0]
        places: Iterable[Any] | None = rolled_together(recorder, manner, frame, name, size)
        if places is None:
            places = rolled_comprehension(recorder, manner, frame, (size,))
        if places is None:
            return None
        return ((place, tuple(tensor.select(axis, place) for tensor, axis in columns)) for place in places)

    def counted(items: Any, start: int = 0) -> Any:
        found = rounds("enumerate", [items])
        return originals[0](items, start) if found is None else ((place + start, row) for place, (row,) in found)

    def zipped(*items: Any, strict: bool = False) -> Any:
        found = rounds("zip", items)
        return originals[1](*items, strict=strict) if found is None else (rows for _, rows in found)

    builtins.enumerate, builtins.zip = counted, zipped  # type: ignore[assignment, misc]  # they are put back
    try:
        yield
    finally:
        builtins.enumerate, builtins.zip = originals  # type: ignore[misc]  # the same


def _column(item: Any) -> tuple[torch.Tensor, int] | None:
    """The tensor and the axis whose rows an object stands for; None where it is something else."""
    if type(item) is Parts and item.whole is not None:
        return item.whole, item.dim
    return (item, 0) if type(item) is RecordedTensor and item.ndim else None
