"""Losses of class indices and of class probabilities."""

from __future__ import annotations

import itertools
from functools import partial

import torch
import torch.nn.functional as F

from tests.lowering import Case, both_ways

aten = torch.ops.aten
REDUCTIONS = ["none", "mean", "sum"]


def _classes(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    return [torch.randn(6, 5).to(dtype), torch.tensor([0, 4, -100, 2, 2, 1])]


def _weighted() -> list[torch.Tensor]:
    return [*_classes(), torch.rand(5)]


def _images() -> list[torch.Tensor]:
    target = torch.randint(0, 5, (2, 3, 4))
    target[0, 1] = -100
    return [torch.randn(2, 5, 3, 4), target]


def _one() -> list[torch.Tensor]:
    return [torch.randn(5), torch.tensor(3)]


def _probabilities() -> list[torch.Tensor]:
    return [torch.randn(6, 5), torch.rand(6, 5), torch.rand(5)]


def _ignoring_the_length(x: torch.Tensor, target: torch.Tensor, label_smoothing: float) -> torch.Tensor:
    """As models that answer questions do: a place beyond the text counts for nothing."""
    length = x.shape[1]
    return F.cross_entropy(x, target.clamp(0, length), ignore_index=length, label_smoothing=label_smoothing)


def _places() -> list[torch.Tensor]:
    return [torch.randn(6, 5), torch.tensor([0, 4, 100, 2, 2, 1])]


INDICES = [
    *[
        Case(
            f"ignored is the length, smoothed by {share}", partial(_ignoring_the_length, label_smoothing=share), _places
        )
        for share in (0.0, 0.2)
    ],
    Case("cross_entropy is one op", F.cross_entropy, _classes, fixed=(1,), ops="SoftmaxCrossEntropyLoss"),
    *[
        Case(
            f"cross_entropy of rows above {least}",
            lambda x, t, least=least: F.cross_entropy(x[x[:, 0] > least], t[x[:, 0] > least]),
            _classes,
            fixed=(1,),
        )
        for least in (-9, 9)
    ],
    Case("nll_loss is one op", F.nll_loss, _classes, fixed=(1,), ops="NegativeLogLikelihoodLoss"),
    *[
        Case(f"{f.__name__} {name} {r}", partial(f, reduction=r), inputs, fixed=(1, 2, 3))
        for f, (name, inputs), r in itertools.product(
            (F.cross_entropy, F.nll_loss), {"classes": _classes, "images": _images, "one": _one}.items(), REDUCTIONS
        )
    ],
    *[
        Case(f"weighted cross_entropy {r}", partial(F.cross_entropy, reduction=r), _weighted, dynamic=False)
        for r in REDUCTIONS
    ],
    *[
        Case(
            f"smoothed cross_entropy {r}",
            partial(F.cross_entropy, reduction=r, label_smoothing=0.2),
            inputs,
            dynamic=False,
        )
        for r, inputs in itertools.product(REDUCTIONS, [_classes, _weighted, _images, _one])
    ],
    Case("smoothed cross_entropy, open", partial(F.cross_entropy, label_smoothing=0.2), _classes),
    Case(
        "cross_entropy with another ignored",
        partial(F.cross_entropy, ignore_index=2),
        lambda: [_classes()[0], torch.tensor([0, 2, 4, 2, 2, 1])],
        fixed=(1,),
    ),
    Case("cross_entropy of halves", F.cross_entropy, partial(_classes, torch.float16), fixed=(1,)),
    Case("cross_entropy of float64", F.cross_entropy, partial(_classes, torch.float64), fixed=(1,)),
    Case("aten.nll_loss", lambda x, t: aten.nll_loss.default(x, t), _classes, fixed=(1,)),
    Case("aten.nll_loss2d", lambda x, t: aten.nll_loss2d.default(x, t), _images, fixed=(1, 2, 3)),
    *[
        Case(
            f"nll_loss_forward {r}",
            lambda x, t, w, r=r: aten.nll_loss_forward(x, t, w, r, -100)[: 2 - (r == 0)],
            _weighted,
            dynamic=False,
        )
        for r in range(3)
    ],
    Case("nll_loss2d_forward", lambda x, t: aten.nll_loss2d_forward(x, t, None, 1, -100), _images, fixed=(1, 2, 3)),
]

PROBABILITIES = [
    Case("cross_entropy of probabilities", lambda x, p, w: F.cross_entropy(x, p), _probabilities),
    *[
        Case(
            f"weighted cross_entropy of probabilities {r}",
            lambda x, p, w, r=r: F.cross_entropy(x, p, w, reduction=r, label_smoothing=0.1),
            _probabilities,
        )
        for r in REDUCTIONS
    ],
]

ALL = [*INDICES, *PROBABILITIES]

test_static, test_dynamic = both_ways(*ALL)
