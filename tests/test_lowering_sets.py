"""Elements counted and told apart."""

from __future__ import annotations

from functools import partial

import torch

from tests.lowering import Case, both_ways

nan = float("nan")
aten = torch.ops.aten


def _ints() -> list[torch.Tensor]:
    return [torch.randint(0, 5, (3, 4))]


def _runs() -> list[torch.Tensor]:
    return [torch.tensor([1, 1, 2, 2, 2, 1, 3, 3])]


def _rows() -> list[torch.Tensor]:
    return [torch.tensor([[1, 2], [1, 2], [0, 2], [1, 2], [1, 2]])]


def _x() -> list[torch.Tensor]:
    return [torch.randn(3, 4)]


def _search() -> list[torch.Tensor]:
    return [torch.tensor([-1.0, 0.0, 0.0, 0.5, 2.0]), torch.tensor([[0.0, -2.0, 3.0], [0.5, nan, 0.4]])]


def _rowwise() -> list[torch.Tensor]:
    return [torch.randn(2, 6).sort(-1).values, torch.randn(2, 3)]


def _points() -> list[torch.Tensor]:
    return [torch.rand(20, 2)]


UNIQUE = [
    Case("unique", torch.unique, _ints),
    Case("unique with all", partial(torch.unique, return_inverse=True, return_counts=True), _ints),
    Case("unique of floats", lambda x: torch.unique(x.round()), _x),
    Case("unique of halves", lambda x: torch.unique(x.round().half(), return_counts=True), _x),
    Case("unique of truths", lambda x: torch.unique(x > 1, return_inverse=True), _ints),
    Case("unique of int32", lambda x: torch.unique(x.int()), _ints),
    Case("unique of a scalar", partial(torch.unique, return_inverse=True), lambda: [torch.tensor(3)]),
    Case("unique rows", partial(torch.unique, dim=0), _rows),
    Case("unique rows with all", partial(torch.unique, dim=0, return_inverse=True, return_counts=True), _rows),
    Case("unique_consecutive", torch.unique_consecutive, _runs),
    Case(
        "unique_consecutive with all", partial(torch.unique_consecutive, return_inverse=True, return_counts=True), _runs
    ),
    Case("unique_dim_consecutive", lambda x: aten.unique_dim_consecutive(x, -1, True, True), _ints),
    Case("unique of old", lambda x: aten._unique(x, True, True), _ints),
    Case("unique_consecutive of a matrix", partial(torch.unique_consecutive, return_inverse=True), _ints),
    Case(
        "unique_consecutive rows",
        partial(torch.unique_consecutive, dim=0, return_inverse=True, return_counts=True),
        _rows,
    ),
]

SEARCHES = [
    Case("searchsorted", torch.searchsorted, _search, fixed=(0,), ops="Unsqueeze GreaterOrEqual Not Cast ReduceSum"),
    Case("searchsorted right", partial(torch.searchsorted, right=True), _search, fixed=(0,)),
    Case(
        "searchsorted on a side, int32", partial(torch.searchsorted, side="right", out_int32=True), _search, fixed=(0,)
    ),
    Case("searchsorted by rows", torch.searchsorted, _rowwise, fixed=(0, 1)),
    Case("searchsorted of a number", lambda s, x: torch.searchsorted(s, 0.5), _search, fixed=(0, 1)),
    Case(
        "searchsorted unsorted",
        lambda s, x: torch.searchsorted(-s, x, sorter=torch.argsort(-s, stable=True)),
        _search,
        fixed=(0,),
    ),
    Case("bucketize", lambda s, x: torch.bucketize(x, s), _search, fixed=(0,)),
    Case("bucketize right, int32", lambda s, x: torch.bucketize(x, s, right=True, out_int32=True), _search, fixed=(0,)),
    Case("bucketize a number", lambda s, x: torch.bucketize(0.1, s), _search, fixed=(0, 1)),
    Case("bucketize integers", lambda x: torch.bucketize(x, torch.tensor([1, 3, 4])), _ints),
]

HISTOGRAMS = [
    Case("bincount", lambda x: torch.bincount(x), lambda: [torch.randint(0, 6, (9,))]),
    Case("bincount with weights", torch.bincount, lambda: [torch.randint(0, 6, (9,)), torch.rand(9)]),
    Case("bincount with float64 weights", torch.bincount, lambda: [torch.randint(0, 6, (9,)), torch.rand(9).double()]),
    Case("bincount of some length", lambda x: torch.bincount(x, minlength=12), lambda: [torch.randint(0, 6, (9,))]),
    Case("histc", lambda x: torch.histc(x, 5), _x),
    Case(
        "histc of a range",
        lambda x: torch.histc(x, 4, -1.0, 1.0),
        lambda: [torch.tensor([-1.0, 1.0, 0.0, 5.0, nan, 0.5])],
    ),
    Case("histc of equals", lambda x: torch.histc(x, 3), lambda: [torch.ones(4)]),
    Case("histogram", lambda x: torch.histogram(x, 5), _x),
    Case("histogram of a range", lambda x: torch.histogram(x, 4, range=(-1.0, 2.0), density=True), _x),
    Case(
        "histogram of edges",
        lambda x, e: torch.histogram(x, e),
        lambda: [torch.randn(3, 4), torch.tensor([-1.0, 0.0, 0.7, 2.0])],
        dynamic=False,
    ),
    Case("histogram with weights", lambda x: torch.histogram(x, 3, weight=x.abs()), _x),
    Case("histogramdd", lambda x: torch.histogramdd(x, [3, 4]), _points, fixed=(1,)),
    Case(
        "histogramdd of as many",
        lambda x: torch.histogramdd(x, 3, range=[0.0, 1.0, 0.2, 0.8], density=True),
        _points,
        fixed=(1,),
    ),
    Case(
        "histogramdd of edges",
        lambda x: torch.histogramdd(x, (torch.tensor([0.0, 0.3, 1.0]), torch.tensor([0.1, 0.5]))),
        _points,
        fixed=(1,),
    ),
    Case("_histogramdd_bin_edges", lambda x: aten._histogramdd_bin_edges(x, [2, 3]), _points, fixed=(1,)),
    Case(
        "_histogramdd_from_bin_cts",
        lambda x: aten._histogramdd_from_bin_cts(x, [2, 3], weight=x[:, 0]),
        _points,
        fixed=(1,),
    ),
    Case(
        "_histogramdd_from_bin_tensors",
        lambda x: aten._histogramdd_from_bin_tensors(x, [torch.tensor([0.0, 0.5, 1.0])] * 2),
        _points,
        fixed=(1,),
    ),
]

ALL = [*UNIQUE, *SEARCHES, *HISTOGRAMS]

test_static, test_dynamic = both_ways(*ALL)
