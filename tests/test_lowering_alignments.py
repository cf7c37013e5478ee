"""CTC loss."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F

from tests.lowering import Case, both_ways

LENGTHS = {"input_lengths": (50, 20, 31), "target_lengths": (12, 9, 0)}
TENSORS = {name: torch.tensor(lengths) for name, lengths in LENGTHS.items()}

TARGET = torch.tensor([[1, 2, 2, 3, 4, 5, 1, 1, 2, 3, 4, 5]] * 3)


def _batch() -> list[torch.Tensor]:
    target = torch.randint(1, 6, (3, 12))
    target[0, 3:6] = 2
    return [F.log_softmax(3 * torch.randn(50, 3, 6), -1), target]


def _in_a_row() -> list[torch.Tensor]:
    log_probs, target = _batch()
    return [log_probs, torch.cat([target[0], target[1, :9]])]


def _with_lengths() -> list[torch.Tensor]:
    return [*_batch(), torch.tensor([50, 20, 31]), torch.tensor([12, 9, 4])]


def _one() -> list[torch.Tensor]:
    log_probs, target = _batch()
    return [log_probs[:, 0], target[0]]


CASES = [
    *[
        Case(f"ctc_loss {r}", partial(F.ctc_loss, reduction=r, **LENGTHS), _batch, dynamic=False)
        for r in ("none", "mean", "sum")
    ],
    Case("ctc_loss with tensors", partial(F.ctc_loss, reduction="none", **TENSORS), _batch, fixed=(1,), dynamic=False),
    Case("ctc_loss in a row", partial(F.ctc_loss, reduction="none", **LENGTHS), _in_a_row, dynamic=False),
    Case("ctc_loss in a row with tensors", partial(F.ctc_loss, reduction="none", **TENSORS), _in_a_row, dynamic=False),
    Case("ctc_loss of given lengths", F.ctc_loss, _with_lengths, dynamic=False),
    Case("ctc_loss over open time", lambda x: F.ctc_loss(x, TARGET, **TENSORS), lambda: _batch()[:1], fixed=(1,)),
    Case(
        "ctc_loss of one",
        partial(F.ctc_loss, input_lengths=torch.tensor(50), target_lengths=torch.tensor(12)),
        _one,
        dynamic=False,
    ),
    Case(
        "ctc_loss with another blank",
        partial(F.ctc_loss, blank=5, **LENGTHS),
        lambda: [_batch()[0], _batch()[1] - 1],
        dynamic=False,
    ),
    Case(
        "ctc_loss without an alignment",
        partial(F.ctc_loss, reduction="none", input_lengths=(50, 3, 31), target_lengths=(12, 9, 4)),
        _batch,
        dynamic=False,
    ),
    Case(
        "ctc_loss, infinity as zero",
        partial(F.ctc_loss, zero_infinity=True, input_lengths=(50, 3, 31), target_lengths=(12, 9, 4)),
        _batch,
        dynamic=False,
    ),
    Case(
        "ctc_loss of halves",
        lambda x, t: F.ctc_loss(x.float(), t, **LENGTHS),
        lambda: [_batch()[0].half(), _batch()[1]],
        dynamic=False,
    ),
]

test_static, test_dynamic = both_ways(*CASES)
