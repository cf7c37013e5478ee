"""Random numbers that follow from a seed: the same seed gives the same numbers on any runtime."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from aten_lowering.builder import Builder, Value
from aten_lowering.errors import OpsetError
from aten_lowering.registry import lowers
from shape_inference import Size, product

_UINT = ir.DataType.UINT32
# Multipliers of the mixing: odd, with bits all over.
_SPREAD, _FIRST, _SECOND = 0x9E3779B1, 0x7FEB352D, 0x846CA68B


@lowers("fx2onnx.uniform.default")
def uniform(op: Builder, seed: Value, stream: int, sizes: Sequence[Size]) -> Value:
    """A seed [] -> [*sizes], float32 in [0, 1): 24 bits of each place's number, mixed with the seed's.

    Products, shifts and exclusive ors of uint32, which wrap; streams of one seed have nothing in common.

    Raises:
        OpsetError: below opset 18, which has no exclusive or of numbers.
    """
    if op.opset_version < 18:
        raise OpsetError(
            f"random numbers from a seed: need opset 18, got {op.opset_version}",
            hint="ask for opset_version=18, or train with dropout=False",
        )
    key = op.Mul(op.cast(seed, _UINT), op.constant(_SPREAD, _UINT))
    key = _mixed(op, op.Add(key, op.constant(stream * _FIRST % 2**32, _UINT)))
    places = op.Range(op.scalar(0), op.scalar(product(sizes)), op.scalar(1))
    number = op.Mul(op.cast(places, _UINT), op.constant(_SPREAD, _UINT))
    bits = op.BitShift(_mixed(op, op.Add(number, key)), op.constant(8, _UINT), direction="RIGHT")
    return op.reshape(op.Mul(op.cast(bits, ir.DataType.FLOAT), 2.0**-24), list(sizes))


def _mixed(op: Builder, number: Value) -> Value:
    """A number whose every bit depends on every bit of the other: high bits come down, products take them up."""
    for shift, factor in ((16, _FIRST), (15, _SECOND), (16, None)):
        number = op.BitwiseXor(number, op.BitShift(number, op.constant(shift, _UINT), direction="RIGHT"))
        if factor is not None:
            number = op.Mul(number, op.constant(factor, _UINT))
    return number
