"""How an export went: what was captured how, what was decided, and where the time went."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from exporter.capture.decisions import Constraint
from exporter.capture.graph import CapturedGraph
from exporter.errors import DynamicShapeError
from exporter.profile.recording import Profile, Recording, as_profile
from exporter.profile.timeline import Phase, Timeline


@dataclass
class ExportReport:
    """How an export went.

    Attributes:
        capture: the front end that was used.
        rejected: front end -> why it was not used.
        decisions: for which sizes the model holds: what Python code decided by dynamic sizes, and where.
        mutated: buffers that the model writes to, by name.
        passes: optimization pass -> how many rewrites it made.
        timeline: where the time went, with counts.
        recording: every single call, where a profile was asked for.
    """

    capture: str = ""
    rejected: dict[str, str] = field(default_factory=dict)
    decisions: list[Constraint] = field(default_factory=list)
    mutated: list[str] = field(default_factory=list)
    passes: dict[str, int] = field(default_factory=dict)
    timeline: Timeline = field(default_factory=Timeline)
    recording: Recording | None = None

    @property
    def seconds(self) -> dict[str, float]:
        """Phase of the export -> its time, and "total"."""
        found = {phase.name: phase.seconds for phase in self.timeline.inside("export")}
        return {**found, "total": self.timeline.seconds("export")}

    def __str__(self) -> str:
        lines = [f"captured by {self.capture}"]
        lines += [f"  not by {front_end}: {why}" for front_end, why in self.rejected.items()]
        lines += [f"holds where {decision}" for decision in self.decisions]
        lines += [f"writes to {name}" for name in self.mutated]
        lines += [f"{name}: {number} rewrites" for name, number in self.passes.items() if number]
        lines += [f"{name}: {1000 * seconds:.0f} ms" for name, seconds in self.seconds.items()]
        return "\n".join(lines)

    def phase(self, name: str) -> contextlib.AbstractContextManager[Phase]:
        """Time a block as a phase."""
        return self.timeline.phase(name)

    @contextlib.contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Time a block as an outermost phase; where a profile was asked for, it is written afterwards."""
        with contextlib.nullcontext() if self.recording is None else self.recording.running(), self.phase(name):
            yield

    def describe(self, captured: CapturedGraph) -> None:
        """Take over what the capture tells."""
        self.capture = captured.front_end
        self.decisions = captured.constraints
        self.mutated = list(captured.mutations)


@contextlib.contextmanager
def timeline(
    profile: str | Path | Profile | None = None, title: str = "", progress: Callable[[str], None] | None = None
) -> Iterator[ExportReport]:
    """A report whose total is the time of the block.

    Args:
        profile: what to record beyond the phases.
        title: what the profile is of.
        progress: is told the name of each phase as it begins.
    """
    report = ExportReport()
    if profile is not None:
        report.recording = Recording(as_profile(profile), title)
        report.timeline = report.recording.timeline
    report.timeline.listener = progress
    with report.running("export"):
        yield report


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Put the cycle collector off: an export makes many objects, which all live on, and which it would walk."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled and not gc.get_freeze_count():  # makes old what was made, and walks none of it
            gc.freeze()
            gc.unfreeze()
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
