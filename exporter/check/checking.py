"""The check as a whole: models run on an engine, what was found beside the baseline, and whether that is well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from exporter.check.baseline import Entry
from exporter.check.outcomes import Event, Finished, Outcome, Verdict
from exporter.check.regressions import Regression, regressions
from exporter.check.specs import ModelSpec


class Status(str, Enum):
    """What a model's check says."""

    OK = "ok"
    NEW = "ok, not in the baseline"
    KNOWN = "known failure"
    FAILED = "failed"
    REGRESSED = "regressed"


RED = (Status.FAILED, Status.REGRESSED)


@dataclass(frozen=True)
class Checked:
    """One model, checked.

    Attributes:
        outcome: what became of it.
        before: its entry in the baseline, if it has one.
        regressions: what became worse.
        notes: what else is to be said of it.
    """

    outcome: Outcome
    before: Entry | None = None
    regressions: list[Regression] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def status(self) -> Status:
        """What the check says of it."""
        if self.regressions:
            return Status.REGRESSED
        if self.outcome.verdict == Verdict.PASSED:
            return Status.OK if self.before is not None else Status.NEW
        known = self.before is not None and self.before.verdict != Verdict.PASSED
        return Status.KNOWN if known else Status.FAILED

    @property
    def reasons(self) -> list[str]:
        """Why it is red, in words."""
        if self.regressions:
            return [str(regression) for regression in self.regressions]
        return [f"{self.outcome.verdict.value}: {self.outcome.message}"] if self.status == Status.FAILED else []

    @property
    def changed_versions(self) -> dict[str, tuple[str, str]]:
        """What the baseline was made with and is of another version now: name -> old and new."""
        if self.before is None:
            return {}
        old, new = self.before.made_with, self.outcome.versions
        return {
            name: (old.get(name, "absent"), new.get(name, "absent"))
            for name in sorted({*old, *new} - {"commit"})
            if new and old.get(name) != new.get(name)
        }


@dataclass(frozen=True)
class CheckReport:
    """A whole run.

    Attributes:
        title: the manifest, and which part of it.
        checked: the models, in the manifest's order.
        commit: what the repository is at.
        notes: what is to be said of the whole.
    """

    title: str
    checked: list[Checked]
    commit: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether no model failed or became worse."""
        return not any(checked.status in RED for checked in self.checked)

    @property
    def counts(self) -> dict[str, int]:
        """Status -> how many models, without those that are none."""
        found = {status: sum(checked.status == status for checked in self.checked) for status in Status}
        return {status.value: count for status, count in found.items() if count}

    @property
    def summary(self) -> str:
        """The counts in one line."""
        counts = ", ".join(f"{count} {status}" for status, count in self.counts.items())
        return f"{len(self.checked)} model{'s' * (len(self.checked) != 1)}: {counts}" if counts else "no models"


def compared(outcome: Outcome, before: Entry | None, spec: ModelSpec) -> Checked:
    """An outcome beside the model's entry in the baseline."""
    notes = []
    found: list[Regression] = []
    if before is not None and before.facts is not None:
        found = regressions(before.facts, outcome, spec.tolerances)
        if outcome.facts is not None and before.facts.opset != outcome.facts.opset:
            notes.append(f"the opset was {before.facts.opset}, is {outcome.facts.opset}")
    elif before is not None and outcome.verdict == Verdict.PASSED:
        notes.append(f"passes now (was: {before.verdict.value}); keep it so with --update")
    if outcome.facts is not None:
        absent = [name for name, verdict in outcome.facts.providers.items() if verdict == "not available here"]
        notes += [f"{name} is not available here" for name in absent]
    return Checked(outcome, before, found, notes)


def outcomes_of(events: Iterable[Event]) -> list[Outcome]:
    """The outcomes among events, when all have come."""
    return [event.outcome for event in events if isinstance(event, Finished)]


def report_of(
    title: str, specs: Sequence[ModelSpec], outcomes: Sequence[Outcome], entries: Mapping[str, Entry], commit: str = ""
) -> CheckReport:
    """The report on a run, its models in the order of the specs."""
    found = {outcome.name: outcome for outcome in outcomes}
    checked = [compared(found[spec.name], entries.get(spec.name), spec) for spec in specs]
    notes = [] if entries else ["there is no baseline yet: write one with --update"]
    return CheckReport(title, checked, commit, notes)
