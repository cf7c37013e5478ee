"""One model, in this process: built, exported, written, validated, and described by its facts."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch

from exporter.check.calibration import calibration_seconds
from exporter.check.outcomes import Facts, Outcome, Port, Verdict
from exporter.check.specs import ModelSpec, example_input
from exporter.errors import ExportError, InputError, ManifestError
from exporter.factories import function_named
from exporter.pipeline import export
from exporter.program import Program
from exporter.serialization import weight_bytes
from exporter.validation import ValidationReport

_DISTRIBUTIONS = ("fx2onnx", "torch", "onnx", "onnx_ir", "onnxscript", "onnxruntime", "numpy")
_LIBRARIES = ("torchvision", "timm", "transformers", "diffusers")  # named where the model has loaded them
_REPEATS, _REPEAT_WITHIN_SECONDS = 3, 0.5

OnPhase = Callable[[str], None]


def measure(spec: ModelSpec, on_phase: OnPhase = lambda phase: None) -> Outcome:
    """Build, export and validate the model of a spec; `on_phase` is told each phase as it begins."""
    on_phase("building")
    sys.path[:0] = spec.path
    if os.path.isdir(spec.folder):  # on another machine of a cluster it need not be there
        os.chdir(spec.folder)
    torch.manual_seed(0)
    try:
        if spec.setup:
            function_named(spec.setup)()
        model, inputs, dynamic_shapes = _built(spec)
    except Exception as error:
        return Outcome(spec.name, Verdict.BROKEN, described(error), "building", versions=versions())
    return examine(model, inputs, dynamic_shapes, spec, on_phase)


def examine(
    model: Any, inputs: Any, dynamic_shapes: Any, spec: ModelSpec, on_phase: OnPhase = lambda phase: None
) -> Outcome:
    """Export a model as its spec says, run it in onnxruntime beside eager, and say what became of it."""
    phase = "exporting"

    def begin(name: str) -> None:
        nonlocal phase
        phase = name
        on_phase(name)

    begin(phase)
    try:
        program, seconds, calibrated = _exported(model, inputs, dynamic_shapes, spec)
        begin("writing")
        with tempfile.TemporaryDirectory() as folder:
            path = program.save(Path(folder, "model.onnx"))
            file_bytes = sum(written.stat().st_size for written in path.parent.iterdir())
        begin("validating")
        report = program.validate(providers=spec.providers, tolerance=spec.tolerances.values)
    except Exception as error:
        return Outcome(spec.name, Verdict.FAILED, described(error), phase, versions=versions())
    facts = Facts(
        opset=spec.opset, ops=_ops(program.model), file_bytes=file_bytes,
        initializer_bytes=weight_bytes(program.model), inputs=_ports(program.model.graph.inputs),
        outputs=_ports(program.model.graph.outputs),
        providers={result.provider: result.verdict for result in report.results},
        max_difference=report.max_difference, calibrated_seconds=calibrated,
        left_to_cpu={
            result.provider: dict(sorted(Counter(node.op_type for node in result.placement.fallback).items()))
            for result in report.results if result.placement is not None and result.placement.fallback
        },
    )  # fmt: skip
    verdict, message = _verdict(report)
    return Outcome(spec.name, verdict, message, phase, facts, export_seconds=seconds, versions=versions())


def described(error: BaseException) -> str:
    """An error in words: ours as they are, others with the line that raised them."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, ExportError):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    return f"{text}\n  from: {frames[-1].filename}:{frames[-1].lineno}, in {frames[-1].name}" if frames else text


def versions() -> dict[str, str]:
    """The versions of what takes part in this process."""
    found = {"python": platform.python_version()}
    for name in (*_DISTRIBUTIONS, *(library for library in _LIBRARIES if library in sys.modules)):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # run from a source tree
            continue
    return found


def _exported(model: Any, inputs: Any, dynamic_shapes: Any, spec: ModelSpec) -> tuple[Program, float, float]:
    """The program, the CPU time of its export, and that in calibrations; the least of several where it is short."""
    seconds, calibrations = [], [calibration_seconds()]
    while True:
        started = time.process_time()
        program = export(
            model, inputs, dynamic_shapes=dynamic_shapes, opset_version=spec.opset, capture=spec.capture,
            strict=spec.strict, allow_fixed=spec.allow_fixed,
        )  # fmt: skip
        seconds.append(time.process_time() - started)
        if len(seconds) == _REPEATS or sum(seconds) > _REPEAT_WITHIN_SECONDS:
            calibrations.append(calibration_seconds())
            return program, min(seconds), min(seconds) / min(calibrations)


def _built(spec: ModelSpec) -> tuple[Any, Any, Any]:
    """The model, its inputs and its dynamic dims.

    Raises:
        InputError: there is no such factory, or it returns something else.
        ManifestError: neither the factory nor the manifest has inputs.
    """
    made = function_named(spec.factory)(**spec.arguments)
    if isinstance(made, tuple) and len(made) in (2, 3):
        model, inputs, dynamic_shapes = (*made, None)[:3]
        return model, inputs, spec.dynamic_shapes if dynamic_shapes is None else dynamic_shapes
    if not callable(made):
        raise InputError(
            f"{spec.factory}: must return a model, (model, inputs) or (model, inputs, dynamic_shapes), "
            f"got {type(made).__name__}"
        )
    if spec.inputs is None:
        raise ManifestError(
            f"{spec.name}: must have inputs: {spec.factory} returns only a model",
            hint='return (model, inputs), or write inputs = ["float32[1, 3, 224, 224]"]',
        )
    if isinstance(made, torch.nn.Module):
        made.eval()  # who returns the inputs too decides alone
    if isinstance(spec.inputs, dict):
        return made, {name: example_input(text) for name, text in spec.inputs.items()}, spec.dynamic_shapes
    return made, tuple(example_input(text) for text in spec.inputs), spec.dynamic_shapes


def _ops(model: ir.Model) -> dict[str, int]:
    nodes = [*model.graph.all_nodes(), *(node for f in model.functions.values() for node in f.all_nodes())]
    names = (node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}" for node in nodes)
    return dict(sorted(Counter(names).items()))


def _ports(values: Any) -> dict[str, Port]:
    return {
        value.name: [
            str(value.dtype.numpy()) if value.dtype else "?",
            *(dim if isinstance(dim, int) else str(dim.value) for dim in value.shape or ()),
        ]
        for value in values
    }


def _verdict(report: ValidationReport) -> tuple[Verdict, str]:
    if report.passed:
        return Verdict.PASSED, ""
    problems = [f"{r.provider}: {r.verdict}" + (f": {r.message}" if r.message else "") for r in report.results]
    differs = any(result.verdict == Verdict.DIFFERS.value for result in report.results)
    return Verdict.DIFFERS if differs else Verdict.REFUSED, "; ".join(problems)
