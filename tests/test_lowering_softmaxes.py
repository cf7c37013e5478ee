"""Softmax and its relatives."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F

from tests.lowering import Case, both_ways

inf = float("inf")
aten = torch.ops.aten


def _x() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5)]


def _half() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5).half()]


def _scalar() -> list[torch.Tensor]:
    return [torch.tensor(2.5)]


def _masked() -> list[torch.Tensor]:
    return [torch.randn(2, 3, 4, 4), torch.rand(2, 3, 4, 4) > 0.4]


def _hidden() -> list[torch.Tensor]:
    return [torch.tensor([[1.0, -inf, 2.0], [-inf, -inf, -inf]])]


CASES = [
    Case("softmax", partial(F.softmax, dim=1), _x, ops="Softmax"),
    Case("log_softmax", partial(F.log_softmax, dim=-1), _x, ops="LogSoftmax"),
    Case("softmax of a dtype", partial(F.softmax, dim=-1, dtype=torch.float32), _half, ops="Cast Softmax"),
    Case("log_softmax of a dtype", partial(F.log_softmax, dim=0, dtype=torch.float64), _x, ops="Cast LogSoftmax"),
    Case("softmax of halves", partial(F.softmax, dim=0), _half, ops="Softmax"),
    Case("softmax of a scalar", partial(F.softmax, dim=0), _scalar),
    Case("log_softmax of a scalar", partial(F.log_softmax, dim=0), _scalar),
    Case("softmax of a hidden row is NaN", partial(F.softmax, dim=1), _hidden),
    Case("softmin", partial(F.softmin, dim=1), _x),
    Case("special.softmax", lambda x: torch.special.softmax(x, 1, dtype=torch.float64), _x),
    Case("special.log_softmax", lambda x: torch.special.log_softmax(x, 1), _x),
    Case("_softmax", lambda x: aten._softmax(x, 1, False), _x, ops="Softmax"),
    Case("_log_softmax", lambda x: aten._log_softmax(x, -1, False), _x, ops="LogSoftmax"),
    Case("_safe_softmax", lambda x: aten._safe_softmax(x, 1), _hidden),
    Case("_safe_softmax of a scalar", lambda x: aten._safe_softmax(x, 0, torch.float64), _scalar),
    Case("_masked_softmax", lambda x, m: aten._masked_softmax(x, m, 3, 2), _masked),
    Case("_masked_softmax by keys", lambda x, m: aten._masked_softmax(x, m[:, 0, 0], 3, 1), _masked, fixed=(2, 3)),
    Case("_softmax_backward_data", lambda x: aten._softmax_backward_data(x, x.exp(), 1, torch.float32), _x),
]

test_static, test_dynamic = both_ways(*CASES)
