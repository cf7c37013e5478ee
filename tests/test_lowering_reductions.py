"""Reductions: every overload, its dtypes, dims of all kinds, NaN and nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch

from exporter import export
from tests.lowering import Case, both_ways, ops, session_of

nan, inf = float("nan"), float("inf")


def _x() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5)]


def _ints() -> list[torch.Tensor]:
    return [torch.randint(-5, 5, (3, 4, 5))]


def _truths() -> list[torch.Tensor]:
    return [torch.rand(3, 4) > 0.3]


def _scalar() -> list[torch.Tensor]:
    return [torch.tensor(2.5)]


def _nothing() -> list[torch.Tensor]:
    return [torch.zeros(0, 3)]


def _with_nan() -> list[torch.Tensor]:
    return [torch.tensor([[1.0, nan, 2.0], [nan, -inf, 0.0], [3.0, inf, -1.0]])]


def _as(dtype: torch.dtype) -> list[torch.Tensor]:
    return [torch.randint(0, 9, (3, 4)).to(dtype)]


def _half() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5).half()]


SUMS = [
    Case("sum", torch.sum, _x, ops="ReduceSum"),
    Case("sum of integers", torch.sum, _ints, ops="ReduceSum"),
    Case("sum of int8", torch.sum, partial(_as, torch.int8), ops="Cast ReduceSum"),
    Case("sum of truths", torch.sum, _truths, ops="Cast ReduceSum"),
    Case("sum of halves", torch.sum, _half, ops="ReduceSum"),
    Case("sum as float64", partial(torch.sum, dtype=torch.float64), _x, ops="Cast ReduceSum"),
    Case("sum as int8 wraps", partial(torch.sum, dtype=torch.int8), lambda: [torch.full((3, 4), 50)]),
    Case("sum as int32", partial(torch.sum, dim=0, dtype=torch.int32), _ints, ops="Cast ReduceSum"),
    Case("sum of a scalar", lambda x: x.sum(0), _scalar),
    Case("sum of nothing", lambda x: (x.sum(), x.sum(0)), _nothing),
    Case("sum over dims", lambda x: x.sum((0, -1)), _x, ops="ReduceSum"),
    Case("sum over no dims", lambda x: x.sum(()), _x, ops="ReduceSum"),
    Case("sum keepdim", lambda x: x.sum(1, keepdim=True), _x, ops="ReduceSum"),
    Case("sum at opset 17", lambda x: x.sum(1), _x, opset_version=17, ops="ReduceSum"),
    Case("mean", torch.mean, _x, ops="ReduceMean"),
    Case("mean at opset 17", lambda x: x.mean((0, 1)), _x, opset_version=17, ops="ReduceMean"),
    Case("mean over dims", lambda x: x.mean((1, 2), keepdim=True), _x, ops="ReduceMean"),
    Case("mean of integers", partial(torch.mean, dtype=torch.float32), _ints, ops="Cast ReduceMean"),
    Case("mean of halves", lambda x: x.mean(-1), _half, ops="ReduceMean"),
    Case("mean of nothing", lambda x: (x.mean(), x.mean(0)), _nothing),
    Case("prod", torch.prod, _x, ops="ReduceProd"),
    Case("prod of integers", lambda x: x.prod(1), _ints, ops="ReduceProd"),
    Case("prod of truths", lambda x: x.prod(1, keepdim=True), _truths, ops="Cast ReduceProd"),
    Case("prod of a scalar", lambda x: x.prod(0, dtype=torch.float64), _scalar),
    Case("nansum", torch.nansum, _with_nan),
    Case("nansum over dims", lambda x: x.nansum(1, keepdim=True), _with_nan),
    Case("nansum of integers", torch.nansum, _ints, ops="ReduceSum"),
    Case("mean of what values choose", lambda x: (x[x > 0].mean(), x[x > 9].mean(), x[x[:, 0, 0] > 9].mean(0)), _x),
    Case("mean of halves that values choose", lambda x: (x[x > 0].mean(), x[x > 9].mean()), _half),
    Case("nanmean", lambda x: (x.nanmean(), x.nanmean(0), x.nanmean(1, keepdim=True)), _with_nan),
    Case("nanmean of halves", lambda x: x.half().nanmean(1, dtype=torch.float32), _x),
    Case("logsumexp", lambda x: torch.logsumexp(x, (0, 1)), _x),
    Case("logsumexp keepdim", lambda x: torch.logsumexp(x * 200, 1, keepdim=True), _x),
    Case("logsumexp of halves", lambda x: torch.logsumexp(x * 30, -1), _half),
    Case("logsumexp of integers", lambda x: torch.special.logsumexp(x, 1), _ints),
    Case("logsumexp of a scalar", lambda x: torch.logsumexp(x, 0), _scalar),
    Case(
        "logsumexp of infinities",
        lambda x: torch.logsumexp(x, 1),
        lambda: [
            torch.tensor([[-inf, -200.0, -201.0], [-inf, -inf, -inf], [inf, 1.0, 2.0], [-inf, 100.0, inf], [nan, 0, 1]])
        ],
    ),
]

TRUTHS = [
    Case("all", torch.all, _truths, ops="Cast ReduceMin Cast"),
    Case("any", torch.any, _truths, ops="Cast ReduceMax Cast"),
    Case("any of numbers", torch.any, _x, ops="Cast Cast ReduceMax Cast"),
    Case("any of NaN", lambda x: torch.any(x, 1), _with_nan),
    Case("all of uint8 is uint8", torch.all, partial(_as, torch.uint8)),
    Case("any of uint8 is uint8", lambda x: x.any(0), partial(_as, torch.uint8)),
    Case("all along a dim", lambda x: x.all(1, keepdim=True), _truths),
    Case("all along dims", lambda x: x.all((0, 1)), _ints),
    Case("any along dims", lambda x: torch.any(x, (0, 2)), _ints),
    Case("all along no dims", lambda x: torch.all(x, ()), _truths),
    Case("any along all dims", lambda x: torch.any(x, (0, 1), True), _truths),
    Case("all of a scalar", lambda x: x.all(), _scalar, ops="Cast"),
    Case("all and any of nothing", lambda x: (x.all(), x.any(), x.all(0), x.any(0)), _nothing),
    Case("all at opset 20", lambda x: x.all(1), _truths, opset_version=20, dynamic=False, ops="ReduceMin"),
    Case("count_nonzero", torch.count_nonzero, _ints, ops="Cast Cast ReduceSum"),
    Case("count_nonzero along a dim", lambda x: torch.count_nonzero(x, 1), _with_nan),
    Case("count_nonzero along dims", lambda x: torch.count_nonzero(x, (0, 1)), _ints),
]

EXTREMES = [
    Case("amax", lambda x: x.amax(1), _x, ops="ReduceMax Clip ReduceSum Add"),
    Case("amin", lambda x: x.amin((0, 2), keepdim=True), _x, ops="ReduceMin Clip ReduceSum Add"),
    Case("amax of all", torch.amax, _ints, ops="ReduceMax"),
    Case("amin of truths", lambda x: x.amin(0), _truths, ops="Cast ReduceMin Cast"),
    Case("amax of int16", lambda x: x.amax(0), partial(_as, torch.int16), ops="Cast ReduceMax Cast"),
    Case("amax of halves", lambda x: x.amax(0), _half),
    Case("amax of a scalar", lambda x: x.amax(0), _scalar),
    Case("max and min", lambda x: (x.max(), x.min()), _x),
    Case("max and min of integers", lambda x: (x.max(), x.min()), _ints, ops="ReduceMax ReduceMin"),
    Case("max along a dim", lambda x: x.max(1), _ints, ops="ReduceMax ArgMax"),
    Case("max along a dim, keepdim", lambda x: x.max(-1, keepdim=True), _x),
    Case("min along a dim", lambda x: x.min(0), _half),
    Case("min of a scalar", lambda x: x.min(0), _scalar),
    Case("extremes of NaN", lambda x: (x.amax(0), x.amin(1), x.max(), x.max(0).values), _with_nan),
    Case("extremes of NaN in halves", lambda x: (x.half().amax(0), x.half().amin(1)), _with_nan),
    Case("extremes of NaN in float64", lambda x: (x.double().amax(0), x.double().amin((0, 1))), _with_nan),
    Case("argmax", torch.argmax, _ints, ops="Reshape ArgMax"),
    Case("argmin", lambda x: x.argmin(), _ints),
    Case("argmax along a dim", lambda x: x.argmax(-1), _x, ops="IsNaN Where ArgMax"),
    Case("argmin along a dim", lambda x: x.argmin(0, keepdim=True), _ints, ops="ArgMin"),
    Case("argmax with keepdim and no dim", lambda x: torch.argmax(x, keepdim=True), _x),
    Case("argmax of int16", lambda x: x.argmax(1), partial(_as, torch.int16)),
    Case("argmax of a scalar", lambda x: x.argmax(0), _scalar),
    Case("places of NaN", lambda x: (x.argmax(1), x.argmin(0), x.max(0).indices), lambda: [_with_nan()[0][:2]]),
    Case("aminmax", torch.aminmax, _x),
    Case("aminmax along a dim", lambda x: torch.aminmax(x, dim=1, keepdim=True), _ints, ops="ReduceMin ReduceMax"),
    Case("aminmax of old", lambda x: (*torch._aminmax(x), *torch._aminmax(x, 1, True)), _x),
    Case("aminmax keepdim", lambda x: torch.aminmax(x, keepdim=True), _ints),
]

ALL = [*SUMS, *TRUTHS, *EXTREMES]

test_static, test_dynamic = both_ways(*ALL)


@pytest.mark.parametrize(
    ("fold", "exact", "rounded"),
    [(torch.sum, [2**52, 1, 3], [2**55, 1, 1]), (torch.prod, [3] * 33, [3] * 37)],
    ids=["sum", "prod"],
)
def test_onnxruntime_folds_integers_in_doubles(
    fold: Callable[[torch.Tensor], torch.Tensor], exact: list[int], rounded: list[int]
) -> None:
    """Exact up to 2^53, where torch is exact up to 2^63."""
    for numbers in (exact, rounded):
        x = torch.tensor(numbers)
        (result,) = session_of(export(lambda x: fold(x), (x,))).run(None, {"x": x.numpy()})
        assert float(result) == pytest.approx(float(fold(x)), rel=1e-15)
        assert (int(result) == fold(x).item()) == (numbers is exact)


@pytest.mark.parametrize("fold", [lambda x: x.sum(-1), lambda x: x.sum((0, 2), keepdim=True), torch.sum])
def test_sums_of_products_are_exact(fold: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Hashes are such: far beyond 2^53, and they wrap."""

    def rolling_hash(x: torch.Tensor) -> torch.Tensor:
        return fold(x * torch.tensor(1_000_000_007) ** torch.arange(x.shape[-1]))

    x = torch.randint(-250, 250, (3, 4, 5))
    (result,) = session_of(export(rolling_hash, (x,))).run(None, {"x": x.numpy()})
    assert (torch.from_numpy(result.reshape(rolling_hash(x).shape)) == rolling_hash(x)).all()


def test_masked_sums_are_one_node() -> None:
    x = torch.randint(-250, 250, (3, 4))
    assert ops(export(lambda x: (x * (x > 1)).sum(-1), (x,))) == "Greater Cast Mul ReduceSum"
    assert ops(export(lambda x: (x * 7).sum(-1), (x,))) == "Mul ReduceSum"
