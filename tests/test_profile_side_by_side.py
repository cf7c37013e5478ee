"""The page that shows torch.onnx's exporters beside ours: each one's calls by phase, module and op."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parent.parent / "profiling"))

import flame_graph
import their_spans


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.LayerNorm(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(x)


@pytest.fixture(scope="module")
def charts() -> dict[str, Any]:
    model = Net().eval()
    found = flame_graph.side_by_side(model, lambda: (torch.randn(2, 4),), warm_up=False)
    return {chart.title: chart for chart in found}


def paths(frame: Any, above: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    path = (*above, frame.name)
    return {path}.union(*(paths(child, path) for child in frame.children))


def phases(chart: Any) -> set[str]:
    return {frame.name for frame in chart.root.walk() if frame.kind == "phase"}


def inside(chart: Any, phase: str, *names: str) -> bool:
    """Whether a call lies in others, from the outside in, others between them aside."""
    for path in paths(chart.root):
        rest = iter(path)
        if path[-1] == names[-1] and all(name in rest for name in (phase, *names)):
            return True
    return False


def test_the_three_are_there(charts) -> None:
    assert list(charts) == ["fx2onnx", "torch.onnx.export(dynamo=True)", "torch.onnx.export(dynamo=False)"]


def test_ours(charts) -> None:
    for phase in ("capture", "translation"):
        assert inside(charts["fx2onnx"], phase, "blocks.1", "aten.layer_norm.default"), phase


def test_the_current_exporter(charts) -> None:
    chart = charts["torch.onnx.export(dynamo=True)"]
    assert {"capture", "decomposition", "translation", "optimization", "serialization", "writing"} <= phases(chart)
    for phase in ("capture", "decomposition", "translation"):
        assert inside(chart, phase, "blocks.1", "aten.layer_norm.default"), phase


def test_the_former_exporter(charts) -> None:
    chart = charts["torch.onnx.export(dynamo=False)"]
    assert {"capture", "translation", "optimization", "serialization", "writing"} <= phases(chart)
    assert inside(chart, "capture", "blocks", "blocks.1")
    assert inside(chart, "translation", "blocks.1", "aten::layer_norm")


def test_nothing_stays_replaced(charts) -> None:
    import onnx
    from torch.onnx._internal.exporter import _core

    assert onnx.save.__module__.startswith("onnx")
    assert _core._exported_program_to_onnx_program.__module__ == _core.__name__
    assert torch.nn.Module.__call__.__module__.startswith("torch")
    assert not [name for name in dir(torch._C) if hasattr(getattr(torch._C, name), "__wrapped__")]


def test_dynamic_dims_leave_the_former_exporter_out() -> None:
    found = flame_graph.side_by_side(
        Net().eval(), lambda: (torch.randn(2, 4),), {"x": {0: "batch"}}, warm_up=False
    )  # fmt: skip
    assert [chart.title for chart in found] == ["fx2onnx", "torch.onnx.export(dynamo=True)"]


def test_a_model_that_fails_raises_and_replaces_nothing() -> None:
    class Broken(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("broken")

    with pytest.raises(Exception, match="broken"):
        their_spans.torchscript_chart(Broken(), (torch.randn(2),))
    assert torch.nn.Module.__call__.__module__.startswith("torch")
