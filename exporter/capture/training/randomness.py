"""Random numbers of a training step: drawn from its seed, which is an input, instead of by the runtime."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from exporter.capture.training.steps import TrainingRecorder

aten = torch.ops.aten

SEEDED: dict[Any, Callable[..., Any]] = {}


def _seeded(*overloads: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what to do for overloads that draw, or write what they draw."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        SEEDED.update(dict.fromkeys(overloads, function))
        return function

    return register


def _like(recorder: TrainingRecorder, tensor: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    kind = dtype or tensor.dtype
    return recorder.uniform(list(tensor.shape), kind if kind.is_floating_point else torch.float32, tensor.device)


@_seeded(aten.bernoulli_.float, aten.bernoulli_.Tensor)
def bernoulli_in_place(recorder: TrainingRecorder, func: Any, tensor: torch.Tensor, p: Any = 0.5, **_: Any) -> Any:
    """1 with probability p, else 0, where the tensor stands: what dropout is made of."""
    recorder.assign(tensor, _bernoulli(recorder, tensor, p))
    return tensor


@_seeded(aten.bernoulli.p)
def bernoulli(recorder: TrainingRecorder, func: Any, tensor: torch.Tensor, p: Any = 0.5, **_: Any) -> Any:
    """1 with probability p, else 0."""
    return _bernoulli(recorder, tensor, p)


@_seeded(aten.bernoulli.default)
def bernoulli_of_chances(recorder: TrainingRecorder, func: Any, tensor: torch.Tensor, **_: Any) -> Any:
    """1 with the probability that each element is."""
    return _bernoulli(recorder, tensor, tensor)


def _bernoulli(recorder: TrainingRecorder, tensor: torch.Tensor, p: Any) -> torch.Tensor:
    drawn = _like(recorder, tensor)
    with recorder:
        return (drawn < p).to(tensor.dtype)


@_seeded(aten.native_dropout.default)
def native_dropout(recorder: TrainingRecorder, func: Any, input: torch.Tensor, p: float, train: bool | None) -> Any:
    """The input times 0 or 1 / (1 - p), and the mask of what is kept."""
    if train is False or p == 0:
        with recorder:
            return input.clone(), torch.ones_like(input, dtype=torch.bool)
    drawn = _like(recorder, input)
    with recorder:
        kept = drawn < 1 - p
        return input * kept * (1 / (1 - p) if p < 1 else 0.0), kept


@_seeded(aten.uniform_.default)
def uniform_in_place(
    recorder: TrainingRecorder, func: Any, tensor: torch.Tensor, low: float = 0.0, high: float = 1.0, **_: Any
) -> torch.Tensor:  # fmt: skip
    """Numbers of [low, high), where the tensor stands."""
    drawn = _like(recorder, tensor)
    with recorder:
        drawn = drawn * (high - low) + low
    recorder.assign(tensor, drawn)
    return tensor


@_seeded(aten.normal_.default)
def normal_in_place(
    recorder: TrainingRecorder, func: Any, tensor: torch.Tensor, mean: float = 0.0, std: float = 1.0, **_: Any
) -> torch.Tensor:  # fmt: skip
    """Normal numbers, where the tensor stands."""
    drawn = _normal(recorder, list(tensor.shape), tensor.dtype, tensor.device)
    with recorder:
        drawn = drawn * std + mean
    recorder.assign(tensor, drawn)
    return tensor


@_seeded(aten.rand_like.default)
def rand_like(recorder: TrainingRecorder, func: Any, tensor: torch.Tensor, dtype: Any = None, **_: Any) -> torch.Tensor:
    """Numbers of [0, 1), [*S] -> [*S]."""
    return _like(recorder, tensor, dtype)


@_seeded(aten.randn_like.default)
def randn_like(
    recorder: TrainingRecorder, func: Any, tensor: torch.Tensor, dtype: Any = None, **_: Any
) -> torch.Tensor:  # fmt: skip
    """Normal numbers, [*S] -> [*S]."""
    return _normal(recorder, list(tensor.shape), dtype or tensor.dtype, tensor.device)


@_seeded(aten.rand.default)
def rand(recorder: TrainingRecorder, func: Any, size: Sequence[Any], dtype: Any = None, **_: Any) -> torch.Tensor:
    """Numbers of [0, 1)."""
    return recorder.uniform(size, dtype or torch.get_default_dtype(), torch.device("cpu"))


@_seeded(aten.randn.default)
def randn(recorder: TrainingRecorder, func: Any, size: Sequence[Any], dtype: Any = None, **_: Any) -> torch.Tensor:
    """Normal numbers."""
    return _normal(recorder, size, dtype or torch.get_default_dtype(), torch.device("cpu"))


def _normal(
    recorder: TrainingRecorder, sizes: Sequence[Any], dtype: torch.dtype, device: torch.device
) -> torch.Tensor:  # fmt: skip
    """Normal numbers: sqrt(-2 ln(1 - u)) cos(2 pi v) of two uniform ones.

    Source: Box and Muller, Annals of Mathematical Statistics 29 (1958).
    """
    first, second = (recorder.uniform(sizes, torch.float32, device) for _ in range(2))
    with recorder:
        return ((1 - first).log().mul(-2).sqrt() * (second * (2 * math.pi)).cos()).to(dtype)
