"""Overloads that choose elements by their values: the shapes of the results, given how many are chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch

aten = torch.ops.aten

Result = Callable[..., Any]


def _empty(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(tuple(shape), dtype=dtype, device="meta")


def _nonzero(count: int, input: torch.Tensor) -> torch.Tensor:
    return _empty((count, input.ndim), torch.int64)


def _nonzero_numpy(count: int, input: torch.Tensor) -> list[torch.Tensor]:
    return [_empty((count,), torch.int64) for _ in range(max(input.ndim, 1))]


def _masked_select(count: int, input: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return _empty((count,), input.dtype)


def _unique(
    count: int, input: torch.Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False
) -> tuple[torch.Tensor, ...]:  # fmt: skip
    inverse = _empty(input.shape if return_inverse or return_counts else (0,), torch.int64)
    return _empty((count,), input.dtype), inverse, _empty((count if return_counts else 0,), torch.int64)


def _unique_dim(
    count: int, input: torch.Tensor, dim: int, sorted: bool = True, return_inverse: bool = False,
    return_counts: bool = False,
) -> tuple[torch.Tensor, ...]:  # fmt: skip
    shape = list(input.shape)
    inverse = _empty((shape[dim],), torch.int64)
    shape[dim] = count
    return _empty(shape, input.dtype), inverse, _empty((count,), torch.int64)


def _unique_consecutive(
    count: int, input: torch.Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> tuple[torch.Tensor, ...]:  # fmt: skip
    if dim is None:
        return _unique(count, input, True, return_inverse, return_counts)
    return _unique_dim(count, input, dim)


def _repeat_interleave(
    count: int, input: torch.Tensor, repeats: torch.Tensor | int, dim: int | None = None, *,
    output_size: int | None = None,
) -> torch.Tensor:  # fmt: skip
    total = count if output_size is None else output_size
    if dim is None:
        return _empty((total,), input.dtype)
    shape = list(input.shape)
    shape[dim] = total
    return _empty(shape, input.dtype)


def _repeat_counts(count: int, repeats: torch.Tensor, *, output_size: int | None = None) -> torch.Tensor:
    return _empty((count if output_size is None else output_size,), repeats.dtype)


def _bincount(count: int, input: torch.Tensor, weights: torch.Tensor | None = None, minlength: int = 0) -> torch.Tensor:
    dtype = torch.int64 if weights is None else torch.float32 if weights.dtype == torch.float32 else torch.float64
    return _empty((count + minlength,), dtype)


def _nms(count: int, dets: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    return _empty((count,), torch.int64)


UNBACKED: dict[Any, Result] = {
    aten.nonzero.default: _nonzero,
    aten.argwhere.default: _nonzero,
    aten.nonzero_numpy.default: _nonzero_numpy,
    aten.where.default: _nonzero_numpy,
    aten.masked_select.default: _masked_select,
    aten._unique2.default: _unique,
    aten._unique.default: lambda *args, **kwargs: _unique(*args, **kwargs)[:2],
    aten.unique_dim.default: _unique_dim,
    aten.unique_dim_consecutive.default: lambda count, input, dim, *asked: _unique_dim(count, input, dim),
    aten.unique_consecutive.default: _unique_consecutive,
    aten.repeat_interleave.self_Tensor: _repeat_interleave,
    aten.repeat_interleave.Tensor: _repeat_counts,
    aten.bincount.default: _bincount,
}
# Overloads that exist only once their library is imported.
_UNBACKED_BY_NAME: dict[str, Result] = {"torchvision::nms": _nms}


@cache
def unbacked_result(func: Any) -> Result | None:
    """What an overload returns whose result sizes depend on values: takes their count, then the call's arguments."""
    return UNBACKED.get(func) or _UNBACKED_BY_NAME.get(func.name())
