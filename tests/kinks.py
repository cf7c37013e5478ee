"""Gradients of torch with each kinked function's slope taken where onnxruntime's pass had its argument.

Of the millions of units of a deep network some are within rounding of a kink, and rounding alone decides on
which side.  One of them on the other side changes a row of a gradient by percents, in torch as well as here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from exporter import TrainingProgram

# Functions with kinks, and the ONNX ops that they become.
_OPS = {F.relu: "Relu", F.hardswish: "HardSwish", F.hardsigmoid: "HardSigmoid"}


def expose_arguments(program: TrainingProgram) -> list[str]:
    """Make the arguments of all kinked ops further results; returns their names in the order of the calls."""
    values = [node.inputs[0] for node in program.model.graph if node.op_type in _OPS.values()]
    program.model.graph.outputs.extend(values)
    return [str(value.name) for value in values]


@contextlib.contextmanager
def slopes_at(arguments: list[torch.Tensor]) -> Iterator[None]:
    """Take the slopes of all kinked functions that are called at these arguments.

    They must be torch's but for rounding, of which ResNet-50 with fresh weights makes 6e-4 of their scale.
    """
    places = iter(arguments)

    class Mode(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func not in _OPS:
                return func(*args, **(kwargs or {}))
            place = next(places)
            distance = (place - args[0].detach()).abs().max()
            assert distance <= 2e-3 * args[0].detach().square().mean().sqrt(), func
            return _SlopeElsewhere.apply(func, args[0], place)

    with Mode():
        yield
    assert next(places, None) is None


class _SlopeElsewhere(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, func: Any, x: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        ctx.func = func
        ctx.save_for_backward(place)
        return func(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        place = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(ctx.func(place), place, grads)
        return None, gradient, None
