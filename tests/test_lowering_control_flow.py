"""torch.cond, while_loop, scan, map and associative_scan, and models that nest them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._higher_order_ops import associative_scan, map, scan, while_loop

from exporter import export
from exporter.errors import CaptureError, ExportError
from tests.lowering import Case, both_ways, compare, ops, session_of


def _x(*shape: int) -> Callable[[], list[torch.Tensor]]:
    return lambda: [torch.randn(shape)]


class Branches(torch.nn.Module):
    """A branch with weights, and a tensor from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outside = x * 3
        result = torch.cond(
            x.sum() > 0,
            lambda a: self.first(a) * self.scale + outside[:, :3],
            lambda a: self.second(a) - a.shape[0],
            (x,),
        )
        return self.first(x) + result * self.scale


def _either_of_sizes(x: torch.Tensor) -> torch.Tensor:
    return torch.cond(x.shape[0] > 3, lambda a: a + 1, lambda a: a - 1, (x,))


def _nested(x: torch.Tensor) -> torch.Tensor:
    def positive(a: torch.Tensor) -> torch.Tensor:
        double = a * 2
        return torch.cond(a[0, 0] > 1, lambda b: b + double, lambda b: (b - x) * a, (a,))

    return torch.cond(x.sum() > 0, positive, lambda a: a.sin(), (x,))


def _several(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    result = torch.cond(x.mean() > 0, lambda a: {"s": a.sum(), "a": a}, lambda a: {"s": a.max(), "a": -a}, (x,))
    return result["s"], result["a"]


def _counted(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return while_loop(lambda i, a: i < 4, lambda i, a: (i + 1, a * 1.5 + i), (torch.tensor(0), x))


def _by_number(x: torch.Tensor) -> tuple[Any, torch.Tensor]:
    count, result = while_loop(lambda i, a: i < a.shape[0], lambda i, a: (i + 1, a + i), (0, x))
    return result * count


def _until(x: torch.Tensor) -> torch.Tensor:
    """A loop that may not run at all, over a tensor from outside."""
    step = x.abs().mean() + 0.5
    return while_loop(lambda a: a.sum() < 20, lambda a: (a + step,), (x,))[0]


def _loop_of_branches(x: torch.Tensor) -> torch.Tensor:
    def body(i: torch.Tensor, a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return i + 1, torch.cond(a.sum() > 1, lambda b: b * 0.5, lambda b: b + i.to(b.dtype), (a,))

    return while_loop(lambda i, a: i < 6, body, (torch.tensor(0), x))[1]


def _cumulated(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    weight = x.mean()
    return scan(lambda c, row: (c + row * weight, c * 2), torch.zeros_like(x[0]), x)


def _recurrent(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Backward, along another dim, with two values that are carried."""

    def step(carried: dict[str, torch.Tensor], row: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        h = torch.tanh(carried["h"] + row)
        return {"h": h, "n": carried["n"] + 1}, h * carried["n"]

    last, rows = scan(step, {"h": torch.zeros_like(x[:, 0]), "n": torch.zeros(())}, x, dim=1, reverse=True)
    return last["h"] + last["n"], rows


def _mapped(x: torch.Tensor) -> torch.Tensor:
    total = x.sum()
    return map(lambda row, k: (row @ k) * total, x, torch.ones(4, 2))


def _combined(x: torch.Tensor) -> torch.Tensor:
    return associative_scan(torch.add, x, dim=0, combine_mode="generic")


def _combined_inside(x: torch.Tensor) -> torch.Tensor:
    """The operator itself, which its Python function gives to a GPU alone: h_t = a_t h_(t-1) + x_t."""

    def combine(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor) -> list[torch.Tensor]:
        return [a * c, b * c + d]

    return torch.ops.higher_order.associative_scan(combine, [x.sigmoid(), x], ())[1]


def _mapped_branches(x: torch.Tensor) -> torch.Tensor:
    return map(lambda row: torch.cond(row.sum() > 0, lambda r: r * 2, lambda r: r.cos(), (row,)), x)


def _checkpointed(x: torch.Tensor) -> torch.Tensor:
    return torch.ops.higher_order.wrap(lambda a: a * 2, x)


CASES = [
    Case("cond", Branches().requires_grad_(False), _x(2, 4), fixed=(1,)),
    Case("cond ops", lambda x: torch.cond(x.sum() > 0, torch.sin, torch.cos, (x,)), _x(2, 3),
         ops="ReduceSum Greater If"),
    Case("cond of sizes", _either_of_sizes, _x(3, 2)),
    Case("cond nested", _nested, _x(2, 3)),
    Case("cond of several", _several, _x(2, 3)),
    Case("cond of a constant", lambda x: torch.cond(True, torch.sin, torch.cos, (x,)), _x(2, 3), ops="Sin"),
    Case("while_loop", _counted, _x(2, 3)),
    Case("while_loop of a number", _by_number, _x(3, 2)),
    Case("while_loop until", _until, _x(2, 3)),
    Case("while_loop not at all", _until, lambda: [torch.full((2, 3), 9.0)]),
    Case("while_loop of branches", _loop_of_branches, _x(2, 3)),
    Case("scan", _cumulated, _x(4, 3)),
    Case("scan backward", _recurrent, _x(2, 4, 3)),
    Case("map", _mapped, _x(3, 4), fixed=(1,)),
    Case("map of branches", _mapped_branches, _x(3, 4)),
    Case("associative_scan", _combined, _x(5, 3), dynamic=False),
    Case("associative_scan as called", _combined_inside, _x(5, 3)),
    Case("wrap", _checkpointed, _x(2, 3), ops="Mul"),
]  # fmt: skip

test_static, test_dynamic = both_ways(*CASES)


def test_both_branches_are_kept() -> None:
    model = Branches().requires_grad_(False)
    program = export(model, (torch.ones(2, 4),))
    for x in (torch.ones(2, 4), -torch.ones(2, 4)):
        compare(session_of(program), model, [x])


@pytest.mark.parametrize("front_end", ["export", "compile"])
def test_front_ends(front_end: str) -> None:
    model = Branches().requires_grad_(False)
    program = export(model, (torch.ones(2, 4),), capture=front_end)
    assert "If" in ops(program)
    compare(session_of(program), model, [-torch.ones(2, 4)])


def test_branches_may_differ_in_their_sizes() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, lambda a: a * 2, lambda a: a[:1] + 1, (x,)) - 1

    session = session_of(export(model, (torch.ones(2, 4),), capture="record"))
    for sign, rows in ((1, 2), (-1, 1)):
        (result,) = session.run(None, {"x": sign * torch.ones(2, 4).numpy()})
        assert result.shape == (rows, 4)


def test_branches_must_agree() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, lambda a: a, lambda a: a[0], (x,))

    with pytest.raises(ExportError, match="both branches' results must be of the same"):
        export(model, (torch.ones(2, 4),), capture="record")


def test_no_writes_to_what_is_outside() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        kept = torch.zeros_like(x)

        def add(a: torch.Tensor) -> torch.Tensor:
            kept.add_(a)
            return a * 2

        return torch.cond(x.sum() > 0, add, lambda a: a + 0, (x,)) + kept

    with pytest.raises(CaptureError, match="writes to a tensor that is not its own"):
        export(model, (torch.ones(2, 4),), capture="record")
