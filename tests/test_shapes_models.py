"""`infer` on whole models: what it writes, checks, reports, and how it fails."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from shape_inference import InferenceError, Report, TensorType, infer, symbol
from tests.test_shapes_harness import text_of

HEADER = '<ir_version: 8, opset_import: ["": 18, "local": 1, "custom": 1]>'


def model(text: str, functions: str = "", header: str = HEADER) -> ir.Model:
    return ir.serde.deserialize_model(onnx.parser.parse_model(f"{header} {text} {functions}"))


def shapes(found: ir.Model) -> dict[str, str]:
    return {value.name or "": f"{value.dtype}{value.shape}" for node in found.graph for value in node.outputs}


def shown(found: Report, name: str) -> str:
    return {row.name: text_of(row.type, content=False) for row in found.values}[name]


ATTENTION = """g (float[batch, seq, 768] x, float[768, 768] w) => (float[?, ?, ?, ?] y) {
  s = Shape(x)
  i = Constant<value_ints = [0, 1]>()
  b = Gather(s, i)
  r = Constant<value_ints = [-1, 768]>()
  f = Reshape(x, r)
  z = MatMul(f, w)
  q = Constant<value_ints = [12, 64]>()
  c = Concat<axis = 0>(b, q)
  y = Reshape(z, c)
}"""


def test_writes_types_and_shapes() -> None:
    found = model(ATTENTION)
    result = infer(found)
    assert not result.errors
    assert not result.unresolved
    assert shapes(found)["f"] == "FLOAT[batch*seq,768]"
    assert shapes(found)["y"] == "FLOAT[batch,seq,12,64]"
    onnx.checker.check_model(ir.to_proto(found), full_check=True)


def test_takes_shapes_and_sizes_from_the_caller() -> None:
    found = model(ATTENTION)
    infer(found, inputs={"batch": 2})
    assert shapes(found)["f"] == "FLOAT[2*seq,768]"
    found = model(ATTENTION)
    infer(found, inputs={"x": ("n", 3, 768)})
    assert shapes(found)["f"] == "FLOAT[3*n,768]"
    found = model(ATTENTION)
    infer(found, inputs={"x": TensorType(ir.DataType.FLOAT, (symbol("n"), 4, 768))})
    assert shapes(found)["y"] == "FLOAT[n,4,12,64]"


def test_names_dims_that_have_no_name() -> None:
    found = model("g (float[?, 3] x, float[?, 3] y) => (z) { z = Concat<axis=0>(x, y) }")
    assert not infer(found).unresolved
    assert shapes(found)["z"] == "FLOAT[x_0 + y_0,3]"


def test_input_dims_may_be_formulas_of_others() -> None:
    text = "g (float[N, S] x, float[N, P] p, float[N, P+S] m) => (z) { c = Concat<axis=1>(p, x) z = Add(c, m) }"
    found = ir.serde.deserialize_model(onnx.parser.parse_model(f"{HEADER} {text.replace('P+S', 'PS')}"))
    found.graph.inputs[2].shape = ir.Shape(["N", "P + S"])
    infer(found)
    assert shapes(found)["z"] == "FLOAT[N,P + S]"


def test_follows_the_values_of_small_integer_inputs() -> None:
    found = model("""g (int64 n, int64[2] size) => (r, e) {
        z = Constant<value_int = 0>()
        o = Constant<value_int = 1>()
        r = Range(z, n, o)
        e = ConstantOfShape(size)
    }""")
    assert not infer(found).unresolved
    assert shapes(found)["r"] == "INT64[max(n, 0)]"
    assert shapes(found)["e"] == "FLOAT[size_value_0,size_value_1]"


def test_reports_what_is_open_and_who_is_to_blame() -> None:
    found = model(
        """g (float[N] x) => (y) {
        m = custom.Mystery(x)
        a = Relu(m)
        [nz] p = NonZero(x)
        y = Transpose(p)
    }""".replace("[nz] ", "")
    )
    found.graph[2].name = "nz"
    result = infer(found)
    assert [(item.name, item.what, item.cause) for item in result.unresolved] == [
        ("m", "type", "custom.Mystery"),
        ("a", "type", "custom.Mystery"),
    ]
    assert result.data_sizes == {"nonzero_0": "NonZero 'nz'"}
    text = str(result)
    assert text.startswith("size of data: nonzero_0 (by NonZero 'nz')\nunresolved: m type (by custom.Mystery)\n")
    assert "p  INT64[1, nonzero_0]  NonZero 'nz'" in text


def test_trusts_the_model_where_it_knows_more() -> None:
    found = model("g (float[N] x) => (y) <float[N, 7] m> { m = custom.Mystery(x) y = Relu(m) }")
    result = infer(found)
    assert shown(result, "y") == "float[N, 7]"
    found = model("g (float[N] x) => (y) <int64[1, K] p> { p = NonZero(x) y = Transpose(p) }")
    result = infer(found)
    assert shown(result, "y") == "int64[K, 1]"
    assert result.data_sizes == {"nonzero_0": "NonZero", "K": "NonZero"}


CONTRADICTIONS = {
    "size": (
        "g (float[2] x) => (y) <float[3] m> { m = Relu(x) y = Neg(m) }",
        "Relu: output 'm' must be what the model says, [3], got FLOAT[2]",
    ),
    "rank": (
        "g (float[2] x) => (y) <float[2, 1] m> { m = Relu(x) y = Neg(m) }",
        "Relu: output 'm' must be what the model says, [2,1], got FLOAT[2]",
    ),
    "type": (
        "g (float[2] x) => (y) <double[2] m> { m = Relu(x) y = Neg(m) }",
        "Relu: output 'm' must be what the model says, DOUBLE, got FLOAT",
    ),
    "inner sizes": (
        "g (float[2, 3] x) => (y) { m = MatMul(x, x) y = Neg(x) }",
        "MatMul: the inner sizes must be equal, got 3 and 2",
    ),
    "too few inputs": (
        "g (float[2] x) => (y) { m = Add(x) y = Neg(x) }",
        "Add: the op must have 2 to 2 inputs, got 1",
    ),
    "absent input": (
        "g (float[2] x) => (y) { m = Add(, x) y = Neg(x) }",
        "Add: input 0 must be given",
    ),
    "attribute": (
        "g (float[2] x) => (y) { m = Cast(x) y = Neg(x) }",
        "Cast: attribute to must be given",
    ),
    "unknown op": (
        "g (float[2] x) => (y) { m = Relux(x) y = Neg(x) }",
        "Relux: the op must exist, got opset 18",
    ),
    "nonsense": (
        "g (float[2, 3] x) => (y) { m = Conv<strides = [1]>(x, x) y = Neg(x) }",
        "Conv: X must have at least rank 3, got FLOAT[2, 3]",
    ),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_errors_name_the_node_and_the_rest_is_inferred(name: str) -> None:
    text, message = CONTRADICTIONS[name]
    found = model(text)
    result = infer(found)
    assert [str(error) for error in result.errors] == [message]
    assert shown(result, "y").startswith("float")
    with pytest.raises(InferenceError, match=r"must"):
        infer(model(text), strict=True)


def test_sorts_nodes_and_names_those_on_a_cycle() -> None:
    found = model("g (float[2] x) => (y) { m = Relu(x) n = Neg(m) y = Abs(n) }")
    nodes = list(found.graph)
    found.graph.remove(nodes[0])
    found.graph.append(nodes[0])
    assert shown(infer(found, strict=True), "y") == "float[2]"
    nodes[0].name = "first"
    nodes[0].replace_input_with(0, nodes[1].outputs[0])
    result = infer(found)
    assert "nodes must form no cycle" in str(result.errors[0])
    assert "Relu 'first'" in str(result.errors[0])


FUNCTIONS = """
<opset_import: ["": 18], domain: "local">
twice <alpha> (x) => (y) { a = LeakyRelu<alpha: float = @alpha>(x) y = Concat<axis = 0>(a, a) }
"""


def test_model_local_functions() -> None:
    text = "g (float[N, 3] x) => (z) { y = local.twice<alpha = 0.5>(x) z = local.twice<alpha = 0.5>(y) }"
    found = model(text, FUNCTIONS)
    assert not infer(found).errors
    assert shapes(found) == {"y": "FLOAT[2*N,3]", "z": "FLOAT[4*N,3]"}
    wrong = model("g (float x) => (z) { z = local.twice<alpha = 0.5>(x) }", FUNCTIONS)
    assert str(infer(wrong).errors[0]) == "local.twice > Concat: axis must be in [0, -1], got 0"


def test_initializers_of_old_models_are_constants() -> None:
    text = """g (float[N, 6] x, int64[2] r = {-1, 3}) => (y) { y = Reshape(x, r) }"""
    for version, wanted in ((3, "FLOAT[2*N,3]"), (8, "FLOAT[reshape_0,reshape_1]")):
        proto = onnx.parser.parse_model(f"{HEADER} {text}")
        del proto.graph.initializer[:]
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, 3]), "r"))
        proto.ir_version = version
        found = ir.serde.deserialize_model(proto)
        infer(found)
        assert shapes(found)["y"] == wanted


def test_reads_no_weight(tmp_path: Path) -> None:
    """A model with 3 GB of external data takes no memory to speak of, nor the file itself."""
    weight = ir.ExternalTensor(
        "nowhere.bin", 0, 3 * 2**30, ir.DataType.FLOAT, name="w", shape=ir.Shape([768, 2**20]), base_dir=tmp_path
    )
    found = model("g (float[N, 768] x, float[768, 1048576] w) => (y) { y = MatMul(x, w) }")
    value = found.graph.inputs[1]
    value.const_value = weight
    tracemalloc.start()
    infer(found)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert shapes(found)["y"] == "FLOAT[N,1048576]"
    assert peak < 10 * 2**20


def _chain(nodes: list[ir.Node], inputs: list[ir.Value], outputs: list[ir.Value]) -> ir.Model:
    return ir.Model(ir.Graph(inputs, outputs, nodes=nodes, opset_imports={"": 18}), ir_version=8)


def _input(name: str, *dims: int | str) -> ir.Value:
    return ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(dims))


def test_long_chains_of_growing_formulas() -> None:
    x = _input("x", "n", "m")
    value, nodes = x, []
    for index in range(3000):
        axis = index % 2
        nodes.append(ir.Node("", "Concat", [value, value if index % 50 == 0 else x], [ir.AttrInt64("axis", axis)]))
        value = nodes[-1].outputs[0]
        value.name = f"v{index}"
        nodes.append(ir.Node("", "Transpose", [value], [ir.AttrInt64s("perm", [0, 1])]))
        value = nodes[-1].outputs[0]
        value.name = f"t{index}"
        if index % 7 == 0:
            x = value
    result = infer(_chain(nodes, [_input("n", 1), nodes[0].inputs[0]], [value]))
    assert all(len(str(row.type)) < 2000 for row in result.values)


def test_a_hundred_stages_with_floor_divisions() -> None:
    x = _input("x", 1, 3, "h", "w")
    kernel = _input("k", 3, 3, 3, 3)
    nodes, value = [], x
    for index in range(100):
        attributes = [ir.AttrInt64s("strides", [2, 2]), ir.AttrInt64s("pads", [1, 1, 1, 1])]
        down = ir.Node("", "Conv", [value, kernel], attributes)
        up = ir.Node("", "ConvTranspose", [down.outputs[0], kernel], attributes[:1])
        join = ir.Node("", "Concat", [down.outputs[0], down.outputs[0]], [ir.AttrInt64("axis", 2)])
        nodes += [down, up, join]
        value = join.outputs[0]
        for place, node in enumerate((down, up, join)):
            node.outputs[0].name = f"v{index}_{place}"
    found = _chain(nodes, [x, kernel], [value])
    assert not infer(found).errors
    bindings = {"h": 1000, "w": 900}
    height, width = 1000, 900
    for node in nodes[2::3]:
        height, width = ((height + 1) // 2) * 2, (width + 1) // 2
        assert node.outputs[0].shape.evaluate(bindings) == [1, 3, height, width]
