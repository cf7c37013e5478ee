"""Gradients of what takes elements: they go back to where the elements were taken, and add up."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype
from aten_lowering.registry import lowers
from aten_lowering.rules.indexing import scattered
from aten_lowering.rules.slices import select_scatter, slice_scatter
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
    places = op.reshape(op.cast(indices, ir.DataType.INT64), [count])
    rows = op.reshape(grad_output, [count, width])
    if padding_idx >= 0:
        counts = op.unsqueeze(op.Equal(places, padding_idx), [1])
        rows = op.Where(counts, op.constant(0.0, kind), rows)
    zero = op.constant(0.0, kind)
    result = scattered(op, op.expand(zero, [num_weights, width]), places, rows, 0, "add")
    if not scale_grad_by_freq:
        return result
    ones = op.expand(op.constant(1.0, kind), [count])
    often = scattered(op, op.expand(zero, [num_weights]), places, ones, 0, "add")
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
