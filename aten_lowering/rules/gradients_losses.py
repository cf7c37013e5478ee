"""Gradients of losses and of the logarithm of softmax."""

from __future__ import annotations

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.dtypes import from_torch
from aten_lowering.registry import lowers
from aten_lowering.rules.losses import class_weights
from shape_inference import Size, product

aten = torch.ops.aten

_NONE, _MEAN = 0, 1


@lowers(aten._log_softmax_backward_data.default)
def log_softmax_backward_data(
    op: Builder, grad_output: Value, output: Value, dim: int, input_dtype: torch.dtype
) -> Value:  # fmt: skip
    """[*S], [*S] -> [*S]: g - exp(y) sum(g) along the dim."""
    axes = [dim % rank(output)] if rank(output) else []
    total = op.reduce("ReduceSum", grad_output, axes, True)
    return op.cast(op.Sub(grad_output, op.Mul(op.Exp(output), total)), from_torch(input_dtype))


@lowers(aten.nll_loss_backward.default, aten.nll_loss2d_backward.default)
def nll_loss_backward(
    op: Builder, grad_output: Value, self: Value, target: Value, weight: Value | None, reduction: int,
    ignore_index: Size, total_weight: Value,
) -> Value:  # fmt: skip
    """[N, C, *S] or [C]: -weight g at the target's class, over the total weight for the mean, else 0."""
    classes = op.cast(target, ir.DataType.INT64)
    amounts = op.Neg(class_weights(op, self, target, weight, ignore_index))
    if reduction == _MEAN:
        grad_output = op.Div(grad_output, op.cast(total_weight, dtype(grad_output)))
    amounts = op.Mul(amounts, grad_output)
    counts = op.Not(op.Equal(classes, op.scalar(ignore_index)))
    places = op.Where(counts, classes, 0)
    axis = min(1, rank(self) - 1)
    nothing = op.expand(op.constant(0.0, dtype(self)), dims(self))
    return op.ScatterElements(nothing, op.unsqueeze(places, [axis]), op.unsqueeze(amounts, [axis]), axis=axis)


def _mean_of(op: Builder, grad: Value, x: Value, reduction: int) -> Value:
    """The gradient of each element's loss."""
    if reduction != _MEAN:
        return grad
    size = product(dims(x))
    return op.Div(grad, op.constant(size, dtype(grad)) if type(size) is int else op.scalar(size, dtype(grad)))


@lowers(aten.mse_loss_backward.default)
def mse_loss_backward(op: Builder, grad_output: Value, self: Value, target: Value, reduction: int) -> Value:
    """[*S]: 2 (x - t) g."""
    grad = _mean_of(op, op.Mul(grad_output, 2.0), self, reduction)
    return op.Mul(op.Sub(self, op.cast(target, dtype(self))), grad)


@lowers(aten.smooth_l1_loss_backward.default)
def smooth_l1_loss_backward(
    op: Builder, grad_output: Value, self: Value, target: Value, reduction: int, beta: float
) -> Value:  # fmt: skip
    """[*S]: g (x - t) / beta, of magnitude g at most."""
    grad = _mean_of(op, grad_output, self, reduction)
    distance = op.Sub(self, target)
    if not beta:
        return op.Mul(op.Sign(distance), grad)
    return op.Mul(op.Clip(op.Div(distance, beta), op.constant(-1.0, dtype(self)), op.constant(1.0, dtype(self))), grad)


@lowers(aten.huber_loss_backward.default)
def huber_loss_backward(
    op: Builder, grad_output: Value, self: Value, target: Value, reduction: int, delta: float
) -> Value:  # fmt: skip
    """[*S]: g (x - t), of magnitude g delta at most."""
    grad = _mean_of(op, grad_output, self, reduction)
    bounds = op.constant(-delta, dtype(self)), op.constant(delta, dtype(self))
    return op.Mul(op.Clip(op.Sub(self, target), *bounds), grad)


@lowers(aten.binary_cross_entropy_backward.default)
def binary_cross_entropy_backward(
    op: Builder, grad_output: Value, self: Value, target: Value, weight: Value | None, reduction: int
) -> Value:  # fmt: skip
    """[*S]: g w (x - t) / (x (1 - x)), the denominator at least 1e-12."""
    grad = _mean_of(op, grad_output, self, reduction)
    if weight is not None:
        grad = op.Mul(grad, weight)
    variance = op.Max(op.Mul(self, op.Sub(1.0, self)), op.constant(1e-12, dtype(self)))
    return op.Div(op.Mul(op.Sub(self, target), grad), variance)
