"""Activations."""

from __future__ import annotations

import torch

from tests.lowering import Case, cases, check


def _x() -> list[torch.Tensor]:
    return [torch.randn(3, 4)]


CASES = [
    Case("relu", torch.relu, _x, ops="Relu"),
    Case("sigmoid", torch.sigmoid, _x, ops="Sigmoid"),
    Case("tanh", torch.tanh, _x, ops="Tanh"),
]


@cases(*CASES)
def test_static(case: Case) -> None:
    check(case)


@cases(*CASES)
def test_dynamic(case: Case) -> None:
    check(case, dynamic=True)
