"""Softmax and its relatives."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, rank
from aten_lowering.dtypes import from_torch
from aten_lowering.registry import lowers

aten = torch.ops.aten

SOFTMAXES: dict[Any, str] = {
    aten.softmax.int: "Softmax",
    aten.special_softmax.default: "Softmax",
    aten.log_softmax.int: "LogSoftmax",
    aten.special_log_softmax.default: "LogSoftmax",
}
INNER_SOFTMAXES: dict[Any, str] = {aten._softmax.default: "Softmax", aten._log_softmax.default: "LogSoftmax"}


def along(op: Builder, op_type: str, self: Value, dim: int) -> Value:
    """Softmax or LogSoftmax along a dim; a tensor of rank 0 counts as one of shape [1]."""
    if not rank(self):
        return op.reshape(op.emit(op_type, [op.reshape(self, [1])], {"axis": 0}), [])
    return op.emit(op_type, [self], {"axis": dim % rank(self)})


def _softmax(overload: Any, op_type: str) -> None:
    @lowers(overload)
    def rule(op: Builder, self: Value, dim: int, dtype: torch.dtype | None) -> Value:
        """[*S] -> [*S]: exp(x) / sum(exp(x)) along the dim, or its logarithm."""
        return along(op, op_type, self if dtype is None else op.cast(self, from_torch(dtype)), dim)


def _inner_softmax(overload: Any, op_type: str) -> None:
    @lowers(overload)
    def rule(op: Builder, self: Value, dim: int, half_to_float: bool) -> Value:
        """[*S] -> [*S], in float32 if the half is to become float."""
        return along(op, op_type, op.cast(self, ir.DataType.FLOAT) if half_to_float else self, dim)


for _overload, _op_type in SOFTMAXES.items():
    _softmax(_overload, _op_type)
for _overload, _op_type in INNER_SOFTMAXES.items():
    _inner_softmax(_overload, _op_type)


@lowers(aten._safe_softmax.default)
def safe_softmax(op: Builder, self: Value, dim: int, dtype: torch.dtype | None) -> Value:
    """[*S] -> [*S]: softmax; where all of a row is -inf, zeros in place of NaN."""
    value = self if dtype is None else op.cast(self, from_torch(dtype))
    result = along(op, "Softmax", value, dim)
    greatest = op.reduce("ReduceMax", value, [dim % rank(value)] if rank(value) else [], True)
    return op.Where(op.Equal(greatest, float("-inf")), 0.0, result)


@lowers(aten._masked_softmax.default)
def masked_softmax(op: Builder, self: Value, mask: Value, dim: int | None, mask_type: int | None) -> Value:
    """[*S], a mask of what does not count -> [*S]; a row of which nothing counts is NaN.

    mask_type 0 is a mask [L, L] for all batches and heads, 1 is [B, L] for keys, 2 or None is [*S].
    """
    if mask_type == 1:
        mask = op.unsqueeze(mask, [1, 2])
    axis = (-1 if dim is None else dim) % rank(self)
    return along(op, "Softmax", op.Where(mask, float("-inf"), self), axis)


@lowers(aten._softmax_backward_data.default)
def softmax_backward_data(
    op: Builder, grad_output: Value, output: Value, dim: int, input_dtype: torch.dtype
) -> Value:  # fmt: skip
    """[*S], [*S] -> [*S]: y (g - sum(g y)) along the dim."""
    kind = from_torch(input_dtype)
    product = op.Mul(grad_output, output)
    total = op.reduce("ReduceSum", product, [dim % rank(output)] if rank(output) else [], True)
    return op.cast(op.Sub(product, op.Mul(output, total)), kind)
