"""Gradients of convolutions: those of the input are convolutions again, those of the weight products of windows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from aten_lowering.builder import Builder, Value, dims, rank
from aten_lowering.registry import lowers
from aten_lowering.rules.convolutions import conv, conv_transpose
from aten_lowering.rules.matrices import transposed as swapped
from aten_lowering.windows import each_axis, pad_space, space_of
from shape_inference import Size, product

aten = torch.ops.aten

# Where a kernel has more elements, its weight's gradient is a convolution and not a product of windows.
_MOST_WINDOWS = 30


@lowers(aten.convolution_backward.default)
def convolution_backward(
    op: Builder, grad_output: Value, input: Value, weight: Value, bias_sizes: Sequence[Size] | None,
    stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], transposed: bool,
    output_padding: Sequence[int], groups: int, output_mask: Sequence[bool],
) -> tuple[Value, ...]:  # fmt: skip
    """The gradients that are asked for: of the input [N, C, *S], the weight, and the bias [M]."""
    space = rank(weight) - 2
    stride, padding, dilation = (each_axis(setting, space) for setting in (stride, padding, dilation))
    results = []
    if output_mask[0] and transposed:
        result = conv(op, grad_output, weight, None, stride, padding, dilation, groups)
        for axis, size in enumerate(space_of(input, space)):
            result = op.slice(result, rank(result) - space + axis, 0, size)  # longer where the output was padded
        results.append(result)
    elif output_mask[0]:
        results.append(_of_input(op, grad_output, input, weight, stride, padding, dilation, groups))
    if output_mask[1]:
        image, grad = (grad_output, input) if transposed else (input, grad_output)
        results.append(_of_weight(op, grad, image, dims(weight), stride, padding, dilation, groups))
    if output_mask[2]:
        results.append(op.reduce("ReduceSum", grad_output, [0, *range(2, 2 + space)]))
    return tuple(results)


def _of_input(
    op: Builder, grad: Value, input: Value, weight: Value, stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], groups: int,
) -> Value:  # fmt: skip
    """A transposed convolution; at stride 1 a plain one by the reversed kernel, for which runtimes are faster."""
    space = rank(weight) - 2
    kernel = space_of(weight, space)
    ends = [d * (k - 1) - p for k, d, p in zip(kernel, dilation, padding, strict=True)]
    if groups == 1 and set(stride) == {1} and all(type(end) is int and end >= 0 for end in ends):
        reverse = op.transpose(weight, [1, 0, *range(2, 2 + space)])
        if product(kernel) != 1:
            low = [-1] * space
            reverse = op.Slice(reverse, low, [-(2**62)] * space, list(range(2, 2 + space)), low)
        return op.sized(conv(op, grad, reverse, None, stride, ends, dilation, 1), dims(input))
    sizes, counts = space_of(input, space), space_of(grad, space)
    reached = [
        (o - 1) * s + d * (k - 1) + 1 for o, s, d, k in zip(counts, stride, dilation, kernel, strict=True)
    ]  # fmt: skip
    missing = [size + 2 * p - full for size, p, full in zip(sizes, padding, reached, strict=True)]
    extra = [rest for rest in missing if isinstance(rest, int) and rest >= 0]
    if len(extra) == space:
        result = conv_transpose(op, grad, weight, None, stride, padding, extra, groups, dilation)
        return op.sized(result, dims(input))
    result = conv_transpose(op, grad, weight, None, stride, [0] * space, [0] * space, groups, dilation)
    result = pad_space(op, result, [0] * space, [s - 1 for s in stride])
    for axis, (size, p) in enumerate(zip(sizes, padding, strict=True)):
        result = op.slice(result, 2 + axis, p, size + p)
    return op.sized(result, dims(input))


def _of_weight(
    op: Builder, grad: Value, image: Value, shape: Sequence[Size], stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], groups: int,
) -> Value:  # fmt: skip
    """[N, M, *O], [N, C, *S] -> [M, C / g, *K]: each tap's window of the image times the gradient, summed over N, O."""
    maps, depth = shape[:2]
    kernel = [size for size in shape[2:] if isinstance(size, int)]  # a kernel's sizes are known
    space = len(kernel)
    image = pad_space(op, image, padding, padding)
    if groups == 1 and math.prod(kernel) > _MOST_WINDOWS:
        return _by_convolution(op, grad, image, shape, stride, dilation)
    counts, (batch, channels) = space_of(grad, space), dims(image)[:2]
    windows = _windows(op, image, kernel, counts, stride, dilation)
    area = product(counts)
    lead = [batch] if groups == 1 else [batch, groups]
    columns = op.reshape(windows, [*lead, channels // groups * product(kernel), area])
    rows = op.reshape(grad, [*lead, maps // groups, area])
    products = op.MatMul(rows, swapped(op, columns))
    return op.reshape(op.reduce("ReduceSum", products, [0]), [maps, depth, *kernel])


def _windows(
    op: Builder, image: Value, kernel: Sequence[int], counts: Sequence[Size], stride: Sequence[int],
    dilation: Sequence[int],
) -> Value:  # fmt: skip
    """[N, C, *S] -> [N, C, *K, *O], each tap's elements a strided slice; axes of K of size 1 are left out."""
    kept = 0
    for axis, size in enumerate(kernel):
        place = 2 + kept
        if size > 1:
            image = op.unsqueeze(image, [place])
            kept += 1
        taps = []
        for tap in range(size):
            start = tap * dilation[axis]
            end = start + (counts[axis] - 1) * stride[axis] + 1
            taps.append(op.slice(image, 2 + kept + axis, start, end, stride[axis]))
        image = op.Concat(*taps, axis=place) if size > 1 else taps[0]
    return image


def _by_convolution(
    op: Builder, grad: Value, image: Value, shape: Sequence[Size], stride: Sequence[int], dilation: Sequence[int]
) -> Value:  # fmt: skip
    """The image convolved with the gradient as kernel: batch and channels change places, stride and dilation too."""
    space = len(shape) - 2
    order = [1, 0, *range(2, 2 + space)]
    x, kernel = op.transpose(image, order), op.transpose(grad, order)
    result = conv(op, x, kernel, None, dilation, [0] * space, stride, 1)
    for axis, size in enumerate(shape[2:]):
        result = op.slice(result, 2 + axis, 0, size)
    return op.transpose(result, order)
