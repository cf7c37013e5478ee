"""Optimizers of torch, understood: SGD, Adam and AdamW, their options and what they have made so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from exporter.capture.training import own_overloads
from exporter.errors import OptimizerError

Tensors = dict[str, torch.Tensor]
Listed = Sequence[torch.Tensor]
State = Mapping[str, Listed]  # what is kept -> that of each parameter
Options = Mapping[str, Any]
Update = tuple[Any, tuple[Any, ...]]  # an overload and its arguments


@dataclass(frozen=True)
class Rule:
    """What an optimizer does.

    Attributes:
        factors: learning rate [], number of the update from 1 on [] (float64), options -> numbers that all
            parameters of a group share.
        update: parameters, gradients, state, these numbers, options -> the call that gives parameters and state anew.
    """

    factors: Callable[[torch.Tensor, torch.Tensor, Options], Tensors]
    update: Callable[[Listed, Listed, State, Tensors, Options], Update]


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
_HOW = frozenset({"foreach", "fused", "capturable", "differentiable", "initial_lr", "swa_lr", "max_lr", "min_lr"})
_KNOWN = frozenset({"momentum", "dampening", "nesterov", "weight_decay", "maximize", "betas", "eps",
                    "decoupled_weight_decay"})  # fmt: skip


def _group(kind: str, group: Mapping[str, Any], names: Mapping[int, str]) -> Group:
    options = {name: value for name, value in group.items() if name not in ("params", "lr")}
    if "base_momentum" in options:
        raise OptimizerError(
            f"optimizer: {kind}'s momentum must stay as it is, got one that a schedule changes at each step",
            hint="schedule the learning rate alone: OneCycleLR(..., cycle_momentum=False)",
        )
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
            hint="make it with model.parameters(); a loss with parameters belongs into the model",
        )
    trained = tuple(names[id(p)] for p in group["params"] if p.requires_grad)
    return Group(trained, float(group["lr"]), options)


def _sgd_factors(rate: torch.Tensor, update: torch.Tensor, options: Options) -> Tensors:
    """The first momentum is the gradient itself, whatever the dampening."""
    if not options["dampening"]:
        return {"rate": rate}
    return {"rate": rate, "share": torch.where(update > 1, 1 - options["dampening"], 1.0)}


def _sgd(parameters: Listed, gradients: Listed, state: State, factors: Tensors, options: Options) -> Update:
    tensors = (parameters, gradients, state.get("momentum_buffer", []), factors["rate"], factors.get("share"))
    numbers = (float(options["weight_decay"]), float(options["momentum"]), bool(options["nesterov"]))
    return own_overloads.sgd, (*tensors, *numbers)


def _adam_factors(rate: torch.Tensor, update: torch.Tensor, options: Options) -> Tensors:
    """What is missing to running means that began at 0 is 1 - b^t of them."""
    first, second = options["betas"]
    factors = {"rate": rate.double() / (1 - first**update), "root": (1 - second**update).sqrt()}
    if options["weight_decay"] and options.get("decoupled_weight_decay"):
        factors["kept"] = 1 - rate * options["weight_decay"]
    return factors


def _adam(parameters: Listed, gradients: Listed, state: State, factors: Tensors, options: Options) -> Update:
    decay = 0.0 if "kept" in factors else float(options["weight_decay"])
    numbers = (*map(float, options["betas"]), float(options["eps"]), decay)
    scalars = (factors["rate"], factors["root"], factors.get("kept"))
    return own_overloads.adam, (parameters, gradients, state["exp_avg"], state["exp_avg_sq"], *scalars, *numbers)


_SGD, _ADAM = Rule(_sgd_factors, _sgd), Rule(_adam_factors, _adam)
_RULES: dict[type, Rule] = {torch.optim.SGD: _SGD, torch.optim.Adam: _ADAM, torch.optim.AdamW: _ADAM}


def clipped(gradients: Listed, limit: float) -> list[torch.Tensor]:
    """The gradients, scaled down so that the norm of all of them together is at most the limit."""
    norms = torch.stack([torch.linalg.vector_norm(gradient.float()) for gradient in gradients])
    scale = (limit / (torch.linalg.vector_norm(norms) + 1e-6)).clamp(max=1.0)
    return [gradient * scale.to(gradient.dtype) for gradient in gradients]
