"""Which node of a model is the first that differs from eager PyTorch, and by whose fault.

The captured graph runs in eager beside the ONNX model, whose values on the way become outputs: by bisection,
as few of them as needed, until a node is found that differs though all that it reads agrees.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir
import torch
from torch import fx

from aten_lowering.builder import Builder, Value
from exporter.capture.graph import live_nodes
from exporter.capture.interpreter import intermediates
from exporter.optimization import PASSES, Rewriter, dead_code
from exporter.pipeline import model_of
from exporter.translation import Translator
from exporter.validation.comparison import Difference, compare, tolerances_of
from exporter.validation.placement import CPU
from exporter.validation.reproduction import Reproduction, expose, extract, written_call
from exporter.validation.runtime import is_random
from exporter.validation.shadow import run_or_shadow

if TYPE_CHECKING:
    from exporter.program import Program

__all__ = ["Culprit", "find_culprit"]

_WIDTH = 48  # values compared at once
_BYTES = 256 * 2**20  # what they may hold together, at the example's sizes


@dataclass(frozen=True)
class Culprit:
    """The first thing that differs.

    Attributes:
        kind: "rule": the ONNX nodes of one call differ from it; "capture": the captured graph itself differs
            from the model; "optimization": a pass changed the result; "provider": onnxruntime's CPU provider
            agrees, another does not; "runtime": none of these.
        target: the overload, or the pass.
        inputs_of_run: the call of the model that showed it, in words.
        node: the captured node's name.
        module: the path of the module that called it.
        source: the user's line.
        rule: the lowering rule, and where it is written.
        onnx_nodes: the names of the ONNX nodes that the rule emitted.
        inputs: dtypes and shapes of the call's tensors.
        difference: how the call's result differs.
        note: what else there is to know.
        reproduction: the call alone; None where it cannot be taken out.
    """

    kind: str
    target: str
    inputs_of_run: str
    node: str = ""
    module: str = ""
    source: str = ""
    rule: str = ""
    onnx_nodes: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    difference: Difference | None = None
    note: str = ""
    reproduction: Reproduction | None = None

    @property
    def summary(self) -> str:
        """The culprit in one line."""
        where = f" in {self.module}" if self.module else ""
        return f"{self.target}{where} ({self.kind})"

    def save(self, folder: str | Path) -> Path | None:
        """Write the call alone as a small model with its inputs, and a script that shows the difference.

        Returns:
            The folder; None where the call could not be taken out.

        Raises:
            SaveError: the folder cannot be written.
        """
        return self.reproduction.save(Path(folder)) if self.reproduction is not None else None

    def data(self) -> dict[str, Any]:
        """The culprit as plain data."""
        plain = {name: value for name, value in vars(self).items() if name not in ("difference", "reproduction")}
        return {**plain, "difference": asdict(self.difference) if self.difference else None}

    def __str__(self) -> str:
        lines = [self.summary, f"  with inputs: {self.inputs_of_run}"]
        named = {"from": self.source, "rule": self.rule, "ONNX nodes": ", ".join(self.onnx_nodes)}
        named |= {"takes": ", ".join(self.inputs), "differs": self.difference.problem if self.difference else ""}
        named["note"] = self.note
        return "\n".join([*lines, *(f"  {name}: {text}" for name, text in named.items() if text)])


def find_culprit(
    program: Program,
    inputs: Sequence[torch.Tensor],
    described: str = "example",
    *,
    expected: Sequence[torch.Tensor] | None = None,
    provider: str = CPU,
    options: Mapping[str, Any] | None = None,
) -> Culprit:
    """Find the first node that differs for some inputs of a program.

    Args:
        program: what export() returned.
        inputs: the tensors that the model takes, in order.
        described: the inputs in words.
        expected: what the model itself gives; where None, the captured graph is not held to it.
        provider: onnxruntime's name of the provider that differs.
        options: its options.
    """
    search = _Search(program, inputs, described, provider, options)
    if expected is not None and (found := search.capture(expected)) is not None:
        return found
    return search.rule() or search.provider_fault() or search.optimization()


class _Search:
    """The translation of a program once more, not optimized, each captured node beside what it became."""

    def __init__(
        self, program: Program, inputs: Sequence[torch.Tensor], described: str,
        provider: str, options: Mapping[str, Any] | None,
    ) -> None:  # fmt: skip
        self.program, self.inputs, self.described = program, list(inputs), described
        self.provider, self.options = provider, options
        self.model, self.translator = translated(program)
        self.tolerances = tolerances_of(self.model)
        nodes = live_nodes(program.captured.graph, [n for n in program.captured.outputs if isinstance(n, fx.Node)])
        self.nodes = [node for node in nodes if node.op == "call_function" and self._value(node) is not None]
        random = random_values(self.model.graph)
        self.random = {node for node in self.nodes if self._value(node) in random}

    def capture(self, expected: Sequence[torch.Tensor]) -> Culprit | None:
        """The captured graph, where it differs from the model itself; the decisions that it rests on say why."""
        wanted = [node for node in self.program.captured.outputs if isinstance(node, fx.Node)]
        found = intermediates(self.program.captured, self.inputs, wanted)
        outputs = self.program.captured.outputs
        for name, node, want in zip(self.program.signature.output_names, outputs, expected, strict=False):
            if not isinstance(node, fx.Node) or node in self.random or not isinstance(found[node], torch.Tensor):
                continue
            difference = compare(name, want, _real(found[node]), tolerances=self.tolerances)
            if difference.problem:
                decided = "; ".join(str(c) for c in self.program.report.decisions)
                return Culprit(
                    "capture", name, self.described, source=str(node.meta.get("source") or ""), difference=difference,
                    note=f"the model decided by sizes: {decided}" if decided else "",
                )  # fmt: skip
        return None

    def rule(self) -> Culprit | None:
        """The first call whose ONNX nodes differ from it."""
        differing = self._first(CPU)
        return self._described("rule", differing, CPU) if differing is not None else None

    def provider_fault(self) -> Culprit | None:
        """The first call on which the provider differs, where the CPU provider agrees on all."""
        if self.provider == CPU:
            return None
        differing = self._first(self.provider)
        return self._described("provider", differing, self.provider) if differing is not None else None

    def optimization(self) -> Culprit:
        """The first pass after which the outputs differ."""
        model, _ = translated(self.program)
        names = [value.name or "" for value in model.graph.outputs]
        want = self._run(model, CPU)
        rewriter = Rewriter(model, ())
        passes = {"dead code": dead_code.run, **PASSES}
        for name, apply in [*passes.items(), *PASSES.items()]:
            if not apply(rewriter):
                continue
            got = self._run(ir.from_proto(ir.to_proto(model)), CPU)
            for output, a, b in zip(names, want, got, strict=True):
                difference = compare(output, a, b, tolerances=self.tolerances)
                if difference.problem:
                    return Culprit(
                        "optimization", name, self.described, difference=difference, rule=passes[name].__module__
                    )  # fmt: skip
        note = "each call agrees, and each pass: differences add up, or onnxruntime's own optimizations make one"
        return Culprit("runtime", "the whole model", self.described, note=note)

    # Inside.

    def _first(self, provider: str) -> fx.Node | None:
        """The first node that differs though what it reads agrees; None where the results agree."""
        results = [node for node in self.nodes if node in set(self.program.captured.outputs)]
        suspects = self._differences(results, provider)
        differing: fx.Node | None = None
        while suspects:
            last = next(iter(suspects))
            above = set(live_nodes(self.program.captured.graph, [last]))
            differing = self._bisect([node for node in self.nodes if node in above], provider)
            # Bisection may have leapt over a value that the node reads.
            read = set(differing.all_input_nodes)
            suspects = self._differences([node for node in self.nodes if node in read], provider)
        return differing

    def _bisect(self, nodes: Sequence[fx.Node], provider: str) -> fx.Node:
        """The first node that differs behind one that agrees, among nodes in order whose last one differs."""
        while True:
            step = math.ceil(len(nodes) / _width(nodes))
            probes = nodes[:-1][step - 1 :: step]
            differing = self._differences(probes, provider)
            first = next((node for node in probes if node in differing), nodes[-1])
            if step == 1:
                return first
            end = nodes.index(first) + 1
            start = max((i + 1 for i, node in enumerate(nodes[: end - 1]) if node in probes), default=0)
            nodes = nodes[start:end]

    def _differences(self, nodes: Sequence[fx.Node], provider: str) -> dict[fx.Node, Difference]:
        """How nodes differ, those that do; beside the ONNX model with their values as its outputs."""
        if not nodes:
            return {}
        values = [value for node in nodes if (value := self._value(node)) is not None]
        model = self.model
        before = list(model.graph.outputs)
        size = len(model.graph)
        expose(model.graph, values)
        try:
            got = self._run(model, provider)
        finally:
            model.graph.outputs[:] = before
            model.graph.remove(list(model.graph)[size:])
        want = intermediates(self.program.captured, self.inputs, nodes)
        differing = {}
        for node, actual in zip(nodes, got, strict=True):
            difference = compare(
                node.name,
                _real(_first_of(want[node])),
                actual,
                tolerances=self.tolerances,
                values=node not in self.random,
            )
            if difference.problem:
                differing[node] = difference
        return differing

    def _run(self, model: ir.Model, provider: str) -> list[torch.Tensor]:
        options = self.options if provider == self.provider else None
        return run_or_shadow(model, provider, options, self.inputs)

    def _value(self, node: fx.Node) -> Value | None:
        """The ONNX value of a captured node, of its first result where it has several; None for sizes."""
        value = self.translator.value_of(node)
        if isinstance(value, (list, tuple)):
            value = value[0] if value else None
        if not isinstance(value, Value) or isinstance(value.type, ir.SequenceType):
            return None
        return value

    def _described(self, kind: str, node: fx.Node, provider: str) -> Culprit:
        difference = self._differences([node], provider).get(node)
        reads = [used for used in node.all_input_nodes if self._value(used) is not None]
        before = itertools.takewhile(lambda n: n is not node, self.program.captured.graph.nodes)
        known = [n for n in before if n.op != "get_attr" and self._value(n) is not None]
        own = self._value(node)
        assert own is not None  # `self.nodes` are those that have one
        boundary = {self._value(n): n for n in reversed(known)}  # the first of those that share a value
        model, sources = extract(self.model, [v for v in boundary if v is not None], [own])
        values = intermediates(self.program.captured, self.inputs, [*known, node, *node.all_input_nodes])
        placeholders = dict(zip(self.model.graph.inputs, self.inputs, strict=True))
        given = [
            _real(_first_of(values[boundary[value]])) if value in boundary else _real(placeholders[value])
            for value in sources
        ]
        want = _real(_first_of(values[node]))
        places = {boundary[value]: i for i, value in enumerate(sources) if value in boundary}
        numbers = {n: v for n, v in values.items() if not isinstance(v, (torch.Tensor, list, tuple))}
        source = str(node.meta.get("source") or "")
        module = str(node.meta.get("module") or "")
        reproduction = Reproduction(
            model, tuple(given), (want,), written_call(node, places, numbers),
            f"{node.target}{' in ' + module if module else ''}{', called from ' + source if source else ''}",
        )  # fmt: skip
        alone = self._alone(model, given, want, provider)
        return Culprit(
            kind, str(node.target), self.described, node.name, module, source, self._rule(node),
            tuple(n.name or "" for n in model.graph if n.op_type != "Identity" or len(model.graph) == 1),
            tuple(_spec(values[n]) for n in reads), difference,
            "" if alone else "alone, with eager's own inputs, the call agrees: smaller differences before it add up",
            reproduction,
        )  # fmt: skip

    def _alone(self, model: ir.Model, given: Sequence[torch.Tensor], want: torch.Tensor, provider: str) -> bool:
        """Whether the call differs on eager's own inputs."""
        got = run_or_shadow(model, provider, self.options if provider == self.provider else None, given)
        return bool(compare("", want, got[0], tolerances=self.tolerances).problem)

    def _rule(self, node: fx.Node) -> str:
        function = self.translator.rule_of(node)
        if function is None:
            return "torch's own decomposition"
        try:
            file, line = inspect.getsourcefile(function), inspect.getsourcelines(function)[1]
        except (OSError, TypeError):
            return f"{function.__module__}.{function.__qualname__}"
        return f"{function.__module__}.{function.__qualname__} ({file}:{line})"


def translated(program: Program) -> tuple[ir.Model, Translator]:
    """The ONNX model of a program's captured graph before optimization, and what each captured node became."""
    opset_version = program.model.graph.opset_imports[""]
    translator = Translator(Builder(opset_version, target=program.target), program.rules)
    return model_of(translator, program.captured, program.signature), translator


def _width(nodes: Sequence[fx.Node]) -> int:
    """How many of these nodes' values are compared at once."""
    sizes = sorted((_bytes(node) for node in nodes), reverse=True)
    width, total = 0, 0
    while width < min(len(sizes), _WIDTH) and total + sizes[width] <= _BYTES:
        total += sizes[width]
        width += 1
    return max(width, 2)


def _bytes(node: fx.Node) -> int:
    specs = [column[0] for column in node.meta.get("specs", ())][:1]
    return sum(math.prod(spec.shape) * spec.dtype.itemsize for spec in specs)


def random_values(graph: ir.Graph) -> set[ir.Value]:
    """The values of a graph that depend on numbers drawn at random."""
    found: set[ir.Value] = set()
    for node in graph:
        if is_random(node) or any(value in found for value in node.inputs):
            found.update(node.outputs)
    return found


def _first_of(value: Any) -> torch.Tensor:
    first = value[0] if isinstance(value, (list, tuple)) else value
    return torch.as_tensor(first)


def _real(tensor: torch.Tensor) -> torch.Tensor:
    """A complex tensor as a real one with a last dim of 2."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor.resolve_neg()


def _spec(value: Any) -> str:
    tensor = _first_of(value)
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
