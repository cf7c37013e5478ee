"""Which axes a call means."""

from __future__ import annotations

from collections.abc import Sequence

from aten_lowering.builder import Value, dims, rank
from shape_inference import Size, product

__all__ = ["axes_of", "count"]


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
