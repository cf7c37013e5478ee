"""Sampling at places that a grid says: affine_grid and grid_sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.registry import lowers
from aten_lowering.windows import float_kernel, scaled_range, space_of
from shape_inference import Size, product

aten = torch.ops.aten

_LINEAR, _NEAREST, _CUBIC = range(3)
_ZEROS, _BORDER, _REFLECTION = range(3)
_MODES = {_LINEAR: "linear", _NEAREST: "nearest", _CUBIC: "cubic"}
_OLD_MODES = {_LINEAR: "bilinear", _NEAREST: "nearest", _CUBIC: "bicubic"}  # before opset 20
_PADDINGS = {_ZEROS: "zeros", _BORDER: "border", _REFLECTION: "reflection"}
_LIKE_EAGER_CPU = {"", "cpu"}  # the targets that are to round as eager does there
_VOLUMES_SINCE = 20  # the opset in which GridSample takes volumes and AffineGrid begins, onnxruntime float64


@lowers(aten.affine_grid_generator.default)
def affine_grid_generator(op: Builder, theta: Value, size: Sequence[Size], align_corners: bool) -> Value:
    """[N, d, d + 1], size (N, C, *S) -> [N, *S, d]: theta times each place of the grid from -1 to 1."""
    kind = dtype(theta)
    space = len(size) - 2
    static = all(type(s) is int for s in size)
    single = align_corners and 1 in size[2:]  # torch puts it at 0, onnxruntime at -1
    if op.opset_version >= _VOLUMES_SINCE and static and not single and kind != ir.DataType.BFLOAT16:
        return op.AffineGrid(theta, op.shape(size), align_corners=int(align_corners))
    base = _base_grid(op, size[2:], align_corners, kind)
    places = op.MatMul(base, op.transpose(theta, [0, 2, 1]))
    return op.reshape(places, [size[0], *size[2:], space])


def _base_grid(op: Builder, sizes: Sequence[Size], align_corners: bool, kind: ir.DataType) -> Value:
    """[prod S, d + 1]: the places from -1 to 1, the last axis of space first, and a one behind them."""
    space = len(sizes)
    lines = [op.unsqueeze(_line(op, s, align_corners, kind), list(range(1, space - i))) for i, s in enumerate(sizes)]
    columns = [op.unsqueeze(op.expand(line, sizes), [space]) for line in reversed(lines)]
    columns.append(op.expand(op.constant(1, kind), [*sizes, 1]))
    return op.reshape(op.Concat(*columns, axis=space), [product(sizes), space + 1])


def _line(op: Builder, size: Size, align_corners: bool, kind: ir.DataType) -> Value:
    """[size], from -1 to 1: at the corners of the outer elements, or at their middles."""
    if type(size) is int:
        if align_corners:
            return op.constant(np.linspace(-1, 1, size) if size > 1 else np.zeros(1), kind)
        return op.constant((2 * np.arange(size) + 1) / size - 1, kind)
    steps = op.cast(scaled_range(op, size, 2), kind)
    if align_corners:
        # A single element lies at 0: 0 / 1 - 0, where all others have 2 i / (S - 1) - 1.
        whole = op.cast(op.Max(op.scalar(size - 1), 1), kind)
        return op.Sub(op.Div(steps, whole), op.cast(op.Min(op.scalar(size - 1), 1), kind))
    middle = op.Div(op.Add(steps, op.constant(1, kind)), op.scalar(size, kind))
    return op.Sub(middle, op.constant(1, kind))


@lowers(aten.grid_sampler.default, aten.grid_sampler_2d.default, aten.grid_sampler_3d.default)
def grid_sampler(
    op: Builder, input: Value, grid: Value, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Value:
    """[N, C, *S], [N, *T, d] -> [N, C, *T].

    In float16 eager on a CPU rounds the places, and these are rounded alike; the weights of its cubic mode,
    which it rounds too, stay in float32 here.
    """
    kind = dtype(input)
    if kind == ir.DataType.FLOAT16 and op.target in _LIKE_EAGER_CPU:
        places = _rounded_places(op, grid, space_of(input, rank(input) - 2), interpolation_mode, align_corners)
        wide = op.cast(input, ir.DataType.FLOAT)
        return op.cast(grid_sampler(op, wide, places, interpolation_mode, padding_mode, align_corners), kind)
    modern = op.opset_version >= _VOLUMES_SINCE
    if float_kernel(kind) == kind and (modern or (rank(input) == 4 and kind != ir.DataType.DOUBLE)):
        names = _MODES if modern else _OLD_MODES
        return op.GridSample(
            input, grid, mode=names[interpolation_mode], padding_mode=_PADDINGS[padding_mode],
            align_corners=int(align_corners),
        )  # fmt: skip
    x, places = (op.cast(value, float_kernel(kind)) for value in (input, grid))
    return op.cast(_sampled(op, x, places, interpolation_mode, padding_mode, align_corners), kind)


def _rounded_places(op: Builder, grid: Value, sizes: Sequence[Size], mode: int, align_corners: bool) -> Value:
    """[N, *T, d] in 16 bits -> the same in float32, each place being what its index rounds to in 16 bits.

    A place p from -1 to 1 has the index (p + 1) (S - 1) / 2, or (p + 1) S / 2 - 1/2.
    """
    spans = op.shape([size - int(align_corners) for size in reversed(sizes)])  # the grid names the last axis first
    scale = op.Div(op.cast(spans, ir.DataType.FLOAT), 2.0)
    index = _in_11_bits(op, op.Add(op.cast(grid, ir.DataType.FLOAT), 1.0))
    index = _in_11_bits(op, op.Mul(index, scale))
    if not align_corners:
        index = _in_11_bits(op, op.Sub(index, 0.5))
    if mode == _NEAREST:
        index = op.Round(index)
    if align_corners:
        scale = op.Max(scale, 0.5)  # a single element has all places at index 0
    else:
        index = op.Add(index, 0.5)
    return op.Sub(op.Div(index, scale), 1.0)


def _in_11_bits(op: Builder, x: Value) -> Value:
    """A float32 rounded to the digits of a float16, by Veltkamp's splitting.

    A cast there and back would say the same, but onnxruntime leaves such pairs out.
    """
    scaled = op.Mul(x, 2.0**13 + 1)
    return op.Sub(scaled, op.Sub(scaled, x))


class _Taps(NamedTuple):
    """Which elements of one axis count for each place, and how much: [N, K, M] both."""

    place: Value
    weight: Value


def _sampled(op: Builder, x: Value, grid: Value, mode: int, padding: int, align_corners: bool) -> Value:
    """The sum over the taps around each place, gathered all at once."""
    sizes, space = space_of(x, rank(x) - 2), rank(x) - 2
    batch, targets = dims(x)[0], dims(grid)[1:-1]
    count = product(targets)
    flat = op.reshape(grid, [batch, count, space])
    index: Value | None = None
    weight: Value | None = None
    for axis, size in enumerate(sizes):
        place = op.Gather(flat, space - 1 - axis, axis=2)  # the grid names the last axis first
        taps = _axis_taps(op, op.unsqueeze(place, [1]), size, mode, padding, align_corners)
        others = [1 + i for i in range(space) if i != axis]
        spread = [op.unsqueeze(value, others) for value in taps]
        index = spread[0] if index is None else op.Add(op.Mul(index, op.scalar(size)), spread[0])
        weight = spread[1] if weight is None else op.Mul(weight, spread[1])
    assert index is not None  # there is an axis
    assert weight is not None
    taps_of_all = product(dims(index)[1:-1])
    rows = op.transpose(op.reshape(x, [*dims(x)[:2], product(sizes)]), [0, 2, 1])
    found = op.GatherND(rows, op.reshape(index, [batch, taps_of_all, count, 1]), batch_dims=1)
    weighted = op.Mul(found, op.reshape(weight, [batch, taps_of_all, count, 1]))
    result = op.transpose(op.reduce("ReduceSum", weighted, [1]), [0, 2, 1])
    return op.reshape(result, [*dims(x)[:2], *targets])


def _axis_taps(op: Builder, place: Value, size: Size, mode: int, padding: int, align_corners: bool) -> _Taps:
    """[N, 1, M] from -1 to 1 -> the taps of one axis."""
    kind = dtype(place)
    one, half = op.constant(1, kind), op.constant(0.5, kind)
    length = op.scalar(size, kind)
    if align_corners:
        place = op.Mul(op.Mul(op.Add(place, one), half), op.Sub(length, one))
    else:
        place = op.Mul(op.Sub(op.Mul(op.Add(place, one), length), one), half)
    if mode != _CUBIC:
        place = _padded_place(op, place, length, padding, align_corners)
    if mode == _NEAREST:
        tap, weight = op.Round(place), op.Add(op.Sub(place, place), one)
    else:
        low = op.Floor(place)
        shifts = [0, 1] if mode == _LINEAR else [-1, 0, 1, 2]
        tap = op.Add(low, op.constant(np.array(shifts, dtype=np.float32).reshape(1, -1, 1).astype(kind.numpy())))
        distance = op.Abs(op.Sub(tap, place))
        weight = op.Sub(one, distance) if mode == _LINEAR else _keys(op, distance)
    if mode == _CUBIC:
        tap = _padded_place(op, tap, length, padding, align_corners)
    last = op.Sub(length, one)
    if padding == _ZEROS:
        inside = op.And(op.GreaterOrEqual(tap, op.constant(0, kind)), op.LessOrEqual(tap, last))
        weight = op.Where(inside, weight, op.constant(0, kind))
    tap = op.Max(op.Min(tap, last), op.constant(0, kind))
    return _Taps(op.cast(tap, ir.DataType.INT64), weight)


def _padded_place(op: Builder, place: Value, length: Value, padding: int, align_corners: bool) -> Value:
    """The place, brought inside by the border or by reflection at it."""
    kind = dtype(place)
    one = op.constant(1, kind)
    last = op.Sub(length, one)
    if padding == _REFLECTION:
        # Reflected at 0 and S - 1, or half an element outside of them: a triangle wave of twice the span.
        low = op.constant(0 if align_corners else -0.5, kind)
        span = op.Max(last, one) if align_corners else length
        moved = op.Abs(op.Sub(place, low))
        extra = op.Mod(moved, span, fmod=1)
        flips = op.Mod(op.Floor(op.Div(moved, span)), op.constant(2, kind), fmod=1)
        turned = op.Where(op.Equal(flips, op.constant(0, kind)), extra, op.Sub(span, extra))
        place = op.Add(turned, low)
        if align_corners:
            place = op.Min(place, last)  # one element reflects all places to 0
    if padding != _ZEROS:
        place = op.Max(op.Min(place, last), op.constant(0, kind))
    return place


def _keys(op: Builder, distance: Value) -> Value:
    """Keys' cubic convolution with a = -0.75."""
    kind = dtype(distance)

    def polynomial(*factors: float) -> Value:
        total = op.constant(factors[0], kind)
        for factor in factors[1:]:
            total = op.Add(op.Mul(total, distance), op.constant(factor, kind))
        return total

    near, far = polynomial(1.25, -2.25, 0, 1), polynomial(-0.75, 3.75, -6, 3)
    return op.Where(op.LessOrEqual(distance, op.constant(1, kind)), near, far)
