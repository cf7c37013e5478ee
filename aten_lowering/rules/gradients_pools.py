"""Gradients of pools: each result's gradient goes back to the elements that it came from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.registry import lowers
from aten_lowering.rules.adaptive_pools import window_weights
from aten_lowering.rules.convolutions import conv_transpose
from aten_lowering.rules.indexing import scatter_elements
from aten_lowering.rules.matrices import transposed
from aten_lowering.windows import each_axis, pad_space, scaled_range, space_of, weighted_sums
from shape_inference import Size, product, same

aten = torch.ops.aten


def _scattered(op: Builder, grad: Value, like: Value, indices: Value, space: int) -> Value:
    """Gradients [N, C, *O] added up at places in the flattened S of [N, C, *S]."""
    outer = dims(like)[: rank(like) - space]
    nothing = op.expand(op.constant(0.0, dtype(like)), [*outer, product(space_of(like, space))])
    spots, values = (op.reshape(x, [*outer, product(space_of(grad, space))]) for x in (indices, grad))
    return op.reshape(scatter_elements(op, nothing, spots, values, len(outer), "add"), dims(like))


@lowers(aten.max_pool2d_with_indices_backward.default)
def max_pool2d_with_indices_backward(
    op: Builder, grad_output: Value, self: Value, kernel_size: Sequence[int], stride: Sequence[int],
    padding: Sequence[int], dilation: Sequence[int], ceil_mode: bool, indices: Value,
) -> Value:  # fmt: skip
    """[N, C, *O] -> [N, C, *S]: each gradient at the place of its maximum."""
    return _scattered(op, grad_output, self, indices, 2)


@lowers(aten.max_pool3d_with_indices_backward.default)
def max_pool3d_with_indices_backward(
    op: Builder, grad_output: Value, self: Value, kernel_size: Sequence[int], stride: Sequence[int],
    padding: Sequence[int], dilation: Sequence[int], ceil_mode: bool, indices: Value,
) -> Value:  # fmt: skip
    """[N, C, *O] -> [N, C, *S]: each gradient at the place of its maximum."""
    return _scattered(op, grad_output, self, indices, 3)


@lowers(aten.adaptive_max_pool2d_backward.default)
def adaptive_max_pool2d_backward(op: Builder, grad_output: Value, self: Value, indices: Value) -> Value:
    """[N, C, *O] -> [N, C, *S]: each gradient at the place of its maximum."""
    return _scattered(op, grad_output, self, indices, 2)


@lowers(aten.adaptive_max_pool3d_backward.default)
def adaptive_max_pool3d_backward(op: Builder, grad_output: Value, self: Value, indices: Value) -> Value:
    """[N, C, *O] -> [N, C, *S]: each gradient at the place of its maximum."""
    return _scattered(op, grad_output, self, indices, 3)


@lowers(aten.fractional_max_pool2d_backward.default)
def fractional_max_pool2d_backward(
    op: Builder, grad_output: Value, self: Value, kernel_size: Sequence[int], output_size: Sequence[int], indices: Value
) -> Value:
    """[*N, *O] -> [*N, *S]: each gradient at the place of its maximum."""
    return _scattered(op, grad_output, self, indices, 2)


@lowers(aten.fractional_max_pool3d_backward.default)
def fractional_max_pool3d_backward(
    op: Builder, grad_output: Value, self: Value, kernel_size: Sequence[int], output_size: Sequence[int], indices: Value
) -> Value:
    """[*N, *O] -> [*N, *S]: each gradient at the place of its maximum."""
    return _scattered(op, grad_output, self, indices, 3)


@lowers(aten.avg_pool2d_backward.default, aten.avg_pool3d_backward.default)
def avg_pool_backward(
    op: Builder, grad_output: Value, self: Value, kernel_size: Sequence[int], stride: Sequence[int],
    padding: Sequence[int], ceil_mode: bool, count_include_pad: bool, divisor_override: int | None,
) -> Value:  # fmt: skip
    """[N, C, *O] -> [N, C, *S]: each gradient over the elements of its window, to all of these."""
    space = rank(self) - 2 if rank(self) > 3 else rank(self) - 1
    kernel, padding = each_axis(kernel_size, space), each_axis(padding, space)
    stride = each_axis(stride, space, kernel)
    sizes, counts = space_of(self, space), space_of(grad_output, space)
    area = _areas(op, sizes, counts, kernel, stride, padding, count_include_pad, divisor_override, dtype(self))
    outer = product(dims(self)[: rank(self) - space])
    grad = op.reshape(op.Div(grad_output, area), [outer, 1, *counts])
    ones = op.constant(np.ones((1, 1, *kernel), dtype=np.float32), dtype(self))
    result = conv_transpose(op, grad, ones, None, stride, [0] * space, [0] * space, 1, [1] * space)
    reached = [(o - 1) * s + k for o, s, k in zip(counts, stride, kernel, strict=True)]
    rests = [size + p - full for size, p, full in zip(sizes, padding, reached, strict=True)]
    more = [max(rest, 0) if type(rest) is int else s - 1 for rest, s in zip(rests, stride, strict=True)]
    result = pad_space(op, result, [0] * space, more)
    for axis, (size, p) in enumerate(zip(sizes, padding, strict=True)):
        result = op.slice(result, 2 + axis, p, size + p)
    return op.reshape(result, dims(self))


def _areas(
    op: Builder, sizes: Sequence[Size], counts: Sequence[Size], kernel: Sequence[int], stride: Sequence[int],
    padding: Sequence[int], count_include_pad: bool, divisor: int | None, kind: ir.DataType,
) -> Value:  # fmt: skip
    """What each window's sum is divided by: one number, or [*O]."""
    full = all(
        same((o - 1) * s + k - p, size) is True or (type(size) is int and (o - 1) * s + k - p <= size)
        for size, o, k, s, p in zip(sizes, counts, kernel, stride, padding, strict=True)
        if type(o) is int
    ) and all(type(o) is int for o in counts)
    if divisor is not None or (full and (count_include_pad or not any(padding))):
        return op.constant(float(divisor or np.prod(kernel)), kind)
    area: Value | None = None
    for axis, (size, k, count, step, p) in enumerate(zip(sizes, kernel, counts, stride, padding, strict=True)):
        start = op.Sub(scaled_range(op, count, step), p)
        length = op.Sub(op.Min(op.Add(start, k), op.scalar(size + p if count_include_pad else size)), start)
        if not count_include_pad:
            length = op.Add(length, op.Min(start, 0))
        length = op.unsqueeze(length, list(range(1, len(sizes) - axis)))
        area = length if area is None else op.Mul(area, length)
    assert area is not None  # there is an axis
    return op.cast(area, kind)


@lowers(aten._adaptive_avg_pool2d_backward.default)
def adaptive_avg_pool2d_backward(op: Builder, grad_output: Value, self: Value) -> Value:
    """[*N, *O] -> [*N, *S]: by the transposed weights of each axis."""
    return _adaptive_backward(op, grad_output, self, 2)


@lowers(aten._adaptive_avg_pool3d_backward.default)
def adaptive_avg_pool3d_backward(op: Builder, grad_output: Value, self: Value) -> Value:
    """[*N, *O] -> [*N, *S]: by the transposed weights of each axis."""
    return _adaptive_backward(op, grad_output, self, 3)


def _adaptive_backward(op: Builder, grad_output: Value, self: Value, space: int) -> Value:
    first = rank(self) - space
    for axis, size in enumerate(space_of(self, space)):
        weights = window_weights(op, size, dims(grad_output)[first + axis], dtype(self))
        grad_output = weighted_sums(op, grad_output, first + axis, transposed(op, weights))
    return grad_output
