"""`fx2onnx export`: what a user types, sees and finds on the disk."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner, Result

from exporter import export
from exporter.cli import app
from exporter.command_line import console
from tests.lowering import ops

FACTORIES = """
import torch
from torch import nn

def linear():
    return nn.Linear(4, 3), (torch.randn(2, 4),), {"input": {0: "batch"}}

torch.library.define("cli_tests::unknown", "(Tensor x) -> Tensor")
torch.library.register_fake("cli_tests::unknown", lambda x: torch.empty_like(x))

class Unknown(nn.Module):
    def forward(self, x):
        x = torch.ops.cli_tests.unknown(x)
        return torch.ops.cli_tests.unknown(x)

def missing():
    return Unknown(), (torch.randn(3),)

def deciding():
    return lambda x: x + 1 if x.shape[0] > 2 else x, (torch.randn(3),), {"x": {0: "n"}}

def nothing():
    return None
"""


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """A terminal in a folder with a module of factories."""
    (tmp_path / "cli_factories.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(console, "width", 300)
    return CliRunner()


def _line(text: str) -> int:
    """The line of the factories that has this text."""
    return next(number for number, line in enumerate(FACTORIES.splitlines(), 1) if text in line)


def _said(result: Result, text: str) -> bool:
    """Whether the output has a text, however it is wrapped."""
    return re.sub(r"[\s│]", "", text) in re.sub(r"[\s│]", "", result.output)


def _run(typed: CliRunner, *arguments: str) -> Result:
    return typed.invoke(app, ["export", *arguments])


def test_a_model_is_exported_and_validated(typed: CliRunner) -> None:
    result = _run(typed, "cli_factories:linear", "-o", "linear.onnx", "--opset", "20")
    assert result.exit_code == 0, result.output
    assert "linear.onnx: 1 nodes, opset 20, captured by record" in result.output
    assert "cpu: passed" in result.output
    model = onnx.load("linear.onnx")
    assert model.opset_import[0].version == 20
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert sorted(path.name for path in Path().glob("*.onnx*")) == ["linear.onnx"]


def test_weights_beside_the_model(typed: CliRunner) -> None:
    assert _run(typed, "cli_factories:linear", "-o", "m.onnx", "--external-data").exit_code == 0
    assert sorted(path.name for path in Path().glob("m.onnx*")) == ["m.onnx", "m.onnx.data"]


def test_a_decision_is_shown_with_its_line(typed: CliRunner) -> None:
    result = _run(typed, "cli_factories:deciding")
    assert "decided by a dynamic size: n > 2 (decided at" in result.output
    assert _said(result, f"cli_factories.py:{_line('lambda x: x + 1')}")


@pytest.mark.parametrize("flags", [("--dry-run",), ()], ids=["dry run", "export"])
def test_all_missing_rules_at_once(typed: CliRunner, flags: tuple[str, ...]) -> None:
    result = _run(typed, "cli_factories:missing", *flags)
    assert result.exit_code == 1
    assert "cli_tests.unknown.default" in result.output
    assert _said(result, f"cli_factories.py:{_line('x = torch.ops')}")
    assert "lowerings" in result.output
    assert "Traceback" not in result.output
    assert not list(Path().glob("*.onnx"))


def test_a_dry_run_writes_nothing(typed: CliRunner) -> None:
    result = _run(typed, "cli_factories:linear", "--dry-run")
    assert result.exit_code == 0
    assert "every overload of cli_factories:linear has a rule; the model would have 1 nodes" in result.output
    assert not list(Path().glob("*.onnx"))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("cli_factories",), "cli_factories: must be MODULE:FUNCTION"),
        (("no_such_module:f",), "there is no module 'no_such_module'"),
        (("cli_factories:no",), "cli_factories has no function 'no'"),
        (("cli_factories:nothing",), "must return (model, inputs) or (model, inputs, dynamic_shapes), got NoneType"),
        (("cli_factories:linear", "--opset", "9"), "opset_version: must be 17 to 24, got 9"),
        (("cli_factories:linear", "-o", "no/folder.onnx"), "its folder does not exist"),
    ],
)
def test_errors_are_one_screen(typed: CliRunner, arguments: tuple[str, ...], text: str) -> None:
    result = _run(typed, *arguments)
    assert result.exit_code == 1
    assert _said(result, text)
    assert "Traceback" not in result.output
    assert len(result.output.splitlines()) < 25


def test_progress_tells_the_phases() -> None:
    import torch

    phases: list[str] = []
    program = export(torch.nn.Linear(4, 3), (torch.randn(2, 4),), progress=phases.append)
    assert ops(program) == "Gemm"
    assert [phase for phase in phases if phase in ("capture", "translation", "optimization")] == [
        "capture",
        "translation",
        "optimization",
    ]
