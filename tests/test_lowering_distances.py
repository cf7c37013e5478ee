"""Distances between rows, and functions of matrices."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from tests.lowering import Case, both_ways

aten = torch.ops.aten
Shape = tuple[int, ...]


def _r(*shapes: Shape, dtype: torch.dtype = torch.float32) -> Callable[[], list[torch.Tensor]]:
    return lambda: [torch.randn(shape, dtype=dtype) for shape in shapes]


_ORDERS = (0.0, 1.0, 2.0, 3.0, 0.5, float("inf"))
CDIST = [
    *[Case(f"cdist {p}", lambda a, b, p=p: torch.cdist(a, b, p), _r((2, 4, 3), (2, 5, 3))) for p in _ORDERS],
    Case("cdist ops", torch.cdist, _r((4, 3), (5, 3)), ops="Unsqueeze Sub ReduceL2"),
    Case("cdist of itself", lambda a: torch.cdist(a, a), _r((6, 3))),
    Case("cdist many rows", torch.cdist, _r((2, 4, 3), (2, 30, 3)), fixed=(1,)),
    Case("cdist by product", lambda a, b: torch.cdist(a, b, compute_mode="use_mm_for_euclid_dist"), _r((4, 3), (5, 3))),
    Case(
        "cdist exactly",
        lambda a, b: torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist"),
        _r((4, 3), (30, 3)),
    ),
    Case("cdist broadcast", torch.cdist, _r((7, 1, 4, 3), (2, 5, 3))),
    Case("cdist of nothing", torch.cdist, _r((4, 0), (5, 0)), dynamic=False),
    Case("cdist_forward", lambda a, b: aten._cdist_forward(a, b, 1.0, None), _r((2, 4, 3), (2, 5, 3))),
    Case("euclidean_dist", aten._euclidean_dist, _r((4, 3), (5, 3))),
]
OTHERS = [
    *[
        Case(f"pdist {p}", lambda a, p=p: functional.pdist(a, p), _r((4, 3)))
        for p in (0.0, 1.0, 2.0, 3.0, float("inf"))
    ],
    Case("pdist_forward", lambda a: aten._pdist_forward(a, 2.0), _r((4, 3))),
    Case("pairwise_distance", functional.pairwise_distance, _r((4, 3), (4, 3))),
    Case(
        "pairwise_distance keepdim",
        lambda a, b: functional.pairwise_distance(a, b, p=1, keepdim=True),
        _r((4, 3), (4, 3)),
    ),
]

test_static, test_dynamic = both_ways(*CDIST, *OTHERS)
