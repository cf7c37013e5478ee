"""Symbolic shape inference for ONNX models, fast and complete."""

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
from shape_inference.errors import InferenceError
from shape_inference.registry import UNKNOWN, Call, infers
from shape_inference.report import Report
from shape_inference.types import Content, OptionalType, SequenceType, TensorType, Type

__all__ = [
    "UNKNOWN",
    "Call",
    "Content",
    "Dim",
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
