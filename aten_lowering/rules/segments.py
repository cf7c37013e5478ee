"""Reductions of neighbouring runs of elements."""

from __future__ import annotations

import math
from typing import Any

import onnx_ir as ir
import torch

from aten_lowering.axes import arange
from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.errors import UnsupportedArgument
from aten_lowering.precision import widened
from aten_lowering.registry import lowers

aten = torch.ops.aten

_INT64 = ir.DataType.INT64

# What a reduction starts from, and the one that ScatterElements calls it.
_REDUCTIONS = {
    "sum": (0.0, "add"),
    "mean": (0.0, "add"),
    "prod": (1.0, "mul"),
    "max": (-math.inf, "max"),
    "min": (math.inf, "min"),
}


@lowers(aten.segment_reduce.default)
def segment_reduce(
    op: Builder, data: Value, reduce: str, lengths: Value | None, offsets: Value | None, axis: int, unsafe: bool,
    initial: Any,
) -> Value:  # fmt: skip
    """[*B, n, *R], run lengths [*B, k] or limits [*B, k + 1], axis=len(B) -> [*B, k, *R].

    The mean of an empty run is NaN, unless there is an initial value: then all are that.  What lies behind
    the last run does not count: it is put into one more, which is cut off.
    """
    if lengths is not None:
        ends = op.CumSum(op.cast(lengths, _INT64), op.constant(axis))
        sizes = op.cast(lengths, _INT64)
    elif offsets is not None:
        limits = op.cast(offsets, _INT64)
        ends = op.slice(limits, axis, 1, dims(limits)[axis])
        sizes = op.Sub(ends, op.slice(limits, axis, 0, dims(limits)[axis] - 1))
    else:
        raise UnsupportedArgument("aten.segment_reduce.default: lengths or offsets must be given")
    x = widened(op, data)
    passed = op.LessOrEqual(op.unsqueeze(ends, [axis]), op.unsqueeze(arange(op, dims(data)[axis]), [1]))
    runs = op.reduce("ReduceSum", op.cast(passed, _INT64), [axis + 1])
    behind = list(range(axis + 1, rank(data)))
    places = op.expand(op.unsqueeze(runs, behind), dims(data))
    start, reduction = _REDUCTIONS[reduce]
    begin = op.constant(start if initial is None else float(initial), dtype(x))
    count = dims(sizes)[axis]
    shape = [*dims(data)[:axis], count + 1, *dims(data)[axis + 1 :]]
    result = op.ScatterElements(op.expand(begin, shape), places, x, axis=axis, reduction=reduction)
    result = op.slice(result, axis, 0, count)
    if reduce == "mean":
        number = op.unsqueeze(op.cast(sizes, dtype(x)), behind)
        if initial is not None:
            number = op.Max(number, 1.0)
        result = op.Div(result, number)
    return op.cast(result, dtype(data))
