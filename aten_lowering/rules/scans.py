"""Running sums, products, extremes: each element with all before it along a dim."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.dimensions import axes_of, count
from aten_lowering.dtypes import FLOATS, from_torch, is_float
from aten_lowering.elementwise import wide
from aten_lowering.precision import opmath, ordered
from aten_lowering.registry import lowers
from aten_lowering.rules.bits import words_of
from shape_inference import TensorType

aten = torch.ops.aten

_SUMMED = FLOATS | {ir.DataType.INT32, ir.DataType.INT64}


def _accumulated_in(self: Value, kind: torch.dtype | None) -> ir.DataType:
    """The dtype asked for; else integers and bools become int64."""
    if kind is not None:
        return from_torch(kind)
    return dtype(self) if is_float(dtype(self)) else ir.DataType.INT64


@lowers(aten.cumsum.default)
def cumsum(op: Builder, self: Value, dim: int, dtype: torch.dtype | None) -> Value:
    """[*S] -> [*S], y_i = x_0 + ... + x_i along the dim."""
    wanted = _accumulated_in(self, dtype)
    value = op.cast(self, wanted)
    if not rank(self):
        return value
    if wanted not in _SUMMED:
        value = op.cast(value, ir.DataType.INT64)
    return op.cast(op.CumSum(value, op.constant(dim % rank(self))), wanted)


Step = Callable[[Builder, Sequence[Value], Value], Sequence[Value]]


def scan(op: Builder, value: Value, dim: int, starts: Sequence[Value], step: Step) -> tuple[Value, ...]:
    """Scan along an axis: `step(op, states, slice)` gives the next states, which are also what comes out.

    [*L, a, *R], a start of [*L, *R] each -> [*L, a, *R] each.  onnxruntime's Scan ends the process where
    a dynamic size is 0.
    """
    if any(size == 0 for size in dims(value)):
        return tuple(op.cast(value, dtype(start)) for start in starts)
    axis = dim % rank(value)
    sizes = dims(value)[:axis] + dims(value)[axis + 1 :]

    def body(inner: Builder, *inputs: Value) -> list[Value]:
        states = list(step(inner, inputs[:-1], inputs[-1]))
        return states + [inner.Identity(state) for state in states]

    inputs = [("state", TensorType(dtype(start), tuple(dims(start)))) for start in starts]
    graph = op.subgraph(body, [*inputs, ("slice", TensorType(dtype(value), tuple(sizes)))], "scan")
    number = len(starts)
    results: tuple[Value, ...] = op.Scan(
        *starts, value, body=graph, num_scan_inputs=1, scan_input_axes=[axis], scan_output_axes=[axis] * number,
        _outputs=2 * number,
    )  # fmt: skip
    return results[number:]


def _start(op: Builder, value: Value, dim: int, number: float | int, kind: ir.DataType | None = None) -> Value:
    """The state before the first slice: one number everywhere."""
    axis = dim % rank(value)
    sizes = dims(value)[:axis] + dims(value)[axis + 1 :]
    return op.expand(op.constant(number, kind or dtype(value)), sizes)


@lowers(aten.cumprod.default)
def cumprod(op: Builder, self: Value, dim: int, dtype: torch.dtype | None) -> Value:
    """[*S] -> [*S], y_i = x_0 * ... * x_i along the dim."""
    wanted = _accumulated_in(self, dtype)
    value = op.cast(self, wanted)
    if not rank(self):
        return value
    wide = op.cast(value, opmath(wanted) if wanted in FLOATS else ir.DataType.INT64)
    (result,) = scan(op, wide, dim, [_start(op, wide, dim, 1)], lambda inner, states, x: [inner.Mul(states[0], x)])
    return op.cast(result, wanted)


def _extreme(op: Builder, self: Value, dim: int, compare: str, worst: float) -> tuple[Value, Value]:
    """Running extremes and their last places; from the first NaN on, NaN and the place of the last one."""
    if not rank(self):
        return self, op.constant(0)
    value = op.cast(ordered(op, self), opmath(dtype(ordered(op, self))))
    kind, floating = dtype(value), is_float(dtype(value))
    first = worst if floating else int(np.sign(worst) * 2**62)
    limits = None if floating else np.iinfo(kind.numpy())
    start = first if limits is None else int(limits.max if worst > 0 else limits.min)

    def step(inner: Builder, states: Sequence[Value], x: Value) -> list[Value]:
        best, place, now = states
        better = inner.emit(compare, [x, best], {})
        if floating:  # x is NaN, or the best is none and x is not worse
            better = inner.Or(better, inner.IsNaN(x))
            better = inner.And(better, inner.Or(inner.Not(inner.IsNaN(best)), inner.IsNaN(x)))
        return [inner.Where(better, x, best), inner.Where(better, now, place), inner.Add(now, 1)]

    starts = [_start(op, value, dim, start), *[_start(op, value, dim, 0, ir.DataType.INT64)] * 2]
    best, place, _ = scan(op, value, dim, starts, step)
    return op.cast(best, dtype(self)), place


@lowers(aten.hash_tensor.default)
def hash_tensor(op: Builder, self: Value, dim: Sequence[int], keepdim: bool, mode: int) -> Value:
    """[*S] -> [*S] without the dims, uint64: the exclusive or of the elements, or of their bits as doubles."""
    axes = axes_of(self, dim)
    words = words_of(op, wide(op, self)) if is_float(dtype(self)) else op.cast(self, ir.DataType.INT64)
    words = op.cast(words, ir.DataType.UINT64)
    kept = [axis for axis in range(rank(self)) if axis not in axes]
    shape = [dims(self)[axis] for axis in kept]
    row = op.reshape(op.transpose(words, [*axes, *kept]), [count(self, axes), *shape])
    start = op.expand(op.constant(np.zeros((), dtype=np.uint64)), shape)
    if count(self, axes) == 0:
        result = start
    else:
        states = scan(op, row, 0, [start], lambda inner, states, x: [inner.BitwiseXor(states[0], x)])
        result = op.Gather(states[0], op.constant(-1), axis=0)
    return op.unsqueeze(result, axes) if keepdim else result


@lowers(aten.cummax.default)
def cummax(op: Builder, self: Value, dim: int) -> tuple[Value, Value]:
    """[*S] -> the greatest so far along the dim and its place, [*S] each."""
    return _extreme(op, self, dim, "GreaterOrEqual", float("-inf"))


@lowers(aten.cummin.default)
def cummin(op: Builder, self: Value, dim: int) -> tuple[Value, Value]:
    """[*S] -> the least so far along the dim and its place, [*S] each."""
    return _extreme(op, self, dim, "LessOrEqual", float("inf"))


@lowers(aten.logcumsumexp.default, aten._logcumsumexp.default)
def logcumsumexp(op: Builder, self: Value, dim: int) -> Value:
    """[*S] -> [*S], y_i = log(exp(x_0) + ... + exp(x_i)) along the dim, without overflow."""
    if not rank(self):
        return self
    wide = op.cast(self, opmath(dtype(self)))

    limit = float(np.finfo(dtype(wide).numpy()).max)

    def step(inner: Builder, states: Sequence[Value], x: Value) -> list[Value]:
        more, less = inner.Max(states[0], x), inner.Min(states[0], x)
        ratio = inner.Exp(inner.Sub(less, inner.Clip(more, -limit, limit)))
        return [inner.Add(more, inner.Log(inner.Add(ratio, 1.0)))]

    (result,) = scan(op, wide, dim, [_start(op, wide, dim, float("-inf"))], step)
    return op.cast(result, dtype(self))
