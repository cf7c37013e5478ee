"""Interpolation: Resize with torch's own scale factors and rounding."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.dtypes import is_integer
from aten_lowering.errors import UnsupportedArgument
from aten_lowering.quotients import number
from aten_lowering.registry import lowers
from aten_lowering.windows import float_kernel, scaled_range, weighted_sums
from shape_inference import Size, TensorType, same

aten = torch.ops.aten

_NATIVE = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16})
_ANTIALIAS_SINCE = 18
_HALVES = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})


class Mode(NamedTuple):
    """How samples are taken: ONNX's mode, its attributes, and the reach of its filter."""

    name: str
    reach: int = 1
    exact: bool = False
    antialias: bool = False


_NEAREST, _EXACT = Mode("nearest"), Mode("nearest", exact=True)
_LINEAR, CUBIC = Mode("linear", 2), Mode("cubic", 4)
LINEAR_AA, CUBIC_AA = Mode("linear", 2, antialias=True), Mode("cubic", 4, antialias=True)
LANCZOS_AA = Mode("lanczos", 6, antialias=True)

_NEAREST_VEC: dict[Any, Mode] = {
    aten.upsample_nearest1d.vec: _NEAREST,
    aten.upsample_nearest2d.vec: _NEAREST,
    aten.upsample_nearest3d.vec: _NEAREST,
    aten._upsample_nearest_exact1d.vec: _EXACT,
    aten._upsample_nearest_exact2d.vec: _EXACT,
    aten._upsample_nearest_exact3d.vec: _EXACT,
}
_FILTERED_VEC: dict[Any, Mode] = {
    aten.upsample_linear1d.vec: _LINEAR,
    aten.upsample_bilinear2d.vec: _LINEAR,
    aten.upsample_trilinear3d.vec: _LINEAR,
    aten.upsample_bicubic2d.vec: CUBIC,
    aten._upsample_bilinear2d_aa.vec: LINEAR_AA,
    aten._upsample_bicubic2d_aa.vec: CUBIC_AA,
    aten._upsample_lanczos2d_aa.vec: LANCZOS_AA,
}
_NEAREST_1D: dict[Any, Mode] = {
    aten.upsample_nearest1d.default: _NEAREST, aten._upsample_nearest_exact1d.default: _EXACT
}  # fmt: skip
_NEAREST_2D: dict[Any, Mode] = {
    aten.upsample_nearest2d.default: _NEAREST, aten._upsample_nearest_exact2d.default: _EXACT
}  # fmt: skip
_NEAREST_3D: dict[Any, Mode] = {
    aten.upsample_nearest3d.default: _NEAREST, aten._upsample_nearest_exact3d.default: _EXACT
}  # fmt: skip
_FILTERED_2D: dict[Any, Mode] = {
    aten.upsample_bilinear2d.default: _LINEAR,
    aten.upsample_bicubic2d.default: CUBIC,
    aten._upsample_bilinear2d_aa.default: LINEAR_AA,
    aten._upsample_bicubic2d_aa.default: CUBIC_AA,
    aten._upsample_lanczos2d_aa.default: LANCZOS_AA,
}

Scales = Sequence[float | Value | None] | None


def _nearest_vec(mode: Mode) -> Callable[..., Value]:
    def upsample_nearest(
        op: Builder, input: Value, output_size: Sequence[Size] | None, scale_factors: Sequence[float] | None
    ) -> Value:
        """[N, C, *S] -> [N, C, *S'], the sizes given or floor(S * scale)."""
        return _resized(op, input, mode, output_size, scale_factors, False)

    return upsample_nearest


def _filtered_vec(mode: Mode) -> Callable[..., Value]:
    def upsample(
        op: Builder, input: Value, output_size: Sequence[Size] | None, align_corners: bool,
        scale_factors: Sequence[float] | None,
    ) -> Value:  # fmt: skip
        """[N, C, *S] -> [N, C, *S'], the sizes given or floor(S * scale)."""
        return _resized(op, input, mode, output_size, scale_factors, align_corners)

    return upsample


def _nearest_1d(mode: Mode) -> Callable[..., Value]:
    def upsample_nearest1d(op: Builder, self: Value, output_size: Sequence[Size], scales: float | None) -> Value:
        """[N, C, L] -> [N, C, L']."""
        return _resized(op, self, mode, output_size, [scales], False)

    return upsample_nearest1d


def _nearest_2d(mode: Mode) -> Callable[..., Value]:
    def upsample_nearest2d(
        op: Builder, self: Value, output_size: Sequence[Size], scales_h: float | None, scales_w: float | None
    ) -> Value:
        """[N, C, H, W] -> [N, C, H', W']."""
        return _resized(op, self, mode, output_size, [scales_h, scales_w], False)

    return upsample_nearest2d


def _nearest_3d(mode: Mode) -> Callable[..., Value]:
    def upsample_nearest3d(
        op: Builder, self: Value, output_size: Sequence[Size], scales_d: float | None, scales_h: float | None,
        scales_w: float | None,
    ) -> Value:  # fmt: skip
        """[N, C, D, H, W] -> [N, C, D', H', W']."""
        return _resized(op, self, mode, output_size, [scales_d, scales_h, scales_w], False)

    return upsample_nearest3d


def _filtered_2d(mode: Mode) -> Callable[..., Value]:
    def upsample2d(
        op: Builder, self: Value, output_size: Sequence[Size], align_corners: bool, scales_h: float | None,
        scales_w: float | None,
    ) -> Value:  # fmt: skip
        """[N, C, H, W] -> [N, C, H', W']."""
        return _resized(op, self, mode, output_size, [scales_h, scales_w], align_corners)

    return upsample2d


_MAKERS = [
    (_NEAREST_VEC, _nearest_vec),
    (_FILTERED_VEC, _filtered_vec),
    (_NEAREST_1D, _nearest_1d),
    (_NEAREST_2D, _nearest_2d),
    (_NEAREST_3D, _nearest_3d),
    (_FILTERED_2D, _filtered_2d),
]
for _table, _maker in _MAKERS:
    for _overload, _mode in _table.items():
        lowers(_overload)(_maker(_mode))


@lowers(aten.upsample_linear1d.default)
def upsample_linear1d(
    op: Builder, self: Value, output_size: Sequence[Size], align_corners: bool, scales: float | None
) -> Value:
    """[N, C, L] -> [N, C, L']."""
    return _resized(op, self, _LINEAR, output_size, [scales], align_corners)


@lowers(aten.upsample_trilinear3d.default)
def upsample_trilinear3d(
    op: Builder, self: Value, output_size: Sequence[Size], align_corners: bool, scales_d: float | None,
    scales_h: float | None, scales_w: float | None,
) -> Value:  # fmt: skip
    """[N, C, D, H, W] -> [N, C, D', H', W']."""
    return _resized(op, self, _LINEAR, output_size, [scales_d, scales_h, scales_w], align_corners)


class Axis(NamedTuple):
    """One axis: its size, the size wanted, and the scale factor that was given: a number, a value, or None."""

    size: Size
    wanted: Size
    scale: Any

    @property
    def stays(self) -> bool:
        """Whether the size is what is wanted."""
        return same(self.size, self.wanted) is True and self.scale in (None, 1.0)

    @property
    def is_static(self) -> bool:
        """Whether all is known in numbers."""
        return type(self.size) is int and type(self.wanted) is int and not isinstance(self.scale, Value)

    def step(self, align_corners: bool) -> float:
        """How far apart in the input two neighbours of the output lie, as torch computes it."""
        size, wanted = int(self.size), int(self.wanted)  # type: ignore[arg-type]  # asked of static axes alone
        if align_corners:
            return (size - 1) / (wanted - 1) if wanted > 1 else 0.0
        return 1.0 / self.scale if self.scale else size / wanted


def _resized(
    op: Builder, x: Value, mode: Mode, output_size: Sequence[Size] | None, scales: Scales, align_corners: bool
) -> Value:
    """Resize the axes behind the first two.

    Where torch and the runtime would round a sample's place differently, or the runtime has no kernel for
    the dtype, elements are gathered (nearest) or weighted by a constant matrix an axis (the filters).
    """
    axes = _axes(dims(x)[2:], output_size, scales and [number(op, scale) for scale in scales])
    if all(axis.stays for axis in axes):
        return x
    kind = dtype(x)
    static = all(axis.is_static for axis in axes)
    if mode.name == "nearest":
        if kind not in _NATIVE or (static and not all(_agrees(axis, mode.exact) for axis in axes)):
            return _gathered(op, x, axes, mode.exact)
        return _native(op, x, mode, axes, align_corners)
    if is_integer(kind):
        return _of_bytes(op, x, mode, axes, align_corners)
    return _filtered(op, x, mode, axes, align_corners)


def _filtered(op: Builder, x: Value, mode: Mode, axes: Sequence[Axis], align_corners: bool) -> Value:
    """By Resize where it has the filter, else by a constant matrix an axis."""
    kind, static = dtype(x), all(axis.is_static for axis in axes)
    wide = ir.DataType.DOUBLE if kind == ir.DataType.DOUBLE and static else ir.DataType.FLOAT
    x = x if kind in _NATIVE and not (mode.antialias and kind in _HALVES) else op.cast(x, wide)
    expressible = _is_expressible(op, mode, align_corners)
    if static and not (expressible and dtype(x) in _NATIVE and all(map(_keeps_length, axes))):
        return op.cast(_weighted(op, x, mode, axes, align_corners), kind)
    if not expressible:
        raise UnsupportedArgument(
            f"antialiased interpolation: sizes must be static for {mode.name}, align_corners={align_corners}, "
            f"opset_version={op.opset_version}",
            hint="use bilinear or bicubic without align_corners at opset_version 18 or newer, or static sizes",
        )
    return op.cast(_native(op, x, mode, axes, align_corners), kind)


def _axes(sizes: Sequence[Size], wanted: Sequence[Size] | None, scales: Scales) -> list[Axis]:
    factors: Sequence[float | Value | None] = [scale or None for scale in scales] if scales else [None] * len(sizes)
    if wanted is None:
        wanted = [_times(size, scale) for size, scale in zip(sizes, factors, strict=True)]
    return [Axis(*axis) for axis in zip(sizes, wanted, factors, strict=True)]


def _times(size: Size, scale: Any) -> Size:
    """floor(size * scale), in double precision as torch computes it; exactly, for a symbolic size."""
    if scale is None:
        return size
    if type(size) is int:
        return int(size * scale)
    fraction = Fraction(scale).limit_denominator(1 << 16)
    return size * fraction.numerator // fraction.denominator


def _is_expressible(op: Builder, mode: Mode, align_corners: bool) -> bool:
    """Whether Resize has the mode."""
    if mode.name == "lanczos":
        return False
    return not mode.antialias or (op.opset_version >= _ANTIALIAS_SINCE and not align_corners)


def _keeps_length(axis: Axis) -> bool:
    """Whether Resize comes to torch's size by the scale that was given."""
    return axis.scale is None or _reaches(axis, np.float32(axis.scale))


def _reaches(axis: Axis, scale: np.float32) -> bool:
    """Whether size * scale is the size wanted, rounded to float32, as kernels do, and not, as shape inference does."""
    size = int(axis.size)  # type: ignore[arg-type]  # asked of static axes alone
    return math.floor(np.float32(size) * scale) == math.floor(size * float(scale)) == axis.wanted


def _native(op: Builder, x: Value, mode: Mode, axes: Sequence[Axis], align_corners: bool) -> Value:
    attributes: dict[str, Any] = {"mode": mode.name}
    if mode.name == "nearest":
        attributes["coordinate_transformation_mode"] = "half_pixel" if mode.exact else "asymmetric"
        attributes["nearest_mode"] = "round_prefer_ceil" if mode.exact else "floor"
    elif align_corners:
        attributes["coordinate_transformation_mode"] = "align_corners"
    if mode.name == "cubic":
        attributes["cubic_coeff_a"] = -0.5 if mode.antialias else -0.75
    if mode.antialias:
        attributes |= {"antialias": 1, "exclude_outside": 1}
    kind = dtype(x)
    x = op.cast(x, float_kernel(kind))
    factors = [_exact_factor(axis) for axis in axes]
    if None not in factors:
        result = op.Resize(x, None, _in_a_row(op, [1.0, 1.0, *factors]), **attributes)
    elif op.opset_version >= 18:
        sizes = op.shape([axis.wanted for axis in axes])
        result = op.Resize(x, None, None, sizes, axes=list(range(2, rank(x))), **attributes)
    else:
        sizes = op.shape([*dims(x)[:2], *(axis.wanted for axis in axes)])
        result = op.Resize(x, None, None, sizes, **attributes)
    return _shaped(op, op.cast(result, kind), axes)


def _in_a_row(op: Builder, factors: Sequence[Any]) -> Value:
    """Numbers, and values of rank 0, as float32 [n]."""
    if not any(isinstance(factor, Value) for factor in factors):
        return op.constant([float(factor) for factor in factors], ir.DataType.FLOAT)
    rows = [factor if isinstance(factor, Value) else op.constant(factor) for factor in factors]
    return op.Concat(*(op.reshape(op.cast(row, ir.DataType.FLOAT), [1]) for row in rows), axis=0)


def _exact_factor(axis: Axis) -> Any:
    """The factor by which Resize comes to the size wanted, a number or a value; None where only the size says it."""
    if axis.scale is not None:
        return axis.scale
    if not axis.is_static:
        factor = axis.wanted // axis.size if type(axis.size) is not int else None
        return float(factor) if type(factor) is int and same(axis.size * factor, axis.wanted) is True else None
    size, wanted = int(axis.size), int(axis.wanted)  # type: ignore[arg-type]  # the axis is static
    scale = np.float32(wanted) / np.float32(size)
    return float(scale) if _reaches(axis, scale) else None


def _shaped(op: Builder, result: Value, axes: Sequence[Axis]) -> Value:
    """The result, with the sizes by their formulas."""
    sizes = (*dims(result)[:2], *(axis.wanted for axis in axes))
    if dims(result) != sizes:
        op.set_type(result, TensorType(dtype(result), sizes))
    return result


# Samples by their places.


def _nearest_places(axis: Axis, exact: bool) -> np.ndarray:
    """Which element torch takes for each of the output, computed in float32 as torch does."""
    size, wanted = int(axis.size), int(axis.wanted)  # type: ignore[arg-type]  # asked of static axes alone
    spots = np.arange(wanted)
    if wanted == size:
        return spots
    if wanted == 2 * size:
        return spots >> 1
    step = np.float32(1.0 / axis.scale) if axis.scale else np.float32(size) / np.float32(wanted)
    moved = (spots.astype(np.float32) + np.float32(0.5 if exact else 0)) * step
    return np.minimum(np.floor(moved).astype(np.int64), size - 1)


def _agrees(axis: Axis, exact: bool) -> bool:
    """Whether Resize takes the same elements: it divides by the scale, where torch multiplies by 1/scale."""
    factor = _exact_factor(axis)
    if not _keeps_length(axis):
        return False
    size, wanted = int(axis.size), int(axis.wanted)  # type: ignore[arg-type]  # asked of static axes alone
    scale = np.float32(factor) if factor is not None else np.float32(wanted) / np.float32(size)
    spots = np.arange(wanted, dtype=np.float32)
    half = np.float32(0.5)
    places = np.floor((spots + half) / scale - half + half) if exact else np.floor(spots / scale)
    return np.array_equal(np.clip(places, 0, size - 1).astype(np.int64), _nearest_places(axis, exact))


def _gathered(op: Builder, x: Value, axes: Sequence[Axis], exact: bool) -> Value:
    for i, axis in enumerate(axes):
        if axis.stays:
            continue
        if axis.is_static:
            places = op.constant(_nearest_places(axis, exact))
        else:
            places = _symbolic_places(op, axis, exact)
        x = op.Gather(x, places, axis=2 + i)
    return x


def _symbolic_places(op: Builder, axis: Axis, exact: bool) -> Value:
    spots = op.cast(scaled_range(op, axis.wanted, 1), ir.DataType.FLOAT)
    if exact:
        spots = op.Add(spots, 0.5)
    if isinstance(axis.scale, Value):
        moved = op.Div(spots, op.cast(axis.scale, ir.DataType.FLOAT))
    elif axis.scale:
        moved = op.Mul(spots, 1.0 / axis.scale)
    else:
        step = op.Div(op.scalar(axis.size, ir.DataType.FLOAT), op.scalar(axis.wanted, ir.DataType.FLOAT))
        moved = op.Mul(spots, step)
    return op.Min(op.cast(op.Floor(moved), ir.DataType.INT64), op.scalar(axis.size - 1))


# Samples by constant weights.


def _weighted(op: Builder, x: Value, mode: Mode, axes: Sequence[Axis], align_corners: bool) -> Value:
    for i, axis in enumerate(axes):
        if not axis.stays:
            table = filter_weights(mode, axis, align_corners)
            x = weighted_sums(op, x, 2 + i, op.constant(table, x.dtype))
    return x


def _of_bytes(op: Builder, x: Value, mode: Mode, axes: Sequence[Axis], align_corners: bool) -> Value:
    """Filter uint8 as torch does: the last axis first, rounded after each, by weights in fixed point.

    Where an axis is not static its weights are no fixed ones: what is near a half may be rounded the other way.
    """
    kind = dtype(x)
    for i in reversed(range(len(axes))):
        if axes[i].stays:
            continue
        if axes[i].is_static:
            table, unit = _in_fixed_point(filter_weights(mode, axes[i], align_corners))
            sums = weighted_sums(op, op.cast(x, ir.DataType.DOUBLE), 2 + i, op.constant(table, ir.DataType.DOUBLE))
            result = op.Floor(op.Div(op.Add(sums, unit / 2), unit))
        else:
            alone = [Axis(size, size, None) if j != i else axes[i] for j, size in enumerate(dims(x)[2:])]
            result = _filtered(op, op.cast(x, ir.DataType.FLOAT), mode, alone, align_corners)
            result = op.Floor(op.Add(result, 0.5))
        x = op.cast(op.Clip(result, 0.0, 255.0), kind)
    return x


def _in_fixed_point(weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights as multiples of a power of 2 in 16 bits, the smallest by which the largest fits, and 1 in that unit."""
    bits = next((b for b in range(22) if math.floor(weights.max() * 2 ** (b + 1) + 0.5) >= 1 << 15), 22)
    scaled = weights * 2.0**bits
    return np.trunc(scaled + np.copysign(0.5, scaled)), 2.0**bits


def filter_weights(mode: Mode, axis: Axis, align_corners: bool) -> np.ndarray:
    """What each element of a static axis counts in each of the output: [S', S]."""
    size, wanted = int(axis.size), int(axis.wanted)  # type: ignore[arg-type]  # asked of static axes alone
    step = axis.step(align_corners)
    table = np.zeros((wanted, size))
    for row, weights in enumerate(table):
        if mode.antialias:
            stretch = max(step, 1.0)
            center, support = step * (row + 0.5), mode.reach * 0.5 * stretch
            first, last = max(int(center - support + 0.5), 0), min(int(center + support + 0.5), size)
            taps = np.arange(first, last)
            values = _FILTERS[mode.name](np.abs(taps - center + 0.5) / stretch, -0.5)
            weights[taps] = values / values.sum()
            continue
        place = row * step if align_corners else step * (row + 0.5) - 0.5
        place = max(place, 0.0) if mode.name == "linear" else place
        taps = math.floor(place) + np.arange(mode.reach) - mode.reach // 2 + 1
        values = _FILTERS[mode.name](np.abs(taps - place), -0.75)
        np.add.at(weights, np.clip(taps, 0, size - 1), values)
    return table


def _linear(distance: np.ndarray, a: float) -> np.ndarray:
    return np.maximum(1 - distance, 0)


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * a - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


def _lanczos(distance: np.ndarray, a: float) -> np.ndarray:
    return np.where(distance < 3, np.sinc(distance) * np.sinc(distance / 3), 0)


_FILTERS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "linear": _linear, "cubic": _cubic, "lanczos": _lanczos
}  # fmt: skip
