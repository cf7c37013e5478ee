"""Seeded values for the zoo: parameters that hide no error, and inputs that look like something.

A fresh model hides errors: biases are 0, norm scales 1, batch norm statistics trivial, attention scores so
small that a wrong mask or scale does not show. `generic_values` replaces every parameter.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_NORMS = ("LayerNorm", "GroupNorm", "BatchNorm1d", "BatchNorm2d", "LayerNorm2d", "RMSNorm")
_OUTPUT_CHANNELS_LAST = ("Conv1D",)  # transformers' name for a Linear whose weight is [in, out]


def generator(seed: int) -> torch.Generator:
    """Make a random generator for one seed."""
    return torch.Generator().manual_seed(seed)


@contextlib.contextmanager
def without_initialization() -> Iterator[None]:
    """Leave parameters uninitialized while a transformers model is built; `generic_values` fills them all."""
    from transformers import initialization

    with initialization.no_init_weights():
        yield


@torch.no_grad()
def generic_values(
    model: nn.Module,
    *,
    seed: int = 0,
    gain: float = 1.0,
    embedding_std: float = 0.1,
    calibrate: Callable[[nn.Module], object] | None = None,
) -> nn.Module:
    """Give every parameter a seeded generic value, calibrate batch norm, and put the model into eval mode.

    Weights get a standard deviation of gain / sqrt(inputs summed), so that the scale stays through depth and
    attention scores are near 1. `calibrate` runs the model on random inputs: batch norm takes its statistics.
    """
    random = generator(seed)
    filled: set[nn.Parameter] = set()
    for module_name, module in model.named_modules():
        norm = type(module).__name__.endswith(_NORMS)
        for name, parameter in module.named_parameters(recurse=False):
            if parameter in filled:  # tied: it stays what its first user makes of it
                continue
            filled.add(parameter)
            _fill(parameter, f"{module_name}.{name}", module, norm, random, gain, embedding_std)
    if calibrate is not None:
        _calibrate_batch_norm(model, calibrate)
    return model.eval().requires_grad_(False)


def _fill(
    parameter: Tensor,
    name: str,
    module: nn.Module,
    norm: bool,
    random: torch.Generator,
    gain: float,
    embedding_std: float,
) -> None:
    last = name.rpartition(".")[2]
    if norm and last == "weight":
        parameter.normal_(1.0, 0.2, generator=random)
    elif last in ("layer_scale", "gamma"):
        parameter.normal_(0.4, 0.1, generator=random)
    elif last == "logit_scale":
        parameter.fill_(1.3)
    elif (isinstance(module, nn.Embedding) and "relative" in name) or last == "relative_position_bias_table":
        parameter.normal_(0.0, 0.5, generator=random)
    elif isinstance(module, nn.Embedding):
        parameter.normal_(0.0, embedding_std, generator=random)
    elif parameter.ndim < 2 or "bias" in last or isinstance(module, nn.ParameterList):
        parameter.normal_(0.0, 0.1, generator=random)
    elif "embedding" in last or "token" in last:
        parameter.normal_(0.0, 0.3, generator=random)
    else:
        by_output = type(module).__name__ in _OUTPUT_CHANNELS_LAST
        summed = parameter.shape[0] if by_output else parameter.numel() // parameter.shape[0]
        parameter.normal_(0.0, gain / math.sqrt(summed), generator=random)


def _calibrate_batch_norm(model: nn.Module, run: Callable[[nn.Module], object]) -> None:
    model.eval()
    norms = [module for module in model.modules() if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    run(model)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum


def images(seed: int, batch: int, height: int, width: int, channels: int = 3) -> Tensor:
    """Make pictures that differ from each other at every scale: [batch, channels, height, width].

    White noise alone would not do: after a global pooling, all pictures of it look the same.
    """
    random = generator(seed)
    picture = torch.randn(batch, channels, 1, 1, generator=random)
    for cells in (2, 5, 11):
        layer = torch.randn(batch, channels, cells, cells, generator=random)
        contrast = 0.5 + torch.rand(batch, 1, 1, 1, generator=random)
        picture = picture + contrast * F.interpolate(layer, (height, width), mode="bilinear")
    return picture + 0.2 * torch.randn(batch, channels, height, width, generator=random)


def ids(seed: int, batch: int, length: int, vocabulary: int, *, low: int = 3) -> Tensor:
    """Make token ids, none of them special: [batch, length]."""
    return torch.randint(low, vocabulary, (batch, length), generator=generator(seed))


def right_padding(seed: int, batch: int, length: int) -> Tensor:
    """Make an attention mask in which each row but the first may end earlier: [batch, length] of 0 and 1."""
    lengths = torch.randint((length + 1) // 2, length + 1, (batch,), generator=generator(seed + 1000))
    lengths[0] = length
    return (torch.arange(length) < lengths[:, None]).long()
