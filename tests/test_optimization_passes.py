"""Dead code, identities, common subexpressions and constants: what each pass does, and leaves."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from exporter.optimization import (
    Rewriter,
    common_subexpressions,
    constants,
    dead_code,
    identities,
    optimize,
)
from tests.test_optimization_harness import changed, model, ops, pass_test

DEAD_CODE = {
    "unused": ("g (float[N] x) => (float[N] y) { a = Abs(x)\n b = Neg(a)\n y = Relu(x) }", "Relu"),
    "random": ("g (float[3] x) => (float[3] y) { r = RandomNormalLike(x)\n y = Relu(x) }", "Relu"),
    "subgraph": (
        """g (bool c, float[N] x) => (float[N] y) {
             a = Abs(x)
             y = If(c) <then_branch = t () => (float[N] p) { d = Neg(a)\n p = Relu(x) },
                        else_branch = e () => (float[N] q) { q = Ceil(x) }>
           }""",
        "If[Relu | Ceil]",
    ),
    "whole If": (
        """g (bool c, float[N] x) => (float[N] z) {
             a = Abs(x)
             y = If(c) <then_branch = t () => (float[N] p) { p = Relu(a) },
                        else_branch = e () => (float[N] q) { q = Ceil(x) }>
             z = Neg(x)
           }""",
        "Neg",
    ),
    "optional output": (
        "g (float[N,4] x) => (float[N,2] y) { y, z = Split<axis=1, num_outputs=2>(x) }",
        "Split",
    ),
}


@pytest.mark.parametrize("name", DEAD_CODE)
def test_dead_code(name: str) -> None:
    pass_test(dead_code.run, *DEAD_CODE[name])


def test_unused_initializers_go_except_kept_ones() -> None:
    text = "g (float[3] x, float[3] w, float[3] wk) => (float[3] y) { y = Relu(x) }"
    built = changed(model(text), lambda m: dead_code.run(Rewriter(m, keep=["wk"])))
    assert list(built.graph.initializers) == ["wk"]


def test_kept_values_stay() -> None:
    text = "g (float[3] x) => (float[3] y) { a = Identity(x)\n b = Abs(x)\n y = Relu(a) }"
    built = changed(model(text), lambda m: optimize(m, keep=["a", "b"]))
    assert {value.name for node in built.graph for value in node.outputs} == {"a", "b", "y"}


IDENTITIES = {
    "1 identity": ("g (float[N] x) => (float[N] y) { a = Identity(x)\n y = Relu(a) }", "Relu"),
    "1 of a result": ("g (float[N] x) => (float[N] y) { a = Relu(x)\n y = Identity(a) }", "Relu"),
    "1 of an input": ("g (float[N] x) => (float[N] y) { y = Identity(x) }", "Identity"),
    "1 of two outputs": (
        "g (float[N] x) => (float[N] y, float[N] z) { y = Relu(x)\n z = Identity(y) }",
        "Relu Identity",
    ),
    "1 in a subgraph": (
        """g (bool c, float[N] x) => (float[N] y) {
             y = If(c) <then_branch = t () => (float[N] p) { a = Identity(x)\n p = Relu(a) },
                        else_branch = e () => (float[N] q) { q = Identity(x) }>
           }""",
        "If[Relu | Identity]",
    ),
    "2 dropout": ("g (float[N] x) => (float[N] y) { a = Dropout(x)\n y = Relu(a) }", "Relu"),
    "2 mask": ("g (float[N] x) => (float[N] y, bool[N] m) { y, m = Dropout(x) }", "Dropout"),
    "2 training": (
        """g (float[N] x) => (float[N] y)
           <float r = {0.0}, bool t = {1}> { y = Dropout<seed=1>(x, r, t) }""",
        "Dropout",
    ),
    "3 cast": ("g (float[N] x) => (float[N] y) { a = Cast<to=1>(x)\n y = Relu(a) }", "Relu"),
    "3 cast like": ("g (float[N] x) => (float[N] y) { a = CastLike(x, x)\n y = Relu(a) }", "Relu"),
    "3 other dtype": ("g (float[N] x) => (double[N] y) { y = Cast<to=11>(x) }", "Cast"),
    "4 transpose": (
        "g (float[N,2] x) => (float[N,2] y) { a = Transpose<perm=[0,1]>(x)\n y = Relu(a) }",
        "Relu",
    ),
    "4 rank 1": ("g (float[N] x) => (float[N] y) { a = Transpose(x)\n y = Relu(a) }", "Relu"),
    "4 reversed": ("g (float[N,2] x) => (float[2,N] y) { y = Transpose(x) }", "Transpose"),
    "5 reshape": (
        """g (float[N,2] x) => (float[N,2] y) <int64[2] s = {-1, 2}, float[N,2] a>
           { a = Reshape(x, s)\n y = Relu(a) }""",
        "Relu",
    ),
    "5 reshape of others": (
        """g (float[N,2] x) => (float[M,2] y) <int64[2] s = {-1, 2}> { y = Reshape(x, s) }""",
        "Reshape",
    ),
    "5 expand": (
        "g (float[2,3] x) => (float[2,3] y) <int64[1] s = {3}> { a = Expand(x, s)\n y = Relu(a) }",
        "Relu",
    ),
    "5 flatten": ("g (float[N,2] x) => (float[N,2] y) { a = Flatten(x)\n y = Relu(a) }", "Relu"),
    "6 slice": (
        """g (float[4] x) => (float[4] y) <int64[1] s = {0}, int64[1] e = {9}>
           { a = Slice(x, s, e)\n y = Relu(a) }""",
        "Relu",
    ),
    "6 reversal": (
        """g (float[4] x) => (float[4] y)
           <int64[1] s = {-1}, int64[1] e = {-9}, int64[1] a = {0}, int64[1] t = {-1}>
           { y = Slice(x, s, e, a, t) }""",
        "Slice",
    ),
    "7 pad": (
        "g (float[N] x) => (float[N] y) <int64[2] p = {0, 0}> { a = Pad(x, p)\n y = Relu(a) }",
        "Relu",
    ),
    "7 shift": ("g (float[4] x) => (float[4] y) <int64[2] p = {1, -1}> { y = Pad(x, p) }", "Pad"),
    "7 tile": (
        "g (float[N] x) => (float[N] y) <int64[1] p = {1}> { a = Tile(x, p)\n y = Relu(a) }",
        "Relu",
    ),
    "8 concat": (
        "g (float[N] x) => (float[N] y) { a = Concat<axis=0>(x)\n y = Relu(a) }",
        "Relu",
    ),
    "8 concat of nothing": (
        """g (float[N,2] x, float[N,0] e) => (float[N,4] y, float[N,2] z)
           { y = Concat<axis=1>(x, e, x)\n a = Concat<axis=-1>(x, e)\n z = Relu(a) }""",
        "Concat Relu",
    ),
    "8 sum": ("g (float[N] x) => (float[N] y) { a = Sum(x)\n y = Relu(a) }", "Relu"),
    "9 split": (
        "g (float[N] x) => (float[N] y) { a = Split<num_outputs=1>(x)\n y = Relu(a) }",
        "Relu",
    ),
    "10 times one": (
        """g (float[N] x) => (float[N] y) <float o = {1}, float[1] p = {1}>
           { a = Mul(o, x)\n b = Div(a, p)\n c = Pow(b, o)\n y = Relu(c) }""",
        "Relu",
    ),
    "10 grows": (
        "g (float[N] x) => (float[1,N] y) <float[1,1] o = {1}> { y = Mul(o, x) }",
        "Mul",
    ),
    "10 one over": ("g (float[N] x) => (float[N] y) <float o = {1}> { y = Div(o, x) }", "Div"),
    "10 plus minus zero": (
        """g (float[N] x) => (float[N] y) <float m = {-0.0}, float z = {0.0}>
           { a = Add(m, x)\n b = Sub(a, z)\n y = Relu(b) }""",
        "Relu",
    ),
    "10 plus zero": (
        """g (float[N] x) => (float[N] y) <float m = {-0.0}, float z = {0.0}>
           { a = Add(x, z)\n y = Sub(a, m) }""",
        "Add Sub",
    ),
    "10 integers": (
        """g (int64[N] x) => (int64[N] y) <int64 z = {0}, int64 o = {1}>
           { a = Add(x, z)\n b = Sub(a, z)\n c = Div(b, o)\n y = Abs(c) }""",
        "Abs",
    ),
    "10 booleans": (
        """g (bool[N] x) => (bool[N] y) <bool t = {1}, bool f = {0}>
           { a = And(x, t)\n b = Or(a, f)\n c = Xor(f, b)\n d = And(c, f)\n y = Not(d) }""",
        "And Not",
    ),
    "11 where": (
        """g (float[N] x, float[N] z) => (float[N] y) <bool t = {1}, bool f = {0}>
           { a = Where(t, x, z)\n b = Where(f, z, a)\n y = Relu(b) }""",
        "Relu",
    ),
    "11 either": (
        """g (float[2] x, float[2] z) => (float[2] y) <bool[2] c = {1, 0}>
           { y = Where(c, x, z) }""",
        "Where",
    ),
    "11 no choice": (
        "g (bool[N] c, float[N] x) => (float[N] y) { a = Where(c, x, x)\n y = Relu(a) }",
        "Relu",
    ),
    "12 clip": ("g (float[N] x) => (float[N] y) { a = Clip(x)\n y = Relu(a) }", "Relu"),
    "13 resize": (
        """g (float[1,1,4,4] x) => (float[1,1,4,4] y) <int64[4] s = {1, 1, 4, 4}>
           { a = Resize(x, , , s)\n y = Relu(a) }""",
        "Relu",
    ),
    "13 by a scale of nearly 1": (
        """g (float[1,1,4,4] x) => (float[1,1,4,4] y) <float[4] s = {1, 1, 1.2, 1.2}>
           { y = Resize<coordinate_transformation_mode="asymmetric">(x, , s) }""",
        "Resize",
    ),
    "14 twice": (
        "g (float[N] x) => (float[N] y) { a = Neg(x)\n b = Neg(a)\n c = Neg(b)\n y = Relu(c) }",
        "Neg Relu",
    ),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_identities(name: str) -> None:
    pass_test(identities.run, *IDENTITIES[name])


COMMON = {
    "1 same": (
        "g (float[N] x) => (float[N] y) { a = Relu(x)\n b = Relu(x)\n y = Add(a, b) }",
        "Relu Add",
    ),
    "1 chain": (
        """g (float[N] x) => (float[N] y)
           { a = Relu(x)\n b = Relu(x)\n c = Abs(a)\n d = Abs(b)\n y = Add(c, d) }""",
        "Relu Abs Add",
    ),
    "1 other attribute": (
        "g (float[N] x) => (float[N] y) { a = Elu<alpha=1.0>(x)\n b = Elu<alpha=2.0>(x)\n y = Add(a, b) }",
        "Elu Elu Add",
    ),
    "1 sign of zero": (
        "g (float[N] x) => (float[N] y) { a = Elu<alpha=0.0>(x)\n b = Elu<alpha=-0.0>(x)\n y = Div(a, b) }",
        "Elu Elu Div",
    ),
    "1 several outputs": (
        """g (float[N,4] x) => (float[N,2] y) {
             a, b = Split<axis=1, num_outputs=2>(x)
             c, d = Split<axis=1, num_outputs=2>(x)
             e = Add(a, c)\n f = Add(b, d)\n y = Mul(e, f) }""",
        "Split Add Add Mul",
    ),
    "1 an output": (
        "g (float[N] x) => (float[N] y, float[N] z) { a = Relu(x)\n y = Relu(x)\n z = Abs(a) }",
        "Relu Abs",
    ),
    "1 two outputs": (
        "g (float[N] x) => (float[N] y, float[N] z) { y = Relu(x)\n z = Relu(x) }",
        "Relu Relu",
    ),
    "1 subgraphs": (
        """g (bool c, float[N] x) => (float[N] y) {
             a = Abs(x)
             b = If(c) <then_branch = t () => (float[N] p) { d = Abs(x)\n f = Ceil(x)\n p = Add(d, f) },
                        else_branch = e () => (float[N] q) { r = Ceil(x)\n q = Relu(r) }>
             h = Ceil(x)\n i = Add(a, h)\n y = Add(b, i) }""",
        "Abs If[Ceil Add | Ceil Relu] Ceil Add Add",
    ),
    "random": (
        """g (float[N] x) => (float[N] z) {
             a = RandomUniformLike<low=0.0, high=1.0, seed=1.0>(x)
             b = RandomUniformLike<low=0.0, high=1.0, seed=1.0>(x)
             y = Sub(a, b)\n k = Mul(y, x)\n z = Sub(k, k) }""",
        "RandomUniformLike RandomUniformLike Sub Mul Sub",
    ),
    "2 exchanged": (
        "g (float[N] x, float[N] z) => (float[N] y) { a = Add(x, z)\n b = Add(z, x)\n y = Mul(a, b) }",
        "Add Mul",
    ),
    "2 not exchanged": (
        "g (float[N] x, float[N] z) => (float[N] y) { a = Sub(x, z)\n b = Sub(z, x)\n y = Mul(a, b) }",
        "Sub Sub Mul",
    ),
    "4 equal constants": (
        """g (float[N] x) => (float[N] y) <int64[1] s = {-1}, int64[1] t = {-1}>
           { a = Reshape(x, s)\n b = Reshape(x, t)\n y = Add(a, b) }""",
        "Reshape Add",
    ),
    "4 sign of zero": (
        """g (float[N] x) => (float[N] y) <float s = {0.0}, float t = {-0.0}>
           { a = Div(x, s)\n b = Div(x, t)\n y = Sub(a, b) }""",
        "Div Div Sub",
    ),
}


@pytest.mark.parametrize("name", COMMON)
def test_common_subexpressions(name: str) -> None:
    pass_test(common_subexpressions.run, *COMMON[name])


def test_tied_weights_become_one() -> None:
    text = "g (float[3] x, float[3] wa, float[3] wb, float[3] wc) => (float[3] y) { y = Sum(x, wa, wb, wc) }"
    built = model(text)
    array = np.ones(3, np.float32)
    for name in ("wa", "wb"):
        built.graph.initializers[name].const_value = ir.Tensor(array, name=name)
    changed(built, lambda m: common_subexpressions.run(Rewriter(m)))
    assert list(built.graph.initializers) == ["wa", "wc"]
    assert [value.name for value in built.graph[0].inputs] == ["x", "wa", "wa", "wc"]


def test_equal_parameters_stay_two() -> None:
    text = "g (float[4] x, float[4] wa, float[4] wb) => (float[4] y) { y = Sum(x, wa, wb) }"
    built = model(text)
    for name in ("wa", "wb"):
        built.graph.initializers[name].const_value = ir.LazyTensor(
            lambda: ir.Tensor(np.ones(4, np.float32)), ir.DataType.FLOAT, ir.Shape([4]), name=name
        )
    changed(built, lambda m: common_subexpressions.run(Rewriter(m)))
    assert list(built.graph.initializers) == ["wa", "wb"]


CONSTANTS = {
    "1 constant": (
        "g (float[N] x) => (float[N] y) { c = Constant<value_float=2.0>()\n y = Mul(x, c) }",
        "Mul",
    ),
    "1 output": ("g (float[N] x) => (float y) { y = Constant<value_float=2.0>() }", "Constant"),
    "1 in a subgraph": (
        """g (bool c, float[N] x) => (float[N] y) {
             y = If(c) <then_branch = t () => (float[N] p) { k = Constant<value_float=2.0>()\n p = Mul(x, k) },
                        else_branch = e () => (float[N] q) { q = Ceil(x) }>
           }""",
        "If[Mul | Ceil]",
    ),
    "2 shape": (
        """g (float[N,4] x, float[4] z) => (float[4] y, int64[2] f) <int64[1] s = {1}, int64[1] e = {2}>
           { a = Shape<start=1>(x)\n y = Expand(z, a)\n f = Shape(x) }""",
        "Expand Shape",
    ),
    "2 size": ("g (float[2,4] x) => (int64 y) { a = Size(x)\n y = Neg(a) }", "Neg"),
    "3 chain": (
        """g (float[N] x) => (float[N,2] y) <int64[1] s = {1}, int64[1] t = {2}>
           { a = Concat<axis=0>(s, t)\n b = Mul(a, s)\n c = Unsqueeze(x, t_)\n y = Expand(c, b) }""".replace("t_", "s"),
        "Unsqueeze Expand",
    ),
    "3 result is an output": (
        "g (float[N] x) => (int64[1] y) <int64[1] s = {1}> { a = Neg(s)\n y = Abs(a) }",
        "Abs",
    ),
    "4 transposed weight": (
        "g (float[N,20] x, float[30,20] w) => (float[N,30] y) { t = Transpose(w)\n y = MatMul(x, t) }",
        "MatMul",
    ),
    "4 chain on a weight": (
        """g (float[N,20] x, float16[30,20] w) => (float[N,30] y) <float h = {0.5}>
           { t = Transpose(w)\n c = Cast<to=1>(t)\n d = Mul(c, h)\n y = MatMul(x, d) }""",
        "MatMul",
    ),
    "4 pieces": (
        """g (float[N,20] x, float[20,30] w) => (float[N,10] y)
           { a, b, c = Split<axis=1, num_outputs=3>(w)
             d = MatMul(x, a)\n e = MatMul(x, b)\n f = MatMul(x, c)\n y = Sum(d, e, f) }""",
        "MatMul MatMul MatMul Sum",
    ),
    "4 large": (
        """g (float[N,900,900] x, float[900,1,900] w) => (float[N,900,900] y, float[900,1,900] z)
           <int64[3] s = {1, 900, 900}>
           { a = Reshape(w, s)\n y = Add(x, a)\n z = Neg(w) }""",
        "Reshape Add Neg",
    ),
    "random": (
        """g (float[3] x) => (float[3] y) <float[3] c = {1, 2, 3}>
           { r = RandomNormalLike(c)\n s = Sub(r, r)\n y = Add(x, s) }""",
        "RandomNormalLike Sub Add",
    ),
    "grows": (
        """g (float[1000,1000] x) => (float[1000,1000] y) <float c = {2}, int64[2] s = {1000, 1000}>
           { a = Expand(c, s)\n y = Mul(x, a) }""",
        "Expand Mul",
    ),
    "5 cast like": ("g (float[N] x, int64[N] z) => (int64[N] y) { y = CastLike(x, z) }", "Cast"),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants(name: str) -> None:
    text, wanted = CONSTANTS[name]

    def until_done(rewriter: Rewriter) -> int:
        return constants.run(rewriter) + constants.run(rewriter)

    tolerance = 1e-5 if "MatMul" in wanted else 0  # which adds up a constant in another order
    pass_test(until_done, text, wanted, tolerance=tolerance)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "double", "int32"])
def test_transposed_weights_keep_their_dtype(dtype: str) -> None:
    text = f"g ({dtype}[30,40] x, {dtype}[40,30] w) => ({dtype}[30,40] y) {{ t = Transpose(w)\n y = Add(x, t) }}"
    built = model(text)
    wanted = built.graph.initializers["w"].const_value.numpy().T
    constants.run(Rewriter(built))
    got = built.graph.initializers["t"].const_value
    assert got.numpy().dtype == wanted.dtype
    assert got.tobytes() == np.ascontiguousarray(wanted).tobytes()


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize(("index", "wanted"), [(19, "Add"), (-20, "Add"), (20, "Gather Add"), (-21, "Gather Add")])
def test_indices_beyond_a_weight_are_left_to_the_runtime(axis: int, index: int, wanted: str) -> None:
    text = f"""g (float[30,2] x, float[30,20] w) => (float[30,2] y) <int64[2] i = {{0, {index}}}>
               {{ a = Gather<axis={axis}>(w, i)\n y = Add(x, a) }}"""
    built = model(text)
    constants.run(Rewriter(built))
    assert ops(built) == wanted


def test_constants_of_our_own_are_computed_at_once() -> None:
    """Each step of the chain uses the one before twice: lazy tensors would compute it 2**40 times."""
    lines = "\n".join(f"a{i} = Slice(b{i - 1}, s, e)\n b{i} = Concat<axis=0>(a{i}, a{i})" for i in range(1, 41))
    text = f"""g (float[64,40] x) => (float[64,40] y)
               <float v = {{2}}, int64[2] d = {{64, 40}}, int64[1] s = {{0}}, int64[1] e = {{32}}>
               {{ b0 = Expand(v, d)\n {lines}\n y = Add(x, b40) }}"""
    built = model(text)
    for value in built.graph.initializers.values():
        value.const_value = ir.Tensor(value.const_value.numpy(), name=value.name)
    changed(built, optimize)
    assert ops(built) == "Add"


def test_growth_is_limited_in_total() -> None:
    lines = "\n".join(f"a{i} = Expand(c{i}, s)\n b{i} = Mul(b{i - 1}, a{i})" for i in range(1, 5))
    scalars = ", ".join(f"float c{i} = {{{i}}}" for i in range(1, 5))
    text = f"""g (float[32,32] b0) => (float[32,32] y)
               <int64[2] s = {{32, 32}}, {scalars}> {{ {lines}\n y = Neg(b4) }}"""
    built = changed(model(text), lambda m: constants.run(Rewriter(m, growth_bytes=2 * 4096)))
    assert ops(built) == "Mul Mul Expand Mul Expand Mul Neg"


def test_shared_weight_is_not_copied() -> None:
    text = """g (float[N,600] x, float[600,600] w) => (float[N,600] y)
              { t = Transpose(w)\n a = MatMul(x, t)\n y = MatMul(a, w) }"""
    built = model(text)
    changed(built, lambda m: constants.run(Rewriter(m)), tolerance=1e-5)
    assert ops(built) == "Transpose MatMul MatMul"
