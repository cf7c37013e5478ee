"""What one model of the zoo is: how to build it, and its inputs at any size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torchvision_without_binary import define_operators

define_operators()  # before any model is built: transformers imports torchvision where it is installed

Inputs = tuple[Any, ...] | dict[str, Any]
Sizes = Mapping[str, int]


@dataclass(frozen=True)
class Case:
    """One model with its inputs.

    `sample(seed, **sizes)` makes inputs, a tuple of arguments or a dict of keyword arguments; its keywords are
    the names of the dynamic dims. A cache among the inputs changes when the model runs: ask for inputs anew.
    """

    name: str
    build: Callable[[], nn.Module]
    sample: Callable[..., Inputs]
    sizes: Sizes
    other_sizes: Sizes
    dynamic_shapes: dict[str, Any]
    tags: frozenset[str] = field(default_factory=frozenset)

    def inputs(self) -> Inputs:
        """Make the example inputs."""
        return self.inputs_at(0)

    def same_size_inputs(self) -> Inputs:
        """Make inputs of the example's sizes and of other values."""
        return self.inputs_at(1)

    def other_inputs(self) -> Inputs:
        """Make inputs of another size in every dynamic dim, and of other values."""
        return self.inputs_at(2, **self.other_sizes)

    def inputs_at(self, seed: int, **sizes: int) -> Inputs:
        """Make inputs of given sizes; a dim that is not named has the example's."""
        return self.sample(seed, **{**self.sizes, **sizes})
