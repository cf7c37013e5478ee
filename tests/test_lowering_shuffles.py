"""Shuffles, unfolding and folding."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F

from tests.lowering import Case, both_ways

aten = torch.ops.aten


def _x(*shape: int, dtype: torch.dtype = torch.float32) -> Callable[[], list[torch.Tensor]]:
    if dtype.is_floating_point:
        return lambda: [torch.randn(shape, dtype=dtype)]
    return lambda: [torch.randint(-9, 99, shape, dtype=dtype)]


_LONG, _DOUBLE, _HALF = torch.int64, torch.float64, torch.float16
_IMAGE = _x(2, 3, 7, 8)

CASES = [
    Case("pixel_shuffle", partial(F.pixel_shuffle, upscale_factor=2), _x(2, 12, 3, 5), ops="DepthToSpace", fixed=(1,)),
    Case("pixel_shuffle_int64", partial(F.pixel_shuffle, upscale_factor=2), _x(2, 12, 3, 5, dtype=_LONG), fixed=(1,)),
    Case("pixel_shuffle_unbatched", partial(F.pixel_shuffle, upscale_factor=3), _x(9, 3, 5), fixed=(0,)),
    Case("pixel_shuffle_rank_5", partial(F.pixel_shuffle, upscale_factor=2), _x(2, 3, 4, 3, 5), fixed=(2,)),
    Case("pixel_unshuffle", partial(F.pixel_unshuffle, downscale_factor=2), _x(2, 3, 10, 4),
         ops="Reshape Transpose Reshape"),
    Case("pixel_unshuffle_unbatched", partial(F.pixel_unshuffle, downscale_factor=2), _x(3, 4, 6)),
    Case("channel_shuffle", partial(torch.channel_shuffle, groups=3), _x(2, 6, 3, 5), ops="Reshape Transpose Reshape",
         fixed=(1,)),
    Case("native_channel_shuffle", partial(torch.native_channel_shuffle, groups=2), _x(2, 6, 3, 5), fixed=(1,)),
    Case("unfold", partial(F.unfold, kernel_size=(3, 2), padding=(1, 0), stride=(2, 1), dilation=(1, 2)), _IMAGE,
         ops="Pad Gather Gather Transpose Reshape"),
    Case("unfold_tiles", partial(F.unfold, kernel_size=2, stride=2), _x(2, 3, 6, 8), ops="Reshape Transpose Reshape"),
    Case("unfold_leftover", partial(F.unfold, kernel_size=2, stride=2), _IMAGE),
    Case("unfold_unbatched", partial(F.unfold, kernel_size=2), _x(3, 7, 8)),
    Case("unfold_float64", partial(F.unfold, kernel_size=2, padding=1), _x(2, 3, 7, 8, dtype=_DOUBLE)),
    Case("fold", lambda x: F.fold(F.unfold(x, 3, 1, 1, 2), x.shape[2:], 3, 1, 1, 2), _IMAGE),
    Case("fold_known_size", partial(F.fold, output_size=(6, 5), kernel_size=(3, 2), dilation=(1, 2), padding=1),
         _x(2, 12, 30), ops="Col2Im", fixed=(1, 2)),
    Case("fold_tiles", partial(F.fold, output_size=(6, 4), kernel_size=2, stride=2), _x(2, 8, 6),
         ops="Reshape Transpose Reshape", fixed=(1, 2)),
    Case("fold_unbatched", partial(F.fold, output_size=(6, 5), kernel_size=2), _x(8, 20), fixed=(0, 1)),
    Case("fold_float64", partial(F.fold, output_size=(6, 5), kernel_size=(3, 2), dilation=(1, 2), padding=1, stride=2),
         _x(2, 12, 9, dtype=_DOUBLE), fixed=(1, 2)),
    Case("fold_float64_open_sizes", lambda x: F.fold(F.unfold(x, 3, 1, 1, 2), x.shape[2:], 3, 1, 1, 2),
         _x(2, 3, 7, 8, dtype=_DOUBLE)),
    Case("fold_float16", partial(F.fold, output_size=(6, 5), kernel_size=2), _x(2, 8, 20, dtype=_HALF), fixed=(1, 2)),
    Case("fold_opset_17", partial(F.fold, output_size=(6, 5), kernel_size=2), _x(2, 8, 20), fixed=(1, 2),
         opset_version=17),
]  # fmt: skip

test_static, test_dynamic = both_ways(*CASES)
