"""Diagonals and triangles, block matrices and grids."""

from __future__ import annotations

import torch

from tests.lowering import Case, both_ways

aten = torch.ops.aten


def _x() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5)]


def _matrix() -> list[torch.Tensor]:
    return [torch.randn(3, 5)]


def _vector() -> list[torch.Tensor]:
    return [torch.randn(5)]


def _vectors() -> list[torch.Tensor]:
    return [torch.randn(3), torch.randn(4)]


def _blocks() -> list[torch.Tensor]:
    return [torch.randn(3, 2), torch.randn(4, 5), torch.randn(4)]


CASES = [
    Case("tril", lambda x: (x.tril(), x.tril(1), x.tril(-1)), _x, ops="Trilu Trilu Trilu"),
    Case("triu", lambda x: (x.triu(), x.triu(1), x.triu(-1)), _x, ops="Trilu Trilu Trilu"),
    Case("triu by a size", lambda x: x.triu(x.shape[-1] - x.shape[-2]), _x),
    Case("diagonal", lambda x: (x.diagonal(), x.diagonal(1, 1, 2), x.diagonal(-1, 0, -1)), _x),
    Case("diagonal of a matrix", lambda x: x.diagonal(1), _matrix, ops="Reshape Slice"),
    Case("diagonal far away", lambda x: (x.diagonal(7), x.diagonal(-4)), _matrix, dynamic=False),
    Case("diagonal_copy", lambda x: torch.diagonal_copy(x, 1, 0, 2), _x),
    Case("linalg diagonal", lambda x: torch.linalg.diagonal(x, offset=1), _x),
    Case("diag", lambda x: (torch.diag(x), torch.diag(x, -1)), _matrix),
    Case("diag of a vector", lambda x: (torch.diag(x), torch.diag(x, 2)), _vector, ops="Where Pad Where"),
    Case("diag_embed", lambda x: (x.diag_embed(), x.diag_embed(1), x.diag_embed(-2, 0, 2)), _matrix),
    Case("diagflat", lambda x: torch.diagflat(x, 1), _matrix),
    Case("diagonal_scatter", lambda x: torch.diagonal_scatter(x, x.diagonal() * 2), _matrix),
    Case("diagonal_scatter above", lambda x: torch.diagonal_scatter(x, x.diagonal(1, 0, 2) * 2, 1, 0, 2), _x),
    Case("diagonal_scatter below", lambda x: torch.diagonal_scatter(x, x.diagonal(-1, 0, 2) * 2, -1, 0, 2), _x),
    Case("trace", lambda x: (x.trace(), x.int().trace(), x.byte().trace()), _matrix),
    Case("block_diag", torch.block_diag, _blocks),
    Case("block_diag of one", lambda x: torch.block_diag(x) + 1, _matrix, ops="Add"),
    Case("block_diag promotes", lambda x: torch.block_diag(x, x.long()), _matrix),
    Case("meshgrid", lambda x, y: torch.meshgrid(x, y, indexing="ij"), _vectors, ops="Reshape Expand Expand"),
    Case("meshgrid as of old", lambda x, y: aten.meshgrid.default([x, y]), _vectors),
    Case("meshgrid xy", lambda x, y: torch.meshgrid(x, y, indexing="xy"), _vectors),
    Case("meshgrid of three", lambda x, y: torch.meshgrid(x, y, x + 1, indexing="xy"), _vectors),
    Case("meshgrid of scalars", lambda x, y: torch.meshgrid(x[0], y, indexing="ij"), _vectors),
    Case("cartesian_prod", lambda x, y: (torch.cartesian_prod(x, y), torch.cartesian_prod(x)), _vectors),
    Case("combinations", lambda x: torch.combinations(x), _vector, ops="Gather"),
    Case("combinations of three", lambda x: torch.combinations(x, 3), _vector, ops="Gather"),
    Case("combinations with replacement", lambda x: torch.combinations(x, 3, True), _vector, ops="Gather"),
    Case("combinations of one", lambda x: torch.combinations(x, 1), _vector),
    *(
        Case(f"dtype {kind}", lambda x: (x.tril(1), x.triu(), x.diagonal(1), torch.diag_embed(x),
                                         torch.diagonal_scatter(x, x.diagonal(1), 1)),
             lambda kind=kind: [torch.randint(0, 2, (3, 4)).to(kind)])
        for kind in (torch.bool, torch.uint8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float64)
    ),
]  # fmt: skip

test_static, test_dynamic = both_ways(*CASES)
