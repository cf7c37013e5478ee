"""Models in bfloat16, which onnxruntime's CPU provider has few kernels for: right in a float32 shadow of the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from exporter import export

BF16 = torch.bfloat16


class _Picture(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), nn.MaxPool2d(2), nn.Dropout(0.3))
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        maps = F.interpolate(self.body(x), scale_factor=1.5, mode="bilinear")
        scores: Tensor = self.head(maps.mean((2, 3))) * 0.3 + 0.7
        return scores.softmax(-1)


_GROUPS = torch.linspace(-1, 1, 128).view(2, 8, 8).to(BF16)


def _scaled(x: Tensor, scale: Tensor) -> Tensor:
    return F.interpolate(x[None, None], scale_factor=scale.item())


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "constants": lambda x: torch.where(x > 0.25, x * 0.5 - 0.125, -x / 3.0),
    "gelu": F.gelu,
    "softshrink": F.softshrink,
    "full": lambda x: x + torch.full((4,), 0.75, dtype=BF16),
    "fill": lambda x: x.masked_fill(x < 0, -0.375),
    "clamp": lambda x: x.clamp(-0.4, 0.6),
    "einsum": lambda x: torch.einsum("ij,ik,il->jkl", x, x, x),
    "mask": lambda x: x[x > 0],
    "sum": lambda x: (x.sum(1), x.std(0), x.norm(dim=1), x.cumsum(1)),
    "attention": lambda x: F.scaled_dot_product_attention(x[None], x[None], x[None], is_causal=True),
    "groups": lambda x: torch._grouped_mm(x @ torch.ones(4, 8, dtype=BF16), _GROUPS, offs=torch.tensor([1, 3]).int()),
    "slope drawn at random": lambda x: F.rrelu(x, training=True).shape[0] + x,
}
MODULES: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "picture": (_Picture(), (2, 3, 12, 12)),
    "transformer": (nn.TransformerEncoderLayer(8, 2, 16, activation="gelu"), (3, 4, 8)),
    "lstm": (nn.LSTM(4, 5, 2, bidirectional=True), (6, 2, 4)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    torch.manual_seed(0)
    report = export(FUNCTIONS[name], (torch.randn(3, 4).to(BF16),)).validate()
    assert report.passed, str(report)


@pytest.mark.parametrize("name", MODULES)
def test_modules(name: str) -> None:
    torch.manual_seed(0)
    module, shape = MODULES[name]
    report = export(module.eval().to(BF16), (torch.randn(shape).to(BF16),)).validate()
    assert report.passed, str(report)


def test_a_scale_that_an_input_holds() -> None:
    assert export(_scaled, (torch.randn(4, 5).to(BF16), torch.tensor(2.0).to(BF16))).validate().passed


def test_the_culprit_is_found_in_the_shadow() -> None:
    def wrong(op: Any, self: Any) -> Any:
        return op.Mul(self, 0.5)

    program = export(
        lambda x: (x + 1).tanh(), (torch.randn(3, 4).to(BF16),), lowerings={torch.ops.aten.tanh.default: wrong}
    )
    found = program.validate().culprit
    assert found is not None
    assert "aten.tanh" in str(found)
