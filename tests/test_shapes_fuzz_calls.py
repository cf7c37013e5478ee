"""Random calls of one operator: what onnxruntime computes must be what was inferred.

A call has random inputs and attributes at fixed sizes: whatever onnxruntime runs must be inferred, with the sizes and
the contents that come out.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from shape_inference import TensorType, infer
from tests import shapes_fuzz_layers, shapes_fuzz_layouts  # noqa: F401  # which register the operators
from tests.shapes_fuzz import CALLS, DTYPES, OPSET, Chance, Draw, run

OPSETS = (7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 18, 18, 19, 20, 21, 22, 23, 24, 25, 26)


def as_of(draw: Draw, opset: int) -> Draw | None:
    """The same call as another opset version writes it; None where it had no such call."""
    inputs, attributes = list(draw.inputs), dict(draw.attributes)

    def moved(name: str, place: int) -> None:
        if place < len(inputs) and inputs[place] is not None:
            attributes[name] = np.asarray(inputs.pop(place)).tolist()

    name = draw.op_type
    if name in ("Squeeze", "Unsqueeze", "ReduceSum") and opset < 13:
        moved("axes", 1)
    if name in ("ReduceMean", "ReduceMax", "ReduceL2") and opset < 18:
        moved("axes", 1)
    if name.startswith("Reduce") and opset < 18 and (name != "ReduceSum" or opset < 13):
        attributes.pop("noop_with_empty_axes", None)
    if name == "Slice" and opset < 10:
        if any(step != 1 for step in inputs.pop(4)):  # type: ignore[union-attr]  # a Slice has them
            return None
        for place in (3, 2, 1):
            moved(("starts", "ends", "axes")[place - 1], place)
    if name == "Pad" and opset < 18:
        rank, pads, axes = inputs[0].ndim, inputs[1], inputs[3]  # type: ignore[union-attr]  # a Pad has them
        whole = np.zeros(2 * rank, np.int64)
        for place, axis in enumerate(axes):  # type: ignore[arg-type, union-attr]  # as above
            whole[[axis, axis + rank]] = pads[[place, place + len(axes)]]  # type: ignore[index, arg-type]  # as above
        inputs = [inputs[0], whole]
        if opset < 11:
            moved("pads", 1)
    if name == "Split" and opset < 18:
        attributes.pop("num_outputs", None)
        if opset < 13:
            moved("split", 1)
    if name == "TopK" and opset < 10:
        attributes["k"] = int(inputs.pop()[0])  # type: ignore[index]  # a TopK has it
    if name == "Upsample" and opset < 9:
        moved("scales", 1)
    if name == "DFT" and opset >= 20:
        inputs = [inputs[0], None, np.array(attributes.pop("axis"))]
        return Draw(name, inputs, attributes, frozenset({2}), draw.outputs)
    constants = frozenset(place for place in draw.constants if place < len(inputs))
    return Draw(name, inputs, attributes, constants, draw.outputs)


def _model(draw: Draw, opset: int = OPSET) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A model of one call, and what to feed it."""
    names, inputs, constants, feed = [], [], [], {}
    for place, array in enumerate(draw.inputs):
        name = "" if array is None else f"i{place}"
        names.append(name)
        if array is None:
            continue
        if place in draw.constants:
            constants.append(onnx.numpy_helper.from_array(array, name))
        else:
            inputs.append(helper.make_tensor_value_info(name, DTYPES[array.dtype], array.shape))
            feed[name] = array
    outputs = [f"o{place}" for place in range(draw.outputs)]
    node = helper.make_node(draw.op_type, names, outputs, **draw.attributes)
    infos = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph([node], "g", inputs, infos, constants)
    version = 8 if opset < 19 else 10
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=version), feed


def check_call(seed: int, opset: int | None = None) -> str | None:
    """Compare one random call, of a random opset version by default; None if onnxruntime refuses it."""
    chance = Chance(seed)
    drawn = CALLS[chance.choice(sorted(CALLS))](chance)
    version = chance.choice(OPSETS) if opset is None else opset
    draw = as_of(drawn, version)
    if draw is None:
        return None
    model, feed = _model(draw, version)
    computed = run(model, feed)
    if computed is None:
        return None
    found = ir.serde.deserialize_model(model)
    report = infer(found)
    what = f"{draw.op_type} {version} {[None if a is None else a.shape for a in draw.inputs]} {draw.attributes}"
    assert not report.errors, f"{what}: {report.errors[0]}"
    for value, array in zip(found.graph.outputs, computed, strict=True):
        given = report.types[value]
        assert isinstance(given, TensorType), what
        assert given.dtype.numpy() == array.dtype, what
        open_sizes = draw.op_type == "NonZero"
        assert open_sizes or given.shape == array.shape, f"{what}: inferred {given}, computed {array.shape}"
        if given.content is not None:
            assert list(given.content) == array.reshape(-1).tolist(), f"{what}: {given.content}"
    return draw.op_type


@pytest.mark.parametrize("start", range(0, 600, 50))
def test_calls(start: int) -> None:
    ran = [check_call(seed, OPSET) for seed in range(start, start + 50)]
    assert sum(name is not None for name in ran) > 25


@pytest.mark.parametrize("opset", sorted(set(OPSETS)))
def test_calls_of_every_opset(opset: int) -> None:
    ran = [check_call(seed, opset) for seed in range(1000 * opset, 1000 * opset + 60)]
    assert sum(name is not None for name in ran) > 15
