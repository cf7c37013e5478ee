"""Reductions: axes folded away.

A tensor of rank 0 has no axes, and yet torch takes dim 0 and -1 of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.dimensions import axes_of, count, may_be_empty
from aten_lowering.dtypes import FLOATS, from_torch, is_float
from aten_lowering.elementwise import floating, numbers_in
from aten_lowering.precision import ordered, widened
from aten_lowering.registry import lowers
from shape_inference import product

aten = torch.ops.aten
Dims = int | Sequence[int] | None

_SUMMED = FLOATS | {ir.DataType.INT32, ir.DataType.INT64}


# Sums, products and means.


def _folded(
    op: Builder, op_type: str, self: Value, dim: Dims, keepdim: bool, kind: torch.dtype | None
) -> Value:  # fmt: skip
    """Fold by ReduceSum or ReduceProd in the dtype asked for; integers and bools become int64.

    onnxruntime folds int64 in doubles: results beyond 2^53 are rounded, and do not wrap.  Sums of products,
    which hashes are, are exact all the same.
    """
    wanted = from_torch(kind) if kind is not None else dtype(self) if is_float(dtype(self)) else ir.DataType.INT64
    value = op.cast(self, wanted)
    if wanted not in _SUMMED:
        value = op.cast(value, ir.DataType.INT64)
    axes = axes_of(self, dim)
    if op_type == "ReduceSum" and _are_products(op, value):
        return op.cast(_summed_in_halves(op, value, axes, keepdim), wanted)
    return op.cast(op.reduce(op_type, value, axes, keepdim), wanted)


def _are_products(op: Builder, value: Value) -> bool:
    """Whether int64 numbers are products of two that may both be large, or powers: neither a truth nor below 2^21."""
    node = value.producer()
    if value.dtype != ir.DataType.INT64 or node is None or node.op_type not in ("Mul", "Pow"):
        return False
    return node.op_type == "Pow" or not any(_is_low(op, factor) for factor in node.inputs if factor is not None)


def _is_low(op: Builder, value: Value) -> bool:
    node = value.producer()
    if node is not None and node.op_type == "Cast" and node.inputs[0] is not None:
        return node.inputs[0].dtype == ir.DataType.BOOL
    numbers = numbers_in(op, value)
    return numbers is not None and all(abs(number) < 1 << 21 for number in numbers)


def _summed_in_halves(op: Builder, value: Value, axes: Sequence[int], keepdim: bool) -> Value:
    """Sum int64 numbers modulo 2^64: n of them, for n < 2^21, so that no double rounds the sum of either half."""
    high = op.Div(value, 1 << 32)
    low = op.Sub(value, op.Mul(high, 1 << 32))
    sums = [op.reduce("ReduceSum", half, axes, keepdim) for half in (high, low)]
    return op.Add(op.Mul(sums[0], 1 << 32), sums[1])


@lowers(aten.sum.default)
def sum_all(op: Builder, self: Value, dtype: torch.dtype | None) -> Value:
    """[*S] -> []."""
    return _folded(op, "ReduceSum", self, None, False, dtype)


@lowers(aten.sum.dim_IntList)
def sum_dims(op: Builder, self: Value, dim: Dims, keepdim: bool, dtype: torch.dtype | None) -> Value:
    """[*S] -> [*S] without the dims, or with size 1 there; no dims: all of them."""
    return _folded(op, "ReduceSum", self, dim, keepdim, dtype)


@lowers(aten.prod.default)
def prod_all(op: Builder, self: Value, dtype: torch.dtype | None) -> Value:
    """[*S] -> []."""
    return _folded(op, "ReduceProd", self, None, False, dtype)


@lowers(aten.prod.dim_int)
def prod_dim(op: Builder, self: Value, dim: int, keepdim: bool, dtype: torch.dtype | None) -> Value:
    """[*L, a, *R] -> [*L, *R]."""
    return _folded(op, "ReduceProd", self, dim, keepdim, dtype)


def mean_of(op: Builder, value: Value, axes: Sequence[int], keepdim: bool) -> Value:
    """The mean over axes; of nothing NaN.

    onnxruntime's mean of nothing is 0: where values decide how much there is, it is a sum and a division.
    """
    if not may_be_empty(value, axes):
        return op.reduce("ReduceMean", value, axes, keepdim)
    total = op.reduce("ReduceSum", widened(op, value), axes, keepdim)
    return op.cast(op.Div(total, op.scalar(count(value, axes), dtype(total))), dtype(value))


@lowers(aten.mean.dim)
def mean_dims(op: Builder, self: Value, dim: Dims, keepdim: bool, dtype: torch.dtype | None) -> Value:
    """[*S] -> [*S] without the dims."""
    value = self if dtype is None else op.cast(self, from_torch(dtype))
    return mean_of(op, value, axes_of(self, dim), keepdim)


@lowers(aten.mean.default)
def mean_all(op: Builder, self: Value, dtype: torch.dtype | None) -> Value:
    """[*S] -> []."""
    return mean_dims(op, self, None, False, dtype)


def _without_nan(op: Builder, self: Value) -> Value:
    return op.Where(op.IsNaN(self), 0.0, self) if is_float(dtype(self)) else self


@lowers(aten.nansum.default)
def nansum(op: Builder, self: Value, dim: Dims, keepdim: bool, dtype: torch.dtype | None) -> Value:
    """[*S] -> [*S] without the dims; NaN counts as 0."""
    return _folded(op, "ReduceSum", _without_nan(op, self), dim, keepdim, dtype)


@lowers(aten.nanmean.default)
def nanmean(op: Builder, self: Value, dim: Dims, keepdim: bool, dtype: torch.dtype | None) -> Value:
    """[*S] -> [*S] without the dims; NaN does not count."""
    value = self if dtype is None else op.cast(self, from_torch(dtype))
    present = op.cast(op.Not(op.IsNaN(value)), ir.DataType.INT64)
    number = op.reduce("ReduceSum", present, axes_of(self, dim), keepdim)
    total = nansum(op, value, dim, keepdim, None)
    return op.Div(total, op.CastLike(number, total))


def log_sum_exp(op: Builder, x: Value, axes: Sequence[int], keepdim: bool = False) -> Value:
    """log(sum(exp(x))) over axes, without overflow and with infinities.

    m + log(sum(exp(x - m))), m being the greatest x, finite.  onnxruntime's ReduceLogSumExp does the same
    with m = 0 where the first element is -inf, and so overflows.
    """
    limit = float(np.finfo(dtype(x).numpy()).max)
    greatest = op.Clip(op.reduce("ReduceMax", x, axes, True), -limit, limit)
    total = op.reduce("ReduceSum", op.Exp(op.Sub(x, greatest)), axes, keepdim)
    return op.Add(op.Log(total), greatest if keepdim else op.squeeze(greatest, axes))


@lowers(aten.logsumexp.default, aten.special_logsumexp.default)
def logsumexp(op: Builder, self: Value, dim: Dims, keepdim: bool) -> Value:
    """[*S] -> [*S] without the dims: log(sum(exp(x))); integers as float32."""
    value = floating(op, self)
    wide = widened(op, value)
    axes = axes_of(self, dim)
    if not axes:
        return value
    return op.cast(log_sum_exp(op, wide, axes, keepdim), dtype(value))


# Counts and truths.


@lowers(aten.count_nonzero.default, aten.count_nonzero.dim_IntList)
def count_nonzero(op: Builder, self: Value, dim: Dims) -> Value:
    """[*S] -> [*S] without the dims, int64."""
    counted = op.cast(op.cast(self, ir.DataType.BOOL), ir.DataType.INT64)
    return op.reduce("ReduceSum", counted, axes_of(self, dim))


def _truth(op: Builder, op_type: str, self: Value, axes: Sequence[int], keepdim: bool) -> Value:
    """ReduceMin or ReduceMax of truths, as uint8: the kernel for bool (opset 20) refuses empty tensors."""
    result_type = ir.DataType.UINT8 if self.dtype == ir.DataType.UINT8 else ir.DataType.BOOL
    truths = op.cast(self, ir.DataType.BOOL)
    if not axes:
        return op.cast(truths, result_type)
    never_empty = all(type(size) is int and size > 0 for size in dims(self))
    if op.opset_version >= 20 and never_empty:
        return op.cast(op.reduce(op_type, truths, axes, keepdim), result_type)
    return op.cast(op.reduce(op_type, op.cast(truths, ir.DataType.UINT8), axes, keepdim), result_type)


def _truths(op_type: str, whole: Any, along: Any, along_some: Any) -> None:
    @lowers(whole)
    def rule_all(op: Builder, self: Value) -> Value:
        return _truth(op, op_type, self, axes_of(self, None), False)

    @lowers(along)
    def rule_dim(op: Builder, self: Value, dim: int, keepdim: bool) -> Value:
        return _truth(op, op_type, self, axes_of(self, dim), keepdim)

    @lowers(along_some)
    def rule_dims(op: Builder, self: Value, dim: Dims, keepdim: bool) -> Value:
        """With an empty list of dims torch folds none."""
        return _truth(op, op_type, self, axes_of(self, dim) if dim is None or dim else [], keepdim)


_truths("ReduceMin", aten.all.default, aten.all.dim, aten.all.dims)
_truths("ReduceMax", aten.any.default, aten.any.dim, aten.any.dims)


# Extremes.


def extreme(op: Builder, op_type: str, self: Value, axes: Sequence[int], keepdim: bool = False) -> Value:
    """ReduceMax or ReduceMin; NaN wins, as in torch.

    onnxruntime's kernels pass over NaN.  A sum of `clip(x, 0, 0)` is 0, or NaN where there is one.
    """
    value = ordered(op, self)
    result = op.reduce(op_type, value, axes, keepdim)
    if axes and is_float(dtype(self)):
        result = op.Add(result, op.reduce("ReduceSum", op.Clip(value, 0.0, 0.0), axes, keepdim))
    return op.cast(result, dtype(self))


def _place(op: Builder, op_type: str, self: Value, dim: int, keepdim: bool) -> Value:
    """The first place of the extreme; that of the first NaN, if any.

    onnxruntime's kernels give NaN no place in the order, so it counts as infinite, and comes behind an
    infinite element that stands before it.
    """
    if not rank(self):
        return op.constant(0)
    value = ordered(op, self)
    if is_float(dtype(self)):
        value = op.Where(op.IsNaN(value), float("inf" if op_type == "ArgMax" else "-inf"), value)
    return op.emit(op_type, [value], {"axis": dim % rank(self), "keepdims": int(keepdim)})


def _extremes(value_op: str, place_op: str, whole: Any, along: Any, places: Any, many: Any) -> None:
    @lowers(whole)
    def rule_all(op: Builder, self: Value) -> Value:
        return extreme(op, value_op, self, axes_of(self, None))

    @lowers(along)
    def rule_dim(op: Builder, self: Value, dim: int, keepdim: bool) -> tuple[Value, Value]:
        """[*L, a, *R] -> the extreme and its place, [*L, *R] each."""
        values = extreme(op, value_op, self, axes_of(self, dim), keepdim)
        return values, _place(op, place_op, self, dim, keepdim)

    @lowers(places)
    def rule_place(op: Builder, self: Value, dim: int | None, keepdim: bool) -> Value:
        """[*L, a, *R] -> [*L, *R]; without a dim, the place in the flattened tensor, [] or [1...]."""
        if dim is not None:
            return _place(op, place_op, self, dim, keepdim)
        place = _place(op, place_op, op.reshape(self, [product(dims(self))]), 0, False)
        return op.reshape(place, [1] * rank(self)) if keepdim else place

    @lowers(many)
    def rule_dims(op: Builder, self: Value, dim: Dims, keepdim: bool) -> Value:
        """[*S] -> [*S] without the dims; no dims: all of them."""
        return extreme(op, value_op, self, axes_of(self, dim), keepdim)


_extremes("ReduceMax", "ArgMax", aten.max.default, aten.max.dim, aten.argmax.default, aten.amax.default)
_extremes("ReduceMin", "ArgMin", aten.min.default, aten.min.dim, aten.argmin.default, aten.amin.default)


@lowers(aten._aminmax.default)
def aminmax_of_all(op: Builder, self: Value) -> tuple[Value, Value]:
    """[*S] -> least and greatest, [] each."""
    return aminmax(op, self, None, False)


@lowers(aten.aminmax.default, aten._aminmax.dim)
def aminmax(op: Builder, self: Value, dim: int | None, keepdim: bool) -> tuple[Value, Value]:
    """[*L, a, *R] -> least and greatest, [*L, *R] each; without a dim, of all."""
    axes = axes_of(self, dim)
    if dim is None and keepdim:
        least, greatest = aminmax(op, self, None, False)
        ones = [1] * rank(self)
        return op.reshape(least, ones), op.reshape(greatest, ones)
    return extreme(op, "ReduceMin", self, axes, keepdim), extreme(op, "ReduceMax", self, axes, keepdim)
