"""Padding: by a constant, a reflection, the edge, or from the other side; negative pads cut."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dtype, rank
from aten_lowering.errors import LoweringError
from aten_lowering.promotion import Operand, as_value
from aten_lowering.registry import lowers
from shape_inference import Size, at_least, larger, same

aten = torch.ops.aten

_END = 2**63 - 1

# torch's modes, in the order of its enum, and ONNX's.
MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap", "constant": "constant"}

# What onnxruntime's Pad has no kernel for; both go through int32 without loss.
_SHORT = (ir.DataType.INT16, ir.DataType.UINT16)


@lowers(aten.pad.default)
def pad(op: Builder, self: Value, pad: Sequence[Size], mode: str, value: float | None) -> Value:
    """[*S] -> [s + before + after]; `pad` has two numbers an axis, from the last axis on."""
    return padded(op, self, pad, mode, value)


@lowers(aten._pad_enum.default)
def pad_enum(op: Builder, self: Value, pad: Sequence[Size], mode: int, value: float | None) -> Value:
    """The same as `pad`, the mode by its number."""
    return padded(op, self, pad, list(MODES)[mode], value)


@lowers(aten.constant_pad_nd.default)
def constant_pad_nd(op: Builder, self: Value, pad: Sequence[Size], value: Operand) -> Value:
    """[*S] -> [s + before + after], filled with a number."""
    return padded(op, self, pad, "constant", value)


@lowers(aten.reflection_pad1d.default, aten.reflection_pad2d.default, aten.reflection_pad3d.default)
def reflection_pad(op: Builder, self: Value, padding: Sequence[Size]) -> Value:
    """[*S] -> [s + before + after], mirrored at the edges, which are not repeated."""
    return padded(op, self, padding, "reflect")


@lowers(aten.replication_pad1d.default, aten.replication_pad2d.default, aten.replication_pad3d.default)
def replication_pad(op: Builder, self: Value, padding: Sequence[Size]) -> Value:
    """[*S] -> [s + before + after], filled with what is at the edges."""
    return padded(op, self, padding, "replicate")


@lowers(aten._pad_circular.default)
def pad_circular(op: Builder, self: Value, pad: Sequence[Size]) -> Value:
    """[*S] -> [s + before + after], filled from the other side."""
    return padded(op, self, pad, "circular")


def padded(op: Builder, value: Value, pads: Sequence[Size], mode: str, filling: Operand | None = None) -> Value:
    """[*S] -> [s + before + after] by a mode of torch; pads from the last axis on, two an axis."""
    pads = list(pads)
    while pads and same(pads[-1], 0) and same(pads[-2], 0):
        del pads[-2:]
    if not pads:
        return value
    axes = list(range(rank(value) - len(pads) // 2, rank(value)))
    before, after = list(reversed(pads[::2])), list(reversed(pads[1::2]))
    kind = dtype(value)
    wide = op.cast(value, ir.DataType.INT32) if kind in _SHORT else value
    if mode == "constant":
        number = None if filling is None or filling == 0 else as_value(op, filling, kind)
        result = _pad(op, wide, axes, before, after, mode, None if number is None else op.cast(number, dtype(wide)))
    else:
        first, last = [larger(n, 0) for n in before], [larger(n, 0) for n in after]
        if mode == "circular":
            result = _circular(op, _cut(op, wide, axes, before, after), axes, first, last)
        else:
            result = _cut(op, _pad(op, wide, axes, first, last, MODES[mode]), axes, before, after)
    return op.cast(result, kind)


def _pad(
    op: Builder, value: Value, axes: Sequence[int], before: Sequence[Size], after: Sequence[Size], mode: str,
    number: Value | None = None,
) -> Value:  # fmt: skip
    if all(same(n, 0) for n in (*before, *after)):
        return value
    full = [0] * (rank(value) - len(axes))
    return op.Pad(value, op.shape([*full, *before, *full, *after]), number, mode=None if mode == "constant" else mode)


def _cut(op: Builder, value: Value, axes: Sequence[int], before: Sequence[Size], after: Sequence[Size]) -> Value:
    """Cut by the negative pads, which ONNX takes beside a constant alone.

    torch cuts before it pads around in a circle, and behind in the other modes.
    """
    for axis, first, last in zip(axes, before, after, strict=True):
        if type(first) is not int or type(last) is not int:
            if at_least(first, 0) is not True or at_least(last, 0) is not True:
                raise LoweringError(f"pad: symbolic pads must not be negative in this mode, got {first} and {last}")
        elif first < 0 or last < 0:
            value = op.Slice(value, [max(-first, 0)], [last if last < 0 else _END], [axis])
    return value


def _circular(
    op: Builder, value: Value, axes: Sequence[int], before: Sequence[Size], after: Sequence[Size]
) -> Value:  # fmt: skip
    """The last `before` and the first `after` of an axis put around it; Pad has this from opset 19 on."""
    if op.opset_version >= 19:
        return _pad(op, value, axes, before, after, "wrap")
    for axis, first, last in zip(axes, before, after, strict=True):
        pieces = [] if same(first, 0) else [op.Slice(value, op.shape([-first]), [_END], [axis])]
        pieces.append(value)
        if not same(last, 0):
            pieces.append(op.slice(value, axis, 0, last))
        value = value if len(pieces) == 1 else op.Concat(*pieces, axis=axis)
    return value
