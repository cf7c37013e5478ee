"""torchvision's operators: non-maximum suppression, pools over regions, deformable convolution.

They exist only once torchvision is imported, so they are registered by their names.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from aten_lowering.builder import Builder, Value, dims, dtype
from aten_lowering.errors import OpsetError, UnsupportedArgument
from aten_lowering.registry import lowers
from aten_lowering.rules.grids import grid_sampler
from aten_lowering.windows import float_kernel, places, space_of
from shape_inference import Size, product

_ALL = 2**63 - 1
_DEFORM_CONV_SINCE = 19
_ROI_ALIGN_UNTIL = 21  # onnxruntime 1.31 has no kernel for the RoiAlign and MaxRoiPool of opset 22


@lowers("torchvision.nms.default")
def nms(op: Builder, dets: Value, scores: Value, iou_threshold: float) -> Value:
    """[N, 4], [N] -> [kept], indices in the order of falling scores.

    onnxruntime compares float32, so float64 boxes are rounded.
    """
    if iou_threshold < 0:
        raise UnsupportedArgument(f"torchvision.nms: iou_threshold must be at least 0, got {iou_threshold}")
    boxes = op.unsqueeze(op.cast(dets, ir.DataType.FLOAT), [0])
    chances = op.unsqueeze(op.cast(scores, ir.DataType.FLOAT), [0, 1])
    threshold = op.constant([min(iou_threshold, 1.0)], ir.DataType.FLOAT)
    chosen = op.NonMaxSuppression(boxes, chances, op.constant([_ALL]), threshold)
    return op.Gather(chosen, 2, axis=1)


@lowers("torchvision.roi_align.default")
def roi_align(
    op: Builder, input: Value, rois: Value, spatial_scale: float, pooled_height: int, pooled_width: int,
    sampling_ratio: int, aligned: bool,
) -> Value:  # fmt: skip
    """[N, C, H, W], [K, 5] of image and corners -> [K, C, PH, PW]."""
    _check_opset(op, "roi_align")
    kind = dtype(input)
    wide = float_kernel(kind)
    boxes = op.cast(op.slice(rois, 1, 1, 5), wide)
    images = op.cast(op.Gather(rois, 0, axis=1), ir.DataType.INT64)
    result = op.RoiAlign(
        op.cast(input, wide), boxes, images, output_height=pooled_height, output_width=pooled_width,
        sampling_ratio=max(sampling_ratio, 0), spatial_scale=spatial_scale,
        coordinate_transformation_mode="half_pixel" if aligned else "output_half_pixel",
    )  # fmt: skip
    return op.cast(result, kind)


def _check_opset(op: Builder, name: str) -> None:
    if op.opset_version > _ROI_ALIGN_UNTIL:
        raise OpsetError(
            f"torchvision.{name}: opset_version must be at most {_ROI_ALIGN_UNTIL}, got {op.opset_version}",
            hint="onnxruntime has no kernel for the operator of newer opsets",
        )


@lowers("torchvision.roi_pool.default")
def roi_pool(
    op: Builder, input: Value, rois: Value, spatial_scale: float, pooled_height: int, pooled_width: int
) -> tuple[Value, None]:
    """[N, C, H, W], [K, 5] -> [K, C, PH, PW]; the places of the maxima, which only training asks for, are absent."""
    _check_opset(op, "roi_pool")
    wide = ir.DataType.FLOAT if dtype(input) == ir.DataType.DOUBLE else float_kernel(dtype(input))
    pooled = op.MaxRoiPool(
        op.cast(input, wide), op.cast(rois, wide), pooled_shape=[pooled_height, pooled_width],
        spatial_scale=spatial_scale,
    )  # fmt: skip
    return op.cast(pooled, dtype(input)), None


@lowers("torchvision.ps_roi_align.default")
def ps_roi_align(
    op: Builder, input: Value, rois: Value, spatial_scale: float, pooled_height: int, pooled_width: int,
    sampling_ratio: int,
) -> tuple[Value, Value]:  # fmt: skip
    """[N, C PH PW, H, W], [K, 5] -> [K, C, PH, PW]: each bin from channels of its own, and which ones."""
    bins = pooled_height * pooled_width
    aligned = roi_align(op, input, rois, spatial_scale, pooled_height, pooled_width, sampling_ratio, True)
    regions, channels = dims(aligned)[0], dims(aligned)[1] // bins
    pairs = op.reshape(aligned, [regions, channels, bins * bins])
    own = op.Gather(pairs, op.constant(np.arange(bins, dtype=np.int64) * (bins + 1)), axis=2)
    shape = [regions, channels, pooled_height, pooled_width]
    return op.reshape(own, shape), _channels_of_bins(op, shape)


def _channels_of_bins(op: Builder, shape: Sequence[Size]) -> Value:
    """[K, C, PH, PW]: which channel each element of a position-sensitive pool comes from."""
    _, *rest = shape
    numbers = op.Range(op.scalar(0), op.scalar(product(rest)), op.scalar(1))
    return op.expand(op.cast(op.reshape(numbers, [1, *rest]), ir.DataType.INT32), shape)


@lowers("torchvision.deform_conv2d.default")
def deform_conv2d(
    op: Builder, input: Value, weight: Value, offset: Value, mask: Value, bias: Value, stride_h: int, stride_w: int,
    pad_h: int, pad_w: int, dilation_h: int, dilation_w: int, groups: int, offset_groups: int, use_mask: bool,
) -> Value:  # fmt: skip
    """[N, C, H, W], [M, C/g, kh, kw], offsets [N, 2 og kh kw, OH, OW] -> [N, M, OH, OW]."""
    kind = dtype(input)
    wide = float_kernel(kind)
    x, weight, offset, mask, bias = (op.cast(value, wide) for value in (input, weight, offset, mask, bias))
    stride, padding, dilation = [stride_h, stride_w], [pad_h, pad_w], [dilation_h, dilation_w]
    if op.opset_version >= _DEFORM_CONV_SINCE:
        result = op.DeformConv(
            x, weight, offset, bias, mask if use_mask else None, strides=stride, pads=[*padding, *padding],
            dilations=dilation, group=groups, offset_group=offset_groups,
        )  # fmt: skip
        return op.cast(result, kind)
    grid = _shifted_grid(op, offset, x, weight, offset_groups, stride, padding, dilation)
    samples = _samples(op, x, grid, mask if use_mask else None, offset_groups)
    return op.cast(_multiplied(op, samples, weight, bias, groups, [dims(x)[0], *dims(offset)[2:]]), kind)


def _shifted_grid(
    op: Builder, offset: Value, x: Value, weight: Value, offset_groups: int, stride: Sequence[int],
    padding: Sequence[int], dilation: Sequence[int],
) -> Value:  # fmt: skip
    """Where each tap of each window takes its sample: [N og, kh kw, OH OW, 2], in GridSample's terms."""
    kind = dtype(x)
    batch, _, *counts = dims(offset)
    kernel, area = space_of(weight, 2), product(counts)
    lines = []
    for axis in (0, 1):
        table = op.Sub(places(op, kernel[axis], counts[axis], stride[axis], dilation[axis]), padding[axis])
        line = op.unsqueeze(table, [1, 2, 4] if axis == 0 else [0, 2, 3])  # [kh, 1, 1, OH, 1], [1, kw, 1, 1, OW]
        lines.append(op.expand(line, [*kernel, 1, *counts]))
    base = op.reshape(op.Concat(*lines, axis=2), [1, product(kernel), 2, area])
    shifts = op.reshape(offset, [batch * offset_groups, product(kernel), 2, area])
    spots = op.Add(shifts, op.cast(base, kind))
    # GridSample takes x = ((grid + 1) * width - 1) / 2, the last axis first.
    sizes = op.unsqueeze(op.cast(op.shape(dims(x)[2:]), kind), [1])
    two, one = op.constant(2, kind), op.constant(1, kind)
    grid = op.Sub(op.Div(op.Add(op.Mul(spots, two), one), sizes), one)
    return op.transpose(op.Gather(grid, [1, 0], axis=2), [0, 1, 3, 2])


def _samples(op: Builder, x: Value, grid: Value, mask: Value | None, offset_groups: int) -> Value:
    """[N, C, H, W], [N og, kh kw, OH OW, 2] -> [N og, C/og, kh kw, OH OW], zero outside of the image."""
    batch, channels, height, width = dims(x)
    grouped = op.reshape(x, [batch * offset_groups, channels // offset_groups, height, width])
    samples = grid_sampler(op, grouped, grid, 0, 0, False)
    if mask is None:
        return samples
    return op.Mul(samples, op.reshape(mask, [batch * offset_groups, 1, *dims(grid)[1:3]]))


def _multiplied(op: Builder, samples: Value, weight: Value, bias: Value, groups: int, shape: Sequence[Size]) -> Value:
    """[N og, C/og, kh kw, OH OW], [M, C/g, kh, kw], the sizes N, OH, OW -> [N, M, OH, OW]."""
    batch, *counts = shape
    maps, depth = dims(weight)[0], product(dims(weight)[1:])
    columns = op.reshape(samples, [batch, groups, depth, product(counts)])
    rows = op.reshape(weight, [groups, maps // groups, depth])
    result = op.reshape(op.MatMul(rows, columns), [batch, maps, *counts])
    return op.Add(result, op.reshape(bias, [maps, 1, 1]))
