"""Symbolic shape inference for ONNX: fast, on any model, without reading a weight.

    report = infer(model)                       # an onnx_ir.Model, typed in place
    report = infer(model, inputs={"batch": 1})  # with what is known beyond it
    print(report)                               # errors, what stayed open and who caused it, all values

Dims (`Dim`) are integer formulas in a normal form: `symbol("seq") + 1`, `parse("batch*seq")`; what
is constant is an `int`. They are compared by `same`, `at_least` and `divisible`, which say None
where they cannot know, evaluated by `Dim.evaluate`, and folded by `Dim.lower` into anything else.

A `TensorType` holds the element type, the shape, and for small tensors the contents, symbols
among them: this is how a Reshape to a computed shape is understood.

`infer_call` types one operator call, as an exporter needs it. An operator that has no rule gets one by

    @infers("MyOp", domain="my.domain")
    def my_op(call: Call) -> tuple[TensorType]:
        x = call.tensor(0)
        return (TensorType(x.dtype, x.shape),)
"""

from __future__ import annotations

from shape_inference.dims import (
    Dim,
    Size,
    at_least,
    ceil_div,
    divisible,
    larger,
    parse,
    product,
    same,
    smaller,
    stretched,
    symbol,
)
from shape_inference.engine import infer, infer_call
from shape_inference.errors import GivenError, InferenceError
from shape_inference.registry import UNKNOWN, Call, infers
from shape_inference.report import Report
from shape_inference.types import Content, OptionalType, SequenceType, TensorType, Type

__all__ = [
    "UNKNOWN",
    "Call",
    "Content",
    "Dim",
    "GivenError",
    "InferenceError",
    "OptionalType",
    "Report",
    "SequenceType",
    "Size",
    "TensorType",
    "Type",
    "at_least",
    "ceil_div",
    "divisible",
    "infer",
    "infer_call",
    "infers",
    "larger",
    "parse",
    "product",
    "same",
    "smaller",
    "stretched",
    "symbol",
]
