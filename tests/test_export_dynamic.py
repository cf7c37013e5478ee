"""Dynamic dims: how they are spelled, what they are called, and what Python code decided by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.export import Dim

from aten_lowering.equal_sizes import EqualSizes
from exporter import export
from exporter.errors import DynamicShapeError
from exporter.validation.inputs import sizes_to_try
from shape_inference import smaller, symbol
from tests.lowering import ops

X = torch.randn(2, 5)


def shape(program: Any, output: int = 0) -> list[str]:
    return [str(size) for size in program.model.graph.outputs[output].shape]


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ({"x": {0: "batch", 1: "seq"}}, ["batch", "2*seq"]),
        (({0: "batch"},), ["batch", "10"]),
        ("batch", ["batch", "10"]),
        ({"x": {0: Dim("n", min=1, max=64)}}, ["n", "10"]),
        ({"x": {0: Dim.AUTO}}, ["x_dim_0", "10"]),
        ({"x": (Dim.DYNAMIC, None)}, ["x_dim_0", "10"]),
        (None, ["2", "10"]),
    ],
    ids=["names", "tuple", "one name", "Dim", "AUTO", "tuple of axes", "static"],
)
def test_spellings(spelling: Any, expected: list[str]) -> None:
    program = export(lambda x: torch.cat([x, x * 2], 1), (X,), dynamic_shapes=spelling)
    assert shape(program) == expected
    program.validate().check()


class Pair(NamedTuple):
    first: Any
    second: Any


class OfEveryKind(nn.Module):
    def forward(self, pair: Pair, *more: torch.Tensor, mask: torch.Tensor | None = None, **further: Any) -> Any:
        return pair.first + pair.second + sum(more) + further["bias"]


@pytest.mark.parametrize(
    "spelling",
    [
        {"pair": Pair({0: "b"}, {0: "b"}), "more": ({0: "b"}, {0: "b"}), "mask": None, "further": {"bias": {0: "b"}}},
        {"pair": Pair({0: "b"}, {0: "b"}), "more": ({0: "b"}, {0: "b"}), "bias": {0: "b"}},
        {"pair.first": {0: "b"}, "pair.second": {0: "b"}, "more_0": {0: "b"}, "more_1": {0: "b"}, "bias": {0: "b"}},
        {"*": {0: "b"}},
    ],
    ids=["as torch.export's", "without absent ones", "by the inputs' names", "all"],
)
def test_spellings_of_structures(spelling: Any) -> None:
    inputs = (Pair(X, X), X, X)
    program = export(OfEveryKind(), inputs, kwargs={"bias": X}, dynamic_shapes=spelling)
    assert [str(value.shape) for value in program.model.graph.inputs] == ["[b,5]"] * 5
    program.validate().check()


def test_spellings_of_further_positional_arguments() -> None:
    program = export(lambda x, *more: x + sum(more), (X, X, X), dynamic_shapes=({0: "b"}, ({0: "b"}, {0: "b"})))
    assert [str(value.shape) for value in program.model.graph.inputs] == ["[b,5]"] * 3


def test_dims_from_two_examples() -> None:
    program = export(lambda x, y: x + y, [(X, X), (torch.randn(3, 5), torch.randn(3, 5))])
    assert shape(program) == ["x_dim_0", "5"]
    program.validate().check()


def test_a_size_1_example() -> None:
    program = export(lambda x: x + torch.ones(4, 1), (torch.randn(1, 1),), dynamic_shapes={"x": {1: "seq"}})
    assert shape(program) == ["4", "seq"]
    program.validate(sizes=[{"seq": 3}, {"seq": 1}]).check()


def test_formulas_of_derived_dims() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.MaxPool2d(2)).eval()
    program = export(model, (torch.randn(1, 3, 16, 16),), dynamic_shapes={"input": {2: "h", 3: "w"}})
    assert shape(program)[2:] == ["((h - 1)//2 + 1)//2", "((w - 1)//2 + 1)//2"] or all(
        "h" in s or "w" in s for s in shape(program)[2:]
    )
    program.validate().check()


def test_sizes_in_python_arithmetic() -> None:
    def model(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        b, s = x.shape
        positions = torch.arange(s) + s // 2
        return (
            x.view(torch.sym_sum([b * s, b, -b])),
            x.expand(3, b, s)[:, :, : s - 1],
            positions,
            torch.zeros(s, 2 * b),
            x / s**0.5,
        )

    program = export(model, (X,), dynamic_shapes={"x": {0: "b", 1: "s"}})
    program.validate(sizes=[{"b": 1, "s": 2}, {"b": 4, "s": 9}]).check()


def test_no_shape_chain() -> None:
    def heads(x: torch.Tensor) -> torch.Tensor:
        b, s, d = x.shape
        return x.view(b, s, 4, d // 4).transpose(1, 2).reshape(b * 4, s, d // 4)

    program = export(heads, (torch.randn(2, 5, 16),), dynamic_shapes={"x": {0: "b", 1: "s"}})
    assert "Shape" not in ops(program) or ops(program).count("Shape") <= 1
    program.validate().check()


def decides(x: torch.Tensor) -> torch.Tensor:
    if x.shape[1] > 4:
        return x * 2
    return x


def test_a_decision_is_recorded() -> None:
    program = export(decides, (X,), dynamic_shapes={"x": {1: "seq"}})
    (decision,) = program.report.decisions
    line = next(n for n, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "x.shape[1] > 4" in text)
    assert str(decision) == f"seq > 4 (decided at {__file__}:{line}, in decides)"
    report = program.validate().check()
    assert all(run.inputs.startswith(("example", "other values", "seq=")) for run in report.results[0].runs)
    assert not any(run.inputs == "seq=4" for run in report.results[0].runs)


def test_a_decision_is_an_error_when_strict() -> None:
    with pytest.raises(DynamicShapeError) as caught:
        export(decides, (X,), dynamic_shapes={"x": {1: "seq"}}, strict=True)
    assert "holds only where seq > 4" in str(caught.value)
    assert "in decides" in str(caught.value)


def test_freezing() -> None:
    program = export(lambda x: x + 1, (X,), dynamic_shapes={"x": {0: "b", 1: "s"}}, sizes={"b": 7})
    assert shape(program) == ["7", "s"]
    program.validate().check()


def test_sizes_that_values_decide() -> None:
    def model(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        chosen = x[x > 0]
        return chosen, chosen * 2 + chosen.shape[0], x.nonzero(), torch.masked_select(x, x < 0)

    program = export(model, (X,), dynamic_shapes={"x": {0: "b"}})
    assert len({size for output in program.model.graph.outputs for size in map(str, output.shape)}) >= 3
    program.validate().check()


def test_recurrent_layers_with_dynamic_time() -> None:
    model = nn.LSTM(4, 6, num_layers=2, bidirectional=True, batch_first=True).eval()
    program = export(model, (torch.randn(2, 5, 4),), dynamic_shapes={"input": {0: "batch", 1: "time"}})
    assert ops(program).split().count("LSTM") == 2
    program.validate(sizes=[{"batch": 1, "time": 1}, {"batch": 3, "time": 9}]).check()


class _Grid(nn.Module):
    """Positions that are kept from call to call, as detectors keep them, and fit the last size alone."""

    grid = torch.zeros(0, 0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.grid.shape != x.shape[-2:]:
            rows, columns = (torch.arange(size, dtype=x.dtype) for size in x.shape[-2:])
            self.grid = rows[:, None] * 3 + columns
        return x + self.grid


def test_what_a_call_before_has_left_in_the_model() -> None:
    model = _Grid()
    example = torch.randn(1, 5, 7)
    model(example)
    program = export(model, example, dynamic_shapes={"x": {1: "height", 2: "width"}})
    assert program.signature.sizes_of_example() == {"height": 5, "width": 7}
    assert max(max(sizes.values()) for sizes in sizes_to_try(program)) < 20, "sizes to try are near the example's"
    program.validate(sizes=[{"height": 5, "width": 7}, {"height": 5, "width": 9}, {"height": 1, "width": 3}]).check()


class _Table(nn.Module):
    """Positions in patches: a table for one size, computed for any other, as of diffusion transformers."""

    table = torch.arange(4.0).repeat(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count = x.shape[1] // 2
        patches = torch.nn.functional.avg_pool1d(x[:, None], 2)[:, 0]
        return patches + (torch.arange(count, dtype=x.dtype) % 4 if count != 8 else self.table)


def test_a_table_for_what_is_computed_of_the_examples_size() -> None:
    program = export(_Table(), torch.randn(2, 16), dynamic_shapes={"x": {1: "width"}})
    assert [constraint.expression for constraint in program.report.decisions] == ["width // 2 != 8"]
    program.validate(sizes=[{"width": 16}, {"width": 17}, {"width": 7}, {"width": 30}]).check()


def test_what_half_of_the_sizes_do_is_not_what_the_example_does() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return x[:, :-1] if x.shape[1] % 2 != 0 else x + torch.zeros(16)

    with pytest.raises(DynamicShapeError, match="does not work at other sizes"):
        export(model, torch.randn(2, 16), dynamic_shapes={"x": {1: "width"}})


def test_code_that_goes_another_way_at_the_example_is_not_recorded_elsewhere() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        rows = torch.nn.functional.avg_pool2d(x, 2, ceil_mode=True)
        return rows.sum() if rows.shape[-1] > 4 else rows + torch.zeros(4, 4)

    with pytest.raises(DynamicShapeError, match="does not work at other sizes"):
        export(model, torch.randn(1, 8, 8), dynamic_shapes={"x": {1: "height", 2: "width"}})


def test_another_way_at_the_example_alone_is_the_models() -> None:
    """The table of 8 above gives what is computed elsewhere; this gives something else."""

    def model(x: torch.Tensor) -> torch.Tensor:
        return x.reshape(5, -1) if x.shape[0] == 5 else x * 2

    program = export(model, torch.randn(5, 3), dynamic_shapes={"x": {0: "n"}})
    assert [constraint.expression for constraint in program.report.decisions] == ["n == 5"]
    program.validate().check()


def test_formulas_that_differ_at_few_sizes_are_not_taken_for_one() -> None:
    sizes, width, height = EqualSizes(), symbol("width"), symbol("height")
    formulas = [(width + i) // 32 * height for i in range(32)]
    sizes.present(formulas)
    assert [sizes.simplest(formula) for formula in formulas] == formulas
    assert sizes.simplest(smaller(7 * ((height + 24) // 28), height // 4)) == height // 4


def test_what_is_done_at_other_sizes_alone_is_not_the_model() -> None:
    def padded(x: torch.Tensor) -> torch.Tensor:
        if x.shape[1] < 12:
            x = torch.cat([x, x.new_zeros(2, 12 - x.shape[1])], 1)
        return x[:, :12] + 1

    with pytest.raises(DynamicShapeError, match="does not work at other sizes"):
        export(padded, (torch.randn(2, 7),), dynamic_shapes={"x": {1: "n"}})
    export(padded, (torch.randn(2, 17),), dynamic_shapes={"x": {1: "n"}}).validate().check()
