"""The gamma function's kin, compared with torch at the accuracy of each dtype."""

from __future__ import annotations

import torch

from tests.lowering import Case, both_ways, cases, check

special = torch.special


def _line() -> list[torch.Tensor]:
    return [torch.cat([torch.linspace(-9.3, 30, 77), torch.tensor([0.5, 1.0, 2.0, 8.0, 9.0, 1e4])])]


def _special() -> list[torch.Tensor]:
    return [torch.tensor([float("inf"), float("-inf"), float("nan"), 0.0, -0.0, 1e30, -1.0, -2.0])]


def _pairs() -> list[torch.Tensor]:
    a = torch.tensor([0.5, 1.0, 3.0, 10.0, 50.0, 200.0, 0.0, 2.0, 0.0, float("inf"), -1.0])[:, None]
    return [a, torch.tensor([0.0, 0.1, 1.0, 3.5, 11.0, 60.0, 190.0, float("inf"), -1.0])]


def _zetas() -> list[torch.Tensor]:
    s = torch.tensor([1.0, 1.5, 2.0, 3.0, 8.0, 0.5])[:, None]
    return [s, torch.tensor([0.3, 1.0, 2.5, 9.0, 20.0, -0.5, -1.0, -20.25, 0.0])]


CASES = [
    Case("lgamma", torch.lgamma, _line),
    Case("lgamma_special", torch.lgamma, _special),
    Case("lgamma_integers", torch.lgamma, lambda: [torch.arange(1, 9)]),
    Case("mvlgamma", lambda x: torch.mvlgamma(x + 3, 3), lambda: [torch.rand(3, 4)]),
    Case("digamma", torch.digamma, _line),
    Case("digamma_special", torch.digamma, lambda: [x[2:] for x in _special()]),
    Case("polygamma_0", lambda x: torch.polygamma(0, x), _line),
    Case("polygamma_1", lambda x: torch.polygamma(1, x), _line),
    Case("polygamma_2", lambda x: torch.polygamma(2, x), _line),
    Case("polygamma_4", lambda x: torch.polygamma(4, x), _line),
    Case("zeta", special.zeta, _zetas),
    Case("zeta_number", lambda s, q: special.zeta(s, 2.5), _zetas),
    Case("number_zeta", lambda s, q: special.zeta(3.0, q), _zetas),
    Case("igamma", torch.igamma, _pairs),
    Case("igammac", torch.igammac, _pairs),
    Case("igamma_of_nothing", torch.igamma, lambda: [torch.zeros(0, 3), torch.zeros(3)]),
]

test_static, test_dynamic = both_ways(*CASES)


@cases(*(case for case in CASES if case.inputs()[0].is_floating_point()))
def test_doubles(case: Case) -> None:
    check(Case(case.name, case.function, lambda: [x.double() for x in case.inputs()]))
