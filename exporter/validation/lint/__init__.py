"""Prediction without the hardware: which nodes a provider would leave to the CPU, and why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir
import onnxruntime

from exporter.errors import InputError
from exporter.validation.lint import coreml, kernels, tensorrt
from exporter.validation.lint.partitions import partitions_of
from exporter.validation.subjects import load
from shape_inference import infer

if TYPE_CHECKING:
    from exporter.program import Program

__all__ = ["PROVIDERS", "Finding", "LintReport", "Verdict", "lint"]

PROVIDERS = ("coreml", "cpu", "cuda", "tensorrt")


@dataclass(frozen=True)
class Finding:
    """A node that would fall back.

    Attributes:
        node: its name.
        op_type: its operator.
        reason: why, in onnxruntime's terms.
    """

    node: str
    op_type: str
    reason: str


@dataclass(frozen=True)
class Verdict:
    """What a provider would make of a model.

    Attributes:
        provider: its short name, with the format where it has several: "coreml MLProgram".
        source: the table that says so, with its version.
        nodes: how many nodes the model has.
        findings: the nodes that would fall back.
        partitions: into how many parts the others would come.
    """

    provider: str
    source: str
    nodes: int
    findings: tuple[Finding, ...]
    partitions: int

    def __str__(self) -> str:
        taken = self.nodes - len(self.findings)
        lines = [
            f"{self.provider}: {taken} of {self.nodes} nodes in {_count(self.partitions, 'partition')} ({self.source})"
        ]
        reasons = Counter((finding.op_type, _general(finding.reason)) for finding in self.findings)
        lines += [f"  {count} {op}: {why}" for (op, why), count in reasons.most_common()]
        return "\n".join(lines)


@dataclass(frozen=True)
class LintReport:
    """What providers would make of a model."""

    verdicts: tuple[Verdict, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.verdicts))

    def to_json(self) -> str:
        """The report as JSON."""
        return json.dumps([asdict(verdict) for verdict in self.verdicts], indent=1) + "\n"


def lint(
    model: Program | str | Path | ir.Model | onnx.ModelProto,
    providers: Sequence[str] = PROVIDERS,
    *,
    static_shapes: bool = True,
) -> LintReport:
    """Say which nodes of a model each provider would leave to the CPU, without having the provider.

    Args:
        model: what export() returned, the path of an ONNX file, or a loaded model.
        providers: coreml (both of its formats), cpu, cuda, tensorrt.
        static_shapes: whether a dynamic shape keeps a node from CoreML, as onnxruntime's own checker counts and
            as the provider's option RequireStaticInputShapes asks.

    Raises:
        InputError: the model cannot be read, or there is no table for a provider.
    """
    from exporter.program import Program

    loaded = model.model if isinstance(model, Program) else load(model)[0]
    if not isinstance(model, Program):
        infer(loaded)
    version = loaded.graph.opset_imports.get("", 1)
    verdicts: list[Verdict] = []
    for provider in [providers] if isinstance(providers, str) else providers:
        if provider == "coreml":
            for form, file in coreml.FORMATS.items():
                source = f"{file} of onnxruntime {onnxruntime.__version__}"
                found = _findings(
                    loaded.graph, partial(coreml.reason, form=form, opset_version=version, static_shapes=static_shapes)
                )
                verdicts.append(_verdict(f"coreml {form}", source, loaded.graph, found))
        elif provider == "tensorrt":
            found = _findings(loaded.graph, partial(tensorrt.reason, opset_version=version))
            verdicts.append(_verdict(provider, tensorrt.source(), loaded.graph, found))
        elif provider in PROVIDERS:
            table = kernels.installed("CPUExecutionProvider") if provider == "cpu" else kernels.kept(provider)
            found = _findings(loaded.graph, partial(kernels.reason, table=table, opset_version=version))
            verdicts.append(_verdict(provider, table.source, loaded.graph, found))
        else:
            raise InputError(
                f"providers: there is no table for {provider!r}", hint=f"choose from {', '.join(PROVIDERS)}"
            )
    return LintReport(tuple(verdicts))


def _findings(nodes: Iterable[ir.Node], reason: Callable[[ir.Node], str]) -> tuple[Finding, ...]:
    reasons = ((node, reason(node)) for node in nodes)
    return tuple(Finding(node.name or "", node.op_type, why) for node, why in reasons if why)


def _verdict(provider: str, source: str, graph: ir.Graph, findings: tuple[Finding, ...]) -> Verdict:
    left = {finding.node for finding in findings}
    return Verdict(provider, source, len(graph), findings, partitions_of(graph, left))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _general(reason: str) -> str:
    """A reason without the name of the value that it speaks of."""
    words = reason.split()
    return " ".join(["an input", *words[2:]]) if words[0] == "input" else reason
