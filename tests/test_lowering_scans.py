"""Running sums, products, extremes."""

from __future__ import annotations

from functools import partial

import torch

from tests.lowering import Case, both_ways

nan, inf = float("nan"), float("inf")


def _x() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5)]


def _ints() -> list[torch.Tensor]:
    return [torch.randint(-3, 4, (3, 4, 5))]


def _truths() -> list[torch.Tensor]:
    return [torch.rand(3, 4) > 0.5]


def _half() -> list[torch.Tensor]:
    return [torch.randn(3, 4).half()]


def _scalar() -> list[torch.Tensor]:
    return [torch.tensor(2.5)]


def _odd() -> list[torch.Tensor]:
    return [
        torch.tensor(
            [[1.0, 3.0, nan, 2.0, nan, 5.0], [inf, -inf, 2.0, inf, 2.0, 2.0], [-inf, -inf, -2.0, 1.0, 1.0, 0.0]]
        )
    ]


CASES = [
    Case("cumsum", partial(torch.cumsum, dim=1), _x, ops="CumSum"),
    Case("cumsum of integers", partial(torch.cumsum, dim=-1), _ints, ops="CumSum"),
    Case("cumsum of truths", partial(torch.cumsum, dim=0), _truths, ops="Cast CumSum"),
    Case("cumsum of halves", partial(torch.cumsum, dim=0), _half),
    Case("cumsum as int32", partial(torch.cumsum, dim=0, dtype=torch.int32), _ints, ops="Cast CumSum"),
    Case("cumsum as int8 wraps", partial(torch.cumsum, dim=0, dtype=torch.int8), lambda: [torch.full((5,), 50)]),
    Case("cumsum of a scalar", partial(torch.cumsum, dim=0), _scalar),
    Case("cumprod", partial(torch.cumprod, dim=1), _x, ops="Scan"),
    Case("cumprod of integers", partial(torch.cumprod, dim=-1), _ints, ops="Scan"),
    Case("cumprod of truths", partial(torch.cumprod, dim=0), _truths),
    Case("cumprod of halves", partial(torch.cumprod, dim=1), _half),
    Case("cumprod as int32", partial(torch.cumprod, dim=1, dtype=torch.int32), _ints),
    Case("cumprod of a scalar", partial(torch.cumprod, dim=0), _scalar),
    Case("cummax", partial(torch.cummax, dim=1), _x, ops="Scan"),
    Case("cummin", partial(torch.cummin, dim=-1), _x, ops="Scan"),
    Case("cummax of integers", partial(torch.cummax, dim=0), _ints, ops="Scan"),
    Case("cummin of truths", partial(torch.cummin, dim=0), _truths),
    Case("cummin of halves", partial(torch.cummin, dim=0), _half),
    Case("cummax of a scalar", partial(torch.cummax, dim=0), _scalar),
    Case("cummax of NaN and infinities", partial(torch.cummax, dim=1), _odd),
    Case("cummin of NaN and infinities", partial(torch.cummin, dim=1), _odd),
    Case("logcumsumexp", partial(torch.logcumsumexp, dim=1), _x, ops="Scan"),
    Case("inner logcumsumexp", lambda x: torch._logcumsumexp(x, 1), _x, ops="Scan"),
    Case("logcumsumexp without overflow", lambda x: torch.logcumsumexp(x * 1000, 0), _x),
    Case("logcumsumexp of halves", partial(torch.logcumsumexp, dim=1), _half),
    Case("logcumsumexp of NaN and infinities", partial(torch.logcumsumexp, dim=1), _odd),
    Case("logcumsumexp of a scalar", partial(torch.logcumsumexp, dim=0), _scalar),
    Case("hash_tensor", torch.hash_tensor, _ints),
    Case("hash_tensor along dims", lambda x: torch.hash_tensor(x, (0, 2), keepdim=True), _ints),
    Case("hash_tensor of floats", lambda x: torch.hash_tensor(x, 1), lambda: [torch.randn(3, 4)]),
    Case("hash_tensor of halves", torch.hash_tensor, lambda: [torch.randn(3, 4).half()]),
    Case("hash_tensor of truths", lambda x: torch.hash_tensor(x, 1), _truths),
    Case("diff", torch.diff, _x),
    Case("trapezoid", torch.trapezoid, _x),
    Case("cumulative_trapezoid", torch.cumulative_trapezoid, _x),
]

test_static, test_dynamic = both_ways(*CASES)
