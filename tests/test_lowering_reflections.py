"""Orthogonal factors and least squares."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tests.lowering import Case, both_ways

linalg = torch.linalg
Shape = tuple[int, ...]


def _r(*shapes: Shape, dtype: torch.dtype = torch.float64) -> Callable[[], list[torch.Tensor]]:
    return lambda: [torch.randn(shape, dtype=dtype) for shape in shapes]


def _reflections(*shapes: Shape) -> Callable[[], list[torch.Tensor]]:
    def make() -> list[torch.Tensor]:
        first, *others = (torch.randn(shape, dtype=torch.float64) for shape in shapes)
        return [*torch.geqrf(first), *others]

    return make


def _orthogonal(x: torch.Tensor) -> torch.Tensor:
    """All sizes dynamic: the orthogonal factor of a regular matrix."""
    q, r = linalg.qr(x.mT @ x + torch.eye(x.shape[-1], dtype=x.dtype))
    return q @ r - q


CASES = [
    Case("qr", linalg.qr, _r((2, 4, 4)), dynamic=False),
    Case("qr tall", linalg.qr, _r((2, 5, 3)), dynamic=False),
    Case("qr wide", linalg.qr, _r((3, 5)), dynamic=False),
    Case("qr float", linalg.qr, _r((5, 3), dtype=torch.float32), dynamic=False),
    Case("qr complete", lambda a: linalg.qr(a, "complete"), _r((2, 5, 3)), dynamic=False),
    Case("qr r", lambda a: linalg.qr(a, "r")[1], _r((2, 5, 3)), dynamic=False),
    Case("qr of a triangle", linalg.qr, lambda: [torch.randn(4, 4).triu()], dynamic=False),
    Case("torch.qr", torch.qr, _r((5, 3)), dynamic=False),
    Case("geqrf", torch.geqrf, _r((2, 5, 3)), dynamic=False),
    Case("geqrf wide", torch.geqrf, _r((3, 5)), dynamic=False),
    Case("householder_product", linalg.householder_product, _reflections((2, 5, 3)), dynamic=False),
    Case("orgqr", torch.orgqr, _reflections((5, 3)), dynamic=False),
    Case("ormqr", torch.ormqr, _reflections((2, 5, 3), (2, 5, 4)), dynamic=False),
    Case("ormqr turned", lambda *t: torch.ormqr(*t, transpose=True), _reflections((5, 3), (5, 4)), dynamic=False),
    Case("ormqr right", lambda *t: torch.ormqr(*t, left=False), _reflections((5, 3), (4, 5)), dynamic=False),
    Case("ormqr right turned", lambda *t: torch.ormqr(*t, left=False, transpose=True), _reflections((5, 3), (4, 5)),
         dynamic=False),
    Case("orthogonal", _orthogonal, _r((6, 3))),
]  # fmt: skip

test_static, test_dynamic = both_ways(*CASES)
