"""What a training step calls in place of torch's own, and views in place: gradients as torch's, at any batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from training import Batch, check_gradients

from exporter import export_training
from exporter.errors import UnsupportedArgument

Function = Callable[[torch.Tensor, torch.Tensor], Any]
WIDTH = 24


class _Called(nn.Module):
    """A function of a layer's result [N, 24] and of a parameter [5, 24]; its loss tells all elements apart."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.layer, self.other, self.function = nn.Linear(6, WIDTH), nn.Parameter(torch.randn(5, WIDTH)), function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result = self.function(self.layer(x), self.other).flatten(1)
        factors = torch.linspace(0.5, 1.5, result.shape[1])
        return (result * factors).sum() + self.other.square().sum()


def _sampled(x: torch.Tensor, other: torch.Tensor, **options: Any) -> torch.Tensor:
    images, places = x.reshape(-1, 2, 3, 4), other.reshape(1, 5, 12, 2).expand(x.shape[0], -1, -1, -1)
    return F.grid_sample(images, places, **options)


def _volumes(x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    places = other.reshape(1, 5, 2, 4, 3).expand(x.shape[0], -1, -1, -1, -1)
    return F.grid_sample(x.reshape(-1, 1, 2, 3, 4), places, align_corners=True)


def _bags(x: torch.Tensor, other: torch.Tensor, mode: str, **options: Any) -> torch.Tensor:
    words, starts = torch.tensor([1, 0, 4, 4, 2, 0]), torch.tensor([0, 2, 2, 5])
    return F.embedding_bag(words, other, starts, mode=mode, **options).unsqueeze(0) * x.unsqueeze(1)


def _weighted_bags(x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    factors = other.flatten()[:6]
    return _bags(x, other.detach() + x.sum(), "sum", per_sample_weights=factors)


def _well_conditioned(x: torch.Tensor) -> torch.Tensor:
    return x[:, :9].reshape(-1, 3, 3) + 3 * torch.eye(3)


def _spectrum(x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    window = torch.hann_window(6)
    return torch.stft(x, 8, 2, 6, window=window, return_complex=True).abs() + other.sum()


def _runs(x: torch.Tensor, other: torch.Tensor, reduce: str, **options: Any) -> torch.Tensor:
    rows = other.reshape(15, 8)
    return torch.segment_reduce(rows, reduce, **options).unsqueeze(0) * x[:, :8].unsqueeze(1)


def _in_rows(x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Targets in one row; the last has no alignment in its two times."""
    scores = (x.repeat(1, 2)[:1] + other[:3].repeat(1, 2)).reshape(3, 8, 6).transpose(0, 1).log_softmax(-1)
    losses = F.ctc_loss(
        scores, torch.tensor([1, 2, 2, 4, 4]), (8, 6, 2), (3, 0, 2), blank=5, reduction="none", zero_infinity=True
    )
    return losses.unsqueeze(0) * x[:, :3]


FUNCTIONS: dict[str, Function] = {
    "cdist": lambda x, other: torch.cdist(x, other),
    "cdist, p=1": lambda x, other: torch.cdist(x.reshape(-1, 6, 4), other.reshape(1, 30, 4).expand(x.shape[0], -1, -1), 1),
    "cdist, p=0": lambda x, other: torch.cdist(x.round(), other.round(), 0) + (x @ other.mT),
    "pdist": lambda x, other: torch.pdist(other * x.sum()).reshape(1, -1),
    "pdist of open rows": lambda x, other: torch.pdist(x * other[0], 3).sum().reshape(1, 1),
    "pdist, p=0": lambda x, other: (torch.pdist(other.round(), 0) * x.sum()).reshape(1, -1),
    "ctc_loss of targets in one row": _in_rows,
    **{
        f"{reduce} of runs": partial(_runs, reduce=reduce, lengths=torch.tensor([3, 5, 1, 6]))
        for reduce in ("sum", "mean", "max", "min", "prod")
    },
    "runs by limits": partial(_runs, reduce="mean", offsets=torch.tensor([0, 4, 4, 12]), initial=1.0),
    "bilinear": lambda x, other: F.bilinear(x[:, :4], x[:, 4:9], other.flatten()[:60].reshape(3, 4, 5), other[0, :3]),
    "weight_norm": lambda x, other: F.linear(x, torch._weight_norm(other, other[:, :1].exp(), 0)),
    "weight_norm of all": lambda x, other: F.linear(x, torch._weight_norm(other, other[0, 0].exp(), -1)),
    "det": lambda x, other: torch.linalg.det(_well_conditioned(x)).unsqueeze(1) * other[0],
    "slogdet": lambda x, other: torch.linalg.slogdet(_well_conditioned(x))[1].unsqueeze(1) * other[0],
    "logdet": lambda x, other: torch.logdet(_well_conditioned(x) @ _well_conditioned(x).mT).unsqueeze(1) * other[0],
    "margin of classes": lambda x, other: F.multi_margin_loss(
        x * other[0], torch.zeros(x.shape[0], dtype=torch.int64), p=2, weight=torch.linspace(1, 2, WIDTH), reduction="none"
    ).unsqueeze(1),
    "margin of labels": lambda x, other: F.multilabel_margin_loss(
        x[:, :4] * other[0, :4], torch.tensor([[3, 0, -1, 1]]).expand(x.shape[0], -1)
    ).reshape(1, 1),
    "grid_sample": lambda x, other: _sampled(x, other, align_corners=False),
    "grid_sample at the border": lambda x, other: _sampled(x, other, padding_mode="border", align_corners=True),
    "grid_sample, reflected": lambda x, other: _sampled(x, other, padding_mode="reflection", align_corners=False),
    "grid_sample, cubic": lambda x, other: _sampled(x, other, mode="bicubic", align_corners=False),
    "grid_sample, nearest": lambda x, other: _sampled(x, other, mode="nearest", align_corners=False),
    "grid_sample of volumes": _volumes,
    "sums of bags": lambda x, other: _bags(x, other, "sum", padding_idx=4),
    "means of bags": lambda x, other: _bags(x, other, "mean"),
    "maxima of bags": lambda x, other: _bags(x, other, "max"),
    "weighted bags": _weighted_bags,
    "stft": _spectrum,
    "fractional_max_pool2d": lambda x, other: F.fractional_max_pool2d(
        (x * other[0]).reshape(-1, 1, 4, 6), 2, (2, 3), _random_samples=torch.full((1, 1, 2), 0.4).expand(x.shape[0], -1, -1)
    ),
    "fractional_max_pool3d": lambda x, other: F.fractional_max_pool3d(
        other.reshape(1, 5, 4, 6), 2, (2, 2, 3), _random_samples=torch.full((1, 1, 3), 0.4)
    ) * x.sum(),
    "index_fill": lambda x, other: x.index_fill(1, torch.tensor([3, 0, 3]), other[0, 0]),
    "quantile": lambda x, other: torch.quantile(x * other[0], torch.tensor([0.3, 0.5]), dim=1).mT,
    "views in place": lambda x, other: (x * other[0]).unsqueeze_(1).transpose_(1, 2).squeeze_(2).exp(),
    "shape of a transposed view in place": lambda x, other: (x @ other.mT).t_().sin().t(),
}  # fmt: skip


def _batch(count: int) -> Batch:
    return (torch.randn(count, 6),), ()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_formulas(name: str) -> None:
    torch.manual_seed(0)
    check_gradients(_Called(FUNCTIONS[name]), None, [_batch(3), _batch(5)], dynamic_shapes={"x": {0: "batch"}})


class _Speech(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x).log_softmax(-1)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_ctc_loss(reduction: str) -> None:
    """At other lengths of time and batch; one target is empty, and one has a label twice in a row."""

    def batch(time: int, *lengths: int) -> Batch:
        targets = torch.tensor([[1, 2, 2], [3, 4, 5], [4, 1, 0], [3, 3, 3]])[: len(lengths)]
        wanted = torch.tensor([3, 2, 0, 3])[: len(lengths)]
        return (torch.randn(time, len(lengths), 5),), (targets, torch.tensor(lengths), wanted)

    def loss(scores: torch.Tensor, *targets: torch.Tensor) -> torch.Tensor:
        losses = F.ctc_loss(scores, *targets, reduction=reduction)
        return losses if reduction != "none" else (losses * torch.linspace(1, 2, losses.shape[0])).sum()

    torch.manual_seed(0)
    dims: Any = {"x": {0: "time", 1: "batch"}} | {f"target_{i}": {0: "batch"} for i in range(3)}
    check_gradients(_Speech(), loss, [batch(8, 8, 7, 8), batch(11, 9, 2, 1, 11)], dynamic_shapes=dims)


class _Larger(nn.Module):
    def __init__(self, mode: str) -> None:
        super().__init__()
        self.layer, self.mode = nn.Conv2d(3, 3, 1), mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(self.layer(x), scale_factor=1.5, mode=self.mode).square().sum()


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear"])
def test_interpolation_by_a_factor(mode: str) -> None:
    batches: list[Batch] = [((torch.randn(2, 3, size, 4),), ()) for size in (6, 8)]
    check_gradients(_Larger(mode), None, batches, dynamic_shapes={"x": {2: "height"}})


def test_filters_without_a_gradient_for_open_sizes() -> None:
    with pytest.raises(UnsupportedArgument) as caught:
        export_training(_Larger("bicubic"), torch.randn(2, 3, 4, 4), dynamic_shapes={"x": {2: "height"}})
    assert str(caught.value).startswith(
        "the gradient of cubic interpolation: sizes must be static, got height to height + height // 2\n"
        "  hint: let only the batch be dynamic, or interpolate linearly\n"
    )
