"""`for i in range(size)` by a dynamic size is one Loop where its rounds do the same, and an error where they do not."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from exporter import export
from exporter.errors import DynamicShapeError

Model = Callable[[torch.Tensor], Any]


def _appended(x: torch.Tensor) -> Any:
    """The scan of Mamba: what is carried, and what is added to a list."""
    h, rows = torch.zeros_like(x[:, 0]), []
    for i in range(x.shape[1]):
        h = h * 0.5 + x[:, i]
        rows.append(h.tanh())
    return torch.stack(rows, dim=-1), torch.cat(rows, 1), h, h.shape[0] * x


def _written(x: torch.Tensor) -> Any:
    """That of RWKV: rows of a result, several states, one of which is written in place."""
    result, low, seen = torch.zeros_like(x), x[:, 0] - 1e3, torch.zeros_like(x[:, 0])
    view = seen.unsqueeze(1)
    for i in range(x.size(1)):
        row = x[:, i]
        low = torch.maximum(low * 0.9, row)
        seen += row + view[:, 0]
        result[:, i] = torch.exp(row - low) + seen
    return result, low, seen, view


def _from_the_end(x: torch.Tensor) -> Any:
    h, rows = x[:, -1], [x[:, -1]]
    for i in range(x.shape[1] - 2, -1, -1):
        h = torch.sin(h) + x[:, i] * (i + 1)
        rows.append(h)
    return torch.stack(rows, 1).flip(1)


def _in_steps(x: torch.Tensor) -> Any:
    blocks, total = [], torch.zeros(())
    for start in range(0, x.shape[1] - 1, 2):
        block = x[:, start : start + 2]
        total = total + block.sum()
        blocks.append(block * total)
    return torch.cat(blocks, dim=-2)


def _in_structures(x: torch.Tensor) -> Any:
    state: dict[str, Any] = {"h": x[:, 0], "pair": (x[:, 0], x[:, 0] * 2)}
    for i in range(x.shape[1]):
        first, second = state["pair"]
        state["h"] = state["h"] + first * second
        state["pair"] = (second * 0.5, x[:, i])
    return state["h"], state["pair"][0]


def _under_one_name(x: torch.Tensor) -> Any:
    """As MiniMax calls what it gathers and what it makes of that."""
    if x.ndim == 3:
        rows: Any = []
        for i in range(x.shape[1]):
            row = x[:, i : i + 1]
            rows.append(row * row.sum())
    rows = torch.cat(rows, dim=-2)
    row = rows[:, -1]
    return rows.transpose(0, 1), row


def _in_a_loop(x: torch.Tensor) -> Any:
    h = torch.ones(3)
    for factor in (0.5, 0.25):
        for i in range(x.shape[1]):
            h = h * factor + x[0, i]
    return h


def _loop_in_a_loop(x: torch.Tensor) -> Any:
    total, rows = torch.zeros_like(x[:, 0]), []
    for i in range(x.shape[1]):
        for j in range(x.shape[1]):
            total = total * 0.5 + x[:, i] * x[:, j]
        rows.append(total)
    return torch.stack(rows, 1)


def _over_rows(x: torch.Tensor) -> Any:
    h, rows = torch.zeros_like(x[0]), []
    for row in x:
        h = torch.tanh(h + row)
        rows.append(h * 2)
    return torch.stack(rows), h


def _over_parts(x: torch.Tensor) -> Any:
    h, rows = torch.zeros_like(x[:, 0]), []
    for part in x.unbind(1):
        h = torch.tanh(h + part)
        rows.append(h)
    for part in torch.unbind(input=x, dim=1):
        h = h * part
    return torch.stack(rows, dim=1), h


def _chosen_by_values(x: torch.Tensor) -> Any:
    """Rounds whose sizes inside depend on values, as of attention without the padding; each ends as long as x."""
    rows = []
    for i in range(x.shape[0]):
        chosen = torch.nonzero(x[i, :, 0] > 0).flatten()
        some = x[i : i + 1, chosen]
        weights = torch.softmax(some @ some.mT, -1)
        rows.append(torch.nn.functional.pad(weights @ some, (0, 0, 0, x.shape[1] - some.shape[1])))
    return torch.cat(rows)


ROLLED: list[Model] = [
    _chosen_by_values, _over_rows, _over_parts, _appended, _written, _from_the_end, _in_steps, _in_structures, _under_one_name, _in_a_loop, _loop_in_a_loop,
]  # fmt: skip


@pytest.mark.parametrize("model", ROLLED, ids=lambda model: model.__name__.strip("_"))
def test_rounds_that_do_the_same(model: Model) -> None:
    program = export(model, (torch.randn(2, 5, 3),), dynamic_shapes={"x": {0: "batch", 1: "seq"}})
    assert {node.op_type for node in program.model.graph} & {"Loop", "Scan"}
    program.validate().check()
    session = onnxruntime.InferenceSession(program.to_proto().SerializeToString())
    for batch, seq in ((1, 2), (3, 3), (2, 8)):
        x = torch.randn(batch, seq, 3)
        expected = model(x)
        results = session.run(None, {"x": x.numpy()})
        for result, other in zip(results, expected if isinstance(expected, tuple) else (expected,), strict=True):
            np.testing.assert_allclose(result, other.numpy(), rtol=1e-4, atol=1e-5)


def test_of_one_round_alone() -> None:
    program = export(_appended, (torch.randn(2, 1, 3),), dynamic_shapes={"x": {0: "batch", 1: "seq"}})
    program.validate(sizes=[{"batch": 3, "seq": 1}, {"batch": 1, "seq": 4}]).check()


class _Kept(torch.nn.Module):
    """State that no variable of the loop's function holds."""

    def step(self, row: torch.Tensor) -> torch.Tensor:
        self.h = torch.tanh(self.h + row)
        return self.h

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.h, rows = torch.zeros_like(x[:, 0]), []
        for i in range(x.shape[1]):
            rows.append(self.step(x[:, i]))
        return torch.stack(rows, 1)


def _gathered_elsewhere(x: torch.Tensor) -> torch.Tensor:
    holder = types.SimpleNamespace(rows=[])
    for i in range(x.shape[1]):
        holder.rows.append(x[:, i])
    return torch.stack(holder.rows, 1)


def _taken_from_a_list(x: torch.Tensor) -> torch.Tensor:
    rows = []
    for i in range(x.shape[1]):
        rows.append(x[:, i])
    return torch.stack(rows[:-1], 1)


def _given_a_list(x: torch.Tensor) -> torch.Tensor:
    rows: list[torch.Tensor] = []
    _fill(x, rows)
    return torch.stack(rows[::-1], 1)


def _fill(x: torch.Tensor, rows: list[torch.Tensor]) -> None:
    for i in range(x.shape[1]):
        rows.append(x[:, i])


def _growing(x: torch.Tensor) -> torch.Tensor:
    y = x[:, :1]
    for i in range(x.shape[1]):
        y = torch.cat([y, x[:, i : i + 1]], 1)
    return y


def _by_place(x: torch.Tensor) -> torch.Tensor:
    h = x[:, 0]
    for i in range(x.shape[1]):
        h = h + x[:, i] if i % 2 else h * x[:, i]
    return h


def _counting(x: torch.Tensor) -> torch.Tensor:
    h, count = x[:, 0], 0
    for i in range(x.shape[1]):
        h = h * x[:, i]
        count += 2
    return h + count


def _leaving(x: torch.Tensor) -> torch.Tensor:
    h = x[:, 0]
    for i in range(x.shape[1]):
        h = h * x[:, i]
        if i == 3:
            break
    return h


OTHERS: list[Model] = [
    _Kept(),
    _gathered_elsewhere,
    _taken_from_a_list,
    _given_a_list,
    _growing,
    _by_place,
    _counting,
    _leaving,
]


@pytest.mark.parametrize("model", OTHERS, ids=lambda model: getattr(model, "__name__", type(model).__name__).strip("_"))
def test_rounds_that_do_not(model: Model) -> None:
    x = torch.randn(2, 5, 3)
    with pytest.raises(DynamicShapeError):
        export(model, (x,), dynamic_shapes={"x": {1: "seq"}})
    export(model, (x,)).validate().check()


def test_the_last_of_the_parts_is_that_at_every_size() -> None:
    program = export(lambda x: x.unbind(0)[-1] + x.unbind(0)[0], (torch.randn(3, 4),), dynamic_shapes={"x": {0: "n"}})
    program.validate(sizes=[{"n": 1}, {"n": 6}]).check()


def _counted(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    state, states = torch.zeros(4), []
    for i, row in enumerate(x, start=2):
        state = torch.tanh(state + row * i)
        states.append(state)
    return torch.stack(states), state


def _paired(x: torch.Tensor) -> torch.Tensor:
    total = x[0]
    for a, b in zip(x.unbind(0), x.flip(0), strict=True):
        total = total * 0.5 + a * b
    return total


def _numbered_parts(x: torch.Tensor) -> torch.Tensor:
    total = torch.zeros(())
    for place, part in enumerate(x.unbind(0)):
        total = total + part.sum() / (place + 1)
    return total


def _backwards(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    state, states = x[0] * 0, []
    for i in reversed(range(x.shape[0])):
        state = state * 0.5 + x[i] * i
        states.append(state)
    return torch.stack(states), state


@pytest.mark.parametrize("function", [_counted, _paired, _numbered_parts, _backwards])
def test_rows_with_their_places_and_with_each_other(function: Callable[..., Any]) -> None:
    program = export(function, (torch.randn(3, 4),), dynamic_shapes={"x": {0: "n"}})
    assert program.report.decisions == []
    program.validate(sizes=[{"n": 2}, {"n": 7}]).check()


def _rows_of_an_expression(x: torch.Tensor) -> torch.Tensor:
    state = x[0] * 0
    for row in x.unsqueeze(1).transpose(0, 1)[0]:
        state = state * 0.5 + row
    for row in reversed(x):
        state = state * 0.5 - row
    return state


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the column of an iteration is known from 3.11 on")
def test_rows_of_an_expression() -> None:
    program = export(_rows_of_an_expression, (torch.randn(3, 4),), dynamic_shapes={"x": {0: "n"}})
    assert program.report.decisions == []
    program.validate(sizes=[{"n": 2}, {"n": 7}]).check()


def _a_list_of_rows(x: torch.Tensor) -> torch.Tensor:
    state = x[0]
    for row in list(x):
        state = state * 0.5 + row
    return state


def _sorted_places(x: torch.Tensor) -> torch.Tensor:
    state = x[0]
    for i in sorted(range(x.shape[0]), key=lambda place: -place):
        state = state * 0.5 + x[i]
    return state


@pytest.mark.parametrize("function", [_a_list_of_rows, _sorted_places])
def test_what_calls_make_of_rows_is_no_loop(function: Callable[..., Any]) -> None:
    with pytest.raises(DynamicShapeError):
        export(function, (torch.randn(3, 4),), dynamic_shapes={"x": {0: "n"}})
    export(function, (torch.randn(3, 4),)).validate().check()
