"""`for i in mask.nonzero():`, as mixtures of experts go through the experts that have tokens."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from exporter import ExportError, export

EXPERTS = 5
X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
CHOSEN = torch.tensor([[0, 1], [1, 2], [0, 2], [2, 1], [0, 1], [1, 0]])


def _masks(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """[tokens, k] -> [experts, k, tokens], and the experts that have tokens, [n, 1]."""
    mask = nn.functional.one_hot(chosen, EXPERTS).permute(2, 1, 0)
    return mask, torch.greater(mask.sum((-1, -2)), 0).nonzero()


class _Modules(nn.Module):
    """Experts are modules that are taken by their numbers, as in Switch Transformers and NLLB-MoE."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleDict({f"expert_{i}": nn.Linear(4, 4) for i in range(EXPERTS)})

    def forward(self, x: Tensor, chosen: Tensor) -> tuple[Tensor, ...]:
        mask, hit = _masks(chosen)
        result, total, count = torch.zeros_like(x), x.sum(), x.new_zeros(())
        for expert in hit:
            _, tokens = torch.where(mask[expert].squeeze(0))
            y = self.experts[f"expert_{expert[0]}"](x[None, tokens].reshape(-1, 4))
            result.index_add_(0, tokens, y)
            total = total * 0.5 + y.sum() + expert[0]
            count += 1
        return result, total, count


class _Slices(nn.Module):
    """Experts are parts of one weight, and some do nothing, as in DBRX and LongCat-Flash."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(EXPERTS - 1, 4, 4))
        self.router = nn.Linear(4, 4)

    def forward(self, x: Tensor, chosen: Tensor) -> Tensor:
        mask, hit = _masks(chosen)
        result = torch.zeros_like(x)
        for expert in hit:
            number = int(expert.item())
            if number == 1:
                continue
            with torch.no_grad():
                place, tokens = torch.where(mask[number])
            if number == EXPERTS - 1:
                states = x[tokens]
            else:
                gate, up = (x[tokens] @ self.weight[number]).chunk(2, -1)
                states = torch.cat([gate * up, up], -1)
            result.index_add_(0, tokens, states * (place[:, None] + 1))
        return result + self.router.to(x.dtype)(x)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("make", [_Modules, _Slices])
def test_experts(make: Callable[[], nn.Module], dynamic: bool) -> None:
    shapes = {"x": {0: "tokens"}, "chosen": {0: "tokens"}} if dynamic else None
    model = make().eval()
    program = export(model, (X, CHOSEN), dynamic_shapes=shapes)
    others = [(X, CHOSEN + 2), (X, CHOSEN * 0), (X, CHOSEN * 2)]  # which have other experts
    program.validate(inputs=others).check()
    assert program.report.decisions == []


class _TooFew(nn.Module):
    """The mask has a place more than there are weights, which no token chooses, as in DBRX."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(EXPERTS - 1, 4, 4))

    def forward(self, x: Tensor, chosen: Tensor) -> Tensor:
        mask, hit = _masks(chosen)
        result = torch.zeros_like(x)
        for expert in hit:
            place, tokens = torch.where(mask[expert[0]])
            result.index_add_(0, tokens, x[tokens] @ self.weight[expert[0]] * (place[:, None] + 1))
        return result


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_a_place_that_no_round_can_have(dynamic: bool) -> None:
    shapes = {"x": {0: "tokens"}, "chosen": {0: "tokens"}} if dynamic else None
    program = export(_TooFew().eval(), (X, CHOSEN), dynamic_shapes=shapes)
    program.validate(inputs=[(X, CHOSEN + 1), (X, CHOSEN * 0)]).check()


def test_a_place_that_has_a_round_at_other_sizes_is_not_left_out() -> None:
    def parts(x: Tensor, chosen: Tensor) -> Tensor:
        total = x.new_zeros(())
        for place in _masks(chosen)[1]:
            total = total + x[place[0]].sum()
        return total

    with pytest.raises(ExportError, match=r"n == 3|nonzero"):
        export(parts, (X[:3], CHOSEN), dynamic_shapes={"x": {0: "n"}})


def _appended(x: Tensor) -> Tensor:
    found = []
    hit = (x[:, 0] > 0).nonzero()
    for place in hit:
        found.append(x[place])
    return torch.cat(found)


def _left(x: Tensor) -> Tensor:
    y, hit = x[:0], (x[:, 0] > 0).nonzero()
    for place in hit:
        y = x[: int(place) + 1]
    return y.sum(0)


@pytest.mark.parametrize(("function", "name"), [(_appended, "found"), (_left, "y")])
def test_what_no_mask_can_choose(function: Callable[[Tensor], Tensor], name: str) -> None:
    with pytest.raises(ExportError, match=rf"a loop over nonzero\(\) leaves {name} otherwise in each of its rounds"):
        export(function, (X,), capture="record")
