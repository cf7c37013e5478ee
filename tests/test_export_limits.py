"""Constants that cut sizes off beyond all samples: right at both sides of them, or a constraint that says where."""

from __future__ import annotations

import math
from collections.abc import Callable

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from exporter import export

Function = Callable[[Tensor], Tensor]
SIZES = (1, 2, 3, 5, 8, 16, 511, 512, 513, 600, 1100)


def _each(x: Tensor) -> Tensor:
    return torch.stack([x[:, i] for i in range(x.shape[1])])


EVERYWHERE: dict[str, Function] = {
    "slice to": lambda x: x[:, :512] * 2,
    "slice of the last": lambda x: x[:, -512:] * 2,
    "slice to a minimum": lambda x: x[:, : min(x.shape[1], 512)] * 2,
    "slice from a maximum": lambda x: x[:, max(0, x.shape[1] - 512) :] * 2,
    "slice to a remainder": lambda x: x[:, : x.shape[1] % 1000],
    "slice between": lambda x: x[:, : max(1, min(x.shape[1] - 1, 100))],
    "narrow": lambda x: x.narrow(1, 0, min(x.shape[1], 512)) * 2,
    "two slices": lambda x: x[:, : min(x.shape[1], 512)] + x[:, : min(x.shape[1], 512)].flip(1),
    "slice, then its size": lambda x: x[:, :512].reshape(x.shape[0], -1) + 1,
    "slice of a copy": lambda x: x.clone()[:, :512].contiguous(),
    "pad to": lambda x: nn.functional.pad(x, (0, max(x.shape[1], 5) - x.shape[1])),
    "data-dependent": lambda x: x[x > 0][: min(500, x[x > 0].shape[0])] * 2,
    "the first": lambda x: x[:, :5] * 2,
    "the last": lambda x: x[:, -5:] * 2,
    "the first, viewed": lambda x: (x[:, :5] * 2).unsqueeze(2).expand(-1, -1, 3).reshape(x.shape[0], -1),
    "beyond the end": lambda x: x[:, 900:].sum(1),
    "top of a minimum": lambda x: x.topk(min(5, x.shape[1]), 1)[0] + 1,
    "as many as a minimum": lambda x: x.amax() + torch.arange(2 * min(5, x.shape[1])),
    "as many as there are of a minimum": lambda x: x.amax() + torch.ones(torch.arange(2 * min(5, x.shape[1])).shape[0]),
}
CONSTRAINED: dict[str, tuple[Function, str]] = {
    "split": (lambda x: x.split(512, 1)[0] * 2, "s <= 512"),
    "chunk": (lambda x: torch.cat(x.chunk(3, 1)[::-1], 1), "s > 2*((s + 2) // 3)"),
    "unbind of the first": (lambda x: torch.stack(x[:, :5].unbind(1)), "min(s, 5) > 4"),
    "loop over the first": (lambda x: _each(x[:, :5]), "min(s, 5) > 4"),
    "equal to a number": (lambda x: x * 2 if x.shape[1] == 512 else x, "s != 512"),
    "one": (lambda x: x * 2 if x.shape[1] == 1 else x, "s != 1"),
    "one of": (lambda x: x * 2 if x.shape[1] in (511, 600) else x, "s != 511"),
    "equal sizes": (lambda x: x * 2 if x.shape[1] == x.shape[0] else x, "s != b"),
    "a remainder": (lambda x: x * 2 if x.shape[1] % 1000 == x.shape[1] else x, "s % 1000 == s"),
}


class _Model(nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def _check(function: Function, expected: str | None) -> None:
    program = export(_Model(function), (torch.randn(2, 8),), dynamic_shapes={"x": {0: "b", 1: "s"}})
    decisions = program.report.decisions
    assert [decision.expression for decision in decisions][:1] == ([] if expected is None else [expected])
    session = onnxruntime.InferenceSession(program.to_proto().SerializeToString())
    tried = [n for n in SIZES if all(decision.admits({"b": 2, "s": n}) for decision in decisions)]
    assert len(tried) >= 3
    for size in tried:
        x = torch.randn(2, size)
        (result,) = session.run(None, {"x": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(result), function(x), msg=lambda m, size=size: f"{size}: {m}")


@pytest.mark.parametrize("name", EVERYWHERE)
def test_right_at_every_size(name: str) -> None:
    _check(EVERYWHERE[name], None)


@pytest.mark.parametrize("name", CONSTRAINED)
def test_constraint(name: str) -> None:
    function, expected = CONSTRAINED[name]
    _check(function, expected)


BY_VALUE: dict[str, Function] = {
    "at most": lambda n: torch.arange(min(n.item(), 100)),
    "at least": lambda n: torch.arange(max(n.item(), 100)) + 1,
    "remainder": lambda n: torch.arange(n.item() % 2),
    "quotient": lambda n: torch.arange(n.item() // 100) + 1,
    "rounded": lambda n: torch.arange(math.ceil(n.item() / 100)),
    "clamped": lambda n: torch.arange(n.clamp(max=2).item()),
    "slice from a minimum": lambda n: torch.arange(20)[min(n.item(), 2) :],
    "slice from a remainder": lambda n: torch.arange(20)[n.item() % 2 :],
    "size of what was made": lambda n: torch.ones(torch.arange(min(n.item(), 100)).shape[0]),
    "expanded": lambda n: torch.ones(1).expand(n.item() // 100 + 1),
    "from one to another": lambda n: torch.arange(n.item() - 2, (2 * n).item(), 3),
    "down": lambda n: torch.arange((2 * n).item(), n.item(), -1),
    "one-hot": lambda n: nn.functional.one_hot(n, n.item() + 1),
    "greatest": lambda n: torch.arange(300).topk(n.item())[0],
}


@pytest.mark.parametrize("name", BY_VALUE)
@pytest.mark.parametrize("example", [3, 150])
def test_right_at_every_value(name: str, example: int) -> None:
    """A number that an input holds is one number among others."""
    program = export(_Model(BY_VALUE[name]), (torch.tensor(example),))
    assert not program.report.decisions
    session = onnxruntime.InferenceSession(program.to_proto().SerializeToString())
    (size,) = program.model.graph.outputs[0].shape or ()
    assert type(size) is not int
    for number in (2, 3, 4, 16, 99, 100, 101, 200, 250):
        n = torch.tensor(number)
        (result,) = session.run(None, {"x": n.numpy()})
        torch.testing.assert_close(torch.from_numpy(result), BY_VALUE[name](n), msg=lambda m, n=n: f"{n}: {m}")


def test_a_value_that_only_some_calls_take_is_fixed() -> None:
    """The rows of a view: what stands for a number nobody knows does not divide the elements."""

    def model(x: Tensor, n: Tensor) -> Tensor:
        return x.view(n.item(), -1) + 1

    program = export(model, (torch.randn(6, 4), torch.tensor(2)))
    assert [decision.expression for decision in program.report.decisions] == ["n == 2"]
    program.validate().check()


def test_cut_off_of_a_float() -> None:
    """The rounds of a scripted loop, by a sum of floats."""

    def model(x: Tensor) -> Tensor:
        for i in range(int(x.sum())):
            x = x + i
        return x

    program = export(torch.jit.script(model), (torch.ones(3),))
    session = onnxruntime.InferenceSession(program.to_proto().SerializeToString())
    for value in (0.0, 0.5, 1.0, 2.0):
        x = torch.full((3,), value)
        (result,) = session.run(None, {"x": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(result), model(x))


def test_many_counts_stay_dynamic() -> None:
    """As in detectors: `min(300, n)` of the boxes of each of ninety classes."""

    class Boxes(nn.Module):
        def forward(self, scores: Tensor) -> Tensor:
            kept = [row[row > 0.5] for row in scores]
            return torch.cat([row.topk(min(300, row.shape[0]))[0] for row in kept])

    program = export(Boxes(), (torch.rand(90, 8),))
    session = onnxruntime.InferenceSession(program.to_proto().SerializeToString())
    scores = torch.rand(90, 8)
    (result,) = session.run(None, {"scores": scores.numpy()})
    torch.testing.assert_close(torch.from_numpy(result), Boxes()(scores))
    assert not any(type(size) is int for size in program.model.graph.outputs[0].shape or ())
