"""What optimizers do to a parameter, in formulas: SGD, Adam and AdamW as torch computes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from exporter.errors import OptimizerError

Tensors = dict[str, torch.Tensor]
Options = Mapping[str, Any]


@dataclass(frozen=True)
class Rule:
    """What an optimizer does.

    Attributes:
        factors: learning rate [], number of the update from 1 on [] (float64), options -> numbers that all
            parameters of a group share.
        update: parameter, gradient, state, these numbers, options -> parameter and state anew.
    """

    factors: Callable[[torch.Tensor, torch.Tensor, Options], Tensors]
    update: Callable[[torch.Tensor, torch.Tensor, Tensors, Tensors, Options], tuple[torch.Tensor, Tensors]]


@dataclass(frozen=True)
class Group:
    """Parameters that share their options.

    Attributes:
        names: of the parameters, as in the state_dict.
        learning_rate: what the optimizer has now.
        options: the other options by torch's names.
    """

    names: tuple[str, ...]
    learning_rate: float
    options: Options


@dataclass(frozen=True)
class Optimizer:
    """An optimizer of torch, understood.

    Attributes:
        rule: what it does to a parameter.
        groups: its parameters.
        initial: parameter -> what it keeps now; missing where it is zero.
        updates: how many updates it has made.
    """

    rule: Rule
    groups: tuple[Group, ...]
    initial: Mapping[str, Mapping[str, torch.Tensor]]
    updates: int

    def kept(self, group: Group) -> tuple[str, ...]:
        """The names of what it keeps for each parameter of a group, of the parameter's shape."""
        if self.rule is _ADAM:
            return ("exp_avg", "exp_avg_sq")
        return ("momentum_buffer",) if group.options["momentum"] else ()


def understood(optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> Optimizer:
    """Read an optimizer.

    Args:
        optimizer: SGD, Adam or AdamW.
        names: id of a parameter -> its name.

    Raises:
        OptimizerError: it is another one, has an option that is not supported, or parameters of another model.
    """
    kind = type(optimizer)
    if kind not in _RULES:
        raise OptimizerError(
            f"optimizer: must be SGD, Adam or AdamW of torch.optim, got {kind.__name__}",
            hint="leave optimizer out and update by the gradients, which then are results",
        )
    groups = tuple(_group(kind.__name__, group, names) for group in optimizer.param_groups)
    initial: dict[str, dict[str, torch.Tensor]] = {}
    updates = 0
    for parameter, kept in optimizer.state.items():
        initial[names[id(parameter)]] = {
            name: value for name, value in kept.items() if name != "step" and isinstance(value, torch.Tensor)
        }
        updates = max(updates, int(kept.get("step", 1)))
    return Optimizer(_RULES[kind], groups, initial, updates)


# Options that say how torch computes, not what.
_HOW = frozenset({"foreach", "fused", "capturable", "differentiable", "initial_lr", "swa_lr", "max_momentum",
                  "base_momentum", "max_lr", "min_lr"})  # fmt: skip
_KNOWN = frozenset({"momentum", "dampening", "nesterov", "weight_decay", "maximize", "betas", "eps",
                    "decoupled_weight_decay"})  # fmt: skip


def _group(kind: str, group: Mapping[str, Any], names: Mapping[int, str]) -> Group:
    options = {name: value for name, value in group.items() if name not in ("params", "lr")}
    for name, value in options.items():
        if name not in _KNOWN | _HOW and value:
            raise OptimizerError(
                f"optimizer: {kind}'s {name} must be {type(value)()}, got {value}",
                hint="leave optimizer out and update by the gradients, which then are results",
            )
    strangers = [tuple(p.shape) for p in group["params"] if id(p) not in names]
    if strangers:
        raise OptimizerError(
            f"optimizer: its parameters must be the model's, got one of shape {list(strangers[0])} that is not",
            hint="make it with model.parameters()",
        )
    trained = tuple(names[id(p)] for p in group["params"] if p.requires_grad)
    return Group(trained, float(group["lr"]), options)


def _sgd_factors(rate: torch.Tensor, update: torch.Tensor, options: Options) -> Tensors:
    if not options["dampening"]:
        return {"rate": rate}
    return {"rate": rate, "share": torch.where(update > 1, 1 - options["dampening"], 1.0)}


def _sgd(
    parameter: torch.Tensor, gradient: torch.Tensor, state: Tensors, factors: Tensors, options: Options
) -> tuple[torch.Tensor, Tensors]:
    """The parameter p - lr g, g with weight decay and momentum: b = m b + (1 - d) g, the first b being g."""
    kind, rate = parameter.dtype, factors["rate"].to(parameter.dtype)
    if options["weight_decay"]:
        gradient = gradient + parameter * options["weight_decay"]
    if "momentum_buffer" not in state:
        return parameter - gradient * rate, {}
    momentum = state["momentum_buffer"] * options["momentum"]
    momentum = momentum + (gradient * factors["share"].to(kind) if "share" in factors else gradient)
    gradient = gradient + momentum * options["momentum"] if options["nesterov"] else momentum
    return parameter - gradient * rate, {"momentum_buffer": momentum}


def _adam_factors(rate: torch.Tensor, update: torch.Tensor, options: Options) -> Tensors:
    first, second = options["betas"]
    factors = {"step": rate.double() / (1 - first**update), "root": (1 - second**update).sqrt()}
    if options["weight_decay"] and options.get("decoupled_weight_decay"):
        factors["kept"] = 1 - rate * options["weight_decay"]
    return factors


def _adam(
    parameter: torch.Tensor, gradient: torch.Tensor, state: Tensors, factors: Tensors, options: Options
) -> tuple[torch.Tensor, Tensors]:
    """The parameter p - lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps), for running means m, v of g, g^2.

    Weight decay is part of the gradient in Adam; in AdamW it is p (1 - lr decay) before.
    """
    kind = parameter.dtype
    first, second = options["betas"]
    if "kept" in factors:
        parameter = parameter * factors["kept"].to(kind)
    elif options["weight_decay"]:
        gradient = gradient + parameter * options["weight_decay"]
    mean = state["exp_avg"] * first + gradient * (1 - first)
    square = state["exp_avg_sq"] * second + gradient * gradient * (1 - second)
    denominator = square.sqrt() / factors["root"].to(kind) + options["eps"]
    return parameter - mean * factors["step"].to(kind) / denominator, {"exp_avg": mean, "exp_avg_sq": square}


_SGD, _ADAM = Rule(_sgd_factors, _sgd), Rule(_adam_factors, _adam)
_RULES: dict[type, Rule] = {torch.optim.SGD: _SGD, torch.optim.Adam: _ADAM, torch.optim.AdamW: _ADAM}


def clipped(gradients: Sequence[torch.Tensor], limit: float) -> list[torch.Tensor]:
    """The gradients, scaled down so that the norm of all of them together is at most the limit."""
    norms = torch.stack([torch.linalg.vector_norm(gradient.float()) for gradient in gradients])
    scale = (limit / (torch.linalg.vector_norm(norms) + 1e-6)).clamp(max=1.0)
    return [gradient * scale.to(gradient.dtype) for gradient in gradients]
