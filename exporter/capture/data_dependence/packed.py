"""Packed sequences: all of their sizes depend on the lengths, but for the size of the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from exporter.capture.calls import at_sample
from exporter.capture.data_dependence.counts import counts_of
from exporter.capture.kernels import Outcome, outcome_of
from exporter.capture.known import known_values
from exporter.capture.sizes import SAMPLES, SizeNode
from exporter.capture.tensors import RecordedTensor

if TYPE_CHECKING:
    from exporter.capture.recorder import Recorder

aten = torch.ops.aten


def packed(
    recorder: Recorder, input: RecordedTensor, lengths: RecordedTensor, batch_first: bool
) -> list[Outcome]:  # fmt: skip
    """[T, B, *L], [B] -> [S, *L], [longest].

    Where the lengths are not known, the longest is the whole of time at the example, and less than that
    elsewhere, so that nobody takes it for the size of the input.
    """
    known = known_values(recorder, recorder.node_of(lengths))
    counts = counts_of(recorder, lengths)
    outcomes = []
    for sample in range(SAMPLES):
        whole = at_sample(input, sample)
        if known is None:
            count, longest = counts[sample], max(whole.shape[int(batch_first)] - sample, 1)
        else:
            values = known[sample % len(known)]
            count, longest = int(values.sum()), int(values.max())
        data = whole.meta().new_empty((count, *whole.shape[2:]))
        outcomes.append(outcome_of((data, data.new_empty((longest,), dtype=torch.int64)), []))
    return outcomes


def padded(
    recorder: Recorder, data: RecordedTensor, batch_sizes: RecordedTensor, batch_first: bool, _: Any, total_length: Any
) -> list[Outcome]:
    """[S, *L], [longest] -> [longest or the length asked for, B, *L], [B]."""
    batch = recorder.batches.get(recorder.node_of(batch_sizes))
    counts = counts_of(recorder, batch_sizes) if batch is None else ()
    outcomes = []
    for sample in range(SAMPLES):
        total = _number(total_length, sample)
        whole, count = at_sample(data, sample), counts[sample] if batch is None else _number(batch, sample)
        time = total if total > 0 else at_sample(batch_sizes, sample).shape[0]
        shape = (count, time) if batch_first else (time, count)
        result = whole.meta().new_empty((*shape, *whole.shape[1:]))
        outcomes.append(outcome_of((result, result.new_empty((count,), dtype=torch.int64)), []))
    return outcomes


def first_batch_size(recorder: Recorder, tensor: RecordedTensor) -> int | torch.SymInt | None:
    """The size of the batch, where the tensor is the first of the batch sizes of a packed sequence."""
    node = tensor.node
    if node is None or node.target is not aten.select.int or node.args[1:] != (0, 0):
        return None
    source = node.args[0]
    return recorder.batches.get(source) if isinstance(source, fx.Node) else None


def _number(number: Any, sample: int) -> Any:
    node = number.node if isinstance(number, torch.SymInt) else number
    return node.values[sample] if isinstance(node, SizeNode) else node
