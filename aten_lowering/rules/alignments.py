"""Losses over all alignments of two sequences."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
import torch

from aten_lowering.axes import arange
from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.precision import opmath
from aten_lowering.registry import lowers
from aten_lowering.rules.reductions import log_sum_exp
from shape_inference import Size, TensorType

aten = torch.ops.aten

_NONE, _MEAN = 0, 1
_INT64 = ir.DataType.INT64
_NEVER = float("-inf")


def _rows(op: Builder, targets: Value, lengths: Value, longest: Size) -> Value:
    """Targets one after another [total] -> [N, longest]; what lies behind a row's end may be anything."""
    ends = op.CumSum(lengths, op.constant(0))
    starts = op.unsqueeze(op.Sub(ends, lengths), [1])
    places = op.Add(starts, arange(op, longest))
    return op.Gather(targets, op.Min(places, op.Sub(op.scalar(dims(targets)[0]), 1)))


def _extended(op: Builder, targets: Value, blank: int) -> tuple[Value, Value]:
    """Targets with blanks around each, [N, S] -> [N, 2 S + 1], and where one may be reached without a blank.

    That is where a label differs from the one before.
    """
    batch, length = dims(targets)
    blanks = op.expand(op.constant(blank), [batch, length])
    pairs = op.Concat(op.unsqueeze(blanks, [2]), op.unsqueeze(targets, [2]), axis=2)
    labels = op.Concat(op.reshape(pairs, [batch, 2 * length]), op.expand(op.constant(blank), [batch, 1]), axis=1)
    before = op.Concat(op.expand(op.constant(blank), [batch, 2]), op.slice(labels, 1, 0, 2 * length - 1), axis=1)
    return labels, op.And(op.Not(op.Equal(labels, blank)), op.Not(op.Equal(labels, before)))


def _log_likelihoods(
    op: Builder, scores: Value, labels: Value, skips: Value, input_lengths: Value, target_lengths: Value
) -> Value:  # fmt: skip
    """The logarithm of the summed probabilities of all alignments: [T, N, L], [N, L] -> [N].

    A state holds, for each place among the labels, the alignments that have come to it.
    """
    _, batch, length = dims(scores)
    kind = dtype(scores)
    nothing = op.expand(op.constant(_NEVER, kind), [batch, 1])
    first = op.Where(op.Equal(arange(op, length), 0), op.constant(0.0, kind), op.constant(_NEVER, kind))
    start = op.expand(op.unsqueeze(first, [0]), [batch, length])

    def body(inner: Builder, state: Value, now: Value, score: Value) -> list[Value]:
        one = inner.Concat(nothing, inner.slice(state, 1, 0, length - 1), axis=1)
        two = inner.Concat(nothing, inner.slice(one, 1, 0, length - 1), axis=1)
        two = inner.Where(skips, two, inner.constant(_NEVER, kind))
        ways = inner.Concat(*[inner.unsqueeze(way, [0]) for way in (state, one, two)], axis=0)
        reached = inner.Add(log_sum_exp(inner, ways, [0]), score)
        going_on = inner.unsqueeze(inner.Less(now, input_lengths), [1])
        return [inner.Where(going_on, reached, state), inner.Add(now, 1)]

    types = [TensorType(kind, (batch, length)), TensorType(_INT64, ()), TensorType(kind, (batch, length))]
    graph = op.subgraph(body, list(zip(("state", "now", "score"), types, strict=True)), "alignments")
    state, _ = op.Scan(start, op.constant(0), scores, body=graph, num_scan_inputs=1, _outputs=2)
    last = op.unsqueeze(op.Mul(target_lengths, 2), [1])
    ends = op.Concat(last, op.Max(op.Sub(last, 1), 0), axis=1)
    final = op.GatherElements(state, ends, axis=1)
    # An empty target ends in its one blank alone.
    final = op.Where(op.And(op.Equal(last, 0), op.constant([[False, True]])), op.constant(_NEVER, kind), final)
    return log_sum_exp(op, final, [1])


def _ctc(
    op: Builder, log_probs: Value, targets: Value, input_lengths: Value, target_lengths: Value, longest: Size,
    blank: int, reduction: int, zero_infinity: bool,
) -> Value:  # fmt: skip
    kind = dtype(log_probs)
    batched = rank(log_probs) == 3
    scores = op.cast(log_probs if batched else op.unsqueeze(log_probs, [1]), opmath(kind))
    targets = op.cast(targets, _INT64)
    if rank(targets) == 1:
        targets = _rows(op, targets, target_lengths, longest) if batched else op.unsqueeze(targets, [0])
    labels, skips = _extended(op, targets, blank)
    time, batch, _ = dims(scores)
    places = op.expand(op.unsqueeze(labels, [0]), [time, batch, dims(labels)[1]])
    of_labels = op.GatherElements(scores, places, axis=2)
    losses = op.Neg(_log_likelihoods(op, of_labels, labels, skips, input_lengths, target_lengths))
    if zero_infinity:
        losses = op.Where(op.Equal(losses, float("inf")), op.constant(0.0, dtype(losses)), losses)
    if reduction == _NONE:
        return op.cast(losses if batched else op.squeeze(losses, [0]), kind)
    if reduction == _MEAN:
        per_label = op.Div(losses, op.cast(op.Max(target_lengths, 1), dtype(losses)))
        return op.cast(op.reduce("ReduceMean", per_label, [0]), kind)
    return op.cast(op.reduce("ReduceSum", losses, [0]), kind)


@lowers(aten.ctc_loss.IntList)
def ctc_loss(
    op: Builder, log_probs: Value, targets: Value, input_lengths: Sequence[int], target_lengths: Sequence[int],
    blank: int, reduction: int, zero_infinity: bool,
) -> Value:  # fmt: skip
    """[T, N, C] or [T, C], [N, S] or all targets in one row -> [] or [N]: -log of what all alignments sum to."""
    return _ctc(
        op, log_probs, targets, op.constant(list(input_lengths)), op.constant(list(target_lengths)),
        max(target_lengths, default=0), blank, reduction, zero_infinity,
    )  # fmt: skip


@lowers(aten.ctc_loss.Tensor)
def ctc_loss_tensor(
    op: Builder, log_probs: Value, targets: Value, input_lengths: Value, target_lengths: Value, blank: int,
    reduction: int, zero_infinity: bool,
) -> Value:  # fmt: skip
    """The same, with lengths that are tensors; targets in one row are taken to be as long as all together."""
    given, wanted = (
        op.reshape(op.cast(n, _INT64), [dims(n)[0] if rank(n) else 1]) for n in (input_lengths, target_lengths)
    )
    return _ctc(op, log_probs, targets, given, wanted, dims(targets)[0], blank, reduction, zero_infinity)
