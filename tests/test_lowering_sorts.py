"""Sorting and selecting by rank.

The places of equal elements are compared only where torch names them: it does not for unstable sorts.
"""

from __future__ import annotations

from functools import partial

import torch

from tests.lowering import Case, both_ways

nan = float("nan")
aten = torch.ops.aten


def _x() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5)]


def _ints() -> list[torch.Tensor]:
    return [torch.randint(-3, 4, (3, 4, 5))]


def _as(dtype: torch.dtype) -> list[torch.Tensor]:
    return [torch.randperm(12).reshape(3, 4).to(dtype)]


def _scalar() -> list[torch.Tensor]:
    return [torch.tensor(2.5)]


def _with_nan() -> list[torch.Tensor]:
    return [torch.tensor([[1.0, nan, 2.0, 7.0], [nan, nan, nan, nan], [3.0, 5.0, -1.0, 4.0]])]


def _values(function):  # the places of equal elements differ once dims have grown
    return lambda x: function(x)[0]


SORTS = [
    Case("sort", torch.sort, _x, ops="TopK", dynamic=False),
    Case("sort values", _values(torch.sort), _x, ops="TopK"),
    Case("stable sort", lambda x: torch.sort(x, stable=True, dim=1), _ints, ops="TopK"),
    Case("stable descending sort", lambda x: torch.sort(x, stable=True, dim=0, descending=True), _ints, ops="TopK"),
    Case("sort of truths", lambda x: torch.sort(x > 0, stable=True), _x),
    Case("sort of a scalar", torch.sort, _scalar),
    *[
        Case(f"sort of {d}", torch.sort, partial(_as, d), dynamic=False)
        for d in (torch.int8, torch.uint8, torch.int16, torch.float16)
    ],
    Case("argsort", lambda x: x.argsort(1), _x, dynamic=False),
    Case("stable argsort", lambda x: torch.argsort(x, dim=-1, stable=True, descending=True), _ints),
    Case("aten.argsort", lambda x: aten.argsort.default(x, 0, True), _x, dynamic=False),
    Case("msort", torch.msort, _x, ops="TopK"),
    Case("topk", lambda x: torch.topk(x, 2), _x, ops="TopK", dynamic=False),
    Case("topk values", lambda x: torch.topk(x, 3, 1, largest=False).values, _x, ops="TopK"),
    Case("topk of a scalar", lambda x: torch.topk(x, 1), _scalar),
    Case("topk of half the size", lambda x: torch.topk(x, x.shape[1] // 2, 1).values, _x),
    Case("kthvalue", lambda x: torch.kthvalue(x, 2, 1), _x, dynamic=False),
    Case("kthvalue values", lambda x: torch.kthvalue(x, 2, 1, keepdim=True).values, _ints),
    Case("kthvalue of a scalar", lambda x: torch.kthvalue(x, 1), _scalar),
]

MEDIANS = [
    Case("median", torch.median, _x),
    Case("median of integers", torch.median, _ints),
    Case("median along a dim", lambda x: torch.median(x, 1), _x, dynamic=False),
    Case("median values", lambda x: torch.median(x, 2, keepdim=True).values, _ints),
    Case(
        "median of NaN",
        lambda x: (torch.median(x), torch.median(x, 1)[0], torch.median(x, 0)[1]),
        _with_nan,
        dynamic=False,
    ),
    Case("median of nothing", torch.median, lambda: [torch.zeros(0)]),
    Case("median of a scalar", lambda x: torch.median(x, 0), _scalar),
    Case("nanmedian", torch.nanmedian, _with_nan),
    Case("nanmedian along a dim", lambda x: torch.nanmedian(x, 1)[0], _with_nan),
    Case("nanmedian keepdim", lambda x: torch.nanmedian(x, 0, keepdim=True), _with_nan, dynamic=False),
    Case("nanmedian of integers", lambda x: torch.nanmedian(x, 0)[0], _ints),
    Case("mode", lambda x: torch.mode(x, 1), _ints),
    Case("mode keepdim", lambda x: torch.mode(x, -1, keepdim=True), _ints),
    Case("mode of floats", lambda x: torch.mode(x.round(), 0), _x),
    Case("mode of truths", lambda x: torch.mode(x > 0, 0), _x),
    Case("mode of a scalar", torch.mode, _scalar),
]

INTERPOLATIONS = ["linear", "lower", "higher", "nearest", "midpoint"]
QUANTILES = [
    *[Case(f"quantile {i}", lambda x, i=i: torch.quantile(x, 0.3, 1, interpolation=i), _x) for i in INTERPOLATIONS],
    Case("quantile of all", lambda x: torch.quantile(x, 0.75), _x),
    Case("quantiles", lambda x: torch.quantile(x, torch.tensor([0.0, 0.4, 1.0]), 1), _x),
    Case("quantiles keepdim", lambda x: torch.quantile(x, torch.tensor([0.1, 0.9]), 0, keepdim=True), _x),
    Case("quantiles of all keepdim", lambda x: torch.quantile(x, torch.tensor([0.1, 0.9]), keepdim=True), _x),
    Case("quantile of a scalar", lambda x: torch.quantile(x, 0.5), _scalar),
    Case("quantile of NaN", lambda x: torch.quantile(x, 0.5, 1), _with_nan),
    Case("nanquantile", lambda x: torch.nanquantile(x, 0.5, 1), _with_nan),
    Case("nanquantiles", lambda x: torch.nanquantile(x, torch.tensor([0.2, 0.6]), 1, keepdim=True), _with_nan),
]

ALL = [*SORTS, *MEDIANS, *QUANTILES]

test_static, test_dynamic = both_ways(*ALL)
