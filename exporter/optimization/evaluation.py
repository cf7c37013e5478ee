"""Compute nodes on constants, with numpy or as eager does, in the dtype that ONNX says.

An evaluator gets the node's attributes as plain values and its inputs as arrays, None where an
optional one is absent, and returns one array or a tuple of them. Ops that are not here are not
folded: they do not occur on constants in models, and a wrong number is worse than a node.

`MOVES` and `COMPUTES` can also run while the model is written, on weights: they are fast there,
their result has the shape that was inferred, and they cannot fail.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir
import torch

from exporter.optimization.values import FLOATS, INTEGERS, Array

__all__ = ["COMPUTES", "EVALUATORS", "GROWS", "MOVES", "Evaluator", "evaluate"]

Attributes: TypeAlias = "Mapping[str, Any]"
Evaluator: TypeAlias = "Callable[..., Array | tuple[Array, ...]]"


def evaluate(
    op_type: str,
    attributes: Attributes,
    arrays: Sequence[Array | None],
    dtypes: Sequence[ir.DataType | None],
) -> tuple[Array, ...]:
    """Compute one node; its results get the dtypes."""
    with np.errstate(all="ignore"):
        found = EVALUATORS[op_type](attributes, *arrays)
    results = found if isinstance(found, tuple) else (found,)
    return tuple(
        np.asarray(result, dtype=None if dtype is None else dtype.numpy())
        for result, dtype in zip(results, dtypes, strict=True)
    )


# Elementwise


def _as_eager(function: Callable[[torch.Tensor], torch.Tensor]) -> Evaluator:
    """What eager computes: another library's exponential may round otherwise, and then a floor jumps."""

    def evaluator(_: Attributes, x: Array) -> Array:
        wide = x if x.dtype in _TORCH_FLOATS else x.astype(np.float32)
        result: Array = function(torch.from_numpy(np.array(wide, order="C"))).numpy()
        return result.reshape(x.shape)

    return evaluator


_TORCH_FLOATS = (np.float16, np.float32, np.float64)


def _unary(function: Callable[[Array], Any]) -> Evaluator:
    return lambda _, x: np.asarray(function(x))


def _folded(function: Callable[[Array, Array], Any]) -> Evaluator:
    def evaluator(_: Attributes, *arrays: Array) -> Array:
        result = arrays[0]
        for array in arrays[1:]:
            result = np.asarray(function(result, array))
        return result

    return evaluator


def _div(a: Array, b: Array) -> Array:
    if a.dtype.kind not in "iu":
        return np.asarray(a / b)
    quotient = a // b  # rounds down, ONNX rounds towards zero
    return np.asarray(quotient + ((quotient < 0) & (quotient * b != a)), dtype=a.dtype)


def _mod(attributes: Attributes, a: Array, b: Array) -> Array:
    return np.asarray(np.fmod(a, b) if attributes.get("fmod", 0) else np.mod(a, b))


def _pow(_: Attributes, x: Array, y: Array) -> Array:
    if x.dtype == y.dtype and x.dtype in _TORCH_FLOATS:
        return torch.pow(torch.from_numpy(x.copy()), torch.from_numpy(y.copy())).numpy()
    return np.asarray(np.power(x, y), dtype=x.dtype)


def _clip(_: Attributes, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    if low is not None:
        x = np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


def _cast(attributes: Attributes, x: Array) -> Array:
    target = ir.DataType(attributes["to"])
    if target not in _CASTS:
        raise NotImplementedError(f"Cast to {target} rounds and saturates by rules of its own")
    if target in INTEGERS and x.dtype.kind not in "biu" and not _fits(x, target):
        raise NotImplementedError("a number that the integer type lacks becomes an arbitrary one")
    return x.astype(target.numpy())


def _fits(x: Array, target: ir.DataType) -> bool:
    """Whether all of x are finite and in the range of the integer type."""
    limits = np.iinfo(target.numpy())
    wide = x.astype(np.float64)
    return bool(((wide >= limits.min) & (wide <= limits.max)).all())


_CASTS = INTEGERS | FLOATS | {ir.DataType.BOOL}


# Shapes and layouts


def _shape(attributes: Attributes, x: Array) -> Array:
    start, end = attributes.get("start", 0), attributes.get("end")
    return np.array(x.shape[start:end], dtype=np.int64)


def _reshape(attributes: Attributes, x: Array, shape: Array) -> Array:
    target = [int(dim) for dim in shape]
    if not attributes.get("allowzero", 0):
        target = [dim or x.shape[position] for position, dim in enumerate(target)]
    return x.reshape(target)


def _flatten(attributes: Attributes, x: Array) -> Array:
    axis = attributes.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def _axes(attributes: Attributes, axes: Array | None) -> tuple[int, ...] | None:
    if axes is not None:
        return tuple(int(axis) for axis in axes.ravel())
    written = attributes.get("axes")
    return None if written is None else tuple(written)


def _squeeze(attributes: Attributes, x: Array, axes: Array | None = None) -> Array:
    return np.squeeze(x, _axes(attributes, axes))


def _unsqueeze(attributes: Attributes, x: Array, axes: Array | None = None) -> Array:
    return np.expand_dims(x, _axes(attributes, axes) or ())


def _expand(_: Attributes, x: Array, shape: Array) -> Array:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(int(dim) for dim in shape)))


def _transpose(attributes: Attributes, x: Array) -> Array:
    return np.transpose(x, attributes.get("perm"))


def _concat(attributes: Attributes, *arrays: Array) -> Array:
    return np.concatenate(arrays, attributes["axis"])


def _split(attributes: Attributes, x: Array, sizes: Array | None = None) -> tuple[Array, ...]:
    axis, pieces = attributes.get("axis", 0), attributes["outputs"]
    step = -(-x.shape[axis] // pieces)
    widths = [step] * pieces if sizes is None else [int(size) for size in sizes]
    return tuple(np.split(x, list(itertools.accumulate(widths))[:-1], axis))


def _slice(
    _: Attributes,
    x: Array,
    starts: Array,
    ends: Array,
    axes: Array | None = None,
    steps: Array | None = None,
) -> Array:
    index = [slice(None)] * x.ndim
    for position, start in enumerate(starts):
        axis = position if axes is None else int(axes[position])
        step = 1 if steps is None else int(steps[position])
        end: int | None = int(ends[position])
        if step < 0 and end is not None and end < -x.shape[axis]:
            end = None  # before the first element, which a Python slice writes as None
        index[axis] = slice(int(start), end, step)
    return x[tuple(index)]


def _gather(attributes: Attributes, x: Array, indices: Array) -> Array:
    return np.take(x, indices, attributes.get("axis", 0))


def _gather_elements(attributes: Attributes, x: Array, indices: Array) -> Array:
    axis = attributes.get("axis", 0)
    return np.take_along_axis(x, np.where(indices < 0, indices + x.shape[axis], indices), axis)


def _pad(
    attributes: Attributes,
    x: Array,
    pads: Array,
    fill: Array | None = None,
    axes: Array | None = None,
) -> Array:
    if attributes.get("mode", "constant") != "constant" or (pads < 0).any():
        raise NotImplementedError("Pad is only evaluated with a constant, growing")
    widths = [(0, 0)] * x.ndim
    count = len(pads) // 2
    for position in range(count):
        axis = position if axes is None else int(axes[position])
        widths[axis] = (int(pads[position]), int(pads[position + count]))
    return np.pad(x, widths, constant_values=0 if fill is None else fill.item())


def _trilu(attributes: Attributes, x: Array, diagonal: Array | None = None) -> Array:
    k = 0 if diagonal is None else int(diagonal.item())
    return np.triu(x, k) if attributes.get("upper", 1) else np.tril(x, k)


# Making and reducing


def _range(_: Attributes, start: Array, limit: Array, delta: Array) -> Array:
    first, last, step = start.item(), limit.item(), delta.item()
    count = max(int(np.ceil((last - first) / step)), 0)
    return np.asarray(first + np.arange(count) * step, dtype=start.dtype)


def _constant_of_shape(attributes: Attributes, shape: Array) -> Array:
    value = attributes.get("value")
    fill = np.zeros(1, dtype=np.float32) if value is None else value.numpy()
    return np.full([int(dim) for dim in shape], fill.reshape(()), dtype=fill.dtype)


def _eye_like(attributes: Attributes, x: Array) -> Array:
    dtype = x.dtype if "dtype" not in attributes else ir.DataType(attributes["dtype"]).numpy()
    rows, columns = x.shape
    return np.eye(rows, columns, k=attributes.get("k", 0), dtype=dtype)


def _reduced(function: Callable[..., Any]) -> Evaluator:
    def evaluator(attributes: Attributes, x: Array, axes: Array | None = None) -> Array:
        over = _axes(attributes, axes)
        if not over:
            if attributes.get("noop_with_empty_axes", 0):
                return x
            over = None
        keep = bool(attributes.get("keepdims", 1))
        return np.asarray(function(x, axis=over, keepdims=keep), dtype=x.dtype)

    return evaluator


def _norm(x: Array, **over: Any) -> Any:
    return np.sqrt(np.sum(np.square(x), **over))


def _cumulated(attributes: Attributes, x: Array, axis: Array) -> Array:
    if attributes.get("exclusive", 0) or attributes.get("reverse", 0):
        raise NotImplementedError("CumSum is only evaluated forwards and inclusive")
    return np.cumsum(x, int(axis.item()), dtype=x.dtype)


MOVES: dict[str, Evaluator] = {
    "Identity": lambda _, x: x,
    "Cast": _cast,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Expand": _expand,
    "Tile": lambda _, x, repeats: np.tile(x, [int(repeat) for repeat in repeats]),
    "Trilu": _trilu,
    "Range": _range,
    "ConstantOfShape": _constant_of_shape,
}

COMPUTES: dict[str, Evaluator] = {
    "Neg": _unary(np.negative),
    "Abs": _unary(np.abs),
    "Exp": _as_eager(torch.exp),
    "Log": _as_eager(torch.log),
    "Sqrt": _as_eager(torch.sqrt),
    "Sin": _as_eager(torch.sin),
    "Cos": _as_eager(torch.cos),
    "Tanh": _as_eager(torch.tanh),
    "Sigmoid": _as_eager(torch.sigmoid),
    "Softplus": _as_eager(torch.nn.functional.softplus),
    "Relu": _unary(lambda x: np.where(x < 0, np.zeros((), x.dtype), x)),
    "Reciprocal": _as_eager(torch.reciprocal),
    "Floor": _unary(np.floor),
    "Ceil": _unary(np.ceil),
    "Round": _unary(np.rint),
    "Sign": _unary(np.sign),
    "Not": _unary(np.logical_not),
    "Add": _folded(np.add),
    "Sub": _folded(np.subtract),
    "Mul": _folded(np.multiply),
    "Div": _folded(_div),
    "Max": _folded(np.maximum),
    "Min": _folded(np.minimum),
    "Sum": _folded(np.add),
    "Equal": _folded(np.equal),
    "Less": _folded(np.less),
    "LessOrEqual": _folded(np.less_equal),
    "Greater": _folded(np.greater),
    "GreaterOrEqual": _folded(np.greater_equal),
    "And": _folded(np.logical_and),
    "Or": _folded(np.logical_or),
    "Xor": _folded(np.logical_xor),
    "Where": lambda _, condition, x, y: np.where(condition, x, y),
    "Clip": _clip,
    "ReduceSum": _reduced(np.sum),
    "ReduceMean": _reduced(np.mean),
    "ReduceMax": _reduced(np.max),
    "ReduceMin": _reduced(np.min),
    "ReduceProd": _reduced(np.prod),
    "ReduceL2": _reduced(_norm),
    "ReduceSumSquare": _reduced(lambda x, **over: np.sum(np.square(x), **over)),
}

EVALUATORS: dict[str, Evaluator] = {
    **MOVES,
    **COMPUTES,
    "Shape": _shape,
    "Size": lambda _, x: np.array(x.size, dtype=np.int64),
    "Mod": _mod,
    "Pow": _pow,
    "Pad": _pad,
    "CumSum": _cumulated,
    "EyeLike": _eye_like,
    "GatherElements": _gather_elements,
    "IsNaN": _unary(np.isnan),
    "MatMul": lambda _, a, b: np.matmul(a, b),
}

GROWS = frozenset({"ConstantOfShape", "EyeLike", "Expand", "Pad", "Range", "Tile"})
"""The result may be much larger than the inputs: not computed before its size is known."""
