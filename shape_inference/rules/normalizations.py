"""Normalizations: the shape stays; some also return what they computed."""

from __future__ import annotations

import onnx_ir as ir

from shape_inference.broadcasting import unified
from shape_inference.dims import Size
from shape_inference.registry import Call, infers
from shape_inference.types import TensorType, Type

Types = tuple[Type | None, ...]


@infers("InstanceNormalization", "GroupNormalization")
def instance_normalization(call: Call) -> Types:
    """Normalize space: [N, C, *S], scale, bias -> [N, C, *S]."""
    x = call.tensor(0)
    if x.shape is not None and len(x.shape) < 2:
        call.fail("input must have at least rank 2", x)
    return (TensorType(x.dtype, x.shape),)


@infers("BatchNormalization")
def batch_normalization(call: Call) -> Types:
    """Normalize by channel: [N, C, *S], four of [C] -> [N, C, *S], in training also two of [C]."""
    x = call.tensor(0)
    channels: Size | None = None
    if x.shape is not None:
        channels = x.shape[1] if len(x.shape) > 1 else 1
    for index in range(1, 5):
        given = call.optional(index)
        if given is None or given.shape is None:
            continue
        if len(given.shape) != 1:
            call.fail(f"input {index} must have rank 1", given)
        size = given.shape[0]
        if channels is None:
            channels = size
        elif size is not channels and size != channels:
            unified(call, channels, size, "channels")
    if call.output_count == 1:
        return (TensorType(x.dtype, x.shape),)
    dims = (call.fresh("channels") if channels is None else channels,)
    mean, variance = call.optional(3), call.optional(4)
    statistics = (
        TensorType(x.dtype if mean is None else mean.dtype, dims),
        TensorType(x.dtype if variance is None else variance.dtype, dims),
    )
    return (TensorType(x.dtype, x.shape), *statistics, *statistics)


@infers("LayerNormalization")
def layer_normalization(call: Call) -> Types:
    """Normalize the axes from `axis` on: [*L, *R] -> [*L, *R], mean and 1/deviation [*L, 1…]."""
    x = call.tensor(0)
    if x.shape is None:
        if call.output_count == 1:
            return (TensorType(x.dtype, None),)
        stash = ir.DataType(call.attribute("stash_type", 1))
        return (TensorType(x.dtype, None), TensorType(stash, None), TensorType(stash, None))
    axis = call.axis(call.attribute("axis", -1), len(x.shape))
    if call.output_count == 1:
        return (x,)
    stash = ir.DataType(call.attribute("stash_type", 1))
    dims = x.shape[:axis] + (1,) * (len(x.shape) - axis)
    return x, TensorType(stash, dims), TensorType(stash, dims)


@infers("RMSNormalization")
def rms_normalization(call: Call) -> Types:
    """Normalize by the root mean square: [*L, *R] -> [*L, *R], the scale's type."""
    x, scale = call.tensor(0), call.tensor(1)
    if x.shape is not None:
        call.axis(call.attribute("axis", -1), len(x.shape))
    return (TensorType(scale.dtype, x.shape),)
