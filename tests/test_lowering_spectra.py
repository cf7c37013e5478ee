"""Eigenvalues and singular values."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tests.lowering import Case, both_ways

linalg = torch.linalg
Shape = tuple[int, ...]


def _r(*shapes: Shape, dtype: torch.dtype = torch.float64) -> Callable[[], list[torch.Tensor]]:
    return lambda: [torch.randn(shape, dtype=dtype) for shape in shapes]


def _power(x: torch.Tensor) -> torch.Tensor:
    """A function of a symmetric matrix, which no sign of a vector changes."""
    values, vectors = linalg.eigh(x @ x.mT)
    return vectors @ torch.diag_embed(values.abs().sqrt()) @ vectors.mT


def _rebuilt(x: torch.Tensor) -> torch.Tensor:
    u, s, vh = linalg.svd(x, full_matrices=False)
    return u[..., :2] @ torch.diag_embed(s[..., :2]) @ vh[..., :2, :]


def _full(x: torch.Tensor) -> torch.Tensor:
    """Signs do not matter to it: the products of each vector with itself, and of all of the unitary matrices."""
    u, s, vh = linalg.svd(x)
    projection = u[..., s.shape[-1] :] @ u[..., s.shape[-1] :].mT
    return projection.sum() + (u @ u.mT).sum() + (vh.mT @ vh).sum() + s.sum()


def _deficient(x: torch.Tensor) -> torch.Tensor:
    return linalg.pinv(x @ x.mT)


CASES = [
    Case("eigvalsh", linalg.eigvalsh, _r((2, 5, 5)), dynamic=False),
    Case("eigvalsh upper", lambda a: linalg.eigvalsh(a, UPLO="U"), _r((4, 4)), dynamic=False),
    Case("eigvalsh float", linalg.eigvalsh, _r((6, 6), dtype=torch.float32), dynamic=False),
    Case("eigvalsh 1", linalg.eigvalsh, _r((1, 1)), dynamic=False),
    Case("eigvalsh 2", linalg.eigvalsh, _r((2, 2)), dynamic=False),
    Case("eigvalsh 40", linalg.eigvalsh, _r((40, 40)), dynamic=False),
    Case("eigvalsh zeros", linalg.eigvalsh, lambda: [torch.zeros(3, 3)], dynamic=False),
    Case("eigvalsh equal", linalg.eigvalsh, lambda: [torch.ones(4, 4) + torch.eye(4)], dynamic=False),
    Case("eigh", _power, _r((2, 4, 6)), fixed=(0,)),
    Case("svdvals", linalg.svdvals, _r((2, 5, 3)), dynamic=False),
    Case("svdvals wide", linalg.svdvals, _r((3, 7)), dynamic=False),
    Case("svdvals float", linalg.svdvals, _r((6, 6), dtype=torch.float32), dynamic=False),
    Case("svdvals deficient", linalg.svdvals, lambda: [torch.ones(4, 3)], dynamic=False),
    Case(
        "svdvals dynamic", lambda x: linalg.svdvals(x @ x.mT + torch.eye(x.shape[0])), _r((3, 8), dtype=torch.float32)
    ),
    Case("svdvals of any", linalg.svdvals, _r((3, 5))),
    Case("pinv of any", linalg.pinv, _r((5, 3), dtype=torch.float32), dynamic=False),
    Case("svd", _rebuilt, _r((2, 5, 4)), dynamic=False),
    Case("svd wide", _rebuilt, _r((3, 6)), dynamic=False),
    Case("svd full", _full, _r((2, 5, 3)), dynamic=False),
    Case("svd full wide", _full, _r((3, 5)), dynamic=False),
    Case("pinv", linalg.pinv, _r((2, 5, 3)), dynamic=False),
    Case("pinv wide", torch.pinverse, _r((3, 5)), dynamic=False),
    Case("pinv deficient", _deficient, _r((5, 3)), dynamic=False),
    Case("pinv tolerances", lambda a: linalg.pinv(a, atol=0.5, rtol=0.4), _r((4, 4)), dynamic=False),
    Case("matrix_rank", linalg.matrix_rank, lambda: [torch.ones(4, 3) + torch.eye(4, 3)], dynamic=False),
    Case("matrix_rank deficient", linalg.matrix_rank, lambda: [torch.ones(4, 3)], dynamic=False),
    Case("cond", linalg.cond, _r((2, 4, 4)), dynamic=False),
    Case("cond fro", lambda a: linalg.cond(a, "fro"), _r((4, 4)), dynamic=False),
    Case("nuclear norm", lambda a: linalg.matrix_norm(a, "nuc"), _r((2, 4, 5)), dynamic=False),
    Case("spectral norm", lambda a: linalg.matrix_norm(a, 2), _r((2, 4, 5)), dynamic=False),
    Case("norm", lambda a: linalg.norm(a, -2), _r((4, 5)), dynamic=False),
]

test_static, test_dynamic = both_ways(*CASES)
