"""Overloads of ours, for what a training step has and ATen has no overload without writes for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from exporter.capture.kernels import special

Tensors = Sequence[torch.Tensor]

_library = torch.library.Library("fx2onnx", "DEF")
_library.define("uniform(Tensor seed, int stream, SymInt[] sizes, *, Device? device=None) -> Tensor")
_library.define(
    "sgd(Tensor[] parameters, Tensor[] gradients, Tensor[] momenta, Tensor rate, Tensor? share, float weight_decay, "
    "float factor, bool nesterov) -> Tensor[]"
)
_library.define(
    "adam(Tensor[] parameters, Tensor[] gradients, Tensor[] means, Tensor[] squares, Tensor rate, Tensor root, "
    "Tensor? kept, float first, float second, float eps, float weight_decay) -> Tensor[]"
)
uniform, sgd, adam = (getattr(torch.ops.fx2onnx, name).default for name in ("uniform", "sgd", "adam"))


@special(uniform)
def _uniform(seed: torch.Tensor, stream: int, sizes: Sequence[int], *, device: Any = None) -> torch.Tensor:
    """A seed [] -> [*sizes], float32: numbers of [0, 1)."""
    return seed.new_empty(sizes, dtype=torch.float32)


@special(sgd)
def _sgd(parameters: Tensors, gradients: Tensors, momenta: Tensors, *_: Any) -> list[torch.Tensor]:
    """The parameters, then the momenta where there are some, all anew."""
    return [tensor.new_empty(tensor.shape) for tensor in (*parameters, *momenta)]


@special(adam)
def _adam(parameters: Tensors, gradients: Tensors, means: Tensors, squares: Tensors, *_: Any) -> list[torch.Tensor]:
    """The parameters, then the running means of their gradients, then of the squares of these, all anew."""
    return [tensor.new_empty(tensor.shape) for tensor in (*parameters, *means, *squares)]
