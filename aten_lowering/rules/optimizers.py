"""What optimizers do to one parameter, as torch computes it."""

from __future__ import annotations

from aten_lowering.builder import Builder, Value, dtype
from aten_lowering.registry import lowers


@lowers("fx2onnx.sgd.default")
def sgd(
    op: Builder, parameter: Value, gradient: Value, momentum: Value | None, rate: Value, share: Value | None,
    weight_decay: float, factor: float, nesterov: bool,
) -> tuple[Value, ...]:  # fmt: skip
    """The parameter p - rate g and the momentum b = factor b + share g, all [*S]; numbers that are tensors are [].

    g has weight_decay p in it; with momentum b takes its place, in Nesterov's way g + factor b.
    """
    kind = dtype(parameter)
    if weight_decay:
        gradient = op.Add(gradient, op.Mul(parameter, weight_decay))
    results = []
    if momentum is not None:
        part = gradient if share is None else op.Mul(gradient, op.cast(share, kind))
        momentum = op.Add(op.Mul(momentum, factor), part)
        gradient = op.Add(gradient, op.Mul(momentum, factor)) if nesterov else momentum
        results.append(momentum)
    return (op.Sub(parameter, op.Mul(gradient, op.cast(rate, kind))), *results)


@lowers("fx2onnx.adam.default")
def adam(
    op: Builder, parameter: Value, gradient: Value, mean: Value, square: Value, rate: Value, root: Value,
    kept: Value | None, first: float, second: float, eps: float, weight_decay: float,
) -> tuple[Value, Value, Value]:  # fmt: skip
    """The parameter p - rate m / (sqrt(v) / root + eps) and the running means m of g, v of g^2, all [*S].

    Weight decay is part of g, as in Adam; or p is multiplied by `kept` before, as in AdamW.
    """
    kind = dtype(parameter)
    if kept is not None:
        parameter = op.Mul(parameter, op.cast(kept, kind))
    if weight_decay:
        gradient = op.Add(gradient, op.Mul(parameter, weight_decay))
    mean = op.Add(op.Mul(mean, first), op.Mul(gradient, 1 - first))
    square = op.Add(op.Mul(square, second), op.Mul(op.Mul(gradient, gradient), 1 - second))
    denominator = op.Add(op.Div(op.Sqrt(square), op.cast(root, kind)), eps)
    return op.Sub(parameter, op.Div(op.Mul(mean, op.cast(rate, kind)), denominator)), mean, square
