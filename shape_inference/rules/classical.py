"""Classical machine learning: the domain ai.onnx.ml."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from shape_inference.dims import Size
from shape_inference.registry import Call, infers
from shape_inference.types import TensorType, Type

Types = tuple[Type | None, ...]

_ML = "ai.onnx.ml"
_FLOAT, _INT64, _STRING = ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.STRING


@infers("Binarizer", "Imputer", domain=_ML)
def binarizer(call: Call) -> Types:
    """Keep the type and the shape: [*S] -> [*S]."""
    x = call.tensor(0)
    return (TensorType(x.dtype, x.shape),)


@infers("Normalizer", "Scaler", domain=_ML)
def scaler(call: Call) -> Types:
    """Keep the shape: [*S] -> [*S], FLOAT."""
    return (TensorType(_FLOAT, call.tensor(0).shape),)


@infers("CategoryMapper", domain=_ML)
def category_mapper(call: Call) -> Types:
    """Turn strings into numbers and back: [*S] -> [*S]."""
    x = call.tensor(0)
    return (TensorType(_INT64 if x.dtype is _STRING else _STRING, x.shape),)


# Where the type of a LabelEncoder's values is written.
_VALUES = {"values_strings": _STRING, "values_int64s": _INT64, "values_floats": _FLOAT}


@infers("LabelEncoder", domain=_ML)
def label_encoder(call: Call) -> Types:
    """Map values to values: [*S] -> [*S], the type of the attribute that holds them."""
    x = call.tensor(0)
    tensor = call.attribute("values_tensor")
    if tensor is not None:
        return (TensorType(tensor.dtype, x.shape),)
    if call.version < 2:
        return (TensorType(_INT64 if x.dtype is _STRING else _STRING, x.shape),)
    for name, dtype in _VALUES.items():
        if call.attribute(name) is not None:
            return (TensorType(dtype, x.shape),)
    call.fail("one of its values attributes must be given")


@infers("OneHotEncoder", domain=_ML)
def one_hot_encoder(call: Call) -> Types:
    """Mark categories: [*S] -> [*S, categories], FLOAT."""
    x = call.tensor(0)
    categories = call.attribute("cats_int64s") or call.attribute("cats_strings") or ()
    if x.shape is None:
        return (TensorType(_FLOAT, None),)
    return (TensorType(_FLOAT, (*x.shape, len(categories))),)


@infers("FeatureVectorizer", domain=_ML)
def feature_vectorizer(call: Call) -> Types:
    """Put features side by side: [N, c_i] each -> [N, sum of inputdimensions], FLOAT."""
    first = call.tensor(0)
    widths: Any = call.attribute("inputdimensions")
    total: Size = sum(widths) if widths else call.fresh("features")
    rows: Size = call.fresh("rows")
    if first.shape is not None:
        rows = first.shape[0] if len(first.shape) > 1 else 1
    return (TensorType(_FLOAT, (rows, total)),)


@infers("DictVectorizer", domain=_ML)
def dict_vectorizer(call: Call) -> Types:
    """Look up a map's values: -> [1, vocabulary]; their type is that of the map's values."""
    words = call.attribute("string_vocabulary") or call.attribute("int64_vocabulary") or ()
    return (TensorType(ir.DataType.UNDEFINED, (1, len(words))),)


@infers("CastMap", domain=_ML)
def cast_map(call: Call) -> Types:
    """Turn a map into a tensor: -> [1, n]; n is max_map where sparse."""
    kind = {"TO_FLOAT": _FLOAT, "TO_INT64": _INT64, "TO_STRING": _STRING}
    sparse = call.attribute("map_form", "DENSE") == "SPARSE"
    width: Size = call.attribute("max_map", 1) if sparse else call.fresh("map")
    return (TensorType(kind[call.attribute("cast_to", "TO_FLOAT")], (1, width)),)


def _rows(call: Call) -> Size:
    """How many samples there are; a vector is one."""
    x = call.tensor(0)
    if x.shape is None:
        return call.fresh("rows")
    return x.shape[0] if len(x.shape) > 1 else 1


def _labels(call: Call, *names: str) -> tuple[ir.DataType, int]:
    """The type of the labels and how many there are."""
    strings = call.attribute("classlabels_strings")
    if strings:
        return _STRING, len(strings)
    for name in names:
        numbers = call.attribute(name)
        if numbers:
            return _INT64, len(numbers)
    return _INT64, 0


@infers("LinearClassifier", domain=_ML)
def linear_classifier(call: Call) -> Types:
    """Classify: [N, F] -> labels [N], scores [N, classes]."""
    rows = _rows(call)
    dtype, classes = _labels(call, "classlabels_ints")
    scores = call.attribute("intercepts")
    width = classes or (len(scores) if scores else 0)
    if width == 1:
        width = 2
    return TensorType(dtype, (rows,)), TensorType(_FLOAT, (rows, width or call.fresh("classes")))


@infers("SVMClassifier", domain=_ML)
def svm_classifier(call: Call) -> Types:
    """Classify: [N, F] -> labels [N], scores [N, classes], or one for each pair of classes."""
    rows = _rows(call)
    dtype, classes = _labels(call, "classlabels_ints")
    pairs = classes * (classes - 1) // 2
    vectors = call.attribute("vectors_per_class")
    plain = call.attribute("prob_a") or not vectors
    width: Size = classes if plain or classes <= 2 else pairs
    return TensorType(dtype, (rows,)), TensorType(_FLOAT, (rows, width or call.fresh("classes")))


@infers("TreeEnsembleClassifier", domain=_ML)
def tree_ensemble_classifier(call: Call) -> Types:
    """Classify: [N, F] -> labels [N], scores [N, classes]."""
    rows = _rows(call)
    dtype, classes = _labels(call, "classlabels_int64s")
    return TensorType(dtype, (rows,)), TensorType(_FLOAT, (rows, classes or call.fresh("classes")))


@infers("LinearRegressor", domain=_ML)
def linear_regressor(call: Call) -> Types:
    """Regress: [N, F] -> [N, targets], FLOAT."""
    return (TensorType(_FLOAT, (_rows(call), call.attribute("targets", 1))),)


@infers("SVMRegressor", domain=_ML)
def svm_regressor(call: Call) -> Types:
    """Regress: [N, F] -> [N, 1], FLOAT."""
    return (TensorType(_FLOAT, (_rows(call), 1)),)


@infers("TreeEnsembleRegressor", domain=_ML)
def tree_ensemble_regressor(call: Call) -> Types:
    """Regress: [N, F] -> [N, targets], FLOAT."""
    return (TensorType(_FLOAT, (_rows(call), call.attribute("n_targets", 1))),)


@infers("TreeEnsemble", domain=_ML)
def tree_ensemble(call: Call) -> Types:
    """Regress or classify: [N, F] -> [N, targets]."""
    return (TensorType(call.tensor(0).dtype, (_rows(call), call.attribute("n_targets", 1))),)


@infers("ZipMap", domain=_ML)
def zip_map(call: Call) -> Types:
    """Return a sequence of maps, which no tensor operator takes."""
    call.tensor(0)
    return (None,)
