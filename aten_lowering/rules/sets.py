"""Elements counted and told apart: unique, search in sorted sequences, histograms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import onnx_ir as ir
import torch

from aten_lowering.axes import arange
from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.dtypes import is_float
from aten_lowering.elementwise import compressed
from aten_lowering.precision import opmath, widened
from aten_lowering.promotion import promoted
from aten_lowering.quotients import Quotient
from aten_lowering.registry import lowers
from shape_inference import Dim, Size, product

aten = torch.ops.aten

_INT64 = ir.DataType.INT64
_UNIQUE_KINDS = {ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.INT64, ir.DataType.INT8}


def _flat(op: Builder, value: Value) -> Value:
    return op.reshape(value, [product(dims(value))])


# Unique elements.


def _unique(op: Builder, self: Value, axis: int | None) -> tuple[Value, Value, Value]:
    """Unique elements or slices in order, the place of each element among them, and how often they are."""
    kind = dtype(self)
    if kind not in _UNIQUE_KINDS:
        self = op.cast(self, opmath(kind) if is_float(kind) else _INT64)
    values, _, inverse, counts = op.Unique(self, axis=axis, sorted=1, _outputs=4)
    return op.cast(values, kind), inverse, counts


@lowers(aten._unique2.default)
def unique(
    op: Builder, self: Value, sorted: bool, return_inverse: bool, return_counts: bool
) -> tuple[Value, Value, Value]:  # fmt: skip
    """[*S] -> the u different elements in order [u], their places [*S], their counts [u]; what is not asked for [0]."""
    values, inverse, counts = _unique(op, self, None)
    nothing = op.constant(np.zeros((0,), dtype=np.int64))
    asked = return_inverse or return_counts
    return values, op.reshape(inverse, dims(self)) if asked else nothing, counts if return_counts else nothing


@lowers(aten._unique.default)
def unique_places(op: Builder, self: Value, sorted: bool, return_inverse: bool) -> tuple[Value, Value]:
    """[*S] -> the u different elements in order [u], and their places [*S], [0] where they are not asked for."""
    values, inverse, _ = unique(op, self, sorted, return_inverse, False)
    return values, inverse


@lowers(aten.unique_dim.default)
def unique_dim(
    op: Builder, self: Value, dim: int, sorted: bool, return_inverse: bool, return_counts: bool
) -> tuple[Value, Value, Value]:  # fmt: skip
    """[*L, a, *R] -> the u different slices in order [*L, u, *R], their places [a], their counts [u]."""
    return _unique(op, self, dim % rank(self))


@lowers(aten.unique_consecutive.default)
def unique_consecutive(
    op: Builder, self: Value, return_inverse: bool, return_counts: bool, dim: int | None
) -> tuple[Value, Value, Value]:  # fmt: skip
    """[*S] -> the first element of each of u runs of equal ones [u], the runs' numbers [*S], their lengths [u].

    With a dim, the same of slices along it.
    """
    value, axis = (_flat(op, self), 0) if dim is None else (self, dim % rank(self))
    size = dims(value)[axis]
    changes = op.Not(op.Equal(op.slice(value, axis, 1, size), op.slice(value, axis, 0, _before(size))))
    others = [a for a in range(rank(value)) if a != axis]
    if others:
        changes = op.cast(op.reduce("ReduceMax", op.cast(changes, ir.DataType.UINT8), others), ir.DataType.BOOL)
    first = op.Concat(op.constant([True]), changes, axis=0) if size != 0 else changes
    values = compressed(op, value, first, axis=axis)
    inverse = op.Sub(op.CumSum(op.cast(first, _INT64), op.constant(0)), 1)
    starts = op.reshape(op.NonZero(first), [dims(values)[axis]])
    ends = op.Concat(op.slice(starts, 0, 1, dims(starts)[0]), op.shape([size]), axis=0) if size != 0 else starts
    counts = op.Sub(ends, starts)
    if dim is not None:
        return values, inverse, counts
    nothing = op.constant(np.zeros((0,), dtype=np.int64))
    asked = return_inverse or return_counts
    return values, op.reshape(inverse, dims(self)) if asked else nothing, counts if return_counts else nothing


@lowers(aten.unique_dim_consecutive.default)
def unique_dim_consecutive(
    op: Builder, self: Value, dim: int, return_inverse: bool, return_counts: bool
) -> tuple[Value, Value, Value]:  # fmt: skip
    """[*L, a, *R] -> the first slice of each of u runs of equal ones [*L, u, *R], their numbers [a], lengths [u]."""
    return unique_consecutive(op, self, return_inverse, return_counts, dim)


def _before(size: Size) -> Size:
    return 0 if size == 0 else size - 1


# Search.


def _search(op: Builder, sequence: Value, values: Value, right: bool, kind: ir.DataType) -> Value:
    """How many elements come before each value: those below it, with `right` those that equal it too.

    [n] or [*B, n], [*B, m] -> [*B, m]: every value is compared with every element.
    """
    if rank(sequence) > 1:
        sequence, values = op.unsqueeze(sequence, [rank(sequence) - 1]), op.unsqueeze(values, [rank(values)])
    else:
        values = op.unsqueeze(values, [rank(values)])
    behind = op.Greater(sequence, values) if right else op.GreaterOrEqual(sequence, values)
    return op.reduce("ReduceSum", op.cast(op.Not(behind), kind), [rank(behind) - 1])


def _kind(out_int32: bool) -> ir.DataType:
    return ir.DataType.INT32 if out_int32 else _INT64


@lowers(aten.bucketize.Tensor, aten.bucketize.Scalar)
def bucketize(op: Builder, self: Any, boundaries: Value, out_int32: bool, right: bool) -> Value:
    """[*S], [n] -> [*S]: the boundaries below each value; with `right`, those that equal it too.

    A boundary equal to the value counts where `right` is True, as in `searchsorted`.
    """
    sequence, values = promoted(op, boundaries, self)
    return _search(op, sequence, values, right, _kind(out_int32))


@lowers(aten.searchsorted.Tensor, aten.searchsorted.Scalar)
def searchsorted(
    op: Builder, sorted_sequence: Value, self: Any, out_int32: bool, right: bool, side: str | None,
    sorter: Value | None,
) -> Value:  # fmt: skip
    """[n] or [*B, n], [*B, m] -> [*B, m], where each value would be put in."""
    if sorter is not None:
        sorted_sequence = op.GatherElements(sorted_sequence, op.cast(sorter, _INT64), axis=-1)
    sequence, values = promoted(op, sorted_sequence, self)
    return _search(op, sequence, values, right or side == "right", _kind(out_int32))


# Histograms.


@lowers(aten.bincount.default)
def bincount(op: Builder, self: Value, weights: Value | None, minlength: Size) -> Value:
    """[n] -> [max(greatest + 1, minlength)]: how often each number is there, or the sum of its weights."""
    places = op.cast(self, _INT64)
    length = op.Max(op.Add(op.reduce("ReduceMax", places, [0], True), 1), op.shape([minlength]))
    if weights is None:
        kind = _INT64
        amounts = op.expand(op.constant(1, kind), dims(self))
    else:
        kind = ir.DataType.FLOAT if weights.dtype == ir.DataType.FLOAT else ir.DataType.DOUBLE
        amounts = op.cast(weights, kind)
    zeros = op.Expand(op.constant(0, kind), length)
    return op.ScatterElements(zeros, places, amounts, axis=0, reduction="add")


def _limits(op: Builder, x: Value, low: Any, high: Any, widening: float) -> tuple[Value, Value]:
    """The range of a histogram: as given, else of the data; one of width 0 is widened to both sides."""
    given = not isinstance(low, (Value, Dim, Quotient)) and not isinstance(high, (Value, Dim, Quotient))
    if given and low != high:
        return op.constant(low, dtype(x)), op.constant(high, dtype(x))
    if given and product(dims(x)) == 0:
        return op.constant(0.0, dtype(x)), op.constant(1.0, dtype(x))
    if given and low == 0:
        least, greatest = op.reduce("ReduceMin", _flat(op, x), [0]), op.reduce("ReduceMax", _flat(op, x), [0])
    else:
        least, greatest = promoted(op, low, high, to=dtype(x))
    margin = op.Where(op.Equal(least, greatest), op.constant(widening, dtype(x)), op.constant(0.0, dtype(x)))
    return op.Sub(least, margin), op.Add(greatest, margin)


@lowers(aten.histc.default)
def histc(op: Builder, self: Value, bins: int, min: Any, max: Any) -> Value:
    """[*S] -> [bins]: how many elements lie in each of equal parts of the range; others do not count."""
    x = _flat(op, widened(op, self))
    low, high = _limits(op, x, min, max, 1.0)
    inside = op.And(op.GreaterOrEqual(x, low), op.LessOrEqual(x, high))
    place = op.Div(op.Mul(op.Sub(x, low), float(bins)), op.Sub(high, low))
    bounded = op.Clip(op.cast(op.Where(inside, place, 0.0), _INT64), 0, bins - 1)
    zeros = op.constant(np.zeros((bins,), dtype=np.float32), dtype(x))
    counted = op.ScatterElements(zeros, bounded, op.cast(inside, dtype(x)), axis=0, reduction="add")
    return op.cast(counted, dtype(self))


def _shares(op: Builder, column: Value, edges: Value) -> Value:
    """[n], [b + 1] -> [n, b], 1 where an element lies in an interval."""
    low, high = op.slice(edges, 0, 0, dims(edges)[0] - 1), op.slice(edges, 0, 1, dims(edges)[0])
    column, last = op.unsqueeze(column, [1]), op.Gather(edges, op.constant([-1]))
    below = op.Or(op.Less(column, high), op.And(op.Equal(column, last), op.Equal(high, last)))
    return op.cast(op.And(op.GreaterOrEqual(column, low), below), dtype(column))


def _histogram(
    op: Builder, columns: Sequence[Value], edges: Sequence[Value], weight: Value | None, density: bool
) -> Value:  # fmt: skip
    """The weight in each cell between edges [b_i + 1] of points whose coordinates are [n] each: [*b]."""
    kind = dtype(columns[0])
    if weight is not None:
        shares = op.unsqueeze(_flat(op, op.cast(weight, kind)), [1])
    else:
        shares = op.expand(op.constant(1.0, kind), [dims(columns[0])[0], 1])
    for column, edge in zip(columns[:-1], edges[:-1], strict=True):
        cells = op.Mul(op.unsqueeze(shares, [2]), op.unsqueeze(_shares(op, column, edge), [1]))
        shares = op.reshape(cells, [dims(cells)[0], product(dims(cells)[1:])])
    totals = op.MatMul(op.transpose(shares, [1, 0]), _shares(op, columns[-1], edges[-1]))
    totals = op.reshape(totals, [dims(edge)[0] - 1 for edge in edges])
    if not density:
        return totals
    total = op.reduce("ReduceSum", totals, list(range(len(edges))))
    for axis, edge in enumerate(edges):
        width = op.Sub(op.slice(edge, 0, 1, dims(edge)[0]), op.slice(edge, 0, 0, dims(edge)[0] - 1))
        totals = op.Div(totals, op.unsqueeze(width, list(range(1, len(edges) - axis))))
    return op.Div(totals, total)


@lowers(aten.histogram.bins_tensor)
def histogram_edges(
    op: Builder, self: Value, bins: Value, weight: Value | None, density: bool
) -> tuple[Value, Value]:  # fmt: skip
    """[*S], [n + 1] -> [n], [n + 1]: what lies between the edges, or its density."""
    return _histogram(op, [_flat(op, self)], [bins], weight, density), bins


def _edges(op: Builder, x: Value, bins: int, limits: Sequence[float] | None) -> Value:
    """[bins + 1]: the edges of equal parts of the range."""
    low, high = _limits(op, x, *((limits[0], limits[1]) if limits else (0.0, 0.0)), 0.5)
    steps = op.Div(arange(op, bins + 1, dtype(x)), float(bins))
    inner = op.slice(op.Add(low, op.Mul(steps, op.Sub(high, low))), 0, 0, bins)
    return op.Concat(inner, op.unsqueeze(high, [0]), axis=0)


@lowers(aten.histogram.bin_ct)
def histogram(
    op: Builder, self: Value, bins: int, range: Sequence[float] | None, weight: Value | None, density: bool
) -> tuple[Value, Value]:  # fmt: skip
    """[*S] -> [bins], [bins + 1]: what lies in equal parts of the range, and their edges."""
    edges = _edges(op, self, bins, range)
    return _histogram(op, [_flat(op, self)], [edges], weight, density), edges


def _columns(op: Builder, points: Value) -> list[Value]:
    """[*S, d] -> d times [n]."""
    count = dims(points)[-1]
    flat = op.reshape(points, [product(dims(points)[:-1]), count])
    return [op.Gather(flat, op.constant(i), axis=1) for i in range(cast(int, count))]


@lowers(aten._histogramdd_bin_edges.default)
def histogramdd_bin_edges(
    op: Builder, self: Value, bins: Sequence[int], range: Sequence[float] | None, weight: Value | None, density: bool
) -> list[Value]:  # fmt: skip
    """[*S, d] -> d times [bins_i + 1]; the range has two numbers for each coordinate."""
    limits = [None if range is None else range[2 * i : 2 * i + 2] for i, _ in enumerate(bins)]
    return [_edges(op, *one) for one in zip(_columns(op, self), bins, limits, strict=True)]


@lowers(aten._histogramdd_from_bin_cts.default)
def histogramdd_from_bin_cts(
    op: Builder, self: Value, bins: Sequence[int], range: Sequence[float] | None, weight: Value | None, density: bool
) -> Value:  # fmt: skip
    """[*S, d] -> [*bins]: what lies in each cell of a grid of equal parts."""
    edges = histogramdd_bin_edges(op, self, bins, range, None, False)
    return _histogram(op, _columns(op, self), edges, weight, density)


@lowers(aten._histogramdd_from_bin_tensors.default)
def histogramdd_from_bin_tensors(
    op: Builder, self: Value, bins: Sequence[Value], weight: Value | None, density: bool
) -> Value:  # fmt: skip
    """[*S, d], d times [b_i + 1] -> [*b]."""
    return _histogram(op, _columns(op, self), bins, weight, density)


@lowers(aten.histogramdd.default)
def histogramdd(
    op: Builder, self: Value, bins: Sequence[int], range: Sequence[float] | None, weight: Value | None, density: bool
) -> list[Value]:  # fmt: skip
    """[*S, d] -> [*bins] and d times [bins_i + 1]: the cells of a grid of equal parts, and its edges."""
    edges = histogramdd_bin_edges(op, self, bins, range, None, False)
    return [_histogram(op, _columns(op, self), edges, weight, density), *edges]


@lowers(aten.histogramdd.int_bins)
def histogramdd_int_bins(
    op: Builder, self: Value, bins: int, range: Sequence[float] | None, weight: Value | None, density: bool
) -> list[Value]:  # fmt: skip
    """The same, with as many parts in each dim."""
    return histogramdd(op, self, [bins] * cast(int, dims(self)[-1]), range, weight, density)


@lowers(aten.histogramdd.TensorList_bins)
def histogramdd_edges(
    op: Builder, self: Value, bins: Sequence[Value], range: Sequence[float] | None, weight: Value | None, density: bool
) -> list[Value]:  # fmt: skip
    """The same, with given edges."""
    return [_histogram(op, _columns(op, self), bins, weight, density), *bins]
