"""Norms, variances, and what is scaled by a norm."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F

from tests.lowering import Case, both_ways

aten = torch.ops.aten


def _x() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5)]


def _double() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5, dtype=torch.float64)]


def _half() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5).half()]


def _two() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5), torch.randn(3, 4, 5)]


def _nothing() -> list[torch.Tensor]:
    return [torch.zeros(0, 3)]


def _one() -> list[torch.Tensor]:
    return [torch.randn(1, 3)]


def _weight() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5), torch.rand(3, 1, 1)]


def _last_weight() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5), torch.rand(1, 1, 5)]


ORDERS = [0, 1, 2, 3, 0.5, -1, -2, float("inf"), float("-inf")]

NORMS = [
    *[Case(f"vector_norm {p}", partial(torch.linalg.vector_norm, ord=p), _x) for p in ORDERS],
    *[
        Case(f"vector_norm {p} along", partial(torch.linalg.vector_norm, ord=p, dim=(0, 2), keepdim=True), _x)
        for p in ORDERS
    ],
    *[
        Case(
            f"norm {p} of {rows} by {columns}",
            partial(torch.linalg.norm, ord=p),
            lambda rows=rows, columns=columns: [torch.randn(rows, columns)],
            dynamic=False,
        )
        for p in ("fro", "nuc", 1, -2, 2, float("inf"))
        for rows, columns in ((0, 5), (5, 0), (3, 5))
        if p != -2 or rows * columns
    ],
    Case("norm of all", torch.linalg.norm, _x),
    Case("norm of rows", partial(torch.linalg.norm, dim=1), _x),
    Case("vector_norm is one op", torch.linalg.vector_norm, _x, ops="ReduceL2"),
    Case("vector_norm of a scalar", partial(torch.linalg.vector_norm, ord=3), lambda: [torch.tensor(-2.0)]),
    Case("vector_norm as float64", partial(torch.linalg.vector_norm, dtype=torch.float64, dim=1), _x),
    Case("vector_norm of halves", partial(torch.linalg.vector_norm, dim=1), _half),
    Case(
        "vector_norm of nothing", lambda x: (torch.linalg.vector_norm(x), torch.linalg.vector_norm(x, 1, 0)), _nothing
    ),
    Case("norm", torch.norm, _x, ops="ReduceL2"),
    Case("aten.norm of all", lambda x: aten.norm.Scalar(x, 1), _x, ops="ReduceL1"),
    Case("aten.norm along a dim", lambda x: aten.norm.ScalarOpt_dim(x, 2, [1], True), _x, ops="ReduceL2"),
    Case("aten.norm of a dtype", lambda x: aten.norm.ScalarOpt_dtype(x, None, dtype=torch.float64), _x),
    Case(
        "aten.norm along a dim of a dtype",
        lambda x: aten.norm.ScalarOpt_dim_dtype(x, 3, [1], False, dtype=torch.float64),
        _x,
    ),
    Case("normalize", F.normalize, _x),
    Case("renorm", lambda x: torch.renorm(x, 2, 0, 3.0), _x),
    Case("renorm of order 1", lambda x: torch.renorm(x, 1, -1, 5.0), _half),
]

DISTANCES = [
    Case("dist", torch.dist, _two, ops="Sub ReduceL2"),
    Case("dist of order 1", partial(torch.dist, p=1), _two, ops="Sub ReduceL1"),
    Case("cosine_similarity", F.cosine_similarity, _two, ops="Mul ReduceL2 Max ReduceL2 Max Mul ReduceSum Squeeze Div"),
    Case("cosine_similarity along the last", partial(F.cosine_similarity, dim=-1, eps=0.5), _two),
    Case("cosine_similarity broadcast", lambda x, y: F.cosine_similarity(x, y[:1, :1, :1]), _two),
    Case("cosine_similarity of integers", lambda x, y: F.cosine_similarity((x * 9).int(), y), _two),
    Case("cosine_similarity of halves", lambda x, y: F.cosine_similarity(x.half(), y.half()), _two),
]

WEIGHTS = [
    Case("weight_norm", lambda v, g: torch._weight_norm(v, g, 0), _weight, ops="ReduceL2 Div Mul"),
    Case("weight_norm of another dim", lambda v, g: torch._weight_norm(v, g, 2), _last_weight),
    Case("weight_norm of all", lambda v, g: torch._weight_norm(v, g[0, 0, 0], -1), _weight),
    Case("weight_norm_interface", lambda v, g: aten._weight_norm_interface(v, g, 0), _weight),
    Case("norm_except_dim", lambda v: torch.norm_except_dim(v, 2, 0), _x, ops="ReduceL2"),
]

SPREADS = [
    Case("var", torch.var, _x, ops="ReduceMean Sub ReduceSumSquare Div"),
    Case("std", torch.std, _x, ops="ReduceMean Sub ReduceSumSquare Div Sqrt"),
    Case("aten.var of all", lambda x: aten.var.default(x, False), _x),
    Case("aten.std of all", lambda x: aten.std.default(x), _x),
    Case("aten.var along dims", lambda x: aten.var.dim(x, [1, 2], True, True), _x),
    Case("aten.std along dims", lambda x: aten.std.dim(x, [1], False), _x),
    Case(
        "aten.var_mean",
        lambda x: (aten.var_mean.default(x), aten.var_mean.dim(x, [1]), aten.var_mean.correction(x, [0])),
        _x,
    ),
    Case(
        "aten.std_mean",
        lambda x: (aten.std_mean.default(x), aten.std_mean.dim(x, [1]), aten.std_mean.correction(x, [0])),
        _x,
    ),
    Case("var without correction", lambda x: torch.var(x, (0, 2), correction=0, keepdim=True), _x),
    Case("var with a fraction", lambda x: torch.var(x, 1, correction=1.5), _x),
    Case("var with too large a correction", lambda x: torch.var(x, 1, correction=7), _x),
    Case("std of float64", lambda x: torch.std(x, 1), _double),
    Case("std of halves", lambda x: torch.std(x, 1), _half),
    Case("var of nothing", lambda x: (torch.var(x), torch.var(x, 0), torch.std(x, 0)), _nothing),
    Case("var of one", lambda x: (torch.var(x, 0), torch.var(x, 0, correction=0), torch.std(x, 0)), _one),
    Case("var_mean of nothing", lambda x: torch.var_mean(x, 0), _nothing),
]

ALL = [*NORMS, *DISTANCES, *WEIGHTS, *SPREADS]

test_static, test_dynamic = both_ways(*ALL)
