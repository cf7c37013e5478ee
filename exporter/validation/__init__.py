"""Validation: an exported model runs in onnxruntime beside eager PyTorch, and what differs is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import onnx_ir as ir
import torch
from onnxruntime import InferenceSession

from exporter import eager, structures
from exporter.errors import InputError, ValidationError
from exporter.signature import is_value
from exporter.validation import inputs as make
from exporter.validation.comparison import Difference, compare, tolerance_of
from exporter.validation.providers import is_available, provider_name
from exporter.validation.runtime import run, session_of
from exporter.validation.shadow import has_bfloat16, shadow

if TYPE_CHECKING:
    from exporter.program import Program

__all__ = ["Difference", "ProviderResult", "Run", "ValidationReport", "validate_program"]

PASSED, DIFFERS, LOAD, RUN, ABSENT = "passed", "differs", "failed to load", "failed to run", "not available here"


@dataclass(frozen=True)
class Run:
    """One run beside eager: which inputs, and how each output differs."""

    inputs: str
    differences: tuple[Difference, ...]

    @property
    def problem(self) -> str:
        """The first difference outside its tolerance, or ""."""
        return next((f"{d.name} ({self.inputs}): {d.problem}" for d in self.differences if d.problem), "")


@dataclass
class ProviderResult:
    """What one execution provider makes of the model."""

    provider: str
    verdict: str
    message: str = ""
    runs: list[Run] = field(default_factory=list)


@dataclass
class ValidationReport:
    """What each provider makes of the model."""

    results: list[ProviderResult]

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

    def check(self) -> ValidationReport:
        """Return the report.

        Raises:
            ValidationError: a provider complains.
        """
        for result in self.results:
            if result.verdict not in (PASSED, ABSENT):
                raise ValidationError(f"{result.provider}: {result.verdict}: {result.message}")
        return self

    def __str__(self) -> str:
        lines = []
        for result in self.results:
            lines.append(f"{result.provider}: {result.verdict}" + (f": {result.message}" if result.message else ""))
            lines += [
                f"  {r.inputs}: {d.name}: largest difference {d.absolute:.2e} ({d.relative:.2e} of the scale)"
                for r in result.runs
                for d in r.differences
            ]
        return "\n".join(lines)


def validate_program(
    program: Program,
    *,
    providers: Sequence[str] = ("cpu",),
    inputs: Sequence[Any] = (),
    sizes: Sequence[Mapping[str, int]] | None = None,
    tolerance: float | None = None,
    provider_options: Mapping[str, Mapping[str, Any]] | None = None,
    require: bool = False,
) -> ValidationReport:
    """Run a program in onnxruntime beside eager.

    The inputs are the example's, others of the same sizes, and, where dims are dynamic, others of two
    more sizes.

    Args:
        program: what export() returned.
        providers: short names (`cpu`, `cuda`, `coreml`, ...) or onnxruntime's own.
        inputs: further calls: each a tuple of arguments, or a dict of keyword arguments.
        sizes: the sizes to try instead of two chosen ones, each by the names of the dims.
        tolerance: what of an output's scale it may differ by; by its dtype where None.
        provider_options: provider -> its options.
        require: whether a provider that is not here is an error.

    Returns:
        The report, whether it passed or not; `report.check()` raises.

    Raises:
        InputError: a provider has an unknown name, or is not here and required.
    """
    calls = list(_calls(program, inputs, sizes))
    tolerance = tolerance or tolerance_of(program.model) or None
    expected = [_eager(program, leaves) for _, leaves in calls]
    results = []
    for name in providers:
        full = provider_name(name)
        if not is_available(full):
            if require:
                raise InputError(f"providers: {name} is required, and not available here")
            results.append(ProviderResult(name, ABSENT))
            continue
        options = (provider_options or {}).get(name)
        results.append(_on_provider(program, name, full, options, calls, expected, tolerance))
    return ValidationReport(results)


def _calls(
    program: Program, inputs: Sequence[Any], sizes: Sequence[Mapping[str, int]] | None
) -> Iterator[tuple[str, list[Any]]]:
    signature = program.signature
    yield "example", list(signature.leaves)
    if any(isinstance(leaf, torch.Tensor) for leaf in signature.leaves):
        yield "other values", make.other_values(signature, 0)
    for i, chosen in enumerate(make.sizes_to_try(program) if sizes is None else sizes):
        named = ", ".join(f"{name}={size}" for name, size in chosen.items())
        yield named, make.other_sizes(signature, chosen, i + 1)
    for i, call in enumerate(inputs):
        structure = ((), dict(call)) if isinstance(call, Mapping) else (tuple(call), {})
        yield f"inputs[{i}]", [leaf for _, leaf in structures.flatten(structure)]


@dataclass(frozen=True)
class _Expected:
    outputs: list[torch.Tensor]
    random: bool
    error: str = ""


def _eager(program: Program, leaves: Sequence[Any]) -> _Expected:
    """What eager gives, and whether it gives another thing with another seed."""
    try:
        with eager.untouched_values(program.reference):
            outputs = _call(program, leaves, seed=0)
            random = _is_random(program) and not all(
                compare("", a, b).problem == "" for a, b in zip(outputs, _call(program, leaves, seed=1), strict=True)
            )
    except Exception as error:  # a size that eager refuses is no question to the exporter
        return _Expected([], False, f"{type(error).__name__}: {error}")
    return _Expected(outputs, random)


def _call(program: Program, leaves: Sequence[Any], seed: int) -> list[torch.Tensor]:
    torch.manual_seed(seed)
    result = eager.call(program.reference, program.signature, leaves)
    found = [leaf for _, leaf in structures.flatten(result) if is_value(leaf)]
    found += eager.buffers(program.reference, program.signature.updated_buffers)
    results = [torch.as_tensor(leaf).detach().clone() for leaf in found]
    return [torch.view_as_real(r.resolve_conj()) if r.is_complex() else r for r in results]


def _is_random(program: Program) -> bool:
    """Whether the model draws random numbers, by the ops that it has."""
    return any(
        node.op_type.startswith(("Random", "Multinomial", "Bernoulli", "Dropout"))
        for node in program.model.graph.all_nodes()
    )


def _on_provider(
    program: Program, name: str, full: str, options: Mapping[str, Any] | None,
    calls: Sequence[tuple[str, list[Any]]], expected: Sequence[_Expected], tolerance: float | None,
) -> ProviderResult:  # fmt: skip
    try:
        session, note = _session(program.model, full, options)
    except Exception as error:
        return ProviderResult(name, LOAD, _first_line(error))
    result = ProviderResult(name, PASSED, note)
    for (described, leaves), want in zip(calls, expected, strict=True):
        if want.error:
            continue
        try:
            tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
            got = run(session, [t.float() if note and t.dtype == torch.bfloat16 else t for t in tensors])
        except Exception as error:
            return ProviderResult(name, RUN, f"{described}: {_first_line(error)}", result.runs)
        differences = tuple(
            compare(output, a, b.to(a.dtype) if note else b, tolerance=tolerance, values=not want.random)
            for output, a, b in zip(program.signature.result_names, want.outputs, got, strict=False)
        )
        result.runs.append(Run(described, differences))
    problem = next((r.problem for r in result.runs if r.problem), "")
    return ProviderResult(name, DIFFERS, problem, result.runs) if problem else result


def _session(model: ir.Model, full: str, options: Mapping[str, Any] | None) -> tuple[InferenceSession, str]:
    """A session and "", or that of a float32 shadow and a note, where the provider has no bfloat16 kernels."""
    try:
        return session_of(model, full, options), ""
    except Exception as error:
        if "NOT_IMPLEMENTED" not in str(error) or not has_bfloat16(model):
            raise
        return session_of(shadow(model), full, options), f"in float32: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
