"""Covariances and correlations."""

from __future__ import annotations

import torch

from tests.lowering import Case, both_ways


def _x() -> list[torch.Tensor]:
    return [torch.randn(3, 6)]


def _counts() -> list[torch.Tensor]:
    return [*_x(), torch.arange(1, 7)]


def _weights() -> list[torch.Tensor]:
    return [*_x(), torch.rand(6)]


CASES = [
    Case("cov", torch.cov, _x),
    Case("cov of a vector", torch.cov, lambda: [torch.randn(6)]),
    Case("cov of one row", torch.cov, lambda: [torch.randn(1, 6)]),
    Case("corrcoef of one row", torch.corrcoef, lambda: [torch.randn(1, 6)]),
    Case("cov of integers", torch.cov, lambda: [torch.randint(9, (3, 6))]),
    Case("cov correction", lambda x: torch.cov(x, correction=0), _x),
    Case("cov counts", lambda x, n: torch.cov(x, fweights=n), _counts, dynamic=False),
    Case("cov weights", lambda x, w: torch.cov(x, aweights=w), _weights, dynamic=False),
    Case("cov both", lambda x, n, w: torch.cov(x, fweights=n, aweights=w), lambda: [*_counts(), torch.rand(6)],
         dynamic=False),
    Case("corrcoef", torch.corrcoef, _x),
    Case("corrcoef of a vector", torch.corrcoef, lambda: [torch.randn(6)]),
]  # fmt: skip

test_static, test_dynamic = both_ways(*CASES)
