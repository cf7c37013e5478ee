"""Verdicts: what each provider makes of a program, or of any ONNX file beside any reference."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

import exporter
from exporter import cli, export
from exporter.errors import ExportError, InputError, SaveError, ValidationError
from exporter.validation.comparison import compare, depth_of, tolerances_of
from exporter.validation.page import page_of

aten = torch.ops.aten


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(4, 8)
        self.second = torch.nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.nn.functional.gelu(self.first(x))
        return self.second(hidden), hidden.argmax(-1)


def made() -> tuple[torch.nn.Module, tuple[torch.Tensor]]:
    torch.manual_seed(0)
    return Net().eval(), (torch.randn(2, 4),)


def factory() -> tuple[torch.nn.Module, tuple[torch.Tensor], dict[str, dict[int, str]]]:
    return (*made(), {"x": {0: "batch"}})


def program(**options: object) -> exporter.Program:
    return export(*made(), dynamic_shapes={"x": {0: "batch"}}, **options)  # type: ignore[arg-type]


def wrong_gelu(op, self, approximate="none"):
    return op.Mul(self, op.Sigmoid(self))


def test_a_right_model_passes_at_several_values_and_sizes() -> None:
    report = program().validate()
    assert report.passed
    assert report.check() is report
    (result,) = report.results
    assert (result.provider, result.verdict, result.message) == ("cpu", "passed", "")
    assert [run.inputs for run in result.runs] == ["example", "other values", "batch=5", "batch=9"]
    assert [d.name for d in result.runs[0].differences] == ["output_0", "output_1"]
    assert report.max_difference < 1e-5


def test_a_wrong_model_differs() -> None:
    report = program(lowerings={aten.gelu.default: wrong_gelu}).validate()
    assert not report.passed
    (result,) = report.results
    assert result.verdict == "differs"
    assert result.message.startswith("output_0 (example): ")
    worst = result.runs[0].differences[0]
    assert worst.outside > 0.5
    assert worst.relative > 1e-3
    assert len(worst.where) == 2
    with pytest.raises(
        ValidationError, match=r"cpu: differs: output_0 \(example\).*\n.*aten.gelu.default \(rule"
    ) as caught:
        report.check()
    assert "test_validation_providers.py" in caught.value.source


@pytest.mark.parametrize("name", ["cuda", "coreml", "tensorrt", "qnn", "CUDAExecutionProvider"])
def test_a_provider_that_is_not_here(name: str) -> None:
    report = program().validate(providers=["cpu", name])
    assert [r.verdict for r in report.results] == ["passed", "not available here"]
    assert report.passed
    assert report.check() is report
    alone = program().validate(providers=[name])
    assert not alone.passed
    assert alone.check() is alone
    with pytest.raises(InputError, match=f"providers: {name} is required, and not available here\n.*hint: .*cpu"):
        program().validate(providers=[name], require=True)


def test_a_provider_that_cannot_be_started_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU build of onnxruntime lists CUDA on a machine without a GPU, and falls back silently."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    from exporter.validation import shadow

    original = shadow.session_of
    monkeypatch.setattr(shadow, "session_of", lambda model, full, options, optimized: original(model))
    (result,) = program().validate(providers="cuda").results
    assert result.verdict == "not available here"
    assert "could not start it" in result.message


def test_an_unknown_provider() -> None:
    with pytest.raises(InputError, match=r"providers: onnxruntime knows no 'gpu'\n.*choose from cpu, cuda"):
        program().validate(providers=["gpu"])


def test_options_reach_the_provider() -> None:
    (result,) = program().validate(provider_options={"cpu": {"no_such_option": 1}}).results
    assert result.verdict in ("passed", "failed to load")  # onnxruntime's CPU provider may take any
    assert program().validate(provider_options={"CPUExecutionProvider": {}}).passed


def test_a_model_that_does_not_load(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    types = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.STRING, [2]) for n in "xy"]
    graph = onnx.helper.make_graph([node], "g", types[:1], types[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    (result,) = exporter.validate(model, torch.relu, inputs=[(torch.ones(2),)]).results
    assert result.verdict == "failed to load"
    assert "string" in result.message


def test_a_size_at_which_the_model_does_not_run() -> None:
    """The reference takes it and the ONNX model does not."""
    model = exporter.export(*made()).to_proto()
    (result,) = exporter.validate(model, made()[0], inputs=[(torch.randn(3, 4),)]).results
    assert result.verdict == "failed to run"
    assert result.message.startswith("inputs[0]: ")


def test_what_the_reference_refuses_is_not_compared_and_never_passes() -> None:
    model = program().to_proto()
    report = exporter.validate(model, made()[0], inputs=[(torch.randn(2, 5),)])
    (result,) = report.results
    assert not report.passed
    assert result.message.startswith("nothing could be compared: RuntimeError")
    assert "not compared" in str(report)


@pytest.mark.parametrize("form", ["path", "proto", "ir"])
def test_any_file_beside_any_callable(form: str, tmp_path: Path) -> None:
    exported = program()
    path = exported.save(tmp_path / "model.onnx")
    given = {"path": str(path), "proto": exported.to_proto(), "ir": exported.model}[form]
    report = exporter.validate(given, made()[0], sizes=[{"batch": 3}, {"batch": 1}])  # type: ignore[arg-type]
    assert report.passed
    assert [run.inputs for run in report.results[0].runs] == ["batch=3", "batch=1"]


def test_inputs_of_a_file_by_order_by_name_and_as_arrays() -> None:
    def subtract(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a - b

    ones, twos = torch.ones(2), torch.full((2,), 2.0)
    model = export(subtract, (ones, twos)).to_proto()
    calls = [(ones, twos), {"b": twos, "a": ones}, (np.ones(2, np.float32), np.zeros(2, np.float32))]
    assert exporter.validate(model, subtract, inputs=calls).passed
    assert not exporter.validate(model, lambda a, b: b - a, inputs=calls).passed
    with pytest.raises(InputError, match=r"inputs\[0\]: must have 2 tensors \(a, b\), got 1"):
        exporter.validate(model, subtract, inputs=[(ones,)])


def test_a_file_without_a_reference_is_held_to_itself_unoptimized(tmp_path: Path) -> None:
    assert exporter.validate(program().save(tmp_path / "model.onnx")).passed


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: exporter.validate("no.onnx"), "no.onnx: must be an ONNX model: there is no such file"),
        (lambda: exporter.validate(program(), torch.relu), "reference: must be left out for a program"),
        (lambda: program().validate(sizes=[{"rows": 2}]), "sizes: there is no dynamic dim 'rows'"),
        (lambda: program().validate(inputs=[(1, 2)]), r"inputs\[0\]: must have 1 tensors and constants"),
        (lambda: exporter.validate(program().to_proto(), sizes=[{"n": 2}]), "sizes: there is no dynamic dim 'n'"),
    ],
)
def test_wrong_arguments(call, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        call()


def test_awkward_values() -> None:
    report = program().validate(awkward=True)
    runs = {run.inputs: run for run in report.results[0].runs}
    assert {"zeros", "negative", "tiny", "large", "some infinite", "some NaN"} <= runs.keys()
    assert not runs["some NaN"].differences[0].problem  # NaN equals NaN


def test_random_models_are_compared_by_shape() -> None:
    assert export(torch.nn.Dropout(0.5).train(), (torch.ones(8, 8),)).validate().passed


def test_bfloat16_runs_in_a_float32_shadow() -> None:
    model = torch.nn.Linear(4, 4).to(torch.bfloat16)
    (result,) = export(model, (torch.randn(2, 4, dtype=torch.bfloat16),)).validate().results
    assert result.verdict == "passed"
    assert result.message.startswith("in float32: ")


def _steps(x: torch.Tensor) -> torch.Tensor:
    total = torch.zeros_like(x[:, 0])
    for i in range(x.shape[1]):
        total = total * 0.5 + x[:, i]
    return total


def test_loops_in_bfloat16() -> None:
    x = torch.randn(3, 4, dtype=torch.bfloat16)
    program = export(_steps, (x,), dynamic_shapes={"x": {1: "length"}})
    assert "Loop" in {node.op_type for node in program.model.graph}
    program.validate().check()


# Comparison


@pytest.mark.parametrize(
    ("expected", "actual", "problem"),
    [
        ([1.0, float("nan"), float("inf")], [1.0, float("nan"), float("inf")], ""),
        ([1.0, 2.0], [1.0, float("nan")], "50.00% of values differ, the most by inf at [1]"),
        ([1.0, float("inf")], [1.0, float("-inf")], "50.00% of values differ, the most by inf at [1]"),
        ([1.0, 1000.0], [1.05, 1000.0], ""),  # within what the scale allows
        ([1.0, 1000.0], [1.2, 1000.0], "50.00% of values differ, the most by 0.2 at [0]"),
        ([float("nan")] * 2, [float("nan")] * 2, ""),
    ],
)
def test_floats(expected: list[float], actual: list[float], problem: str) -> None:
    assert compare("y", torch.tensor(expected), torch.tensor(actual)).problem == problem


def test_integers_bools_shapes_and_dtypes_are_exact() -> None:
    big = torch.tensor([2**40, 5])
    assert not compare("y", big, big.clone()).problem
    assert compare("y", big, big + torch.tensor([0, 1])).problem == "50.00% of values differ, the most by 1 at [1]"
    assert compare("y", torch.tensor([True]), torch.tensor([False])).outside == 1.0
    assert compare("y", torch.ones(2), torch.ones(3)).problem == "shape [3], expected [2]"
    assert compare("y", torch.ones(2), torch.ones(2).half()).problem == "dtype float16, expected float32"


def test_the_tolerance_follows_dtype_and_depth() -> None:
    shallow = export(torch.nn.Linear(2, 2), (torch.ones(1, 2),)).model
    deep = export(torch.nn.Sequential(*(torch.nn.Tanh() for _ in range(800))), (torch.ones(1),)).model
    half = export(torch.nn.Linear(2, 2).half(), (torch.ones(1, 2).half(),)).model
    assert tolerances_of(shallow)[torch.float32] == 1e-4
    assert depth_of(deep.graph) == 800
    assert tolerances_of(deep)[torch.float32] == pytest.approx(2e-4)
    assert tolerances_of(half)[torch.float32] == 1e-2


# Reports


def test_the_report_as_json_and_html(tmp_path: Path) -> None:
    report = program(lowerings={aten.gelu.default: wrong_gelu}).validate(providers=["cpu", "cuda"])
    data = json.loads(report.save(tmp_path / "report.json").read_text())
    assert [p["verdict"] for p in data["providers"]] == ["differs", "not available here"]
    assert data["passed"] is False
    assert data["culprit"]["target"] == "aten.gelu.default"
    placement = data["providers"][0]["placement"]
    assert placement["counts"] == {"CPUExecutionProvider": len(placement["nodes"])}
    assert placement["nodes"]
    page = report.save(tmp_path / "report.html").read_text()
    assert page == page_of(report)
    assert "aten.gelu.default" in page
    assert "not available here" in page
    assert 'class="strip"' in page
    assert "http" not in page.replace("http-equiv", "")  # nothing is loaded from elsewhere
    with pytest.raises(SaveError, match=r"report.txt: a report must end in .html or .json, got '.txt'"):
        report.save(tmp_path / "report.txt")
    assert [path.name for path in tmp_path.iterdir()] != []
    assert not list(tmp_path.glob("*.txt"))


def test_infinite_differences_are_valid_json(tmp_path: Path) -> None:
    report = exporter.validate(
        export(torch.log, (torch.ones(2),)).to_proto(), lambda x: x / 0, inputs=[(torch.ones(2),)]
    )
    text = report.save(tmp_path / "report.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["providers"][0]["verdict"] == "differs"


# The command


def run_command(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, ["validate", *arguments])
    return result.exit_code, result.output


def test_the_command_on_a_factory(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    code, output = run_command(f"{__name__}:factory", "-p", "cpu", "-p", "cuda", "--size", "batch=3", "-o", str(page))
    assert code == 0, output
    assert "cpu: passed" in output
    assert "cuda: not available here" in output
    assert "batch=3" in output
    assert page.exists()
    code, output = run_command(f"{__name__}:factory", "-p", "cuda", "--require")
    assert code == 1
    assert "cuda is required, and not available here" in output


def test_the_command_on_a_file(tmp_path: Path) -> None:
    good = program().save(tmp_path / "good.onnx")
    bad = program(lowerings={aten.gelu.default: wrong_gelu}).save(tmp_path / "bad.onnx")
    assert run_command(str(good), "--reference", f"{__name__}:factory")[0] == 0
    code, output = run_command(str(bad), "--reference", f"{__name__}:factory")
    assert code == 1
    assert "ValidationError cpu: differs" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.onnx", "--size", "batch"], "--size: must be DIM=N, got 'batch'"),
        (["x.onnx", "--option", "cuda"], "--option: must be PROVIDER:NAME=VALUE, got 'cuda'"),
        (["x.onnx"], "x.onnx: must be an ONNX model: there is no such file"),
    ],
)
def test_the_command_on_wrong_arguments(arguments: list[str], message: str) -> None:
    code, output = run_command(*arguments)
    assert code == 1
    assert message in " ".join(output.split())


def test_float64_with_parts_in_float32() -> None:
    """As the norms of language models are computed, whatever the model's dtype."""

    def model(x: torch.Tensor) -> torch.Tensor:
        return x * x.float().pow(2).mean(-1, keepdim=True).add(1e-6).rsqrt().double() / 3

    assert export(model, (torch.randn(8, 64, dtype=torch.float64),)).validate().passed
