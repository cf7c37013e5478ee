"""What validation found: a verdict per provider, each run's differences, placement, and the culprit."""

from __future__ import annotations

import dataclasses
import json
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from exporter.errors import SaveError, ValidationError
from exporter.serialization import write_whole
from exporter.validation.comparison import Difference
from exporter.validation.culprit import Culprit
from exporter.validation.page import page_of
from exporter.validation.placement import Placement

__all__ = ["ABSENT", "DIFFERS", "LOAD", "PASSED", "RUN", "ProviderResult", "Run", "ValidationReport", "versions"]

PASSED, DIFFERS, LOAD, RUN, ABSENT = "passed", "differs", "failed to load", "failed to run", "not available here"


@dataclass(frozen=True)
class Run:
    """One run beside the reference: which inputs, and how each output differs.

    Attributes:
        inputs: which inputs, in words.
        differences: one for each output.
        skipped: why nothing was compared, or "".
    """

    inputs: str
    differences: tuple[Difference, ...] = ()
    skipped: str = ""

    @property
    def problem(self) -> str:
        """The first difference outside its tolerance, or ""."""
        return next((f"{d.name} ({self.inputs}): {d.words}" for d in self.differences if d.problem), "")


@dataclass
class ProviderResult:
    """What one execution provider makes of the model.

    Attributes:
        provider: as it was asked for.
        verdict: "passed", "differs", "failed to load", "failed to run" or "not available here".
        message: the first thing that is wrong, or a note.
        runs: the runs, until one failed.
        placement: where the nodes went; None where no session could be made.
    """

    provider: str
    verdict: str
    message: str = ""
    runs: list[Run] = field(default_factory=list)
    placement: Placement | None = None


@dataclass
class ValidationReport:
    """What each provider makes of the model.

    Attributes:
        results: one for each provider.
        model: what was validated, in words.
        culprit: the first node that differs, where an output does and the model came from `export`.
        versions: of what took part.
    """

    results: list[ProviderResult]
    model: str = "model"
    culprit: Culprit | None = None
    versions: dict[str, str] = field(default_factory=lambda: versions())

    @property
    def passed(self) -> bool:
        """Whether no provider that is here has a complaint, and at least one is here."""
        verdicts = {result.verdict for result in self.results}
        return PASSED in verdicts and verdicts <= {PASSED, ABSENT}

    @property
    def max_difference(self) -> float:
        """The largest difference of any output in any run, relative to the output's scale."""
        found = [d.relative for result in self.results for r in result.runs for d in r.differences]
        return max(found, default=0.0)

    @property
    def ill_conditioned(self) -> bool:
        """Whether outputs differ, and each by no more than eager in float32 differs from eager in float64."""
        wrong = [d for result in self.results for r in result.runs for d in r.differences if d.problem]
        complaints = {result.verdict for result in self.results} - {PASSED, ABSENT}
        return complaints == {DIFFERS} and all(d.ill_conditioned for d in wrong)

    def check(self) -> ValidationReport:
        """Return the report.

        Raises:
            ValidationError: a provider complains.
        """
        for result in self.results:
            if result.verdict not in (PASSED, ABSENT):
                raise ValidationError(
                    f"{result.provider}: {result.verdict}: {result.message}",
                    hint=f"the first node that differs is {self.culprit.summary}" if self.culprit else "",
                    source=self.culprit.source if self.culprit else "",
                )
        return self

    def save(self, path: str | Path) -> Path:
        """Write the report: `.html`, one page that needs no other file, or `.json`.

        Raises:
            SaveError: the name ends otherwise, or the file cannot be written.
        """
        path = Path(path)
        if path.suffix == ".json":
            text = self.to_json()
        elif path.suffix in (".html", ".htm"):
            text = page_of(self)
        else:
            raise SaveError(f"{path}: a report must end in .html or .json, got {path.suffix or 'no ending'!r}")
        write_whole(path, text.encode())
        return path

    def to_json(self) -> str:
        """The report as JSON; numbers that JSON lacks (infinity) are strings."""
        data = {
            "model": self.model,
            "passed": self.passed,
            "versions": self.versions,
            "providers": [_result_data(result) for result in self.results],
            "culprit": self.culprit.data() if self.culprit else None,
        }
        return json.dumps(_finite(data), indent=1) + "\n"

    def __str__(self) -> str:
        lines = []
        for result in self.results:
            lines.append(f"{result.provider}: {result.verdict}" + (f": {result.message}" if result.message else ""))
            if result.placement is not None:
                lines.append(f"  placement: {result.placement}")
            for run in result.runs:
                if run.skipped:
                    lines.append(f"  {run.inputs}: not compared: {run.skipped}")
                lines += [
                    f"  {run.inputs}: {d.name}: largest difference {d.absolute:.2e} ({d.relative:.2e} of the scale)"
                    + (f"; {d.note}" if d.note else "")
                    for d in run.differences
                ]
        if self.culprit is not None:
            lines.append(f"the first node that differs: {self.culprit}")
        return "\n".join(lines)


def versions() -> dict[str, str]:
    """The versions of what takes part in a validation."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
    }


def _result_data(result: ProviderResult) -> dict[str, Any]:
    placement = result.placement
    return {
        "provider": result.provider,
        "verdict": result.verdict,
        "message": result.message,
        "runs": [dataclasses.asdict(run) for run in result.runs],
        "placement": None
        if placement is None
        else {
            "counts": placement.counts,
            "partitions": placement.partitions,
            "copies": placement.copies,
            "nodes": [dataclasses.asdict(node) for node in placement.nodes],
        },
    }


def _finite(data: Any) -> Any:
    """The data with infinities and NaN as strings."""
    if isinstance(data, float) and (data != data or data in (float("inf"), float("-inf"))):
        return str(data)
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return data
