"""Operators of the default domain that onnxruntime has and ONNX has not: old ones, copies, what TensorRT runs."""

from __future__ import annotations

import onnx_ir as ir

from shape_inference.dims import Size
from shape_inference.registry import Call, infers
from shape_inference.rules.joins import slice_
from shape_inference.types import TensorType, Type

Types = tuple[Type | None, ...]
_INT32 = ir.DataType.INT32


@infers("MemcpyFromHost", "MemcpyToHost", "DisentangledAttention_TRT", "GRUUnit")
def kept(call: Call) -> Types:
    """Keep the type and the shape of the first input: [*S], … -> [*S]."""
    x = call.tensor(0)
    return (TensorType(x.dtype, x.shape),)


@infers("Crop")
def crop(call: Call) -> Types:
    """Cut an image: [N, C, H, W] -> [N, C, H - top - bottom, W - left - right], or [N, C, *scale] if that is given."""
    x = call.tensor(0)
    if x.shape is None:
        return (TensorType(x.dtype, call.unknown_shape(4, "crop")),)
    if len(x.shape) != 4:
        call.fail("input must have rank 4", x)
    scale = call.attribute("scale")
    if scale:
        return (TensorType(x.dtype, (*x.shape[:2], *scale)),)
    border = call.required("border")
    if len(border) != 4:
        call.fail("border must have 4 elements", len(border))
    left, top, right, bottom = border
    n, c, height, width = x.shape
    return (TensorType(x.dtype, (n, c, height - top - bottom, width - left - right)),)


@infers("DynamicSlice")
def dynamic_slice(call: Call) -> Types:
    """Take start:end of some axes, as Slice does since opset 10: data [*S], starts, ends, axes -> [*S']."""
    return slice_(Call("Slice", "", 10, call.inputs, {}, 1, call.fresh, call.run))


@infers("GivenTensorFill")
def given_tensor_fill(call: Call) -> Types:
    """Fill a shape, which is an attribute, or what the input is: [*S] -> [*S, *extra_shape], FLOAT."""
    extra: tuple[Size, ...] = tuple(call.attribute("extra_shape", ()))
    given = call.attribute("shape")
    dims: tuple[Size, ...] | None
    if given is not None:
        dims = tuple(given)
    elif call.attribute("input_as_shape", 0):
        dims = call.sizes(0)
    else:
        dims = call.tensor(0).shape
    return (TensorType(ir.DataType.FLOAT, None if dims is None else dims + extra),)


@infers("EfficientNMS_TRT")
def efficient_nms(call: Call) -> Types:
    """Choose boxes: [N, B, 4], [N, B, C] -> how many [N, 1], boxes [N, M, 4], scores [N, M], classes [N, M]."""
    boxes, scores = call.tensor(0), call.tensor(1)
    batch = boxes.shape[0] if boxes.shape else call.fresh("batch")
    most = call.required("max_output_boxes")
    return (
        TensorType(_INT32, (batch, 1)),
        TensorType(boxes.dtype, (batch, most, 4)),
        TensorType(scores.dtype, (batch, most)),
        TensorType(_INT32, (batch, most)),
    )


@infers("PyramidROIAlign_TRT", "MultilevelCropAndResize_TRT")
def pyramid_roi_align(call: Call) -> Types:
    """Cut patches out of maps: boxes [N, R, 4], [N, C, H, W], … -> [N, R, C, P, P]."""
    boxes, features = call.tensor(0), call.tensor(1)
    size = call.required("pooled_size")
    if boxes.shape is None or features.shape is None:
        return (TensorType(features.dtype, (*call.unknown_shape(3, "patches"), size, size)),)
    return (TensorType(features.dtype, (*boxes.shape[:2], features.shape[1], size, size)),)
