"""ONNX's own node tests: for each of them the types inferred must be those of its expected outputs.

Every case is inferred twice: as it is, with its small inputs as constants, so that computed shapes are known; and
with a symbol for every size of every larger input, whose formulas must give the sizes that the case has.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from shape_inference import Dim, OptionalType, SequenceType, TensorType, infer

# What depends on the values in large tensors, and so has a size that nobody can know.
DATA_DEPENDENT = {
    *("compress", "image_decoder", "nonmaxsuppression", "nonzero", "string_split", "strnorm", "unique"),
    *("strnormalizer", "sequence", "loop11", "loop13", "loop16", "identity", "split_to_sequence"),
}
# Sequences and optionals whose own types say nothing about their elements.
UNTYPED = ("identity_sequence", "sequence_insert", "loop13_seq", "identity_opt", "optional")
# Open with symbols only: sizes that are equal in the case and that no formula says are equal.
SYMBOLIC_OPEN = ("gathernd", "linear_attention", "scan", "causal_conv_with_state", "resize")


@functools.cache
def _cases() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        return {case.name: case for case in load_model_tests(kind="node")}


def _array(item: Any) -> Any:
    if isinstance(item, onnx.TensorProto):
        return numpy_helper.to_array(item)
    return np.asarray(item) if isinstance(item, np.generic) else item


def _is_constant(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind in "iufbV" and array.size <= 16 and array.ndim <= 1


def _prepared(case: Any, symbolic: bool) -> tuple[ir.Model, dict[str, Any], dict[str, int]]:
    """The model without types of its outputs, the shapes of its inputs, and the values of their symbols."""
    found = ir.serde.deserialize_model(case.model)
    found.ir_version = 3  # with which inputs that have a value are constants
    shapes: dict[str, Any] = {}
    bindings: dict[str, int] = {}
    for value, item in zip(found.graph.inputs, case.data_sets[0][0], strict=False):
        array = _array(item)
        if _is_constant(array):
            value.const_value = ir.tensor(array)
        elif symbolic and isinstance(array, np.ndarray):
            shapes[value.name] = [f"s{len(bindings) + place}" for place in range(array.ndim)]
            bindings.update(zip(shapes[value.name], array.shape, strict=True))
    for node in ir.traversal.RecursiveGraphIterator(found.graph):
        for value in node.outputs:
            value.type = value.shape = None
    return found, shapes, bindings


def _problems(case: Any, symbolic: bool) -> Iterator[str]:
    found, shapes, bindings = _prepared(case, symbolic)
    report = infer(found, inputs=shapes)
    yield from map(str, report.errors)
    for value, info, item in zip(found.graph.outputs, case.model.graph.output, case.data_sets[0][1], strict=True):
        given: Any = report.types.get(value)
        if given is None:
            yield f"{value.name} has no type"
            continue
        items = [_array(item)]
        while isinstance(given, (SequenceType, OptionalType)):
            items = items[0] if isinstance(given, SequenceType) and isinstance(items[0], list) else items
            given = given.element
        if info.type.HasField("tensor_type") and given is not None:
            wanted = ir.DataType(info.type.tensor_type.elem_type)
            if given.dtype is not wanted:
                yield f"{value.name}: inferred {given}, is {wanted.name}"
        for array in items:
            if array is not None and given is not None and not isinstance(array, list):
                yield from _differences(value.name or "", given, np.asarray(array), bindings)


def _differences(name: str, given: TensorType, array: np.ndarray, bindings: dict[str, int]) -> Iterator[str]:
    if given.shape is None:
        yield f"{name}: the rank is open"
        return
    if len(given.shape) != array.ndim:
        yield f"{name}: inferred {given}, is {array.shape}"
        return
    for size, number in zip(given.shape, array.shape, strict=True):
        if type(size) is Dim and not size.free_symbols() <= bindings.keys():
            yield f"{name}: {size} is open"
        elif (size.evaluate(bindings) if type(size) is Dim else size) != number:
            yield f"{name}: inferred {given}, is {array.shape}"
    known = given.content is not None and not any(type(element) is Dim for element in given.content)
    if known and not np.allclose(np.array(given.content), array.reshape(-1), equal_nan=True):
        yield f"{name}: inferred {given.content}"


GROUPS = "abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize("symbolic", [False, True], ids=["constant", "symbolic"])
@pytest.mark.parametrize("letter", GROUPS)
def test_node_cases(letter: str, symbolic: bool) -> None:
    found = []
    for name, case in _cases().items():
        short = name.removeprefix("test_")
        if not short.startswith(letter):
            continue
        for problem in _problems(case, symbolic):
            is_open = problem.endswith("open")
            if is_open and (short.split("_")[0] in DATA_DEPENDENT or short.startswith(tuple(DATA_DEPENDENT))):
                continue
            if is_open and (short.startswith(UNTYPED) or (symbolic and short.startswith(SYMBOLIC_OPEN))):
                continue
            found.append(f"{name}: {problem}")
    assert not found
