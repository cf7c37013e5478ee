"""Inputs that go together: shapes that are stretched over one another, and one element type."""

from __future__ import annotations

import onnx_ir as ir

from shape_inference.dims import Dim, Size, same, stretched
from shape_inference.registry import Call
from shape_inference.types import TensorType

__all__ = ["broadcast", "broadcast_dims", "broadcast_types", "merged", "one_type", "unified"]

Shape = tuple[Size, ...]
_UNDEFINED = ir.DataType.UNDEFINED


def broadcast(call: Call, a: Shape | None, b: Shape | None) -> Shape | None:
    """[*A], [*B] -> the shape of both, aligned at the right, with 1 stretched over anything."""
    if a is None or b is None:
        return None
    if a == b or not b:
        return a
    if not a:
        return b
    if len(a) < len(b):
        a, b = b, a
    lead = len(a) - len(b)
    dims = list(a)
    for position, y in enumerate(b, lead):
        x = dims[position]
        if x is not y and x != y:
            dims[position] = broadcast_dims(call, x, y)
    return tuple(dims)


def broadcast_dims(call: Call, x: Size, y: Size) -> Size:
    """The size of two dims laid over one another: equal, or one of them is 1."""
    if isinstance(x, int):
        if x == 1:
            return y
        if isinstance(y, int):
            if y == 1 or x == y:
                return x
            call.fail("shapes must broadcast", f"{x} against {y}")
        return x  # the other is x or 1
    if isinstance(y, int):
        return x if y == 1 else y
    if same(x, y):
        return x
    if _low(x) > 1 and _low(y) > 1:
        return unified(call, x, y)
    return stretched(x, y)


def _low(dim: Dim) -> int:
    low = dim.minimum
    return 0 if low is None else low


def broadcast_types(call: Call, tensors: list[TensorType]) -> Shape | None:
    """The shape of many tensors laid over one another."""
    shape = tensors[0].shape
    for tensor in tensors[1:]:
        shape = broadcast(call, shape, tensor.shape)
    return shape


def one_type(call: Call, tensors: list[TensorType]) -> ir.DataType:
    """The element type of all; an unknown one takes that of the others."""
    dtype = _UNDEFINED
    for tensor in tensors:
        if tensor.dtype is dtype or tensor.dtype is _UNDEFINED:
            continue
        if dtype is not _UNDEFINED:
            names = ", ".join(tensor.dtype.name for tensor in tensors)
            call.fail("inputs must have one element type", names)
        dtype = tensor.dtype
    return dtype


def unified(call: Call, x: Size, y: Size, what: str = "sizes") -> Size:
    """The size of two dims that must be equal: the better known one.

    Raises:
        InferenceError: They cannot be equal.
    """
    if x is y:
        return x
    if same(x, y) is False:
        call.fail(f"{what} must be equal", f"{x} and {y}")
    if isinstance(x, int):
        return x
    if isinstance(y, int):
        return y
    return x if len(x.value) <= len(y.value) else y


def merged(call: Call, a: Shape | None, b: Shape | None, what: str = "shapes") -> Shape | None:
    """One shape from two that must be equal."""
    if a is None or b is None:
        return a if b is None else b
    if len(a) != len(b):
        call.fail(f"{what} must have the same rank", f"{len(a)} and {len(b)}")
    return tuple(unified(call, x, y, what) for x, y in zip(a, b, strict=True))
