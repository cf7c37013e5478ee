"""Gradients of pools and of interpolation: each result's gradient goes back to the elements that it came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

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


@lowers(aten._adaptive_avg_pool2d_backward.default, aten._adaptive_avg_pool3d_backward.default)
def adaptive_avg_pool_backward(op: Builder, grad_output: Value, self: Value) -> Value:
    """[N, C, *O] -> [N, C, *S]: by the transposed weights of each axis."""
    space = rank(self) - 2 if rank(self) > 3 else rank(self) - 1
    first = rank(self) - space
    for axis, size in enumerate(space_of(self, space)):
        weights = window_weights(op, size, dims(grad_output)[first + axis], dtype(self))
        grad_output = weighted_sums(op, grad_output, first + axis, transposed(op, weights))
    return grad_output


# Interpolation: a matrix [O, S] an axis, transposed.


def _points(op: Builder, size: Size, count: Size, scale: float | None, aligned: bool, half: bool) -> Value:
    """Where in the input each element of the output lies: [count], float32."""
    places = op.cast(scaled_range(op, count, 1), ir.DataType.FLOAT)
    if aligned:
        steps = op.Max(op.Sub(op.scalar(count, ir.DataType.FLOAT), 1.0), 1.0)
        return op.Mul(places, op.Div(op.Sub(op.scalar(size, ir.DataType.FLOAT), 1.0), steps))
    if scale:
        step = op.constant(1.0 / scale, ir.DataType.FLOAT)
    else:
        step = op.Div(op.scalar(size, ir.DataType.FLOAT), op.scalar(count, ir.DataType.FLOAT))
    return op.Sub(op.Mul(op.Add(places, 0.5), step), 0.5) if half else op.Mul(places, step)


def _linear_weights(op: Builder, size: Size, count: Size, scale: float | None, aligned: bool) -> Value:
    """[count, size]: 1 - |p - s|, at least 0, for points p within the input."""
    last = op.Sub(op.scalar(size, ir.DataType.FLOAT), 1.0)
    points = op.Min(op.Max(_points(op, size, count, scale, aligned, True), 0.0), last)
    distance = op.Abs(op.Sub(op.unsqueeze(points, [1]), op.cast(scaled_range(op, size, 1), ir.DataType.FLOAT)))
    return op.Relu(op.Sub(1.0, distance))


def _nearest_weights(op: Builder, size: Size, count: Size, scale: float | None, exact: bool) -> Value:
    """[count, size]: 1 where the output's element is a copy of the input's."""
    points = _points(op, size, count, scale, False, exact)
    if exact:
        points = op.Add(points, 0.5)
    places = op.Min(op.cast(op.Floor(points), ir.DataType.INT64), op.scalar(size - 1))
    chosen = op.Equal(op.unsqueeze(places, [1]), scaled_range(op, size, 1))
    return op.cast(chosen, ir.DataType.FLOAT)


def _spread(
    op: Builder, grad: Value, sizes: Sequence[Size], weights: Callable[[int, Size, Size], Value]
) -> Value:  # fmt: skip
    """[N, C, *O] -> [N, C, *S], by the transposed weights of each axis."""
    for axis, size in enumerate(sizes):
        matrix = op.cast(weights(axis, size, dims(grad)[2 + axis]), dtype(grad))
        grad = weighted_sums(op, grad, 2 + axis, transposed(op, matrix))
    return grad


def _linear_backward(
    op: Builder, grad: Value, input_size: Sequence[Size], aligned: bool, scales: Sequence[float | None]
) -> Value:  # fmt: skip
    return _spread(
        op, grad, input_size[2:], lambda axis, size, count: _linear_weights(op, size, count, scales[axis], aligned)
    )


@lowers(aten.upsample_linear1d_backward.default)
def upsample_linear1d_backward(
    op: Builder, grad_output: Value, output_size: Sequence[Size], input_size: Sequence[Size], align_corners: bool,
    scales: float | None,
) -> Value:  # fmt: skip
    """[N, C, O] -> [N, C, S]."""
    return _linear_backward(op, grad_output, input_size, align_corners, [scales])


@lowers(aten.upsample_bilinear2d_backward.default)
def upsample_bilinear2d_backward(
    op: Builder, grad_output: Value, output_size: Sequence[Size], input_size: Sequence[Size], align_corners: bool,
    scales_h: float | None, scales_w: float | None,
) -> Value:  # fmt: skip
    """[N, C, *O] -> [N, C, *S]."""
    return _linear_backward(op, grad_output, input_size, align_corners, [scales_h, scales_w])


@lowers(aten.upsample_trilinear3d_backward.default)
def upsample_trilinear3d_backward(
    op: Builder, grad_output: Value, output_size: Sequence[Size], input_size: Sequence[Size], align_corners: bool,
    scales_d: float | None, scales_h: float | None, scales_w: float | None,
) -> Value:  # fmt: skip
    """[N, C, *O] -> [N, C, *S]."""
    return _linear_backward(op, grad_output, input_size, align_corners, [scales_d, scales_h, scales_w])


def _nearest_backward(overload: Any, space: int, exact: bool) -> None:
    def backward(op: Builder, grad_output: Value, input_size: Sequence[Size], scales: Sequence[float | None]) -> Value:
        return _spread(
            op, grad_output, input_size[2:],
            lambda axis, size, count: _nearest_weights(op, size, count, scales[axis], exact),
        )  # fmt: skip

    def one(
        op: Builder, grad_output: Value, output_size: Sequence[Size], input_size: Sequence[Size], scales: float | None
    ) -> Value:  # fmt: skip
        return backward(op, grad_output, input_size, [scales])

    def two(
        op: Builder, grad_output: Value, output_size: Sequence[Size], input_size: Sequence[Size],
        scales_h: float | None, scales_w: float | None,
    ) -> Value:  # fmt: skip
        return backward(op, grad_output, input_size, [scales_h, scales_w])

    def three(
        op: Builder, grad_output: Value, output_size: Sequence[Size], input_size: Sequence[Size],
        scales_d: float | None, scales_h: float | None, scales_w: float | None,
    ) -> Value:  # fmt: skip
        return backward(op, grad_output, input_size, [scales_d, scales_h, scales_w])

    rules: dict[int, Callable[..., Value]] = {1: one, 2: two, 3: three}
    lowers(overload)(rules[space])


for _overload, _space, _exact in (
    (aten.upsample_nearest1d_backward.default, 1, False),
    (aten.upsample_nearest2d_backward.default, 2, False),
    (aten.upsample_nearest3d_backward.default, 3, False),
    (aten._upsample_nearest_exact1d_backward.default, 1, True),
    (aten._upsample_nearest_exact2d_backward.default, 2, True),
    (aten._upsample_nearest_exact3d_backward.default, 3, True),
):
    _nearest_backward(_overload, _space, _exact)
