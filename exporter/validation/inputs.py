"""Inputs that the export did not see: other values, other sizes, awkward values; for any ONNX file, made anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import onnx_ir as ir
import torch

from aten_lowering.dtypes import to_torch
from exporter.dynamic_dims import resized
from exporter.errors import InputError
from exporter.signature import Signature

if TYPE_CHECKING:
    from exporter.program import Program

AWKWARD = ("zeros", "negative", "tiny", "large", "some infinite", "some NaN")
_LARGE, _TINY = 1e3, 1e-30
_SIZES = (2, 3)  # what a file's dynamic dims are tried at


def other_values(signature: Signature, seed: int) -> list[Any]:
    """The example's leaves with other values of the same kind: floats scaled, integers moved about."""
    generator = torch.Generator().manual_seed(seed)
    fixed = signature.fixed_values | signature.fixed_layouts
    kept = {*signature.numbers, *map(signature.input_names.index, fixed)}
    return [
        _changed(leaf, generator) if isinstance(leaf, torch.Tensor) and i not in kept else leaf
        for i, leaf in enumerate(signature.leaves)
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
    example = program.signature.sizes_of_example()
    choices.append({name: size - 1 for name, size in example.items()})
    fitting = [
        sizes
        for sizes in choices
        if sizes
        and min(sizes.values()) > 0
        and all(constraint.admits(sizes) for constraint in program.report.decisions)
    ]
    return fitting[:2]


def described(sizes: Mapping[str, int]) -> str:
    """Sizes in words: `batch=3, seq=7`."""
    return ", ".join(f"{name}={size}" for name, size in sizes.items())


def awkward_values(signature: Signature, kind: str) -> list[Any]:
    """The example's leaves with every float tensor of one awkward kind; integers and bools as they are.

    Args:
        signature: the example.
        kind: one of `AWKWARD`.
    """
    return [
        _awkward(leaf, kind) if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() else leaf
        for leaf in signature.leaves
    ]


def of_graph(
    graph: ir.Graph, sizes: Sequence[Mapping[str, int]] | None
) -> Iterator[tuple[str, list[torch.Tensor]]]:  # fmt: skip
    """Inputs for any ONNX graph, with their descriptions: random floats, small integers, bools.

    Args:
        graph: its inputs must be tensors whose types it says.
        sizes: the sizes of its symbolic dims to try; two choices where None.

    Raises:
        InputError: an input's type is unknown, or there is no such dim.
    """
    names = sorted({str(dim) for value in graph.inputs for dim in _dims(value) if not isinstance(dim, int)})
    choices: list[Mapping[str, int]] = [dict.fromkeys(names, size) for size in _SIZES] if names else [{}]
    for i, chosen in enumerate(choices if sizes is None else sizes):
        for name in chosen:
            if name not in names:
                raise InputError(
                    f"sizes: there is no dynamic dim {name!r}", hint=f"the dims are {', '.join(names) or 'none'}"
                )
        full = {**dict.fromkeys(names, _SIZES[0]), **chosen}
        generator = torch.Generator().manual_seed(i)
        tensors = [_random(value, full, generator) for value in graph.inputs]
        yield described(full) or f"random values {i}", tensors


def _dims(value: ir.Value) -> list[int | str]:
    if value.shape is None or value.dtype is None:
        raise InputError(f"{value.name}: must have a known dtype and rank for inputs to be made; give inputs=[...]")
    return [
        dim if isinstance(dim, int) else (dim.value or f"{value.name}_dim_{axis}")
        for axis, dim in enumerate(value.shape)
    ]


def _random(value: ir.Value, sizes: Mapping[str, int], generator: torch.Generator) -> torch.Tensor:
    shape = [dim if isinstance(dim, int) else sizes[dim] for dim in _dims(value)]
    dtype = to_torch(value.dtype or ir.DataType.FLOAT)
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    return torch.randint(0, 2, shape, generator=generator).to(dtype)


def _awkward(tensor: torch.Tensor, kind: str) -> torch.Tensor:
    if kind == "zeros":
        return torch.zeros_like(tensor)
    if kind == "negative":
        return -tensor.abs() - 1
    if kind == "tiny":
        return tensor * _TINY
    if kind == "large":
        return tensor * _LARGE
    changed = tensor.clone().reshape(-1)
    changed[::7] = float("inf") if kind == "some infinite" else float("nan")
    return changed.reshape(tensor.shape)


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
