"""Dims that the model fixes: an error for a named one, static and said for one without a name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.export import Dim

from exporter import Program, export
from exporter.errors import CaptureError, DataDependentError, DynamicShapeError, FixedDimWarning, LoweringError

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


def _heads(x: Tensor) -> Tensor:
    return x * torch.arange(6.0)


def _rows(x: Tensor) -> Tensor:
    return torch.stack([*{i: row * i for i, row in enumerate(x)}.values()])


def _shapes(program: Program) -> list[str]:
    return [str(value.shape) for value in program.model.graph.inputs]


@pytest.mark.parametrize("kind", [Dim.AUTO, Dim.DYNAMIC])
@pytest.mark.parametrize(
    ("function", "inputs", "shapes", "decisions"),
    [
        (_rows, (X,), ["[4,x_dim_1]"], ["x_dim_0 == 4"]),
        (lambda x: x + torch.ones(4, 1), (X,), ["[4,x_dim_1]"], ["x_dim_0 == 4"]),
        (lambda x: x.view(4, -1, 2), (X,), ["[x_dim_0,x_dim_1]"], []),
        (lambda x: x.view(8, 3), (X,), ["[4,6]"], ["x_dim_0 == 4", "x_dim_1 == 6"]),
        (torch.nn.Linear(6, 2), (X,), ["[input_dim_0,6]"], ["input_dim_1 == 6"]),
        (lambda x, y: x @ y.T + 1, (X, X[:3]), ["[x_dim_0,x_dim_1]", "[y_dim_0,x_dim_1]"], []),
    ],
    ids=["rows", "sum", "view", "whole shape", "weights", "no dim"],
)
def test_dims_without_a_name_become_static(
    kind: Any, function: Callable[..., Any], inputs: tuple[Tensor, ...], shapes: list[str], decisions: list[str]
) -> None:
    spec = tuple({0: kind, 1: kind} for _ in inputs)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FixedDimWarning)
        program = export(function, inputs, dynamic_shapes=spec)
    assert _shapes(program) == shapes
    fixed = [decision for decision in program.report.decisions if decision.fixed]
    assert sorted(decision.expression for decision in fixed) == decisions
    warned = sorted(str(w.message) for w in caught if w.category is FixedDimWarning)
    assert len(warned) == len(decisions)
    for text, decision in zip(warned, decisions, strict=True):
        name, _, size = decision.partition(" == ")
        assert text.startswith(f"dynamic dim {name}: is fixed at {size}")
    assert program.validate().passed


def test_the_line_that_fixes_a_dim_is_said() -> None:
    with pytest.warns(
        FixedDimWarning, match=r"dynamic dim x_dim_0: is fixed at 4 by .*test_export_fixed_dims.py:\d+, in _rows"
    ):
        program = export(_rows, (X,), dynamic_shapes={"x": {0: Dim.AUTO}})
    assert "test_export_fixed_dims.py" in program.report.decisions[0].source


@pytest.mark.parametrize("function", [_rows, lambda x: x.view(8, 3)], ids=["rows", "view"])
@pytest.mark.parametrize("dim", ["batch", Dim("batch")], ids=["text", "Dim"])
def test_a_named_dim_is_never_fixed(function: Callable[..., Any], dim: Any) -> None:
    with pytest.raises(DynamicShapeError, match="batch") as caught:
        export(function, (X,), dynamic_shapes={"x": {0: dim}})
    assert "test_export_fixed_dims.py" in caught.value.source


def test_a_named_dim_stays_beside_one_that_is_fixed() -> None:
    with pytest.warns(FixedDimWarning):
        program = export(_heads, (X,), dynamic_shapes={"x": {0: "batch", 1: Dim.AUTO}})
    assert _shapes(program) == ["[batch,6]"]


def test_a_dim_that_the_user_allows_to_be_fixed_is_said_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", FixedDimWarning)
        program = export(_rows, (X,), dynamic_shapes={"x": {0: "batch"}}, allow_fixed=True)
    assert [d.expression for d in program.report.decisions] == ["batch == 4"]


def test_strict_takes_no_fixed_dim() -> None:
    with pytest.warns(FixedDimWarning), pytest.raises(DynamicShapeError, match=r"strict.* x_dim_0 == 4"):
        export(_rows, (X,), dynamic_shapes={"x": {0: Dim.AUTO}}, strict=True)


def test_one_tensor_written_into_a_larger_one_stays_dynamic() -> None:
    program = export(
        lambda x, index, y: x.scatter_add(0, index, y),
        (torch.zeros(10, 5), torch.zeros(5, 5, dtype=torch.int64), torch.ones(5, 5)),
        dynamic_shapes=tuple({0: Dim.DYNAMIC, 1: Dim.DYNAMIC} for _ in range(3)),
    )
    assert not [decision for decision in program.report.decisions if decision.fixed]
    assert program.validate().passed


def test_the_first_front_end_says_what_is_wrong() -> None:
    """Later ones fail in other ways, of which the user need not know."""

    def model(x: Tensor) -> Tensor:
        return torch.as_strided(x.T, (2, 2), (1, 2))

    with pytest.raises(CaptureError, match="as_strided: the memory that it looks at must be contiguous") as caught:
        export(lambda x: model(x.T.contiguous().T), (torch.randn(4, 4).T,))
    assert not isinstance(caught.value, DataDependentError)


# Sizes that depend on values.


def _mean_of_positive(x: Tensor) -> Tensor:
    places = (x > 0).nonzero()
    if places.shape[0] == 0:
        return x.sum()
    return x[places[:, 0], places[:, 1]].mean()


def test_code_for_no_elements_is_left_out_and_said() -> None:
    program = export(_mean_of_positive, (X,))
    (decision,) = program.report.decisions
    assert decision.expression.endswith("!= 0")
    assert "in _mean_of_positive" in decision.source
    with pytest.raises(DynamicShapeError, match="strict"):
        export(_mean_of_positive, (X,), strict=True)


def test_a_decision_on_a_size_that_depends_on_values_asks_for_cond() -> None:
    def model(x: Tensor) -> Tensor:
        places = (x > 0).nonzero()
        return x.sum() if places.shape[0] > 3 else x

    with pytest.raises(DataDependentError, match=r"torch\.cond") as caught:
        export(model, (X,))
    assert "test_export_fixed_dims.py" in caught.value.source


def test_checks_of_torch_itself_are_no_decisions_of_the_user() -> None:
    program = export(lambda x: torch.nn.functional.normalize(x[x[:, 0] > -9], dim=1), (X,))
    assert program.report.decisions == []


# Truths about values.


def test_equal_and_allclose_are_values_of_the_graph() -> None:
    def model(x: Tensor, y: Tensor) -> tuple[bool, bool, bool]:
        return torch.equal(x, y), x.allclose(y, atol=0.5), torch.equal(x, y[:2])

    program = export(model, (X, X + 0.1))
    assert program.validate().passed
    outputs = [value.name for value in program.model.graph.outputs]
    assert len(outputs) == 3


def test_a_branch_by_equal_goes_both_ways() -> None:
    program = export(lambda x: x + 1 if torch.equal(x, 2 * x) else x, (X,))
    assert program.validate(inputs=[(torch.zeros_like(X),)]).passed


# Decompositions.


def test_a_decomposition_for_one_size_alone_is_refused() -> None:
    library = torch.library.Library("fx2onnx_fixed", "FRAGMENT")
    library.define("rows(Tensor x) -> Tensor")
    library.impl("rows", lambda x: torch.stack([x[i] for i in range(int(x.shape[0]))]), "CompositeImplicitAutograd")

    def model(x: Tensor) -> Tensor:
        return torch.ops.fx2onnx_fixed.rows(x)

    example = torch.randn(10, 5)
    with pytest.raises(LoweringError, match="needs a number for a size that is open, 10 in the example") as caught:
        export(model, (example,), dynamic_shapes={"x": {0: "batch"}})
    assert "fx2onnx_fixed.rows.default" in str(caught.value)
    assert "in model" in caught.value.source
    assert export(model, (example,)).validate().passed
