"""Python code that decides by values: checks hold one answer, branches are an If, and both its sides are right."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from exporter import export
from exporter.errors import DataDependentError

X = torch.arange(8, dtype=torch.float32).reshape(2, 4) - 3


def _plain(x: torch.Tensor) -> torch.Tensor:
    return x + 1 if x.sum() > 0 else x * 2


def _asked_again(x: torch.Tensor) -> torch.Tensor:
    for _ in range(3):
        x = x * 2 if x[0, 0].item() >= 0 else x - 1
    positive = x.sum().item() > 0
    for _ in range(4):
        x = x + 1 if positive else x.relu()
    return x


def _sizes_differ(x: torch.Tensor) -> dict[str, torch.Tensor]:
    y = x[:1] if x.mean() > 0 else x
    return {"y": y, "x": x}


def _written(x: torch.Tensor) -> torch.Tensor:
    total = x.clone()
    if (x > 3).any():
        total[0] = 7.0
    return total.cumsum(0)


def _sizes_after(x: torch.Tensor) -> torch.Tensor:
    x = torch.cat([x, x + 1])
    if (x > 3).any():
        x = x.index_put((x > 1).nonzero(as_tuple=True), torch.tensor(1.0))
    return x.view(torch.div(x.size(0), 2, rounding_mode="trunc"), -1)


def _two(x: torch.Tensor) -> torch.Tensor:
    if x.max() > 3:
        x = x.flip(1)
        if x[0, 0] > 0:
            return x + 10
    if x.min() < -3:
        x = x.abs()
    return x


def _first(x: torch.Tensor) -> torch.Tensor:
    count = (x > 0).sum().item()
    return x.flatten()[:count] if count > 3 else x.flatten()[:2]


def _numbers(x: torch.Tensor) -> torch.Tensor:
    positive, total = (x > 0).sum().item(), x.sum().item()
    if positive != 5:
        x = x + 1
    if not (total > 3):
        x = x * 2
    return x


MODELS: list[Callable[..., Any]] = [_plain, _asked_again, _sizes_differ, _written, _two, _first, _numbers,
                                     _sizes_after]  # fmt: skip


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__.strip("_"))
def test_both_ways_are_right(model: Callable[..., Any], dynamic: bool) -> None:
    program = export(model, (X,), dynamic_shapes={"x": {0: "batch"}} if dynamic else None)
    assert "If" in {node.op_type for node in program.model.graph}
    inputs = [(X,), (-X,), (X + 8,), (X - 8,), (X * 0,)]
    if dynamic:
        inputs += [(torch.cat([X, X - 5]),), (-X[:1],)]
    program.validate(inputs=inputs).check()


class _Counting(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            self.seen += x[0]
        return x + self.seen


def test_a_buffer_that_one_way_writes() -> None:
    program = export(_Counting(), (X,))
    program.validate(inputs=[(X,), (-X,)]).check()


def test_ways_that_return_other_ranks() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return x.flatten() if x.sum() > 0 else x

    with pytest.raises(DataDependentError) as caught:
        export(model, (X,))
    assert "must return the same kinds of results after both answers, got float32[8] and float32[2, 4]" in str(
        caught.value
    )
    assert "test_export_branches.py" in str(caught.value)


def test_too_many_ways() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        while x.sum() < 100:
            x = x * 2
        return x

    with pytest.raises(DataDependentError, match=r"torch\.while_loop"):
        export(model, (X,))


def test_the_same_mask_made_twice() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        y = x.clone()
        y[~(x > 0)] += x[~(x > 0)] * 2
        return y

    program = export(model, (X,))
    program.validate(inputs=[(X + 8,), (X - 8,)]).check()


def test_split_by_values_and_joined_again() -> None:
    def model(x: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
        counts = torch.nn.functional.one_hot(kind, 4).sum(0)
        parts = x.split(counts.tolist())
        return x + torch.cat([part * (i + 1) for i, part in enumerate(parts)])

    program = export(model, (torch.randn(6, 2), torch.tensor([0, 0, 1, 1, 2, 3])))
    program.validate(inputs=[(torch.randn(6, 2), torch.tensor([1, 1, 1, 3, 3, 3]))]).check()


def _padded(x: torch.Tensor) -> torch.Tensor:
    """As SuperPoint does: what is chosen of each row, in as many places as the longest of them needs."""
    parts = [row[row > 0] for row in x]
    padded = torch.zeros(2, max(part.shape[0] for part in parts))
    for i, part in enumerate(parts):
        padded[i, : part.shape[0]] = part
    return padded


def test_the_longest_of_what_is_chosen_takes_no_decision() -> None:
    program = export(_padded, (torch.tensor([[1.0, -1.0, 2.0], [-1.0, -2.0, 3.0]]),))
    assert "If" not in {node.op_type for node in program.model.graph}
    program.validate(inputs=[(-torch.ones(2, 3),), (torch.tensor([[-1.0, -1.0, 2.0], [1.0, 2.0, 3.0]]),)]).check()


def test_at_most_a_number_of_what_is_chosen() -> None:
    """The first sizes that stand for how many are chosen are small; later ones are above 100."""

    def model(x: torch.Tensor) -> list[torch.Tensor]:
        chosen = [x[x > i * 0.1] for i in range(24)]
        return [*(some[:100] for some in chosen), *(some[:280] for some in chosen), *(some[-2:] for some in chosen)]

    program = export(model, (torch.rand(300) * 3,))
    program.validate(inputs=[(torch.rand(300) * 3 - 1,), (torch.rand(300) * 0.3,)]).check()


def _ends(x: torch.Tensor) -> torch.Tensor:
    """Lengths of pieces that begin where values say: the first two always do."""
    count = (x > 0.3).sum(1).max()
    starts = torch.cat([torch.arange(2.0).expand(x.shape[0], -1), x[:, :count] + 2], 1)
    ends = torch.cat([starts[:, 1:], torch.full_like(starts[:, :1], x.shape[1])], 1)
    return ends - starts + starts[:, -2:].sum()


def test_a_part_of_what_is_joined_to_what_is_chosen() -> None:
    """However many are chosen, there are the two that they are joined to."""
    program = export(_ends, (torch.randn(2, 7),), dynamic_shapes={"x": {0: "batch", 1: "n"}})
    program.validate(inputs=[(-torch.ones(2, 3),), (torch.ones(3, 5),)]).check()


def _padded_to(rows: torch.Tensor, wanted: int) -> torch.Tensor:
    missing = wanted - rows.shape[0]
    if missing > 0:
        rows = torch.cat([rows, torch.stack([torch.ones_like(rows[0])] * missing).to(rows)])
    return rows[:wanted]


def _all_padded(x: torch.Tensor) -> torch.Tensor:
    """Two decisions, each asked of a count twice."""
    chosen = [x[i][x[i, :, 0] > 0] for i in range(2)]
    lengths = [torch.ones(rows.size(0)) for rows in chosen]
    padded = [torch.stack([_padded_to(rows, 4) for rows in some]) for some in (chosen, lengths)]
    return padded[0] * padded[1].unsqueeze(-1)


def test_what_is_chosen_is_padded_to_a_number() -> None:
    """A difference of sizes and 0 say which is more, and no sample of a size that values decide may answer that."""
    x = torch.randn(2, 6, 3)
    program = export(_all_padded, (x,))
    mixed = torch.stack([x[0].abs(), -x[1].abs() - x[1, :1].sign()])
    mixed[1, 2] = 1
    program.validate(inputs=[(x.abs(),), (mixed,), (mixed.flip(0),)]).check()


def _weighed(x: torch.Tensor) -> torch.Tensor:
    chosen = x[x > 0]
    if 12 // chosen.shape[0] > 2:
        return chosen[:1] * 2
    return chosen[:1] - 1


def test_a_quotient_by_how_many_are_chosen() -> None:
    """No number is tried for the count that the quotient has none for."""
    export(_weighed, (torch.ones(9),)).validate(inputs=[(torch.arange(9.0) - 3,), (torch.arange(9.0) - 6,)]).check()


def _write_where(x: torch.Tensor) -> torch.Tensor:
    y, mask = x.clone(), x > 3
    if mask.any():
        y[mask] = x[mask].float() * 2
    if torch.any(x < -2):
        y[x < -2] = 0.0
    return y


def _cut_to(x: torch.Tensor) -> torch.Tensor:
    y = torch.nn.functional.interpolate(x[None], size=x.shape[1] // 4 * 8)[0]
    if x.ndim == 2 and x.shape[1] < y.shape[-1]:
        y = y[..., : x.shape[1]]
    if y.size(0) > 3:
        y = y[:3]
    return y


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 does not tell which condition is asked")
@pytest.mark.parametrize("model", [_write_where, _cut_to], ids=lambda model: model.__name__.strip("_"))
def test_what_does_nothing_where_its_condition_is_false_needs_none(model: Callable[..., Any]) -> None:
    program = export(model, (X,), dynamic_shapes={"x": {0: "rows", 1: "columns"}})
    assert "If" not in {node.op_type for node in program.model.graph}
    assert not [constraint for constraint in program.report.decisions if "columns" in str(constraint)]
    program.validate(inputs=[(X * 0,), (X + 8,), (X - 8,), (X.reshape(8, 1).repeat(1, 7),), (X[:, :3],)]).check()


def _calls_below(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    if (x > 4).any():
        y[x > 4] = x[x > 4].max()
    return y


def _other_mask(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    if (x > 4).any():
        y[x > 0] = 9.0
    return y


def _first_part(x: torch.Tensor) -> torch.Tensor:
    y, mask = x.clone(), x > 0
    if (x > 4).any() and mask.any():
        y[mask] = 9.0
    return y


@pytest.mark.parametrize("model", [_calls_below, _other_mask, _first_part], ids=lambda model: model.__name__.strip("_"))
def test_what_does_something_keeps_its_condition(model: Callable[..., Any]) -> None:
    program = export(model, (X,))
    assert "If" in {node.op_type for node in program.model.graph}
    program.validate(inputs=[(X,), (-X,), (X + 8,), (X * 0,)]).check()


def test_a_check_of_values_holds_for_the_inputs_that_pass() -> None:
    """As models of images and text do: as many places in the text as there are rows of the image."""

    def model(x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        chosen = x[x[:, 0] > 0]
        torch._check((ids == 7).sum().item() == chosen.shape[0])
        return torch.zeros(3, 4).masked_scatter((ids == 7)[:, None], chosen)

    program = export(model, (X, torch.tensor([1, 7, 2])), capture="record")
    program.validate(inputs=[(X - 8, torch.tensor([3, 3, 3])), (X + 8, torch.tensor([7, 7, 2]))]).check()


def test_calls_that_choose_by_one_tensor_need_not_choose_as_many() -> None:
    """There are as many places of numbers that are not 0 as repetitions only where each number is 0 or 1."""

    def model(counts: torch.Tensor) -> torch.Tensor:
        places, repeated = counts.nonzero()[:, 0], torch.repeat_interleave(counts)
        return places if places.shape[0] == repeated.shape[0] else repeated + 10

    program = export(model, torch.tensor([1, 0, 2, 3]))
    program.validate(inputs=[(torch.tensor([1, 0, 1, 1]),), (torch.tensor([0, 2, 0, 0]),)]).check()


def test_sizes_that_both_ways_refuse_are_tried_as_equal_ones() -> None:
    def model(x: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.gaussian_nll_loss(x, x * 2, variance)

    auto = {0: torch.export.Dim.AUTO}
    program = export(model, (X[0], X[0] + 9), dynamic_shapes=(auto, auto))
    assert program.captured.front_end == "record"
    program.validate().check()
