"""The baseline: what the models were when it was last updated, in a file that is committed beside the manifest."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exporter.check.files import write_text
from exporter.check.outcomes import Facts, Outcome, Verdict
from exporter.errors import BaselineError

_FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """A model in the baseline: its verdict then, its facts if it passed, and what it was made with.

    Attributes:
        verdict: what had become of it; a model that had not passed may fail on.
        message: why it had not passed.
        facts: of the exported model.
        made_with: versions, and under "commit" the repository's.
    """

    verdict: Verdict
    message: str = ""
    facts: Facts | None = None
    made_with: Mapping[str, str] = field(default_factory=dict)


def entry_of(outcome: Outcome, commit: str) -> Entry:
    """The entry that says what an outcome says."""
    made_with = {**({"commit": commit} if commit else {}), **outcome.versions}
    passed = outcome.verdict == Verdict.PASSED
    facts = outcome.facts if passed else None
    return Entry(outcome.verdict, outcome.message.splitlines()[0] if outcome.message else "", facts, made_with)


def read_baseline(path: Path) -> dict[str, Entry]:
    """The entries of a baseline; none where the file does not exist.

    Raises:
        BaselineError: the file is no baseline of this format.
    """
    if not path.exists():
        return {}
    hint = "take it from the repository again, or delete it and run `fx2onnx check --update`"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != _FORMAT:
            raise BaselineError(f"{path}: must have format {_FORMAT}, got {data['format']}", hint=hint)
        return {name: _read_entry(entry, data["made_with"]) for name, entry in data["models"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise BaselineError(f"{path}: cannot be read: {type(error).__name__}: {error}", hint=hint) from error


def write_baseline(path: Path, entries: Mapping[str, Entry]) -> Path:
    """Write a baseline: one line a fact, so that a commit's diff says what changed.

    Raises:
        SaveError: it cannot be written.
    """
    makings: list[Mapping[str, str]] = []
    for entry in entries.values():
        if entry.made_with not in makings:
            makings.append(entry.made_with)
    models = [
        f"  {json.dumps(name)}: {{\n" + ",\n".join(_lines(entry, makings)) + "\n  }"
        for name, entry in sorted(entries.items())
    ]
    made_with = ",\n".join(f"  {json.dumps(making)}" for making in makings)
    text = f'{{\n "format": {_FORMAT},\n "made_with": [\n{made_with}\n ],\n "models": {{\n' + ",\n".join(models)
    return write_text(path, text + "\n }\n}\n")


def updated(
    entries: Mapping[str, Entry], outcomes: Sequence[Outcome], known: Collection[str], folder: Path
) -> dict[str, Entry]:
    """The baseline after a run: new entries for its models, and those of other models that still exist.

    Args:
        entries: the baseline until now.
        outcomes: what the run found.
        known: the names of all models of the manifest.
        folder: of the manifest, whose repository's commit is noted.
    """
    commit = commit_of(folder)
    kept = {name: entry for name, entry in entries.items() if name in known}
    return {**kept, **{outcome.name: entry_of(outcome, commit) for outcome in outcomes}}


def commit_of(folder: Path) -> str:
    """The commit that a folder's repository is at, or "" where there is none."""
    command = ["git", "-C", str(folder), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):  # no git here
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _lines(entry: Entry, makings: Sequence[Mapping[str, str]]) -> list[str]:
    data: dict[str, Any] = {"verdict": entry.verdict.value, "made_with": makings.index(entry.made_with)}
    if entry.message:
        data["message"] = entry.message
    if entry.facts is not None:
        rounded = {
            "max_difference": float(f"{entry.facts.max_difference:.2g}"),
            "calibrated_seconds": float(f"{entry.facts.calibrated_seconds:.2g}"),
        }
        data |= {**vars(entry.facts), **rounded}
    return [f"   {json.dumps(key)}: {json.dumps(value)}" for key, value in data.items()]


def _read_entry(data: dict[str, Any], makings: Sequence[Mapping[str, str]]) -> Entry:
    verdict, made_with = Verdict(data.pop("verdict")), makings[data.pop("made_with")]
    message = data.pop("message", "")
    return Entry(verdict, message, Facts(**data) if data else None, made_with)
