"""Packed sequences: `torch.nn.utils.rnn.PackedSequence`, on the way between its two forms.

Packed, a batch of sequences of falling lengths is [S, *L], step by step the elements of the sequences that are
not over.  Padded, it is [T, B, *L] with lengths, which is what ONNX's recurrent ops take.  What was padded
before it was packed is remembered, so that packing, a layer and padding are the layer alone.
"""

from __future__ import annotations

from typing import NamedTuple

import onnx_ir as ir

from aten_lowering.builder import Builder, Value, dims
from shape_inference import Size

__all__ = ["Packed", "pack", "padded"]


class Packed(NamedTuple):
    """A batch of sequences: `steps` [T, B, *L], `lengths` [B] of int32, the longest of them.

    `zero_behind` says that the elements behind a sequence's end are zero.
    """

    steps: Value
    lengths: Value
    longest: Size
    zero_behind: bool


def pack(op: Builder, packed: Packed) -> Value:
    """[T, B, *L] -> [S, *L]; the padded form is remembered."""
    places = op.unsqueeze(op.Range(op.scalar(0), op.scalar(dims(packed.steps)[0]), op.scalar(1)), [1])
    inside = op.Less(op.cast(places, ir.DataType.INT32), packed.lengths)
    data: Value = op.GatherND(packed.steps, op.transpose(op.NonZero(inside), [1, 0]))
    op.root.notes[data] = packed
    return data


def padded(op: Builder, data: Value, batch_sizes: Value, batch: Size | None) -> Packed:
    """The padded form of packed data [S, *L], batch sizes [longest]; `batch` where it is known."""
    known = op.root.notes.get(data)
    if isinstance(known, Packed):
        return known
    longest = dims(batch_sizes)[0]
    if batch is None:
        batch = op.fresh("batch")
        op.source(batch, op.squeeze(op.slice(batch_sizes, 0, 0, 1), [0]), None)
    sizes = op.unsqueeze(batch_sizes, [1])
    sequences = op.Range(op.scalar(0), op.scalar(batch), op.scalar(1))
    inside = op.Less(sequences, sizes)
    starts = op.CumSum(batch_sizes, op.constant(0), exclusive=1)
    places = op.Where(inside, op.Add(op.unsqueeze(starts, [1]), sequences), 0)
    lengths = op.reduce("ReduceSum", op.cast(inside, ir.DataType.INT32), [0])
    return Packed(op.Gather(data, places, axis=0), lengths, longest, zero_behind=False)
