"""Which axes a call means."""

from __future__ import annotations

from collections.abc import Sequence

from aten_lowering.builder import Value, dims, rank
from shape_inference import Dim, Size, at_least, product

__all__ = ["axes_of", "count", "may_be_empty"]


def axes_of(value: Value, dim: int | Sequence[int] | None) -> list[int]:
    """The dims of a call as axes counted from the front, in order; None and [] are all of them.

    A tensor of rank 0 has none, though torch takes dims 0 and -1 of it.
    """
    if not rank(value):
        return []
    if dim is None or (not isinstance(dim, int) and not dim):
        return list(range(rank(value)))
    return sorted({axis % rank(value) for axis in ([dim] if isinstance(dim, int) else dim)})


def count(value: Value, axes: Sequence[int]) -> Size:
    """How many elements the axes have together."""
    return product(dims(value)[axis] for axis in axes)


def may_be_empty(value: Value, axes: Sequence[int]) -> bool:
    """Whether there may be no element along the axes: a size is 0, or one that values decide is part of it.

    The dims that a user leaves open are at least 1.
    """
    number = count(value, axes)
    sizes = number.symbols() if isinstance(number, Dim) else [number]
    return not all(at_least(size, 1) for size in sizes)
