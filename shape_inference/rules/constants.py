"""Operators that make tensors from attributes: Constant, the random ones, windows."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from shape_inference.dims import Size
from shape_inference.registry import Call, infers
from shape_inference.types import MAX_CONTENT, TensorType, Type
from shape_inference.values import tensor_type

Types = tuple[Type | None, ...]
_FLOAT, _INT64, _STRING = ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.STRING


@infers("Constant")
def constant(call: Call) -> Types:
    """Return what an attribute holds, with its contents where it is small."""
    attributes = call.attributes
    value: Any = attributes.get("value")
    if value is not None:
        return (tensor_type(value),)
    for name, dtype in (("value_int", _INT64), ("value_float", _FLOAT)):
        value = attributes.get(name)
        if value is not None:
            return (TensorType(dtype, (), (value,)),)
    for name, dtype in (("value_ints", _INT64), ("value_floats", _FLOAT)):
        value = attributes.get(name)
        if value is not None:
            content = tuple(value) if len(value) <= MAX_CONTENT else None
            return (TensorType(dtype, (len(value),), content),)
    if attributes.get("value_string") is not None:
        return (TensorType(_STRING, ()),)
    if attributes.get("value_strings") is not None:
        return (TensorType(_STRING, (len(attributes["value_strings"]),)),)
    value = attributes.get("sparse_value")
    if value is None:
        call.fail("one of its value attributes must be given")
    return (None,)  # a sparse tensor, which onnx_ir does not read


@infers("RandomNormal", "RandomUniform")
def random(call: Call) -> Types:
    """Draw numbers in the shape of an attribute."""
    dtype = ir.DataType(call.attribute("dtype", 1))
    return (TensorType(dtype, tuple(call.required("shape"))),)


@infers("RandomNormalLike", "RandomUniformLike", "Bernoulli")
def random_like(call: Call) -> Types:
    """Draw numbers in the shape of the input: [*S] -> [*S]."""
    x = call.tensor(0)
    given = call.attribute("dtype")
    return (TensorType(x.dtype if given is None else ir.DataType(given), x.shape),)


@infers("Multinomial")
def multinomial(call: Call) -> Types:
    """Draw classes: [N, C] -> [N, sample_size], INT32 by default."""
    x = call.tensor(0)
    if x.shape is not None and len(x.shape) != 2:
        call.fail("input must have rank 2", x)
    batch = call.fresh("batch") if x.shape is None else x.shape[0]
    dtype = ir.DataType(call.attribute("dtype", int(ir.DataType.INT32)))
    return (TensorType(dtype, (batch, call.attribute("sample_size", 1))),)


@infers("BlackmanWindow", "HammingWindow", "HannWindow")
def window(call: Call) -> Types:
    """Return a window function: a size n -> [n], FLOAT by default."""
    given = call.sizes(0)
    size: Size = call.fresh("window") if given is None else given[0]
    return (TensorType(ir.DataType(call.attribute("output_datatype", 1)), (size,)),)
