"""Whose a difference is: a model that magnifies rounding errors is told from a wrong export by eager in float64."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from exporter import export
from exporter.errors import ValidationError

aten = torch.ops.aten


class _Cancels(torch.nn.Module):
    """What is left of two sums that differ in the last bits: rounding errors alone, which are normalized."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.rand(64, 8, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        product = x @ self.weight
        left = product - (x.unsqueeze(-1) * self.weight).sum(1)
        return left / (left.abs().max() + 1e-12)


X = torch.rand(4, 64, generator=torch.Generator().manual_seed(1)) * 100


def test_a_model_that_magnifies_rounding_errors(tmp_path: Path) -> None:
    report = export(_Cancels(), (X,)).validate()
    assert not report.passed
    assert report.ill_conditioned
    assert "the model is ill-conditioned" in str(report)
    assert "eager is" in json.loads(report.to_json())["providers"][0]["runs"][0]["differences"][0]["note"]
    assert "the model is ill-conditioned" in report.save(tmp_path / "report.html").read_text()
    with pytest.raises(ValidationError, match="the model is ill-conditioned"):
        report.check()


def test_a_wrong_rule_is_no_fault_of_the_model() -> None:
    program = export(torch.nn.Linear(64, 4), (X,), lowerings={aten.linear.default: _without_bias})
    report = program.validate()
    assert not report.passed
    assert not report.ill_conditioned
    assert "the exported model is less exact than eager" in report.results[0].message


class _Exceeds(torch.nn.Module):
    """Whether products exceed limits that are one rounding error less."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("limits", torch.nextafter(X * 3, torch.tensor(0.0)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 3 > self.limits


def test_eager_is_right_by_luck_alone() -> None:
    """Eager agrees with float64 at the example, and does not beside it."""
    below = {aten.mul.Tensor: lambda op, self, other: op.Mul(op.Mul(self, other), 1 - 2.0**-22)}
    report = export(_Exceeds(), (X,), lowerings=below).validate()
    assert report.ill_conditioned
    assert "eager at inputs moved by a rounding error is" in report.results[0].message


def _without_bias(op, input, weight, bias=None):
    return op.MatMul(input, op.Transpose(weight, perm=[1, 0]))


def test_the_model_is_as_before() -> None:
    model = _Cancels()
    weight = model.weight.clone()
    export(model, (X,)).validate()
    assert model.weight.dtype == torch.float32
    assert torch.equal(model.weight, weight)
    assert torch.get_default_dtype() == torch.float32


def test_code_that_asks_for_float32_by_name_has_no_note() -> None:
    class Fixed(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ torch.ones(64, 2, dtype=torch.float32)

    rules = {aten.matmul.default: lambda op, self, other: op.Mul(op.MatMul(self, other), 2.0)}
    report = export(Fixed(), (X,), lowerings=rules).validate()
    assert not report.passed
    assert not report.ill_conditioned
    assert "float64" not in str(report)


def test_random_sizes_are_not_compared() -> None:
    class Draws(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[torch.rand(x.shape[0]) > 0.5] + torch.rand(())

    export(Draws(), (torch.rand(40, 3),)).validate().check()


class _Experts(torch.nn.Module):
    """What cancels out, by a matrix for each part of the rows."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.rand(2, 64, 8, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ends = torch.tensor([1, 4], dtype=torch.int32)
        product = torch.nn.functional.grouped_mm(x, self.weight, offs=ends)
        one_by_one = [(x[0].unsqueeze(-1) * self.weight[0]).sum(0)]
        one_by_one += [(row.unsqueeze(-1) * self.weight[1]).sum(0) for row in x[1:]]
        left = product - torch.stack(one_by_one)
        return left / (left.abs().max() + 1e-12)


def test_products_of_experts_in_float64() -> None:
    report = export(_Experts(), (X,)).validate()
    assert report.ill_conditioned
    assert "of what eager gives in float64" in str(report)
