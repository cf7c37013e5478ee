"""Gradients of what takes elements: they go back to where the elements were taken, and add up."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.registry import lowers
from aten_lowering.rules.indexing import scattered
from aten_lowering.rules.slices import select_scatter, slice_scatter
from aten_lowering.windows import places
from shape_inference import Size, product

aten = torch.ops.aten


@lowers(aten.embedding_dense_backward.default)
def embedding_dense_backward(
    op: Builder, grad_output: Value, indices: Value, num_weights: Size, padding_idx: int, scale_grad_by_freq: bool
) -> Value:  # fmt: skip
    """[*S, D], [*S] -> [V, D]: the rows added up by their index, without those of the padding.

    With scale_grad_by_freq each sum is over how often the index stands there.
    """
    width, kind = dims(grad_output)[-1], dtype(grad_output)
    count = product(dims(indices))
    spots = op.reshape(op.cast(indices, ir.DataType.INT64), [count])
    rows = op.reshape(grad_output, [count, width])
    if padding_idx >= 0:
        counts = op.unsqueeze(op.Equal(spots, padding_idx), [1])
        rows = op.Where(counts, op.constant(0.0, kind), rows)
    zero = op.constant(0.0, kind)
    result = scattered(op, op.expand(zero, [num_weights, width]), spots, rows, 0, "add")
    if not scale_grad_by_freq:
        return result
    ones = op.expand(op.constant(1.0, kind), [count])
    often = scattered(op, op.expand(zero, [num_weights]), spots, ones, 0, "add")
    return op.Div(result, op.unsqueeze(op.Max(often, 1.0), [1]))


def _zeros(op: Builder, like: Value, sizes: Sequence[Size]) -> Value:
    return op.expand(op.constant(0.0, dtype(like)), sizes)


@lowers(aten.slice_backward.default)
def slice_backward(
    op: Builder, grad_output: Value, input_sizes: Sequence[Size], dim: int, start: Size, end: Size, step: int
) -> Value:  # fmt: skip
    """[*L, n, *R] -> [*L, a, *R], zero outside of the slice."""
    return slice_scatter(op, _zeros(op, grad_output, input_sizes), grad_output, dim, start, end, step)


@lowers(aten.select_backward.default)
def select_backward(op: Builder, grad_output: Value, input_sizes: Sequence[Size], dim: int, index: Size) -> Value:
    """[*L, *R] -> [*L, a, *R], zero elsewhere."""
    return select_scatter(op, _zeros(op, grad_output, input_sizes), grad_output, dim, index)


@lowers(aten.unfold_backward.default)
def unfold_backward(
    op: Builder, grad_in: Value, input_sizes: Sequence[Size], dim: int, size: Size, step: Size
) -> Value:  # fmt: skip
    """[*L, T, *R, size] -> [*L, a, *R]: windows that begin `step` apart, added up where they lie over each other."""
    if not input_sizes:
        return op.reshape(grad_in, [])
    axis, last = dim % len(input_sizes), rank(grad_in) - 1
    count = dims(grad_in)[axis]
    windows = op.transpose(grad_in, [*range(axis + 1), last, *range(axis + 1, last)])
    windows = op.reshape(windows, [*dims(grad_in)[:axis], count * size, *dims(grad_in)[axis + 1 : last]])
    spots = op.reshape(op.transpose(places(op, size, count, step, 1), [1, 0]), [count * size])
    return scattered(op, _zeros(op, grad_in, input_sizes), spots, windows, axis, "add")


@lowers(aten.masked_scatter_backward.default)
def masked_scatter_backward(op: Builder, grad_output: Value, mask: Value, sizes: Sequence[Size]) -> Value:
    """[*S], [*S] -> [*sizes]: the k-th element where the mask holds goes to place k; what is not used gets 0."""
    count = product(dims(grad_output))
    chosen = op.reshape(op.expand(mask, dims(grad_output)), [count])
    order = op.CumSum(op.cast(chosen, ir.DataType.INT64), op.constant(0))
    spots = op.Max(op.Sub(order, 1), op.constant(0))
    rows = op.Where(chosen, op.reshape(grad_output, [count]), op.constant(0.0, dtype(grad_output)))
    return op.reshape(scattered(op, _zeros(op, grad_output, [product(sizes)]), spots, rows, 0, "add"), sizes)
