"""Losses of class indices or class probabilities: cross entropy and negative log likelihood."""

from __future__ import annotations

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.dimensions import may_be_empty
from aten_lowering.dtypes import is_float
from aten_lowering.precision import opmath, ordered, widened
from aten_lowering.registry import lowers
from aten_lowering.rules.reductions import mean_of
from shape_inference import Size

aten = torch.ops.aten

_NONE, _MEAN, _SUM = 0, 1, 2
_IGNORED = -100  # no class
_REDUCTIONS = {_NONE: "none", _MEAN: "mean", _SUM: "sum"}


def reduced(op: Builder, loss: Value, reduction: int) -> Value:
    """The losses themselves (0), their mean (1) or their sum (2)."""
    if reduction == _NONE:
        return loss
    axes = list(range(rank(loss)))
    return mean_of(op, loss, axes, False) if reduction == _MEAN else op.reduce("ReduceSum", loss, axes)


def _class_loss(
    op: Builder, op_type: str, x: Value, target: Value, weight: Value | None, reduction: int, ignore_index: Size
) -> Value:  # fmt: skip
    """NegativeLogLikelihoodLoss or SoftmaxCrossEntropyLoss: [N, C, *S], [N, *S] -> [] or [N, *S]."""
    target = op.cast(target, ir.DataType.INT64)
    if type(ignore_index) is not int:  # the attribute is a number, and models ignore the class that is their length
        is_ignored = op.Equal(target, op.scalar(ignore_index))
        target, ignore_index = op.Where(is_ignored, _IGNORED, target), _IGNORED
    batched = rank(x) > 1
    if not batched:
        x, target = op.unsqueeze(x, [0]), op.unsqueeze(target, [0])
    scores = ordered(op, x)
    inputs = [scores, target] if weight is None else [scores, target, op.cast(weight, dtype(scores))]
    attributes = {"reduction": _REDUCTIONS[reduction], "ignore_index": ignore_index}
    loss = op.cast(op.emit(op_type, inputs, attributes), dtype(x))
    return op.squeeze(loss, [0]) if reduction == _NONE and not batched else loss


@lowers(aten.nll_loss.default, aten.nll_loss_nd.default, aten.nll_loss2d.default)
def nll_loss(
    op: Builder, self: Value, target: Value, weight: Value | None, reduction: int, ignore_index: Size
) -> Value:  # fmt: skip
    """[N, C, *S], [N, *S] -> [] or [N, *S]: -weight[t] x[t], 0 where t is ignored.

    The mean is divided by the weights that count.
    """
    return _class_loss(op, "NegativeLogLikelihoodLoss", self, target, weight, reduction, ignore_index)


@lowers(aten.nll_loss_forward.default, aten.nll_loss2d_forward.default)
def nll_loss_forward(
    op: Builder, self: Value, target: Value, weight: Value | None, reduction: int, ignore_index: Size
) -> tuple[Value, Value]:  # fmt: skip
    """`nll_loss`, and the weights that count together: []."""
    loss = nll_loss(op, self, target, weight, reduction, ignore_index)
    if reduction == _NONE:
        return loss, op.constant(0.0, dtype(self))
    return loss, op.reduce(
        "ReduceSum", class_weights(op, self, target, weight, ignore_index), list(range(rank(target)))
    )


def class_weights(op: Builder, x: Value, target: Value, weight: Value | None, ignore_index: Size) -> Value:
    """The weight of each target's class, 0 where it is ignored: [N, *S]."""
    counts = op.Not(op.Equal(op.cast(target, ir.DataType.INT64), op.scalar(ignore_index)))
    if weight is None:
        return op.cast(counts, dtype(x))
    chosen = op.Gather(weight, op.Where(counts, op.cast(target, ir.DataType.INT64), 0))
    return op.Where(counts, op.cast(chosen, dtype(x)), 0.0)


@lowers(aten.cross_entropy_loss.default)
def cross_entropy_loss(
    op: Builder, self: Value, target: Value, weight: Value | None, reduction: int, ignore_index: Size,
    label_smoothing: float,
) -> Value:  # fmt: skip
    """[N, C, *S], classes [N, *S] or probabilities [N, C, *S] -> [] or [N, *S]."""
    if is_float(dtype(target)) and rank(target) == rank(self):
        return _probability_loss(op, self, target, weight, reduction, label_smoothing)
    if not label_smoothing and not may_be_empty(target, range(rank(target))):  # onnxruntime reshapes no empty one
        return _class_loss(op, "SoftmaxCrossEntropyLoss", self, target, weight, reduction, ignore_index)
    axis = min(1, rank(self) - 1)
    log_p = op.LogSoftmax(widened(op, self), axis=axis)
    likely = _class_loss(op, "NegativeLogLikelihoodLoss", log_p, target, weight, reduction, ignore_index)
    if not label_smoothing:
        return op.cast(likely, dtype(self))
    counted = class_weights(op, log_p, target, None, ignore_index)
    smooth = op.Mul(op.Neg(op.reduce("ReduceSum", _weighted(op, log_p, weight, axis), [axis])), counted)
    if reduction != _NONE:
        axes = list(range(rank(target)))
        smooth = op.reduce("ReduceSum", smooth, axes)
        if reduction == _MEAN:
            total = counted if weight is None else class_weights(op, log_p, target, weight, ignore_index)
            smooth = op.Div(smooth, op.reduce("ReduceSum", total, axes))
    share = _divided(op, label_smoothing, dims(self)[axis], dtype(log_p))
    return op.cast(op.Add(op.Mul(likely, 1.0 - label_smoothing), op.Mul(smooth, share)), dtype(self))


def _probability_loss(
    op: Builder, self: Value, target: Value, weight: Value | None, reduction: int, label_smoothing: float
) -> Value:  # fmt: skip
    """-sum_c weight_c p_c log softmax(x)_c; the mean is over the batch and *S."""
    kind, axis = opmath(dtype(self)), min(1, rank(self) - 1)
    p = op.cast(target, kind)
    if label_smoothing:
        p = op.Add(op.Mul(p, 1.0 - label_smoothing), _divided(op, label_smoothing, dims(self)[axis], kind))
    log_p = _weighted(op, op.LogSoftmax(op.cast(self, kind), axis=axis), weight, axis)
    loss = op.Neg(op.reduce("ReduceSum", op.Mul(log_p, p), [axis]))
    return op.cast(reduced(op, loss, reduction), dtype(self))


def _weighted(op: Builder, x: Value, weight: Value | None, axis: int) -> Value:
    """[N, C, *S] times [C]."""
    if weight is None:
        return x
    return op.Mul(x, op.unsqueeze(op.cast(weight, dtype(x)), list(range(1, rank(x) - axis))))


def _divided(op: Builder, number: float, size: Size, kind: ir.DataType) -> Value:
    if type(size) is int:
        return op.constant(number / size, kind)
    return op.Div(op.constant(number, kind), op.scalar(size, kind))


@lowers(aten.multilabel_margin_loss.default)
def multilabel_margin_loss(op: Builder, self: Value, target: Value, reduction: int) -> Value:
    """[N, C], [N, C] or [C], [C] -> [] or [N]: the sum of max(0, 1 - x_t + x_j) / C over targets t and others j.

    The targets of a row end at the first negative one.  torch's own decomposition counts class 0 for each
    that is missing.
    """
    x, target = widened(op, self), op.cast(target, ir.DataType.INT64)
    if not rank(self):
        x, target = op.unsqueeze(x, [0]), op.reshape(target, [1])
    count = dims(x)[-1]
    over = op.CumSum(op.cast(op.Less(target, 0), ir.DataType.INT64), -1)
    missing = op.Greater(over, 0)
    place = op.unsqueeze(op.Where(missing, -1, target), [-1])
    classes = op.Range(0, op.scalar(count), 1)
    is_target = op.reduce("ReduceMax", op.cast(op.Equal(place, classes), ir.DataType.INT32), [-2], keepdims=True)
    found = op.GatherElements(x, op.Max(target, 0), axis=-1)
    margins = op.Relu(op.Add(op.unsqueeze(op.Sub(1.0, found), [-1]), op.unsqueeze(x, [-2])))
    left_out = op.Or(op.unsqueeze(missing, [-1]), op.cast(is_target, ir.DataType.BOOL))
    total = op.reduce("ReduceSum", op.Where(left_out, 0.0, margins), [-2, -1])
    return op.cast(reduced(op, op.Div(total, op.scalar(count, dtype(total))), reduction), dtype(self))
