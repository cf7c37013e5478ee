"""Covariances and correlations of variables, one a row."""

from __future__ import annotations

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.dtypes import is_float
from aten_lowering.registry import lowers
from aten_lowering.rules.matrices import identity_of, transposed

aten = torch.ops.aten


def _covariance(op: Builder, rows: Value, correction: int, counts: Value | None, weights: Value | None) -> Value:
    """[V, N] -> [V, V]."""
    kind = dtype(rows)
    number = op.scalar(dims(rows)[1], kind)
    both = counts if weights is None else weights if counts is None else op.Mul(counts, weights)
    if both is None:
        total, mean = number, op.reduce("ReduceMean", rows, [1], keepdims=True)
    else:
        total = op.reduce("ReduceSum", both, [0])
        mean = op.Div(op.reduce("ReduceSum", op.Mul(rows, both), [1], keepdims=True), total)
    centered = op.Sub(rows, mean)
    weighed = centered if both is None else op.Mul(centered, both)
    lost = op.constant(float(correction), kind)
    if weights is not None and both is not None and correction:
        lost = op.Mul(lost, op.Div(op.reduce("ReduceSum", op.Mul(both, weights), [0]), total))
    divisor = op.Max(op.Sub(total, lost), op.constant(0.0, kind))
    return op.Div(op.MatMul(weighed, transposed(op, centered)), divisor)


def _rows(op: Builder, variables: Value) -> Value:
    """[V, N], of floats; a tensor of lower rank is one variable."""
    kind = dtype(variables)
    rows = variables if is_float(kind) else op.cast(variables, ir.DataType.FLOAT)
    return op.reshape(rows, [1, *dims(rows)] if rank(rows) else [1, 1]) if rank(rows) < 2 else rows


@lowers(aten.cov.default)
def cov(op: Builder, self: Value, correction: int, fweights: Value | None, aweights: Value | None) -> Value:
    """[V, N] -> [V, V], one variable -> []; the columns may count several times, and be weighed."""
    rows = _rows(op, self)
    counts, weights = (None if w is None else op.cast(w, dtype(rows)) for w in (fweights, aweights))
    result = _covariance(op, rows, correction, counts, weights)
    return op.reshape(result, []) if dims(rows)[0] == 1 else result


@lowers(aten.corrcoef.default)
def corrcoef(op: Builder, self: Value) -> Value:
    """[V, N] -> [V, V], one variable -> [], covariances over the product of the deviations, within -1 and 1."""
    rows = _rows(op, self)
    result = _covariance(op, rows, 1, None, None)
    if dims(rows)[0] == 1:
        return op.reshape(op.Div(result, result), [])
    kind = dtype(rows)
    deviations = op.Sqrt(op.reduce("ReduceSum", op.Mul(result, identity_of(op, result)), [1], keepdims=True))
    scaled = op.Div(op.Div(result, deviations), transposed(op, deviations))
    return op.Clip(scaled, op.constant(-1.0, kind), op.constant(1.0, kind))
