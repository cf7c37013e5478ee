"""The error function and its kin, compared with torch at the accuracy of each dtype."""

from __future__ import annotations

import torch

from tests.lowering import Case, both_ways, cases, check

special = torch.special


def _line() -> list[torch.Tensor]:
    ends = torch.tensor([float("inf"), float("-inf"), float("nan"), 0.0, 1.0, -1.0, 1e-6, -1e-9])
    return [torch.cat([torch.linspace(-8, 8, 41), ends])]


def _unit() -> list[torch.Tensor]:
    ends = torch.tensor([1.0, -1.0, 1.5, 0.0, 1e-6, -9e-4, 1.1e-3, 0.999999])
    return [torch.cat([torch.linspace(-0.99, 0.99, 31), ends])]


CASES = [
    Case("erf", torch.erf, _line, ops="Erf"),
    Case("erf_integers", torch.erf, lambda: [torch.arange(-2, 3)], ops="Cast Erf"),
    Case("erfc", torch.erfc, _line),
    Case("erfcx", special.erfcx, lambda: [x[:41] for x in _line()]),
    Case("erfcx_integers", special.erfcx, lambda: [torch.arange(-3, 9)]),
    Case("ndtr", special.ndtr, _line),
    Case("log_ndtr", special.log_ndtr, lambda: [x[x > -30] for x in _line()]),
    Case("ndtri", special.ndtri, lambda: [(x + 1) / 2 for x in _unit()]),
    Case("erfinv", torch.erfinv, _unit),
    Case("erfc_of_nothing", torch.erfc, lambda: [torch.zeros(2, 0, 3)]),
    Case("erfc_rank_0", torch.erfc, lambda: [torch.tensor(0.3)]),
]

test_static, test_dynamic = both_ways(*CASES)


@cases(*(case for case in CASES if case.inputs()[0].is_floating_point()))
def test_doubles(case: Case) -> None:
    check(Case(case.name, case.function, lambda: [x.double() for x in case.inputs()]))
