"""Normalizations: layer, batch, group, instance, root mean square, weight."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.dimensions import count
from aten_lowering.precision import opmath, widened
from aten_lowering.registry import lowers
from aten_lowering.rules.powers import squared
from shape_inference import Size, larger

aten = torch.ops.aten
_ONES_LIMIT = 1 << 16  # elements: a scale of ones up to this size is written whole


def _filled(op: Builder, number: float, sizes: Sequence[Size], kind: ir.DataType) -> Value:
    """A constant tensor of a number; one element, to be broadcast, where the sizes are unknown or large."""
    if not all(type(size) is int for size in sizes) or math.prod(map(int, sizes)) > _ONES_LIMIT:  # type: ignore[arg-type]  # they are int
        sizes = [1]
    return op.constant(np.full(tuple(sizes), number, dtype=np.float32), kind)


def _deviations(op: Builder, x: Value, axes: Sequence[int]) -> tuple[Value, Value, Value]:
    """Mean, x - mean and the biased variance, with the axes kept."""
    mean = op.reduce("ReduceMean", x, axes, True)
    centred = op.Sub(x, mean)
    return mean, centred, op.reduce("ReduceMean", op.Mul(centred, centred), axes, True)


def _inverse_deviation(op: Builder, variance: Value, eps: float) -> Value:
    return op.Reciprocal(op.Sqrt(op.Add(variance, eps)))


# Layer normalization.


@lowers(aten.layer_norm.default)
def layer_norm(
    op: Builder, input: Value, normalized_shape: Sequence[Size], weight: Value | None, bias: Value | None, eps: float
) -> Value:  # fmt: skip
    """[*L, *N] -> [*L, *N]: (x - mean) / sqrt(variance + eps) * weight + bias over the axes of N."""
    kind = dtype(input)
    given = [value for value in (weight, bias) if value is not None]
    if any(value.dtype != kind for value in given):
        kind = opmath(kind)
    scale = weight if weight is not None else _filled(op, 1.0, normalized_shape, kind)
    inputs = [op.cast(value, kind) for value in (input, scale, *([] if bias is None else [bias]))]
    result = op.LayerNormalization(*inputs, axis=-len(normalized_shape), epsilon=eps)
    return op.cast(result, dtype(input))


@lowers(aten.native_layer_norm.default)
def native_layer_norm(
    op: Builder, input: Value, normalized_shape: Sequence[Size], weight: Value | None, bias: Value | None, eps: float
) -> tuple[Value, Value, Value]:  # fmt: skip
    """[*L, *N] -> normalized [*L, *N], mean and 1 / sqrt(variance + eps) [*L, 1...]."""
    result = layer_norm(op, input, normalized_shape, weight, bias, eps)
    axes = list(range(rank(input) - len(normalized_shape), rank(input)))
    mean, _, variance = _deviations(op, widened(op, input), axes)
    kind = dtype(next((other for other in (weight, bias) if other is not None), input))
    return result, op.cast(mean, kind), op.cast(_inverse_deviation(op, variance, eps), kind)


@lowers(aten.rms_norm.default)
def rms_norm(
    op: Builder, input: Value, normalized_shape: Sequence[Size], weight: Value | None, eps: float | None
) -> Value:  # fmt: skip
    """[*L, *N] -> [*L, *N]: x / sqrt(mean(x^2) + eps) * weight over the axes of N.

    Below opset 23 it is taken apart, in the shape that onnxruntime puts together again.
    """
    kind = dtype(input)
    wide = opmath(kind)
    if eps is None:
        eps = float(np.finfo(wide.numpy()).eps)
    if op.opset_version >= 23 and kind == wide and (weight is None or weight.dtype == kind):
        scale = weight if weight is not None else _filled(op, 1.0, normalized_shape, kind)
        return op.RMSNormalization(input, scale, axis=-len(normalized_shape), epsilon=eps)
    x = op.cast(input, wide)
    axes = list(range(rank(input) - len(normalized_shape), rank(input)))
    mean = op.reduce("ReduceMean", squared(op, x), axes, True)
    result = op.Div(x, op.Sqrt(op.Add(mean, eps)))
    if weight is not None:
        result = op.Mul(result, op.cast(weight, wide))
    return op.cast(result, kind)


@lowers(aten._fused_rms_norm.default)
def fused_rms_norm(
    op: Builder, input: Value, normalized_shape: Sequence[Size], weight: Value | None, eps: float | None
) -> tuple[Value, Value]:  # fmt: skip
    """[*L, *N] -> normalized [*L, *N] and 1 / sqrt(mean(x^2) + eps) [*L, 1...]."""
    x = widened(op, input)
    if eps is None:
        eps = float(np.finfo(dtype(x).numpy()).eps)
    axes = list(range(rank(input) - len(normalized_shape), rank(input)))
    inverse = _inverse_deviation(op, op.reduce("ReduceMean", op.Mul(x, x), axes, True), eps)
    return rms_norm(op, input, normalized_shape, weight, eps), inverse


# Batch normalization.


def _affine(
    op: Builder, x: Value, weight: Value | None, bias: Value | None, mean: Value, variance: Value, eps: float
) -> Value:  # fmt: skip
    """BatchNormalization with given statistics."""
    channels, kind = dims(x)[1], dtype(mean)
    weight = op.cast(weight, kind) if weight is not None else by_channel(op, 1.0, channels, kind)
    bias = op.cast(bias, kind) if bias is not None else by_channel(op, 0.0, channels, kind)
    return op.BatchNormalization(x, weight, bias, mean, op.cast(variance, kind), epsilon=eps)


def by_channel(op: Builder, number: float, channels: Size, kind: ir.DataType) -> Value:
    """[channels], all of one number."""
    if type(channels) is int:
        return op.constant(np.full((channels,), number, dtype=np.float32), kind)
    return op.expand(op.constant(number, kind), [channels])


def _trained(
    op: Builder, x: Value, weight: Value | None, bias: Value | None, eps: float
) -> tuple[Value, Value, Value]:  # fmt: skip
    """Normalized by the batch's own statistics, these, and the biased variance, [C] each; in opmath."""
    axes = [0, *range(2, rank(x))]
    mean = op.reduce("ReduceMean", x, axes, True)
    centred = op.Sub(x, mean)
    variance = op.reduce("ReduceMean", op.Mul(centred, centred), axes)
    zeros = by_channel(op, 0.0, dims(x)[1], dtype(x))
    mean = op.squeeze(mean, axes)
    op.root.notes[mean] = centred  # for the gradient's rule
    return _affine(op, centred, weight, bias, zeros, variance, eps), mean, variance


def _running(op: Builder, old: Value, new: Value, momentum: float, share: Value | float) -> Value:
    """(1 - momentum) old + share new, in the dtype of the old one."""
    wide = opmath(dtype(old))
    mixed = op.Add(op.Mul(op.cast(old, wide), 1.0 - momentum), op.Mul(op.cast(new, wide), share))
    return op.cast(mixed, dtype(old))


def _unbiased(op: Builder, x: Value, momentum: float, kind: ir.DataType) -> Value | float:
    """The momentum times n / (n - 1), n being the elements a channel has."""
    size = count(x, [0, *range(2, rank(x))])
    if type(size) is int:
        return momentum * size / (size - 1) if size > 1 else math.inf
    factor = op.Div(op.scalar(size, kind), op.scalar(larger(size - 1, 0), kind))
    return op.Mul(factor, momentum)


@lowers(aten.batch_norm.default)
def batch_norm(
    op: Builder, input: Value, weight: Value | None, bias: Value | None, running_mean: Value | None,
    running_var: Value | None, training: bool, momentum: float, eps: float,
) -> Value:  # fmt: skip
    """[N, C, *S], four of [C] -> [N, C, *S]; in training by the batch's statistics.

    With running statistics to update, capture calls `_native_batch_norm_legit_functional` instead.
    """
    if count(input, range(rank(input))) == 0:
        return input
    if training or running_mean is None or running_var is None:
        return op.cast(_trained(op, widened(op, input), weight, bias, eps)[0], dtype(input))
    return _affine(op, input, weight, bias, running_mean, running_var, eps)


@lowers(aten.native_batch_norm.default)
def native_batch_norm(
    op: Builder, input: Value, weight: Value | None, bias: Value | None, running_mean: Value | None,
    running_var: Value | None, training: bool, momentum: float, eps: float,
) -> tuple[Value, Value, Value]:  # fmt: skip
    """[N, C, *S] -> normalized; with training the batch's mean and 1 / sqrt(variance + eps), else two of [0]."""
    kind = dtype(next((other for other in (weight, running_mean) if other is not None), input))
    if training or running_mean is None or running_var is None:
        result, mean, variance = _trained(op, widened(op, input), weight, bias, eps)
        return op.cast(result, dtype(input)), op.cast(mean, kind), op.cast(_inverse_deviation(op, variance, eps), kind)
    empty = op.constant(np.zeros((0,), dtype=np.float32), kind)
    return _affine(op, input, weight, bias, running_mean, running_var, eps), empty, empty


@lowers(aten._native_batch_norm_legit_no_training.default)
def native_batch_norm_legit_no_training(
    op: Builder, input: Value, weight: Value | None, bias: Value | None, running_mean: Value, running_var: Value,
    momentum: float, eps: float,
) -> tuple[Value, Value, Value]:  # fmt: skip
    """The same as `native_batch_norm` without training."""
    return native_batch_norm(op, input, weight, bias, running_mean, running_var, False, momentum, eps)


@lowers(aten._native_batch_norm_legit.no_stats)
def native_batch_norm_legit_no_stats(
    op: Builder, input: Value, weight: Value | None, bias: Value | None, training: bool, momentum: float, eps: float
) -> tuple[Value, Value, Value]:  # fmt: skip
    """The same as `native_batch_norm` without running statistics."""
    return native_batch_norm(op, input, weight, bias, None, None, training, momentum, eps)


@lowers(aten._native_batch_norm_legit_functional.default)
def native_batch_norm_legit_functional(
    op: Builder, input: Value, weight: Value | None, bias: Value | None, running_mean: Value, running_var: Value,
    training: bool, momentum: float, eps: float,
) -> tuple[Value, ...]:  # fmt: skip
    """The three results of `native_batch_norm`, and the running mean and variance after it."""
    if not training:
        results = native_batch_norm(op, input, weight, bias, running_mean, running_var, False, momentum, eps)
        return (*results, running_mean, running_var)
    x = widened(op, input)
    result, mean, variance = _trained(op, x, weight, bias, eps)
    kind = dtype(running_mean if weight is None else weight)
    return (
        op.cast(result, dtype(input)), op.cast(mean, kind), op.cast(_inverse_deviation(op, variance, eps), kind),
        _running(op, running_mean, mean, momentum, momentum),
        _running(op, running_var, variance, momentum, _unbiased(op, x, momentum, opmath(dtype(running_var)))),
    )  # fmt: skip


@lowers(aten._batch_norm_no_update.default)
def batch_norm_no_update(
    op: Builder, input: Value, weight: Value | None, bias: Value | None, running_mean: Value | None,
    running_var: Value | None, momentum: float, eps: float,
) -> tuple[Value, ...]:  # fmt: skip
    """`native_batch_norm` without training, and an empty reserve."""
    results = native_batch_norm(op, input, weight, bias, running_mean, running_var, False, momentum, eps)
    return (*results, op.constant(np.zeros((0,), dtype=np.uint8)))


@lowers(aten._batch_norm_with_update_functional.default)
def batch_norm_with_update_functional(
    op: Builder, input: Value, weight: Value | None, bias: Value | None, running_mean: Value, running_var: Value,
    momentum: float, eps: float,
) -> tuple[Value, ...]:  # fmt: skip
    """`native_batch_norm` in training, an empty reserve, and the running statistics after it."""
    first = native_batch_norm_legit_functional(op, input, weight, bias, running_mean, running_var, True, momentum, eps)
    return (*first[:3], op.constant(np.zeros((0,), dtype=np.uint8)), *first[3:])


# Instance and group normalization.


def _within(op: Builder, x: Value, weight: Value, bias: Value, eps: float) -> Value:
    """InstanceNormalization of [N, C, *S]; in formulas for float64, for which onnxruntime has no kernel."""
    if x.dtype == ir.DataType.BFLOAT16 and op.opset_version < 22:
        wide, scale, shift = (op.cast(value, ir.DataType.FLOAT) for value in (x, weight, bias))
        return op.cast(_within(op, wide, scale, shift, eps), dtype(x))
    if x.dtype != ir.DataType.DOUBLE:
        return op.InstanceNormalization(x, weight, bias, epsilon=eps)
    _, centred, variance = _deviations(op, x, list(range(2, rank(x))))
    scaled = op.Mul(op.Div(centred, op.Sqrt(op.Add(variance, eps))), _beside(op, x, weight))
    return op.Add(scaled, _beside(op, x, bias))


def _beside(op: Builder, x: Value, by_channel: Value) -> Value:
    """[C] as [C, 1...], to be broadcast over [N, C, *S]."""
    return op.unsqueeze(by_channel, list(range(1, rank(x) - 1)))


@lowers(aten.instance_norm.default)
def instance_norm(
    op: Builder, input: Value, weight: Value | None, bias: Value | None, running_mean: Value | None,
    running_var: Value | None, use_input_stats: bool, momentum: float, eps: float,
) -> Value:  # fmt: skip
    """[N, C, *S] -> [N, C, *S], each of [N, C] by its own statistics, or by the running ones."""
    if not use_input_stats and running_mean is not None and running_var is not None:
        return _affine(op, input, weight, bias, running_mean, running_var, eps)
    channels, kind = dims(input)[1], dtype(input)
    scale = op.cast(weight, kind) if weight is not None else by_channel(op, 1.0, channels, kind)
    shift = op.cast(bias, kind) if bias is not None else by_channel(op, 0.0, channels, kind)
    return _within(op, input, scale, shift, eps)


@lowers(aten.group_norm.default)
def group_norm(
    op: Builder, input: Value, num_groups: int, weight: Value | None, bias: Value | None, eps: float
) -> Value:  # fmt: skip
    """[N, C, *S] -> [N, C, *S], each group of C / num_groups channels by its own statistics.

    onnxruntime has a kernel for InstanceNormalization, and none for GroupNormalization.
    """
    kind = dtype(input)
    if dims(input)[1] == num_groups and rank(input) > 2:
        return instance_norm(op, input, weight, bias, None, None, True, 0.0, eps)
    grouped = op.reshape(input, [dims(input)[0], num_groups, count(input, range(1, rank(input))) // num_groups])
    ones, zeros = by_channel(op, 1.0, num_groups, kind), by_channel(op, 0.0, num_groups, kind)
    result = op.reshape(_within(op, grouped, ones, zeros, eps), dims(input))
    if weight is not None:
        result = op.Mul(result, _beside(op, input, op.cast(weight, kind)))
    return result if bias is None else op.Add(result, _beside(op, input, op.cast(bias, kind)))


@lowers(aten.native_group_norm.default)
def native_group_norm(
    op: Builder, input: Value, weight: Value | None, bias: Value | None, N: Size, C: Size, HxW: Size, group: int,
    eps: float,
) -> tuple[Value, Value, Value]:  # fmt: skip
    """[N, C, *S] -> normalized [N, C, *S], mean and 1 / sqrt(variance + eps) [N, group]."""
    result = group_norm(op, input, group, weight, bias, eps)
    grouped = op.reshape(input, [N, group, count(input, range(1, rank(input))) // group])
    mean, _, variance = _deviations(op, widened(op, grouped), [2])
    inverse = _inverse_deviation(op, variance, eps)
    kind = dtype(input) if weight is None else dtype(weight)
    return result, op.cast(op.squeeze(mean, [2]), kind), op.cast(op.squeeze(inverse, [2]), kind)
