"""Fold a scale and a shift of each channel into the weights of the node before.

With y the node's output, channel c and constants s, t: s*y + t of a node that is linear in its
weight W and bias b is that node with s*W and s*b + t.

1. BatchNormalization at inference: s = scale / sqrt(variance + epsilon), t = bias - s*mean.
2. Mul and Div by a constant for each channel, or by one number.
3. Add and Sub of a constant for each channel, or of one number, where the node has a bias or can
   get one.

The node before is a Conv, a ConvTranspose, a Gemm or a MatMul with a constant weight, whose output
nothing else uses: it takes the new weights in place, under its own name. MatMul has no bias, so 1
and 3 do not apply to it; Add after MatMul is a Gemm for `fusion`. The new weights are computed when
they are written; a weight that others use as well is only folded while the budget allows for the
copy. Factors that are known while exporting are only folded between 2**-20 and 2**20, where the
weights stay in the range of their dtype.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from exporter.optimization.later import MOST_STEPS, LaterTensor, steps
from exporter.optimization.rewriting import Rewriter, Rules
from exporter.optimization.values import (
    FLOATS,
    Array,
    attribute,
    constant,
    is_used,
    made_by,
    same_shape,
    small_array,
    static_dims,
)

__all__ = ["run"]

_SMALLEST, _LARGEST = 2.0**-20, 2.0**20


def run(rewriter: Rewriter) -> int:
    """Fold scales and shifts into weights; return how many nodes that saved."""
    return rewriter.apply(RULES)


class _Linear(NamedTuple):
    """A node that is linear in a constant weight and a constant bias, or none."""

    node: ir.Node
    weight: ir.Value
    bias: ir.Value | None
    channels: int
    channel_axis: int  # of the output, from the back: -1 for a matrix product
    groups: int  # how often the channels of a transposed convolution's weight repeat

    @property
    def split(self) -> tuple[int, ...]:
        """The weight's shape, with the groups of a transposed convolution as their own axis."""
        shape = static_dims(self.weight) or ()
        if self.node.op_type != "ConvTranspose":
            return shape
        return (self.groups, shape[0] // self.groups, *shape[1:])

    @property
    def spread(self) -> tuple[int, ...]:
        """The shape in which a vector of channels meets the split weight."""
        rank = len(self.split)
        if self.node.op_type == "ConvTranspose":
            return (self.groups, 1, -1) + (1,) * (rank - 3)
        if self.node.op_type == "Conv" or attribute(self.node, "transB", 0):
            return (-1,) + (1,) * (rank - 1)
        return (1,) * (rank - 1) + (-1,)


def _linear_before(rewriter: Rewriter, node: ir.Node, value: ir.Value | None, *, shifts: bool) -> _Linear | None:
    """The node that makes the value, where its weights can take what happens to it next."""
    before = made_by(value, _BIASED if shifts else _READERS)
    if before is None or value is None:
        return None
    if before.graph is not node.graph or not rewriter.is_private(value):
        return None
    weight = before.inputs[1]
    bias = before.inputs[2] if len(before.inputs) > 2 else None
    if constant(weight) is None or (bias is not None and constant(bias) is None):
        return None
    if weight is None or weight.dtype not in FLOATS or static_dims(weight) is None:
        return None
    return _READERS[before.op_type](before, weight, bias)


def _conv(node: ir.Node, weight: ir.Value, bias: ir.Value | None) -> _Linear | None:
    shape = static_dims(weight) or ()
    return _Linear(node, weight, bias, shape[0], 1 - len(shape), 1)


def _conv_transpose(node: ir.Node, weight: ir.Value, bias: ir.Value | None) -> _Linear | None:
    shape = static_dims(weight) or ()
    groups = attribute(node, "group", 1)
    return _Linear(node, weight, bias, shape[1] * groups, 1 - len(shape), groups)


def _gemm(node: ir.Node, weight: ir.Value, bias: ir.Value | None) -> _Linear | None:
    channels = (static_dims(weight) or ())[0 if attribute(node, "transB", 0) else 1]
    if bias is not None and static_dims(bias) not in ((channels,), (1, channels)):
        return None
    if attribute(node, "alpha", 1.0) != 1 or attribute(node, "beta", 1.0) != 1:
        return None
    return _Linear(node, weight, bias, channels, -1, 1)


def _matmul(node: ir.Node, weight: ir.Value, _: ir.Value | None) -> _Linear | None:
    shape = static_dims(weight) or ()
    if len(shape) != 2:
        return None
    return _Linear(node, weight, None, shape[1], -1, 1)


_READERS: dict[str, Callable[[ir.Node, ir.Value, ir.Value | None], _Linear | None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
_BIASED = frozenset({"Conv", "ConvTranspose", "Gemm"})


class _Effect(NamedTuple):
    """What happens to each channel, as tensors of one element or one per channel."""

    scale: Callable[[], Array] | None = None
    shift: Callable[[], Array] | None = None
    sources: tuple[ir.TensorProtocol, ...] = ()


def _batch_normalization(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    if attribute(node, "training_mode", 0):
        return None
    if any(is_used(output) or output.is_graph_output() for output in node.outputs[1:]):
        return None
    linear = _linear_before(rewriter, node, node.inputs[0], shifts=True)
    if linear is None:
        return None
    found = [constant(value) for value in node.inputs[1:5]]
    known = tuple(tensor for tensor in found if tensor is not None)
    if len(known) < 4:
        return None
    gain, bias, mean, variance = known
    epsilon = attribute(node, "epsilon", 1e-5)

    def scale() -> Array:
        return np.asarray(_wide(gain) / np.sqrt(_wide(variance) + epsilon))

    def shift() -> Array:
        return np.asarray(_wide(bias) - scale() * _wide(mean))

    return _folded(rewriter, node, linear, _Effect(scale, shift, known))  # 1


def _scale(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    divides = node.op_type == "Div"
    for data, factor in _operands(node, commutes=not divides):
        if factor is None or factor.const_value is None:
            continue
        linear = _linear_before(rewriter, node, data, shifts=False)
        tensor = None if linear is None else _channel_constant(linear, node, data, factor)
        if linear is None or tensor is None or not _is_moderate(factor, divides=divides):
            continue

        def scale(tensor: ir.TensorProtocol = tensor) -> Array:
            return 1 / _wide(tensor) if divides else _wide(tensor)

        return _folded(rewriter, node, linear, _Effect(scale=scale, sources=(tensor,)))  # 2
    return None


def _shift(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    subtracts = node.op_type == "Sub"
    for data, added in _operands(node, commutes=not subtracts):
        if added is None or added.const_value is None:
            continue
        linear = _linear_before(rewriter, node, data, shifts=True)
        tensor = None if linear is None else _channel_constant(linear, node, data, added)
        if linear is None or tensor is None:
            continue

        def shift(tensor: ir.TensorProtocol = tensor) -> Array:
            return -_wide(tensor) if subtracts else _wide(tensor)

        return _folded(rewriter, node, linear, _Effect(shift=shift, sources=(tensor,)))  # 3
    return None


def _operands(node: ir.Node, *, commutes: bool) -> list[tuple[ir.Value | None, ir.Value | None]]:
    left, right = node.inputs
    return [(left, right), (right, left)] if commutes else [(left, right)]


def _channel_constant(
    linear: _Linear, node: ir.Node, data: ir.Value | None, value: ir.Value | None
) -> ir.TensorProtocol | None:
    """The constant, where it has one element, or one for each channel along the channel's axis."""
    tensor = constant(value)
    if tensor is None or data is None or data.dtype != tensor.dtype:
        return None
    if not same_shape(data, node.outputs[0]):
        return None
    shape = tensor.shape.numpy()
    if math.prod(shape) == 1:
        return tensor
    axis = linear.channel_axis
    spread = len(shape) >= -axis and shape[axis] == linear.channels == math.prod(shape)
    return tensor if spread else None


def _is_moderate(value: ir.Value | None, *, divides: bool) -> bool:
    """Whether the factors keep the weights in range; those of many channels are parameters."""
    factors = small_array(value)
    if factors is None:
        return not divides
    size = np.abs(factors.astype(np.float64))
    in_range = (size >= _SMALLEST) & (size <= _LARGEST)
    return bool((in_range if divides else in_range | (size == 0)).all())


def _folded(rewriter: Rewriter, node: ir.Node, linear: _Linear, effect: _Effect) -> ir.Value | None:
    """Put the effect into the weights of the linear node, whose output then is what `node` made."""
    weight, bias = linear.weight, linear.bias
    weights, biases = constant(weight), constant(bias)
    if weights is None or steps([weights, biases, *effect.sources]) >= MOST_STEPS:
        return None
    if effect.scale is not None:
        if not rewriter.is_private(weight) and not rewriter.affords([weights.nbytes], []):
            return None
        tensor = LaterTensor(
            functools.partial(_new_weight, linear, weights, effect.scale),
            weights.dtype,
            ir.Shape(weights.shape.numpy()),
            sources=(weights, *effect.sources),
        )
        weight = rewriter.initializer(f"{weight.name}/{node.op_type}", tensor)
    if effect.shift is not None or bias is not None:
        tensor = LaterTensor(
            functools.partial(_new_bias, linear, weights.dtype, biases, effect),
            weights.dtype,
            ir.Shape((linear.channels,)),
            sources=(biases, *effect.sources),
        )
        name = bias.name if bias is not None else f"{node.name}/bias"
        bias = rewriter.initializer(f"{name}/{node.op_type}", tensor)
    rewriter.set_input(linear.node, 1, weight)
    if bias is not None:
        rewriter.set_input(linear.node, 2, bias)
    linear.node.metadata_props.update({**node.metadata_props, **linear.node.metadata_props})
    return linear.node.outputs[0]


def _new_weight(linear: _Linear, weight: ir.TensorProtocol, scale: Callable[[], Array]) -> ir.TensorProtocol:
    """Each output channel of the weight, scaled."""
    dtype = np.float64 if weight.dtype is ir.DataType.DOUBLE else np.float32
    array: Array = weight.numpy().astype(dtype, copy=False)
    factor: Array = scale().reshape(-1).astype(dtype)
    if factor.size > 1:
        factor = factor.reshape(linear.spread)
    scaled = (array.reshape(linear.split) * factor).reshape(array.shape)
    return ir.Tensor(scaled.astype(weight.dtype.numpy(), copy=False), dtype=weight.dtype)


def _new_bias(
    linear: _Linear, dtype: ir.DataType, bias: ir.TensorProtocol | None, effect: _Effect
) -> ir.TensorProtocol:
    array = np.zeros(linear.channels)
    if bias is not None:
        array = array + _wide(bias)
    if effect.scale is not None:
        array = array * effect.scale().reshape(-1)
    if effect.shift is not None:
        array = array + effect.shift().reshape(-1)
    return ir.Tensor(array.astype(dtype.numpy()), dtype=dtype)


def _wide(tensor: ir.TensorProtocol) -> Array:
    """A vector in double precision."""
    return tensor.numpy().astype(np.float64).reshape(-1)


RULES: Rules = {
    "BatchNormalization": (_batch_normalization,),
    "Mul": (_scale,),
    "Div": (_scale,),
    "Add": (_shift,),
    "Sub": (_shift,),
}
