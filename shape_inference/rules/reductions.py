"""Operators that fold axes away, and those that run along one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_ir as ir

from shape_inference.contents import array_of, content_of
from shape_inference.dims import Size, larger, product, smaller
from shape_inference.registry import Call, infers
from shape_inference.types import Content, TensorType, Type

Types = tuple[Type | None, ...]
_INT64 = ir.DataType.INT64

# The opset version from which the axes are an input.
_AXES_INPUT = {"ReduceSum": 13}


def _largest(items: list[Any]) -> Any:
    result = items[0]
    for item in items[1:]:
        result = larger(result, item)
    return result


def _smallest(items: list[Any]) -> Any:
    result = items[0]
    for item in items[1:]:
        result = smaller(result, item)
    return result


_FOLDS: dict[str, Callable[[list[Any]], Any] | None] = {
    "ReduceL1": None,
    "ReduceL2": None,
    "ReduceLogSum": None,
    "ReduceLogSumExp": None,
    "ReduceMax": _largest,
    "ReduceMean": None,
    "ReduceMin": _smallest,
    "ReduceProd": product,
    "ReduceSum": lambda items: sum(items[1:], items[0]) if items else 0,
    "ReduceSumSquare": None,
}


@infers(*_FOLDS)
def reduce(call: Call) -> Types:
    """Fold axes: [*S] -> [1 or nothing where folded]; no axes: all of them."""
    x = call.tensor(0)
    keeps = call.attribute("keepdims", 1)
    axes: Any
    if call.version >= _AXES_INPUT.get(call.op_type, 18):
        axes = call.integers(1)
        if axes is None and call.has(1):
            given = call.tensor(1).shape
            if given is None or given[:1] != (0,):
                return (_unknown_axes(call, x, given, keeps),)
            axes = ()
    else:
        axes = call.attribute("axes")
    if not axes and call.attribute("noop_with_empty_axes", 0):
        return (x,)
    if x.shape is None:
        return (TensorType(x.dtype, None if keeps or axes else ()),)
    rank = len(x.shape)
    if not axes:
        folded = set(range(rank))
    else:
        folded = {axis + rank if axis < 0 else axis for axis in axes}
        if min(folded) < 0 or max(folded) >= rank:
            call.fail(f"axes must be in [{-rank}, {rank - 1}]", list(axes))
    dims: tuple[Size, ...]
    if keeps:
        dims = tuple([1 if axis in folded else dim for axis, dim in enumerate(x.shape)])
    else:
        dims = tuple([dim for axis, dim in enumerate(x.shape) if axis not in folded])
    content = _folded(call, x) if x.content is not None and len(folded) == rank else None
    return (TensorType(x.dtype, dims, content),)


def _unknown_axes(call: Call, x: TensorType, given: Any, keeps: int) -> TensorType:
    if x.shape is None:
        return TensorType(x.dtype, None)
    if keeps:
        return TensorType(x.dtype, call.unknown_shape(len(x.shape), "reduce"))
    if given is not None and len(given) == 1 and isinstance(given[0], int):
        return TensorType(x.dtype, call.unknown_shape(len(x.shape) - given[0], "reduce"))
    return TensorType(x.dtype, None)


def _folded(call: Call, x: TensorType) -> Content | None:
    """The one element that an integer tensor folds to."""
    fold = _FOLDS[call.op_type]
    items = x.content
    if fold is None or not items or any(isinstance(item, float) for item in items):
        return None
    return (fold(list(items)),)


@infers("ArgMax", "ArgMin")
def arg_max(call: Call) -> Types:
    """Return the place of the greatest: [*L, a, *R] -> [*L, 1, *R] or [*L, *R], INT64."""
    x = call.tensor(0)
    if x.shape is None:
        return (TensorType(_INT64, None),)
    axis = call.axis(call.attribute("axis", 0), len(x.shape))
    kept: tuple[Size, ...] = (1,) if call.attribute("keepdims", 1) else ()
    return (TensorType(_INT64, x.shape[:axis] + kept + x.shape[axis + 1 :]),)


@infers("CumSum", "CumProd")
def cum_sum(call: Call) -> Types:
    """Add up along an axis: [*S] -> [*S]."""
    x = call.tensor(0)
    axis = call.integers(1)
    content = None
    if x.content is not None and axis is not None and call.op_type == "CumSum":
        content = _running_sum(call, x, axis[0])
    return (TensorType(x.dtype, x.shape, content),)


def _running_sum(call: Call, x: TensorType, axis: int) -> Content | None:
    plain = not call.attribute("exclusive", 0) and not call.attribute("reverse", 0)
    array = array_of(x)
    if array is None or not plain or any(isinstance(item, float) for item in x.content or ()):
        return None
    return content_of(array.cumsum(call.axis(axis, array.ndim)))


@infers("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(call: Call) -> Types:
    """Fold all space: [N, C, *S] -> [N, C, 1 for each of S]."""
    x = call.tensor(0)
    if x.shape is None:
        return (TensorType(x.dtype, None),)
    if len(x.shape) < 2:
        call.fail("input must have at least rank 2", x)
    return (TensorType(x.dtype, x.shape[:2] + (1,) * (len(x.shape) - 2)),)
