"""Operators that pick elements by their places: Gather, Scatter, TopK, NonZero and the like."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from shape_inference.broadcasting import unified
from shape_inference.contents import array_of, compare, content_of, static_shape
from shape_inference.dims import Dim, Size, at_least, product
from shape_inference.registry import Call, infers
from shape_inference.types import Content, TensorType, Type

Types = tuple[Type | None, ...]
_INT64 = ir.DataType.INT64
_INDICES = (_INT64, ir.DataType.INT32, ir.DataType.UNDEFINED)


def _indices(call: Call, index: int) -> TensorType:
    indices = call.tensor(index)
    if indices.dtype not in _INDICES:
        call.fail("indices must be INT32 or INT64", indices.dtype.name)
    return indices


@infers("Gather")
def gather(call: Call) -> Types:
    """Pick slices: [*L, a, *R], [*I], axis=len(L) -> [*L, *I, *R]."""
    x, indices = call.tensor(0), _indices(call, 1)
    if x.shape is None:
        return (TensorType(x.dtype, None),)
    if not x.shape:
        call.fail("data must have at least rank 1", x)
    axis = call.axis(call.attribute("axis", 0), len(x.shape))
    if indices.shape is None:
        return (TensorType(x.dtype, None),)
    dims = x.shape[:axis] + indices.shape + x.shape[axis + 1 :]
    if x.content is None or indices.content is None:
        return (TensorType(x.dtype, dims),)
    return (TensorType(x.dtype, dims, _gathered(call, x, indices, axis)),)


def _gathered(call: Call, x: TensorType, indices: TensorType, axis: int) -> Content | None:
    places = indices.content or ()
    if x.content is None:
        return None
    for place in places:
        if type(place) is Dim:
            return None
    length = x.shape[axis] if x.shape else 0
    if isinstance(length, int):
        for place in places:
            if not -length <= place < length:  # type: ignore[operator]  # no Dim is among them
                call.fail(f"indices must be in [{-length}, {length - 1}]", place)
    if x.shape is not None and len(x.shape) == 1:
        return tuple([x.content[place] for place in places])  # type: ignore[index]  # indices are ints
    array = array_of(x)
    chosen = static_shape(indices.shape)
    if array is None or chosen is None:
        return None
    return content_of(array.take(np.array(places, dtype=np.int64).reshape(chosen), axis))


@infers("GatherElements")
def gather_elements(call: Call) -> Types:
    """Pick elements: [*S], [*I] of the same rank -> [*I]."""
    x, indices = call.tensor(0), _indices(call, 1)
    _same_rank(call, x, indices)
    if x.shape is not None:
        call.axis(call.attribute("axis", 0), len(x.shape))
    return (TensorType(x.dtype, indices.shape),)


def _same_rank(call: Call, x: TensorType, indices: TensorType) -> None:
    if x.shape is not None and indices.shape is not None and len(x.shape) != len(indices.shape):
        call.fail("data and indices must have the same rank", f"{x} and {indices}")


@infers("GatherND")
def gather_nd(call: Call) -> Types:
    """Pick by tuples: [*B, *S], [*B, *I, k] -> [*B, *I, *S[k:]], batch_dims=len(B)."""
    x, indices = call.tensor(0), _indices(call, 1)
    if x.shape is None or indices.shape is None or not isinstance(indices.shape[-1:][0], int):
        return (TensorType(x.dtype, None),)
    batch = call.attribute("batch_dims", 0)
    depth = indices.shape[-1]
    assert isinstance(depth, int)
    if batch + depth > len(x.shape):
        call.fail("batch_dims + indices.shape[-1] must be at most the rank of data", batch + depth)
    lead = tuple(
        unified(call, a, b, "batch sizes") for a, b in zip(x.shape[:batch], indices.shape[:batch], strict=True)
    )
    dims = lead + indices.shape[batch:-1] + x.shape[batch + depth :]
    return (TensorType(x.dtype, dims),)


@infers("Scatter", "ScatterElements")
def scatter_elements(call: Call) -> Types:
    """Put elements at places: [*S], [*I], [*I] -> [*S]."""
    x, indices, updates = call.tensor(0), _indices(call, 1), call.tensor(2)
    _same_rank(call, x, indices)
    _same_rank(call, x, updates)
    return (TensorType(x.dtype, x.shape),)


@infers("ScatterND")
def scatter_nd(call: Call) -> Types:
    """Put slices at tuples: [*S], [*I, k], [*I, *S[k:]] -> [*S]."""
    x, indices = call.tensor(0), _indices(call, 1)
    if x.shape is not None and indices.shape:
        depth = indices.shape[-1]
        if isinstance(depth, int) and depth > len(x.shape):
            call.fail("indices.shape[-1] must be at most the rank of data", depth)
    return (TensorType(x.dtype, x.shape, _scattered(call, x, indices)),)


def _scattered(call: Call, x: TensorType, indices: TensorType) -> Content | None:
    """The contents of a vector with some elements replaced."""
    places, updates = call.integers(1), call.content(2)
    if x.content is None or places is None or updates is None or x.shape is None:
        return None
    plain = call.attribute("reduction", "none") == "none"
    if not plain or len(x.shape) != 1 or len(places) != len(updates):
        return None
    result = list(x.content)
    for place, update in zip(places, updates, strict=True):
        result[place] = update
    return tuple(result)


@infers("TensorScatter")
def tensor_scatter(call: Call) -> Types:
    """Write a chunk into a cache: [*S] -> [*S]."""
    return (TensorType(call.tensor(0).dtype, call.tensor(0).shape),)


@infers("ArrayFeatureExtractor", domain="ai.onnx.ml")
def array_feature_extractor(call: Call) -> Types:
    """Pick columns: [*S, F], [..., K] -> [*S, K]; a vector becomes [1, K]."""
    x, indices = call.tensor(0), call.tensor(1)
    if x.shape is None or indices.shape is None:
        return (TensorType(x.dtype, None),)
    lead: tuple[Size, ...] = x.shape[:-1] if len(x.shape) > 1 else (1,)
    return (TensorType(x.dtype, (*lead, product(indices.shape))),)


@infers("TopK")
def top_k(call: Call) -> Types:
    """Pick the k greatest or least: [*L, a, *R] -> [*L, k, *R] values and their INT64 places."""
    x = call.tensor(0)
    if x.shape is None:
        return TensorType(x.dtype, None), TensorType(_INT64, None)
    axis = call.axis(call.attribute("axis", -1), len(x.shape))
    if call.version < 10:
        k: Size = call.required("k")
    else:
        given = call.sizes(1)
        k = call.fresh("k") if given is None else given[0]
    if at_least(x.shape[axis], k) is False:
        call.fail(f"k must be at most the size of the axis, {x.shape[axis]}", k)
    dims = (*x.shape[:axis], k, *x.shape[axis + 1 :])
    return TensorType(x.dtype, dims), TensorType(_INT64, dims)


@infers("NonZero")
def non_zero(call: Call) -> Types:
    """Return the places of what is not zero: [*S] -> [len(S), n], INT64."""
    x = call.tensor(0)
    if x.shape is None:
        return (TensorType(_INT64, (call.fresh("rank"), call.fresh("nonzero"))),)
    if x.content is not None and len(x.shape) == 1:
        zeros = [compare(item, 0, "==") for item in x.content]
        if None not in zeros:
            places = tuple([place for place, zero in enumerate(zeros) if not zero])
            return (TensorType(_INT64, (1, len(places)), places),)
    return (TensorType(_INT64, (len(x.shape), call.fresh("nonzero"))),)


@infers("Compress")
def compress(call: Call) -> Types:
    """Keep what a condition holds for: [*L, a, *R], [c] -> [*L, n, *R]; no axis: [n]."""
    x = call.tensor(0)
    condition = call.content(1)
    kept: Size
    decided = condition is not None and not any(type(item) is Dim for item in condition)
    kept = sum(map(bool, condition or ())) if decided else call.fresh("compress")
    axis = call.attribute("axis")
    if axis is None:
        return (TensorType(x.dtype, (kept,)),)
    if x.shape is None:
        return (TensorType(x.dtype, None),)
    axis = call.axis(axis, len(x.shape))
    return (TensorType(x.dtype, (*x.shape[:axis], kept, *x.shape[axis + 1 :])),)


@infers("Unique")
def unique(call: Call) -> Types:
    """Keep each value once: [*L, a, *R] -> [*L, n, *R] and three INT64 vectors [n], [a], [n]."""
    x = call.tensor(0)
    kept = call.fresh("unique")
    axis = call.attribute("axis")
    if axis is None:
        dims: tuple[Size, ...] | None = (kept,)
        whole = call.fresh("size") if x.shape is None else product(x.shape)
    elif x.shape is None:
        dims, whole = None, call.fresh("size")
    else:
        axis = call.axis(axis, len(x.shape))
        dims = (*x.shape[:axis], kept, *x.shape[axis + 1 :])
        whole = x.shape[axis]
    places = TensorType(_INT64, (kept,))
    return TensorType(x.dtype, dims), places, TensorType(_INT64, (whole,)), places


@infers("OneHot")
def one_hot(call: Call) -> Types:
    """Mark places: [*L, *R], depth d, axis=len(L) -> [*L, d, *R], the type of the values."""
    indices, values = call.tensor(0), call.tensor(2)
    if indices.shape is None:
        return (TensorType(values.dtype, None),)
    rank = len(indices.shape) + 1
    axis = call.axis(call.attribute("axis", -1), rank)
    given = call.content(1)
    depth: Any = call.fresh("depth") if given is None else given[0]
    if isinstance(depth, float):
        depth = int(depth)
    dims = (*indices.shape[:axis], depth, *indices.shape[axis:])
    return (TensorType(values.dtype, dims),)


@infers("NonMaxSuppression")
def non_max_suppression(call: Call) -> Types:
    """Pick boxes: [B, N, 4], [B, C, N] -> [n, 3], INT64."""
    for index in (0, 1):
        dims = call.tensor(index).shape
        if dims is not None and len(dims) != 3:
            call.fail(f"input {index} must have rank 3", call.tensor(index))
    return (TensorType(_INT64, (call.fresh("selected"), 3)),)


@infers("EyeLike")
def eye_like(call: Call) -> Types:
    """Return an identity matrix: [n, m] -> [n, m]."""
    x = call.tensor(0)
    if x.shape is not None and len(x.shape) != 2:
        call.fail("input must have rank 2", x)
    given = call.attribute("dtype")
    return (TensorType(x.dtype if given is None else ir.DataType(given), x.shape),)
