"""Fake quantization and torch.ao's decomposed quantization."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.ao.quantization.fx import _decomposed  # noqa: F401  # defines the operators

from tests.lowering import Case, both_ways

aten, decomposed = torch.ops.aten, torch.ops.quantized_decomposed

_I8, _U8, _I16, _I32 = torch.int8, torch.uint8, torch.int16, torch.int32
_SCALE, _POINT = torch.tensor([0.07]), torch.tensor([3], dtype=torch.int32)
_SCALES, _POINTS = torch.tensor([0.1, 0.05, 0.3]), torch.tensor([0, 3, -5], dtype=torch.int32)


def _x(*shape: int, dtype: torch.dtype = torch.float32) -> Callable[[], list[torch.Tensor]]:
    """Numbers that lie in the middle of no two steps."""
    return lambda: [(torch.randn(shape) * 4).to(dtype)]


def _q(dtype: torch.dtype) -> Callable[[], list[torch.Tensor]]:
    return lambda: [torch.randint(0, 100, (2, 3, 5), dtype=dtype)]


_IMAGE = _x(2, 3, 5)
_FAKE, _FAKE_CHANNELS = torch.fake_quantize_per_tensor_affine, torch.fake_quantize_per_channel_affine

CASES = [
    Case("fake", lambda x: _FAKE(x, 0.07, 3, 0, 255), _IMAGE, ops="QuantizeLinear DequantizeLinear"),
    Case("fake_int8", lambda x: _FAKE(x, 0.07, -3, -128, 127), _IMAGE, ops="QuantizeLinear DequantizeLinear"),
    Case("fake_7_bits", lambda x: _FAKE(x, 0.07, 3, 0, 127), _IMAGE, ops="QuantizeLinear Clip DequantizeLinear"),
    Case("fake_16_bits", lambda x: _FAKE(x, 0.001, 3, -32768, 32767), _IMAGE),
    Case("fake_16_bits_opset_21", lambda x: _FAKE(x, 0.001, 3, -32768, 32767), _IMAGE, opset_version=21,
         ops="QuantizeLinear DequantizeLinear"),
    Case("fake_float16", lambda x: _FAKE(x, 0.07, 3, 0, 255), _x(2, 3, dtype=torch.float16)),
    Case("fake_ties", lambda x: _FAKE(x, 0.5, 3, 0, 255), lambda: [torch.arange(-20, 20) * 0.25]),
    Case("fake_tensors", lambda x: _FAKE(x, _SCALE, _POINT, 0, 255), _IMAGE, ops="QuantizeLinear DequantizeLinear"),
    Case("fake_channels", lambda x: _FAKE_CHANNELS(x, _SCALES, _POINTS, 1, -128, 127), _IMAGE, fixed=(1,),
         ops="QuantizeLinear DequantizeLinear"),
    Case("fake_channels_of_floats", lambda x: _FAKE_CHANNELS(x, _SCALES, _POINTS * 0.25, 1, 0, 15), _IMAGE, fixed=(1,)),
    Case("fake_mask", lambda x: aten.fake_quantize_per_tensor_affine_cachemask(x, 0.02, 3, 0, 255), _IMAGE),
    Case("fake_tensors_mask",
         lambda x, on: aten._fake_quantize_per_tensor_affine_cachemask_tensor_qparams(x, _SCALE, _POINT, on, 0, 63),
         lambda: [*_IMAGE(), torch.ones(1, dtype=torch.int64)]),
    Case("fake_channels_mask",
         lambda x: aten.fake_quantize_per_channel_affine_cachemask(x, _SCALES, _POINTS, 1, -16, 15), _IMAGE,
         fixed=(1,)),
    Case("learnable", lambda x: aten._fake_quantize_learnable_per_tensor_affine(x, _SCALE, _POINT + 0.3, 0, 255),
         _IMAGE),
    Case("learnable_channels",
         lambda x: aten._fake_quantize_learnable_per_channel_affine(x, _SCALES, _POINTS + 0.3, 1, -128, 127), _IMAGE,
         fixed=(1,)),
    Case("quantize", lambda x: decomposed.quantize_per_tensor(x, 0.07, 3, 0, 255, _U8), _IMAGE, ops="QuantizeLinear"),
    Case("quantize_range", lambda x: decomposed.quantize_per_tensor(x, 0.07, 3, -127, 127, _I8), _IMAGE,
         ops="QuantizeLinear Clip"),
    Case("quantize_int32", lambda x: decomposed.quantize_per_tensor(x, 0.07, 3, -(2**20), 2**20, _I32), _IMAGE),
    Case("quantize_int16", lambda x: decomposed.quantize_per_tensor(x, 0.001, 3, -(2**15), 2**15 - 1, _I16), _IMAGE),
    Case("quantize_tensors", lambda x: decomposed.quantize_per_tensor(x, _SCALE, _POINT, 0, 255, _U8), _IMAGE,
         ops="QuantizeLinear"),
    Case("quantize_tensor2",
         lambda x: decomposed.quantize_per_tensor.tensor2(x, _SCALE, _POINT, torch.tensor(0), torch.tensor(200), _U8),
         _IMAGE, ops="QuantizeLinear Clip"),
    Case("quantize_channels", lambda x: decomposed.quantize_per_channel(x, _SCALES, _POINTS, 1, -128, 127, _I8),
         _IMAGE, ops="QuantizeLinear", fixed=(1,)),
    Case("dequantize", lambda q: decomposed.dequantize_per_tensor(q, 0.07, 3, 0, 255, _U8), _q(_U8),
         ops="DequantizeLinear"),
    Case("dequantize_float16",
         lambda q: decomposed.dequantize_per_tensor(q, 0.07, 3, 0, 255, _U8, out_dtype=torch.float16), _q(_U8)),
    Case("dequantize_int32", lambda q: decomposed.dequantize_per_tensor(q, 0.07, 3, 0, 2**20, _I32), _q(_I32)),
    Case("dequantize_tensors", lambda q: decomposed.dequantize_per_tensor(q, _SCALE, _POINT, -128, 127, _I8), _q(_I8),
         ops="DequantizeLinear"),
    Case("dequantize_tensor2",
         lambda q: decomposed.dequantize_per_tensor.tensor2(q, _SCALE, _POINT, torch.tensor(0), torch.tensor(9), _U8),
         _q(_U8), ops="DequantizeLinear"),
    Case("dequantize_channels", lambda q: decomposed.dequantize_per_channel(q, _SCALES, _POINTS, 1, -128, 127, _I8),
         _q(_I8), ops="DequantizeLinear", fixed=(1,)),
    Case("dequantize_channels_without_zero_points",
         lambda q: decomposed.dequantize_per_channel(q, _SCALES, None, 1, -128, 127, _I8), _q(_I8), fixed=(1,)),
    Case("tokens", lambda x: _by_tokens(x), _x(4, 6)),
    Case("choose", lambda x: decomposed.choose_qparams(x, -128, 127, 1e-6, _I8), _IMAGE),
    Case("choose_symmetric", lambda x: decomposed.choose_qparams_symmetric(x, -127, 127, 1e-6, _I8), _IMAGE),
    Case("dynamic_quantization", lambda x: _by_range(x), _IMAGE),
]  # fmt: skip


def _by_tokens(x: torch.Tensor) -> torch.Tensor:
    scales, points = decomposed.choose_qparams_per_token_asymmetric(x, _I8)
    quantized = decomposed.quantize_per_token(x, scales, points, -128, 127, _I8)
    return decomposed.dequantize_per_token(quantized, scales, points, -128, 127, _I8, torch.float32)


def _by_range(x: torch.Tensor) -> torch.Tensor:
    scale, point = decomposed.choose_qparams(x, -128, 127, 1e-6, _I8)
    quantized = decomposed.quantize_per_tensor(x, scale, point, -128, 127, _I8)
    return decomposed.dequantize_per_tensor(quantized, scale, point, -128, 127, _I8)


test_static, test_dynamic = both_ways(*CASES)
