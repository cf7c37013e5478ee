"""Order along a dim: sorting, selecting by rank."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.dimensions import axes_of
from aten_lowering.dtypes import is_float
from aten_lowering.precision import ordered
from aten_lowering.promotion import as_value
from aten_lowering.registry import lowers
from shape_inference import Size, product

aten = torch.ops.aten


def top(
    op: Builder, self: Value, k: Size, dim: int, largest: bool, in_order: bool = True
) -> tuple[Value, Value]:  # fmt: skip
    """The k greatest or least along a dim, and their places: [*L, a, *R] -> [*L, k, *R] each.

    Equal elements come in the order of their places.  onnxruntime gives NaN no place in the order.
    """
    if not rank(self):
        return self, op.constant(0)
    values, places = op.TopK(
        ordered(op, self), op.shape([k]), axis=dim % rank(self), largest=int(largest), sorted=int(in_order), _outputs=2
    )
    return op.cast(values, dtype(self)), places


@lowers(aten.topk.default)
def topk(op: Builder, self: Value, k: Size, dim: int, largest: bool, sorted: bool) -> tuple[Value, Value]:
    """[*L, a, *R] -> [*L, k, *R] each."""
    return top(op, self, k, dim, largest, sorted)


@lowers(aten.sort.default)
def sort(op: Builder, self: Value, dim: int, descending: bool) -> tuple[Value, Value]:
    """[*S] -> [*S] each: in order along the dim, equal elements in the order of their places."""
    return top(op, self, dims(self)[dim] if rank(self) else 1, dim, descending)


@lowers(aten.sort.stable)
def sort_stable(op: Builder, self: Value, stable: bool | None, dim: int, descending: bool) -> tuple[Value, Value]:
    """The same as `sort`, which is stable."""
    return sort(op, self, dim, descending)


@lowers(aten.argsort.default)
def argsort(op: Builder, self: Value, dim: int, descending: bool) -> Value:
    """[*S] -> [*S], the places in order along the dim."""
    return sort(op, self, dim, descending)[1]


@lowers(aten.argsort.stable)
def argsort_stable(op: Builder, self: Value, stable: bool, dim: int, descending: bool) -> Value:
    """The same as `argsort`."""
    return sort(op, self, dim, descending)[1]


@lowers(aten.msort.default)
def msort(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], in order along the first dim."""
    return sort(op, self, 0, False)[0]


@lowers(aten.kthvalue.default)
def kthvalue(op: Builder, self: Value, k: Size, dim: int, keepdim: bool) -> tuple[Value, Value]:
    """[*L, a, *R] -> the k-th least along the dim and its place, [*L, *R] each.

    Of equal elements the place is that of the k-th in their order, where torch names any of them.
    """
    if not rank(self):
        return self, op.constant(0)
    values, places = top(op, self, k, dim, False)
    return _last(op, values, dim, keepdim), _last(op, places, dim, keepdim)


def _last(op: Builder, value: Value, dim: int, keepdim: bool) -> Value:
    """The last slice along a dim."""
    return op.Gather(value, op.constant([-1] if keepdim else -1), axis=dim % rank(value))


# Medians.


@lowers(aten.median.dim)
def median(op: Builder, self: Value, dim: int, keepdim: bool) -> tuple[Value, Value]:
    """[*L, a, *R] -> the lower median along the dim and its place, [*L, *R] each; NaN and its place, if any."""
    if not rank(self):
        return self, op.constant(0)
    k = (dims(self)[dim] + 1) // 2
    if not is_float(dtype(self)):
        return kthvalue(op, self, k, dim, keepdim)
    missing = op.IsNaN(self)
    value, place = kthvalue(op, op.Where(missing, float("inf"), self), k, dim, keepdim)
    flags = op.cast(missing, ir.DataType.UINT8)
    first = op.ArgMax(flags, axis=dim % rank(self), keepdims=int(keepdim))
    found = op.cast(op.reduce("ReduceMax", flags, axes_of(self, dim), keepdim), ir.DataType.BOOL)
    return op.Where(found, float("nan"), value), op.Where(found, first, place)


@lowers(aten.median.default)
def median_all(op: Builder, self: Value) -> Value:
    """[*S] -> [], the lower median; of nothing NaN."""
    return _of_all(op, self, median)


@lowers(aten.nanmedian.dim)
def nanmedian(op: Builder, self: Value, dim: int, keepdim: bool) -> tuple[Value, Value]:
    """[*L, a, *R] -> the lower median along the dim of what is not NaN, and its place, [*L, *R] each."""
    if not is_float(dtype(self)) or not rank(self):
        return median(op, self, dim, keepdim)
    missing, axes = op.IsNaN(self), axes_of(self, dim)
    values, places = sort(op, op.Where(missing, float("inf"), self), dim, False)
    number = op.reduce("ReduceSum", op.cast(op.Not(missing), ir.DataType.INT64), axes, True)
    middle = op.Div(op.Sub(op.Max(number, 1), 1), 2)
    value = op.Where(op.Equal(number, 0), float("nan"), op.GatherElements(values, middle, axis=axes[0]))
    place = op.GatherElements(places, middle, axis=axes[0])
    return (value, place) if keepdim else (op.squeeze(value, axes), op.squeeze(place, axes))


@lowers(aten.nanmedian.default)
def nanmedian_all(op: Builder, self: Value) -> Value:
    """[*S] -> [], the lower median of what is not NaN."""
    return _of_all(op, self, nanmedian)


def _of_all(op: Builder, self: Value, rule: Callable[..., tuple[Value, Value]]) -> Value:
    """What a rule for one dim makes of the flattened tensor."""
    if product(dims(self)) == 0:
        return op.constant(math.nan if is_float(dtype(self)) else 0, dtype(self))
    return rule(op, op.reshape(self, [product(dims(self))]), 0, False)[0]


@lowers(aten.mode.default)
def mode(op: Builder, self: Value, dim: int, keepdim: bool) -> tuple[Value, Value]:
    """[*L, a, *R] -> the most frequent element along the dim, the least of them, and its last place."""
    if not rank(self):
        return self, op.constant(0)
    axis = dim % rank(self)
    x = ordered(op, self)
    order = [a for a in range(rank(self)) if a != axis] + [axis]
    last = op.transpose(x, order)
    equal = op.Equal(op.unsqueeze(last, [rank(x)]), op.unsqueeze(last, [rank(x) - 1]))
    counts = op.reduce("ReduceSum", op.cast(equal, ir.DataType.INT32), [rank(x)])
    frequent = op.Equal(counts, op.reduce("ReduceMax", counts, [rank(x) - 1], True))
    kind = dtype(x)
    top_value = math.inf if is_float(kind) else int(np.iinfo(kind.numpy()).max)
    value = op.reduce("ReduceMin", op.Where(frequent, last, top_value), [rank(x) - 1], True)
    here = op.cast(op.Equal(last, value), ir.DataType.UINT8)
    place = op.ArgMax(here, axis=rank(x) - 1, keepdims=0, select_last_index=1)
    value = op.cast(op.squeeze(value, [rank(x) - 1]), dtype(self))
    return (op.unsqueeze(value, [axis]), op.unsqueeze(place, [axis])) if keepdim else (value, place)


# Quantiles.


def _quantile(
    op: Builder, self: Value, q: Value, dim: int | None, keepdim: bool, interpolation: str, passes_nan: bool
) -> Value:  # fmt: skip
    """[*L, a, *R], [Q] or [] -> [Q, *L, *R] or [*L, *R], between the elements around place q (a - 1)."""
    shape: list[Size] = [1] * rank(self)
    if dim is None or not rank(self):
        self, dim = op.reshape(self, [product(dims(self))]), 0
    else:
        shape = [1 if a == dim % rank(self) else n for a, n in enumerate(dims(self))]
    axis, several = dim % rank(self), rank(q)
    missing = op.IsNaN(self)
    values = sort(op, op.Where(missing, float("inf"), self), axis, False)[0]
    present = op.reduce("ReduceSum", op.cast(op.Not(missing), ir.DataType.INT64), [axis], True)
    last = op.Max(op.Sub(op.cast(present, dtype(self)), 1.0), 0.0)
    if several:
        q = op.unsqueeze(q, list(range(1, rank(self) - axis)))
    places = op.Mul(q, last)
    result = _between(op, values, places, axis, interpolation)
    bad = op.Equal(present, 0) if passes_nan else op.Less(present, op.scalar(dims(self)[axis]))
    result = op.Where(bad, float("nan"), result)
    if several:
        result = op.transpose(result, [axis, *(a for a in range(rank(self)) if a != axis)])
        return op.reshape(result, [dims(result)[0], *shape]) if keepdim else result
    return op.reshape(result, shape) if keepdim else op.squeeze(result, [axis])


def _between(op: Builder, values: Value, places: Value, axis: int, interpolation: str) -> Value:
    """What lies at fractional places along an axis."""

    def at(rounded: Value) -> Value:
        shape = [n if a == axis else m for a, (n, m) in enumerate(zip(dims(places), dims(values), strict=True))]
        indices = op.expand(op.cast(rounded, ir.DataType.INT64), shape)
        return op.GatherElements(values, indices, axis=axis)

    if interpolation in ("lower", "higher", "nearest"):
        op_type = {"lower": "Floor", "higher": "Ceil", "nearest": "Round"}[interpolation]
        return at(op.emit(op_type, [places], {}))
    below = op.Floor(places)
    low, high = at(below), at(op.Ceil(places))
    weight = 0.5 if interpolation == "midpoint" else op.Sub(places, below)
    between = op.Add(low, op.Mul(op.Sub(high, low), weight))
    return op.Where(op.Equal(low, high), low, between)


def _quantiles(with_tensor: Any, with_number: Any, passes_nan: bool) -> None:
    @lowers(with_tensor)
    def rule(op: Builder, self: Value, q: Value, dim: int | None, keepdim: bool, interpolation: str) -> Value:
        return _quantile(op, self, q, dim, keepdim, interpolation, passes_nan)

    @lowers(with_number)
    def rule_number(op: Builder, self: Value, q: float, dim: int | None, keepdim: bool, interpolation: str) -> Value:
        number = as_value(op, q, dtype(self))
        return _quantile(op, self, number, dim, keepdim, interpolation, passes_nan)


_quantiles(aten.quantile.default, aten.quantile.scalar, False)
_quantiles(aten.nanquantile.default, aten.nanquantile.scalar, True)
