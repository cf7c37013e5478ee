"""Elementwise operators: one element in, one element out, shapes laid over one another."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import onnx_ir as ir

from shape_inference.broadcasting import broadcast, broadcast_types, one_type
from shape_inference.contents import FLOATS, compare, elementwise, truncated_div
from shape_inference.dims import Dim, at_least, divisible, larger, same, smaller
from shape_inference.registry import Call, infers
from shape_inference.types import Content, TensorType, Type

Types = tuple[Type | None, ...]
_UNDEFINED = ir.DataType.UNDEFINED
_BOOL = ir.DataType.BOOL

# Type and shape stay as they are, and no contents are worth following.
UNARY = (
    *("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cos", "Cosh", "Sin", "Sinh", "Tan"),
    *("Tanh", "Erf", "Exp", "Log", "Reciprocal", "Round", "Sigmoid", "Sign"),
    *("BitwiseNot", "Celu", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish"),
    *("Selu", "Shrink", "Softplus", "Softsign", "Swish", "ThresholdedRelu"),
    *("MeanVarianceNormalization", "LRN"),
    # Experimental once, and never of a schema of onnx; onnxruntime still takes them.
    *("Affine", "ImageScaler", "ParametricSoftplus", "Scale", "ScaledTanh"),
)


@infers(*UNARY)
def unary(call: Call) -> Types:
    """Keep the type and the shape: [*S] -> [*S]."""
    x = call.tensor(0)
    return (x,) if x.content is None else (TensorType(x.dtype, x.shape),)


@infers("Hardmax", "LogSoftmax", "Softmax", "LpNormalization")
def along_an_axis(call: Call) -> Types:
    """Keep the type and the shape: [*S] -> [*S], for an axis of it."""
    x, axis = call.tensor(0), call.attribute("axis")
    if axis is not None and x.shape is not None:
        call.axis(axis, len(x.shape))
    return (x,) if x.content is None else (TensorType(x.dtype, x.shape),)


def _absolute(a: Any) -> Any:
    if type(a) is not Dim:
        return abs(a)
    return a if at_least(a, 0) else larger(a, -a)


def _square_root(a: Any) -> Any:
    if type(a) is Dim or a < 0:
        return None
    root = math.isqrt(int(a))
    return float(root) if root * root == a else math.sqrt(a)


def _rounded(function: Callable[[float], int]) -> Callable[[Any], Any]:
    return lambda a: a if type(a) is Dim else float(function(a))


# Type and shape stay, the contents follow.
UNARY_CONTENTS: dict[str, Callable[[Any], Any]] = {
    "Abs": _absolute,
    "Ceil": _rounded(math.ceil),
    "Floor": _rounded(math.floor),
    "Identity": lambda a: a,
    "Neg": lambda a: -a,
    "Not": lambda a: not a,
    "Relu": lambda a: larger(a, 0) if type(a) is Dim or isinstance(a, int) else max(a, 0.0),
    "Sqrt": _square_root,
}


@infers(*(name for name in UNARY_CONTENTS if name != "Identity"))
def unary_contents(call: Call) -> Types:
    """Keep the type and the shape: [*S] -> [*S]; the contents are computed."""
    x = call.tensor(0)
    if x.content is None:
        return (x,)
    content = elementwise(UNARY_CONTENTS[call.op_type], x.shape, [x])
    return (TensorType(x.dtype, x.shape, _stored(content, x.dtype)),)


@infers("Identity")
def identity(call: Call) -> Types:
    """Return what is given, which may be a sequence or an optional."""
    return (call.any_type(0),)


def _stored(content: Content | None, dtype: ir.DataType) -> Content | None:
    """Round to what the type can hold; None where a symbol became a float or an int overflows."""
    if content is None:
        return None
    if dtype == ir.DataType.FLOAT:
        try:
            return tuple(
                [item if type(item) is Dim else struct.unpack("f", struct.pack("f", item))[0] for item in content]
            )
        except OverflowError:
            return None
    if dtype in _WRAPS:
        low, high = _WRAPS[dtype]
        for item in content:
            if isinstance(item, int) and not low <= item <= high:
                return None
        return content
    return content if dtype in (_BOOL, ir.DataType.DOUBLE) else None


_WRAPS = {
    ir.DataType.INT8: (-(2**7), 2**7 - 1),
    ir.DataType.INT16: (-(2**15), 2**15 - 1),
    ir.DataType.INT32: (-(2**31), 2**31 - 1),
    ir.DataType.INT64: (-(2**63), 2**63 - 1),
    ir.DataType.UINT8: (0, 2**8 - 1),
    ir.DataType.UINT16: (0, 2**16 - 1),
    ir.DataType.UINT32: (0, 2**32 - 1),
    ir.DataType.UINT64: (0, 2**64 - 1),
}


def _add(a: Any, b: Any) -> Any:
    return a + b


def _sub(a: Any, b: Any) -> Any:
    return a - b


def _mul(a: Any, b: Any) -> Any:
    return a * b


def _mod(a: Any, b: Any) -> Any:
    # A divisor that is not negative is not 0, or there is no remainder: and a remainder is at least 0.
    return larger(a % b, 0) if type(b) is Dim and at_least(b, 0) else a % b


def _whole(a: Any) -> Any:
    """A whole number as an int, so that it can be reckoned with beside symbols."""
    return int(a) if isinstance(a, float) and a.is_integer() else a


def _ratio(a: Any, b: Any) -> Any:
    """A quotient of floats; one with a symbol in it only where it is whole."""
    if isinstance(a, float) or isinstance(b, float):
        return None if type(a) is Dim or type(b) is Dim else a / b
    return a // b if divisible(a, b) else None


def _in_floats(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def apply(a: Any, b: Any) -> Any:
        if type(a) is Dim or type(b) is Dim:
            return function(_whole(a), _whole(b))
        return function(a, b)

    return apply


def _pow(a: Any, b: Any) -> Any:
    b = _whole(b)
    if not isinstance(b, int):
        return None
    if isinstance(a, float):
        return a ** float(b) if abs(b) <= 64 else None
    if not 0 <= b <= 16:
        return None
    result: Any = 1
    for _ in range(b):
        result = a * result
    return result


def _bitwise(function: Callable[[int, int], int]) -> Callable[[Any, Any], Any]:
    return lambda a, b: function(a, b) if isinstance(a, int) and isinstance(b, int) else None


BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": _add,
    "Sub": _sub,
    "Mul": _mul,
    "Div": truncated_div,
    "Mod": _mod,
    "Pow": _pow,
    "PRelu": lambda a, b: None,
    "BitShift": lambda a, b: None,
    "BitwiseAnd": _bitwise(lambda a, b: a & b),
    "BitwiseOr": _bitwise(lambda a, b: a | b),
    "BitwiseXor": _bitwise(lambda a, b: a ^ b),
}


# The same for elements of a float type, among which symbols stand for whole numbers.
_FLOAT_BINARY = {
    "Add": _in_floats(_add),
    "Sub": _in_floats(_sub),
    "Mul": _in_floats(_mul),
    "Div": _in_floats(_ratio),
}


@infers(*(name for name in BINARY if name not in ("Pow", "PRelu", "Mod")))
def binary(call: Call) -> Types:
    """Lay two tensors of one type over one another: [*A], [*B] -> broadcast."""
    a, b = call.tensor(0), call.tensor(1)
    dtype = a.dtype
    if dtype is not b.dtype:
        dtype = one_type(call, [a, b])
    x, y = a.shape, b.shape
    shape = x if x == y else broadcast(call, x, y)
    if a.content is None and shape == x and dtype is a.dtype:
        return (a,)
    if a.content is None or b.content is None:
        return (TensorType(dtype, shape),)
    function = BINARY[call.op_type]
    if dtype in FLOATS:
        function = _FLOAT_BINARY.get(call.op_type, function)
    content = elementwise(function, shape, [a, b])
    return (TensorType(dtype, shape, _stored(content, dtype)),)


@infers("Mod")
def mod(call: Call) -> Types:
    """Lay two tensors over one another: [*A], [*B] -> broadcast; fmod=1 takes the dividend's sign."""
    if call.attribute("fmod", 0):
        a, b = call.tensor(0), call.tensor(1)
        return (TensorType(one_type(call, [a, b]), broadcast(call, a.shape, b.shape)),)
    return binary(call)


@infers("Pow")
def pow(call: Call) -> Types:  # named as the op
    """Raise to a power that may have another type: [*A], [*B] -> broadcast, the first's type."""
    a, b = call.tensor(0), call.tensor(1)
    shape = broadcast(call, a.shape, b.shape)
    if call.version < 12:
        one_type(call, [a, b])
    return (TensorType(a.dtype, shape, _stored(elementwise(_pow, shape, [a, b]), a.dtype)),)


@infers("PRelu")
def prelu(call: Call) -> Types:
    """Keep the shape; the slope [*B] must stretch over it: [*A], [*B] -> [*A]."""
    a, b = call.tensor(0), call.tensor(1)
    if a.shape is not None and b.shape is not None and len(b.shape) > len(a.shape):
        call.fail("slope must have at most the rank of X", f"{len(b.shape)} > {len(a.shape)}")
    return (TensorType(one_type(call, [a, b]), a.shape),)


_RELATIONS = {
    "Equal": "==",
    "Greater": ">",
    "GreaterOrEqual": ">=",
    "Less": "<",
    "LessOrEqual": "<=",
}


@infers(*_RELATIONS)
def comparison(call: Call) -> Types:
    """Compare two tensors of one type: [*A], [*B] -> broadcast, bool."""
    a, b = call.tensor(0), call.tensor(1)
    one_type(call, [a, b])
    shape = broadcast(call, a.shape, b.shape)
    if a.content is None or b.content is None:
        return (TensorType(_BOOL, shape),)
    relation = _RELATIONS[call.op_type]
    content = elementwise(lambda x, y: compare(x, y, relation), shape, [a, b])
    return (TensorType(_BOOL, shape, content),)


_LOGICAL: dict[str, Callable[[Any, Any], Any]] = {
    "And": lambda a, b: a and b,
    "Or": lambda a, b: a or b,
    "Xor": lambda a, b: a != b,
}


@infers(*_LOGICAL)
def logical(call: Call) -> Types:
    """Combine two bool tensors: [*A], [*B] -> broadcast, bool."""
    a, b = call.tensor(0), call.tensor(1)
    for tensor in (a, b):
        if tensor.dtype not in (_BOOL, _UNDEFINED):
            call.fail("inputs must be BOOL", tensor.dtype.name)
    shape = broadcast(call, a.shape, b.shape)
    return (TensorType(_BOOL, shape, elementwise(_LOGICAL[call.op_type], shape, [a, b])),)


def _smallest(*items: Any) -> Any:
    result = items[0]
    for item in items[1:]:
        result = smaller(result, item) if _are_sizes(result, item) else min(result, item)
    return result


def _largest(*items: Any) -> Any:
    result = items[0]
    for item in items[1:]:
        result = larger(result, item) if _are_sizes(result, item) else max(result, item)
    return result


def _are_sizes(a: Any, b: Any) -> bool:
    """Whether one of the two is symbolic; beside a fraction that one has no order (and `elementwise` gives up)."""
    kinds = (type(a), type(b))
    if Dim in kinds and float in kinds:
        raise TypeError(f"no order of {a} and {b}")
    return Dim in kinds


_VARIADIC: dict[str, Callable[..., Any]] = {
    "Max": _largest,
    "Min": _smallest,
    "Sum": lambda *items: sum(items[1:], items[0]),
    "Mean": lambda *items: None,
}


@infers(*_VARIADIC)
def variadic(call: Call) -> Types:
    """Lay any number of tensors of one type over one another: [*A], [*B], … -> broadcast."""
    tensors = call.tensors()
    dtype = one_type(call, tensors)
    shape = broadcast_types(call, tensors)
    content = elementwise(_VARIADIC[call.op_type], shape, tensors)
    return (TensorType(dtype, shape, _stored(content, dtype)),)


@infers("Clip")
def clip(call: Call) -> Types:
    """Keep the type and the shape: [*S] -> [*S]."""
    x = call.tensor(0)
    if x.content is None:
        return (x,)
    bounds = [call.content(1), call.content(2)]
    if any(call.has(i + 1) and bounds[i] is None for i in range(2)) or x.dtype is _UNDEFINED:
        return (TensorType(x.dtype, x.shape),)
    result: Any = list(x.content)
    if bounds[0]:
        result = [_largest(item, bounds[0][0]) for item in result]
    if bounds[1]:
        result = [_smallest(item, bounds[1][0]) for item in result]
    known = "min" not in call.attributes and "max" not in call.attributes
    return (TensorType(x.dtype, x.shape, tuple(result) if known else None),)


def _picked(condition: Any, a: Any, b: Any) -> Any:
    return a if condition or (a.__class__ is b.__class__ and a == b) else b


@infers("Where")
def where(call: Call) -> Types:
    """Pick by a condition: [*C], [*A], [*B] -> broadcast, the type of the branches."""
    condition, a, b = call.tensor(0), call.tensor(1), call.tensor(2)
    if condition.dtype not in (_BOOL, _UNDEFINED):
        call.fail("condition must be BOOL", condition.dtype.name)
    dtype = one_type(call, [a, b])
    shape = broadcast_types(call, [condition, a, b])
    content = elementwise(_picked, shape, [condition, a, b])
    if content is None and a.content is not None and b.content is not None:
        content = elementwise(lambda x, y: x if _equal(x, y) else None, shape, [a, b])
    return (TensorType(dtype, shape, content),)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, float) or isinstance(b, float):
        return bool(a == b) and type(a) is not Dim and type(b) is not Dim
    return same(a, b) is True


@infers("Cast")
def cast(call: Call) -> Types:
    """Change the element type: [*S] -> [*S], `to`."""
    x = call.tensor(0)
    dtype = ir.DataType(call.required("to"))
    if x.content is None:
        return (TensorType(x.dtype if dtype is x.dtype else dtype, x.shape),)
    return (TensorType(dtype, x.shape, _converted(x.content, dtype)),)


def _converted(content: Content, dtype: ir.DataType) -> Content | None:
    """The contents in another type.

    A symbol stays a symbol in a float type: it is exact up to 2**24, far above any dim.
    """
    if dtype is _BOOL:
        decided = tuple([_truth(item) for item in content])
        return None if None in decided else decided  # type: ignore[return-value]  # no None is left
    if dtype in _WRAPS:
        if any(isinstance(item, float) and not math.isfinite(item) for item in content):
            return None
        whole = tuple([item if type(item) is Dim else int(item) for item in content])
        return _stored(whole, dtype)
    if dtype in FLOATS:
        floats = tuple([item if type(item) is Dim else float(item) for item in content])
        return _stored(floats, dtype)
    return None


def _truth(item: Any) -> bool | None:
    if type(item) is not Dim:
        return bool(item)
    zero = same(item, 0)
    return None if zero is None else not zero


@infers("CastLike")
def cast_like(call: Call) -> Types:
    """Change the element type to that of the second input: [*S], [*T] -> [*S]."""
    x, like = call.tensor(0), call.tensor(1)
    content = None if x.content is None else _converted(x.content, like.dtype)
    return (TensorType(like.dtype, x.shape, content),)


@infers("IsNaN", "IsInf")
def is_nan(call: Call) -> Types:
    """Test each element: [*S] -> [*S], bool."""
    return (TensorType(_BOOL, call.tensor(0).shape),)


@infers("BitCast")
def bit_cast(call: Call) -> Types:
    """Read the same bits as another type of the same width: [*S] -> [*S], `to`."""
    x = call.tensor(0)
    dtype = ir.DataType(call.required("to"))
    if x.dtype is not _UNDEFINED and x.dtype.bitwidth != dtype.bitwidth:
        call.fail("the types must have one width", f"{x.dtype.name} and {dtype.name}")
    return (TensorType(dtype, x.shape),)


@infers("Dropout")
def dropout(call: Call) -> Types:
    """Drop elements: [*S] -> [*S] and the mask [*S], which is bool from opset 10 on."""
    x = call.tensor(0)
    return x, TensorType(_BOOL if call.version >= 10 else x.dtype, x.shape)
