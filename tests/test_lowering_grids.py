"""Sampling at places that a grid says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from exporter import export
from tests.lowering import Case, both_ways, check, ops

aten = torch.ops.aten


def _given(*shape: int, dtype: torch.dtype = torch.float32) -> Callable[[], list[torch.Tensor]]:
    """An image or volume, and a grid that reaches beyond it."""
    space = len(shape) - 2
    return lambda: [
        torch.randn(shape, dtype=dtype),
        torch.randn(shape[0], *[4, 3, 2][:space], space, dtype=dtype) * 1.5,
    ]


def _sample(mode: str, padding: str, align: bool) -> Callable[..., torch.Tensor]:
    return lambda x, grid: F.grid_sample(x, grid, mode, padding, align)


def _affine(*size: int, align: bool = False) -> Callable[..., torch.Tensor]:
    return lambda theta: F.affine_grid(theta, list(size), align)


_PADDINGS = ("zeros", "border", "reflection")
_IMAGE, _VOLUME = _given(2, 3, 5, 6), _given(2, 3, 4, 5, 3)
_DOUBLES = _given(2, 3, 5, 6, dtype=torch.float64)
_HALVES = _given(2, 3, 5, 100, dtype=torch.float16)
_THETA = torch.tensor([[[0.8, -0.3, 0.1], [0.2, 1.1, -0.4]]])

CASES = [
    *(
        Case(f"{mode}_{padding}_{align}", _sample(mode, padding, align), _IMAGE, ops="GridSample", dynamic=False)
        for mode in ("bilinear", "nearest", "bicubic") for padding in _PADDINGS for align in (True, False)
    ),
    *(
        Case(f"volume_{mode}_{padding}_{align}", _sample(mode, padding, align), _VOLUME, dynamic=False)
        for mode in ("bilinear", "nearest") for padding in _PADDINGS for align in (True, False)
    ),
    *(
        Case(f"float64_{mode}_{padding}", _sample(mode, padding, padding == "border"), _DOUBLES, dynamic=False)
        for mode in ("bilinear", "nearest", "bicubic") for padding in _PADDINGS
    ),
    *(
        Case(f"float16_{mode}_{padding}", _sample(mode, padding, padding != "border"), _HALVES, dynamic=False)
        for mode in ("bilinear", "nearest") for padding in _PADDINGS
    ),
    Case("float16_volume", _sample("bilinear", "zeros", False), _given(2, 3, 40, 5, 60, dtype=torch.float16),
         dynamic=False),
    Case("float16_one_element", _sample("bilinear", "border", True), _given(2, 3, 1, 90, dtype=torch.float16),
         dynamic=False),
    Case("float16_open_sizes", lambda x: F.grid_sample(x, torch.linspace(-1.2, 1.2, 12).reshape(1, 2, 3, 2).half()),
         lambda: [torch.randn(1, 3, 90, 60).half()]),
    Case("volume_opset_20", _sample("bilinear", "border", False), _VOLUME, ops="GridSample", opset_version=20,
         dynamic=False),
    Case("open_sizes", lambda x: F.grid_sample(x, torch.linspace(-1.2, 1.2, 12).reshape(1, 2, 3, 2)),
         lambda: [torch.randn(1, 3, 5, 6)], ops="GridSample"),
    Case("volume_open_sizes",
         lambda x: F.grid_sample(x, torch.linspace(-1.2, 1.2, 12).reshape(1, 2, 2, 1, 3), padding_mode="reflection"),
         lambda: [torch.randn(1, 3, 5, 6, 4)]),
    Case("grid_sampler_2d", lambda x, grid: aten.grid_sampler_2d(x, grid, 0, 0, True), _IMAGE, dynamic=False),
    Case("grid_sampler_3d", lambda x, grid: aten.grid_sampler_3d(x, grid, 0, 1, True), _VOLUME, dynamic=False),
    Case("affine_grid", _affine(2, 3, 4, 5), lambda: [torch.randn(2, 2, 3)], ops="Transpose MatMul Reshape",
         dynamic=False),
    Case("affine_grid_corners", _affine(2, 3, 1, 5, align=True), lambda: [torch.randn(2, 2, 3)], dynamic=False),
    Case("affine_grid_corners_opset_20", _affine(2, 3, 1, 5, align=True), lambda: [torch.randn(2, 2, 3)],
         opset_version=20, dynamic=False),
    Case("affine_grid_volume", _affine(2, 3, 3, 4, 5), lambda: [torch.randn(2, 3, 4)], dynamic=False),
    Case("affine_grid_opset_20", _affine(2, 3, 4, 5), lambda: [torch.randn(2, 2, 3)], ops="AffineGrid",
         opset_version=20, dynamic=False),
    *(
        Case(f"affine_grid_open_sizes_{align}",
             lambda x, align=align: F.affine_grid(_THETA.expand(x.shape[0], 2, 3), x.shape, align),
             lambda: [torch.randn(2, 3, 4, 5)])
        for align in (True, False)
    ),
    Case("affine_grid_volume_open_sizes", lambda x: F.affine_grid(torch.arange(12.0).reshape(1, 3, 4), x.shape, True),
         lambda: [torch.randn(1, 3, 4, 5, 6)], opset_version=20),
]  # fmt: skip

test_static, test_dynamic = both_ways(*CASES)


@pytest.mark.parametrize("opset_version", [17, 22])
def test_opsets(opset_version: int) -> None:
    for case in CASES[:6:2]:
        check(replace(case, opset_version=opset_version))


def test_float16_on_a_gpu() -> None:
    """Eager rounds its places on a CPU alone."""
    program = export(F.grid_sample, tuple(_HALVES()), target="cuda")
    assert ops(program) == "GridSample"
