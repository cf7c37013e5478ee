"""What an export's time went to: phases, nested and counted, and rules. Kept in every export.

The timeline of the export under way is ambient, as a logger is, because what is timed lies at every depth:
`with phase("fusion") as it:` adds the block to the innermost phase that is open. Outside of any export
the block's time goes nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter
from types import TracebackType

from exporter.profile.memory import Peaks
from exporter.profile.spans import Spans

__all__ = ["Phase", "RuleTime", "Timeline", "current", "phase"]

_under_way: ContextVar[Timeline | None] = ContextVar("timeline", default=None)


@dataclass(slots=True)
class Phase:
    """One part of an export, and what it did.

    Attributes:
        path: the names of the phases around it, and its own.
        seconds: its time, phases inside included, over all times that it ran.
        runs: how often it ran.
        count: how many of `unit` it worked on or made.
        unit: what is counted, a plural.
        peak_bytes: the highest resident memory while it ran; None where it was not asked for.
    """

    path: tuple[str, ...]
    seconds: float = 0.0
    runs: int = 0
    count: int = 0
    unit: str = ""
    peak_bytes: int | None = None

    @property
    def name(self) -> str:
        """Its own name."""
        return self.path[-1]

    def counts(self, count: int, unit: str) -> None:
        """Add to what it worked on."""
        self.count += count
        self.unit = unit


@dataclass(slots=True)
class RuleTime:
    """What one lowering rule cost in an export.

    Attributes:
        overload: the overload that it lowers.
        calls: how often it was called.
        nodes: how many nodes it emitted.
        seconds: its time, the shape inference of its nodes included.
    """

    overload: str
    calls: int = 0
    nodes: int = 0
    seconds: float = 0.0

    def __add__(self, other: RuleTime) -> RuleTime:
        """Both together."""
        return RuleTime(self.overload, self.calls + other.calls, self.nodes + other.nodes, self.seconds + other.seconds)

    @property
    def seconds_a_node(self) -> float:
        """Its time by emitted node; a call that emits none, only constants, counts as one node."""
        return self.seconds / max(self.nodes, self.calls if not self.nodes else 1)


@dataclass
class Timeline:
    """Where the time of one export went.

    Attributes:
        phases: path -> phase, in the order in which they began.
        rules: overload -> what its rule cost.
        spans: every single call, where a profile was asked for.
        peaks: measures peak memory, where that was asked for.
        path: the phases that are open.
        listener: is told the name of each phase as it begins.
    """

    phases: dict[tuple[str, ...], Phase] = field(default_factory=dict)
    rules: dict[str, RuleTime] = field(default_factory=dict)
    spans: Spans | None = None
    peaks: Peaks | None = None
    path: tuple[str, ...] = ()
    listener: Callable[[str], None] | None = None

    def phase(self, name: str) -> _Running:
        """Time a block as a phase inside the one that is open."""
        return _Running(self, name)

    def add_translation(self, emitted: int, inferences: int, inference_seconds: float) -> None:
        """Add what a builder has counted to the phase that is open."""
        if self.path:
            self.phases[self.path].counts(emitted, "nodes")
            path = (*self.path, "shape inference")
            inference = self.phases.setdefault(path, Phase(path))
            inference.seconds += inference_seconds
            inference.runs += 1
            inference.counts(inferences, "nodes")

    def seconds(self, *path: str) -> float:
        """The time of a phase, 0 where it did not run."""
        found = self.phases.get(path)
        return 0.0 if found is None else found.seconds

    def inside(self, *path: str) -> Iterator[Phase]:
        """The phases directly inside one."""
        return (phase for phase in self.phases.values() if phase.path[:-1] == path)

    def in_order(self, *path: str) -> Iterator[Phase]:
        """The phases inside one, each before those inside it."""
        for phase in self.inside(*path):
            yield phase
            yield from self.in_order(*phase.path)

    def __str__(self) -> str:
        """A line for each phase: its time, its name and what it worked on."""
        return "\n".join(
            f"{1000 * phase.seconds:10.2f} ms  {'  ' * (len(phase.path) - 1)}{phase.name}"
            + (f", {phase.count} {phase.unit}" if phase.unit else "")
            for phase in self.in_order()
        )


class _Running:
    """A phase while it runs; entering it gives the phase."""

    __slots__ = ("_name", "_started", "_timeline", "_token", "phase")

    def __init__(self, timeline: Timeline, name: str) -> None:
        self._timeline, self._name = timeline, name

    def __enter__(self) -> Phase:
        timeline = self._timeline
        self._token = _under_way.set(timeline)
        path = timeline.path = (*timeline.path, self._name)
        phase = timeline.phases.get(path)
        if phase is None:
            phase = timeline.phases[path] = Phase(path)
        self.phase = phase
        if timeline.listener is not None:
            timeline.listener(self._name)
        if timeline.peaks is not None:
            timeline.peaks.enter()
        if timeline.spans is not None:
            timeline.spans.open(self._name, "phase")
        self._started = perf_counter()
        return phase

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        timeline, phase = self._timeline, self.phase
        phase.seconds += perf_counter() - self._started
        phase.runs += 1
        if timeline.spans is not None:
            timeline.spans.leave_modules()
            timeline.spans.close()
        if timeline.peaks is not None:
            phase.peak_bytes = max(phase.peak_bytes or 0, timeline.peaks.leave())
        timeline.path = timeline.path[:-1]
        _under_way.reset(self._token)


def current() -> Timeline:
    """The timeline of the export under way; outside of one, a timeline of nothing."""
    return _under_way.get() or Timeline()


def phase(name: str) -> _Running:
    """Time a block as a phase of the export under way."""
    return current().phase(name)
