"""Integers that `dynamic_shapes` leaves open: inputs of the ONNX model, sizes and numbers for the model's code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.export import Dim

from exporter import Program, export
from exporter.errors import FixedDimWarning, InputError
from tests.running import Calling

X = torch.randn(6, 4)
OPEN = {"x": {0: "batch"}, "n": Dim.DYNAMIC}


class Takes(torch.nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor, n: int) -> Any:
        return self.function(x, n)


def described(program: Program) -> tuple[list[str], list[str]]:
    graph = program.model.graph
    return [f"{i.name} {i.dtype} {i.shape}" for i in graph.inputs], [str(o.shape) for o in graph.outputs]


def loop(x: torch.Tensor, n: int) -> torch.Tensor:
    for i in range(n):
        x = x * 2 + i
    return x


CASES: dict[str, tuple[Callable[..., Any], list[str]]] = {
    "a factor": (lambda x, n: x * n, ["[batch,4]"]),
    "a bound": (lambda x, n: x[:n], ["[min(batch, n),4]"]),
    "a size": (lambda x, n: torch.zeros(n, x.shape[0]), ["[n,batch]"]),
    "a range": (lambda x, n: torch.arange(n), ["[n]"]),
    "repeats": (lambda x, n: x.repeat(n, 1).view(n, -1, 4), ["[n,batch,4]"]),
    "a padding": (lambda x, n: F.pad(x, (0, n)), ["[batch,n + 4]"]),
    "an image": (lambda x, n: F.interpolate(x[None, None], size=(n, n)), ["[1,1,n,n]"]),
    "a place": (lambda x, n: x[n], ["[4]"]),
    "k": (lambda x, n: torch.topk(x.flatten(), n)[0], ["[n]"]),
    "an exponent": (lambda x, n: x**n, ["[batch,4]"]),
    "results": (lambda x, n: (n * 2, n / 2, n // 2), ["[]", "[]", "[]"]),
    "a loop": (loop, ["[batch,4]"]),
}


@pytest.mark.parametrize(("function", "shapes"), CASES.values(), ids=CASES.keys())
def test_open_integers(function: Callable[..., Any], shapes: list[str]) -> None:
    program = export(Takes(function), (X, 3), dynamic_shapes=OPEN)
    assert described(program) == (["x FLOAT [batch,4]", "n INT64 []"], shapes)
    report = program.validate(inputs=[(X, 5), (torch.randn(9, 4), 1)])
    report.check()
    assert len(report.results[0].runs) == 6


@pytest.mark.parametrize("capture", ["symbolic_trace", "export"])
def test_other_front_ends(capture: str) -> None:
    program = export(Takes(CASES["a bound"][0]), (X, 3), dynamic_shapes=OPEN, capture=capture)
    assert described(program)[1] == ["[min(batch, n),4]"]
    program.validate().check()


def test_an_exported_program_has_its_own() -> None:
    open_ = {"x": {0: Dim("b")}, "n": Dim.DYNAMIC}
    given = torch.export.export(Takes(lambda x, n: x[:2] * n), (X, 3), dynamic_shapes=open_)
    program = export(given)
    assert len(program.model.graph.inputs) == 2
    program.validate(inputs=[(X, 7)]).check()


def test_one_name_for_an_integer_and_a_dim() -> None:
    program = export(Takes(lambda x, n: x.view(n, -1)), (X, 6), dynamic_shapes={"x": {0: "rows"}, "n": "rows"})
    assert described(program)[1] == ["[rows,4]"]
    program.validate().check()


def test_several_examples_tell_them() -> None:
    program = export(Takes(lambda x, n: x[:n] * n), [(X, 3), (torch.randn(8, 4), 5)])
    assert described(program)[1] == ["[min(n, x_dim_0),4]"]
    program.validate().check()


def test_a_decision_by_one_is_reported() -> None:
    program = export(Takes(lambda x, n: x * 2 if n > 2 else x), (X, 3), dynamic_shapes=OPEN)
    assert [str(decision.expression) for decision in program.report.decisions] == ["n > 2"]


def test_one_that_the_model_fixes_is_a_constant_and_a_warning_says_so() -> None:
    with pytest.warns(FixedDimWarning, match="dynamic dim n: is fixed at 1"):
        program = export(Takes(lambda x, n: x.sum(n)), (X, 1), dynamic_shapes=OPEN)
    assert described(program) == (["x FLOAT [batch,4]"], ["[batch]"])
    program.validate().check()


def test_sizes_fix_one(tmp_path: Path) -> None:
    program = export(Takes(lambda x, n: x * n), (X, 3), dynamic_shapes=OPEN, sizes={"n": 4})
    assert described(program)[0] == ["x FLOAT [batch,4]"]
    program.validate().check()


@pytest.mark.parametrize("number", [0.5, -1, True], ids=str)
def test_no_other_constant_is_left_open(number: Any) -> None:
    with pytest.raises(InputError, match="n must be a tensor or an integer from 0 on to be open") as error:
        export(Takes(lambda x, n: x * n), (X, number), dynamic_shapes=OPEN)
    assert error.value.hint == f"give torch.tensor({number!r}) instead"
    assert export(Calling(lambda x, n: x * n), (X, number), dynamic_shapes=({0: Dim.AUTO}, Dim.AUTO))
