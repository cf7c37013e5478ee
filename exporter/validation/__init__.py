"""Validation: a model runs in onnxruntime beside a reference, on each provider, and what differs is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import onnx_ir as ir
import torch

from exporter.errors import InputError
from exporter.validation import subjects
from exporter.validation.comparison import Difference, axes_by_values, compare, tolerances_of
from exporter.validation.conditioning import judged
from exporter.validation.culprit import Culprit, find_culprit
from exporter.validation.placement import Placement, placement_of
from exporter.validation.providers import is_available, provider_name, short_name
from exporter.validation.reports import (
    ABSENT,
    DIFFERS,
    LOAD,
    PASSED,
    RUN,
    ProviderResult,
    Run,
    ValidationReport,
)
from exporter.validation.runtime import run
from exporter.validation.shadow import raised, session_or_shadow
from exporter.validation.subjects import Call, Subject

if TYPE_CHECKING:
    from exporter.program import Program

__all__ = ["Culprit", "Difference", "Placement", "ProviderResult", "Run", "ValidationReport", "validate",
           "validate_program"]  # fmt: skip


def validate(
    model: Program | str | Path | ir.Model | onnx.ModelProto,
    reference: Callable[..., Any] | str | Path | None = None,
    *,
    inputs: Sequence[Any] | None = None,
    sizes: Sequence[Mapping[str, int]] | None = None,
    **options: Any,
) -> ValidationReport:
    """Run any ONNX model in onnxruntime beside any reference.

    Args:
        model: the path of an ONNX file, a loaded model, or what export() returned.
        reference: a module or function; or the folder of an ONNX test case, whose outputs are expected;
            where None, onnxruntime's CPU provider without optimizations.
        inputs: the calls: each a tuple of arguments, or a dict of keyword arguments, or a dict by the names
            of the model's inputs.  Made by the model's input types where None: floats are normally
            distributed, integers are 0 and 1.
        sizes: the sizes to make inputs of, each by the names of the dims; two chosen ones where None.
        options: what `validate_program` takes: providers, tolerance, provider_options, require.

    Returns:
        The report, whether it passed or not; `report.check()` raises.

    Raises:
        InputError: the model, the inputs or the sizes do not fit; or a provider has an unknown name, or is
            required and not here.
    """
    from exporter.program import Program

    if isinstance(model, Program):
        if reference is not None:
            raise InputError("reference: must be left out for a program, which knows its own")
        return validate_program(model, inputs=inputs or (), sizes=sizes, **options)
    options.pop("find", None)
    return _validate(subjects.of_file(model, reference, inputs, sizes), find=False, **options)


def validate_program(
    program: Program,
    *,
    inputs: Sequence[Any] = (),
    sizes: Sequence[Mapping[str, int]] | None = None,
    awkward: bool = False,
    find: bool = True,
    **options: Any,
) -> ValidationReport:
    """Run a program in onnxruntime beside eager.

    The inputs are the example's, others of the same sizes, and, where dims are dynamic, others of two
    more sizes.

    Args:
        program: what export() returned.
        inputs: further calls: each a tuple of arguments, or a dict of keyword arguments.
        sizes: the sizes to try instead of two chosen ones, each by the names of the dims.
        awkward: whether zeros, negative, tiny, large, infinite and NaN values are tried too.
        find: whether the first node that differs is looked for where an output does.
        options: providers: short names (`cpu`, `cuda`, `coreml`, ...) or onnxruntime's own; tolerance: what
            of an output's scale it may differ by, by its dtype where None; provider_options: provider -> its
            options; require: whether a provider that is not here is an error.

    Returns:
        The report, whether it passed or not; `report.check()` raises.

    Raises:
        InputError: a provider has an unknown name, or is not here and required; inputs or sizes do not fit.
    """
    return _validate(subjects.of_program(program, inputs, sizes, awkward), find=find, **options)


def _validate(
    subject: Subject,
    *,
    find: bool,
    providers: Sequence[str] = ("cpu",),
    tolerance: float | None = None,
    provider_options: Mapping[str, Mapping[str, Any]] | None = None,
    require: bool = False,
) -> ValidationReport:
    named = [(name, provider_name(name)) for name in ([providers] if isinstance(providers, str) else providers)]
    options = {provider_name(name): given for name, given in (provider_options or {}).items()}
    check = _Check(subject, tolerance)
    results = []
    for name, full in named:
        result = (
            check.on_provider(name, full, options.get(full)) if is_available(full) else ProviderResult(name, ABSENT)
        )
        if require and result.verdict == ABSENT:
            raise InputError(
                f"providers: {name} is required, and not available here"
                + (f": {result.message}" if result.message else ""),
                hint=f"this onnxruntime has {', '.join(map(short_name, _available()))}",
            )
        results.append(result)
    report = ValidationReport(results, subject.title)
    if find and check.differing is not None:
        report.culprit = check.culprit(options)
    return report


def _available() -> list[str]:
    import onnxruntime

    return list(onnxruntime.get_available_providers())


@dataclass(frozen=True)
class _Expected:
    """What the reference gives for a call; whether another thing with another seed; why it gives nothing."""

    outputs: list[torch.Tensor]
    random: bool = False
    error: str = ""


class _Check:
    """Runs a subject on providers, one after the other; the reference runs once a call.

    Attributes:
        differing: the number of the first call on which an output differed, and the provider; or None.
    """

    def __init__(self, subject: Subject, tolerance: float | None) -> None:
        self.subject, self.tolerance = subject, tolerance
        self.differing: tuple[int, str] | None = None
        self._tolerances, self._open_axes = tolerances_of(subject.model), axes_by_values(subject.model.graph)
        self._expected: dict[int, _Expected] = {}
        self._others: dict[tuple[Any, int], list[torch.Tensor]] = {}

    def on_provider(self, name: str, full: str, options: Mapping[str, Any] | None) -> ProviderResult:
        """What a provider makes of the subject."""
        try:
            session, model, note = session_or_shadow(self.subject.model, full, options, path=self.subject.path)
        except Exception as error:  # onnxruntime's own are many, and a provider's library may lack another
            return ProviderResult(name, LOAD, _first_line(error))
        if full not in session.get_providers():
            return ProviderResult(name, ABSENT, "onnxruntime has the provider, but could not start it on this machine")
        result = ProviderResult(name, PASSED, note, placement=placement_of(session, full, model.graph))
        for index, call in enumerate(self.subject.calls):
            expected = self._expect(index)
            if expected.error:
                result.runs.append(Run(call.description, skipped=expected.error))
                continue
            try:
                got = run(session, [raised(t) if note else t for t in call.tensors])
            except Exception as error:
                result.verdict, result.message = RUN, f"{call.description}: {_first_line(error)}"
                return result
            differences = self._differences(expected, got, bool(note))
            result.runs.append(Run(call.description, self._judged(index, differences, got)))
            if result.runs[-1].problem and self.differing is None:
                self.differing = index, full
        problem = next((r.problem for r in result.runs if r.problem), "")
        if all(r.skipped for r in result.runs):
            problem = "nothing could be compared: " + next((r.skipped for r in result.runs), "there are no inputs")
        if problem:
            result.verdict, result.message = DIFFERS, problem
        return result

    def culprit(self, options: Mapping[str, Mapping[str, Any]]) -> Culprit | None:
        """The first node that differs, where the model came from `export`."""
        program = self.subject.program
        if program is None or self.differing is None:
            return None
        index, provider = self.differing
        call, expected = self.subject.calls[index], self._expect(index)
        outputs = expected.outputs if not expected.random else None
        return find_culprit(
            program, call.tensors, call.description,
            expected=outputs, provider=provider, options=options.get(provider),
        )  # fmt: skip

    def _differences(
        self, expected: _Expected, got: Sequence[torch.Tensor], in_shadow: bool
    ) -> tuple[Difference, ...]:  # fmt: skip
        names = self.subject.output_names
        if not len(names) == len(expected.outputs) == len(got):
            counts = f"{len(got)} outputs, expected {len(expected.outputs)}"
            return (Difference(", ".join(names), problem=counts),)
        return tuple(
            compare(
                output, raised(a) if in_shadow else a, b,
                tolerance=self.tolerance, tolerances=self._tolerances, values=not expected.random,
                open_axes=self._open_axes.get(output, ()),
            )
            for output, a, b in zip(names, expected.outputs, got, strict=True)
        )  # fmt: skip

    def _judged(
        self, index: int, differences: tuple[Difference, ...], got: Sequence[torch.Tensor]
    ) -> tuple[Difference, ...]:  # fmt: skip
        """The differences of a call, with a note on whose they are."""
        expected = self._expect(index).outputs
        if len(differences) != len(expected):
            return differences
        ways = self.subject.exact, self.subject.nearby
        return tuple(
            judged(difference, a, b, *(partial(self._otherwise, way, index, i) for way in ways))
            for i, (difference, a, b) in enumerate(zip(differences, expected, got, strict=True))
        )

    def _otherwise(self, way: Callable[[Call], list[torch.Tensor]], index: int, place: int) -> torch.Tensor | None:
        """An output of the reference, run in another way; None where it does not run so, or is random."""
        subject, call = self.subject, self.subject.calls[index]
        if subject.code is None or self._expect(index).random:
            return None
        if (way, index) not in self._others:
            try:
                with subject.untouched():
                    self._others[way, index] = way(call)
            except Exception:  # code that asks for float32 by name is no problem of the exporter
                self._others[way, index] = []
        found = self._others[way, index]
        return found[place] if place < len(found) else None

    def _expect(self, index: int) -> _Expected:
        """What the reference gives for a call, and whether it gives another thing with another seed."""
        if index not in self._expected:
            subject, call = self.subject, self.subject.calls[index]
            try:
                with subject.untouched():
                    outputs = subject.evaluate(call, 0)
                    random = subject.is_random and not all(
                        compare("", a, b).problem == "" for a, b in zip(outputs, subject.evaluate(call, 1), strict=True)
                    )
                self._expected[index] = _Expected(outputs, random)
            except Exception as error:  # a size that eager refuses is no question to the exporter
                self._expected[index] = _Expected([], error=f"{type(error).__name__}: {_first_line(error)}")
        return self._expected[index]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
