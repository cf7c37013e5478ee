"""Elementwise ops in a dtype for which there is a kernel, and the small formulas that many rules share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from aten_lowering.builder import Builder, Value, dims, dtype
from aten_lowering.dtypes import is_float
from shape_inference import Dim, TensorType

__all__ = [
    "any_of", "boolean", "broadcast", "compressed", "computed_in", "floating", "inverse_tangent", "is_negative",
    "numbers_in", "pointwise", "polynomial", "repeat_while", "truncated", "weighted_sum", "where", "wide",
]  # fmt: skip

_DOUBLE, _FLOAT = ir.DataType.DOUBLE, ir.DataType.FLOAT
_I16, _U16, _U64 = ir.DataType.INT16, ir.DataType.UINT16, ir.DataType.UINT64
_SHORT = frozenset({_I16, _U16})

# What onnxruntime 1.31 has no CPU kernel for, and does not cast by itself.
_NO_KERNEL: dict[str, frozenset[ir.DataType]] = {
    **dict.fromkeys(
        (
            "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cosh", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish",
            "LeakyRelu", "Mish", "Selu", "Sinh", "Softplus", "Softsign", "Swish", "Tan", "ThresholdedRelu",
        ),
        frozenset({_DOUBLE}),
    ),
    **dict.fromkeys(("Clip", "Max", "Min", "Relu"), _SHORT),
    "Where": frozenset({_I16, _U16, _U64, ir.DataType.BOOL}),
    "NonZero": frozenset({_DOUBLE, ir.DataType.INT8, _I16, _U16, ir.DataType.UINT32, _U64}),
    "BitShift": frozenset({_U16}),
    "Pow": frozenset({ir.DataType.INT8, _I16, ir.DataType.UINT8, _U16, ir.DataType.UINT32, _U64}),
    "PRelu": frozenset({_DOUBLE, ir.DataType.INT32, ir.DataType.INT64, ir.DataType.UINT32, _U64}),
}  # fmt: skip
_SUBSTITUTES = {
    _DOUBLE: _FLOAT,
    ir.DataType.FLOAT16: _FLOAT,
    ir.DataType.BFLOAT16: _FLOAT,
    ir.DataType.BOOL: ir.DataType.UINT8,
    ir.DataType.INT8: ir.DataType.INT32,
    ir.DataType.INT16: ir.DataType.INT32,
    ir.DataType.UINT8: ir.DataType.INT32,
    ir.DataType.UINT16: ir.DataType.INT32,
    ir.DataType.UINT32: ir.DataType.INT64,
    ir.DataType.UINT64: ir.DataType.INT64,
    ir.DataType.INT32: _DOUBLE,
    ir.DataType.INT64: _DOUBLE,
}


def pointwise(op: Builder, op_type: str, *inputs: Any, **attributes: Any) -> Value:
    """Emit an op whose inputs all have the dtype of the first value, in the nearest one that has a kernel.

    Where that is another one, the inputs are cast to it and the result is cast back.  Python numbers
    become constants of the dtype.
    """
    kind = next(dtype(value) for value in inputs if isinstance(value, Value))
    used = computed_in(op, op_type, kind)
    values = [op.cast(v, used) if isinstance(v, Value) else v if v is None else op.constant(v, used) for v in inputs]
    result: Value = op.emit(op_type, values, attributes)
    return op.cast(result, kind) if result.dtype == used else result


def computed_in(op: Builder, op_type: str, kind: ir.DataType) -> ir.DataType:
    """The dtype nearest to `kind` in which an op can be computed."""
    return _computed_in(op_type, kind, op.opset_version)


@functools.cache
def _computed_in(op_type: str, kind: ir.DataType, version: int) -> ir.DataType:
    lacking = _NO_KERNEL.get(op_type, frozenset())
    while kind not in _admitted(op_type, version) or kind in lacking:
        kind = _SUBSTITUTES[kind]
    return kind


@functools.cache
def _admitted(op_type: str, version: int) -> frozenset[ir.DataType]:
    """The dtypes that the schema takes as the last input, which is what `Where` and `Pow` compute in."""
    schema = onnx.defs.get_schema(op_type, version, "")
    wanted = schema.inputs[-1].type_str
    names = next((c.allowed_type_strs for c in schema.type_constraints if c.type_param_str == wanted), [wanted])
    return frozenset(kind for kind in ir.DataType if f"tensor({kind.name.lower()})" in names)


def floating(op: Builder, value: Value) -> Value:
    """The value; an integer or bool one as float32, as torch's float functions take it."""
    return value if is_float(dtype(value)) else op.cast(value, _FLOAT)


def wide(op: Builder, value: Value) -> Value:
    """The value as doubles."""
    return op.cast(value, _DOUBLE)


def numbers_in(op: Builder, value: Value) -> tuple[float, ...] | None:
    """The numbers of a small constant; None where it is none, or holds a symbolic size."""
    content = op.content(value)
    if content is None or any(isinstance(item, Dim) for item in content):
        return None
    return tuple(float(item) for item in content)


def boolean(op: Builder, value: Value) -> Value:
    """Whether each element is not zero."""
    return op.cast(value, ir.DataType.BOOL)


def where(op: Builder, condition: Value, chosen: Value, other: Value) -> Value:
    """`condition ? chosen : other`, in any dtype that both have; with a constant truth on a side, in logic."""
    if dtype(chosen) == ir.DataType.BOOL:
        for side, value in ((chosen, other), (other, chosen)):
            if dims(side) == () and (content := op.content(side)) is not None:
                asked = condition if bool(content[0]) == (side is chosen) else op.Not(condition)
                return op.Or(asked, value) if content[0] else op.And(asked, value)
    used = computed_in(op, "Where", dtype(chosen))
    result: Value = op.Where(condition, op.cast(chosen, used), op.cast(other, used))
    return op.cast(result, dtype(chosen))


def compressed(op: Builder, value: Value, chosen: Value, axis: int | None = None) -> Value:
    """Compress, which takes no bfloat16: the slices where `chosen` [n] is true, of all elements without an axis."""
    kind = dtype(value)
    used = _FLOAT if kind == ir.DataType.BFLOAT16 else kind
    return op.cast(op.Compress(op.cast(value, used), chosen, axis=axis), kind)


def truncated(op: Builder, x: Value) -> Value:
    """Rounded toward zero; -0.0, NaN and infinities stay."""
    return op.Where(op.Less(x, 0), op.Ceil(x), op.Floor(x))


def is_negative(op: Builder, x: Value) -> Value:
    """Whether the sign bit is set, -0.0 included; a NaN has none."""
    below = op.Less(x, 0)
    return op.Or(below, op.Less(op.Reciprocal(x), 0)) if is_float(dtype(x)) else below


def inverse_tangent(op: Builder, x: Value) -> Value:
    """`atan` of doubles, for which there is no kernel: that of the float32, and what is missing to it.

    For t = atan(float32(x)), atan(x) - t = atan((x cos t - sin t) / (cos t + x sin t)), whose argument is so small
    that it is its own arc tangent.
    """
    rough = op.Cast(op.Atan(op.Cast(x, to=_FLOAT)), to=_DOUBLE)
    sine, cosine = op.Sin(rough), op.Cos(rough)
    bounded = op.Clip(x, -1e30, 1e30)
    missing = op.Div(op.Sub(op.Mul(bounded, cosine), sine), op.Add(cosine, op.Mul(bounded, sine)))
    return op.Add(rough, missing)


def polynomial(op: Builder, x: Value, coefficients: Sequence[float], largest: float = 1.0) -> Value:
    """`c[0] + c[1] x + c[2] x^2 + …`, by Horner's rule.

    `largest` is how large x gets: it is divided by that, since onnxruntime takes an Add of a constant that
    is 0 in float32, as high coefficients are, for one that does nothing.
    """
    if largest != 1:
        x = op.Mul(x, 1 / largest)
    *lower, result = [op.constant(c * largest**k, dtype(x)) for k, c in enumerate(coefficients)]
    for coefficient in reversed(lower):
        result = op.Add(op.Mul(result, x), coefficient)
    return result


def weighted_sum(op: Builder, terms: Value, weights: np.ndarray) -> Value:
    """[*S, n] -> [*S]; a MatMul, which has no kernel for tensors that are empty, would do the same."""
    return op.reduce("ReduceSum", op.Mul(terms, op.constant(weights)), [-1])


def repeat_while(
    op: Builder, state: Sequence[Value], step: Callable[..., tuple[Value, Sequence[Value]]]
) -> tuple[Value, ...]:  # fmt: skip
    """Run `step(op, *state) -> (again, state)` once, and again as long as it says so."""

    def body(inner: Builder, turn: Value, going: Value, *carried: Value) -> list[Value]:
        again, results = step(inner, *carried)
        return [again, *results]

    inputs = [("turn", TensorType(ir.DataType.INT64, ())), ("going", TensorType(ir.DataType.BOOL, ()))]
    inputs += [("state", TensorType(dtype(value), dims(value))) for value in state]
    results = op.Loop(None, op.constant(True), *state, body=op.subgraph(body, inputs), _outputs=len(state))
    return results if isinstance(results, tuple) else (results,)


def any_of(op: Builder, condition: Value) -> Value:
    """Whether a condition holds anywhere, as a bool of rank 0.

    A sum, not a maximum: of nothing, that would be the lowest number, and true.
    """
    count = op.ReduceSum(op.cast(op.Reshape(boolean(op, condition), [-1]), ir.DataType.INT32), keepdims=0)
    return op.cast(count, ir.DataType.BOOL)


def broadcast(op: Builder, a: Value, b: Value) -> tuple[Value, Value]:
    """Two numbers, each in the shape that both have together."""
    if dims(a) == dims(b):
        return a, b
    nothing = op.constant(0, dtype(a))
    together = where(op, op.Equal(a, b), nothing, nothing)
    return op.Add(a, together), op.Add(b, together)
