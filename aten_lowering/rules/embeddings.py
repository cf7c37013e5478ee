"""Rows of a table: embeddings, bags of them, one-hot vectors."""

from __future__ import annotations

import onnx_ir as ir
import torch

from aten_lowering.axes import arange
from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.precision import widened
from aten_lowering.registry import lowers
from aten_lowering.rules.indexing import scattered
from aten_lowering.rules.norms import vector_norm
from shape_inference import Size, product

aten = torch.ops.aten


@lowers(aten.embedding.default)
def embedding(
    op: Builder, weight: Value, indices: Value, padding_idx: int, scale_grad_by_freq: bool, sparse: bool
) -> Value:  # fmt: skip
    """[V, D], [*S] -> [*S, D]; the last three arguments concern gradients alone."""
    return op.Gather(weight, indices)


@lowers(aten.embedding_renorm.default)
def embedding_renorm(op: Builder, self: Value, indices: Value, max_norm: float, norm_type: float) -> Value:
    """[V, D], [*S] -> [V, D]: the rows that are asked for, scaled to a norm of at most max_norm."""
    places = op.reshape(op.cast(indices, ir.DataType.INT64), [product(dims(indices))])
    rows = op.Gather(self, places)
    norm = vector_norm(op, rows, norm_type, [1], True)
    scale = op.Where(op.Greater(norm, max_norm), op.Div(max_norm, op.Add(norm, 1e-7)), 1.0)
    return op.ScatterND(self, op.unsqueeze(places, [1]), op.Mul(rows, scale))


@lowers(aten.one_hot.default)
def one_hot(op: Builder, self: Value, num_classes: Size) -> Value:
    """[*S] -> [*S, num_classes], int64."""
    indices, depth = op.cast(self, ir.DataType.INT64), op.scalar(num_classes)
    if not rank(self):
        return op.squeeze(op.OneHot(op.reshape(indices, [1]), depth, op.constant([0, 1])), [0])
    return op.OneHot(indices, depth, op.constant([0, 1]))


# Bags.

_SUM, _MEAN, _MAX = 0, 1, 2


@lowers(aten.embedding_bag.padding_idx)
def embedding_bag(
    op: Builder, weight: Value, indices: Value, offsets: Value, scale_grad_by_freq: bool, mode: int, sparse: bool,
    per_sample_weights: Value | None, include_last_offset: bool, padding_idx: int | None,
) -> tuple[Value, ...]:  # fmt: skip
    """[V, D], indices [n], the bags' starts [B] -> [B, D], the sum, mean or maximum of each bag's rows.

    Rows of the padding index do not count.  Of the four results only the first is there: the others
    serve gradients.
    """
    bags = dims(offsets)[0] - int(include_last_offset)
    places, bag = op.cast(indices, ir.DataType.INT64), _bags(op, dims(indices)[0], offsets, bags)
    rows = op.Gather(widened(op, weight), places)
    counts = None
    if padding_idx is not None:
        padding = padding_idx if padding_idx >= 0 else padding_idx + dims(weight)[0]
        counts = op.Not(op.Equal(places, padding))
        rows = op.Where(op.unsqueeze(counts, [1]), rows, 0.0 if mode != _MAX else float("-inf"))
    if per_sample_weights is not None:
        rows = op.Mul(rows, op.unsqueeze(op.cast(per_sample_weights, dtype(rows)), [1]))
    start = op.expand(op.constant(0.0 if mode != _MAX else float("-inf"), dtype(rows)), [bags, dims(weight)[1]])
    result = scattered(op, start, bag, rows, 0, "add" if mode != _MAX else "max")
    if mode != _SUM:
        one = op.constant(1.0, dtype(rows))
        ones = op.expand(one, dims(places)) if counts is None else op.cast(counts, dtype(rows))
        zeros = op.expand(op.constant(0.0, dtype(rows)), [bags])
        sizes = op.unsqueeze(scattered(op, zeros, bag, ones, 0, "add"), [1])
        result = op.Div(result, op.Max(sizes, 1.0)) if mode == _MEAN else op.Where(op.Equal(sizes, 0.0), 0.0, result)
    return (op.cast(result, dtype(weight)),)


@lowers(aten.embedding_bag.default)
def embedding_bag_plain(
    op: Builder, weight: Value, indices: Value, offsets: Value, scale_grad_by_freq: bool, mode: int, sparse: bool,
    per_sample_weights: Value | None, include_last_offset: bool,
) -> tuple[Value, ...]:  # fmt: skip
    """`embedding_bag` without a padding index."""
    return embedding_bag(
        op, weight, indices, offsets, scale_grad_by_freq, mode, sparse, per_sample_weights, include_last_offset, None
    )


@lowers(aten._embedding_bag.default, aten._embedding_bag_forward_only.default)
def embedding_bag_inner(
    op: Builder, weight: Value, indices: Value, offsets: Value, scale_grad_by_freq: bool, mode: int, sparse: bool,
    per_sample_weights: Value | None, include_last_offset: bool, padding_idx: int,
) -> tuple[Value, ...]:  # fmt: skip
    """`embedding_bag`; a padding index of -1 is none."""
    padding = None if padding_idx == -1 else padding_idx
    return embedding_bag(
        op, weight, indices, offsets, scale_grad_by_freq, mode, sparse, per_sample_weights, include_last_offset, padding
    )


def _bags(op: Builder, count: Size, offsets: Value, bags: Size) -> Value:
    """The bag of each place, [count]: how many bags start at or before it, less one."""
    starts = op.slice(op.cast(offsets, ir.DataType.INT64), 0, 0, bags)
    begun = op.LessOrEqual(starts, op.unsqueeze(arange(op, count), [1]))
    return op.Sub(op.reduce("ReduceSum", op.cast(begun, ir.DataType.INT64), [1]), 1)
