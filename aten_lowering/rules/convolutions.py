"""Convolutions, plain and transposed, in one to three dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.registry import lowers
from aten_lowering.windows import (
    batched,
    each_axis,
    float_kernel,
    gather_windows,
    pad_space,
    places,
    scaled_range,
    sizes_after,
    space_of,
    unbatched,
)
from shape_inference import Dim, Size

aten = torch.ops.aten

# The runtime convolves these; it takes float16 apart by itself.
_NATIVE = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16})


@lowers(aten.conv1d.default, aten.conv2d.default, aten.conv3d.default)
def conv(
    op: Builder, input: Value, weight: Value, bias: Value | None, stride: Sequence[int],
    padding: Sequence[Size], dilation: Sequence[int], groups: int,
) -> Value:  # fmt: skip
    """[N, C, *S] -> [N, M, *S'], S' = (S + 2 padding - dilation (k - 1) - 1) // stride + 1.

    float64 and integers have no kernel in onnxruntime: there the windows are gathered and multiplied,
    in the dtype itself, so that every integer is exact.
    """
    space = rank(weight) - 2
    padding = each_axis(padding, space)
    return _convolved(op, input, weight, bias, stride, padding, padding, dilation, groups)


@lowers(aten.conv1d.padding, aten.conv2d.padding, aten.conv3d.padding)
def conv_mode(
    op: Builder, input: Value, weight: Value, bias: Value | None, stride: Sequence[int],
    padding: str, dilation: Sequence[int], groups: int,
) -> Value:  # fmt: skip
    """[N, C, *S] -> [N, M, *S'], S' = S for "same", where the odd element of padding comes last."""
    space = rank(weight) - 2
    dilation = each_axis(dilation, space)
    totals: list[Size] = [0] * space
    if padding == "same":
        totals = [d * (k - 1) for d, k in zip(dilation, space_of(weight, space), strict=True)]
    begin = [total // 2 for total in totals]
    end = [total - half for total, half in zip(totals, begin, strict=True)]
    return _convolved(op, input, weight, bias, stride, begin, end, dilation, groups)


@lowers(aten._convolution_mode.default)
def _convolution_mode(
    op: Builder, input: Value, weight: Value, bias: Value | None, stride: Sequence[int],
    padding: str, dilation: Sequence[int], groups: int,
) -> Value:  # fmt: skip
    """[N, C, *S] -> [N, M, *S'], with a padding mode."""
    return conv_mode(op, input, weight, bias, stride, padding, dilation, groups)


@lowers(aten.convolution.default, aten._convolution.default)
def convolution(
    op: Builder, input: Value, weight: Value, bias: Value | None, stride: Sequence[int],
    padding: Sequence[int], dilation: Sequence[int], transposed: bool, output_padding: Sequence[int], groups: int,
) -> Value:  # fmt: skip
    """[N, C, *S] -> [N, M, *S'], plain or transposed."""
    if transposed:
        return conv_transpose(op, input, weight, bias, stride, padding, output_padding, groups, dilation)
    return conv(op, input, weight, bias, stride, padding, dilation, groups)


@lowers(aten.conv_transpose1d.default, aten.conv_transpose2d.input, aten.conv_transpose3d.input)
def conv_transpose(
    op: Builder, input: Value, weight: Value, bias: Value | None, stride: Sequence[int],
    padding: Sequence[int], output_padding: Sequence[int], groups: Size, dilation: Sequence[int],
) -> Value:  # fmt: skip
    """[N, C, *S] -> [N, M, *S'], S' = (S - 1) stride - 2 padding + dilation (k - 1) + output_padding + 1."""
    space = rank(weight) - 2
    stride, padding, dilation = (each_axis(setting, space) for setting in (stride, padding, dilation))
    extra = each_axis(output_padding, space)
    x = batched(op, input, space)
    kind = dtype(x)
    if (kind not in _NATIVE and float_kernel(kind) == kind) or isinstance(groups, Dim):
        result = _transposed_by_products(op, x, weight, bias, stride, padding, extra, groups, dilation)
        return unbatched(op, result, input)
    odd = any(more >= step for more, step in zip(extra, stride, strict=True))
    result = op.ConvTranspose(
        *_as_float(op, [x, weight, None if odd else bias]), strides=stride, dilations=_unless_one(dilation),
        pads=[*padding, *(_cut(padding, extra) if odd else padding)],
        output_padding=extra if any(extra) and not odd else None, group=groups if groups > 1 else None,
    )  # fmt: skip
    if odd:
        result = pad_space(op, result, [0] * space, _cut(extra, padding))
        result = result if bias is None else op.Add(result, op.reshape(bias, [dims(result)[1], *[1] * space]))
    return unbatched(op, op.cast(result, kind), input)


@lowers(aten.slow_conv3d.default, aten.thnn_conv2d.default, aten._slow_conv2d_forward.default,
        aten.slow_conv3d_forward.default)  # fmt: skip
def slow_conv(
    op: Builder, self: Value, weight: Value, kernel_size: Sequence[int], bias: Value | None,
    stride: Sequence[int], padding: Sequence[Size],
) -> Value:  # fmt: skip
    """[N, C, *S] -> [N, M, *S'], as `conv`; the kernel's size is that of the weight."""
    return conv(op, self, weight, bias, stride, padding, [1], 1)


@lowers(aten.slow_conv_dilated2d.default, aten.slow_conv_dilated3d.default)
def slow_conv_dilated(
    op: Builder, self: Value, weight: Value, kernel_size: Sequence[int], bias: Value | None,
    stride: Sequence[int], padding: Sequence[Size], dilation: Sequence[int],
) -> Value:  # fmt: skip
    """[N, C, *S] -> [N, M, *S'], likewise, dilated."""
    return conv(op, self, weight, bias, stride, padding, dilation, 1)


@lowers(aten.slow_conv_transpose2d.default, aten.slow_conv_transpose3d.default)
def slow_conv_transpose(
    op: Builder, self: Value, weight: Value, kernel_size: Sequence[int], bias: Value | None,
    stride: Sequence[int], padding: Sequence[int], output_padding: Sequence[int], dilation: Sequence[int],
) -> Value:  # fmt: skip
    """[N, C, *S] -> [N, M, *S'], as `conv_transpose`."""
    return conv_transpose(op, self, weight, bias, stride, padding, output_padding, 1, dilation)


def _cut(setting: Sequence[int], by: Sequence[int]) -> list[int]:
    """The setting less the other one: runtimes refuse an output_padding of the stride or more.

    It takes back padding at the end first; beyond the padding it adds elements that nothing reaches.
    """
    return [max(a - b, 0) for a, b in zip(setting, by, strict=True)]


@lowers(aten.conv_tbc.default)
def conv_tbc(op: Builder, self: Value, weight: Value, bias: Value, pad: int) -> Value:
    """[T, B, C], [k, C, M], [M] -> [T + 2 pad - k + 1, B, M]."""
    x, kernel = op.transpose(self, [1, 2, 0]), op.transpose(weight, [2, 1, 0])
    return op.transpose(_convolved(op, x, kernel, bias, [1], [pad], [pad], [1], 1), [2, 0, 1])


def _convolved(
    op: Builder, input: Value, weight: Value, bias: Value | None, stride: Sequence[int],
    begin: Sequence[Size], end: Sequence[Size], dilation: Sequence[int], groups: Size,
) -> Value:  # fmt: skip
    """By Conv, or by products of windows: of integers, and in a number of groups that is open."""
    space = rank(weight) - 2
    stride, dilation = each_axis(stride, space), each_axis(dilation, space)
    x = batched(op, input, space)
    kind = dtype(x)
    if any(isinstance(size, Dim) for size in (*begin, *end)):
        x = pad_space(op, x, begin, end)
        begin = end = [0] * space
    if (kind not in _NATIVE and float_kernel(kind) == kind) or isinstance(groups, Dim):
        x = pad_space(op, x, begin, end)
        return unbatched(op, _by_products(op, x, weight, bias, stride, dilation, groups), input)
    result = op.Conv(
        *_as_float(op, [x, weight, bias]), strides=stride, pads=[*begin, *end], dilations=_unless_one(dilation),
        group=groups if groups > 1 else None,
    )  # fmt: skip
    return unbatched(op, op.cast(result, kind), input)


def _unless_one(setting: Sequence[int]) -> Sequence[int] | None:
    return None if all(number == 1 for number in setting) else setting


def _as_float(op: Builder, values: Sequence[Value | None]) -> list[Value]:
    return [op.cast(value, float_kernel(dtype(value))) for value in values if value is not None]


def _by_products(
    op: Builder, x: Value, weight: Value, bias: Value | None, stride: Sequence[int], dilation: Sequence[int],
    groups: Size,
) -> Value:  # fmt: skip
    """A convolution without padding: each window a column, [N, C, *S] -> [N, M, *O]."""
    space = rank(weight) - 2
    kernel = space_of(weight, space)
    counts = sizes_after(space_of(x, space), kernel, stride, [0] * space, dilation)
    tables = [places(op, *setting) for setting in zip(kernel, counts, stride, dilation, strict=True)]
    return _multiplied(op, gather_windows(op, x, tables), weight, bias, counts, groups)


def _multiplied(
    op: Builder, windows: Value, weight: Value, bias: Value | None, counts: Sequence[Size], groups: Size
) -> Value:  # fmt: skip
    """[N, C, K_1, O_1, …], [M, C/g, *K] -> [N, M, *O], by one product a group."""
    space = len(counts)
    batch, (maps, depth) = dims(windows)[0], dims(weight)[:2]
    taps, spots = [2 + 2 * i for i in range(space)], [3 + 2 * i for i in range(space)]
    columns = op.transpose(windows, [0, 1, *taps, *spots])
    length: Size = depth
    for size in dims(weight)[2:]:
        length = length * size
    area: Size = 1
    for count in counts:
        area = area * count
    columns = op.reshape(columns, [batch, groups, length, area])
    rows = op.reshape(weight, [groups, maps // groups, length])
    result = op.reshape(op.MatMul(rows, columns), [batch, maps, *counts])
    return result if bias is None else op.Add(result, op.reshape(bias, [maps, *[1] * space]))


def _transposed_by_products(
    op: Builder, x: Value, weight: Value, bias: Value | None, stride: Sequence[int], padding: Sequence[int],
    extra: Sequence[int], groups: Size, dilation: Sequence[int],
) -> Value:  # fmt: skip
    """A transposed convolution: a plain one over x with stride - 1 zeros between neighbours.

    The zeros are all the one element that is put behind each axis; the kernel is reversed.
    """
    space = rank(weight) - 2
    sizes, kernel = space_of(x, space), space_of(weight, space)
    counts: list[Size] = []
    tables = []
    for s, k, step, p, more, d in zip(sizes, kernel, stride, padding, extra, dilation, strict=True):
        counts.append((s - 1) * step - 2 * p + d * (k - 1) + more + 1)
        # Window o takes, at tap k of the reversed kernel, the place o + p - d (K - 1 - k) of the spread axis.
        spread = op.Add(places(op, k, counts[-1], 1, d), op.scalar(p - d * (k - 1)))
        spot, between = op.Div(spread, step), op.Mod(spread, step)
        inside = op.And(op.And(op.GreaterOrEqual(spread, 0), op.Less(spot, s)), op.Equal(between, 0))
        tables.append(op.Where(inside, spot, s))
    windows = gather_windows(op, pad_space(op, x, [0] * space, [1] * space), tables)
    depth, per_group = dims(weight)[0] // groups, dims(weight)[1]
    rows = op.transpose(op.reshape(weight, [groups, depth, per_group, *kernel]), [0, 2, 1, *range(3, 3 + space)])
    rows = op.reshape(rows, [groups * per_group, depth, *kernel])
    for axis, size in enumerate(kernel):
        rows = op.Gather(rows, op.Sub(size - 1, scaled_range(op, size, 1)), axis=2 + axis)
    return _multiplied(op, windows, rows, bias, counts, groups)
