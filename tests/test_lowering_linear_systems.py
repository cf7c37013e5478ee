"""Linear systems, inverses, determinants, triangular systems and Cholesky factors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tests.lowering import Case, cases, check

aten = torch.ops.aten
linalg = torch.linalg
Shape = tuple[int, ...]


def _r(*shapes: Shape, dtype: torch.dtype = torch.float64) -> Callable[[], list[torch.Tensor]]:
    return lambda: [torch.randn(shape, dtype=dtype) for shape in shapes]


def _regular(*shapes: Shape, dtype: torch.dtype = torch.float64) -> Callable[[], list[torch.Tensor]]:
    """The first matrix far from singular."""

    def make() -> list[torch.Tensor]:
        first, *others = (torch.randn(shape, dtype=dtype) for shape in shapes)
        return [first + 3 * torch.eye(first.shape[-1], dtype=dtype)[torch.randperm(first.shape[-1])], *others]

    return make


def _positive(*shapes: Shape, dtype: torch.dtype = torch.float64) -> Callable[[], list[torch.Tensor]]:
    """The last matrix positive definite."""

    def make() -> list[torch.Tensor]:
        *others, last = (torch.randn(shape, dtype=dtype) for shape in shapes)
        return [*others, last @ last.mT + torch.eye(last.shape[-1], dtype=dtype)]

    return make


def _factored(*shapes: Shape) -> Callable[[], list[torch.Tensor]]:
    """LU factors and pivots of the first matrix, then the others."""

    def make() -> list[torch.Tensor]:
        first, *others = (torch.randn(shape, dtype=torch.float64) for shape in shapes)
        return [*linalg.lu_factor(first), *others]

    return make


def _static(name: str, function: Callable[..., Any], inputs: Callable[[], list[torch.Tensor]], **options: Any) -> Case:
    """A case that makes singular matrices where it is stretched."""
    return Case(name, function, inputs, dynamic=False, **options)


_SYSTEM = ((2, 4, 4), (2, 4, 3))
SYSTEMS = [
    _static("inv", linalg.inv, _regular((2, 4, 4))),
    _static("inv float", linalg.inv, _regular((4, 4), dtype=torch.float32)),
    _static("inv 1", linalg.inv, _regular((1, 1))),
    _static("inverse", torch.inverse, _regular((4, 4))),
    _static("inv_ex", linalg.inv_ex, _regular((2, 4, 4))),
    _static("inv exchanged", linalg.inv, lambda: [torch.tensor([[0.0, 2.0], [3.0, 0.0]])]),
    _static("solve", linalg.solve, _regular(*_SYSTEM)),
    _static("solve float", linalg.solve, _regular(*_SYSTEM, dtype=torch.float32)),
    _static("solve vector", linalg.solve, _regular((4, 4), (4,))),
    _static("solve vectors", linalg.solve, _regular((2, 4, 4), (2, 4))),
    _static("solve broadcast", linalg.solve, _regular((5, 1, 4, 4), (2, 4, 3))),
    _static("solve right", lambda a, b: linalg.solve(a, b, left=False), _regular((2, 4, 4), (2, 3, 4))),
    _static("solve_ex", linalg.solve_ex, _regular(*_SYSTEM)),
    _static("_solve_ex", lambda a, b: aten._linalg_solve_ex(a, b)[0], _regular(*_SYSTEM)),
    _static(
        "tensorsolve", linalg.tensorsolve, lambda: [torch.eye(24).reshape(2, 3, 4, 2, 3, 4) + 0.1, torch.randn(2, 3, 4)]
    ),
    _static("tensorinv", lambda a: linalg.tensorinv(a, 1), lambda: [(torch.eye(6) + 0.1).reshape(6, 2, 3)]),
]
FACTORS = [
    _static("lu", linalg.lu, _r((2, 4, 4))),
    _static("lu wide", linalg.lu, _r((3, 5))),
    _static("lu tall", linalg.lu, _r((2, 5, 3))),
    _static("lu_factor", linalg.lu_factor, _r((2, 4, 4))),
    _static("lu_factor_ex", linalg.lu_factor_ex, _r((2, 5, 3))),
    _static("lu_unpack", torch.lu_unpack, _factored((2, 4, 4))),
    _static("lu_unpack data", lambda d, p: torch.lu_unpack(d, p, unpack_pivots=False)[1:], _factored((2, 5, 3))),
    _static("lu_solve", linalg.lu_solve, _factored(*_SYSTEM)),
    _static("lu_solve adjoint", lambda *t: linalg.lu_solve(*t, adjoint=True), _factored(*_SYSTEM)),
    _static("lu_solve right", lambda *t: linalg.lu_solve(*t, left=False), _factored((2, 4, 4), (2, 3, 4))),
    _static("torch.lu_solve", lambda d, p, b: torch.lu_solve(b, d, p), _factored(*_SYSTEM)),
]
DETERMINANTS = [
    Case("det", linalg.det, _r((2, 4, 4), dtype=torch.float32), ops="Det"),
    _static("det double", torch.det, _r((2, 4, 4))),
    _static("det singular", torch.det, lambda: [torch.ones(3, 3, dtype=torch.float64)]),
    _static("slogdet", linalg.slogdet, _r((2, 4, 4))),
    _static("torch.slogdet", torch.slogdet, _r((2, 4, 4), dtype=torch.float32)),
    _static("slogdet singular", linalg.slogdet, lambda: [torch.ones(2, 2)]),
    _static("logdet", torch.logdet, _r((5, 4, 4))),
]
TRIANGLES = [
    *[
        _static(
            f"triangular {upper} {left} {unit}",
            lambda a, b, u=upper, left=left, unit=unit: linalg.solve_triangular(a, b, upper=u, left=left, unitriangular=unit),
            _regular((2, 4, 4), (2, 4, 4)),
        )
        for upper in (False, True)
        for left in (False, True)
        for unit in (False, True)
    ],
    *[
        _static(
            f"triangular_solve {upper} {turned}",
            lambda b, a, u=upper, t=turned: torch.triangular_solve(b, a, upper=u, transpose=t),
            lambda: [torch.randn(2, 4, 3), torch.randn(4, 4) + 3 * torch.eye(4)],
        )
        for upper in (False, True)
        for turned in (False, True)
    ],
    _static("cholesky", linalg.cholesky, _positive((2, 4, 4))),
    _static("cholesky upper", lambda a: linalg.cholesky(a, upper=True), _positive((4, 4))),
    _static("torch.cholesky", torch.cholesky, _positive((4, 4), dtype=torch.float32)),
    _static("cholesky_ex", linalg.cholesky_ex, _positive((2, 4, 4))),
    _static("cholesky_ex wrong", lambda a: linalg.cholesky_ex(a).info, lambda: [torch.diag(torch.tensor([1.0, 2, -1, 3]))]),
    _static("cholesky_solve", torch.cholesky_solve, lambda: [torch.randn(2, 4, 3), linalg.cholesky(_positive((4, 4))()[0]).float()]),
    _static("cholesky_solve upper", lambda b, u: torch.cholesky_solve(b, u, upper=True),
            lambda: [torch.randn(4, 3), linalg.cholesky(_positive((4, 4))()[0]).float().mT]),
    _static("cholesky_inverse", torch.cholesky_inverse, lambda: [linalg.cholesky(_positive((4, 4))()[0])]),
]  # fmt: skip


def _whitened(x: torch.Tensor) -> torch.Tensor:
    """All sizes dynamic: the inverse Cholesky factor of a covariance matrix, times what it was made of."""
    covariance = x.mT @ x + torch.eye(x.shape[-1], dtype=x.dtype)
    return linalg.solve_triangular(linalg.cholesky(covariance), x.mT, upper=False)


def _regressed(x: torch.Tensor) -> torch.Tensor:
    """All sizes dynamic: ridge regression, determinants and inverses."""
    covariance = x.mT @ x + torch.eye(x.shape[-1], dtype=x.dtype)
    return linalg.solve(covariance, x.mT) / linalg.slogdet(covariance)[1] + linalg.inv(covariance).sum()


DYNAMIC = [Case("whitened", _whitened, _r((6, 3))), Case("regressed", _regressed, _r((6, 3)))]


@cases(*SYSTEMS, *FACTORS, *DETERMINANTS, *TRIANGLES, *DYNAMIC)
def test_static(case: Case) -> None:
    check(case)


@cases(*DYNAMIC, DETERMINANTS[0])
def test_dynamic(case: Case) -> None:
    check(case, dynamic=True)
