"""Sparse tensors: a graph has none, so each is recorded as the dense tensor of the same values.

An adjacency matrix among a model's buffers becomes a dense initializer; what makes a tensor sparse or
dense again changes nothing. The parts of a sparse tensor (`indices()`, `values()`) are constants, and
there are none of a tensor that depends on inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from exporter.capture.torch_internals import outside_modes
from exporter.errors import CaptureError

if TYPE_CHECKING:
    from exporter.capture.recorder import Recorder

aten = torch.ops.aten


def dense(tensor: torch.Tensor) -> torch.Tensor:
    """The dense tensor of a sparse one's values; a dense one is itself."""
    if not _is_sparse(tensor):
        return tensor
    with outside_modes():
        return tensor.detach().to_dense()


def _is_sparse(tensor: torch.Tensor) -> bool:
    return tensor.layout is not torch.strided


def _relaid(recorder: Recorder, func: Any, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    """`x.to_sparse()`, `x.to_dense()`, `x.coalesce()`: the values are the same."""
    if _is_sparse(tensor):
        with outside_modes():
            return func(tensor, *args, **kwargs)
    dtype = kwargs.get("dtype")
    return recorder.tensor(tensor) if dtype is None else recorder.call(aten.to.dtype, (tensor, dtype), {})


def _part(recorder: Recorder, func: Any, tensor: torch.Tensor) -> torch.Tensor:
    """`x.indices()`, `x.values()`."""
    if not _is_sparse(tensor):
        raise CaptureError(
            f"{func}: a part of a sparse tensor that depends on the inputs: a graph has dense tensors only",
            hint="use nonzero() and indexing instead",
            source=str(recorder.source() or ""),
        )
    with outside_modes():
        part: torch.Tensor = func(tensor)
    return part


def made_of_coordinates(
    recorder: Recorder, func: Any, indices: torch.Tensor, values: torch.Tensor, size: list[Any], **settings: Any
) -> torch.Tensor:  # fmt: skip
    """[D, N], [N, *L] -> [*size], `torch.sparse_coo_tensor`; values at the same place add up."""
    dtype = settings.get("dtype") or values.dtype
    with recorder:
        places = tuple(indices.unbind(0))
        return torch.zeros(size, dtype=dtype).index_put(places, values.to(dtype), accumulate=True)


def _product(recorder: Recorder, func: Any, sparse: torch.Tensor, other: torch.Tensor) -> Any:
    return recorder.call(aten.mm.default, (sparse, other), {})


def _added_product(
    recorder: Recorder, func: Any, self: torch.Tensor, mat1: torch.Tensor, mat2: torch.Tensor, **scales: Any
) -> Any:  # fmt: skip
    return recorder.call(aten.addmm.default, (self, mat1, mat2), scales)


def _sum(recorder: Recorder, func: Any, self: torch.Tensor, dim: list[int]) -> Any:
    return recorder.call(aten.sum.dim_IntList, (self, dim), {})


SPARSE_HANDLERS: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys(
        (aten.to_sparse.default, aten.to_sparse.sparse_dim, aten.to_sparse_csr.default, aten.to_sparse_csc.default,
         aten.to_sparse_bsr.default, aten.to_sparse_bsc.default, aten.to_dense.default, aten.coalesce.default),
        _relaid,
    ),
    **dict.fromkeys(
        (aten.indices.default, aten.values.default, aten._indices.default, aten._values.default,
         aten.crow_indices.default, aten.col_indices.default, aten.ccol_indices.default, aten.row_indices.default),
        _part,
    ),
    aten.sparse_coo_tensor.indices_size: made_of_coordinates,
    aten._sparse_mm.default: _product,
    aten._sparse_addmm.default: _added_product,
    aten._sparse_sum.dim: _sum,
}  # fmt: skip
