"""`infer` on whole models: what it writes, checks, reports, and how it fails."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from shape_inference import GivenError, InferenceError, Report, TensorType, infer, symbol
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


def test_tells_nodes_apart_that_differ_in_an_attribute_alone() -> None:
    found = model("""g (float[2, n, 4] x) => (float[?, ?, ?] a, float[?, ?, ?] b, float[?, ?, ?] c) {
      a = Transpose<perm = [0, 2, 1]>(x)
      b = Transpose<perm = [1, 0, 2]>(x)
      c = Transpose<perm = [0, 2, 1]>(x)
    }""")
    infer(found)
    assert shapes(found) == {"a": "FLOAT[2,4,n]", "b": "FLOAT[n,2,4]", "c": "FLOAT[2,4,n]"}


def test_tells_nodes_apart_that_differ_in_the_type_of_an_attribute() -> None:
    found = model("""g (float[2, n] x) => (float[?, ?] a, float[?, ?] b, float[?, ?] c, float[?, ?] d) {
      a = Softmax<axis = 1>(x)
      b = Softmax<axis = 1.0>(x)
      c = Transpose<perm = [1, 0]>(x)
      d = Transpose<perm = [1.0, 0.0]>(x)
    }""")
    result = infer(found)
    assert [error.must for error in result.errors] == ["attribute axis must be INT", "attribute perm must be INTS"]
    assert shown(result, "a") == "float[2, n]"
    assert shown(result, "c") == "float[n, 2]"


def test_does_not_take_two_sizes_of_data_for_one() -> None:
    found = model("""g (float[n] x) => (int64[?, ?] a, int64[?, ?] b, int64[?] c) {
      a = NonZero(x)
      b = NonZero(x)
      c = Shape(b)
    }""")
    result = infer(found)
    assert shown(result, "a") != shown(result, "b")
    assert len(result.data_sizes) == 2


def test_shares_frozen_shapes_but_for_inputs() -> None:
    found = model("g (float[n, 4] x) => (float[?, ?] b) { a = Relu(x) b = Exp(a) }")
    infer(found)
    a, b = (node.outputs[0] for node in found.graph)
    assert a.shape is b.shape
    assert a.shape is not None
    assert a.shape.frozen
    assert a.type is not b.type  # which has a setter
    x = found.graph.inputs[0]
    assert x.shape is not None
    x.shape[0] = 3


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
    "attribute of another type": (
        'g (float[2] x) => (y) { m = Concat<axis = "0">(x, x) y = Neg(x) }',
        "Concat: attribute axis must be INT, got STRING",
    ),
    "attribute of another op": (
        "g (float[2] x) => (y) { m = Concat<axis = 0, alpha = 1.0>(x, x) y = Neg(x) }",
        "Concat: its attributes must be of the op, got alpha",
    ),
    "axis": (
        "g (float[2, 3] x) => (y) { m = Softmax<axis = 2>(x) y = Neg(x) }",
        "Softmax: axis must be in [-2, 1], got 2",
    ),
    "element type": (
        "g (float[2] x) => (y) { m = Not(x) y = Neg(x) }",
        "Not: input 0 must be of BOOL, got FLOAT",
    ),
    "element types": (
        "g (float[2] x, int64[2] i) => (y) { m = Add(x, i) y = Neg(x) }",
        "Add: inputs must have one element type, got FLOAT, INT64",
    ),
    "too many outputs": (
        "g (float[2] x) => (y) { m, n = Relu(x) y = Neg(x) }",
        "Relu: the op must have at most 1 outputs, got 2",
    ),
    "value of nobody": (
        "g (float[2] x) => (y) { m = Add(x, q) y = Neg(x) }",
        "Add: input 'q' must be made by a node, or be an input",
    ),
    "output of nobody": (
        "g (float[2] x) => (y, float[2] q) { y = Neg(x) }",
        "graph: output 'q' must be made by a node, or be an input",
    ),
    "the graph's output": (
        "g (float[2] x) => (float[3] m, y) { m = Neg(x) y = Neg(x) }",
        "Neg: output 'm' must be what the model says, [3], got FLOAT[2]",
    ),
    "body": (
        """g (float[2, 3] x, bool c) => (y) {
            m = If(c) <then_branch = t () => (a) { a = MatMul(x, x) }, else_branch = e () => (b) { b = Neg(x) }>
            y = Neg(x)
        }""",
        "MatMul: the inner sizes must be equal, got 3 and 2",
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


def test_a_negative_dim_is_an_unknown_one() -> None:
    found = model("g (float[2, 3] x) => (y) <float[2, 3] m> { m = Relu(x) y = Neg(m) }")
    found.graph.inputs[0].shape = ir.Shape([-1, 3])
    found.graph[0].outputs[0].shape = ir.Shape([-1, 3])
    result = infer(found, strict=True)
    assert shown(result, "y") == "float[x_0, 3]"


def test_broken_data_of_a_constant_is_named() -> None:
    proto = onnx.parser.parse_model(f"{HEADER} g (float[2, 3] x) => (y) {{ m = Reshape(x, w) y = Neg(x) }}")
    proto.graph.initializer.append(onnx.TensorProto(name="w", data_type=7, dims=[2], raw_data=b"abc"))
    result = infer(ir.serde.deserialize_model(proto))
    assert str(result.errors[0]).startswith("initializer 'w': its data must fit its shape, got ")
    assert shown(result, "y") == "float[2, 3]"


def test_a_function_that_calls_itself_is_named() -> None:
    call = """<opset_import: ["": 18, "local": 1], domain: "local"> again (x) => (y) { y = local.again(x) }"""
    found = model("g (float[2] x) => (y) { m = local.again(x) y = Neg(x) }", call)
    result = infer(found)
    assert [str(error) for error in result.errors] == ["local.again > local.again: a function must not call itself"]
    assert shown(result, "y") == "float[2]"


GIVEN = {
    "no such name": ({"btch": 1}, "btch: must be an input of the model or a dim of one, got a model with x, N"),
    "another rank": ({"x": (1, 2)}, "x: must have 1 dims, got 2"),
    "an int for an input": ({"x": 1}, "x: must be a shape, as it is an input, got 1"),
}


@pytest.mark.parametrize("name", GIVEN)
def test_refuses_what_does_not_fit_the_model(name: str) -> None:
    given, message = GIVEN[name]
    with pytest.raises(GivenError) as caught:
        infer(model("g (float[N] x) => (y) { y = Neg(x) }"), inputs=given)
    assert str(caught.value) == message


def test_what_is_found_before_nodes_are_sorted_is_found_once() -> None:
    found = model("g (float[2, 3] x) => (y) { m = MatMul(x, x) p = NonZero(x) n = Relu(p) y = Abs(n) }")
    nodes = list(found.graph)
    found.graph.remove(nodes[2])
    found.graph.append(nodes[2])
    result = infer(found)
    assert [str(error) for error in result.errors] == [
        "MatMul: the inner sizes must be equal, got 3 and 2",
    ]
    assert list(result.data_sizes.values()) == ["NonZero"]
    assert shown(result, "y").startswith("int64[2, ")


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
