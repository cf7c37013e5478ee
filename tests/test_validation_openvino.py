"""Fallback, partitions and placement on a second provider that runs on a CPU, where it is installed.

pip install --target DIR onnxruntime-openvino openvino
PYTHONPATH=DIR .venv/bin/python -m pytest tests/test_validation_openvino.py
"""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest
import torch
import zoo

from exporter import export

pytestmark = pytest.mark.skipif(
    "OpenVINOExecutionProvider" not in onnxruntime.get_available_providers(),
    reason="needs onnxruntime-openvino, whose wheel replaces onnxruntime",
)


class Broken(torch.nn.Module):
    """Two linear layers, with an operator between them that OpenVINO's provider does not take."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(4, 8), torch.nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x).relu()
        return self.second(hidden * torch.unique(hidden.round()).sum()).softmax(-1)


def test_fallback_partitions_and_copies(tmp_path: Path) -> None:
    torch.manual_seed(0)
    report = export(Broken(), (torch.randn(2, 4),)).validate(providers=["cpu", "openvino"])
    cpu, openvino = report.results
    assert (cpu.verdict, openvino.verdict) == ("passed", "passed")
    assert cpu.placement is not None
    assert cpu.placement.fallback == ()
    placement = openvino.placement
    assert placement is not None
    assert "Unique" in {node.op_type for node in placement.fallback}
    assert placement.partitions == 2
    assert placement.copies >= 2
    assert [stretch.provider for stretch in placement.stretches] == [
        "OpenVINOExecutionProvider", "CPUExecutionProvider", "OpenVINOExecutionProvider",
    ]  # fmt: skip
    page = report.save(tmp_path / "report.html").read_text()
    assert page.count('<div class="own"') == 3
    assert page.count('<div class="cpu"') == 1


@pytest.mark.parametrize("name", ["mnist_cnn", "bert_small", "gpt2_small", "t5_small"])
def test_models(name: str) -> None:
    case = zoo.CASES[name]
    program = export(case.build(), case.inputs(), dynamic_shapes=case.dynamic_shapes)
    (result,) = program.validate(providers=["openvino"]).check().results
    assert result.placement is not None
    assert result.placement.partitions >= 1
    assert len(result.placement.fallback) < len(result.placement.nodes) / 10


def test_a_wrong_model_is_found_there_too() -> None:
    wrong = {torch.ops.aten.relu.default: lambda op, self: op.Abs(self)}
    report = export(Broken(), (torch.randn(2, 4),), lowerings=wrong).validate(providers=["openvino"])
    assert report.results[0].verdict == "differs"
    assert report.culprit is not None
    assert report.culprit.target == "aten.relu.default"
