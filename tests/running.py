"""An exported model and eager, side by side on inputs of the caller's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import onnxruntime
import torch
from torch import nn

from exporter import Program, structures
from exporter.validation.comparison import compare
from exporter.validation.runtime import run


def agree(program: Program, session: onnxruntime.InferenceSession, model: nn.Module, inputs: Any) -> None:
    """Hold every output of the session to eager's, on a tuple of arguments or a dict of keyword arguments."""
    args, kwargs = ((), inputs) if isinstance(inputs, dict) else (inputs, {})
    tensors = [leaf for _, leaf in structures.flatten((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    actual = run(session, [tensor.clone() for tensor in tensors])
    with torch.no_grad():
        result = model(*args, **kwargs)
    expected = [leaf for _, leaf in structures.flatten(result) if isinstance(leaf, torch.Tensor)]
    assert len(actual) == len(expected)
    for output, want, got in zip(program.signature.output_names, expected, actual, strict=True):
        assert not compare(output, want, got).problem


class Calling(nn.Module):
    """A module whose forward calls a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


class InDouble(nn.Module):
    """A model of float32 computed in float64, its results rounded once: what rounding errors are measured from.

    Eager's own results of a deep convolutional network lie almost 1e-4 of their scale from these.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).double()

    def forward(self, *args: torch.Tensor) -> Any:
        result = self.model(*(argument.double() for argument in args))
        return structures.rebuild(result, (leaf.float() for _, leaf in structures.flatten(result)))
