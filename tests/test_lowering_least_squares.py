"""Least squares."""

from __future__ import annotations

from collections.abc import Callable

import torch

from exporter import export
from tests.lowering import Case, cases, check, compare, session_of

linalg = torch.linalg
Shape = tuple[int, ...]


def _r(*shapes: Shape, dtype: torch.dtype = torch.float64) -> Callable[[], list[torch.Tensor]]:
    return lambda: [torch.randn(shape, dtype=dtype) for shape in shapes]


def _ridge(x: torch.Tensor) -> torch.Tensor:
    """All sizes dynamic, and none known to be larger."""
    return linalg.lstsq(x, x[:, :1] + x.shape[0]).solution


class _Module(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _ridge(x)


CASES = [
    Case("lstsq tall", linalg.lstsq, _r((2, 6, 3), (2, 6, 2)), dynamic=False),
    Case("lstsq square", linalg.lstsq, _r((3, 3), (3, 2)), dynamic=False),
    Case("lstsq wide", linalg.lstsq, _r((3, 6), (3, 2)), dynamic=False),
    Case("lstsq vectors", lambda a, b: linalg.lstsq(a, b).solution, _r((2, 6, 3), (2, 6)), dynamic=False),
    Case("lstsq gels", lambda a, b: linalg.lstsq(a, b, driver="gels"), _r((2, 6, 3), (2, 6, 2)), dynamic=False),
    Case("lstsq gelsd", lambda a, b: linalg.lstsq(a, b, driver="gelsd"), _r((2, 6, 3), (2, 6, 2)), dynamic=False),
    Case("lstsq gelss", lambda a, b: linalg.lstsq(a, b, driver="gelss"), _r((3, 6), (3, 2)), dynamic=False),
    Case("dynamic", _ridge, _r((6, 3)), dynamic=False),
]


@cases(*CASES)
def test_static(case: Case) -> None:
    check(case)


def test_dynamic() -> None:
    x = torch.randn(6, 3, dtype=torch.float64)
    program = export(_Module(), (x,), dynamic_shapes={"x": {0: "rows", 1: "columns"}})
    for rows, columns in ((6, 3), (3, 5), (4, 4)):
        compare(session_of(program), _ridge, [torch.randn(rows, columns, dtype=torch.float64)])
