"""`torch.stack([f(x[i]) for i in range(seq)])` by a dynamic size is one loop of the graph."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from exporter import ExportError, export
from tests.running import Calling

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="the column of a call is known from 3.11 on")

X = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(0))
W = torch.randn(4, 4, generator=torch.Generator().manual_seed(1))


def _stacked(x: Tensor) -> Tensor:
    return torch.stack([x[:, i] @ W * i for i in range(x.shape[1])], 1)


def _named(x: Tensor) -> Tensor:
    parts = [x[:, i : i + 2].amax(1, keepdim=True) for i in range(1, x.shape[1], 2)]
    return torch.cat(parts, dim=1) * 2


def _up_to_a_place(x: Tensor) -> Tensor:
    return torch.cat([x[:, : i + 1].sum(1, keepdim=True) for i in range(x.shape[1])], -1)


def _rows(x: Tensor) -> Tensor:
    return torch.cat([torch.tanh(row @ W) for row in x.transpose(0, 1)])


def _unbound(x: Tensor) -> Tensor:
    return torch.stack([part.flip(0) for part in x.unbind(1)], 1)


def _the_same(x: Tensor) -> Tensor:
    return torch.stack([x[0, 0] for _ in range(x.shape[1])])


def _nested(x: Tensor) -> Tensor:
    return torch.stack([torch.stack([row[:, i].sum() * i for i in range(row.shape[1])]) for row in x.permute(1, 2, 0)])


def _paired(x: Tensor) -> Tensor:
    return torch.stack([a @ W - b for a, b in zip(x.unbind(1), x.flip(1).unbind(1), strict=True)], 1)


def _numbered(x: Tensor) -> Tensor:
    rows = [row * i for i, row in enumerate(x.transpose(0, 1), start=2)]
    return torch.stack(rows)


ROLLED = [_stacked, _named, _up_to_a_place, _rows, _unbound, _the_same, _paired, _numbered]


@pytest.mark.parametrize("function", ROLLED)
def test_is_one_loop(function: Callable[[Tensor], Tensor]) -> None:
    program = export(Calling(function), X, dynamic_shapes=({1: "n"},))
    program.validate(sizes=[{"n": 2}, {"n": 3}, {"n": 20}]).check()
    assert sum(node.op_type == "Loop" for node in program.model.graph) == 1
    assert not any(decision.fixed for decision in program.report.decisions)


@pytest.mark.parametrize("size", [1, 5])
def test_of_one_element(size: int) -> None:
    program = export(Calling(_stacked), X, dynamic_shapes=({1: "n"},))
    program.validate(sizes=[{"n": size}]).check()


def test_in_another() -> None:
    program = export(Calling(_nested), X, dynamic_shapes=({0: "m", 1: "n"},))
    program.validate(sizes=[{"m": 5, "n": 2}, {"m": 1, "n": 9}]).check()


def test_modules_are_called() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Sequential(nn.Linear(4, 3), nn.Dropout(), nn.ReLU())

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([self.layer(row) for row in x], dim=0)

    program = export(Model().eval(), X, dynamic_shapes=({0: "batch"},))
    program.validate().check()
    assert not program.report.decisions


def _counted(x: Tensor) -> Tensor:
    parts = [x[:, i].relu() for i in range(x.shape[1])]
    return torch.stack(parts, 1).sum() / len(parts)


def _chosen(x: Tensor) -> Tensor:
    return torch.stack([x[:, i] for i in range(x.shape[1]) if i != 2])


def _of_other_sizes(x: Tensor) -> Tensor:
    return torch.cat([x[:, : i + 1] for i in range(x.shape[1])], 1)


def _writing(x: Tensor) -> Tensor:
    y = x.clone()
    return torch.stack([y[:, i].add_(y.sum()) for i in range(x.shape[1])])


def _kept(x: Tensor) -> Tensor:
    seen: list[Tensor] = []
    made = torch.stack([seen.append(x[:, i] * 2) or x[:, i] for i in range(x.shape[1])])  # type: ignore[func-returns-value]  # it is None
    return made + seen[1]


@pytest.mark.parametrize("function", [_counted, _chosen, _of_other_sizes, _writing, _kept])
def test_what_is_no_loop(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(ExportError, match="n == 7"):
        export(Calling(function), X, dynamic_shapes=({1: "n"},))
    export(Calling(function), X).validate().check()
