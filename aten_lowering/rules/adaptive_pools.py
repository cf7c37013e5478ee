"""Adaptive pools: window o of an axis is floor(o S / S') to ceil((o + 1) S / S')."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.registry import lowers
from aten_lowering.windows import (
    batched,
    float_kernel,
    gather_windows,
    scaled_range,
    space_of,
    unbatched,
    weighted_sums,
)
from shape_inference import Size, ceil_div, product, same

aten = torch.ops.aten

_AVERAGE_POOLS: dict[Any, int] = {
    aten.adaptive_avg_pool1d.default: 1,
    aten.adaptive_avg_pool2d.default: 2,
    aten._adaptive_avg_pool2d.default: 2,
    aten.adaptive_avg_pool3d.default: 3,
    aten._adaptive_avg_pool3d.default: 3,
}
_MAX_POOLS: dict[Any, int] = {
    aten.adaptive_max_pool1d.default: 1,
    aten.adaptive_max_pool2d.default: 2,
    aten.adaptive_max_pool3d.default: 3,
}
_NATIVE = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16})


def _adaptive_avg_pool(overload: Any, space: int) -> None:
    @lowers(overload)
    def adaptive_avg_pool(op: Builder, self: Value, output_size: Sequence[Size]) -> Value:
        """[N, C, *S] -> [N, C, *S'].

        Windows of unequal lengths are sums with weights 1/length and 0, so that an infinity or a NaN
        reaches windows of its axis that it does not lie in.
        """
        sizes = list(output_size) * space if len(output_size) == 1 else list(output_size)
        kind = dtype(self)
        result = _averages(op, op.cast(self, float_kernel(kind)), space, sizes)
        return op.cast(result, kind)


def _adaptive_max_pool(overload: Any, space: int) -> None:
    @lowers(overload)
    def adaptive_max_pool(op: Builder, self: Value, output_size: Sequence[int]) -> tuple[Value, Value]:
        """[N, C, *S] -> [N, C, *S'] twice: the maxima, and where in the flattened S each of them lies."""
        sizes = list(output_size) * space if len(output_size) == 1 else list(output_size)
        kind = dtype(self)
        maxima, index = _maxima(op, op.cast(self, float_kernel(kind)), space, sizes)
        return op.cast(maxima, kind), index


for _overload, _space in _AVERAGE_POOLS.items():
    _adaptive_avg_pool(_overload, _space)
for _overload, _space in _MAX_POOLS.items():
    _adaptive_max_pool(_overload, _space)


def _averages(op: Builder, x: Value, space: int, wanted: Sequence[Size]) -> Value:
    sizes = space_of(x, space)
    whole = [size == 1 for size in wanted]
    kept = [same(a, b) is True for a, b in zip(sizes, wanted, strict=True)]
    if all(kept):
        return x
    first = rank(x) - space
    if all(whole) and first == 2 and dtype(x) in _NATIVE:
        return op.GlobalAveragePool(x)
    if all(a or b for a, b in zip(whole, kept, strict=True)):
        axes = [first + i for i in range(space) if whole[i] and not kept[i]]
        return op.reduce("ReduceMean", x, axes, keepdims=True)
    kernel = _regular(sizes, wanted)
    if kernel is not None and dtype(x) in _NATIVE:
        pooled = op.AveragePool(batched(op, x, space), kernel_shape=kernel, strides=kernel)
        return unbatched(op, pooled, x)
    for axis in range(space):
        if not kept[axis]:
            x = weighted_sums(op, x, first + axis, window_weights(op, sizes[axis], wanted[axis], dtype(x)))
    return x


def _regular(sizes: Sequence[Size], wanted: Sequence[Size]) -> list[int] | None:
    """The windows' lengths, where they are equal and known."""
    kernel: list[int] = []
    for size, count in zip(sizes, wanted, strict=True):
        length = size // count
        if type(length) is not int or length < 1 or same(length * count, size) is not True:
            return None
        kernel.append(length)
    return kernel


def _bounds(op: Builder, size: Size, count: Size) -> tuple[Value, Value]:
    """Where each window of an axis starts and ends: [count] twice."""
    starts = scaled_range(op, count, 1)
    ends = op.Add(starts, 1)
    length, windows = op.scalar(size), op.scalar(count)
    # ceil(a / b) = (a + b - 1) // b
    lifted = op.Add(op.Mul(ends, length), op.Sub(windows, 1))
    return op.Div(op.Mul(starts, length), windows), op.Div(lifted, windows)


def _known_bounds(size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    windows = np.arange(count)
    return windows * size // count, ((windows + 1) * size + count - 1) // count


def window_weights(op: Builder, size: Size, count: Size, kind: ir.DataType) -> Value:
    """What each element counts in each window: [count, size]."""
    if type(size) is int and type(count) is int:
        first, last = (bound[:, None] for bound in _known_bounds(size, count))
        places = np.arange(size)
        return op.constant(((places >= first) & (places < last)) / (last - first), kind)
    starts, ends = (op.unsqueeze(bound, [1]) for bound in _bounds(op, size, count))
    spots = scaled_range(op, size, 1)
    inside = op.And(op.GreaterOrEqual(spots, starts), op.Less(spots, ends))
    return op.Div(op.cast(inside, kind), op.cast(op.Sub(ends, starts), kind))


def _maxima(op: Builder, x: Value, space: int, wanted: Sequence[int]) -> tuple[Value, Value]:
    sizes, first = space_of(x, space), rank(x) - space
    if all(size == 1 for size in wanted):
        flat = op.reshape(x, [*dims(x)[:first], product(sizes)])
        native = first == 2 and dtype(x) in _NATIVE
        axes = list(range(first, rank(x)))
        maxima = op.GlobalMaxPool(x) if native else op.reduce("ReduceMax", x, axes, keepdims=True)
        index = op.ArgMax(flat, axis=first, keepdims=1)
        return maxima, op.unsqueeze(index, list(range(first + 1, rank(x))))
    kernel = _regular(sizes, wanted)
    if kernel is not None:
        settings = {"kernel_shape": kernel, "strides": kernel}
        whole = batched(op, x, space)
        # Two nodes: nearly always one of them is dead, and the one without indices is the faster.
        _, index = op.MaxPool(whole, **settings, _outputs=2)
        index = op.Mod(index, product(sizes))
        return unbatched(op, op.MaxPool(whole, **settings), x), unbatched(op, index, x)
    tables = [_clamped_places(op, size, count) for size, count in zip(sizes, wanted, strict=True)]
    windows = gather_windows(op, x, tables)
    maxima = op.reduce("ReduceMax", windows, [first + 2 * i for i in range(space)])
    return maxima, _places_of_maxima(op, windows, tables, sizes)


def _clamped_places(op: Builder, size: Size, count: int) -> Value:
    """Which element stands at tap k of window o: [K, count]; short windows repeat their last element."""
    if type(size) is int:
        first, last = _known_bounds(size, count)
        steps = np.arange((last - first).max(initial=1))[:, None]
        return op.constant(np.minimum(first + steps, last - 1).astype(np.int64))
    starts, ends = _bounds(op, size, count)
    taps = op.unsqueeze(scaled_range(op, ceil_div(size, count) + 1, 1), [1])
    return op.Min(op.Add(starts, taps), op.Sub(ends, 1))


def _places_of_maxima(op: Builder, windows: Value, tables: Sequence[Value], sizes: Sequence[Size]) -> Value:
    """The place of each window's maximum: [*B, K_1, O_1, …] -> [*B, *O]."""
    space, first = len(tables), rank(windows) - 2 * len(tables)
    taps, spots = [2 * i for i in range(space)], [2 * i + 1 for i in range(space)]
    counts = [dims(table)[1] for table in tables]
    window = product(dims(table)[0] for table in tables)
    order = [*range(first), *(first + axis for axis in spots), *(first + axis for axis in taps)]
    flat = op.reshape(op.transpose(windows, order), [*dims(windows)[:first], *counts, window])
    best = op.ArgMax(flat, axis=-1, keepdims=0)
    place: Value | None = None
    for i, (table, size) in enumerate(zip(tables, sizes, strict=True)):
        table = op.unsqueeze(table, [axis for axis in range(2 * space) if axis // 2 != i])
        place = table if place is None else op.Add(op.Mul(place, op.scalar(size)), table)
    assert place is not None  # there is an axis
    place = op.reshape(op.transpose(place, [*spots, *taps]), [product([*counts, window])])
    offsets = op.reshape(scaled_range(op, product(counts), window), counts)
    return op.Gather(place, op.Add(best, offsets), axis=0)
