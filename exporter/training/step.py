"""What follows the forward pass in a training step: gradients, and the update of an optimizer."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from exporter.capture.training.steps import TrainingRecorder
from exporter.errors import GradientError, LossError
from exporter.training.forward import Forward
from exporter.training.optimizers import Group, Optimizer, clipped

STEP, LEARNING_RATE = "step", "learning_rate"


@dataclass
class Step:
    """Gradients of the trained parameters, and what an optimizer makes of them.

    Attributes:
        forward: the forward pass.
        parameters: the trained parameters by name; those without a gradient go where that is allowed.
        optimizer: None for a step that ends with the gradients.
        clip_norm: the largest norm of all gradients together, or None.
        accumulate: over how many steps gradients are averaged before an update.
        allow_unused: whether a parameter without gradient is left as it is; else an error.
    """

    forward: Forward
    parameters: dict[str, torch.Tensor]
    optimizer: Optimizer | None = None
    clip_norm: float | None = None
    accumulate: int = 1
    allow_unused: bool = False

    def __call__(self, recorder: TrainingRecorder, result: tuple[torch.Tensor, Any]) -> dict[str, Any]:
        """The results of the graph by name, for what the forward pass returned."""
        loss, outputs = result
        gradients = self._gradients(loss)
        recorder.is_after = True
        with torch.no_grad():
            results: dict[str, Any] = {"loss": loss.detach()}
            if self.optimizer is not None:
                return results | self._updated(recorder, self.optimizer, gradients)
            results |= self.forward.outputs(loss, outputs)
            if self.clip_norm is not None:
                gradients = self._clipped(gradients)
            return results | {f"{name}.grad": gradient for name, gradient in gradients.items()}

    def _gradients(self, loss: torch.Tensor) -> dict[str, torch.Tensor]:
        if not loss.requires_grad:
            raise LossError(
                "loss: must depend on a parameter that is trained",
                hint="see that the model does not detach() or run under torch.no_grad()",
            )
        found = torch.autograd.grad(loss, list(self.parameters.values()), allow_unused=True)
        gradients = dict(zip(self.parameters, found, strict=True))
        unused = [name for name, gradient in gradients.items() if gradient is None]
        if unused and not self.allow_unused:
            more = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
            raise GradientError(
                f"parameters: each must have a gradient, got none for {', '.join(unused[:3])}{more}",
                hint="set requires_grad=False on what the loss does not depend on, or export with allow_unused=True",
            )
        return {name: gradient for name, gradient in gradients.items() if gradient is not None}

    def _clipped(self, gradients: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if self.clip_norm is None:
            return dict(gradients)
        return dict(zip(gradients, clipped(list(gradients.values()), self.clip_norm), strict=True))

    def _updated(
        self, recorder: TrainingRecorder, optimizer: Optimizer, gradients: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:  # fmt: skip
        """Parameters and state anew; where gradients are averaged over steps, only in the last of these."""
        count = recorder.input(STEP, torch.zeros((), dtype=torch.int64)) + 1
        results: dict[str, torch.Tensor] = {}
        if self.accumulate > 1:
            gradients = {
                name: recorder.input(f"{name}.accumulated", gradient) + gradient / self.accumulate
                for name, gradient in gradients.items()
            }
            is_last = count % self.accumulate == 0
            results = {
                f"{name}.accumulated.updated": torch.where(is_last, torch.zeros_like(gradient), gradient)
                for name, gradient in gradients.items()
            }
        clipped = self._clipped(gradients)
        update = (count // self.accumulate).double()
        for i, group in enumerate(optimizer.groups):
            rate = recorder.input(rate_name(optimizer, i), torch.zeros(()))
            new, old = self._group(recorder, optimizer, group, clipped, rate, update)
            if self.accumulate > 1:
                new = {name: torch.where(is_last, new[name], old[name]) for name in new}
            results |= {f"{name}.updated": value for name, value in new.items()}
        return results

    def _group(
        self, recorder: TrainingRecorder, optimizer: Optimizer, group: Group,
        gradients: Mapping[str, torch.Tensor], rate: torch.Tensor, update: torch.Tensor,
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:  # fmt: skip
        """What the parameters of a group and their state become, and what they were."""
        sign = -1 if group.options.get("maximize") else 1
        factors = optimizer.rule.factors(rate, update, group.options)
        names = [name for name in group.names if name in gradients]
        parameters = [self.parameters[name] for name in names]
        wanted = [gradients[name] * sign if sign < 0 else gradients[name] for name in names]
        state = {
            key: [recorder.input(f"{name}.{key}", self.parameters[name]) for name in names]
            for key in optimizer.kept(group)
        }
        overload, arguments = optimizer.rule.update(parameters, wanted, state, factors, group.options)
        every = [*names, *(f"{name}.{key}" for key in state for name in names)]
        new = dict(zip(every, overload(*arguments) if names else (), strict=True))
        return new, dict(zip(every, [*parameters, *itertools.chain(*state.values())], strict=True))


def rate_name(optimizer: Optimizer, index: int) -> str:
    """The input for the learning rate of a group: `learning_rate`, with a number where there are several groups."""
    return LEARNING_RATE if len(optimizer.groups) == 1 else f"{LEARNING_RATE}.{index}"
