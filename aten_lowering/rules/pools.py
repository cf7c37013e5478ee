"""Pools over windows of fixed size: maxima, averages, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.dtypes import is_integer
from aten_lowering.errors import LoweringError
from aten_lowering.registry import lowers
from aten_lowering.windows import (
    batched,
    each_axis,
    float_kernel,
    gather_windows,
    pad_space,
    places,
    scaled_range,
    space_of,
    unbatched,
)
from shape_inference import Size, ceil_div, larger, product, same, smaller

aten = torch.ops.aten

_MAXIMA = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.INT8, ir.DataType.UINT8})
_AVERAGES = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16})

_MAX_POOLS: dict[Any, int] = {aten.max_pool1d.default: 1, aten.max_pool2d.default: 2, aten.max_pool3d.default: 3}
_MAX_POOLS_WITH_INDICES: dict[Any, int] = {
    aten.max_pool1d_with_indices.default: 1,
    aten.max_pool2d_with_indices.default: 2,
    aten.max_pool3d_with_indices.default: 3,
}
_AVERAGE_POOLS: dict[Any, int] = {aten.avg_pool2d.default: 2, aten.avg_pool3d.default: 3}


def _max_pool(overload: Any, space: int) -> None:
    @lowers(overload)
    def max_pool(
        op: Builder, self: Value, kernel_size: Sequence[int], stride: Sequence[int], padding: Sequence[int],
        dilation: Sequence[int], ceil_mode: bool,
    ) -> Value:  # fmt: skip
        """[N, C, *S] -> [N, C, *S'], S' = (S + 2 padding - dilation (k - 1) - 1) / stride + 1, down or up."""
        return _maxima(op, self, space, 1, kernel_size, stride, padding, dilation, ceil_mode)[0]


def _max_pool_with_indices(overload: Any, space: int) -> None:
    @lowers(overload)
    def max_pool_with_indices(
        op: Builder, self: Value, kernel_size: Sequence[int], stride: Sequence[int], padding: Sequence[int],
        dilation: Sequence[int], ceil_mode: bool,
    ) -> tuple[Value, Value]:  # fmt: skip
        """[N, C, *S] -> [N, C, *S'] twice: the maxima, and where in the flattened S each of them lies."""
        pooled, index = _maxima(op, self, space, 2, kernel_size, stride, padding, dilation, ceil_mode)
        # ONNX counts over the whole tensor.
        return pooled, op.Mod(index, product(space_of(self, space)))


for _overload, _space in _MAX_POOLS.items():
    _max_pool(_overload, _space)
for _overload, _space in _MAX_POOLS_WITH_INDICES.items():
    _max_pool_with_indices(_overload, _space)


def _maxima(
    op: Builder, x: Value, space: int, outputs: int, kernel: Sequence[int], stride: Sequence[int],
    padding: Sequence[int], dilation: Sequence[int], ceil_mode: bool,
) -> list[Value]:  # fmt: skip
    """MaxPool's results; NaN counts as the least number, in torch as the greatest.

    Integers beyond 8 bits are compared as float64, exact up to 2^53.
    """
    kind = dtype(x)
    wide = float_kernel(kind) if kind in _MAXIMA or not is_integer(kind) else ir.DataType.DOUBLE
    kernel, dilation, padding = (each_axis(setting, space) for setting in (kernel, dilation, padding))
    stride = each_axis(stride, space, kernel)
    if axes := _whole_axes("max_pool", kernel, space_of(x, space), padding, outputs > 1):
        x = op.reduce("ReduceMax", x, [rank(x) - space + axis for axis in axes], keepdims=True)
        kernel, stride = ([1 if axis in axes else s for axis, s in enumerate(by)] for by in (kernel, stride))
        if not any(padding) and {*kernel, *stride} == {1}:
            return [x]
    results = op.emit(
        "MaxPool", [_padded_apart(op, op.cast(batched(op, x, space), wide))],
        {
            "kernel_shape": kernel, "strides": stride, "pads": [*padding, *padding],
            "dilations": None if set(dilation) == {1} else dilation, "ceil_mode": int(ceil_mode) or None,
        }, outputs=outputs,
    )  # fmt: skip
    pooled, *index = results if outputs > 1 else [results]
    return [unbatched(op, result, x) for result in (op.cast(pooled, kind), *index)]


def _padded_apart(op: Builder, x: Value) -> Value:
    """The same, with zeros around it that no runtime takes for the padding of MaxPool, which is the least number.

    onnxruntime's PadFusion does that up to 1.31 at least; it leaves alone what names its axes, and a zero that has
    any bit set.
    """
    node = x.producer()
    if node is None or node.op_type != "Pad" or "mode" in node.attributes or len(node.inputs) > 3:
        return x
    value, pads, *number = node.inputs
    if op.opset_version >= 18:
        return op.Pad(value, pads, *(number or [None]), list(range(rank(x))))
    return x if number or is_integer(dtype(x)) else op.Pad(value, pads, op.constant(-0.0, dtype(x)))


def _whole_axes(
    name: str, kernel: Sequence[Size], sizes: Sequence[Size], padding: Sequence[int], asks_more: bool
) -> list[int]:  # fmt: skip
    """The axes along which a window is of a symbolic size, which must be all of the axis, and not `asks_more`."""
    axes = [axis for axis, k in enumerate(kernel) if type(k) is not int]
    if any(asks_more or padding[axis] or same(kernel[axis], sizes[axis]) is not True for axis in axes):
        raise LoweringError(
            f"aten.{name}: kernel_size must be static or, without padding, the whole of an axis, got {kernel}",
            hint="pool with a window of fixed size, or with adaptive pooling",
        )
    return axes


@lowers(aten.avg_pool1d.default)
def avg_pool1d(
    op: Builder, self: Value, kernel_size: Sequence[int], stride: Sequence[int], padding: Sequence[int],
    ceil_mode: bool, count_include_pad: bool,
) -> Value:  # fmt: skip
    """[N, C, L] -> [N, C, L']."""
    return _averages(op, self, 1, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def _avg_pool(overload: Any, space: int) -> None:
    @lowers(overload)
    def avg_pool(
        op: Builder, self: Value, kernel_size: Sequence[int], stride: Sequence[int], padding: Sequence[int],
        ceil_mode: bool, count_include_pad: bool, divisor_override: int | None,
    ) -> Value:  # fmt: skip
        """[N, C, *S] -> [N, C, *S'], S' = (S + 2 padding - k) / stride + 1, down or up."""
        return _averages(op, self, space, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


for _overload, _space in _AVERAGE_POOLS.items():
    _avg_pool(_overload, _space)


def _averages(
    op: Builder, x: Value, space: int, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int],
    ceil_mode: bool, count_include_pad: bool, divisor: int | None,
) -> Value:  # fmt: skip
    kind = dtype(x)
    kernel, padding = each_axis(kernel, space), each_axis(padding, space)
    stride = each_axis(stride, space, kernel)
    if axes := _whole_axes("avg_pool", kernel, space_of(x, space), padding, divisor is not None):
        x = op.reduce("ReduceMean", x, [rank(x) - space + axis for axis in axes], keepdims=True)
        kernel, stride = ([1 if axis in axes else s for axis, s in enumerate(by)] for by in (kernel, stride))
        if not any(padding) and {*kernel, *stride} == {1}:
            return x
    whole = batched(op, x, space)
    if float_kernel(kind) not in _AVERAGES:
        result = _summed(op, whole, kernel, stride, padding, ceil_mode, count_include_pad, divisor)
    elif divisor is not None:
        padded = _padded(op, whole, kernel, stride, padding, ceil_mode)
        result = _average_pool(op, padded, kernel=kernel, stride=stride)
        scale = float(np.prod(kernel)) / divisor
        result = op.Mul(result, op.constant(scale, result.dtype))
    else:
        counted = int(count_include_pad and any(padding)) or None
        result = _average_pool(
            op, whole, kernel=kernel, stride=stride, pads=[*padding, *padding], ceil_mode=int(ceil_mode) or None,
            count_include_pad=counted,
        )  # fmt: skip
    return unbatched(op, op.cast(result, kind), x)


def _average_pool(op: Builder, x: Value, *, kernel: Sequence[int], stride: Sequence[int], **attributes: Any) -> Value:
    return op.AveragePool(op.cast(x, float_kernel(dtype(x))), kernel_shape=kernel, strides=stride, **attributes)


def _counts(
    sizes: Sequence[Size], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], ceil_mode: bool
) -> list[Size]:  # fmt: skip
    """How many windows there are; one that is started for ceil_mode starts in the input or before it."""
    counts: list[Size] = []
    for s, k, step, p in zip(sizes, kernel, stride, padding, strict=True):
        room = s + 2 * p - k
        counts.append(smaller(ceil_div(room, step), (s + p - 1) // step) + 1 if ceil_mode else room // step + 1)
    return counts


def _padded(
    op: Builder, x: Value, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], ceil_mode: bool
) -> Value:  # fmt: skip
    """The input with zeros around it, so that every window is full, and no more of them are than there should be."""
    end: Sequence[Size] = padding
    if ceil_mode:
        sizes = space_of(x, len(kernel))
        counts = _counts(sizes, kernel, stride, padding, ceil_mode)
        windows = zip(counts, kernel, stride, padding, sizes, strict=True)
        end = [larger((count - 1) * step + k - p - s, 0) for count, k, step, p, s in windows]
    return pad_space(op, x, padding, end)


def _summed(
    op: Builder, x: Value, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int],
    ceil_mode: bool, count_include_pad: bool, divisor: int | None,
) -> Value:  # fmt: skip
    """The averages by gathering all windows, for dtypes that AveragePool does not have; integers as int64."""
    space = len(kernel)
    kind = ir.DataType.INT64 if is_integer(dtype(x)) else dtype(x)
    sizes = space_of(x, space)
    counts = _counts(sizes, kernel, stride, padding, ceil_mode)
    tables = [places(op, k, count, step, 1) for k, count, step in zip(kernel, counts, stride, strict=True)]
    windows = gather_windows(op, _padded(op, op.cast(x, kind), kernel, stride, padding, ceil_mode), tables)
    total = op.reduce("ReduceSum", windows, [2 + 2 * i for i in range(space)])
    if divisor is not None:
        return op.Div(total, op.constant(divisor, kind))
    area = op.constant(1)
    for i, (s, k, count, step, p) in enumerate(zip(sizes, kernel, counts, stride, padding, strict=True)):
        start = op.Sub(scaled_range(op, count, step), p)
        length = op.Sub(op.Min(op.Add(start, k), op.scalar(s + p if count_include_pad else s)), start)
        if not count_include_pad:
            length = op.Add(length, op.Min(start, 0))
        length = op.unsqueeze(length, list(range(1, space - i)))
        area = op.Mul(area, length)
    return op.Div(total, op.cast(area, kind))


@lowers(aten.max_unpool2d.default)
def max_unpool2d(op: Builder, self: Value, indices: Value, output_size: Sequence[Size]) -> Value:
    """[N, C, *S], places in the flattened S' -> [N, C, *S'], zero elsewhere."""
    space = len(output_size)
    batch = dims(self)[: rank(self) - space]
    area = product(space_of(self, space))
    empty = op.expand(op.constant(0, self.dtype), [*batch, product(output_size)])
    values, spots = op.reshape(self, [*batch, area]), op.reshape(indices, [*batch, area])
    result = op.ScatterElements(empty, spots, values, axis=len(batch))
    return op.reshape(result, [*batch, *output_size])


@lowers(aten.max_unpool3d.default)
def max_unpool3d(
    op: Builder, self: Value, indices: Value, output_size: Sequence[Size], stride: Sequence[int], padding: Sequence[int]
) -> Value:  # fmt: skip
    """[N, C, *S], places in the flattened S' -> [N, C, *S']; stride and padding say nothing more."""
    return max_unpool2d(op, self, indices, output_size)


@lowers(aten.fractional_max_pool2d.default, aten.fractional_max_pool3d.default)
def fractional_max_pool(
    op: Builder, self: Value, kernel_size: Sequence[int], output_size: Sequence[int], random_samples: Value
) -> tuple[Value, Value]:
    """[N, C, *S], samples [N, C, space] -> [N, C, *S'] twice: the maxima and their places in the flattened S.

    Window o of an axis starts at floor((o + r) a) - floor(r a), a = (S - k) / (S' - 1), the last at S - k.
    """
    space = len(output_size)
    sizes, batch = space_of(self, space), dims(self)[: rank(self) - space]
    flat: Value | None = None
    for axis, (s, k, count) in enumerate(zip(sizes, kernel_size, output_size, strict=True)):
        # torch takes the samples from the last axis of space to the first in 2-D, and from the first in 3-D.
        sample = op.Gather(random_samples, space - 1 - axis if space == 2 else axis, axis=-1)
        starts = _fractional_starts(op, sample, s, k, count)
        spots = op.Add(op.unsqueeze(starts, [-1]), op.constant(np.arange(k, dtype=np.int64)))
        ahead, behind = list(range(2, 2 + axis)), list(range(3 + axis, 2 + space))
        axes = [*ahead, *behind, *(n + space for n in ahead), *(n + space for n in behind)]
        spots = op.unsqueeze(spots, axes)
        flat = spots if flat is None else op.Add(op.Mul(flat, op.scalar(s)), spots)
    assert flat is not None  # there is an axis
    area, window = product(output_size), int(np.prod(kernel_size))
    outer = dims(random_samples)[:2] if len(batch) == 2 else (1, *batch)
    spots = op.reshape(flat, [*outer, area * window])
    found = op.GatherElements(op.reshape(self, [*outer, product(sizes)]), spots, axis=2)
    found = op.reshape(found, [*outer, area, window])
    best = op.ArgMax(found, axis=3, keepdims=1)
    chosen = op.GatherElements(op.reshape(spots, [*outer, area, window]), best, axis=3)
    maxima = op.reduce("ReduceMax", found, [3])
    return op.reshape(maxima, [*batch, *output_size]), op.reshape(chosen, [*batch, *output_size])


def _fractional_starts(op: Builder, sample: Value, size: Size, kernel: int, count: int) -> Value:
    """[N, C] -> [N, C, count], where the windows of one axis start."""
    last = op.unsqueeze(op.scalar(size - kernel), [0])
    if count == 1:
        return op.Add(op.Mul(op.cast(op.unsqueeze(sample, [-1]), ir.DataType.INT64), 0), last)
    step = op.Div(op.cast(last, dtype(sample)), op.constant(count - 1, sample.dtype))
    shift = op.unsqueeze(sample, [-1])
    counted = op.constant(np.arange(count - 1), sample.dtype)
    moved = op.cast(op.Mul(op.Add(shift, counted), step), ir.DataType.INT64)
    starts = op.Sub(moved, op.cast(op.Mul(shift, step), ir.DataType.INT64))
    # The last window, put behind all of the others: floor(r a) - floor(r a) is zero of the right shape.
    first = op.slice(starts, 2, 0, 1)
    return op.Concat(starts, op.Add(op.Sub(first, first), last), axis=2)
