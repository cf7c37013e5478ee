"""The bits of numbers as another element type reads them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch

from exporter.errors import LoweringError
from tests.lowering import Case, both_ways, check

_FLOATS = (torch.float64, torch.float32, torch.float16)
_INTEGERS = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)
_SPECIAL = [0.0, -0.0, 1.0, -1.5, math.inf, -math.inf, math.nan, 65504.0, -3.4e38, 1.7e308, 0.1, 0.99999994]
_TINY = [1e-40, -1e-45, 5e-324, -2.2e-308, 6e-8, 2.0**-126, 2.0**-1022, -(2.0**-14), 2.0**-15, 1.9999999, 7.0, -9.0]


def _numbers(dtype: torch.dtype) -> Callable[[], list[torch.Tensor]]:
    """[2, 24]: special floats and those near them, or any bits at all."""
    if dtype.is_floating_point:
        return lambda: [torch.tensor([_SPECIAL + _TINY, _TINY + _SPECIAL], dtype=torch.float64).to(dtype)]
    words = 3 * dtype.itemsize
    return lambda: [torch.randint(-(2**63), 2**63 - 1, (2, words), dtype=torch.int64).view(dtype)]


def _halves(x: torch.Tensor) -> torch.Tensor:
    """In bfloat16, without NaN, of which eager makes other bits when it casts many at once."""
    return torch.where(x.isnan(), 0.5, x).to(torch.bfloat16)


CASES = [
    *(
        Case(f"{old}_as_{new}".replace("torch.", ""), lambda x, new=new: x.view(new), _numbers(old), fixed=(1,))
        for old, new in itertools.permutations((*_FLOATS, *_INTEGERS), 2)
    ),
    *(
        Case(f"bfloat16_as_{new}".replace("torch.", ""), lambda x, new=new: _halves(x).view(new),
             _numbers(torch.float32), fixed=(1,))
        for new in (torch.int16, torch.uint8, torch.float32)
    ),
    Case("int16_as_bfloat16", lambda x: x.view(torch.bfloat16).float(), _numbers(torch.int16)),
    Case("bools", lambda x: (x > 0).view(torch.int8), _numbers(torch.float32), ops="Greater Cast"),
    Case("bytes_as_bools", lambda x: (x & 1).view(torch.bool), _numbers(torch.uint8)),
    Case("integers_of_one_width", lambda x: x.view(torch.uint8), _numbers(torch.int8), ops="Cast"),
    Case("open_width", lambda x: x.view(torch.uint8), _numbers(torch.int32)),
    Case("rounded_to_bfloat16", lambda x: ((x.view(torch.int32) + 0x8000) & -0x10000).view(torch.float32),
         lambda: [torch.randn(3, 4)]),
    Case("packed_halves", lambda x: x.view(torch.uint8).reshape(-1, 4).flip(1).contiguous().view(torch.int32),
         lambda: [torch.randn(3, 4)]),
]  # fmt: skip

test_static, test_dynamic = both_ways(*CASES)


def test_types_without_arithmetic_are_refused() -> None:
    words = (
        "view.dtype: the dtypes must be integers or floats of 16 bits or more, got FLOAT8E4M3FN\n  hint: use tensor.to"
    )
    with pytest.raises(LoweringError, match=words):
        check(Case("bytes", lambda x: x.view(torch.float8_e4m3fn), lambda: [torch.zeros(3, dtype=torch.uint8)]))
