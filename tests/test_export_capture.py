"""Capture: every front end, and what Python code may do while it is recorded."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from exporter import ExportError, Program, export
from exporter.errors import CaptureError, InputError
from tests.lowering import ops

FRONT_ENDS = ("record", "symbolic_trace", "compile", "export")


def passes(model: Any, *inputs: Any, **options: Any) -> Program:
    """Export and hold the result to eager."""
    program = export(model, inputs, **options)
    program.validate().check()
    return program


class Classifier(nn.Module):
    """A small model that reads its input's shape."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.conv(x)))
        return self.head(x.mean((2, 3)).view(x.shape[0], -1))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@pytest.mark.parametrize("shapes", [None, {"x": {0: "batch"}}], ids=["static", "dynamic"])
def test_every_front_end_gives_the_same_graph(front_end: str, shapes: Any) -> None:
    program = passes(Classifier().eval(), torch.randn(2, 3, 6, 6), capture=front_end, dynamic_shapes=shapes)
    assert program.report.capture == front_end
    assert ops(program) == ops(export(Classifier().eval(), (torch.randn(2, 3, 6, 6),), dynamic_shapes=shapes))


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_hooks_of_the_model_itself_run(front_end: str) -> None:
    layer = nn.Linear(3, 4)
    layer.register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,))
    layer.register_forward_hook(lambda module, inputs, output: output * 2)
    program = passes(layer, torch.randn(2, 3), capture=front_end)
    assert ops(program).split()[0] == "Add"  # the other may have become part of the weights


class Compiled(nn.Module):
    """A part, a method and a function that the user has compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.compile(nn.Linear(3, 4)), nn.Linear(4, 3)
        self.second.compile()

    @torch.compile
    def scaled(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.compile(torch.sin)(self.scaled(self.second(self.first(x).relu())))


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_what_the_model_compiles_is_recorded_as_it_was_written(front_end: str) -> None:
    program = passes(Compiled(), torch.randn(2, 3), capture=front_end, dynamic_shapes={"x": {0: "batch"}})
    assert ops(program) == "Gemm Relu Gemm Sin"  # the factor has become part of the weights


def test_dynamo_takes_recurrent_layers_and_models_that_compute_nothing() -> None:
    program = passes(nn.LSTM(3, 4, batch_first=True), torch.randn(2, 5, 3), capture="compile")
    assert "LSTM" in ops(program).split()
    passes(lambda x, y: {"b": y, "a": x}, torch.randn(2), torch.randn(3), capture="compile")


def test_a_recording_that_fails_leaves_no_transform_on() -> None:
    """Dynamo's graph is recorded without gradients first, and fails where it asks for one."""
    layer = nn.LSTM(3, 4)
    passes(torch.func.grad(lambda x: layer(x)[0].sum()), torch.randn(5, 2, 3), capture="compile")
    assert type(torch.func.grad(torch.sum)(torch.ones(2))) is torch.Tensor


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_gradients_of_recurrent_layers_by_func(kind: type[nn.Module]) -> None:
    layer = kind(3, 4, bidirectional=True)
    passes(torch.func.grad(lambda x: layer(x)[0].pow(2).sum()), torch.randn(5, 2, 3))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (lambda x: x * 2 if x.shape[0] > 3 else x, "n >= 4"),
        (lambda x: x[:4] + x[1:5], "n >= 5"),
        (lambda x: x * 2 if x.shape[0] % 2 else x, "n % 2 != 0"),
    ],
)
def test_what_dynamo_takes_for_granted_of_a_size_is_a_constraint(model: Any, expected: str) -> None:
    program = export(model, torch.randn(5, 3), dynamic_shapes={"x": {0: "n"}}, capture="compile")
    assert [constraint.expression for constraint in program.report.decisions] == [expected]
    program.validate().check()


def test_a_dim_that_dynamo_fixes_is_an_error() -> None:
    def summed(x: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(3)
        for row in range(x.shape[0]):
            total = total + x[row] * row
        return total

    with pytest.raises(CaptureError, match="specialized it to be a constant"):
        export(summed, torch.randn(5, 3), dynamic_shapes={"x": {0: "n"}}, capture="compile")


class _Difference(nn.Module):
    def forward(self, xs: list[torch.Tensor]) -> torch.Tensor:
        return xs[0] - xs[1]


def test_exported_program_that_takes_a_list() -> None:
    xs = ([torch.randn(3), torch.randn(3)],)
    n = torch.export.Dim("n")
    for shapes, count in ((None, 2), (([{0: n}, {0: n}],), 4)):
        exported = torch.export.export(_Difference(), xs, dynamic_shapes=shapes)
        report = export(exported).validate()
        report.check()
        assert len(report.results[0].runs) == count


def test_exported_program_as_the_model() -> None:
    x = torch.randn(2, 3, 6, 6)
    exported = torch.export.export(Classifier().eval(), (x,), dynamic_shapes={"x": {0: torch.export.Dim("n")}})
    program = export(exported)
    program.validate().check()
    assert program.report.capture == "export"
    assert not isinstance(program.model.graph.inputs[0].shape[0], int)


def test_plain_function_and_graph_module() -> None:
    passes(lambda x, y: x @ y, torch.randn(2, 3), torch.randn(3, 4))
    passes(torch.fx.symbolic_trace(Classifier().eval()), torch.randn(2, 3, 6, 6))


class InPlace(nn.Module):
    """Writes through views, to buffers and with `out=`."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.count += 1
        y = x.clone()
        y[:, 1:3] = 0
        row = y[0]
        row.add_(self.count)
        flat = y.view(-1)
        flat[::2].mul_(2)
        y[y > 2] = -1.0
        z = torch.empty(x.shape)
        torch.add(x, 1, out=z)
        first, second = z.chunk(2, 1)
        first.copy_(second)
        return y, z, y.t().unsqueeze_(0), self.count * 3


def test_writes_become_values() -> None:
    model = InPlace()
    program = passes(model, torch.randn(3, 6))
    assert program.report.mutated == ["count"]
    assert model.count == 0


def test_batch_norm_in_training_reports_its_statistics() -> None:
    model = nn.BatchNorm1d(4)
    before = model.running_mean.clone()
    program = export(model, (torch.randn(8, 4),))
    program.validate().check()
    assert program.report.mutated == ["running_mean", "running_var", "num_batches_tracked"]
    assert torch.equal(model.running_mean, before)


def test_updated_buffers_are_results_on_request() -> None:
    model = nn.BatchNorm1d(4)
    program = export(model, (torch.randn(8, 4),), dynamic_shapes={"input": {0: "batch"}}, return_buffers=True)
    report = program.validate().check()
    names = [d.name for d in report.results[0].runs[0].differences]
    assert names == ["output", "running_mean.updated", "running_var.updated", "num_batches_tracked.updated"]
    assert [value.name for value in program.model.graph.outputs] == names
    assert not model.running_mean.any()


def test_metadata_tells_the_origin_of_a_node() -> None:
    def forward(x: torch.Tensor) -> torch.Tensor:
        return x.relu()

    def told(metadata: str) -> dict[str, str]:
        (node,) = export(forward, (torch.randn(3),), metadata=metadata).model.graph
        return dict(node.metadata_props)

    line = forward.__code__.co_firstlineno + 1
    assert told("none") == {}
    assert told("overload") == {"fx2onnx.overload": "aten.relu.default"}
    assert told("source") == {
        "fx2onnx.overload": "aten.relu.default",
        "fx2onnx.source": f"{__file__}:{line}, in forward",
    }
    program = export(nn.Sequential(nn.Linear(3, 4)), (torch.randn(2, 3),), metadata="overload")
    assert {node.metadata_props["fx2onnx.module"] for node in program.model.graph} == {"0"}
    with pytest.raises(InputError, match="metadata: must be one of none, overload, source, got 'all'"):
        told("all")


def test_what_a_library_does_for_exporters_alone_may_fail() -> None:
    """As Informer's masks do, which transformers leaves out except where it is exported."""

    def forward(x: torch.Tensor) -> torch.Tensor:
        mask = x.new_ones(x.shape) if torch.compiler.is_exporting() else None
        x = x[:, ::2]
        if mask is not None and mask.shape[1] != x.shape[1]:
            raise ValueError(f"the mask must be of size {x.shape}, got {mask.shape}")
        return x * 2 if torch.compiler.is_compiling() else x

    program = export(forward, (torch.randn(2, 5),), dynamic_shapes={"x": {0: "batch"}})
    assert program.report.capture == "record"
    assert [node.op_type for node in program.model.graph] == ["Slice", "Mul"]


def test_what_a_library_does_for_compilers_may_fail() -> None:
    """As the encoder of Switch Transformers does, which makes the mask that it needs except where it is compiled."""

    def forward(x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        if mask is None and not torch.compiler.is_compiling():
            mask = x.new_ones(x.shape[:1])
        return x * mask[:, None]

    program = export(forward, (torch.randn(2, 5),), dynamic_shapes={"x": {0: "batch"}})
    assert program.report.capture == "record"
    program.validate().check()


class Regions(nn.Module):
    """Autocast, no_grad, inference_mode, vmap and constants in forward."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            low = self.linear(x).float()
        with torch.no_grad():
            y = self.linear(x)
        with torch.inference_mode():
            z = self.linear(x)
        doubled = torch.vmap(lambda row: row * 2 + row.sum())(x)
        return low + y + z, doubled, x * torch.tensor([1.0, 2.0, 3.0, 4.0]), x + torch.arange(4)


def test_regions() -> None:
    passes(Regions().eval(), torch.randn(3, 4))


def test_hooks_parametrizations_and_weight_norm() -> None:
    model = nn.Sequential(
        parametrizations.weight_norm(nn.Linear(4, 4)), parametrizations.spectral_norm(nn.Linear(4, 4)), nn.Linear(4, 2)
    )
    model[2].register_forward_hook(lambda module, args, output: output * 2)
    model[2].register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    passes(model.eval(), torch.randn(3, 4))


class _Memory:
    """State outside of any module, as that of caches and schedulers."""

    def __init__(self) -> None:
        self.steps: list[torch.Tensor] = []
        self.last = torch.zeros(4)


class _Remembering(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.memories = {"first": [_Memory()]}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        memory = self.memories["first"][0]
        memory.steps.append(x * 2)
        memory.last = memory.last + x[0]
        return x + len(memory.steps) + memory.last


def test_objects_that_a_module_holds_are_left_as_they_are() -> None:
    model = _Remembering()
    passes(model, torch.randn(3, 4))
    memory = model.memories["first"][0]
    assert memory.steps == []
    assert not memory.last.any()


def test_tied_weights_are_written_once() -> None:
    model = nn.Sequential(nn.Linear(64, 64, bias=False), nn.ReLU(), nn.Linear(64, 64, bias=False))
    model[2].weight = model[0].weight
    program = passes(model.eval(), torch.randn(3, 64))
    assert sum(1 for value in program.model.graph.initializers.values() if value.const_value.size > 64) == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16], ids=str)
def test_models_of_other_dtypes(dtype: torch.dtype) -> None:
    passes(Classifier().eval().to(dtype), torch.randn(2, 3, 6, 6, dtype=dtype))


def test_a_model_on_the_meta_device_exports() -> None:
    with torch.device("meta"):
        model = Classifier().eval()
        x = torch.randn(2, 3, 6, 6)
    assert "Conv" in ops(export(model, (x,)))


class Recurrent(nn.Module):
    """Changes its own attributes as it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.states: list[torch.Tensor] = []
        self.last: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.last = self.linear(x)
        self.states.append(self.last)
        return self.last + torch.rand(()) * 0 + random.random() * 0


def test_the_model_is_as_before() -> None:
    model = Recurrent().train()
    torch.manual_seed(3)
    random.seed(3)
    expected = torch.rand(3), random.random()
    torch.manual_seed(3)
    random.seed(3)
    export(model, (torch.randn(2, 4, generator=torch.Generator().manual_seed(1)),))
    assert model.last is None
    assert model.states == []
    assert model.training
    assert torch.equal(torch.rand(3), expected[0])
    assert random.random() == expected[1]


def test_the_model_is_as_before_when_export_fails() -> None:
    class Failing(Recurrent):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            super().forward(x)
            raise RuntimeError("no")

    model = Failing()
    with pytest.raises(ExportError):
        export(model, (torch.randn(2, 4),))
    assert model.last is None
    assert model.states == []


def test_names_tell_where_a_node_came_from() -> None:
    program = export(Classifier().eval(), (torch.randn(2, 3, 6, 6),))
    assert next(node.name for node in program.model.graph) == "conv/Conv"
    assert "head.bias" in program.model.graph.initializers


def test_scripted_helpers_inside_a_model() -> None:
    @torch.jit.script
    def helper(x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x) + 1

    passes(lambda x: helper(x) * 2, torch.randn(3, 4))
