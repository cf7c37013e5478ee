"""The forward pass of a training step: the model and its loss as one function with one signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from exporter import structures
from exporter.errors import InputError, LossError
from exporter.signature import is_value

Loss = Callable[..., torch.Tensor]


def named_targets(targets: Any) -> dict[str, Any]:
    """Targets by name: one is `target`, several are `target_0`, `target_1`, ...; a dict names its own."""
    if isinstance(targets, Mapping):
        return dict(targets)
    several = targets if isinstance(targets, (tuple, list)) else (targets,)
    return {"target" if len(several) == 1 else f"target_{i}": target for i, target in enumerate(several)}


class Forward:
    """The model and the loss as one function: the model's arguments, and the targets as keywords."""

    def __init__(self, model: torch.nn.Module, loss: Loss | None, targets: Mapping[str, Any]) -> None:
        """Put model and loss together.

        Raises:
            InputError: a target is called like an argument of the model, or there are targets and no loss.
        """
        self.model, self.loss, self.targets = model, loss, tuple(targets)
        if targets and loss is None:
            raise InputError(
                f"loss: must be given for the targets {', '.join(targets)}", hint="loss=torch.nn.CrossEntropyLoss()"
            )
        parameters = list(inspect.signature(model.forward).parameters.values())
        for name in self.targets:
            if name in [parameter.name for parameter in parameters]:
                raise InputError(
                    f"targets: {name!r} is an argument of the model",
                    hint="name the targets: targets={'labels': labels}",
                )
        added = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in self.targets]
        place = len(parameters) - any(p.kind is p.VAR_KEYWORD for p in parameters)
        self.__signature__ = inspect.Signature([*parameters[:place], *added, *parameters[place:]])

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, Any]:
        """The loss and the model's result.

        Raises:
            LossError: the loss is not one number.
        """
        targets = [kwargs.pop(name) for name in self.targets]
        result = self.model(*args, **kwargs)
        return self._loss(result, targets), result

    def _loss(self, result: Any, targets: list[Any]) -> torch.Tensor:
        if self.loss is not None:
            loss: Any = self.loss(result, *targets)
            return _number(loss, "loss")
        if isinstance(result, torch.Tensor):
            return _number(result, "loss: the model's result")
        found = result.get("loss") if isinstance(result, Mapping) else getattr(result, "loss", None)
        if found is None:
            raise LossError(
                "loss: must be given, for the model returns none",
                hint="give loss and targets, or the labels with which the model computes its own loss",
            )
        return _number(found, "loss: the model's own")

    def outputs(self, loss: torch.Tensor, result: Any) -> dict[str, Any]:
        """The model's results by name, without the loss."""
        found = [(path, leaf) for path, leaf in structures.flatten(result) if is_value(leaf) and leaf is not loss]
        names = [structures.path_name(path) if path else "output" for path, _ in found]
        return {f"output_{n}" if n.isdigit() else n: leaf for n, (_, leaf) in zip(names, found, strict=True)}


def _number(loss: Any, subject: str) -> torch.Tensor:
    """The loss, held to being one number that something can be trained by.

    Raises:
        LossError: it is not.
    """
    if not isinstance(loss, torch.Tensor):
        raise LossError(f"{subject}: must be a tensor of shape [], got {type(loss).__name__}")
    if loss.ndim and any(size != 1 for size in loss.shape):
        raise LossError(
            f"{subject}: must be one number, got a tensor of shape {list(loss.shape)}",
            hint="reduce it, as mean() does",
        )
    if not loss.is_floating_point():
        raise LossError(f"{subject}: must be of floating point, got {loss.dtype}")
    return loss.reshape(())
