"""Sequences, optionals, and the operators that run graphs, as small models."""

from __future__ import annotations

import onnx.parser
import onnx_ir as ir
import pytest

from shape_inference import Report, infer
from tests.test_shapes_harness import Row, check, ids, text_of

ROWS: list[Row] = [
    ("SequenceConstruct", "float[N, 3]; float[N, 3]", {}, "seq(float[N, 3])"),
    ("SequenceConstruct", "float[N, 3]; float[N, 4]", {}, "seq(float[N, ?0])"),
    ("SequenceConstruct", "float[N]; float[N, 4]", {}, "seq(float?)"),
    ("SequenceEmpty", "", {"dtype": 7}, "seq(int64?)"),
    ("SequenceInsert", "seq(float[N, 3]); float[N, 3]", {}, "seq(float[N, 3])"),
    ("SequenceAt", "seq(float[N, 3]); int64[]", {}, "float[N, 3]"),
    ("SequenceErase", "seq(float[N, 3])", {}, "seq(float[N, 3])"),
    ("SequenceLength", "seq(float[N, 3])", {}, "int64[]"),
    ("ConcatFromSequence", "seq(float[N, 3])", {"axis": 0}, "float[?0, 3]"),
    ("ConcatFromSequence", "seq(float[N, 3])", {"axis": 0, "new_axis": 1}, "float[?0, N, 3]"),
    ("SplitToSequence", "float[N, 6]; int64[]{2}", {"axis": 1}, "seq(float[N, 2])"),
    ("SplitToSequence", "float[N, 6]", {"axis": 0, "keepdims": 0}, "seq(float[6])"),
    ("Optional", "float[N]", {}, "optional(float[N])"),
    ("OptionalGetElement", "optional(float[N])", {}, "float[N]"),
    ("OptionalHasElement", "optional(float[N])", {}, "bool[]"),
    ("OptionalHasElement", "float[N]", {}, "bool[]{true}"),
]


@pytest.mark.parametrize("row", ROWS, ids=ids(ROWS))
def test_rule(row: Row) -> None:
    check(row)


def model(text: str, opset: int = 18) -> ir.Model:
    return ir.serde.deserialize_model(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> {text}'))


def report(text: str, opset: int = 18) -> Report:
    return infer(model(text, opset), strict=True)


def outputs(found: Report) -> str:
    return "; ".join(text_of(found.types.get(value), content=False) for value in found._graph.outputs)


BODIES = {
    "If, one shape": (
        """g (bool c, float[N] x) => (float[?] y) {
             y = If(c) <then_branch = t () => (float[?] p) { p = Relu(x) },
                        else_branch = e () => (float[?] q) { q = Neg(x) }>
           }""",
        "float[N]",
    ),
    "If, two sizes": (
        """g (bool c, float[N] x) => (y) {
             y = If(c) <then_branch = t () => (p) { p = Relu(x) },
                        else_branch = e () => (q) { q = Concat<axis=0>(x, x) }>
           }""",
        "float[dim_0]",
    ),
    "If, two ranks": (
        """g (bool c, float[N] x) => (y) {
             y = If(c) <then_branch = t () => (p) { p = Relu(x) },
                        else_branch = e () => (q) { q = ReduceSum<keepdims=0>(x) }>
           }""",
        "float?",
    ),
    "If, decided; the dead branch is wrong": (
        """g (float[2] x) => (y) {
             s = Shape(x)
             two = Constant<value = int64[1] {2}>()
             c = Equal(s, two)
             y = If(c) <then_branch = t () => (p) { p = Relu(x) },
                        else_branch = e () => (q) { three = Constant<value_floats=[1.0,2.0,3.0]>() q = Add(x, three) }>
           }""",
        "float[2]",
    ),
    "Loop, counted": (
        """g (float[N] x) => (last, all) {
             n = Constant<value = int64 {5}>()
             t = Constant<value = bool {1}>()
             last, all = Loop(n, t, x) <body = b (int64 i, bool go, float[N] a) => (bool go2, float[N] r, float[N] s) {
               go2 = Identity(go) r = Relu(a) s = Neg(a) }>
           }""",
        "float[N]; float[5, N]",
    ),
    "Loop, as long as a condition holds": (
        """g (float[N] x) => (last, all) {
             n = Constant<value = int64 {5}>()
             t = Constant<value = bool {1}>()
             last, all = Loop(n, t, x) <body = b (int64 i, bool go, float[N] a) => (bool go2, float[N] r, float[N] s) {
               z = Constant<value = float {0}>() m = ReduceMax<keepdims=0>(a) go2 = Less(m, z)
               r = Relu(a) s = Neg(a) }>
           }""",
        "float[N]; float[trips_0, N]",
    ),
    "Loop that grows": (
        """g (int64 n, float[N] x) => (last) {
             last = Loop(n, , x) <body = b (int64 i, bool go, a) => (bool go2, r) {
               go2 = Identity(go) r = Concat<axis=0>(a, x) }>
           }""",
        "float[carried_0]",
    ),
    "Loop over a symbol": (
        """g (float[N, M] x) => (all) {
             n0 = Shape<start=0, end=1>(x)
             n = Squeeze(n0)
             t = Constant<value = bool {1}>()
             all = Loop(n, t) <body = b (int64 i, bool go) => (bool go2, s) { go2 = Identity(go) s = Gather(x, i) }>
           }""",
        "float[N, M]",
    ),
    "Loop with a sequence": (
        """g (float[N, M] x) => (y) {
             n = Constant<value = int64 {3}>()
             t = Constant<value = bool {1}>()
             empty = SequenceEmpty()
             many = Loop(n, t, empty) <body = b (int64 i, bool go, seq(float) q) => (bool go2, seq(float) r) {
               go2 = Identity(go) r = SequenceInsert(q, x) }>
             y = ConcatFromSequence<axis=0, new_axis=1>(many)
           }""",
        "float[stack_0, N, M]",
    ),
    "Scan": (
        """g (float[3] s, float[T, 3] x) => (last, all) {
             last, all = Scan<num_scan_inputs=1, body = b (float[3] a, float[3] v) => (float[3] r, float[3] o) {
               r = Add(a, v) o = Identity(r) }>(s, x)
           }""",
        "float[3]; float[T, 3]",
    ),
    "Scan along other axes": (
        """g (float[3] s, float[3, T] x) => (last, all) {
             last, all = Scan<num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[1],
               body = b (float[3] a, float[3] v) => (float[3] r, float[3] o) { r = Add(a, v) o = Identity(r) }>(s, x)
           }""",
        "float[3]; float[3, T]",
    ),
    "SequenceMap": (
        """g (float[N, M] x, float[K, M] y) => (z) {
             q = SequenceConstruct(x, y)
             r = SequenceMap(q) <body = b (float[?, ?] v) => (float[?, ?] w) { w = Transpose(v) }>
             z = ConcatFromSequence<axis=1>(r)
           }""",
        "float[M, concat_0]",
    ),
    "elements of different sizes stay apart": (
        """g (float[N] x, float[K] y, int64 i, int64 j) => (z) {
             q = SequenceConstruct(x, y)
             a = SequenceAt(q, i)
             b = SequenceAt(q, j)
             z = Concat<axis=0>(a, b)
           }""",
        "float[element_0 + element_1]",
    ),
    "a sequence of known length": (
        """g (float[N, M] x) => (z, n) {
             q = SequenceConstruct(x, x, x)
             z = ConcatFromSequence<axis=0>(q)
             n = SequenceLength(q)
           }""",
        "float[3*N, M]; int64[]",
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_body(name: str) -> None:
    text, wanted = BODIES[name]
    assert outputs(report(text)) == wanted
