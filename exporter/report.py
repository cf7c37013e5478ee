"""How an export went: what was captured how, what was decided, and where the time went."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from exporter.capture.decisions import Constraint
from exporter.capture.graph import CapturedGraph
from exporter.errors import DynamicShapeError


@dataclass
class ExportReport:
    """How an export went.

    Attributes:
        capture: the front end that was used.
        rejected: front end -> why it was not used.
        decisions: for which sizes the model holds: what Python code decided by dynamic sizes, and where.
        mutated: buffers that the model writes to, by name.
        passes: optimization pass -> how many rewrites it made.
        seconds: phase -> its time.
    """

    capture: str = ""
    rejected: dict[str, str] = field(default_factory=dict)
    decisions: list[Constraint] = field(default_factory=list)
    mutated: list[str] = field(default_factory=list)
    passes: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of the block to a phase."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def describe(self, captured: CapturedGraph) -> None:
        """Take over what the capture tells."""
        self.capture = captured.front_end
        self.decisions = captured.constraints
        self.mutated = list(captured.mutations)


@contextlib.contextmanager
def timeline() -> Iterator[ExportReport]:
    """A report whose total is the time of the block."""
    report = ExportReport()
    with report.phase("total"):
        yield report


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Put the cycle collector off: an export makes many objects, which all live on, and which it would walk."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def raise_decided(constraints: Sequence[Constraint]) -> NoReturn:
    """Raise the error of `strict=True` for Python code that decided by a dynamic size."""
    first = constraints[0]
    more = f" (and {len(constraints) - 1} more)" if len(constraints) > 1 else ""
    raise DynamicShapeError(
        f"strict: the model's code decides by a dynamic size: it holds only where {first.expression}{more}",
        hint="leave strict=False to keep the example's answer, or write the branch with torch.cond",
        source=first.source,
    )
