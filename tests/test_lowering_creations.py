"""Tensors made from numbers."""

from __future__ import annotations

import pytest
import torch

from tests.lowering import Case, both_ways, check

aten = torch.ops.aten


def _x() -> list[torch.Tensor]:
    return [torch.randn(3, 4)]


def _ends() -> list[torch.Tensor]:
    return [torch.tensor(-1.5), torch.tensor(4.0)]


FILLED = [
    Case("zeros", lambda x: torch.zeros(x.shape[0], 2, dtype=x.dtype) + x[:, :2], _x),
    Case("ones", lambda x: torch.ones(x.shape) * x, _x),
    Case("empty", lambda x: torch.empty(x.shape[0], 5).fill_(2.0) + x[:, :1], _x),
    Case("empty_strided", lambda x: aten.empty_strided([x.shape[0], 2], [2, 1]).zero_() + x[:, :2], _x),
    Case("empty_permuted", lambda x: aten.empty_permuted([x.shape[0], 2], [0, 1]).zero_() + x[:, :2], _x),
    Case("full", lambda x: torch.full((x.shape[0], x.shape[1]), 2.5) + x, _x),
    Case("full_integer", lambda x: torch.full((x.shape[0], 4), 2), _x),
    Case("full_bool", lambda x: torch.full((x.shape[0], 4), True), _x),
    Case("full_size", lambda x: torch.full((2,), x.shape[0]), _x),
    Case("full_item", lambda x, n: torch.full((3,), n.item()), lambda: [torch.randn(2), torch.tensor(2.5)]),
    Case("full_item_size", lambda x, n: torch.full((n.item(),), 7), lambda: [torch.randn(2), torch.tensor(3)]),
    Case("large", lambda x: torch.zeros(2, 1000) + x, lambda: [torch.randn(1000)], dynamic=False),
    Case("zeros_like", lambda x: torch.zeros_like(x) + 1, _x),
    Case("zeros_like_dtype", lambda x: torch.zeros_like(x, dtype=torch.int32), _x),
    Case("ones_like", lambda x: torch.ones_like(x), _x),
    Case("empty_like", lambda x: torch.empty_like(x).fill_(1.0), _x),
    Case("full_like", lambda x: torch.full_like(x, 3), _x),
    Case("new_zeros", lambda x: x.new_zeros(x.shape[0], 7), _x),
    Case("new_ones", lambda x: x.new_ones(x.shape[0], dtype=torch.int64), _x),
    Case("new_empty", lambda x: x.new_empty(x.shape[0], 3).fill_(4.0), _x),
    Case("new_empty_strided", lambda x: x.new_empty_strided([x.shape[0], 2], [2, 1]).fill_(1.0), _x),
    Case("new_full", lambda x: x.new_full((x.shape[1],), 2.5), _x),
    Case("fill", lambda x: aten.fill.Scalar(x, 2), _x),
    Case("fill_tensor", lambda x, y: aten.fill.Tensor(x, y), lambda: [torch.randn(3, 4), torch.tensor(2)]),
    Case("zero", lambda x: aten.zero(x), _x),
    Case("scalar_tensor", lambda x: x + torch.scalar_tensor(x.shape[0], dtype=torch.int32), _x),
    Case("scalar_tensor_item", lambda x, y: torch.scalar_tensor(y.item()), lambda: [torch.randn(2), torch.tensor(2.5)]),
    Case("eye", lambda x: torch.eye(x.shape[0]) @ x, _x),
    Case("eye_rectangle", lambda x: torch.eye(x.shape[1], 6, dtype=torch.bool), _x),
    Case("eye_large", lambda x: torch.eye(50, dtype=torch.float16)[0] + x.half()[0, 0], _x),
    Case("tril_indices", lambda x: torch.tril_indices(3, 4, 1), _x),
    Case("triu_indices", lambda x: torch.triu_indices(40, 4, dtype=torch.int32), _x),
]
RANGES = [
    Case("arange", lambda x: torch.arange(x.shape[0]), _x),
    Case(
        "range", lambda x: (torch.range(1, 4), torch.range(0, 1, 0.3), torch.range(5, 1, -1, dtype=torch.int64), x), _x
    ),
    Case("range to a size", lambda x: torch.range(0, x.shape[0]), _x),
    Case("arange_start", lambda x: torch.arange(1, x.shape[0]), _x),
    Case("arange_step", lambda x: torch.arange(0, x.shape[1], 2), _x),
    Case("arange_down", lambda x: torch.arange(x.shape[0], 0, -1), _x),
    Case("arange_reverses", lambda x: x[torch.arange(x.shape[0] - 1, -1, -1)], _x),
    Case("arange_from_behind", lambda x: x[torch.arange(-x.shape[0], 0)], _x),
    Case("arange_down_by_2", lambda x: torch.arange(x.shape[1], -x.shape[0], -2), _x),
    Case("arange_float", lambda x: torch.arange(0.0, x.shape[0], dtype=torch.float32), _x),
    Case("arange_float_step", lambda x: torch.arange(0, x.shape[0], 0.1), _x),
    Case("arange_half_size", lambda x: torch.arange(x.shape[0] / 2), _x),
    Case("arange_int32", lambda x: torch.arange(x.shape[0], dtype=torch.int32), _x),
    Case("arange_item", lambda n: torch.arange(n.item()), lambda: [torch.tensor(5)]),
    Case("arange_items", lambda a, b: torch.arange(a.item(), b.item(), 2), lambda: [torch.tensor(1), torch.tensor(8)]),
    Case("arange_float_item", lambda n: torch.arange(n.item()), lambda: [torch.tensor(4.5)]),
    Case(
        "arange_large",
        lambda x: torch.arange(2000) + x.long(),
        lambda: [torch.randn(2000)],
        ops="Cast Add",
        dynamic=False,
    ),
    Case("arange_large_fraction", lambda x: torch.arange(0, 200, 0.1) + x, lambda: [torch.randn(2000)], dynamic=False),
    Case("linspace", lambda x: torch.linspace(0, 1, 4) + x, _x, ops="Add", fixed=(1,)),
    Case("linspace_tensors", lambda a, b: torch.linspace(a, b, 7), _ends),
    Case("linspace_to_tensor", lambda a, b: torch.linspace(-2.0, b, 7), _ends),
    Case("linspace_from_tensor", lambda a, b: torch.linspace(a, 2.0, 7), _ends),
    Case("linspace_items", lambda a, b: torch.linspace(a.item(), b.item(), 7), _ends),
    Case("linspace_one", lambda a, b: torch.linspace(a, b, 1), _ends),
    Case("linspace_integers", lambda a, b: torch.linspace(a, b, 6, dtype=torch.int64), _ends),
    Case("logspace", lambda x: torch.logspace(0, 1, 4, 2.0) + x, _x, ops="Add", fixed=(1,)),
    Case("logspace_tensors", lambda a, b: torch.logspace(a, b, 5), _ends),
    Case("logspace_to_tensor", lambda a, b: torch.logspace(-1.0, b, 5), _ends),
    Case("logspace_from_tensor", lambda a, b: torch.logspace(a, 2.0, 5, 2.0), _ends),
]
WINDOWS = [
    *(
        Case(f"{name}_{periodic}", lambda x, f=getattr(torch, name), p=periodic: x * f(1200, p), lambda: [torch.randn(1200)], dynamic=False)
        for name in ("bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window")
        for periodic in (True, False)
    ),
    *(
        Case(f"{name}_default", lambda x, f=getattr(torch, name): x * f(1200), lambda: [torch.randn(1200)], dynamic=False)
        for name in ("bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window")
    ),
    Case("hamming_alpha", lambda x: x * torch.hamming_window(1200, True, 0.5), lambda: [torch.randn(1200)], dynamic=False),
    Case("hamming_beta", lambda x: x * torch.hamming_window(1200, True, 0.5, 0.4), lambda: [torch.randn(1200)], dynamic=False),
    Case("kaiser_beta", lambda x: x * torch.kaiser_window(1200, True, 5.0), lambda: [torch.randn(1200)], dynamic=False),
]  # fmt: skip
CASES = FILLED + RANGES + WINDOWS

test_static, test_dynamic = both_ways(*CASES)


@pytest.mark.parametrize("opset_version", [17, 20, 22, 24])
def test_every_opset(opset_version: int) -> None:
    def call(x: torch.Tensor) -> list[torch.Tensor]:
        n = x.shape[0]
        return [torch.zeros_like(x), torch.arange(n), torch.eye(n), torch.full((n, 2), 3), torch.arange(0, n, 0.5)]

    check(Case("all", call, _x, opset_version=opset_version), dynamic=True)
