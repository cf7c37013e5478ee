"""gather, scatter and its reductions: elements by places along one axis."""

from __future__ import annotations

import math
from typing import Any

import onnx_ir as ir
import torch

from aten_lowering.axes import axis_of
from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.dtypes import is_float
from aten_lowering.promotion import Operand, as_value
from aten_lowering.registry import lowers
from aten_lowering.rules.indexing import as_places, scatter_elements, scattered
from aten_lowering.rules.layouts import broadcast_sizes
from aten_lowering.rules.reshapes import flat
from shape_inference import same

aten = torch.ops.aten

# torch's names of reductions, in `scatter` and in `scatter_reduce`.
REDUCTIONS = {"add": "add", "multiply": "mul", "sum": "add", "prod": "mul", "amax": "max", "amin": "min", "mean": "add"}


@lowers(aten.gather.default)
def gather(op: Builder, self: Value, dim: int, index: Value, sparse_grad: bool) -> Value:
    """[*S], [*I] of the same rank -> [*I]: along one axis at the index's places, else in place."""
    if rank(self) == 0:
        return op.expand(self, dims(index))
    index = as_places(op, index)
    if rank(index) == 0:
        return op.reshape(op.GatherElements(self, op.reshape(index, [1])), [])
    return op.GatherElements(self, index, axis=axis_of(self, dim))


@lowers(aten.take_along_dim.default)
def take_along_dim(op: Builder, self: Value, indices: Value, dim: int | None) -> Value:
    """`gather` where all other axes broadcast; no dim: of the flattened tensors."""
    if dim is None:
        return op.Gather(flat(op, self), flat(op, indices), axis=0)
    axis = axis_of(self, dim)
    sizes = broadcast_sizes([[*dims(v)[:axis], 1, *dims(v)[axis + 1 :]] for v in (self, indices)])
    both = [op.expand(v, [*sizes[:axis], dims(v)[axis], *sizes[axis + 1 :]]) for v in (self, indices)]
    return op.GatherElements(*both, axis=axis)


@lowers(aten.scatter.src)
def scatter(op: Builder, self: Value, dim: int, index: Value, src: Value) -> Value:
    """[*S], [*I], [at least *I] -> [*S] with src's elements put at the places."""
    return _scattered(op, self, dim, index, src, None)


@lowers(aten.scatter.reduce)
def scatter_by(op: Builder, self: Value, dim: int, index: Value, src: Value, reduce: str) -> Value:
    """[*S], [*I], [at least *I] -> [*S] with src's elements added or multiplied in at the places."""
    return _scattered(op, self, dim, index, src, REDUCTIONS[reduce])


@lowers(aten.scatter.value)
def scatter_value(op: Builder, self: Value, dim: int, index: Value, value: Operand) -> Value:
    """[*S], [*I] -> [*S] with one number put at the places."""
    return _scattered(op, self, dim, index, op.expand(as_value(op, value, dtype(self)), dims(index)), None)


@lowers(aten.scatter.value_reduce)
def scatter_value_by(op: Builder, self: Value, dim: int, index: Value, value: Operand, reduce: str) -> Value:
    """[*S], [*I] -> [*S] with one number added or multiplied in at the places."""
    src = op.expand(as_value(op, value, dtype(self)), dims(index))
    return _scattered(op, self, dim, index, src, REDUCTIONS[reduce])


@lowers(aten.scatter_add.default)
def scatter_add(op: Builder, self: Value, dim: int, index: Value, src: Value) -> Value:
    """[*S], [*I], [at least *I] -> [*S] with src's elements added at the places."""
    return _scattered(op, self, dim, index, src, "add")


def _scattered(op: Builder, value: Value, dim: int, index: Value, src: Value, reduction: str | None) -> Value:
    """`scatter_elements`, where src may be larger than the index, and ranks may be 0."""
    index = as_places(op, index)
    if rank(value) == 0:
        row, index, src = (op.reshape(v, [1]) for v in (value, index, src))
        return op.reshape(scatter_elements(op, row, index, src, 0, reduction), [])
    if rank(index) == 0:
        index, src = op.reshape(index, [1]), op.reshape(src, [1])
    for axis, (wanted, given) in enumerate(zip(dims(index), dims(src), strict=True)):
        if not same(wanted, given):
            src = op.slice(src, axis, 0, wanted)
    return scatter_elements(op, value, index, src, axis_of(value, dim), reduction)


@lowers(aten.scatter_reduce.two)
def scatter_reduce(
    op: Builder, self: Value, dim: int, index: Value, src: Value, reduce: str, include_self: bool
) -> Value:  # fmt: skip
    """[*S], [*I], [at least *I] -> [*S], each place reduced over what falls there.

    Without include_self, a place that something falls on starts at the neutral element.
    """
    if not include_self:
        first = op.expand(neutral(op, reduce, dtype(self)), dims(index))
        start = _scattered(op, self, dim, index, first, None)
    else:
        start = self
    result = _scattered(op, start, dim, index, src, REDUCTIONS[reduce])
    if reduce != "mean":
        return result
    one = op.expand(op.constant(1, dtype(self)), dims(index))
    zeros = op.expand(op.constant(int(include_self), dtype(self)), dims(self))
    return averaged(op, result, _scattered(op, zeros, dim, index, one, "add"), include_self)


def averaged(op: Builder, total: Value, count: Value, include_self: bool) -> Value:
    """Return total / count, rounded down for integers; where nothing was counted, the total."""
    kind = dtype(total)
    if not include_self:
        count = op.Max(count, op.constant(1, kind))
    if is_float(kind):
        return op.Div(total, count)
    rest = op.Mod(total, count)  # of the sign of the divisor, so that the division below is exact
    return op.Div(op.Sub(total, rest), count)


def neutral(op: Builder, reduce: str, kind: ir.DataType) -> Value:
    """What changes nothing in a reduction: 0, 1, the least or the greatest number."""
    if reduce in ("amax", "amin"):
        sign = -1 if reduce == "amax" else 1
        return op.constant(sign * math.inf if is_float(kind) else _limit(kind, sign), kind)
    return op.constant(1 if reduce == "prod" else 0, kind)


def _limit(kind: ir.DataType, sign: int) -> Any:
    if kind == ir.DataType.BOOL:
        return sign > 0
    info = torch.iinfo(getattr(torch, kind.name.lower()))
    return info.max if sign > 0 else info.min


@lowers(aten.index_reduce.default)
def index_reduce(
    op: Builder, self: Value, dim: int, index: Value, source: Value, reduce: str, include_self: bool
) -> Value:  # fmt: skip
    """[*L, a, *R], [n], [*L, n, *R] -> [*L, a, *R], each place reduced over the rows that fall there."""
    axis, shape = axis_of(self, dim), dims(source)
    start = self
    if not include_self:
        start = scattered(op, self, index, op.expand(neutral(op, reduce, dtype(self)), shape), axis, None)
    result = scattered(op, start, index, source, axis, REDUCTIONS[reduce])
    if reduce != "mean":
        return result
    one = op.expand(op.constant(1, dtype(self)), shape)
    zeros = op.expand(op.constant(int(include_self), dtype(self)), dims(self))
    return averaged(op, result, scattered(op, zeros, index, one, axis, "add"), include_self)
