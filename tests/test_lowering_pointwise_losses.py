"""Losses of one element against another."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.lowering import Case, both_ways

REDUCTIONS = ["none", "mean", "sum"]


def _two(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    return [torch.randn(3, 4).to(dtype) * 2, torch.randn(3, 4).to(dtype)]


def _probabilities(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    return [
        torch.tensor([[0.0, 0.3, 1.0], [0.5, 0.9, 1.0]]).to(dtype),
        torch.tensor([[0.0, 1.0, 0.4], [1.0, 0.2, 1.0]]).to(dtype),
    ]


def _logits() -> list[torch.Tensor]:
    return [torch.tensor([[0.0, 200.0, -200.0], [0.5, -1.0, 3.0]]), torch.tensor([[0.0, 1.0, 0.4], [1.0, 0.2, 1.0]])]


def _signs() -> list[torch.Tensor]:
    return [torch.randn(3, 4), torch.randn(3, 4), torch.randn(3, 4).sign()]


LOSSES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "mse_loss": (F.mse_loss, _two),
    "l1_loss": (F.l1_loss, _two),
    "smooth_l1_loss": (F.smooth_l1_loss, _two),
    "smooth_l1_loss of another beta": (partial(F.smooth_l1_loss, beta=0.3), _two),
    "smooth_l1_loss of beta 0": (partial(F.smooth_l1_loss, beta=0.0), _two),
    "huber_loss": (partial(F.huber_loss, delta=0.7), _two),
    "binary_cross_entropy": (F.binary_cross_entropy, _probabilities),
    "binary_cross_entropy_with_logits": (F.binary_cross_entropy_with_logits, _logits),
    "kl_div": (F.kl_div, _probabilities),
    "kl_div of logarithms": (partial(F.kl_div, log_target=True), _two),
    "soft_margin_loss": (lambda x, t, **kw: F.soft_margin_loss(x, t.sign(), **kw), _two),
    "margin_ranking_loss": (partial(F.margin_ranking_loss, margin=0.5), _signs),
    "hinge_embedding_loss": (lambda x, y, t, **kw: F.hinge_embedding_loss(x, t, margin=0.5, **kw), _signs),
    "poisson_nll_loss": (F.poisson_nll_loss, _two),
    "cosine_embedding_loss": (lambda x, y, t, **kw: F.cosine_embedding_loss(x, y, t[:, 0], **kw), _signs),
    "triplet_margin_loss": (F.triplet_margin_loss, _signs),
    "multilabel_soft_margin_loss": (lambda x, t, **kw: F.multilabel_soft_margin_loss(x, (t > 0).float(), **kw), _two),
}

CASES = [
    *[
        Case(f"{name} {reduction}", partial(function, reduction=reduction), inputs)
        for (name, (function, inputs)), reduction in itertools.product(LOSSES.items(), REDUCTIONS)
    ],
    Case(
        "soft_margin_loss of halves, where the exponential overflows",
        lambda x, t: F.soft_margin_loss(x * 8, t.sign(), reduction="none"),
        partial(_two, torch.float16),
    ),
    Case(
        "mse_loss of what values choose",
        lambda x, t: (F.mse_loss(x[x > 0], t[x > 0]), F.mse_loss(x[x > 9], t[x > 9])),
        _two,
    ),
    Case("mse_loss of halves", F.mse_loss, partial(_two, torch.float16)),
    Case("mse_loss of a sum is", partial(F.mse_loss, reduction="sum"), _two, ops="Sub ReduceSumSquare"),
    Case("mse_loss of scalars", partial(F.mse_loss, reduction="sum"), lambda: [torch.tensor(2.0), torch.tensor(5.0)]),
    Case("huber_loss of halves", F.huber_loss, partial(_two, torch.float16)),
    Case("weighted binary_cross_entropy", lambda p, t: F.binary_cross_entropy(p, t, weight=t + 1), _probabilities),
    Case("binary_cross_entropy of halves", F.binary_cross_entropy, partial(_probabilities, torch.float16)),
    Case("weighted logits", lambda x, t: F.binary_cross_entropy_with_logits(x, t, weight=t, pos_weight=t + 2), _logits),
    Case(
        "logits of float64",
        lambda x, t: F.binary_cross_entropy_with_logits(x.double(), t.double(), reduction="none"),
        _logits,
    ),
]

test_static, test_dynamic = map(pytest.mark.filterwarnings("ignore"), both_ways(*CASES))
