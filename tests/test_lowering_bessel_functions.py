"""Bessel's and Airy's functions, compared with torch; its own are right to 1e-5 in places."""

from __future__ import annotations

import torch

from tests.lowering import Case, both_ways, check

special = torch.special
_INFINITY = float("inf")


def _line() -> list[torch.Tensor]:
    return [torch.cat([torch.linspace(-40, 40, 81), torch.tensor([1e-5, 12.0, 11.999, 30.0])])]


def _positive() -> list[torch.Tensor]:
    return [torch.cat([torch.linspace(0.01, 60, 61), torch.tensor([2.0, 12.0, 30.0, _INFINITY, 0.0, -1.0])])]


CASES = [
    Case("i0", torch.i0, _line),
    Case("i0e", special.i0e, _line),
    Case("i1", special.i1, _line),
    Case("i1e", special.i1e, _line),
    Case("i0_integers", torch.i0, lambda: [torch.arange(-3, 9)]),
    Case("i0_of_nothing", torch.i0, lambda: [torch.zeros(2, 0, 3)]),
    Case("i0_rank_0", torch.i0, lambda: [torch.tensor(2.5)]),
    Case("modified_bessel_i0", special.modified_bessel_i0, _line),
    Case("modified_bessel_i1", special.modified_bessel_i1, _line),
    Case("modified_bessel_k0", special.modified_bessel_k0, _positive),
    Case("modified_bessel_k1", special.modified_bessel_k1, _positive),
    Case("scaled_modified_bessel_k0", special.scaled_modified_bessel_k0, lambda: [x[:-3] for x in _positive()]),
    Case("scaled_modified_bessel_k1", special.scaled_modified_bessel_k1, lambda: [x[:-3] for x in _positive()]),
    Case("bessel_j0", special.bessel_j0, _line),
    Case("bessel_j1", special.bessel_j1, _line),
    Case("bessel_y0", special.bessel_y0, lambda: [x[x != _INFINITY] for x in _positive()]),
    Case("bessel_y1", special.bessel_y1, lambda: [x[x != _INFINITY] for x in _positive()]),
    Case("spherical_bessel_j0", special.spherical_bessel_j0, lambda: [torch.tensor([0.0, 1.0, -2.0, 50.0, _INFINITY])]),
    Case("airy_ai", special.airy_ai, lambda: [torch.cat([torch.linspace(-20, 12, 65), torch.tensor([2.0, -7.0])])]),
]

test_static, test_dynamic = both_ways(*CASES)


def test_doubles() -> None:
    """Where torch is right to the last digits, so are we."""
    for function in (torch.i0, special.i0e, special.i1, special.i1e):
        check(Case("i", function, lambda: [x.double() for x in _line()]))
    for function in (special.modified_bessel_k0, special.scaled_modified_bessel_k1):
        check(Case("k", function, lambda: [x.double()[:-3] for x in _positive()]))
