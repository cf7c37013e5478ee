"""Gradients of normalizations: g being the gradient times the weight, s (g - mean(g) - y mean(g y))."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.dimensions import count
from aten_lowering.precision import opmath, widened
from aten_lowering.registry import lowers
from aten_lowering.rules.normalizations import by_channel
from shape_inference import Size

aten = torch.ops.aten


def _asked(op: Builder, mask: Sequence[bool], results: Sequence[tuple[Value | None, Value]]) -> tuple[Value, ...]:
    """The gradients that are asked for, each in the dtype of what it is a gradient of."""
    return tuple(
        op.cast(gradient, dtype(like))
        for wanted, (gradient, like) in zip(mask, results, strict=True)
        if wanted and gradient is not None
    )


@lowers(aten.native_batch_norm_backward.default)
def native_batch_norm_backward(
    op: Builder, grad_out: Value, input: Value, weight: Value | None, running_mean: Value | None,
    running_var: Value | None, save_mean: Value | None, save_invstd: Value | None, train: bool, eps: float,
    output_mask: Sequence[bool],
) -> tuple[Value, ...]:  # fmt: skip
    """Of [N, C, *S]: the gradients that are asked for, of input, weight [C] and bias [C]."""
    grad, x = widened(op, grad_out), widened(op, input)
    axes, kind = [0, *range(2, rank(x))], dtype(x)
    if train:
        mean, inverse = save_mean, save_invstd
    else:
        mean = running_mean
        inverse = None if running_var is None else op.Reciprocal(op.Sqrt(op.Add(running_var, eps)))
    assert mean is not None  # torch gives what it normalized with
    assert inverse is not None
    centred = op.root.notes.get(mean)  # the forward rule's
    if centred is None:
        centred = op.Sub(x, op.unsqueeze(op.cast(mean, kind), list(range(1, rank(x) - 1))))
    inverse = op.cast(inverse, kind)
    total = op.reduce("ReduceSum", grad, axes)
    of_weight = op.Mul(op.reduce("ReduceSum", op.Mul(grad, centred), axes), inverse)
    of_input = None
    if output_mask[0]:
        scale = inverse if weight is None else op.Mul(inverse, op.cast(weight, kind))
        of_input = _of_centred(op, grad, centred, scale, total, op.Mul(of_weight, inverse), axes, train)
    like = input if weight is None else weight
    return _asked(op, output_mask, [(of_input, grad_out), (of_weight, like), (total, like)])


def _of_centred(
    op: Builder, grad: Value, centred: Value, scale: Value, total: Value, product: Value, axes: Sequence[int],
    train: bool,
) -> Value:  # fmt: skip
    """S (g - total / n - c product / n) for all of [C]; each term is what BatchNormalization does in one pass."""
    channels, kind = dims(grad)[1], dtype(grad)
    zeros, ones = by_channel(op, 0.0, channels, kind), by_channel(op, 1.0, channels, kind)
    if not train:
        return op.BatchNormalization(grad, scale, zeros, zeros, ones, epsilon=0.0)
    share = _number(op, grad, axes)
    level = op.BatchNormalization(grad, scale, zeros, op.Mul(total, share), ones, epsilon=0.0)
    slope = op.Mul(op.Mul(product, share), scale)
    return op.Sub(level, op.BatchNormalization(centred, slope, zeros, zeros, ones, epsilon=0.0))


def _number(op: Builder, x: Value, axes: Sequence[int]) -> Value:
    """1 / n, n being the elements along the axes."""
    size = count(x, axes)
    if type(size) is int:
        return op.constant(1.0 / max(size, 1), dtype(x))
    return op.Reciprocal(op.scalar(size, dtype(x)))


@lowers(aten.native_layer_norm_backward.default)
def native_layer_norm_backward(
    op: Builder, grad_out: Value, input: Value, normalized_shape: Sequence[Size], mean: Value, rstd: Value,
    weight: Value | None, bias: Value | None, output_mask: Sequence[bool],
) -> tuple[Value, ...]:  # fmt: skip
    """Of [*L, *N]: the gradients that are asked for, of input, weight [*N] and bias [*N]."""
    grad, x = widened(op, grad_out), widened(op, input)
    kind, first = dtype(x), rank(x) - len(normalized_shape)
    inverse = op.cast(rstd, kind)
    normal = op.Mul(op.Sub(x, op.cast(mean, kind)), inverse)
    lead = list(range(first))
    of_weight = op.reduce("ReduceSum", op.Mul(grad, normal), lead) if output_mask[1] else None
    of_bias = op.reduce("ReduceSum", grad, lead) if output_mask[2] else None
    of_input = None
    if output_mask[0]:
        weighted = grad if weight is None else op.Mul(grad, op.cast(weight, kind))
        of_input = _of_normalized(op, weighted, normal, inverse, list(range(first, rank(x))))
    like = input if weight is None else weight
    return _asked(op, output_mask, [(of_input, input), (of_weight, like), (of_bias, like)])


def _of_normalized(op: Builder, grad: Value, normal: Value, inverse: Value, axes: Sequence[int]) -> Value:
    """The gradient s (g - mean(g) - y mean(g y)), means over the axes."""
    level = op.reduce("ReduceMean", grad, axes, True)
    slope = op.reduce("ReduceMean", op.Mul(grad, normal), axes, True)
    return op.Mul(op.Sub(op.Sub(grad, level), op.Mul(normal, slope)), inverse)


@lowers(aten.native_group_norm_backward.default)
def native_group_norm_backward(
    op: Builder, grad_out: Value, input: Value, mean: Value, rstd: Value, weight: Value | None,
    N: Size, C: Size, HxW: Size, group: int, output_mask: Sequence[bool],
) -> tuple[Value, ...]:  # fmt: skip
    """Of [N, C, *S]: the gradients that are asked for, of input, weight [C] and bias [C]."""
    kind = opmath(dtype(input))
    depth = count(input, [1]) // group
    grad, x = (op.reshape(op.cast(v, kind), [N, group, depth, HxW]) for v in (grad_out, input))
    centre, inverse = (op.unsqueeze(op.cast(v, kind), [2, 3]) for v in (mean, rstd))
    normal = op.Mul(op.Sub(x, centre), inverse)
    of_weight = op.reshape(op.reduce("ReduceSum", op.Mul(grad, normal), [0, 3]), [C]) if output_mask[1] else None
    of_bias = op.reshape(op.reduce("ReduceSum", grad, [0, 3]), [C]) if output_mask[2] else None
    if weight is not None:
        grad = op.Mul(grad, op.reshape(op.cast(weight, kind), [group, depth, 1]))
    of_input = op.reshape(_of_normalized(op, grad, normal, inverse, [2, 3]), dims(input))
    like = input if weight is None else weight
    return _asked(op, output_mask, [(of_input, input), (of_weight, like), (of_bias, like)])
