"""Overloads that torch composes in C++ of others by plain sizes, here composed by symbolic ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from exporter.capture.handlers import handles
from exporter.capture.recorder import Recorder

aten = torch.ops.aten


def _is_open(tensor: torch.Tensor) -> bool:
    return any(isinstance(size, torch.SymInt) for size in tensor.shape)


@handles(aten._shape_as_tensor.default)
def shape_as_tensor(recorder: Recorder, func: Any, tensor: torch.Tensor) -> torch.Tensor:
    """[*S] -> [rank], the sizes."""
    with recorder:
        return torch.tensor(list(tensor.shape))


@handles(aten.linalg_matrix_norm.default, aten.linalg_matrix_norm.str_ord)
def matrix_norm(
    recorder: Recorder, func: Any, matrix: torch.Tensor, ord: Any = "fro", dim: Sequence[int] = (-2, -1),
    keepdim: bool = False, *, dtype: torch.dtype | None = None,
) -> torch.Tensor:  # fmt: skip
    """[*B, N, M] -> [*B]: of all elements, of the largest or smallest row or column, or of the singular values."""
    rows, columns = (axis % matrix.ndim for axis in dim)
    with recorder:
        values = matrix if dtype is None else matrix.to(dtype)
        if ord == "fro":
            return torch.linalg.vector_norm(values, 2, (rows, columns), keepdim)
        if ord == "nuc" or abs(ord) == 2:
            found = torch.linalg.svdvals(values.movedim((rows, columns), (-2, -1)))
            norm = found.sum(-1) if ord == "nuc" else found.amax(-1) if ord > 0 else found.amin(-1)
            return norm.unsqueeze(min(rows, columns)).unsqueeze(max(rows, columns)) if keepdim else norm
        summed, picked = (rows, columns) if abs(ord) == 1 else (columns, rows)
        sums = values.abs().sum(summed, keepdim=True)
        norm = sums.amax(picked, keepdim=True) if ord > 0 else sums.amin(picked, keepdim=True)
        return norm if keepdim else norm.squeeze((rows, columns))


@handles(aten.gradient.scalarint, aten.gradient.scalararray, aten.gradient.array)
def gradient(
    recorder: Recorder, func: Any, tensor: torch.Tensor, *, spacing: Any = None, dim: Any = None, edge_order: int = 1
) -> list[torch.Tensor]:  # fmt: skip
    """[*S] -> [*S] for each dim: half of what lies between both neighbours; at the ends, of one or two steps."""
    if not _is_open(tensor):
        given = {"spacing": spacing, "dim": dim, "edge_order": edge_order}
        names = {argument.name for argument in func._schema.arguments}
        return recorder.call(func, (tensor,), {k: v for k, v in given.items() if k in names})
    axes = range(tensor.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    with recorder:
        return [_slope(tensor, axis, 1 if spacing is None else spacing, edge_order) for axis in axes]


def _slope(tensor: torch.Tensor, axis: int, spacing: float, edge_order: int) -> torch.Tensor:
    size = tensor.shape[axis]

    def part(start: Any, length: Any) -> torch.Tensor:
        return tensor.narrow(axis, start, length)

    inside = (part(2, size - 2) - part(0, size - 2)) / 2
    first, last = part(1, 1) - part(0, 1), part(size - 1, 1) - part(size - 2, 1)
    if edge_order == 2:
        first = 2 * part(1, 1) - 1.5 * part(0, 1) - 0.5 * part(2, 1)
        last = 1.5 * part(size - 1, 1) - 2 * part(size - 2, 1) + 0.5 * part(size - 3, 1)
    return torch.cat([first, inside, last], axis) / spacing


@handles(aten.linalg_vander.default)
def vander(recorder: Recorder, func: Any, x: torch.Tensor, *, N: Any = None) -> torch.Tensor:
    """[*B, n] -> [*B, n, N], the powers from 0 on."""
    with recorder:
        return x.unsqueeze(-1) ** torch.arange(x.shape[-1] if N is None else N)


@handles(aten.vander.default)
def falling_vander(
    recorder: Recorder, func: Any, x: torch.Tensor, N: Any = None, increasing: bool = False
) -> torch.Tensor:  # fmt: skip
    """[n] -> [n, N], the powers down to 0."""
    powers = vander(recorder, func, x, N=N)
    with recorder:
        return powers if increasing else powers.flip(-1)
