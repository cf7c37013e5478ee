"""What optimizers do to parameters, as torch computes it: a function of the model, called for each of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir

from aten_lowering.builder import Builder, Value, dtype
from aten_lowering.calls import called
from aten_lowering.registry import lowers

Numbers = Mapping[str, "Value | float | None"]


@lowers("fx2onnx.sgd.default")
def sgd(
    op: Builder, parameters: Sequence[Value], gradients: Sequence[Value], momenta: Sequence[Value], rate: Value,
    share: Value | None, weight_decay: float, factor: float, nesterov: bool,
) -> list[Value]:  # fmt: skip
    """The parameters, then the momenta where there are some, [*S] each; numbers that are tensors are []."""
    tensors = {"parameter": parameters, "gradient": gradients} | ({"momentum": momenta} if momenta else {})
    numbers = {"rate": rate, "share": share, "decay": weight_decay or None, "factor": factor if momenta else None}
    return _each(op, "NesterovSGD" if nesterov else "SGD", _nesterov if nesterov else _sgd, tensors, numbers)


def _sgd(
    op: Builder, parameter: Value, gradient: Value, rate: Value, momentum: Value | None = None,
    share: Value | None = None, decay: Value | None = None, factor: Value | None = None, *, nesterov: bool = False,
) -> list[Value]:  # fmt: skip
    """The parameter p - rate g and the momentum b = factor b + share g.

    g has decay p in it; with momentum b takes its place, in Nesterov's way g + factor b.
    """
    if decay is not None:
        gradient = op.Add(gradient, op.Mul(parameter, decay))
    if momentum is None:
        return [op.Sub(parameter, op.Mul(gradient, rate))]
    momentum = op.Add(op.Mul(momentum, factor), gradient if share is None else op.Mul(gradient, share))
    change = op.Add(gradient, op.Mul(momentum, factor)) if nesterov else momentum
    return [op.Sub(parameter, op.Mul(change, rate)), momentum]


def _nesterov(op: Builder, **values: Value) -> list[Value]:
    return _sgd(op, **values, nesterov=True)


@lowers("fx2onnx.adam.default")
def adam(
    op: Builder, parameters: Sequence[Value], gradients: Sequence[Value], means: Sequence[Value],
    squares: Sequence[Value], rate: Value, root: Value, kept: Value | None, first: float, second: float, eps: float,
    weight_decay: float,
) -> list[Value]:  # fmt: skip
    """The parameters, then the running means of g, then those of g^2, [*S] each; numbers that are tensors are []."""
    tensors = {"parameter": parameters, "gradient": gradients, "mean": means, "square": squares}
    numbers = {
        "rate": rate, "root": root, "kept": kept, "first": first, "first_share": 1 - first, "second": second,
        "second_share": 1 - second, "eps": eps, "decay": weight_decay or None,
    }  # fmt: skip
    return _each(op, "Adam", _adam, tensors, numbers)


def _adam(
    op: Builder, parameter: Value, gradient: Value, mean: Value, square: Value, rate: Value, root: Value,
    first: Value, first_share: Value, second: Value, second_share: Value, eps: Value,
    kept: Value | None = None, decay: Value | None = None,
) -> list[Value]:  # fmt: skip
    """The parameter p - rate m / (sqrt(v) / root + eps) and the running means m of g, v of g^2.

    Weight decay is part of g, as in Adam; or p is multiplied by `kept` before, as in AdamW.
    """
    if kept is not None:
        parameter = op.Mul(parameter, kept)
    if decay is not None:
        gradient = op.Add(gradient, op.Mul(parameter, decay))
    mean = op.Add(op.Mul(mean, first), op.Mul(gradient, first_share))
    square = op.Add(op.Mul(square, second), op.Mul(op.Mul(gradient, gradient), second_share))
    denominator = op.Add(op.Div(op.Sqrt(square), root), eps)
    return [op.Sub(parameter, op.Div(op.Mul(mean, rate), denominator)), mean, square]


def _each(
    op: Builder, name: str, body: Callable[..., Sequence[Value]], tensors: Mapping[str, Sequence[Value]],
    numbers: Numbers,
) -> list[Value]:  # fmt: skip
    """Call the body for each parameter, with the numbers in its dtype; the results of all calls, kind by kind."""
    scope, cast = op.scope, dict[ir.DataType, dict[str, "Value | None"]]()
    results = []
    for values in zip(*tensors.values(), strict=True):
        kind = dtype(values[0])
        if kind not in cast:
            cast[kind] = {key: _number(op, number, kind) for key, number in numbers.items()}
        op.scope = str(values[0].name).rpartition(".")[0]
        results.append(called(op, name, body, dict(zip(tensors, values, strict=True)) | cast[kind]))
    op.scope = scope
    return list(itertools.chain.from_iterable(zip(*results, strict=True)))


def _number(op: Builder, number: Value | float | None, kind: ir.DataType) -> Value | None:
    if number is None:
        return None
    return op.cast(number, kind) if isinstance(number, Value) else op.constant(number, kind)
