"""Overloads of ours, for what a training step has and ATen has no overload without writes for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from exporter.capture.kernels import special

_library = torch.library.Library("fx2onnx", "DEF")
_library.define("uniform(Tensor seed, int stream, SymInt[] sizes, *, Device? device=None) -> Tensor")
_library.define(
    "sgd(Tensor parameter, Tensor gradient, Tensor? momentum, Tensor rate, Tensor? share, float weight_decay, "
    "float factor, bool nesterov) -> Tensor[]"
)
_library.define(
    "adam(Tensor parameter, Tensor gradient, Tensor mean, Tensor square, Tensor rate, Tensor root, Tensor? kept, "
    "float first, float second, float eps, float weight_decay) -> Tensor[]"
)
uniform, sgd, adam = (getattr(torch.ops.fx2onnx, name).default for name in ("uniform", "sgd", "adam"))


@special(uniform)
def _uniform(seed: torch.Tensor, stream: int, sizes: Sequence[int], *, device: Any = None) -> torch.Tensor:
    """A seed [] -> [*sizes], float32: numbers of [0, 1)."""
    return seed.new_empty(sizes, dtype=torch.float32)


@special(sgd)
def _sgd(parameter: torch.Tensor, gradient: torch.Tensor, momentum: torch.Tensor | None, *_: Any) -> list[torch.Tensor]:
    """The parameter, and the momentum where there is one, both anew."""
    kept = [] if momentum is None else [momentum]
    return [torch.empty_like(tensor) for tensor in (parameter, *kept)]


@special(adam)
def _adam(
    parameter: torch.Tensor, gradient: torch.Tensor, mean: torch.Tensor, square: torch.Tensor, *_: Any
) -> list[torch.Tensor]:
    """The parameter and the running means of the gradient and of its square, all anew."""
    return [torch.empty_like(tensor) for tensor in (parameter, mean, square)]
