"""Operators on strings."""

from __future__ import annotations

import onnx_ir as ir

from shape_inference.broadcasting import broadcast
from shape_inference.registry import Call, infers
from shape_inference.types import TensorType, Type

Types = tuple[Type | None, ...]
_STRING = ir.DataType.STRING


def _strings(call: Call, index: int) -> TensorType:
    x = call.tensor(index)
    if x.dtype not in (_STRING, ir.DataType.UNDEFINED):
        call.fail(f"input {index} must be STRING", x.dtype.name)
    return x


@infers("StringConcat")
def string_concat(call: Call) -> Types:
    """Join texts: [*A], [*B] -> broadcast."""
    a, b = _strings(call, 0), _strings(call, 1)
    return (TensorType(_STRING, broadcast(call, a.shape, b.shape)),)


@infers("RegexFullMatch")
def regex_full_match(call: Call) -> Types:
    """Match texts: [*S] -> [*S], bool."""
    return (TensorType(ir.DataType.BOOL, _strings(call, 0).shape),)


@infers("StringSplit")
def string_split(call: Call) -> Types:
    """Split texts: [*S] -> [*S, n], padded, and the number of parts [*S], INT64."""
    x = _strings(call, 0)
    if x.shape is None:
        return TensorType(_STRING, None), TensorType(ir.DataType.INT64, None)
    parts = TensorType(_STRING, (*x.shape, call.fresh("parts")))
    return parts, TensorType(ir.DataType.INT64, x.shape)


@infers("StringNormalizer")
def string_normalizer(call: Call) -> Types:
    """Drop stopwords: [n] -> [m], [1, n] -> [1, m]; without stopwords nothing is dropped."""
    x = _strings(call, 0)
    if x.shape is None:
        return (TensorType(_STRING, None),)
    if len(x.shape) not in (1, 2):
        call.fail("input must have rank 1 or 2", x)
    if not call.attribute("stopwords"):
        return (TensorType(_STRING, x.shape),)
    return (TensorType(_STRING, (*x.shape[:-1], call.fresh("words"))),)


@infers("TfIdfVectorizer")
def tf_idf_vectorizer(call: Call) -> Types:
    """Count n-grams: [n] or [B, n] -> [max index + 1] or [B, max index + 1]."""
    x = call.tensor(0)
    width = max(call.required("ngram_indexes")) + 1
    if x.shape is None:
        return (TensorType(ir.DataType.FLOAT, None),)
    return (TensorType(ir.DataType.FLOAT, (*x.shape[:-1], width)),)
