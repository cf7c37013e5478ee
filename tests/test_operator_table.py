"""`fx2onnx ops` and `docs/operators.md`: what the table says is what the rules emit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from aten_lowering import Builder, Value, registry
from aten_lowering.emitted import emitted_ops
from exporter import export
from exporter.cli import app
from exporter.operator_table import markdown, rows

DOCS = Path(__file__).parent.parent / "docs" / "operators.md"
ROWS = {row.overload: row for row in rows() if not row.is_complex}

# What computes sizes and constants, which the table leaves out.
_SIZES = {
    "Add", "Cast", "Concat", "Constant", "Div", "Flatten", "Gather", "Identity", "Mod", "Mul", "Range", "Reshape",
    "Shape", "Slice", "Squeeze", "Sub", "Unsqueeze",
}  # fmt: skip


def test_the_page_is_current() -> None:
    assert DOCS.read_text(encoding="utf-8") == markdown(), "run `make format`, or fx2onnx ops --write docs/operators.md"


def test_every_rule_is_in_the_table() -> None:
    assert {str(rule.overload) for rule in registry} <= ROWS.keys()
    assert "torchvision.nms.default" in ROWS


_A_CALL: dict[str, Any] = {
    "aten.gelu.default": lambda x: torch.nn.functional.gelu(x),
    "aten.max_pool2d.default": lambda x: torch.nn.functional.max_pool2d(x, 2, ceil_mode=True),
    "aten.scaled_dot_product_attention.default": lambda x: torch.nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True),
    "aten.layer_norm.default": lambda x: torch.nn.functional.layer_norm(x, (6,)),
    "aten.rms_norm.default": lambda x: torch.nn.functional.rms_norm(x, (6,)),
    "aten.amax.default": lambda x: x.amax((1, 2)),
    "aten.pad.default": lambda x: torch.nn.functional.pad(x, (1, 1, 1, 1), mode="circular"),
    "aten.upsample_bilinear2d.vec": lambda x: torch.nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear"),
    "aten.index_put.default": lambda x: x.index_put((torch.tensor([0]),), x[:1]),
    "aten.mish.default": torch.nn.functional.mish,
    "aten.cumsum.default": lambda x: x.cumsum(1),
    "aten.grid_sampler.default": lambda x: torch.nn.functional.grid_sample(x, x[..., :2], align_corners=True),
}  # fmt: skip


@pytest.mark.parametrize("opset_version", [17, 18, 20, 23])
@pytest.mark.parametrize("overload", _A_CALL)
def test_a_rule_emits_no_op_that_the_table_does_not_name(overload: str, opset_version: int) -> None:
    own, further = ROWS[overload].ops(opset_version)
    x = torch.randn(2, 4, 6, 6)
    program = export(_A_CALL[overload], (x,), opset_version=opset_version)
    assert {node.op_type for node in program.model.graph} <= own | further | _SIZES


def _helped(op: Builder, x: Value) -> Value:
    return op.Abs(x)


def _rule(op: Builder, x: Value, is_large: bool) -> Value:
    """Not an op: "Cos"."""
    if op.opset_version >= 20 and is_large:
        return op.Gelu(x)
    y = op.Relu(x) if op.opset_version < 18 else op.reduce("ReduceMax", x, [0])
    return op.transpose(_helped(op, y), [1, 0]) if not op.opset_version >= 22 else y


def test_branches_by_opset_are_followed() -> None:
    def found(version: int) -> set[str]:
        return set(emitted_ops(_in_package(_rule), version))

    assert found(17) == {"Relu", "Transpose"}
    assert found(18) == {"ReduceMax", "Transpose"}
    assert found(20) == {"ReduceMax", "Transpose", "Gelu"}
    assert found(22) == {"ReduceMax", "Gelu"}


def _in_package(function: Any) -> Any:
    """Only functions of the package are followed."""
    function.__module__ = "aten_lowering.rules.test"
    return function


def test_the_command() -> None:
    result = CliRunner().invoke(app, ["ops", "aten.gelu", "--opset", "20"])
    assert result.exit_code == 0
    assert "Gelu" in result.output
    assert "2 overloads" in result.output
    assert CliRunner().invoke(app, ["ops", "--opset", "12"]).exit_code == 1


def test_the_page_is_written_whole(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["ops", "--write", str(tmp_path / "operators.md")])
    assert result.exit_code == 0
    assert (tmp_path / "operators.md").read_text(encoding="utf-8") == DOCS.read_text(encoding="utf-8")
    assert CliRunner().invoke(app, ["ops", "--write", str(tmp_path / "no" / "operators.md")]).exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["operators.md"]
