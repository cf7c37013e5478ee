"""The bits of numbers, as another element type reads them, by arithmetic: BitCast begins with opset 26.

Between its own type and another a number goes by way of the signed integer with the same bits, which is held in
int64 whatever its width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, rank
from aten_lowering.builder import dtype as dtype_of
from aten_lowering.dtypes import from_torch, is_float, is_integer
from aten_lowering.elementwise import is_negative, wide
from aten_lowering.errors import UnsupportedArgument
from aten_lowering.registry import lowers
from aten_lowering.rules.number_parts import frexp

aten = torch.ops.aten

_INT64, _DOUBLE = ir.DataType.INT64, ir.DataType.DOUBLE
_SIGNED = {8: ir.DataType.INT8, 16: ir.DataType.INT16, 32: ir.DataType.INT32, 64: _INT64}  # by bits


class _Format(NamedTuple):
    """How a float lies in memory: sign, exponent, fraction."""

    fraction_bits: int
    bias: int  # of the exponent
    bits: int


_FORMATS = {
    _DOUBLE: _Format(52, 1023, 64),
    ir.DataType.FLOAT: _Format(23, 127, 32),
    ir.DataType.FLOAT16: _Format(10, 15, 16),
    ir.DataType.BFLOAT16: _Format(7, 127, 16),
}


@lowers(aten.view.dtype)
def view_dtype(op: Builder, self: Value, dtype: torch.dtype) -> Value:
    """[*S, n] -> [*S, n * old width // new width], the same bits as another type, the lowest first.

    Every NaN counts as the positive quiet one: ONNX does not tell them apart.

    Raises:
        UnsupportedArgument: one of the types is not an integer, a bool or a float of 16 to 64 bits.
    """
    kind, old = from_torch(dtype), dtype_of(self)
    if old == kind:
        return self
    for one in (old, kind):
        if one not in _FORMATS and not is_integer(one) and one != ir.DataType.BOOL:
            raise UnsupportedArgument(
                f"aten.view.dtype: the dtypes must be integers or floats of 16 bits or more, got {one.name}",
                hint="use tensor.to(dtype) where the numbers are meant, not their bits",
            )
    old_width, width = old.bitwidth, kind.bitwidth
    if old_width == width and not is_float(old) and not is_float(kind):
        return op.cast(self, kind)
    words = words_of(op, self)
    if old_width > width:
        words = _divided(op, words, old_width // width, width)
    elif old_width < width:
        words = _joined(op, words, width // old_width, old_width)
    return _numbers(op, words, kind) if kind in _FORMATS else op.cast(words, kind)


def words_of(op: Builder, x: Value) -> Value:
    """[*S] -> [*S] int64, the signed integers with the same bits."""
    kind = dtype_of(x)
    if kind not in _FORMATS:
        return op.cast(op.cast(x, _SIGNED[kind.bitwidth]), _INT64)
    form, x = _FORMATS[kind], wide(op, x)
    size = op.Abs(x)
    mantissa, exponent = frexp(op, size)  # size = mantissa 2^exponent, 1/2 <= mantissa < 1
    raised = op.Add(op.cast(exponent, _INT64), form.bias - 1)
    one = op.constant(2**form.fraction_bits)
    # Below the least exponent a number is so many times the least number; in two steps, because no double holds
    # the greatest factor.
    small = op.Mul(op.Mul(size, 2.0**form.bias), 2.0 ** (form.fraction_bits - 1))
    normal = op.Mul(op.Sub(op.Mul(mantissa, 2.0), 1.0), 2.0**form.fraction_bits)
    is_small = op.Less(size, 2.0 ** (1 - form.bias))
    fraction = op.cast(op.Where(is_small, small, op.Clip(normal, 0.0, 2.0**form.fraction_bits)), _INT64)
    word = op.Add(op.Mul(op.Where(is_small, op.constant(0), raised), one), fraction)
    beyond = (2 * form.bias + 1) * 2**form.fraction_bits
    word = op.Where(op.IsInf(size), op.constant(beyond), word)
    word = op.Where(op.IsNaN(size), op.constant(beyond + 2 ** (form.fraction_bits - 1)), word)
    sign = op.constant(-(2 ** (form.bits - 1)))
    return op.Where(is_negative(op, x), op.Add(word, sign), word)


def _numbers(op: Builder, word: Value, kind: ir.DataType) -> Value:
    """[*S] int64 -> [*S], the floats with the bits of these signed integers."""
    form = _FORMATS[kind]
    negative = op.Less(word, 0)
    word = op.Where(negative, op.Add(op.Add(word, 2 ** (form.bits - 2)), 2 ** (form.bits - 2)), word)
    one = op.constant(2**form.fraction_bits)
    raised = op.Div(word, one)
    part = wide(op, op.Sub(word, op.Mul(raised, one)))
    is_small = op.Equal(raised, 0)
    fraction = op.Mul(part, 2.0**-form.fraction_bits)
    lead = op.Where(is_small, op.constant(0.0, _DOUBLE), op.constant(1.0, _DOUBLE))
    exponent = op.Sub(op.Clip(raised, 1, 2 * form.bias), form.bias)
    size = op.Mul(op.Add(fraction, lead), op.Pow(op.constant(2.0, _DOUBLE), wide(op, exponent)))
    last = op.Where(op.Greater(part, 0.0), op.constant(math.nan, _DOUBLE), op.constant(math.inf, _DOUBLE))
    size = op.Where(op.Greater(raised, 2 * form.bias), last, size)
    return op.cast(op.Where(negative, op.Neg(size), size), kind)


def _divided(op: Builder, word: Value, parts: int, bits: int) -> Value:
    """[*S, n] -> [*S, n * parts], each word as several of fewer bits, the lowest first and all of them signed."""
    lows = []
    for _ in range(parts - 1):
        low = op.Mod(word, 2**bits)
        lows.append(low)
        word = op.Div(op.Sub(word, low), 2**bits)
    lead = dims(word)
    whole = op.Concat(*(op.unsqueeze(part, [rank(word)]) for part in (*lows, word)), axis=rank(word))
    whole = op.reshape(whole, [*lead[:-1], lead[-1] * parts])
    return op.cast(op.cast(whole, _SIGNED[bits]), _INT64)


def _joined(op: Builder, word: Value, parts: int, bits: int) -> Value:
    """[*S, n * parts] -> [*S, n], several words, the lowest first, as one of more bits."""
    *lead, last = dims(word)
    word = op.reshape(word, [*lead, last // parts, parts])
    *lows, result = (op.Gather(word, part, axis=-1) for part in range(parts))
    for low in reversed(lows):
        result = op.Add(op.Mul(result, 2**bits), op.Mod(low, 2**bits))
    return result
