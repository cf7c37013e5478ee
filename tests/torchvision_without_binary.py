"""torchvision where its compiled part does not load: its operators, in plain torch, for the tests.

`define_operators()` must run before anything imports torchvision, and transformers' models do: the zoo and
conftest call it. Where the wheel's `_C` library loads, it does nothing; else it defines the schemas that `_C`
would have registered, with CPU kernels written in plain torch and fake kernels, so that torchvision's Python
models import, run in eager and can be captured. Never shipped in the package.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width,"
    " int sampling_ratio, bool aligned) -> Tensor",
    "roi_pool(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width)"
    " -> (Tensor, Tensor)",
    "ps_roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width,"
    " int sampling_ratio) -> (Tensor, Tensor)",
    "deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, SymInt stride_h,"
    " SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w, SymInt groups,"
    " SymInt offset_groups, bool use_mask) -> Tensor",
)

_ROIS_AT_ONCE = 64
_libraries: list[torch.library.Library] = []  # a Library's registrations end with it


def import_torchvision() -> ModuleType:
    """Import torchvision, with operators of our own where its compiled ones do not load."""
    define_operators()
    torchvision = importlib.import_module("torchvision")
    if _libraries:
        for name in ("torchvision.extension", "torchvision.ops.roi_align"):
            vars(sys.modules[name])["_has_ops"] = lambda: True
    return torchvision


def define_operators() -> None:
    """Define torchvision's operators where its compiled part does not; imports no torchvision, and costs little."""
    if _libraries or "torchvision" in sys.modules or _binary_loads():
        return
    library = torch.library.Library("torchvision", "DEF")
    _libraries.append(library)
    for schema in SCHEMAS:
        library.define(schema)
    for name, kernel in KERNELS.items():
        library.impl(name, kernel, "CPU")
    for name, fake in FAKES.items():
        torch.library.register_fake(f"torchvision::{name}", fake, lib=library)


def _binary_loads() -> bool:
    """Say whether torchvision's compiled operators load beside this torch."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # nothing to stand in for; who needs it gets Python's own error
    for path in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(path)
        except OSError:
            return False
        return True
    return False


def nms(dets: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Keep the boxes that no better kept box overlaps by more than the threshold: [N, 4], [N] -> [kept]."""
    order = scores.argsort(descending=True, stable=True)
    boxes = dets[order]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = torch.ones(len(order), dtype=torch.bool)
    for index in range(len(order)):
        if not kept[index]:
            continue
        low = torch.maximum(boxes[index, :2], boxes[index + 1 :, :2])
        high = torch.minimum(boxes[index, 2:], boxes[index + 1 :, 2:])
        overlap = (high - low).clamp(min=0).prod(dim=1)
        kept[index + 1 :] &= ~(overlap / (areas[index] + areas[index + 1 :] - overlap) > iou_threshold)
    return order[kept]


def roi_align(
    input: Tensor,
    rois: Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Average bilinear samples in the bins of each box: [N, C, H, W], [K, 5] -> [K, C, PH, PW].

    Bilinear interpolation is separable, its zero outside the image too, so the average over a bin's
    samples is rows @ image @ columns.T with one matrix of weights for either direction.
    """
    corners = rois[:, 1:] * spatial_scale - (0.5 if aligned else 0.0)
    extents = corners[:, 2:] - corners[:, :2]
    if not aligned:
        extents = extents.clamp(min=1)
    columns = _sampling(corners[:, 0], extents[:, 0], pooled_width, input.shape[3], sampling_ratio)
    rows = _sampling(corners[:, 1], extents[:, 1], pooled_height, input.shape[2], sampling_ratio)
    output = input.new_zeros(len(rois), input.shape[1], pooled_height, pooled_width)
    images = rois[:, 0].long()
    for image in images.unique().tolist():
        for chosen in (images == image).nonzero()[:, 0].split(_ROIS_AT_ONCE):
            output[chosen] = torch.einsum("kph,chw,kqw->kcpq", rows[chosen], input[image], columns[chosen])
    return output


def _sampling(start: Tensor, extent: Tensor, bins: int, size: int, sampling_ratio: int) -> Tensor:
    """Weigh the `size` pixels of one direction in each bin's average: [K], [K] -> [K, bins, size]."""
    if sampling_ratio > 0:
        counts = torch.full(start.shape, sampling_ratio)
    else:
        counts = (extent / bins).ceil().long()
    weights = start.new_zeros(len(start), bins, size)
    for count in counts.unique().tolist():
        if count <= 0:
            continue
        chosen = (counts == count).nonzero()[:, 0]
        steps = torch.arange(bins)[:, None] + (torch.arange(count) + 0.5) / count
        at = start[chosen, None, None] + steps * (extent[chosen, None, None] / bins)
        inside = (at >= -1) & (at <= size)
        at = at.clamp(0, size - 1)
        low = at.floor().long()
        fraction = at - low
        for pixel, weight in ((low, 1 - fraction), ((low + 1).clamp(max=size - 1), fraction)):
            one_hot = F.one_hot(pixel, size) * (weight * inside / count)[..., None]
            weights[chosen] += one_hot.sum(dim=2)
    return weights


def ps_roi_align(
    input: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int, pooled_width: int, sampling_ratio: int
) -> tuple[Tensor, Tensor]:
    """Align each bin with its own channels: [N, C*PH*PW, H, W], [K, 5] -> [K, C, PH, PW], channels of same shape."""
    aligned = roi_align(input, rois, spatial_scale, pooled_height, pooled_width, sampling_ratio, True)
    channels = aligned.shape[1] // (pooled_height * pooled_width)
    mapping = torch.arange(aligned.shape[1], dtype=torch.int32).view(channels, pooled_height, pooled_width)
    bins = aligned.view(len(rois), channels, pooled_height, pooled_width, pooled_height, pooled_width)
    output = torch.einsum("kcpqpq->kcpq", bins)
    return output.contiguous(), mapping.expand(len(rois), -1, -1, -1).contiguous()


def roi_pool(
    input: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int, pooled_width: int
) -> tuple[Tensor, Tensor]:
    """Take the maximum in the whole-pixel bins of each box: [N, C, H, W], [K, 5] -> [K, C, PH, PW], its index."""
    channels, height, width = input.shape[1:]
    output = input.new_zeros(len(rois), channels, pooled_height, pooled_width)
    indices = torch.full(output.shape, -1, dtype=torch.int32)
    for number, roi in enumerate(rois):
        image = input[int(roi[0])]
        left, top, right, bottom = _half_up(roi[1:] * spatial_scale)
        rows = _whole_bins(top, bottom, pooled_height, height)
        columns = _whole_bins(left, right, pooled_width, width)
        for row, (y0, y1) in enumerate(rows):
            for column, (x0, x1) in enumerate(columns):
                if y0 >= y1 or x0 >= x1:
                    continue
                best, at = image[:, y0:y1, x0:x1].flatten(1).max(dim=1)
                output[number, :, row, column] = best
                indices[number, :, row, column] = ((y0 + at // (x1 - x0)) * width + x0 + at % (x1 - x0)).int()
    return output, indices


def _half_up(values: Tensor) -> list[int]:
    """Round as C's round() does, halves away from zero."""
    return [int(value) for value in (values.abs() + 0.5).floor() * values.sign()]


def _whole_bins(start: int, end: int, bins: int, size: int) -> list[tuple[int, int]]:
    """Cut start..end into `bins` ranges of whole pixels, clipped to the image."""
    extent = torch.tensor(max(end - start + 1, 1), dtype=torch.float32) / bins
    numbers = torch.arange(bins, dtype=torch.float32)
    low = (numbers * extent).floor().long() + start
    high = ((numbers + 1) * extent).ceil().long() + start
    return list(zip(low.clamp(0, size).tolist(), high.clamp(0, size).tolist(), strict=True))


def deform_conv2d(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor,
    bias: Tensor,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    groups: int,
    offset_groups: int,
    use_mask: bool,
) -> Tensor:
    """Convolve samples taken at shifted places: [N, C, H, W] -> [N, M, OH, OW], OH and OW as the offset's."""
    batch, channels, height, width = input.shape
    kernel_h, kernel_w = weight.shape[2:]
    out_h, out_w = offset.shape[2:]
    taps = kernel_h * kernel_w
    shift = offset.view(batch * offset_groups, taps, 2, out_h, out_w)
    y0 = torch.arange(kernel_h) * dilation_h - pad_h
    x0 = torch.arange(kernel_w) * dilation_w - pad_w
    y = (y0[:, None, None, None] + torch.arange(out_h)[:, None] * stride_h).expand(kernel_h, kernel_w, out_h, out_w)
    x = (x0[:, None, None] + torch.arange(out_w) * stride_w).expand(kernel_h, kernel_w, out_h, out_w)
    y = y.reshape(taps, out_h, out_w) + shift[:, :, 0]
    x = x.reshape(taps, out_h, out_w) + shift[:, :, 1]
    # grid_sample's zero padding with align_corners=False takes x = ((grid + 1) * width - 1) / 2
    grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)
    grouped = input.view(batch * offset_groups, channels // offset_groups, height, width)
    sampled = F.grid_sample(grouped, grid.flatten(1, 2), align_corners=False)
    sampled = sampled.view(batch, offset_groups, channels // offset_groups, taps, out_h, out_w)
    if use_mask:
        sampled = sampled * mask.view(batch, offset_groups, 1, taps, out_h, out_w)
    sampled = sampled.reshape(batch, groups, channels // groups, taps, out_h, out_w)
    kernels = weight.view(groups, weight.shape[0] // groups, channels // groups, taps)
    output = torch.einsum("bgctyx,gmct->bgmyx", sampled, kernels).flatten(1, 2)
    return output + bias[:, None, None]


def _fake_roi_align(
    input: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int, pooled_width: int, *_: Any
) -> Tensor:
    return input.new_empty(rois.shape[0], input.shape[1], pooled_height, pooled_width)


def _fake_roi_pool(
    input: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int, pooled_width: int
) -> tuple[Tensor, Tensor]:
    output = _fake_roi_align(input, rois, spatial_scale, pooled_height, pooled_width)
    return output, torch.empty_like(output, dtype=torch.int32)


def _fake_ps_roi_align(
    input: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int, pooled_width: int, sampling_ratio: int
) -> tuple[Tensor, Tensor]:
    channels = input.shape[1] // (pooled_height * pooled_width)
    output = input.new_empty(rois.shape[0], channels, pooled_height, pooled_width)
    return output, torch.empty_like(output, dtype=torch.int32)


def _fake_deform_conv2d(input: Tensor, weight: Tensor, offset: Tensor, *_: Any) -> Tensor:
    return input.new_empty(input.shape[0], weight.shape[0], offset.shape[2], offset.shape[3])


KERNELS: dict[str, Callable[..., Any]] = {
    "nms": nms,
    "roi_align": roi_align,
    "roi_pool": roi_pool,
    "ps_roi_align": ps_roi_align,
    "deform_conv2d": deform_conv2d,
}

# torchvision registers the fake kernels of nms and qnms itself, with a data-dependent size, binary or not.
FAKES: dict[str, Callable[..., Any]] = {
    "roi_align": _fake_roi_align,
    "roi_pool": _fake_roi_pool,
    "ps_roi_align": _fake_ps_roi_align,
    "deform_conv2d": _fake_deform_conv2d,
}
