"""Reductions of neighbouring runs."""

from __future__ import annotations

import itertools

import torch

from tests.lowering import Case, both_ways

REDUCTIONS = ["sum", "mean", "prod", "max", "min"]


def _lengths() -> list[torch.Tensor]:
    return [torch.randn(7, 3), torch.tensor([2, 0, 4, 1])]


CASES = [
    *[
        Case(
            f"segment_reduce {r}, initial {i}",
            lambda x, n, r=r, i=i: torch.segment_reduce(x, r, lengths=n, initial=i),
            _lengths,
            fixed=(0,),
        )
        for r, i in itertools.product(REDUCTIONS, [None, 0.5])
        if not (r == "mean" and i)
    ],
    Case(
        "segment_reduce by limits",
        lambda x, n: torch.segment_reduce(x, "sum", offsets=torch.tensor([0, 2, 2, 7])),
        _lengths,
        fixed=(0,),
    ),
    Case(
        "segment_reduce of rows",
        lambda x, n: torch.segment_reduce(x, "max", lengths=n, axis=1),
        lambda: [torch.randn(2, 4), torch.tensor([[1, 3], [2, 2]])],
        dynamic=False,
    ),
]

test_static, test_dynamic = both_ways(*CASES)
