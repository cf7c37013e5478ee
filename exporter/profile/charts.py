"""What the files of a profile show: one chart for each thing that was profiled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from exporter.profile.spans import Frame
from exporter.profile.timeline import Phase, RuleTime

__all__ = ["Chart", "slowest_rules"]


@dataclass(frozen=True)
class Chart:
    """The calls of one run, and its phases and rules where they were counted.

    Attributes:
        title: what ran.
        root: the frame of all of it.
        phases: its phases, in order.
        rules: overload -> what its rule cost.
        note: how it was recorded.
    """

    title: str
    root: Frame
    phases: Sequence[Phase] = ()
    rules: Mapping[str, RuleTime] = field(default_factory=dict)
    note: str = ""

    def flat(self) -> Iterator[tuple[Frame, int]]:
        """Each frame before those inside it, with its depth."""
        stack = [(self.root, 0)]
        while stack:
            frame, depth = stack.pop()
            yield frame, depth
            stack.extend((child, depth + 1) for child in reversed(frame.children))


def slowest_rules(rules: Mapping[str, RuleTime], *, by_node: bool = False) -> list[RuleTime]:
    """The rules, by total time or by time for an emitted node, slowest first."""
    return sorted(rules.values(), key=lambda rule: rule.seconds_a_node if by_node else rule.seconds, reverse=True)
