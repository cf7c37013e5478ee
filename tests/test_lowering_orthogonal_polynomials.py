"""Orthogonal polynomials whose degree is a tensor."""

from __future__ import annotations

import torch

from aten_lowering.rules.orthogonal_polynomials import FAMILIES
from tests.lowering import Case, both_ways

_NAMES = [str(packet).removeprefix("aten.special_") for packet, *_ in FAMILIES]


def _grid() -> list[torch.Tensor]:
    x = torch.tensor([-2.5, -1.0, -0.7, 0.0, 0.3, 1.0, 1.7])[:, None]
    return [x, torch.tensor([-1.0, 0.0, 1.0, 2.0, 3.7, 5.0, 8.0])]


def _three(packet: object) -> object:
    return lambda x, n: (packet(x, n), packet(x, 3), packet(0.4, n))  # type: ignore[operator]  # an OpOverloadPacket


CASES = [Case(name, _three(packet), _grid) for name, (packet, *_) in zip(_NAMES, FAMILIES, strict=True)]
CASES += [
    Case("of_nothing", torch.special.legendre_polynomial_p, lambda: [torch.zeros(0, 3), torch.arange(3)]),
    Case("of_integers", torch.special.hermite_polynomial_h, lambda: [torch.arange(5), torch.arange(5)]),
]

test_static, test_dynamic = both_ways(*CASES)
