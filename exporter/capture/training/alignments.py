"""CTC loss of a training step: one scan over time for the loss, one backward for its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from exporter.capture.control_flow import scan
from exporter.capture.recorder import Recorder
from exporter.capture.torch_internals import higher_order

__all__ = ["alignment_formulas"]

_NONE, _MEAN = 0, 1
_NEVER = float("-inf")

Tensor = torch.Tensor


def _ways(recorder: Recorder, scores: Tensor, start: Tensor, skips: Tensor, going: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithm of the summed probabilities of all ways to each place among the labels, at each time and at last.

    [T, N, L] scores, [N, L] where ways start, [N, L] which places may be reached from the one but last,
    [T, N, 1] while the sequence goes on -> [T, N, L], [N, L].
    """

    def step(state: Tensor, score: Tensor, goes_on: Tensor) -> list[Tensor]:
        one = F.pad(state, (1, -1), value=_NEVER)
        two = F.pad(state, (2, -2), value=_NEVER).masked_fill(~skips, _NEVER)
        reached = torch.logsumexp(torch.stack([state, one, two]), 0) + score
        new = torch.where(goes_on, reached, state)
        return [new, new]

    last, every = scan(recorder, higher_order("scan"), step, [start], [scores, going])
    return every, last


class _Alignments(torch.autograd.Function):
    """[T, N, C], labels [N, L], where skips may go, lengths [N] twice -> [N]: -log of what all alignments sum to.

    The gradient is torch's, which takes it for granted that the probabilities of a time sum to 1.
    """

    @staticmethod
    def forward(
        ctx: Any, recorder: Recorder, log_probs: Tensor, labels: Tensor, skips: Tensor, input_lengths: Tensor,
        target_lengths: Tensor, zero_infinity: bool,
    ) -> Tensor:  # fmt: skip
        time, length = log_probs.shape[0], labels.shape[1]
        scores = log_probs.gather(2, labels.unsqueeze(0).expand(time, -1, -1))
        going = (torch.arange(time).unsqueeze(1) < input_lengths).unsqueeze(2)
        places = torch.arange(length)
        start = torch.where(places == 0, 0.0, _NEVER).to(scores.dtype).expand(labels.shape)
        every, last = _ways(recorder, scores, start, skips, going)
        ends = (2 * target_lengths).unsqueeze(1)
        is_end = (places == ends) | (places == ends - 1)
        losses = -torch.logsumexp(last.masked_fill(~is_end, _NEVER), 1)
        ctx.recorder, ctx.zero_infinity = recorder, zero_infinity
        ctx.save_for_backward(log_probs, labels, skips, scores, going, places == ends, every, losses)
        return losses.masked_fill(losses == float("inf"), 0.0) if zero_infinity else losses

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        log_probs, labels, skips, scores, going, is_end, every, losses = ctx.saved_tensors
        start = torch.where(is_end, 0.0, _NEVER).to(scores.dtype).flip(1)
        backward, _ = _ways(
            ctx.recorder, scores.flip(0, 2), start, F.pad(skips, (-2, 2), value=False).flip(1), going.flip(0)
        )
        shares = (every + backward.flip(0, 2) - scores + losses.unsqueeze(1)).exp()
        classes = labels.unsqueeze(0).expand(shares.shape)
        of_classes = torch.zeros_like(log_probs).scatter_add(2, classes, shares)
        gradient = (log_probs.exp() - of_classes) * grads[0].unsqueeze(1)
        counts = going & (losses != float("inf")).unsqueeze(1) if ctx.zero_infinity else going
        return None, torch.where(counts, gradient, 0.0), *[None] * 5


def _rows(targets: Tensor, lengths: Tensor, longest: Any) -> Tensor:
    """Targets one after another [total] -> [N, longest]; what lies behind a row's end may be anything."""
    starts = (lengths.cumsum(0) - lengths).unsqueeze(1)
    return targets[(starts + torch.arange(longest)).clamp(max=targets.shape[0] - 1)]


def _extended(targets: Tensor, blank: int) -> tuple[Tensor, Tensor]:
    """[N, S] -> [N, 2 S + 1]: blanks around each label, and which may be reached without the blank before it."""
    blanks = torch.full_like(targets, blank)
    labels = F.pad(torch.stack([blanks, targets], 2).flatten(1), (0, 1), value=blank)
    return labels, (labels != blank) & (labels != F.pad(labels, (2, -2), value=blank))


def alignment_formulas(recorder: Recorder) -> dict[str, Callable[..., Any]]:
    """What a training step calls in place of CTC losses."""

    def ctc_loss(
        log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, blank: int = 0,
        reduction: int = _MEAN, zero_infinity: bool = False,
    ) -> Tensor:  # fmt: skip
        """[T, N, C] or [T, C], [N, S] or all targets in one row -> [] or [N]."""
        is_batch = log_probs.ndim == 3
        scores = log_probs if is_batch else log_probs.unsqueeze(1)
        given, wanted = (torch.as_tensor(n).long().reshape(-1) for n in (input_lengths, target_lengths))
        targets = targets.long()
        if targets.ndim == 1 and is_batch:
            is_known = not isinstance(target_lengths, torch.Tensor)
            targets = _rows(targets, wanted, max(target_lengths, default=0) if is_known else targets.shape[0])
        labels, skips = _extended(targets if targets.ndim == 2 else targets.unsqueeze(0), blank)
        losses = _Alignments.apply(recorder, scores, labels, skips, given, wanted, zero_infinity)
        if reduction == _NONE:
            return losses if is_batch else losses.squeeze(0)
        return (losses / wanted.clamp(min=1)).mean() if reduction == _MEAN else losses.sum()

    return {"ctc_loss.IntList": ctc_loss, "ctc_loss.Tensor": ctc_loss}
