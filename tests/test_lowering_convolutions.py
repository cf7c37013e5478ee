"""Convolutions, plain and transposed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from tests.lowering import Case, both_ways

aten = torch.ops.aten


def _given(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Callable[[], list[torch.Tensor]]:
    """Tensors of these shapes; integers where the dtype is of integers."""

    def make() -> list[torch.Tensor]:
        if dtype.is_floating_point:
            return [torch.randn(shape, dtype=dtype) for shape in shapes]
        return [torch.randint(-9 if dtype.is_signed else 0, 9, shape, dtype=dtype) for shape in shapes]

    return make


def _module(module: torch.nn.Module) -> Callable[..., Any]:
    return module.eval()


def _case(name: str, function: Callable[..., Any], inputs: Callable[[], list[torch.Tensor]], **settings: Any) -> Case:
    """A case whose channels stay: they are the weight's."""
    return Case(name, function, inputs, **{"fixed": (1,), **settings})


_IMAGE = (2, 4, 9, 8)
_BLUR = torch.arange(9.0).view(1, 1, 3, 3) / 36
_CONV2D = _given(_IMAGE, (6, 4, 3, 3), (6,))
_SMALL = _given((1, 2, 5, 4), (3, 2, 2, 3), (3,))


def _weights(function: Callable[..., Any], *shapes: tuple[int, ...], **settings: Any) -> Callable[..., Any]:
    """The function of its first argument alone."""
    rest = [torch.randn(shape) for shape in shapes]
    return lambda x: function(x, *rest, **settings)


CASES = [
    _case("conv2d", _weights(F.conv2d, (6, 4, 3, 3), (6,)), _given(_IMAGE), ops="Conv"),
    _case("conv2d_settings", _weights(F.conv2d, (6, 2, 3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2),
         _given(_IMAGE), ops="Conv"),
    _case("slow_conv2d", _weights(lambda x, w, b: (aten.thnn_conv2d(x, w, [3, 2], b, [2, 1], [1, 1]),
          aten._slow_conv2d_forward(x, w, [3, 2], b, [2, 1], [1, 1]),
          aten.slow_conv_dilated2d(x, w, [3, 2], b, [2, 1], [1, 1], [1, 2])), (6, 4, 3, 2), (6,)),
          _given(_IMAGE), ops="Conv Conv Conv"),
    _case("slow_conv3d", _weights(lambda x, w: (aten.slow_conv3d(x, w, [2, 2, 2]),
          aten.slow_conv3d_forward(x, w, [2, 2, 2], None, [1, 1, 1], [0, 1, 0]),
          aten.slow_conv_dilated3d(x, w, [2, 2, 2], None, [1, 1, 1], [0, 0, 0], [2, 2, 2])), (3, 2, 2, 2, 2)), _given((1, 2, 4, 5, 4)),
          ops="Conv Conv Conv"),
    _case("slow_conv_transpose2d", _weights(lambda x, w, b: aten.slow_conv_transpose2d(x, w, [2, 2], b, [2, 2], [1, 1]),
          (2, 3, 2, 2), (3,)), _given((1, 2, 4, 5)), ops="ConvTranspose"),
    _case("slow_conv_transpose3d", _weights(lambda x, w, b: aten.slow_conv_transpose3d(x, w, [2, 2, 2], b),
          (2, 3, 2, 2, 2), (3,)), _given((1, 2, 4, 3, 5)), ops="ConvTranspose", dynamic=False),
    _case("conv2d_one_number", _weights(F.conv2d, (6, 4, 3, 3), stride=2, padding=1), _given(_IMAGE), ops="Conv"),
    _case("conv2d_same", _weights(F.conv2d, (6, 4, 4, 3), (6,), padding="same", dilation=(1, 2)),
         _given(_IMAGE), ops="Conv"),
    _case("conv2d_valid", _weights(F.conv2d, (6, 4, 4, 3), padding="valid", stride=2), _given(_IMAGE), ops="Conv"),
    _case("conv2d_unbatched", _weights(F.conv2d, (6, 4, 3, 3), (6,)), _given((4, 9, 8)), fixed=(0,),
          ops="Unsqueeze Conv Squeeze"),
    _case("conv2d_depthwise", _weights(F.conv2d, (8, 1, 3, 3), groups=4, padding=1), _given((2, 4, 5, 6)), ops="Conv"),
    _case("conv2d_open_groups", lambda x: F.conv2d(x, _BLUR.expand(x.shape[1], 1, 3, 3), groups=x.shape[1], padding=1),
          _given((2, 4, 5, 6)), fixed=()),
    _case("conv_transpose2d_open_groups",
          lambda x: F.conv_transpose2d(x, _BLUR.expand(x.shape[1], 2, 3, 3), stride=2, padding=1, groups=x.shape[1]),
          _given((2, 4, 5, 6)), fixed=()),
    _case("conv2d_module", _module(torch.nn.Conv2d(3, 5, 3, padding=1, padding_mode="reflect")), _given((2, 3, 6, 7))),
    _case("conv1d", _weights(F.conv1d, (6, 4, 3), (6,), stride=2, padding=1), _given((2, 4, 9)), ops="Conv"),
    _case("conv1d_same", _weights(F.conv1d, (6, 4, 4), padding="same"), _given((2, 4, 9)), ops="Conv"),
    _case("conv1d_unbatched", _weights(F.conv1d, (6, 4, 3)), _given((4, 9)), ops="Unsqueeze Conv Squeeze", fixed=(0,)),
    _case("conv3d", _weights(F.conv3d, (6, 4, 3, 2, 2), (6,), stride=(2, 1, 1), padding=1), _given((2, 4, 5, 6, 4)),
         ops="Conv"),
    _case("conv3d_same", _weights(F.conv3d, (6, 4, 3, 2, 2), padding="same"), _given((2, 4, 5, 6, 4)), ops="Conv"),
    _case("conv2d_given_weight", F.conv2d, _CONV2D, ops="Conv", dynamic=False),
    _case("conv2d_open_kernel", lambda x, w: F.conv2d(x, w, padding="same"), _given((1, 1, 6, 7), (1, 1, 2, 3)),
         ops="Conv"),
    _case("conv2d_float16", _weights(lambda x, w: F.conv2d(x, w.half()), (6, 4, 3, 3)),
         _given(_IMAGE, dtype=torch.float16), ops="Conv"),
    _case("conv2d_float64", partial(F.conv2d, padding=1, stride=2), _given((1, 2, 5, 4), (3, 2, 2, 3), (3,),
         dtype=torch.float64), dynamic=False),
    _case("conv2d_int64", partial(F.conv2d, stride=2), _given((1, 2, 5, 4), (3, 2, 2, 3), (3,), dtype=torch.int64),
         dynamic=False),
    _case("conv2d_int64_sizes", lambda x: F.conv2d(x, torch.arange(12).reshape(3, 2, 2, 1), padding=(0, 1)),
         _given((1, 2, 5, 4), dtype=torch.int64)),
    _case("conv2d_int64_groups", lambda x: F.conv2d(x, torch.arange(24).reshape(6, 2, 2, 1), groups=2),
         _given((2, 4, 5, 4), dtype=torch.int64)),
    _case("convolution", lambda x, w: aten.convolution(x, w, None, [2, 1], [0, 1], [1, 1], False, [0, 0], 1),
         _given((1, 2, 5, 4), (3, 2, 2, 3)), ops="Conv", dynamic=False),
    _case("convolution_transposed",
         lambda x, w: aten.convolution(x, w, None, [2, 1], [0, 1], [1, 1], True, [1, 0], 1),
         _given((1, 2, 5, 4), (2, 3, 2, 3)), ops="ConvTranspose", dynamic=False),
    _case("_convolution",
         lambda x, w: aten._convolution(x, w, None, [1, 1], [0, 1], [1, 1], False, [0, 0], 1, False, False, True, True),
         _given((1, 2, 5, 4), (3, 2, 2, 3)), ops="Conv", dynamic=False),
    _case("_convolution_mode", lambda x, w: aten._convolution_mode(x, w, None, [1, 1], "same", [1, 1], 1),
         _given((1, 2, 5, 4), (3, 2, 2, 3)), ops="Conv", dynamic=False),
    _case("conv_tbc", lambda x, w, b: torch.conv_tbc(x, w, b, 1), _given((7, 2, 4), (3, 4, 5), (5,)), dynamic=False),
    _case("conv_transpose2d", _weights(F.conv_transpose2d, (4, 6, 3, 3), (6,)), _given(_IMAGE), ops="ConvTranspose"),
    _case("conv_transpose2d_settings",
         _weights(F.conv_transpose2d, (4, 3, 3, 2), (6,), stride=(3, 2), padding=(1, 0), output_padding=(2, 1),
                  groups=2, dilation=(1, 2)), _given(_IMAGE), ops="ConvTranspose"),
    _case("conv_transpose2d_unbatched", _weights(F.conv_transpose2d, (4, 6, 3, 3)), _given((4, 5, 6)),
         ops="Unsqueeze ConvTranspose Squeeze", fixed=(0,)),
    _case("conv_transpose1d", _weights(F.conv_transpose1d, (4, 6, 3), (6,), stride=2, padding=1), _given((2, 4, 7)),
         ops="ConvTranspose"),
    _case("conv_transpose3d", _weights(F.conv_transpose3d, (4, 6, 3, 2, 2), stride=2), _given((2, 4, 3, 4, 2)),
         ops="ConvTranspose"),
    _case("conv_transpose2d_output_padding_below_dilation",
         _weights(F.conv_transpose2d, (4, 6, 3, 3), stride=1, dilation=2, output_padding=1), _given(_IMAGE),
         ops="ConvTranspose Pad"),
    _case("conv_transpose2d_int64",
         lambda x: F.conv_transpose2d(x, torch.arange(36).reshape(2, 3, 2, 3), stride=(2, 3), padding=(0, 1),
                                      output_padding=(1, 2)), _given((2, 2, 4, 3), dtype=torch.int64)),
    _case("conv_transpose1d_float64",
         lambda x: F.conv_transpose1d(x, torch.arange(24).reshape(4, 2, 3).double(), stride=2, groups=2, dilation=2,
                                      padding=1), _given((2, 4, 5), dtype=torch.float64)),
]  # fmt: skip

test_static, test_dynamic = both_ways(*CASES)
