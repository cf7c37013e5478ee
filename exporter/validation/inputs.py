"""Inputs that the export did not see, made from the example: other values, other sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from exporter.dynamic_dims import resized
from exporter.signature import Signature

if TYPE_CHECKING:
    from exporter.program import Program


def other_values(signature: Signature, seed: int) -> list[Any]:
    """The example's leaves with other values of the same kind: floats scaled, integers moved about."""
    generator = torch.Generator().manual_seed(seed)
    return [
        _changed(leaf, generator) if isinstance(leaf, torch.Tensor) and name not in signature.fixed_values else leaf
        for name, leaf in zip(signature.input_names, signature.leaves, strict=True)
    ]


def other_sizes(signature: Signature, sizes: Mapping[str, int], seed: int) -> list[Any]:
    """The leaves with their dynamic dims at other sizes, filled with the example's values again and again.

    Args:
        signature: the example and its dynamic dims.
        sizes: name of a dynamic dim -> its size.
        seed: of what changes the values of floats.
    """
    generator = torch.Generator().manual_seed(seed)
    leaves: list[Any] = []
    for leaf, dims in zip(signature.leaves, signature.dims, strict=True):
        if isinstance(leaf, torch.Tensor):
            for axis, dim in dims.items():
                leaf = resized(leaf, axis, dim.at(sizes))
            leaf = _noisy(leaf, generator)
        leaves.append(leaf)
    return leaves


def sizes_to_try(program: Program) -> list[dict[str, int]]:
    """Two choices of sizes for the dynamic dims, other than the example's, that the constraints admit."""
    choices = program.signature.sizes_to_run()
    example = program.signature.sizes_at(0)
    choices.append({name: size - 1 for name, size in example.items()})
    fitting = [
        sizes
        for sizes in choices
        if sizes
        and min(sizes.values()) > 0
        and all(constraint.admits(sizes) for constraint in program.report.decisions)
    ]
    return fitting[:2]


def _noisy(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Floats made up to 3 % smaller, which keeps them in an operator's domain; others as they are."""
    if not tensor.is_floating_point():
        return tensor
    factor = 1 - 0.03 * torch.rand(tensor.shape, generator=generator)
    return (tensor * factor.to(tensor.device)).to(tensor.dtype)


def _changed(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Integers rolled along the last axis where they are ids; masks and orders stay."""
    if tensor.is_floating_point() or tensor.is_complex():
        return _noisy(tensor, generator) if tensor.is_floating_point() else tensor
    if tensor.dtype == torch.bool or not tensor.ndim or len(tensor.unique()) <= 2:
        return tensor
    return tensor.roll(1, -1)
