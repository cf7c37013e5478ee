"""Powers and the exponential of a matrix."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tests.lowering import Case, both_ways

linalg = torch.linalg
Shape = tuple[int, ...]


def _r(*shapes: Shape, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> Callable[[], list[torch.Tensor]]:
    return lambda: [torch.randn(shape, dtype=dtype) * scale for shape in shapes]


_POWERS = {0: None, 1: None, 2: "MatMul", 3: "MatMul MatMul", 5: "MatMul MatMul MatMul", -1: None, -3: None}
CASES = [
    *[
        Case(f"power {n}", lambda a, n=n: linalg.matrix_power(a, n), _r((2, 4, 4)), ops, dynamic=n >= 0)
        for n, ops in _POWERS.items()
    ],
    Case("power of integers", lambda a: linalg.matrix_power(a.to(torch.int64), 3), _r((3, 3), scale=3)),
    Case("torch.matrix_power", lambda a: torch.matrix_power(a, 6), _r((3, 3))),
    *[Case(f"exp {scale}", linalg.matrix_exp, _r((2, 4, 4), scale=scale), dynamic=False) for scale in (0.01, 1, 5)],
    Case(
        "exp of a batch",
        lambda a: linalg.matrix_exp(a * torch.tensor([1e-3, 1, 9])[:, None, None]),
        _r((3, 3, 3), dtype=torch.float32),
        dynamic=False,
    ),
    Case("exp of zeros", linalg.matrix_exp, lambda: [torch.zeros(3, 3)]),
    Case("exp float", torch.matrix_exp, _r((5, 5), dtype=torch.float32)),
    Case("exp of a rotation", torch.matrix_exp, lambda: [torch.tensor([[0.0, 1.5], [-1.5, 0.0]])], dynamic=False),
    Case("vander", lambda x: torch.linalg.vander(x, N=4), _r((3,))),
]

test_static, test_dynamic = both_ways(*CASES)
