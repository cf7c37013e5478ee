"""Interpolation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from exporter import export
from tests.lowering import Case, both_ways, check, session_of
from tests.running import Calling

aten = torch.ops.aten


def _x(*shape: int, dtype: torch.dtype = torch.float32) -> Callable[[], list[torch.Tensor]]:
    if dtype.is_floating_point:
        return lambda: [torch.randn(shape, dtype=dtype)]
    return lambda: [torch.randint(0, 255, shape, dtype=dtype)]


def _resize(mode: str, size: Any = None, scale: Any = None, **settings: Any) -> Callable[..., torch.Tensor]:
    return partial(F.interpolate, mode=mode, size=size, scale_factor=scale, **settings)


_LINE, _IMAGE, _VOLUME = _x(2, 3, 11), _x(2, 3, 9, 8), _x(1, 2, 5, 6, 7)
_DOUBLES = _x(2, 3, 9, 8, dtype=torch.float64)

CASES = [
    Case("nearest_twice", _resize("nearest", scale=2), _IMAGE, ops="Resize"),
    Case("nearest_size", _resize("nearest", size=(4, 15)), _IMAGE, ops="Resize"),
    Case("nearest_scales", _resize("nearest", scale=(0.7, 1.3)), _IMAGE),
    Case("nearest_recomputed", _resize("nearest", scale=(0.7, 1.3), recompute_scale_factor=True), _IMAGE),
    Case("nearest_same", lambda x: F.interpolate(x + 1, size=x.shape[2:]), _IMAGE, ops="Add"),
    Case("nearest_line", _resize("nearest", size=17), _LINE, ops="Resize"),
    Case("nearest_volume", _resize("nearest", scale=(2, 1, 0.5)), _VOLUME, ops="Resize"),
    Case("nearest_uint8", _resize("nearest", scale=2.5), _x(2, 3, 9, 8, dtype=torch.uint8)),
    *[Case(f"uint8_{mode}{'_antialias' * antialias}", _resize(mode, size=size, antialias=antialias),
           _x(2, 3, 33, 40, dtype=torch.uint8), fixed=(2, 3))
      for mode, antialias, size in (("bilinear", True, (9, 57)), ("bilinear", False, (12, 80)),
                                    ("bicubic", True, (5, 11)), ("bicubic", False, (33, 90)))],
    Case("nearest_float64", _resize("nearest", size=(5, 12)), _DOUBLES, ops="Gather Gather"),
    Case("exact", _resize("nearest-exact", size=(5, 12)), _IMAGE),
    Case("exact_scales", _resize("nearest-exact", scale=(2.5, 0.4)), _IMAGE),
    Case("exact_line", _resize("nearest-exact", scale=2), _LINE, ops="Resize"),
    Case("exact_volume", _resize("nearest-exact", size=(3, 9, 7)), _VOLUME),
    Case("exact_float64", _resize("nearest-exact", scale=2.5), _DOUBLES),
    Case("linear", _resize("linear", size=17), _LINE, ops="Resize"),
    Case("linear_corners", _resize("linear", scale=0.6, align_corners=True), _LINE, ops="Resize"),
    Case("bilinear", _resize("bilinear", size=(5, 12)), _IMAGE, ops="Resize"),
    Case("bilinear_scale", _resize("bilinear", scale=1.7), _IMAGE, ops="Resize"),
    Case("bilinear_recomputed", _resize("bilinear", scale=1.7, recompute_scale_factor=True), _IMAGE, ops="Resize"),
    Case("bilinear_corners", _resize("bilinear", size=(5, 1), align_corners=True), _IMAGE, ops="Resize"),
    Case("bilinear_one", _resize("bilinear", size=(1, 1)), _IMAGE, ops="Resize"),
    Case("bilinear_float16", _resize("bilinear", scale=2), _x(2, 3, 9, 8, dtype=torch.float16), ops="Resize"),
    Case("bilinear_float64", _resize("bilinear", size=(5, 12)), _DOUBLES, fixed=(2, 3)),
    Case("bilinear_float64_corners", _resize("bilinear", scale=1.7, align_corners=True), _DOUBLES, fixed=(2, 3)),
    Case("bilinear_of_other", lambda x, y: F.interpolate(x, size=y.shape[2:], mode="bilinear"),
         lambda: [torch.randn(2, 3, 4, 5), torch.randn(2, 3, 9, 7)]),
    Case("bilinear_opset_17", _resize("bilinear", size=(5, 12)), _IMAGE, ops="Resize", opset_version=17),
    Case("bicubic", _resize("bicubic", size=(5, 12)), _IMAGE, ops="Resize"),
    Case("bicubic_scale", _resize("bicubic", scale=(1.3, 2)), _IMAGE, ops="Resize"),
    Case("bicubic_corners", _resize("bicubic", scale=2, align_corners=True), _IMAGE, ops="Resize"),
    Case("bicubic_float64", _resize("bicubic", size=(5, 12)), _DOUBLES, fixed=(2, 3)),
    Case("trilinear", _resize("trilinear", size=(3, 9, 7)), _VOLUME, ops="Resize"),
    Case("trilinear_corners", _resize("trilinear", scale=2, align_corners=True), _VOLUME, ops="Resize"),
    Case("antialias", _resize("bilinear", size=(5, 12), antialias=True), _IMAGE, ops="Resize"),
    Case("antialias_scale", _resize("bilinear", scale=0.4, antialias=True), _IMAGE, ops="Resize"),
    Case("antialias_cubic", _resize("bicubic", size=(4, 13), antialias=True), _IMAGE, ops="Resize"),
    Case("antialias_corners", _resize("bilinear", size=(5, 12), antialias=True, align_corners=True), _IMAGE,
         fixed=(2, 3)),
    Case("antialias_float64", _resize("bicubic", size=(5, 12), antialias=True), _DOUBLES, fixed=(2, 3)),
    Case("antialias_lanczos", lambda x: aten._upsample_lanczos2d_aa.vec(x, [5, 12], False, None), _IMAGE,
         fixed=(2, 3)),
    Case("antialias_opset_17", _resize("bilinear", size=(5, 12), antialias=True), _IMAGE, opset_version=17,
         dynamic=False),
    Case("nearest1d.default", lambda x: aten.upsample_nearest1d.default(x, [20]), _LINE),
    Case("nearest2d.default", lambda x: aten.upsample_nearest2d.default(x, [18, 12], 2.0, 1.5), _IMAGE, fixed=(2, 3)),
    Case("nearest3d.default", lambda x: aten.upsample_nearest3d.default(x, [10, 12, 14]), _VOLUME),
    Case("exact1d.default", lambda x: aten._upsample_nearest_exact1d.default(x, [20]), _LINE),
    Case("exact2d.default", lambda x: aten._upsample_nearest_exact2d.default(x, [18, 12]), _IMAGE),
    Case("exact3d.default", lambda x: aten._upsample_nearest_exact3d.default(x, [10, 12, 14]), _VOLUME),
    Case("linear1d.default", lambda x: aten.upsample_linear1d.default(x, [20], False), _LINE),
    Case("bilinear2d.default", lambda x: aten.upsample_bilinear2d.default(x, [18, 12], False), _IMAGE),
    Case("bicubic2d.default", lambda x: aten.upsample_bicubic2d.default(x, [18, 12], True), _IMAGE),
    Case("trilinear3d.default", lambda x: aten.upsample_trilinear3d.default(x, [10, 12, 14], False), _VOLUME),
    Case("bilinear2d_aa.default", lambda x: aten._upsample_bilinear2d_aa.default(x, [4, 5], False), _IMAGE),
    Case("bicubic2d_aa.default", lambda x: aten._upsample_bicubic2d_aa.default(x, [4, 5], False), _IMAGE),
    Case("lanczos2d_aa.default", lambda x: aten._upsample_lanczos2d_aa.default(x, [4, 5], False), _IMAGE,
         fixed=(2, 3)),
]  # fmt: skip

test_static, test_dynamic = both_ways(*CASES)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_rounds_as_torch(mode: str) -> None:
    """Every element is the one that torch takes, where float32 rounds a place across an integer too."""
    for size in range(1, 24):
        wanted = [size * 5 // 3, size * 7 // 5 + 1, size // 2 + 1, 2 * size + 1]

        def resized(x: torch.Tensor, wanted: list[int] = wanted) -> list[torch.Tensor]:
            return [F.interpolate(x, size=length, mode=mode) for length in wanted if length]

        check(Case("rounding", resized, lambda size=size: [torch.arange(float(size)).reshape(1, 1, size)]))


def test_the_size_is_the_same_in_every_arithmetic() -> None:
    """3 * float32(7 / 3) is 7 in float32, as the kernel computes it, and less in onnxruntime's shape inference."""
    convolution = torch.nn.Conv2d(2, 2, 1)
    program = export(
        lambda x, y: convolution(y) * F.interpolate(F.avg_pool2d(x, 2).sigmoid(), size=(7, 7)),
        (torch.randn(2, 2, 7, 7), torch.randn(2, 2, 7, 7)),
    )
    program.validate().check()


def test_bytes_of_an_open_size() -> None:
    """Without weights in fixed point, hardly any result is 1 off."""
    torch.manual_seed(0)
    model = Calling(_resize("bilinear", size=(13, 57), antialias=True))
    images = torch.randint(0, 255, (1, 2, 33, 40), dtype=torch.uint8)
    program = export(model, images, dynamic_shapes=({2: "height", 3: "width"},), input_names=["x"])
    for given in (images, images[:, :, 1:, 7:]):
        (got,) = session_of(program).run(None, {"x": given.numpy()})
        off = (torch.from_numpy(got).int() - model(given).int()).abs()
        assert off.max() <= 1
        assert off.float().mean() < 0.02
