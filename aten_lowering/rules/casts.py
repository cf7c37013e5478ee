"""Changes of the element type.  Plain copies never get here: the capture gives them their argument's node."""

from __future__ import annotations

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims
from aten_lowering.builder import dtype as dtype_of
from aten_lowering.dtypes import from_torch
from aten_lowering.registry import lowers

aten = torch.ops.aten

_FLOAT8 = frozenset(
    {ir.DataType.FLOAT8E4M3FN, ir.DataType.FLOAT8E4M3FNUZ, ir.DataType.FLOAT8E5M2, ir.DataType.FLOAT8E5M2FNUZ}
)


@lowers(aten.to.dtype, aten.to.device, aten.to.dtype_layout, aten._to_copy.default)
def to(op: Builder, self: Value, dtype: torch.dtype | None) -> Value:
    """[*S] -> [*S], another element type; a float becomes the integer toward zero.

    What is too large for a float8 becomes NaN or infinity, as in torch.
    """
    if dtype is None:
        return self
    kind = from_torch(dtype)
    if kind in _FLOAT8 and self.dtype != kind:
        return op.Cast(self, to=kind, saturate=0)
    return op.cast(self, kind)


@lowers(aten.to.other, aten.type_as.default)
def to_other(op: Builder, self: Value, other: Value) -> Value:
    """[*S] -> [*S], the element type of the other."""
    return op.cast(self, dtype_of(other))


@lowers(torch.ops.prims.convert_element_type.default)
def convert_element_type(op: Builder, a: Value, dtype: torch.dtype) -> Value:
    """[*S] -> [*S], another element type."""
    return to(op, a, dtype)


@lowers(aten.copy.default)
def copy(op: Builder, self: Value, src: Value) -> Value:
    """[*S], [*T] -> [*S], the second in the shape and type of the first."""
    return op.expand(op.cast(src, dtype_of(self)), dims(self))
