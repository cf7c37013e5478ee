"""Operators that resample images."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import onnx_ir as ir

from shape_inference.contents import count
from shape_inference.dims import Dim, Size
from shape_inference.registry import Call, infers
from shape_inference.types import Content, TensorType, Type

Types = tuple[Type | None, ...]

# Scales are fractions of small numbers, and sizes are below this.
_MAX_DENOMINATOR = 1024
_MAX_SIZE = 2**16


@infers("Upsample", "Resize")
def upsample(call: Call) -> Types:
    """Scale each axis: [*S], scales [r] -> [floor(s * scale)]."""
    x = call.tensor(0)
    scales: Any = call.attribute("scales") if call.version < 9 else call.content(1)
    return (TensorType(x.dtype, _scaled(call, x, scales)),)


@infers("Resize", since=11)
def resize(call: Call) -> Types:
    """Resample: [*S], roi, scales or sizes -> [floor(s * (roi end - start) * scale)] or the sizes."""
    x = call.tensor(0)
    if x.shape is None:
        given = call.optional(3) or call.optional(2)
        rank = None if given is None or call.attribute("axes") else count(given.shape)
        return (TensorType(x.dtype, None if rank is None else call.unknown_shape(rank, "resize")),)
    rank = len(x.shape)
    axes = [call.axis(axis, rank) for axis in call.attribute("axes") or range(rank)]
    dims = list(x.shape)
    if _given(call, 3):
        sizes = call.sizes(3)
        if sizes is not None and len(sizes) != len(axes):
            call.fail(f"sizes must have {len(axes)} elements", len(sizes))
        policy = call.attribute("keep_aspect_ratio_policy", "stretch")
        for position, axis in enumerate(axes):
            if sizes is None:
                dims[axis] = call.fresh("resize")
            elif policy == "stretch":
                dims[axis] = sizes[position]
            else:
                dims[axis] = _kept_aspect(call, x.shape, axes, sizes, axis, policy)
        return (TensorType(x.dtype, tuple(dims)),)
    scales = call.content(2) if call.has(2) else None
    part = TensorType(x.dtype, tuple([dims[axis] for axis in axes]))
    roi = None
    if call.attribute("coordinate_transformation_mode") == "tf_crop_and_resize":
        roi = call.content(1)
        if roi is None:
            scales = None
    for axis, dim in zip(axes, _scaled(call, part, scales, roi) or (), strict=True):
        dims[axis] = dim
    return (TensorType(x.dtype, tuple(dims)),)


def _given(call: Call, index: int) -> bool:
    """Whether an input is there and not empty (before opset 13 an empty one stood for none)."""
    tensor = call.optional(index)
    return tensor is not None and tensor.shape != (0,)


def _scaled(call: Call, x: TensorType, scales: Content | None, roi: Content | None = None) -> tuple[Size, ...] | None:
    if x.shape is None:
        return None
    if scales is None:
        return tuple([call.fresh("resize") for _ in x.shape])
    if len(scales) != len(x.shape):
        call.fail(f"scales must have {len(x.shape)} elements", len(scales))
    result = []
    for axis, (dim, scale) in enumerate(zip(x.shape, scales, strict=True)):
        if roi is not None:
            start, end = roi[axis], roi[axis + len(scales)]
            if (start, end) != (0.0, 1.0):
                result.append(_cropped(call, dim, start, end, scale))
                continue
        result.append(_times(call, dim, scale))
    return tuple(result)


def _cropped(call: Call, dim: Size, start: Any, end: Any, scale: Any) -> Size:
    if type(dim) is Dim or any(type(item) is Dim for item in (start, end, scale)):
        return call.fresh("resize")
    span = np.float32(dim) * (np.float32(end) - np.float32(start))
    return math.floor(float(span * np.float32(scale)))


def _times(call: Call, dim: Size, scale: Any) -> Size:
    """floor(dim * scale), computed in float32 as runtimes do."""
    if type(scale) is Dim:
        return dim * scale
    if scale <= 0:
        call.fail("scales must be positive", scale)
    if isinstance(dim, int):
        return math.floor(float(np.float32(dim) * np.float32(scale)))
    fraction = _fraction(scale)
    return call.fresh("resize") if fraction is None else dim * fraction.numerator // fraction.denominator


@functools.cache
def _fraction(scale: float) -> Fraction | None:
    """The fraction that gives what float32 does for every size up to _MAX_SIZE; None if none does."""
    fraction = Fraction(scale).limit_denominator(_MAX_DENOMINATOR)
    sizes = np.arange(_MAX_SIZE)
    computed = np.floor(sizes.astype(np.float32) * np.float32(scale)).astype(np.int64)
    exact = sizes * fraction.numerator // fraction.denominator
    return fraction if np.array_equal(computed, exact) else None


def _kept_aspect(
    call: Call,
    dims: tuple[Size, ...],
    axes: list[int],
    sizes: Sequence[Size],
    axis: int,
    policy: str,
) -> Size:
    """The size where all axes are scaled alike, so that none (or one only) is below its wish."""
    whole, sources = dims[axis], [dims[place] for place in axes]
    ratios = [
        Fraction(size, dim)
        for size, dim in zip(sizes, sources, strict=True)
        if isinstance(size, int) and isinstance(dim, int)
    ]
    if type(whole) is Dim or len(ratios) < len(axes):
        return call.fresh("resize")
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    return math.floor(scale * whole + Fraction(1, 2))


@infers("GridSample")
def grid_sample(call: Call) -> Types:
    """Sample at places: [N, C, *S], [N, *T, len(S)] -> [N, C, *T]."""
    x, grid = call.tensor(0), call.tensor(1)
    if x.shape is None or grid.shape is None:
        rank = len((x.shape or grid.shape) or ())
        return (TensorType(x.dtype, call.unknown_shape(rank, "sample") if rank else None),)
    if len(x.shape) != len(grid.shape):
        call.fail("X and grid must have the same rank", f"{x} and {grid}")
    return (TensorType(x.dtype, (*x.shape[:2], *grid.shape[1:-1])),)


@infers("AffineGrid")
def affine_grid(call: Call) -> Types:
    """Make a grid: theta [N, d, d+1], size (N, C, *S) -> [N, *S, d]."""
    theta = call.tensor(0)
    size = call.sizes(1)
    if size is None:
        dims = call.tensor(1).shape
        if dims is None or not isinstance(dims[0], int):
            return (TensorType(theta.dtype, None),)
        size = call.unknown_shape(dims[0], "grid")
    return (TensorType(theta.dtype, (size[0], *size[2:], len(size) - 2)),)


@infers("CenterCropPad")
def center_crop_pad(call: Call) -> Types:
    """Crop or pad around the middle: [*S], [r] -> its contents on the axes."""
    x = call.tensor(0)
    if x.shape is None:
        return (TensorType(x.dtype, None),)
    rank = len(x.shape)
    axes = [call.axis(axis, rank) for axis in call.attribute("axes") or range(rank)]
    sizes = call.sizes(1)
    dims = list(x.shape)
    for position, axis in enumerate(axes):
        dims[axis] = call.fresh("crop") if sizes is None else sizes[position]
    return (TensorType(x.dtype, tuple(dims)),)


@infers("ImageDecoder")
def image_decoder(call: Call) -> Types:
    """Decode a file: [n] bytes -> [height, width, 3], 1 for Grayscale, UINT8."""
    call.tensor(0)
    channels = 1 if call.attribute("pixel_format", "RGB") == "Grayscale" else 3
    dims = (call.fresh("height"), call.fresh("width"), channels)
    return (TensorType(ir.DataType.UINT8, dims),)
