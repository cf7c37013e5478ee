"""Dims that a user left open: how they are spelled, how one follows from others, at which sizes they are tried."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch

from exporter.errors import InputError
from shape_inference import Dim, Size, parse, symbol

Dims = list[dict[int, "DynamicDim"]]
NUMBER = -1  # in place of an axis: the number that a tensor of no dims holds


@dataclass(frozen=True)
class DynamicDim:
    """A dim that a user left open.

    Attributes:
        name: what it is called; equal names mean equal sizes.
        minimum: the least size that it may have.
        maximum: the largest, or None.
        automatic: whether the name is ours, so that it may turn out equal to another.
        formula: what it is in terms of other dims, or None.
    """

    name: str
    minimum: int = 1
    maximum: int | None = None
    automatic: bool = False
    formula: Dim | None = None

    def at(self, sizes: Mapping[str, int]) -> int:
        """The size, where the others have the given sizes."""
        return sizes[self.name] if self.formula is None else self.formula.evaluate(sizes)

    def symbolic(self, symbols: Mapping[str, Dim]) -> Size:
        """The size as a formula of symbols, given those of the dims that are no formula."""
        return symbols[self.name] if self.formula is None else self.formula.substitute(symbols)


_ORDERED = 3  # the attempt whose samples keep the order of the example's sizes
_FAR = 64  # the least distance of far sizes from the example's

# Steps from the example's size to the two others, one pair a dim: no two dims share a difference.
_OFFSETS = [(3, 7), (5, 12), (8, 19), (11, 25), (14, 33), (17, 38), (20, 47), (23, 51), (26, 61), (29, 64)]


def _others(size: int, step: int, dim: DynamicDim, offsets: tuple[int, int], used: set[int]) -> list[int]:
    """Two other sizes of a dim, within its bounds, and not those of another dim."""
    others: list[int] = []
    for offset in offsets:
        other = size + offset * step
        while other in used or other in others:
            other += step
        if dim.maximum is not None and other > dim.maximum:
            down = (n for n in range(min(size, dim.maximum) - step, max(dim.minimum, 1) - 1, -step))
            up = (n for n in range(size + step, dim.maximum + 1, step))
            other = next((n for n in itertools.chain(up, down) if n not in others and n not in used), size)
        others.append(other)
    return others


def describe_dim(dim: Any, name: str, size: int) -> DynamicDim | None:
    """What a user wrote for one axis, which is called `name` where that gives no other; None for a static one.

    Raises:
        InputError: it is none of the spellings of a dim, or the example lies outside of it.
    """
    if type(dim) is int and dim != size:
        raise InputError(
            f"dynamic_shapes: {name}, given as {dim}, must have that size, the example has {size}",
            hint='name what is open: {"x": {0: "batch"}}',
        )
    if dim is None or type(dim) is int or dim is torch.export.Dim.STATIC:
        return None
    least = min(size, 1)
    if isinstance(dim, str):
        return DynamicDim(dim, least)
    if dim in (torch.export.Dim.AUTO, torch.export.Dim.DYNAMIC):
        return DynamicDim(name, least, automatic=True)
    if isinstance(dim, torch.export.Dim):
        maximum = dim.max if dim.max < 2**31 else None  # torch's int_oo is larger than any size
        if size < dim.min or (maximum is not None and size > maximum):
            raise InputError(
                f"dynamic_shapes: dim {dim.__name__!r} must lie in {dim.min}..{maximum or ''}, the example has {size}"
            )
        return DynamicDim(dim.__name__, min(dim.min, least) if dim.min <= 1 else dim.min, maximum)
    raise InputError(
        f"dynamic_shapes: an axis must have a name, a torch.export.Dim or None, got {dim!r}",
        hint='write {"x": {0: "batch"}}',
    )


def extent(tensor: torch.Tensor, axis: int) -> int:
    """The size of an axis, or the number that the tensor holds."""
    return int(tensor) if axis == NUMBER else tensor.shape[axis]


def resized(tensor: torch.Tensor, axis: int, size: int) -> torch.Tensor:
    """The tensor with one axis cut or repeated to a size, or with another number."""
    if axis == NUMBER:
        return torch.full_like(tensor, size)
    old = tensor.shape[axis]
    if not old:
        shape = list(tensor.shape)
        shape[axis] = size
        return torch.zeros(shape, dtype=tensor.dtype, device=tensor.device)
    return tensor.index_select(axis, torch.arange(size, device=tensor.device) % old)


def with_formulas(dims: Dims, leaves: Sequence[Any]) -> Dims:
    """The dims with `past + seq` understood, where `past` and `seq` are dims themselves.

    Raises:
        InputError: the example's size is another.
    """
    sizes = example_sizes(dims, leaves)
    plain = {name: symbol(name, minimum=0) for name in sizes if name.isidentifier()}
    found: dict[str, Dim] = {}
    for name, size in sizes.items():
        formula = None if name in plain else parse(name, plain)
        if not isinstance(formula, Dim) or formula.is_symbol or not formula.free_symbols() <= plain.keys():
            continue
        expected = formula.evaluate(sizes)
        if expected != size:
            raise InputError(f"dynamic_shapes: dim {name!r} must be {expected} in the example, got {size}")
        found[name] = formula
    return _replaced(dims, found)


def with_sums(dims: Dims, leaves: Sequence[Any]) -> Dims:
    """The dims, those that are the sum of two others in the example taken for that sum everywhere.

    A first axis, which counts examples, takes no part.
    """
    free = {dim.name for row in dims for axis, dim in row.items() if axis and dim.formula is None}
    free -= {row[0].name for row in dims if 0 in row}
    sizes = {name: size for name, size in example_sizes(dims, leaves).items() if size and name in free}
    found: dict[str, Dim] = {}
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        used = {symbol for formula in found.values() for symbol in formula.free_symbols()}
        pairs = itertools.combinations([other for other in sizes if other not in found and other != name], 2)
        pair = next((p for p in pairs if sum(sizes[other] for other in p) == sizes[name]), None)
        if pair is not None and name not in used:
            total = symbol(pair[0], minimum=0) + symbol(pair[1], minimum=0)
            found[name] = cast(Dim, total)
    return _replaced(dims, found)


def with_equals(dims: Dims, leaves: Sequence[Any]) -> Dims:
    """The dims, automatic ones of one size in the example taken for the same dim."""
    first: dict[int, DynamicDim] = {}
    return [
        {axis: first.setdefault(extent(leaf, axis), dim) if dim.automatic else dim for axis, dim in row.items()}
        for leaf, row in zip(leaves, dims, strict=True)
    ]


def example_sizes(dims: Dims, leaves: Sequence[Any]) -> dict[str, int]:
    """Name of a dim -> its size in the example.

    Raises:
        InputError: it has two.
    """
    sizes: dict[str, int] = {}
    for leaf, row in zip(leaves, dims, strict=True):
        for axis, dim in row.items():
            size = extent(leaf, axis)
            if sizes.setdefault(dim.name, size) != size:
                raise InputError(
                    f"dim {dim.name!r}: must have one size in all inputs, got {sizes[dim.name]} and {size}",
                    hint="give dims of different sizes different names",
                )
    return sizes


def _replaced(dims: Dims, formulas: Mapping[str, Dim]) -> Dims:
    return [
        {a: replace(dim, formula=formulas[dim.name]) if dim.name in formulas else dim for a, dim in row.items()}
        for row in dims
    ]


def sample_sizes(
    dims: Dims, leaves: Sequence[Any], attempt: int = 0, *, near: bool = False
) -> dict[str, tuple[int, ...]]:
    """For each dim that is no formula, the example's size and two others at which the model may work.

    Args:
        dims: the dynamic dims of each leaf.
        leaves: the example.
        attempt: 0 takes any sizes; 1 multiples of the power of 2 in the example's size, 2 multiples
            of the example's size, for models that work at no other; 3 takes any sizes, in the order that
            the example's sizes have, for models that write one tensor into a larger one.
        near: whether the others lie near the example's size, where a model with a longest length works.
            Far ones tell more: rounding to windows or blocks makes near sizes equal.
    """
    free = {dim.name: dim for row in dims for dim in row.values() if dim.formula is None}
    chosen: dict[str, tuple[int, ...]] = {}
    sizes = list(example_sizes(dims, leaves).items())
    for index, (name, size) in enumerate(sorted(sizes, key=lambda item: item[1]) if attempt == _ORDERED else sizes):
        if name in free:
            step = _step(size, attempt)
            used = {sample for samples in chosen.values() for sample in samples[1:]}
            first, second = _OFFSETS[index % len(_OFFSETS)]
            if not near:
                away = max(size, _FAR) // step
                first, second = first + away, second + 2 * away
            if (
                index % 2 and attempt != _ORDERED
            ):  # no ratio of two dims stays: an image that is scaled to a height keeps its width else
                first, second = second, first
            chosen[name] = (size, *_others(size, step, free[name], (first, second), used))
    return chosen


def near_sizes(dims: Dims, leaves: Sequence[Any], attempt: int) -> list[dict[str, int]]:
    """Two choices of sizes for the dims, near the example's; one or two steps away where the step is large."""
    if attempt in (0, _ORDERED):
        samples = sample_sizes(dims, leaves, attempt, near=True)
        return [{name: sizes[i] for name, sizes in samples.items()} for i in (1, 2)] if samples else []
    free = {dim.name: dim for row in dims for dim in row.values() if dim.formula is None}
    sizes = {name: size for name, size in example_sizes(dims, leaves).items() if name in free}
    choices = [{name: size + _step(size, attempt) * n for name, size in sizes.items()} for n in (1, 2)]
    return [choice for choice in choices if all(_within(free[name], size) for name, size in choice.items())]


def _within(dim: DynamicDim, size: int) -> bool:
    return dim.maximum is None or size <= dim.maximum


def _step(size: int, attempt: int) -> int:
    """What the samples of an attempt are multiples of."""
    return [1, size & -size or 1, max(size, 1), 1][attempt]
