"""`int()` and `float()` of what is symbolic: they stay symbolic where the module's code allows it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from exporter import ExportError, export
from tests.running import Calling


def _checked(number: Any) -> Any:
    if isinstance(number, float) or not isinstance(number, int):
        raise TypeError(f"must be an integer, got {type(number)}")
    return number


OF_SIZES: dict[str, Callable[[Tensor], Any]] = {
    "int of a product": lambda x: x[:, : int(x.shape[1] * 0.3)],
    "int of a quotient": lambda x: x[:, : int(x.shape[1] / 2)],
    "int of a size": lambda x: x.new_zeros(int(x.shape[1]), 2),
    "int of a power": lambda x: x[:, : max(1, int(x.shape[1] ** 0.5))],
    "int of a logarithm": lambda x: x[:, : int(math.log2(x.shape[1]))],
    "float": lambda x: x * float(x.shape[1]) ** -0.5,
    "mapped": lambda x: x.reshape(*map(int, (x.shape[1], x.shape[0]))),
    "with other uses of the types": lambda x: x[:, : int(x.shape[1] / 2)] * (type(x.shape[0]) == int) * int("2"),  # noqa: E721  # what models ask
    "refused where it is none": lambda x: torch.nn.Unflatten(1, (x.shape[1], 1))(x),
    "asked for by its type": lambda x: x[:, : _checked(x.shape[1]) // 2],
    "with instances": lambda x: x[:, : int(x.shape[1] / 2)] + isinstance(3, int) + issubclass(bool, int),
}


@pytest.mark.parametrize("name", OF_SIZES)
def test_of_a_dynamic_size(name: str) -> None:
    program = export(Calling(OF_SIZES[name]), torch.randn(2, 10), dynamic_shapes=({1: "n"},))
    program.validate(sizes=[{"n": 7}, {"n": 16}, {"n": 65}]).check()
    assert not any(decision.fixed for decision in program.report.decisions)


OF_VALUES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "a mask of lengths": lambda x, lengths: torch.arange(int(lengths.max())) < lengths[:, None],
    "a slice": lambda x, lengths: x[:, : int(lengths.max())],
    "a float": lambda x, lengths: x * float(lengths.max()) + float(x.max()),
    "toward zero": lambda x, lengths: lengths + int(x.min() * 3),
}


def _window(x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """As models with caches of a fixed length do: the end is asked for before the start."""
    start = lengths.max() - 1
    end = start + 2
    return torch.ones(end), x.repeat(1, 3)[:, start:end] + torch.zeros(2, 2)


OF_VALUES["a part from a place on"] = _window


@pytest.mark.parametrize("name", OF_VALUES)
def test_of_a_tensor(name: str) -> None:
    program = export(Calling(OF_VALUES[name]), (torch.randn(2, 5), torch.tensor([3, 5])))
    report = program.validate(
        inputs=[(torch.randn(2, 5), torch.tensor([2, 4])), (torch.randn(2, 5), torch.tensor([1, 1]))]
    )
    report.check()


def _pooled(x: Tensor) -> Tensor:
    """As Funnel Transformer finds the places that are left."""
    places = list(range(x.shape[1] + 2))
    kept = [-1] + places[1:-1][::2] + [9]
    first, last = kept[0] - places[-1], kept[0] + 2 * len(kept)
    return torch.arange(last, first - 1, -1) + sum(list(range(3))) + isinstance([3], list) + len([1, 2])


def _backward(x: Tensor) -> Tensor:
    return x + torch.tensor(list(range(x.shape[1] - 2))[::-1]).sum()


def _reversed(x: Tensor) -> Tensor:
    return x + torch.tensor(list(reversed(list(range(x.shape[1])))), dtype=torch.float32)


def _between(x: Tensor) -> Tensor:
    return x * torch.as_tensor(list(range(3, x.shape[1] + 3)))


def _to_a_place(x: Tensor) -> Tensor:
    return torch.tensor(list(range(x.shape[1]))[5::-1])


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the column of a call is known from Python 3.11 on")
@pytest.mark.parametrize("function", [_pooled, _backward, _reversed, _between])
def test_lists_of_a_dynamic_length(function: Callable[[Tensor], Tensor]) -> None:
    program = export(Calling(function), torch.randn(2, 10), dynamic_shapes=({1: "n"},))
    program.validate(sizes=[{"n": 7}, {"n": 16}, {"n": 65}]).check()
    assert not any(decision.fixed for decision in program.report.decisions)


REPEATED: dict[str, Callable[[Tensor], Any]] = {
    "integers": lambda x: x * torch.tensor([3] * x.shape[1]),
    "floats, the size first": lambda x: x + torch.as_tensor(x.shape[1] * [0.5, 1.5])[::2],
    "sizes": lambda x: x + torch.tensor([x.shape[1], 2] * x.shape[1]).sum(),
    "of the dtype of another": lambda x: x * x.new_tensor([2] * x.shape[1]),
    "with more": lambda x: x.new_zeros(len([1] * x.shape[1] + [2]), 2),
}


@pytest.mark.parametrize("name", REPEATED)
def test_lists_that_repeat_numbers(name: str) -> None:
    program = export(Calling(REPEATED[name]), torch.randn(2, 10), dynamic_shapes=({1: "n"},))
    program.validate(sizes=[{"n": 7}, {"n": 16}, {"n": 65}]).check()
    assert not any(decision.fixed for decision in program.report.decisions)


def test_lists_that_repeat_something_else() -> None:
    def names(x: Tensor) -> Tensor:
        return x + len(["a"] * x.shape[1]) + len([[1]] * 2)

    with pytest.raises(ExportError, match="fixes n == 10"):
        export(Calling(names), torch.randn(2, 10), dynamic_shapes=({1: "n"},))


def test_a_part_of_a_list_that_has_no_formula() -> None:
    with pytest.raises(ExportError, match="fixes n == 10"):
        export(Calling(_to_a_place), torch.randn(2, 10), dynamic_shapes=({1: "n"},))


def test_a_loop_over_it_needs_the_number() -> None:
    with pytest.raises(ExportError, match="needs a number here, which fixes n == 10"):
        export(
            Calling(lambda x: [x[:, i] for i in range(int(x.shape[1]))]), torch.randn(2, 10), dynamic_shapes=({1: "n"},)
        )
