"""Attention: masks, causal, grouped heads, every rank."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention as attention

from tests.lowering import Case, both_ways

aten = torch.ops.aten
Shape = tuple[int, ...]


def _qkv(*shapes: Shape, dtype: torch.dtype = torch.float32) -> Callable[[], list[torch.Tensor]]:
    return lambda: [torch.randn(shape).to(dtype) for shape in shapes]


def _masked(*shape: int, empty: bool = True, kind: str = "bool") -> Callable[[], list[torch.Tensor]]:
    """Query, key and value of two heads, and a mask with (if `empty`) a row without any key."""

    def make() -> list[torch.Tensor]:
        mask = torch.rand(shape) > 0.4
        mask[..., 0] = True
        if empty:
            mask[..., 1, :] = False
        low = -math.inf if kind == "float" else torch.finfo(torch.float32).min
        given = mask if kind == "bool" else torch.zeros(shape).masked_fill(~mask, low)
        return [torch.randn(2, 3, 4, 8), torch.randn(2, 3, 5, 8), torch.randn(2, 3, 5, 6), given]

    return make


def _grouped(*mask: int) -> Callable[[], list[torch.Tensor]]:
    def make() -> list[torch.Tensor]:
        tensors = [torch.randn(2, 6, 4, 8), torch.randn(2, 3, 5, 8), torch.randn(2, 3, 5, 7)]
        return [*tensors, torch.rand(mask) > 0.5] if mask else tensors

    return make


def _with(**options: Any) -> Callable[..., Any]:
    return lambda q, k, v, mask=None: attention(q, k, v, mask, **options)


def _biased(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    return attention(q, k, v, torch.matmul(q, table))


_4D = ((2, 3, 4, 8), (2, 3, 5, 8), (2, 3, 5, 6))
_SCORES = "Mul Transpose MatMul"
CASES = [
    Case("plain", attention, _qkv(*_4D), ops=f"{_SCORES} Softmax MatMul"),
    Case("rank 2", attention, _qkv(*(s[2:] for s in _4D))),
    Case("rank 3", attention, _qkv(*(s[1:] for s in _4D)), ops=f"{_SCORES} Softmax MatMul"),
    Case("rank 5", attention, _qkv(*((2, *s) for s in _4D)), ops=f"{_SCORES} Softmax MatMul"),
    Case("scale", _with(scale=0.3), _qkv(*_4D)),
    Case("scale 1", _with(scale=1.0), _qkv(*_4D), ops="Transpose MatMul Softmax MatMul"),
    Case("double", attention, _qkv(*_4D, dtype=torch.float64)),
    Case("half", attention, _qkv(*_4D, dtype=torch.float16)),
    Case("causal", _with(is_causal=True), _qkv((2, 3, 4, 8), (2, 3, 4, 8), (2, 3, 4, 8)),
         ops=f"{_SCORES} Add Softmax MatMul"),
    Case("causal, fewer queries", _with(is_causal=True), _qkv(*_4D)),
    Case("causal, more queries", _with(is_causal=True), _qkv((3, 5, 8), (3, 4, 8), (3, 4, 8))),
    Case("causal, long", _with(is_causal=True), _qkv((2, 1, 150, 4), (2, 1, 150, 4), (2, 1, 150, 4))),
    Case("causal half", _with(is_causal=True), _qkv(*_4D, dtype=torch.float16)),
    Case("bool mask", attention, _masked(2, 1, 4, 5), ops=f"{_SCORES} Where ReduceMax Exp Add Softmax MatMul Mul"),
    Case("bool mask of padding", attention, _masked(2, 1, 1, 5, empty=False)),
    Case("bool mask of rank 2", attention, _masked(4, 5)),
    Case("float mask", attention, _masked(2, 1, 4, 5, kind="float")),
    Case("float mask of rank 3", attention, _masked(3, 4, 5, kind="float")),
    Case("float mask, lowest", attention, _masked(2, 1, 4, 5, kind="lowest")),
    Case("computed bias", _biased, _qkv(*_4D, (8, 5)), ops=f"MatMul {_SCORES} Add Softmax MatMul", dynamic=False),
    Case("grouped", _with(enable_gqa=True), _grouped(), ops=f"Reshape {_SCORES} Softmax MatMul Reshape", dynamic=False),
    Case("grouped, masked", _with(enable_gqa=True), _grouped(4, 5), dynamic=False),
    Case("grouped, causal", _with(enable_gqa=True, is_causal=True), _grouped(), dynamic=False),
    Case("grouped, bool of rank 4", _with(enable_gqa=True), _grouped(2, 1, 4, 5), dynamic=False),
    Case("computed bias at 23", _biased, _qkv(*_4D, (8, 5)), ops="MatMul Attention", dynamic=False, opset_version=23),
    Case("float mask at 23", attention, _masked(2, 1, 4, 5, kind="float"), opset_version=23),
    Case("float mask, lowest, at 23", attention, _masked(2, 1, 4, 5, kind="lowest"), opset_version=23),
    Case("flash", lambda q, k, v: aten._scaled_dot_product_flash_attention_for_cpu(q, k, v),
         _qkv((2, 3, 4, 8), (2, 3, 5, 8), (2, 3, 5, 8)), dynamic=False),
    Case("math", lambda q, k, v: aten._scaled_dot_product_attention_math(q, k, v, is_causal=True), _qkv(*_4D)),
]  # fmt: skip
FUSED = [
    Case(f"{case.name} at 23", case.function, case.inputs, "Attention", case.dynamic, opset_version=23)
    for case in CASES
    if case.name.split(",")[0] in ("plain", "scale", "half", "grouped", "bool mask", "bool mask of rank 2")
    or case.name in ("causal", "causal, fewer queries", "causal half")
]

test_static, test_dynamic = both_ways(*CASES, *FUSED)
