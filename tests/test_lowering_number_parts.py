"""Common divisors, mantissas and exponents, the next float."""

from __future__ import annotations

import torch

from tests.lowering import Case, cases, check


def _integers() -> list[torch.Tensor]:
    return [torch.tensor([[12, -18, 0], [7, 64, 2**40]]), torch.tensor([18, 0, 48])]


def _floats(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    info, inf = torch.finfo(dtype), float("inf")
    x = [
        1.0,
        -1.0,
        0.0,
        -0.0,
        3.7,
        -1e-3,
        info.max,
        info.tiny,
        info.smallest_normal / 4,
        inf,
        -inf,
        float("nan"),
        2.0,
        1.0,
    ]
    y = [2.0, -inf, 1.0, -1.0, 0.0, 0.0, inf, 0.0, 1.0, 0.0, 0.0, 1.0, 2.0, float("nan")]
    return [torch.tensor(x, dtype=torch.float64).to(dtype), torch.tensor(y, dtype=torch.float64).to(dtype)]


CASES = [
    Case("gcd", torch.gcd, _integers),
    Case("gcd_int8", lambda a, b: torch.gcd(a.char(), b.char()), _integers),
    Case("gcd_of_nothing", lambda a, b: torch.gcd(a[:0], b), _integers),
    Case("lcm", torch.lcm, _integers),
    Case("lcm_int32", lambda a, b: torch.lcm(a.int(), b.int()), _integers),
    Case("nextafter", torch.nextafter, _floats),
    Case("nextafter_half", torch.nextafter, lambda: _floats(torch.float16)),
    Case("nextafter_double", torch.nextafter, lambda: _floats(torch.float64)),
]
PARTS = [
    Case("frexp", lambda x: tuple(torch.frexp(x[:9])), lambda: _floats()[:1], dynamic=False),
    Case("frexp_half", lambda x: tuple(torch.frexp(x[:9])), lambda: _floats(torch.float16)[:1], dynamic=False),
    Case("frexp_double", lambda x: tuple(torch.frexp(x[:9])), lambda: _floats(torch.float64)[:1], dynamic=False),
    Case("frexp_powers", lambda x: tuple(torch.frexp(x)), lambda: [2.0 ** torch.arange(-126.0, 128.0)], dynamic=False),
    Case("frexp_special", lambda x: torch.frexp(x)[0], lambda: _floats()[:1], dynamic=False),
]


@cases(*CASES, *PARTS)
def test_static(case: Case) -> None:
    check(case)


@cases(*CASES)
def test_dynamic(case: Case) -> None:
    check(case, dynamic=True)
