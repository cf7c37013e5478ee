"""Quantization: fake, and torch.ao's decomposed form, as QuantizeLinear and DequantizeLinear.

QuantizeLinear divides by the scale where torch multiplies by its inverse: a number that lies in the middle of
two steps, but for rounding, may come out one step away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.dtypes import from_torch, is_integer
from aten_lowering.errors import UnsupportedArgument
from aten_lowering.registry import lowers

aten = torch.ops.aten

_16_BITS_SINCE = 21
_OTHER_FLOATS_SINCE = 19
_RANGES = {
    ir.DataType.UINT8: (0, 255),
    ir.DataType.INT8: (-128, 127),
    ir.DataType.UINT16: (0, 65535),
    ir.DataType.INT16: (-32768, 32767),
}
_8_BITS = (ir.DataType.UINT8, ir.DataType.INT8)


class _Steps(NamedTuple):
    """How numbers become steps: the scale and the zero point, each of rank 0 or one a channel of `axis`."""

    scale: Value
    zero_point: Value
    axis: int | None
    low: int
    high: int


@lowers(aten.fake_quantize_per_tensor_affine.default)
def fake_quantize_per_tensor(
    op: Builder, self: Value, scale: float, zero_point: int, quant_min: int, quant_max: int
) -> Value:
    """[*S] -> [*S], (clamp(round(x / scale) + zero_point) - zero_point) scale."""
    steps = _Steps(op.constant(scale), op.constant(zero_point), None, quant_min, quant_max)
    return _fake_quantized(op, self, steps)


@lowers(aten.fake_quantize_per_tensor_affine.tensor_qparams)
def fake_quantize_per_tensor_by_tensors(
    op: Builder, self: Value, scale: Value, zero_point: Value, quant_min: int, quant_max: int
) -> Value:
    """[*S], one number, one number -> [*S]."""
    return _fake_quantized(op, self, _per_tensor(op, scale, zero_point, quant_min, quant_max))


@lowers(aten.fake_quantize_per_channel_affine.default)
def fake_quantize_per_channel(
    op: Builder, self: Value, scale: Value, zero_point: Value, axis: int, quant_min: int, quant_max: int
) -> Value:
    """[*A, C, *B], [C], [C] -> [*A, C, *B], axis=len(A)."""
    return _fake_quantized(op, self, _Steps(scale, zero_point, axis % rank(self), quant_min, quant_max))


@lowers(aten.fake_quantize_per_tensor_affine_cachemask.default)
def fake_quantize_per_tensor_with_mask(
    op: Builder, self: Value, scale: float, zero_point: int, quant_min: int, quant_max: int
) -> tuple[Value, Value]:
    """[*S] -> [*S], and where nothing was clamped."""
    steps = _Steps(op.constant(scale), op.constant(zero_point), None, quant_min, quant_max)
    return _fake_quantized(op, self, steps), _unclamped(op, self, steps)


@lowers(aten._fake_quantize_per_tensor_affine_cachemask_tensor_qparams.default)
def fake_quantize_per_tensor_by_tensors_with_mask(
    op: Builder, self: Value, scale: Value, zero_point: Value, fake_quant_enabled: Value, quant_min: int, quant_max: int
) -> tuple[Value, Value]:
    """[*S], one number, one number, a switch -> [*S], and where nothing was clamped."""
    steps = _per_tensor(op, scale, zero_point, quant_min, quant_max)
    enabled = op.cast(op.reshape(fake_quant_enabled, []), ir.DataType.BOOL)
    mask = op.Or(_unclamped(op, self, steps), op.Not(enabled))
    return op.Where(enabled, _fake_quantized(op, self, steps), self), mask


@lowers(aten.fake_quantize_per_channel_affine_cachemask.default)
def fake_quantize_per_channel_with_mask(
    op: Builder, self: Value, scale: Value, zero_point: Value, axis: int, quant_min: int, quant_max: int
) -> tuple[Value, Value]:
    """[*A, C, *B], [C], [C] -> [*A, C, *B], and where nothing was clamped."""
    steps = _Steps(scale, zero_point, axis % rank(self), quant_min, quant_max)
    return _fake_quantized(op, self, steps), _unclamped(op, self, steps)


@lowers(aten._fake_quantize_learnable_per_tensor_affine.default)
def fake_quantize_learnable_per_tensor(
    op: Builder, self: Value, scale: Value, zero_point: Value, quant_min: int, quant_max: int, grad_factor: float
) -> Value:
    """[*S], [1], [1] -> [*S], with the zero point rounded to a step."""
    whole = op.Clip(op.Round(zero_point), float(quant_min), float(quant_max))
    return _fake_quantized(op, self, _per_tensor(op, scale, op.cast(whole, ir.DataType.INT64), quant_min, quant_max))


@lowers(aten._fake_quantize_learnable_per_channel_affine.default)
def fake_quantize_learnable_per_channel(
    op: Builder, self: Value, scale: Value, zero_point: Value, axis: int, quant_min: int, quant_max: int,
    grad_factor: float,
) -> Value:  # fmt: skip
    """[*A, C, *B], [C], [C] -> [*A, C, *B], with the zero points rounded to steps."""
    whole = op.cast(op.Clip(op.Round(zero_point), float(quant_min), float(quant_max)), ir.DataType.INT64)
    return _fake_quantized(op, self, _Steps(scale, whole, axis % rank(self), quant_min, quant_max))


def _per_tensor(op: Builder, scale: Value, zero_point: Value, low: int, high: int) -> _Steps:
    return _Steps(op.reshape(scale, []), op.reshape(zero_point, []), None, low, high)


def _step_type(op: Builder, steps: _Steps, wanted: Sequence[ir.DataType] | None = None) -> ir.DataType | None:
    """The smallest type of steps that the range fits into and QuantizeLinear has; None for plain arithmetic."""
    if not is_integer(dtype(steps.zero_point)):
        return None
    for kind in wanted or _RANGES:
        low, high = _RANGES[kind]
        if low <= steps.low and steps.high <= high and (kind in _8_BITS or op.opset_version >= _16_BITS_SINCE):
            return kind
    return None


def _fake_quantized(op: Builder, x: Value, steps: _Steps) -> Value:
    kind = dtype(x)
    step_type = _step_type(op, steps)
    if step_type is None or kind == ir.DataType.DOUBLE:
        return op.cast(_from_steps(op, _to_steps(op, x, steps), steps), kind)
    quantized = _quantize_linear(op, op.cast(x, ir.DataType.FLOAT), steps, step_type)
    return op.cast(_dequantize_linear(op, quantized, steps), kind)


def _quantize_linear(op: Builder, x: Value, steps: _Steps, kind: ir.DataType) -> Value:
    scale, zero_point = op.cast(steps.scale, ir.DataType.FLOAT), op.cast(steps.zero_point, kind)
    quantized = op.QuantizeLinear(x, scale, zero_point, axis=steps.axis)
    if (steps.low, steps.high) != _RANGES[kind]:
        quantized = op.Clip(quantized, op.constant(steps.low, kind), op.constant(steps.high, kind))
    return quantized


def _dequantize_linear(op: Builder, quantized: Value, steps: _Steps) -> Value:
    scale, zero_point = op.cast(steps.scale, ir.DataType.FLOAT), op.cast(steps.zero_point, dtype(quantized))
    return op.DequantizeLinear(quantized, scale, zero_point, axis=steps.axis)


# The same by plain arithmetic.


def _wide(x: Value) -> ir.DataType:
    return ir.DataType.DOUBLE if dtype(x) == ir.DataType.DOUBLE else ir.DataType.FLOAT


def _along(op: Builder, parameter: Value, steps: _Steps, x: Value) -> Value:
    """A parameter in the type of computation, along its axis of x."""
    value = op.cast(parameter, _wide(x))
    return value if steps.axis is None else op.unsqueeze(value, list(range(1, rank(x) - steps.axis)))


def _unclamped_steps(op: Builder, x: Value, steps: _Steps) -> Value:
    kind = _wide(x)
    inverse = op.Div(op.constant(1, kind), _along(op, steps.scale, steps, x))
    zero_point = _along(op, steps.zero_point, steps, x)
    if is_integer(dtype(steps.zero_point)):
        return op.Add(op.Round(op.Mul(op.cast(x, kind), inverse)), zero_point)
    return op.Round(op.Add(op.Mul(op.cast(x, kind), inverse), zero_point))


def _to_steps(op: Builder, x: Value, steps: _Steps) -> Value:
    """Steps as floats."""
    kind = _wide(x)
    whole = _unclamped_steps(op, x, steps)
    return op.Clip(whole, op.constant(steps.low, kind), op.constant(steps.high, kind))


def _from_steps(op: Builder, quantized: Value, steps: _Steps) -> Value:
    zero_point = _along(op, steps.zero_point, steps, quantized)
    scale = _along(op, steps.scale, steps, quantized)
    return op.Mul(op.Sub(op.cast(quantized, _wide(quantized)), zero_point), scale)


def _unclamped(op: Builder, x: Value, steps: _Steps) -> Value:
    whole, kind = _unclamped_steps(op, x, steps), _wide(x)
    low, high = op.constant(steps.low, kind), op.constant(steps.high, kind)
    return op.And(op.GreaterOrEqual(whole, low), op.LessOrEqual(whole, high))


# torch.ao's decomposed form; its operators exist only once torch.ao.quantization is imported.


@lowers("quantized_decomposed.quantize_per_tensor.default")
def quantize_per_tensor(
    op: Builder, input: Value, scale: float, zero_point: int, quant_min: int, quant_max: int, dtype: torch.dtype
) -> Value:
    """[*S] -> [*S], clamp(round(x / scale) + zero_point), in the dtype."""
    steps = _Steps(op.constant(scale), op.constant(zero_point), None, quant_min, quant_max)
    return _quantized(op, input, steps, dtype)


@lowers("quantized_decomposed.quantize_per_tensor.tensor")
def quantize_per_tensor_by_tensors(
    op: Builder, input: Value, scale: Value, zero_point: Value, quant_min: int, quant_max: int, dtype: torch.dtype
) -> Value:
    """[*S], one number, one number -> [*S]."""
    return _quantized(op, input, _per_tensor(op, scale, zero_point, quant_min, quant_max), dtype)


@lowers("quantized_decomposed.quantize_per_tensor.tensor2")
def quantize_per_tensor_by_all_tensors(
    op: Builder, input: Value, scale: Value, zero_point: Value, quant_min: Value, quant_max: Value, dtype: torch.dtype
) -> Value:
    """[*S], four numbers -> [*S]."""
    low, high = _known(op, quant_min, "quant_min"), _known(op, quant_max, "quant_max")
    return _quantized(op, input, _per_tensor(op, scale, zero_point, low, high), dtype)


@lowers("quantized_decomposed.quantize_per_channel.default")
def quantize_per_channel(
    op: Builder, input: Value, scales: Value, zero_points: Value, axis: int, quant_min: int, quant_max: int,
    dtype: torch.dtype,
) -> Value:  # fmt: skip
    """[*A, C, *B], [C], [C] -> [*A, C, *B], in the dtype."""
    return _quantized(op, input, _Steps(scales, zero_points, axis % rank(input), quant_min, quant_max), dtype)


@lowers("quantized_decomposed.dequantize_per_tensor.default")
def dequantize_per_tensor(
    op: Builder, input: Value, scale: float, zero_point: int, quant_min: int, quant_max: int, dtype: torch.dtype,
    out_dtype: torch.dtype | None,
) -> Value:  # fmt: skip
    """[*S] -> [*S], (q - zero_point) scale."""
    steps = _Steps(op.constant(scale), op.constant(zero_point), None, quant_min, quant_max)
    return _dequantized(op, input, steps, out_dtype)


@lowers("quantized_decomposed.dequantize_per_tensor.tensor")
def dequantize_per_tensor_by_tensors(
    op: Builder, input: Value, scale: Value, zero_point: Value, quant_min: int, quant_max: int, dtype: torch.dtype,
    out_dtype: torch.dtype | None,
) -> Value:  # fmt: skip
    """[*S], one number, one number -> [*S]."""
    return _dequantized(op, input, _per_tensor(op, scale, zero_point, quant_min, quant_max), out_dtype)


@lowers("quantized_decomposed.dequantize_per_tensor.tensor2")
def dequantize_per_tensor_by_all_tensors(
    op: Builder, input: Value, scale: Value, zero_point: Value, quant_min: Value, quant_max: Value, dtype: torch.dtype,
    out_dtype: torch.dtype | None,
) -> Value:  # fmt: skip
    """[*S], four numbers -> [*S]; the range says nothing here."""
    return _dequantized(op, input, _per_tensor(op, scale, zero_point, 0, 0), out_dtype)


@lowers("quantized_decomposed.dequantize_per_channel.default")
def dequantize_per_channel(
    op: Builder, input: Value, scales: Value, zero_points: Value | None, axis: int, quant_min: int, quant_max: int,
    dtype: torch.dtype, out_dtype: torch.dtype | None,
) -> Value:  # fmt: skip
    """[*A, C, *B], [C], [C] -> [*A, C, *B]."""
    if zero_points is None:
        zero_points = op.expand(op.constant(0), dims(scales))
    return _dequantized(op, input, _Steps(scales, zero_points, axis % rank(input), quant_min, quant_max), out_dtype)


def _known(op: Builder, value: Value, name: str) -> int:
    content = op.content(value)
    if content is None or type(content[0]) is not int:
        raise UnsupportedArgument(
            f"quantized_decomposed.quantize_per_tensor.tensor2: {name} must be a constant",
            hint="use the overload that takes the range as integers",
        )
    return content[0]


def _quantized(op: Builder, x: Value, steps: _Steps, wanted: torch.dtype) -> Value:
    kind = from_torch(wanted)
    if kind in _RANGES and _step_type(op, steps, [kind]) is not None:
        return _quantize_linear(op, op.cast(x, ir.DataType.FLOAT), steps, kind)
    return op.cast(_to_steps(op, op.cast(x, ir.DataType.FLOAT), steps), kind)


def _dequantized(op: Builder, quantized: Value, steps: _Steps, wanted: torch.dtype | None) -> Value:
    kind = ir.DataType.FLOAT if wanted is None else from_torch(wanted)
    steps = steps._replace(low=0, high=0)
    whole = dtype(quantized) in _RANGES and _step_type(op, steps, [dtype(quantized)]) is not None
    result = _dequantize_linear(op, quantized, steps) if whole else _from_steps(op, quantized, steps)
    return op.cast(result, kind)


def _chosen(op: Builder, x: Value, low: int, high: int, eps: float, symmetric: bool, kind: ir.DataType) -> Any:
    """Scale and zero point by the least and the greatest number: float64 [1], int64 [1]."""
    wide = ir.DataType.FLOAT
    axes = list(range(rank(x)))
    x = op.cast(x, wide)
    least = op.Min(op.reduce("ReduceMin", x, axes), 0.0)
    most = op.Max(op.reduce("ReduceMax", x, axes), 0.0)
    if symmetric:
        scale = op.Div(op.Max(op.Neg(least), most), (high - low) / 2)
        zero_point = op.constant([128 if kind == ir.DataType.UINT8 else 0])
    else:
        scale = op.Div(op.Sub(most, least), float(high - low))
        steps = op.Round(op.Div(least, op.Max(scale, eps)))
        zero_point = op.Clip(op.Sub(float(low), steps), float(low), float(high))
        zero_point = op.reshape(op.cast(zero_point, ir.DataType.INT64), [1])
    return op.reshape(op.cast(op.Max(scale, eps), ir.DataType.DOUBLE), [1]), zero_point


@lowers("quantized_decomposed.choose_qparams.tensor")
def choose_qparams(
    op: Builder, input: Value, quant_min: int, quant_max: int, eps: float, dtype: torch.dtype
) -> tuple[Value, Value]:
    """[*S] -> [1] of float64, [1] of int64: scale (max - min) / steps, and the step of zero."""
    return _chosen(op, input, quant_min, quant_max, eps, False, from_torch(dtype))


@lowers("quantized_decomposed.choose_qparams_symmetric.tensor")
def choose_qparams_symmetric(
    op: Builder, input: Value, quant_min: int, quant_max: int, eps: float, dtype: torch.dtype
) -> tuple[Value, Value]:
    """[*S] -> [1] of float64, [1] of int64: scale 2 max |x| / steps, zero in the middle."""
    return _chosen(op, input, quant_min, quant_max, eps, True, from_torch(dtype))
