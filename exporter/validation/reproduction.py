"""The smallest model that shows a difference: one call's ONNX nodes, its inputs, and what eager gives for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from torch import fx

from exporter import serialization
from exporter.validation.tensor_files import write_tensors

__all__ = ["Reproduction", "expose", "extract"]


@dataclass(frozen=True)
class Reproduction:
    """One call, alone.

    Attributes:
        model: its ONNX nodes, with the call's tensors as inputs.
        inputs: the tensors that eager gave to the call.
        outputs: what eager gave for it.
        call: the call as a line of Python; the inputs are called `x[0]`, `x[1]`, ...
        title: which call, and from where.
    """

    model: ir.Model
    inputs: tuple[torch.Tensor, ...]
    outputs: tuple[torch.Tensor, ...]
    call: str
    title: str

    def save(self, folder: Path) -> Path:
        """Write `model.onnx`, `test_data_set_0` and `reproduce.py`, which shows the difference when it is run.

        Raises:
            SaveError: the folder cannot be written.
        """
        with serialization.new_folder(folder) as made:
            serialization.save(self.model, made / "model.onnx")
            data = made / "test_data_set_0"
            write_tensors(data, "input", self.inputs, [v.name or "" for v in self.model.graph.inputs])
            write_tensors(data, "output", self.outputs, [v.name or "" for v in self.model.graph.outputs])
            script = _SCRIPT.replace("@title@", self.title.replace("\\", "/").replace('"', "'"))
            call = self.call.replace("\\", "/").replace('"', "'")
            (made / "reproduce.py").write_text(script.replace("@call@", call), encoding="utf-8")
        return folder


def expose(graph: ir.Graph, values: Sequence[ir.Value]) -> None:
    """Make values of a graph its outputs, in order; one that cannot be an output itself gets an Identity."""
    taken: set[ir.Value] = set(graph.inputs) | set(graph.initializers.values())
    graph.outputs.clear()
    for place, value in enumerate(values):
        if value in taken:
            copy = ir.Value(name=f"{value.name}/output_{place}", type=value.type, shape=value.shape)
            graph.append(ir.Node("", "Identity", [value], outputs=[copy], name=copy.name))
            value = copy
        taken.add(value)
        graph.outputs.append(value)


def extract(
    model: ir.Model, boundary: Sequence[ir.Value], outputs: Sequence[ir.Value]
) -> tuple[ir.Model, list[ir.Value]]:
    """The part of a model between some values and some outputs, as a model of its own.

    Returns:
        The model, and the boundary values (and inputs of the model) that it needs, in the order of its inputs.
    """
    allowed = set(boundary) | set(model.graph.inputs)
    needed: dict[ir.Value, None] = {}
    seen: set[ir.Value] = set()
    stack = [value for value in outputs if value not in allowed]
    needed.update(dict.fromkeys(value for value in outputs if value in allowed))
    while stack:
        value = stack.pop()
        producer = value.producer()
        if value in seen or producer is None:
            continue
        seen.add(value)
        for used in _used(producer):
            if used in allowed:
                needed[used] = None
            else:
                stack.append(used)
    sources = [value for value in boundary if value in needed]
    sources += [value for value in model.graph.inputs if value in needed and value not in sources]
    copy = ir.from_proto(ir.to_proto(_cut(model, sources, outputs)))
    return copy, sources


def _cut(model: ir.Model, sources: Sequence[ir.Value], outputs: Sequence[ir.Value]) -> ir.Model:
    inner = [value for value in outputs if value not in sources]
    graph = ir.convenience.extract(model.graph, sources, inner) if inner else ir.Graph(
        [ir.Value(name=v.name, type=v.type, shape=v.shape) for v in sources], [], nodes=[],
        opset_imports=model.graph.opset_imports, name="culprit",
    )  # fmt: skip
    by_name = {value.name: value for value in (*graph.inputs, *graph.outputs)}
    expose(graph, [by_name[value.name] for value in outputs])
    cut = ir.Model(graph, ir_version=model.ir_version, producer_name=model.producer_name)
    cut.functions.update(model.functions)
    return cut


def _used(node: ir.Node) -> list[ir.Value]:
    """The values that a node reads, those that its subgraphs read from outside too."""
    used = [value for value in node.inputs if value is not None]
    for attribute in node.attributes.values():
        graphs = {ir.AttributeType.GRAPH: [attribute.value], ir.AttributeType.GRAPHS: attribute.value}
        for graph in graphs.get(attribute.type, ()):
            own = {output for inner in graph.all_nodes() for output in inner.outputs} | set(graph.inputs)
            used += [v for inner in graph.all_nodes() for v in inner.inputs if v is not None and v not in own]
            used += [v for v in graph.outputs if v not in own]
    return used


def written_call(node: fx.Node, places: Mapping[fx.Node, int], numbers: Mapping[fx.Node, Any]) -> str:
    """A captured call as a line of Python; tensors are `x[i]`, weights `state[name]`, sizes their numbers."""

    def text(argument: Any) -> str:
        if isinstance(argument, fx.Node) and argument.op == "get_attr":
            return f"state[{str(argument.target)!r}]"
        if isinstance(argument, fx.Node):
            return f"x[{places[argument]}]" if argument in places else repr(numbers.get(argument))
        if isinstance(argument, (list, tuple)):
            return "[" + ", ".join(map(text, argument)) + "]"
        if isinstance(argument, (torch.device, torch.layout, torch.memory_format)) or argument is None:
            return f"torch.device({str(argument)!r})" if isinstance(argument, torch.device) else str(argument)
        return repr(argument)

    overload = str(node.target)
    namespace, _, rest = overload.partition(".")
    arguments = [*map(text, node.args), *(f"{name}={text(value)}" for name, value in node.kwargs.items())]
    return f"torch.ops.{namespace}.{rest}({', '.join(arguments)})"


_SCRIPT = '''"""@title@

ONNX and PyTorch differ here.  Needs torch, onnx and onnxruntime; exits with 1 while they differ.

In eager PyTorch, with x the inputs, state the model's weights, and the sizes of this call:

    @call@
"""

from pathlib import Path

import onnx
import onnxruntime
import torch
from onnx import numpy_helper

FOLDER = Path(__file__).parent


def tensors(kind):
    paths = sorted((FOLDER / "test_data_set_0").glob(f"{kind}_*.pb"), key=lambda p: int(p.stem.split("_")[1]))
    return [numpy_helper.to_array(onnx.load_tensor(str(path))) for path in paths]


options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
session = onnxruntime.InferenceSession(str(FOLDER / "model.onnx"), options, providers=["CPUExecutionProvider"])
feeds = {node.name: array for node, array in zip(session.get_inputs(), tensors("input"))}
differs = False
for node, got, want in zip(session.get_outputs(), session.run(None, feeds), tensors("output")):
    got, want = torch.from_numpy(got.copy()), torch.from_numpy(want.copy())
    same = torch.allclose(got.double(), want.double(), rtol=1e-3, atol=1e-4, equal_nan=True)
    differs = differs or not same
    print(node.name, "equal" if same else "DIFFERENT", "onnxruntime:", got.flatten()[:6], "eager:", want.flatten()[:6])
raise SystemExit(differs)
'''
