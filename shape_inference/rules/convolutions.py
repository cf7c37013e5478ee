"""Convolutions and pools: windows that slide over space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from shape_inference.broadcasting import unified
from shape_inference.contents import truncated_div
from shape_inference.dims import Size, ceil_div, divisible, smaller
from shape_inference.registry import Call, infers
from shape_inference.types import TensorType, Type

__all__ = ["convolved", "pooled"]

Types = tuple[Type | None, ...]
Shape = tuple[Size, ...]


def _window(call: Call, dims: Shape, kernel: Sequence[Size], *, pool: bool = False) -> list[Size]:
    """The sizes of space after a window: (s + pads - (k - 1)*dilation - 1) // stride + 1."""
    attributes = call.attributes
    rank = len(dims)
    strides = attributes.get("strides") or (1,) * rank
    dilations = attributes.get("dilations") or (1,) * rank
    pads = attributes.get("pads") or (0,) * (2 * rank)
    if not len(kernel) == len(strides) == len(dilations) == rank or len(pads) != 2 * rank:
        call.fail(f"kernel, strides, dilations and pads must be for {rank} axes", kernel)
    auto = attributes.get("auto_pad") or "NOTSET"
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        return [ceil_div(dim, stride) for dim, stride in zip(dims, strides, strict=True)]
    if auto == "VALID":
        pads = (0,) * (2 * rank)
    rounds_up = pool and attributes.get("ceil_mode")
    result: list[Size] = []
    for axis, dim in enumerate(dims):
        stride, span = strides[axis], (kernel[axis] - 1) * dilations[axis] + 1
        room = dim + (pads[axis] + pads[axis + rank] - span)
        if room.__class__ is int and room < 0:
            if not pool or room <= -2 * stride:  # a pool may leave nothing
                call.fail("the window must fit into the padded input", f"{span} > {room + span}")
            result.append(truncated_div(room, stride) + 1)  # as onnxruntime: a window that does not fit counts once
        elif rounds_up and stride != 1:
            # A last window must start inside the input or the padding before it.
            size = ceil_div(room, stride) + 1
            result.append(smaller(size, (dim + pads[axis] - 1) // stride + 1))
        else:
            result.append(room + 1 if stride == 1 else room // stride + 1)
    return result


def _kernel(call: Call, weight: Shape | None, rank: int) -> Sequence[Size] | None:
    given: Sequence[Size] | None = call.attributes.get("kernel_shape")
    if given is not None:
        if len(given) != rank:
            call.fail(f"kernel_shape must have {rank} elements", list(given))
        return given
    return None if weight is None else weight[2:]


def convolved(call: Call, x: TensorType, w: TensorType) -> Shape | None:
    """[N, C, *S], [M, C/group, *K] -> [N, M, *S']."""
    dims = x.shape
    weight = w.shape
    if dims is None:
        if weight is None:
            return None
        space = call.unknown_shape(len(weight) - 2, "conv")
        return (call.fresh("batch"), weight[0], *space)
    rank = len(dims) - 2
    if rank < 1:
        call.fail("X must have at least rank 3", x)
    if weight is not None:
        if len(weight) != len(dims):
            call.fail("X and W must have the same rank", f"{x} and {w}")
        group = call.attributes.get("group") or 1
        channels, wanted = dims[1], weight[1] * group
        if channels is not wanted and channels != wanted:
            unified(call, channels, wanted, "the channels of X and those of W times group")
        if group > 1 and divisible(weight[0], group) is False:
            call.fail(f"the first axis of W must be a multiple of group, {group}", weight[0])
    kernel = _kernel(call, weight, rank)
    maps = call.fresh("maps") if weight is None else weight[0]
    if kernel is None:
        return (dims[0], maps, *call.unknown_shape(rank, "conv"))
    return (dims[0], maps, *_window(call, dims[2:], kernel))


@infers("Conv")
def conv(call: Call) -> Types:
    """Convolve: [N, C, *S], [M, C/group, *K] -> [N, M, (s + pads - (k-1)*d - 1) // stride + 1]."""
    x, w = call.tensor(0), call.tensor(1)
    if x.dtype is not w.dtype and ir.DataType.UNDEFINED not in (x.dtype, w.dtype):
        call.fail("inputs must have one element type", f"{x.dtype.name}, {w.dtype.name}")
    return (TensorType(x.dtype, convolved(call, x, w)),)


@infers("ConvInteger")
def conv_integer(call: Call) -> Types:
    """Convolve bytes: [N, C, *S], [M, C/group, *K] -> [N, M, *S'], INT32."""
    return (TensorType(ir.DataType.INT32, convolved(call, call.tensor(0), call.tensor(1))),)


@infers("QLinearConv")
def qlinear_conv(call: Call) -> Types:
    """Convolve quantized: x, scale, zero, w, … -> [N, M, *S'], the output zero point's type."""
    return (TensorType(call.tensor(7).dtype, convolved(call, call.tensor(0), call.tensor(3))),)


@infers("DeformConv")
def deform_conv(call: Call) -> Types:
    """Convolve at shifted places: [N, C, *S], [M, C/group, *K], offsets -> [N, M, *S']."""
    x, w, offset = call.tensor(0), call.tensor(1), call.tensor(2)
    dims = convolved(call, x, w)
    if dims is not None and offset.shape is not None and len(offset.shape) == len(dims):
        space = [unified(call, a, b) for a, b in zip(dims[2:], offset.shape[2:], strict=True)]
        dims = (*dims[:2], *space)
    return (TensorType(x.dtype, dims),)


@infers("ConvTranspose")
def conv_transpose(call: Call) -> Types:
    """Spread: [N, C, *S], [C, M/group, *K] -> [N, M, (s-1)*stride + out + (k-1)*d + 1 - pads]."""
    x, w = call.tensor(0), call.tensor(1)
    if x.shape is None:
        return (TensorType(x.dtype, None),)
    rank = len(x.shape) - 2
    if rank < 1 or (w.shape is not None and len(w.shape) != rank + 2):
        call.fail("X and W must have the same rank, at least 3", f"{x} and {w}")
    attributes = call.attributes
    group = attributes.get("group") or 1
    maps = call.fresh("maps") if w.shape is None else w.shape[1] * group
    if w.shape is not None:
        unified(call, x.shape[1], w.shape[0], "the channels of X and W")
    wanted = attributes.get("output_shape")
    if wanted is not None:
        return (TensorType(x.dtype, (x.shape[0], maps, *wanted[-rank:])),)
    kernel = _kernel(call, w.shape, rank)
    if kernel is None:
        return (TensorType(x.dtype, (x.shape[0], maps, *call.unknown_shape(rank, "conv"))),)
    strides = attributes.get("strides") or (1,) * rank
    dilations = attributes.get("dilations") or (1,) * rank
    pads = attributes.get("pads") or (0,) * (2 * rank)
    extra = attributes.get("output_padding") or (0,) * rank
    auto = attributes.get("auto_pad") or "NOTSET"
    space: list[Size] = []
    for axis, dim in enumerate(x.shape[2:]):
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            space.append(dim * strides[axis])
            continue
        padding = 0 if auto == "VALID" else pads[axis] + pads[axis + rank]
        span = (kernel[axis] - 1) * dilations[axis] + 1
        space.append((dim - 1) * strides[axis] + extra[axis] + span - padding)
    return (TensorType(x.dtype, (x.shape[0], maps, *space)),)


def pooled(call: Call, x: TensorType) -> Shape | None:
    """[N, C, *S] -> [N, C, *S']."""
    kernel = call.required("kernel_shape")
    if x.shape is None:
        space = call.unknown_shape(len(kernel), "pool")
        return (call.fresh("batch"), call.fresh("channels"), *space)
    if len(x.shape) != len(kernel) + 2:
        call.fail(f"input must have rank {len(kernel) + 2}", x)
    return (*x.shape[:2], *_window(call, x.shape[2:], kernel, pool=True))


@infers("AveragePool", "LpPool", "MaxPool")
def pool(call: Call) -> Types:
    """Fold windows: [N, C, *S] -> [N, C, *S'], and for MaxPool their INT64 places."""
    x = call.tensor(0)
    dims = pooled(call, x)
    return TensorType(x.dtype, dims), TensorType(ir.DataType.INT64, dims)


@infers("MaxUnpool")
def max_unpool(call: Call) -> Types:
    """Undo a MaxPool: [N, C, *S] -> [N, C, (s-1)*stride + k - pads], or the shape given."""
    x = call.tensor(0)
    kernel = call.required("kernel_shape")
    if call.has(2):
        given = call.sizes(2)
        if given is not None:
            return (TensorType(x.dtype, given),)
        return (TensorType(x.dtype, call.unknown_shape(len(kernel) + 2, "unpool")),)
    if x.shape is None:
        return (TensorType(x.dtype, call.unknown_shape(len(kernel) + 2, "unpool")),)
    rank = len(kernel)
    strides = call.attribute("strides") or (1,) * rank
    pads = call.attribute("pads") or (0,) * (2 * rank)
    space: list[Any] = [
        (dim - 1) * strides[axis] + kernel[axis] - pads[axis] - pads[axis + rank]
        for axis, dim in enumerate(x.shape[2:])
    ]
    return (TensorType(x.dtype, (*x.shape[:2], *space)),)


@infers("MaxRoiPool")
def max_roi_pool(call: Call) -> Types:
    """Fold regions: [N, C, H, W], [R, 5] -> [R, C, *pooled_shape]."""
    x, rois = call.tensor(0), call.tensor(1)
    pooled = call.required("pooled_shape")
    regions = call.fresh("rois") if rois.shape is None else rois.shape[0]
    channels = call.fresh("channels") if x.shape is None else x.shape[1]
    return (TensorType(x.dtype, (regions, channels, *pooled)),)


@infers("RoiAlign")
def roi_align(call: Call) -> Types:
    """Sample regions: [N, C, H, W], [R, 4], [R] -> [R, C, output_height, output_width]."""
    x, rois, batches = call.tensor(0), call.tensor(1), call.tensor(2)
    for name, tensor, rank in (("X", x, 4), ("rois", rois, 2), ("batch_indices", batches, 1)):
        if tensor.shape is not None and len(tensor.shape) != rank:
            call.fail(f"{name} must have rank {rank}", tensor)
    if rois.shape is not None:
        regions = rois.shape[0]
    else:
        regions = call.fresh("rois") if batches.shape is None else batches.shape[0]
    channels = call.fresh("channels") if x.shape is None else x.shape[1]
    height, width = call.attribute("output_height", 1), call.attribute("output_width", 1)
    return (TensorType(x.dtype, (regions, channels, height, width)),)


@infers("Col2Im")
def col2im(call: Call) -> Types:
    """Add blocks up into an image: [N, C*prod(block), L], image, block -> [N, C, *image]."""
    x, image, block = call.tensor(0), call.sizes(1), call.sizes(2)
    if x.shape is None or image is None:
        dims = call.tensor(1).shape
        if dims is None or not isinstance(dims[0], int):
            return (TensorType(x.dtype, None),)
        image = image or call.unknown_shape(dims[0], "image")
    batch = call.fresh("batch") if x.shape is None else x.shape[0]
    channels: Size = call.fresh("channels")
    if x.shape is not None and block is not None:
        channels = x.shape[1]
        for size in block:
            channels = channels // size
    return (TensorType(x.dtype, (batch, channels, *image)),)
