"""Symbolic sizes as ONNX nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import onnx_ir as ir

from aten_lowering.errors import LoweringError
from shape_inference import Dim, Size, at_least, product, same

if TYPE_CHECKING:
    from aten_lowering.builder import Builder

__all__ = ["SizeNodes", "flattening"]

Value = ir.Value


class SizeNodes:
    """The algebra that computes a symbolic size by ONNX nodes; every value has shape [1]."""

    def __init__(self, op: Builder) -> None:
        self.op = op

    def constant(self, number: int) -> Value:
        return self.op.constant([number])

    def symbol(self, size: Dim) -> Value:
        if not self.op.has_source(size):
            raise LoweringError(f"{self.op.scope or 'model'}: the size {size} cannot be computed in this graph")
        return self.op.size(size)

    def add(self, a: Value, b: Value) -> Value:
        return cast(Value, self.op.Add(a, b))

    def sub(self, a: Value, b: Value) -> Value:
        return cast(Value, self.op.Sub(a, b))

    def mul(self, a: Value, b: Value) -> Value:
        return cast(Value, self.op.Mul(a, b))

    def floordiv(self, a: Value, b: Value) -> Value:
        """ONNX divides toward zero, which is the same where what is divided cannot be negative."""
        content = self.op.content(a)
        if content is not None and at_least(content[0], 0):
            return cast(Value, self.op.Div(a, b))
        remainder = self.op.Mod(a, b)
        return cast(Value, self.op.Div(self.op.Sub(a, remainder), b))

    def mod(self, a: Value, b: Value) -> Value:
        return cast(Value, self.op.Mod(a, b))

    def min(self, a: Value, b: Value) -> Value:
        return cast(Value, self.op.Min(a, b))

    def max(self, a: Value, b: Value) -> Value:
        return cast(Value, self.op.Max(a, b))


def flattening(old: Sequence[Size], sizes: Sequence[Size]) -> int | None:
    """The axis at which Flatten cuts the old sizes into the two new ones, if there is one."""
    cuts = range(len(old) + 1)
    return next((a for a in cuts if same(product(old[:a]), sizes[0]) and same(product(old[a:]), sizes[1])), None)
