"""Activations: pointwise, float to float."""

from __future__ import annotations

from typing import Any

import torch

from aten_lowering.builder import Builder, Value
from aten_lowering.registry import lowers

aten = torch.ops.aten

# One overload, one ONNX op without attributes, for floats.
POINTWISE: dict[Any, str] = {
    aten.sigmoid.default: "Sigmoid",
    aten.tanh.default: "Tanh",
}


def _pointwise(overload: Any, op_type: str) -> None:
    @lowers(overload)
    def rule(op: Builder, self: Value) -> Value:
        return op.emit(op_type, [self], {})  # type: ignore[no-any-return]


for _overload, _op_type in POINTWISE.items():
    _pointwise(_overload, _op_type)


@lowers(aten.relu.default)
def relu(op: Builder, self: Value) -> Value:
    """[*L] -> [*L], max(x, 0)."""
    return op.Relu(self)  # type: ignore[no-any-return]
