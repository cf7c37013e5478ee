"""Pools over windows of fixed size, and adaptive ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.lowering import Case, both_ways, check

aten = torch.ops.aten


def _x(*shape: int, dtype: torch.dtype = torch.float32) -> Callable[[], list[torch.Tensor]]:
    if dtype.is_floating_point:
        return lambda: [torch.randn(shape, dtype=dtype)]
    return lambda: [torch.randint(-9 if dtype.is_signed else 0, 99, shape, dtype=dtype)]


_LINE, _IMAGE, _VOLUME = _x(2, 3, 11), _x(2, 3, 9, 8), _x(1, 2, 5, 6, 7)


def _unpool(x: torch.Tensor, **settings: Any) -> torch.Tensor:
    pooled, index = F.max_pool2d(x, 2, return_indices=True)
    return F.max_unpool2d(pooled, index, 2, **settings)


def _fractional(function: Callable[..., Any], space: int) -> Callable[..., Any]:
    samples = torch.rand(2, 3, space)
    return lambda x: function(x, 2, output_size=4, return_indices=True, _random_samples=samples)


CASES = [
    Case("max_pool1d", partial(F.max_pool1d, kernel_size=3), _LINE, ops="MaxPool"),
    Case("max_pool2d", partial(F.max_pool2d, kernel_size=3, stride=2, padding=1), _IMAGE, ops="MaxPool"),
    Case("max_pool2d_ceil", partial(F.max_pool2d, kernel_size=2, stride=(2, 5), padding=1, ceil_mode=True), _IMAGE,
         ops="MaxPool"),
    Case("max_pool2d_dilation", partial(F.max_pool2d, kernel_size=(2, 3), stride=1, dilation=(3, 2)), _IMAGE,
         ops="MaxPool"),
    Case("max_pool2d_unbatched", partial(F.max_pool2d, kernel_size=3), _x(3, 9, 8), ops="Unsqueeze MaxPool Squeeze"),
    Case("max_pool3d", partial(F.max_pool3d, kernel_size=2, ceil_mode=True), _VOLUME, ops="MaxPool"),
    Case("max_pool2d_float16", partial(F.max_pool2d, kernel_size=3), _x(2, 3, 9, 8, dtype=torch.float16),
         ops="MaxPool"),
    Case("max_pool2d_uint8", partial(F.max_pool2d, kernel_size=3, padding=1), _x(2, 3, 9, 8, dtype=torch.uint8),
         ops="MaxPool"),
    Case("max_pool2d_int64", partial(F.max_pool2d, kernel_size=3, padding=1), _x(2, 3, 9, 8, dtype=torch.int64),
         ops="Cast MaxPool Cast"),
    *(
        Case(f"max_pool2d_of_zeros_around_{opset}", lambda x: F.max_pool2d(F.pad(-x.abs(), (1, 1, 1, 1)), 3, 2), _IMAGE,
             ops="Abs Neg Pad MaxPool", opset_version=opset)
        for opset in (17, 18)
    ),
    Case("max_pool1d_indices", partial(F.max_pool1d, kernel_size=3, stride=1, padding=1, return_indices=True), _LINE,
         ops="MaxPool Mod"),
    Case("max_pool2d_indices",
         partial(F.max_pool2d, kernel_size=3, stride=2, padding=1, dilation=2, return_indices=True), _IMAGE,
         ops="MaxPool Mod"),
    Case("max_pool3d_indices", partial(F.max_pool3d, kernel_size=2, ceil_mode=True, return_indices=True), _VOLUME,
         ops="MaxPool Mod"),
    Case("max_unpool2d", _unpool, _x(2, 3, 8, 6)),
    Case("max_unpool2d_output_size", partial(_unpool, output_size=(9, 7)), _x(2, 3, 9, 7), dynamic=False),
    Case("max_unpool1d", lambda x: F.max_unpool1d(*F.max_pool1d(x, 2, return_indices=True), 2), _x(2, 3, 8)),
    Case("max_unpool3d", lambda x: F.max_unpool3d(*F.max_pool3d(x, 2, return_indices=True), 2), _x(1, 2, 4, 6, 2)),
    Case("avg_pool1d", partial(F.avg_pool1d, kernel_size=3, stride=2, padding=1), _LINE, ops="AveragePool"),
    Case("avg_pool2d", partial(F.avg_pool2d, kernel_size=3), _IMAGE, ops="AveragePool"),
    Case("avg_pool2d_padding", partial(F.avg_pool2d, kernel_size=(3, 2), stride=2, padding=1, ceil_mode=True), _IMAGE,
         ops="AveragePool"),
    Case("avg_pool2d_without_padding",
         partial(F.avg_pool2d, kernel_size=3, padding=1, ceil_mode=True, count_include_pad=False), _IMAGE,
         ops="AveragePool"),
    Case("avg_pool2d_divisor", partial(F.avg_pool2d, kernel_size=3, padding=1, divisor_override=5), _IMAGE,
         ops="Pad AveragePool Mul"),
    Case("avg_pool2d_divisor_ceil",
         partial(F.avg_pool2d, kernel_size=3, stride=5, padding=1, ceil_mode=True, divisor_override=2),
         _x(2, 3, 11, 7)),
    Case("avg_pool3d", partial(F.avg_pool3d, kernel_size=2, stride=(1, 2, 3), ceil_mode=True), _VOLUME,
         ops="AveragePool"),
    Case("avg_pool2d_unbatched", partial(F.avg_pool2d, kernel_size=2), _x(3, 9, 8)),
    Case("avg_pool2d_whole_axis", lambda x: F.avg_pool2d(x, (x.shape[2], 1)), _IMAGE),
    Case("avg_pool2d_whole_axis_and_a_window", lambda x: F.avg_pool2d(x, (3, x.shape[3]), (2, 1), (1, 0)), _IMAGE),
    Case("max_pool2d_whole_axis", lambda x: F.max_pool2d(x, (2, x.shape[3])), _IMAGE),
    Case("avg_pool2d_whole", lambda x: F.avg_pool2d(x, x.shape[2:]), _IMAGE),
    Case("max_pool2d_whole", lambda x: F.max_pool2d(x, x.shape[2:]), _IMAGE),
    Case("adaptive_max_pool2d_line", partial(F.adaptive_max_pool2d, output_size=(None, 1)), _IMAGE),
    Case("adaptive_avg_pool3d_empty", partial(F.adaptive_avg_pool3d, output_size=(3, 4, 5)), _x(0, 2, 8, 8, 8)),
    Case("avg_pool2d_int64", partial(F.avg_pool2d, kernel_size=(3, 2), padding=1, stride=2, ceil_mode=True),
         _x(2, 3, 9, 8, dtype=torch.int64)),
    Case("avg_pool2d_float64",
         partial(F.avg_pool2d, kernel_size=3, padding=1, stride=2, ceil_mode=True, count_include_pad=False),
         _x(2, 3, 9, 8, dtype=torch.float64)),
    Case("avg_pool2d_float64_divisor", partial(F.avg_pool2d, kernel_size=3, divisor_override=4),
         _x(2, 3, 9, 8, dtype=torch.float64)),
    Case("fractional_max_pool2d", _fractional(F.fractional_max_pool2d, 2), _x(2, 3, 9, 8), fixed=(0, 1)),
    Case("fractional_max_pool2d_one",
         lambda x: F.fractional_max_pool2d(x, 3, output_size=1, _random_samples=torch.full((2, 3, 2), 0.5)),
         _x(2, 3, 9, 8), fixed=(0, 1)),
    Case("fractional_max_pool3d", _fractional(F.fractional_max_pool3d, 3), _x(2, 3, 9, 8, 7), fixed=(0, 1)),
    Case("adaptive_avg_pool2d_one", partial(F.adaptive_avg_pool2d, output_size=1), _IMAGE, ops="GlobalAveragePool"),
    Case("adaptive_avg_pool2d_unbatched", partial(F.adaptive_avg_pool2d, output_size=1), _x(3, 9, 8),
         ops="ReduceMean"),
    Case("adaptive_avg_pool2d_line", partial(F.adaptive_avg_pool2d, output_size=(1, None)), _IMAGE, ops="ReduceMean"),
    Case("adaptive_avg_pool2d_regular", partial(F.adaptive_avg_pool2d, output_size=(3, 4)), _IMAGE,
         ops="AveragePool"),
    Case("adaptive_avg_pool2d_same", lambda x: F.adaptive_avg_pool2d(x, (None, 7)), _IMAGE, ops="MatMul"),
    Case("adaptive_avg_pool2d_any", partial(F.adaptive_avg_pool2d, output_size=(7, 11)), _IMAGE),
    Case("adaptive_avg_pool2d_float64", partial(F.adaptive_avg_pool2d, output_size=(3, 4)),
         _x(2, 3, 9, 8, dtype=torch.float64)),
    Case("_adaptive_avg_pool2d", lambda x: aten._adaptive_avg_pool2d(x, [5, 3]), _IMAGE),
    Case("_adaptive_avg_pool3d", lambda x: aten._adaptive_avg_pool3d(x, [1, 1, 1]), _VOLUME, ops="GlobalAveragePool"),
    Case("adaptive_avg_pool1d", partial(F.adaptive_avg_pool1d, output_size=4), _LINE, ops="MatMul"),
    Case("adaptive_avg_pool3d", partial(F.adaptive_avg_pool3d, output_size=(3, 4, 5)), _VOLUME),
    Case("area", partial(F.interpolate, scale_factor=0.5, mode="area"), _x(2, 3, 8, 6)),
    Case("adaptive_max_pool2d_one", partial(F.adaptive_max_pool2d, output_size=1), _IMAGE, ops="GlobalMaxPool"),
    Case("adaptive_max_pool2d_one_indices", partial(F.adaptive_max_pool2d, output_size=1, return_indices=True),
         _IMAGE),
    Case("adaptive_max_pool2d_regular", partial(F.adaptive_max_pool2d, output_size=(3, 4)), _IMAGE, ops="MaxPool"),
    Case("adaptive_max_pool2d_regular_indices",
         partial(F.adaptive_max_pool2d, output_size=(3, 4), return_indices=True), _x(3, 9, 8)),
    Case("adaptive_max_pool2d_any", partial(F.adaptive_max_pool2d, output_size=(7, 11)), _IMAGE,
         ops="Gather Gather ReduceMax"),
    Case("adaptive_max_pool2d_any_indices", partial(F.adaptive_max_pool2d, output_size=(5, 3), return_indices=True),
         _IMAGE),
    Case("adaptive_max_pool1d", partial(F.adaptive_max_pool1d, output_size=4, return_indices=True), _LINE),
    Case("adaptive_max_pool3d", partial(F.adaptive_max_pool3d, output_size=(2, 4, 3), return_indices=True), _VOLUME),
    Case("adaptive_max_pool2d_float64", partial(F.adaptive_max_pool2d, output_size=1),
         _x(2, 3, 9, 8, dtype=torch.float64)),
    Case("lp_pool2d", partial(F.lp_pool2d, norm_type=2, kernel_size=3), _IMAGE),
]  # fmt: skip

test_static, test_dynamic = both_ways(*CASES)


@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("padding", [0, 1])
def test_last_window_starts_inside(stride: int, padding: int) -> None:
    """ceil_mode adds a window only where it starts in the input or in the padding before it."""
    for size in range(4, 10):
        for pool in (F.max_pool1d, F.avg_pool1d):
            call = partial(pool, kernel_size=3, stride=stride, padding=padding, ceil_mode=True)
            check(Case("ceil", call, _x(1, 2, size)))
