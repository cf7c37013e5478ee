"""What was found: a model's verdict, and the facts of it that a baseline keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Verdict(str, Enum):
    """What became of a model."""

    PASSED = "passed"
    BROKEN = "cannot be built"
    FAILED = "does not export"
    REFUSED = "does not run"
    DIFFERS = "differs"
    TIMEOUT = "time limit"
    MEMORY = "memory limit"
    CRASHED = "crashed"


Port = list[Any]
"""A dtype, then dims: names and numbers."""


@dataclass(frozen=True)
class Facts:
    """What is known of an exported model.

    Attributes:
        opset: its opset.
        ops: operator -> how many nodes of it, subgraphs and functions included.
        file_bytes: the size on disk, external data included.
        initializer_bytes: the size of its weights.
        inputs: name -> its dtype and dims.
        outputs: likewise.
        providers: execution provider -> what became of the model there.
        max_difference: between eager and onnxruntime, as a share of the output's scale.
        calibrated_seconds: CPU time of the export, as a multiple of the calibration's.
        left_to_cpu: execution provider -> operator -> how many nodes of it onnxruntime gave to the CPU instead.
    """

    opset: int
    ops: dict[str, int]
    file_bytes: int
    initializer_bytes: int
    inputs: dict[str, Port]
    outputs: dict[str, Port]
    providers: dict[str, str]
    max_difference: float
    calibrated_seconds: float
    left_to_cpu: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def nodes(self) -> int:
        """The number of nodes."""
        return sum(self.ops.values())


@dataclass(frozen=True)
class Outcome:
    """What became of one model.

    Attributes:
        name: the model's.
        verdict: what became of it.
        message: why it did not pass, or "".
        phase: what it was at when it ended.
        facts: of the exported model, where there is one.
        seconds: wall clock of the whole process.
        export_seconds: CPU time of the export.
        peak_memory_mb: the largest resident memory of the process.
        versions: of what took part.
        output: the end of what the process printed, where it did not pass.
    """

    name: str
    verdict: Verdict
    message: str = ""
    phase: str = ""
    facts: Facts | None = None
    seconds: float = 0.0
    export_seconds: float = 0.0
    peak_memory_mb: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    output: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {**dataclasses.asdict(self), "verdict": self.verdict.value}


def outcome_from_dict(data: Mapping[str, Any]) -> Outcome:
    """An outcome from what `to_dict` gave."""
    facts = Facts(**data["facts"]) if data["facts"] else None
    return Outcome(**{**data, "verdict": Verdict(data["verdict"]), "facts": facts})


@dataclass(frozen=True)
class Started:
    """A model's process has started."""

    name: str


@dataclass(frozen=True)
class Phase:
    """A model's process is at another phase."""

    name: str
    phase: str


@dataclass(frozen=True)
class Finished:
    """A model's process has ended, or been ended."""

    outcome: Outcome


Event = Started | Phase | Finished
