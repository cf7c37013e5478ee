"""What the tests of the passes share: models from text, graphs as strings, numbers from onnxruntime.

A model is the text of `onnx.parser`. Its inputs that are named `w...` become constants with random
contents. While a pass runs, reading more than 1 KiB of one of them fails the test.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

import numpy as np
import onnx
import onnx.parser
import onnx.shape_inference
import onnx_ir as ir
import onnxruntime as ort
import pytest

from exporter.optimization import Rewriter, optimize
from exporter.optimization.values import SMALL_BYTES

SIZES = {"N": 3, "M": 4, "S": 5}
OTHER_SIZES = {"N": 1, "M": 2, "S": 3}


class Weight(ir.LazyTensor):
    """A tensor that must not be read while `forbidden` is set."""

    forbidden = False

    def numpy(self):
        assert not (Weight.forbidden and self.nbytes > SMALL_BYTES), f"{self.name} was read"
        return super().numpy()

    def tobytes(self):
        return self.numpy().tobytes()


_LOSE_SIGNS = ("Where", "Max", "Min", "Clip")  # where onnxruntime's -0.0 may come out as 0.0


class OriginalFails(Exception):
    """The model does not run before it is changed."""


def model(text: str, opset_version: int = 18, seed: int = 0) -> ir.Model:
    """Build a model from the text of a graph, with the shapes of all values inferred."""
    header = f'<ir_version: 9, opset_import: ["" : {opset_version}]>\n'
    proto = onnx.parser.parse_model(header + text)
    random = np.random.default_rng(seed)
    weights = [value for value in proto.graph.input if value.name.startswith("w")]
    for value in weights:
        array = random_array(random, value.type.tensor_type, {})
        if "var" in value.name:
            array = np.abs(array) + array.dtype.type(0.5)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
        proto.graph.input.remove(value)
    proto = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    return with_weights(ir.from_proto(proto))


def with_weights(built: ir.Model) -> ir.Model:
    """Let the initializers that are named `w...` be tensors that tell when they are read."""
    for value in built.graph.initializers.values():
        tensor = value.const_value
        if value.name.startswith("w"):
            value.const_value = Weight(lambda tensor=tensor: tensor, tensor.dtype, tensor.shape, name=value.name)
    return built


def random_array(random: np.random.Generator, declared: onnx.TypeProto.Tensor, sizes: Mapping[str, int]) -> np.ndarray:
    """Contents for a value of the type; some of the numbers are -0.0, and integers are small."""
    shape = [sizes[dim.dim_param] if dim.dim_param else dim.dim_value for dim in declared.shape.dim]
    dtype = ir.DataType(declared.elem_type).numpy()
    if dtype == np.bool_:
        return np.asarray(random.random(shape) < 0.5)
    if dtype.kind in "iu":
        return np.asarray(random.integers(0, 3, shape), dtype=dtype)
    array = np.asarray(random.normal(size=shape), dtype=dtype)
    array[random.random(shape) < 0.1] = -0.0
    return array


def ops(graph: ir.Model | ir.Graph) -> str:
    """The ops of a graph in order, each with those of its subgraphs in brackets."""
    nodes = graph.graph if isinstance(graph, ir.Model) else graph
    return " ".join(_op(node) for node in nodes)


def _op(node: ir.Node) -> str:
    bodies = [a.as_graph() for a in node.attributes.values() if a.type is ir.AttributeType.GRAPH]
    return node.op_type + (f"[{' | '.join(map(ops, bodies))}]" if bodies else "")


def run(proto: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs of the model in onnxruntime, which optimizes nothing."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    try:
        return session.run(None, dict(feeds))
    except Exception as error:  # the runtime's own classes have no common public base
        raise RuntimeError(str(error)) from error


def feeds(proto: onnx.ModelProto, sizes: Mapping[str, int], seed: int) -> dict[str, np.ndarray]:
    """Random contents for the inputs of the model."""
    random = np.random.default_rng(seed)
    return {value.name: random_array(random, value.type.tensor_type, sizes) for value in proto.graph.input}


def assert_same(got: np.ndarray, wanted: np.ndarray, tolerance: float, *, signs: bool = True) -> None:
    """The arrays agree; at tolerance 0 exactly, and with `signs` to the sign of their zeros."""
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    if tolerance:
        scale = float(np.abs(wanted).max(initial=1e-3))
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * scale)
        return
    np.testing.assert_array_equal(got, wanted)
    if signs and got.dtype.kind == "f":
        np.testing.assert_array_equal(np.signbit(got), np.signbit(wanted))


def changed(
    built: ir.Model,
    change: Callable[[ir.Model], object],
    tolerance: float = 0,
    sizes: Collection[Mapping[str, int]] = (SIZES, OTHER_SIZES),
) -> ir.Model:
    """Change a model; check that it is valid, that its interface stays, and that its numbers do."""
    before = ir.to_proto(built)
    Weight.forbidden = True
    try:
        change(built)
    finally:
        Weight.forbidden = False
    after = ir.to_proto(built)
    onnx.checker.check_model(after, full_check=True)
    assert list(after.graph.input) == list(before.graph.input)
    assert list(after.graph.output) == list(before.graph.output)
    assert_typed(built.graph)
    signs = not any(node.op_type in _LOSE_SIGNS for node in before.graph.node)
    for number, size in enumerate(sizes):
        given = feeds(before, size, number)
        try:
            all_wanted = run(before, given)
        except RuntimeError as error:
            raise OriginalFails(str(error)) from error
        for got, wanted in zip(run(after, given), all_wanted, strict=True):
            assert_same(got, wanted, tolerance, signs=signs)
    return built


def assert_typed(graph: ir.Graph) -> None:
    """Every value has a type and a shape, and the names are unique."""
    names = [value.name for value in values(graph)]
    assert len(names) == len(set(names))
    for value in values(graph):
        assert value.type is not None, value
        assert value.shape is not None, value


def values(graph: ir.Graph) -> Iterator[ir.Value]:
    """The values of a graph and of its subgraphs."""
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph.all_nodes():
        yield from node.outputs
        for attr in node.attributes.values():
            if attr.type is ir.AttributeType.GRAPH:
                yield from attr.as_graph().initializers.values()


def pass_test(
    run_pass: Callable[[Rewriter], int],
    text: str,
    wanted: str,
    *,
    tolerance: float = 0,
    opset_version: int = 18,
    sizes: Collection[Mapping[str, int]] = (SIZES, OTHER_SIZES),
) -> ir.Model:
    """Run one pass on a model and check the ops that remain."""
    built = model(text, opset_version)
    fired = 0

    def change(changing: ir.Model) -> None:
        nonlocal fired
        fired = run_pass(Rewriter(changing))

    before = ops(built)
    changed(built, change, tolerance, sizes)
    assert ops(built) == wanted
    assert (fired > 0) == (before != wanted)
    return built


def test_reading_a_weight_fails() -> None:
    built = model("g (float[20,20] x, float[20,20] w) => (float[20,20] y) { y = Add(x, w) }")

    def read(changing: ir.Model) -> None:
        changing.graph.initializers["w"].const_value.numpy()

    with pytest.raises(AssertionError, match="w was read"):
        changed(built, read)


def test_changed_numbers_fail() -> None:
    built = model("g (float[N] x) => (float[N] y) { y = Relu(x) }")

    def negate(changing: ir.Model) -> None:
        changing.graph[0].op_type = "Neg"

    with pytest.raises(AssertionError):
        changed(built, negate)


def test_report_counts_by_pass() -> None:
    built = model("g (float[N] x) => (float[N] y) { a = Identity(x)\n b = Relu(x)\n y = Relu(a) }")
    report = optimize(built)
    assert ops(built) == "Relu"
    assert {name: count for name, count in report.items() if count} == {
        "dead code": 1,
        "identities": 1,
    }
