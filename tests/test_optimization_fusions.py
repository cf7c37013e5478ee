"""Layout chains and fusions: what each pass does, and leaves."""

from __future__ import annotations

import pytest

from exporter.optimization import Rewriter, fusion, layout, optimize
from tests.test_optimization_harness import SIZES, changed, model, ops, pass_test

LAYOUT = {
    "1 one": (
        """g (float[N,2,4] x) => (float[4,N,2] y)
           { a = Transpose<perm=[1,0,2]>(x)\n y = Transpose<perm=[2,1,0]>(a) }""",
        "Transpose",
    ),
    "1 none": (
        """g (float[N,2,4] x) => (float[N,2,4] y)
           { a = Transpose<perm=[1,2,0]>(x)\n b = Transpose<perm=[2,0,1]>(a)\n y = Relu(b) }""",
        "Relu",
    ),
    "1 three": (
        """g (float[N,2,4] x) => (float[4,2,N] y)
           { a = Transpose<perm=[1,2,0]>(x)\n b = Transpose<perm=[1,2,0]>(a)\n c = Transpose<perm=[1,2,0]>(b)
             d = Relu(c)\n y = Transpose(d) }""",
        "Relu Transpose",
    ),
    "1 shared": (
        """g (float[N,2,4] x) => (float[4,N,2] y, float[2,N,4] z)
           { z = Transpose<perm=[1,0,2]>(x)\n y = Transpose<perm=[2,1,0]>(z) }""",
        "Transpose Transpose",
    ),
    "2 ones": (
        "g (float[N,1,4] x) => (float[1,N,4] y) { y = Transpose<perm=[1,0,2]>(x) }",
        "Reshape",
    ),
    "2 not only ones": (
        "g (float[N,1,4] x) => (float[1,4,N] y) { y = Transpose<perm=[1,2,0]>(x) }",
        "Transpose",
    ),
    "2 two symbolic": (
        "g (float[1,N,M,1] x) => (float[N,1,M,1] y) { y = Transpose<perm=[1,0,2,3]>(x) }",
        "Reshape",
    ),
    "2 not to be written": (
        "g (float[1,N,M] x) => (float[N,M,1] y) { y = Transpose<perm=[1,2,0]>(x) }",
        "Transpose",
    ),
    "3 none": (
        """g (float[N,4] x) => (float[N,4] y) <int64[3] s = {0, 2, 2}, int64[2] t = {0, 4}, float[N,4] b>
           { a = Reshape(x, s)\n b = Reshape(a, t)\n y = Relu(b) }""",
        "Relu",
    ),
    "4 unsqueeze": (
        """g (float[N,4] x) => (float[1,N,1,4] y) <int64[1] s = {1}, int64[1] t = {0}>
           { a = Unsqueeze(x, s)\n y = Unsqueeze(a, t) }""",
        "Unsqueeze",
    ),
    "4 unsqueeze from the back": (
        """g (float[N,M] x) => (float[N,1,M,1] y) <int64[1] s = {-1}, int64[1] t = {-3}>
           { a = Unsqueeze(x, s)\n y = Unsqueeze(a, t) }""",
        "Unsqueeze",
    ),
    "4 squeeze": (
        """g (float[1,N,1,M,1] x) => (float[N,M] y) <int64[2] s = {0, 2}, int64[1] t = {-1}>
           { a = Squeeze(x, s)\n y = Squeeze(a, t) }""",
        "Squeeze",
    ),
    "5 reshape": (
        """g (float[N,4] x) => (float[M,2] y) <int64[3] s = {-1, 2, 2}, int64[2] t = {-1, 2}>
           { a = Reshape(x, s)\n y = Reshape(a, t) }""",
        "Reshape",
    ),
    "5 zeros": (
        """g (float[N,6] x) => (float[N,3,2] y) <int64[3] s = {0, 2, 3}, int64[3] t = {0, 3, 2}, float[N,2,3] a>
           { a = Reshape(x, s)\n y = Reshape(a, t) }""",
        "Reshape",
    ),
    "5 views": (
        """g (float[N,4] x) => (float[N,2,2] y) <int64[1] s = {1}, int64[3] t = {0, 2, 2}>
           { a = Unsqueeze(x, s)\n b = Flatten(a)\n y = Reshape(b, t) }""",
        "Reshape",
    ),
    "5 shared": (
        """g (float[N,4] x) => (float[M,2] y, float[N,1,4] a) <int64[1] s = {1}, int64[2] t = {-1, 2}>
           { a = Unsqueeze(x, s)\n y = Reshape(a, t) }""",
        "Unsqueeze Reshape",
    ),
    "6 computed shape": (
        """g (float[N,4] x) => (float[N,2,2] y) <int64[2] t = {2, 2}>
           { a = Shape<end=1>(x)\n b = Concat<axis=0>(a, t)\n y = Reshape(x, b) }""",
        "Reshape",
    ),
    "6 computed expand": (
        """g (float[1,4] x, float[3,4] z) => (float[3,4] y)
           { a = Shape(z)\n b = Abs(a)\n y = Expand(x, b) }""",
        "Expand",
    ),
    "7 expand": (
        """g (float[1,4] x, float[N,4] z) => (float[N,4] y)
           { a = Shape(z)\n b = Expand(x, a)\n y = Add(b, z) }""",
        "Add",
    ),
    "7 expand decides": (
        """g (float[1,4] x, float[4] z) => (float[3,4] y) <int64[2] s = {3, 4}>
           { b = Expand(x, s)\n y = Add(b, z) }""",
        "Expand Add",
    ),
    "7 both expand": (
        """g (float[1,4] x, float[4] z) => (float[3,4] y) <int64[2] s = {3, 4}>
           { b = Expand(x, s)\n c = Expand(z, s)\n y = Add(b, c) }""",
        "Expand Add",
    ),
    "7 in front": (
        """g (float[4] x, float[N,4] z, bool[N,4] c) => (float[N,4] y) <int64[1] s = {0}>
           { b = Unsqueeze(x, s)\n y = Where(c, b, z) }""",
        "Where",
    ),
    "7 rank needed": (
        """g (float[4] x, float[4] z) => (float[1,4] y) <int64[1] s = {0}>
           { b = Unsqueeze(x, s)\n y = Mul(b, z) }""",
        "Unsqueeze Mul",
    ),
    "8 expands": (
        """g (float[4] x) => (float[2,3,4] y) <int64[2] s = {3, 4}, int64[3] t = {2, 1, 1}>
           { b = Expand(x, s)\n y = Expand(b, t) }""",
        "Expand",
    ),
    "9 sequence": (
        """g (float[N] x, float[M] z) => (float[M] y) <int64 i = {-1}>
           { s = SequenceConstruct(x, z)\n a = SequenceAt(s, i)\n y = Relu(a) }""",
        "Relu",
    ),
    "10 ones": (
        """g (float[4,6] x) => (float[1,2,4,3] y) <int64[3] s = {4, 2, 3}, int64[1] t = {0}>
           { a = Reshape(x, s)\n b = Transpose<perm=[1,0,2]>(a)\n y = Unsqueeze(b, t) }""",
        "Reshape Transpose",
    ),
    "10 fewer ones": (
        """g (float[N,6] x) => (float[2,N,3] y) <int64[5] s = {1, -1, 2, 1, 3}, int64[2] t = {1, 3}, float[1,N,2,1,3] a>
           { a = Reshape(x, s)\n b = Transpose<perm=[2,0,1,3,4]>(a)\n y = Squeeze(b, t) }""",
        "Reshape Transpose",
    ),
    "10 split": (
        """g (float[24,5] x) => (float[2,3,4,5] y) <int64[3] s = {4, 6, 5}, int64[4] t = {2, 3, 4, 5}>
           { a = Reshape(x, s)\n b = Transpose<perm=[1,0,2]>(a)\n y = Reshape(b, t) }""",
        "Reshape Transpose",
    ),
    "10 not only split": (
        """g (float[4,6] x) => (float[8,3] y) <int64[3] s = {4, 2, 3}, int64[2] t = {8, 3}>
           { a = Reshape(x, s)\n b = Transpose<perm=[1,0,2]>(a)\n y = Reshape(b, t) }""",
        "Reshape Transpose Reshape",
    ),
    "11 index": (
        """g (float[N,2,4] x) => (float[N,4] y) <int64 i = {-1}>
           { a = Transpose<perm=[1,0,2]>(x)\n y = Gather<axis=0>(a, i) }""",
        "Gather",
    ),
    "11 out of order": (
        """g (float[N,2,4] x) => (float[4,N] y) <int64 i = {1}>
           { a = Transpose<perm=[1,2,0]>(x)\n y = Gather<axis=0>(a, i) }""",
        "Transpose Gather",
    ),
    "11 indices": (
        """g (float[N,2,4] x) => (float[1,N,4] y) <int64[1] i = {1}>
           { a = Transpose<perm=[1,0,2]>(x)\n y = Gather<axis=0>(a, i) }""",
        "Transpose Gather",
    ),
    "12 pieces": (
        """g (float[N,6] x) => (float[N,2] y, float[N,2] z)
           <int64[3] s = {0, 3, 2}, int64 i = {-1}, int64 j = {1}, float[N,3,2] a>
           { a = Reshape(x, s)\n y = Gather<axis=1>(a, i)\n z = Gather<axis=1>(a, j) }""",
        "Split Split",
    ),
    "12 every third": (
        """g (float[N,6] x) => (float[N,2] y) <int64[3] s = {0, 2, 3}, int64 i = {1}, float[N,2,3] a>
           { a = Reshape(x, s)\n y = Gather<axis=2>(a, i) }""",
        "Reshape Gather",
    ),
    "12 of another": (
        """g (float[2,6] x) => (float[2,3] y) <int64[3] s = {2, 3, 2}, int64 i = {1}>
           { a = Reshape(x, s)\n y = Gather<axis=2>(a, i) }""",
        "Reshape Gather",
    ),
    "13 vector": ("g (float[N,4] x, float[N] v) => (float[4] y) { a = Transpose(x)\n y = MatMul(a, v) }", "MatMul"),
    "13 vector of many": (
        "g (float[2,N,4] x, float[N] v) => (float[2,4] y) { a = Transpose<perm=[0,2,1]>(x)\n y = MatMul(a, v) }",
        "MatMul",
    ),
    "13 another order": (
        "g (float[2,N,4] x, float[2] v) => (float[N,4] y) { a = Transpose<perm=[1,2,0]>(x)\n y = MatMul(a, v) }",
        "Transpose MatMul",
    ),
}
MORE_SIZES = {"5 reshape": [{"N": 3, "M": 6}], "5 shared": [{"N": 3, "M": 6}]}


@pytest.mark.parametrize("name", LAYOUT)
def test_layout(name: str) -> None:
    pass_test(layout.run, *LAYOUT[name], sizes=MORE_SIZES.get(name, [SIZES]))


FUSION = {
    "1 bias": (
        """g (float[N,30] x, float[30,20] w, float[20] wb) => (float[N,20] y)
           { a = MatMul(x, w)\n y = Add(wb, a) }""",
        "Gemm",
    ),
    "1 rank 3": (
        """g (float[M,N,30] x, float[30,20] w, float[20] wb) => (float[M,N,20] y)
           { a = MatMul(x, w)\n y = Add(wb, a) }""",
        "MatMul Add",
    ),
    "1 larger": (
        """g (float[1,30] x, float[30,20] w, float[N,20] b) => (float[N,20] y)
           { a = MatMul(x, w)\n y = Add(a, b) }""",
        "MatMul Add",
    ),
    "1 integers": (
        """g (int32[N,3] x, int32[3,2] z, int32[2] b) => (int32[N,2] y)
           { a = MatMul(x, z)\n y = Add(a, b) }""",
        "MatMul Add",
    ),
    "2 gemm": (
        """g (float[30,N] x, float[20,30] z, float[20] wb) => (float[N,20] y)
           { a = Transpose(x)\n b = Transpose<perm=[1,0]>(z)\n y = Gemm(a, b, wb) }""",
        "Gemm",
    ),
    "2 gemm back": (
        """g (float[N,30] x, float[30,20] z) => (float[N,20] y)
           { b = Transpose<perm=[1,0]>(z)\n y = Gemm<transB=1, alpha=0.5>(x, b) }""",
        "Gemm",
    ),
    "2 matmul": (
        """g (float[N,30] x, float[20,30] z) => (float[N,20] y)
           { b = Transpose<perm=[1,0]>(z)\n y = MatMul(x, b) }""",
        "Gemm",
    ),
    "2 batch of matrices": (
        """g (float[M,N,30] x, float[20,30] z) => (float[M,N,20] y)
           { b = Transpose<perm=[1,0]>(z)\n y = MatMul(x, b) }""",
        "Transpose MatMul",
    ),
    "3 pad": (
        """g (float[N,3,8,8] x, float[4,3,3,3] w) => (float[N,4,5,5] y) <int64[8] p = {0, 0, 0, 1, 0, 0, 2, 0}>
           { a = Pad(x, p)\n y = Conv<strides=[2,2], pads=[1,1,1,1]>(a, w) }""",
        "Conv",
    ),
    "3 pad along axes": (
        """g (float[N,3,8] x, float[4,3,3] w) => (float[N,4,10] y)
           <int64[2] p = {1, 3}, float z = {0}, int64[1] d = {-1}>
           { a = Pad(x, p, z, d)\n y = Conv<auto_pad="VALID">(a, w) }""",
        "Conv",
    ),
    "3 pad with ones": (
        """g (float[N,3,8] x, float[4,3,3] w) => (float[N,4,8] y) <int64[6] p = {0, 0, 1, 0, 0, 1}, float o = {1}>
           { a = Pad(x, p, o)\n y = Conv(a, w) }""",
        "Pad Conv",
    ),
    "3 pad of channels": (
        """g (float[N,2,8] x, float[4,3,3] w) => (float[N,4,6] y) <int64[6] p = {0, 1, 0, 0, 0, 0}>
           { a = Pad(x, p)\n y = Conv(a, w) }""",
        "Pad Conv",
    ),
    "3 reflection": (
        """g (float[N,3,8] x, float[4,3,3] w) => (float[N,4,8] y) <int64[6] p = {0, 0, 1, 0, 0, 1}>
           { a = Pad<mode="reflect">(x, p)\n y = Conv(a, w) }""",
        "Pad Conv",
    ),
    "4 concat": (
        """g (float[N,2] x, float[N,3] z) => (float[N,10] y)
           { a = Concat<axis=1>(x, z)\n b = Concat<axis=-1>(z, x)\n y = Concat<axis=1>(a, b) }""",
        "Concat",
    ),
    "4 other axis": (
        """g (float[2,2] x, float[2,2] z) => (float[4,4] y)
           { a = Concat<axis=1>(x, z)\n y = Concat<axis=0>(a, a) }""",
        "Concat Concat",
    ),
    "4 max": ("g (float[N] x, float[N] z) => (float[N] y) { a = Max(x, z)\n y = Max(x, a) }", "Max"),
    "4 sum": (
        "g (float[N] x, float[N] z) => (float[N] y) { a = Sum(x, z)\n b = Sum(a, z)\n y = Sum(x, b) }",
        "Sum Sum",
    ),
    "5 slices": (
        """g (float[4,5,6] x) => (float[2,4,6] y)
           <int64[1] s = {1}, int64[1] e = {3}, int64[1] f = {9}, int64[1] a = {0}, int64[1] b = {-2}>
           { c = Slice(x, s, e)\n y = Slice(c, s, f, b) }""",
        "Slice",
    ),
    "5 same axis": (
        """g (float[6] x) => (float[2] y) <int64[1] s = {1}, int64[1] e = {3}, int64[1] f = {9}>
           { c = Slice(x, s, f)\n y = Slice(c, s, e) }""",
        "Slice Slice",
    ),
    "6 widened": (
        "g (float16[N] x) => (int32[N] y) { a = Cast<to=1>(x)\n y = Cast<to=6>(a) }",
        "Cast",
    ),
    "6 there and back": (
        "g (float16[N] x) => (float16[N] y) { a = Cast<to=1>(x)\n b = Cast<to=10>(a)\n y = Relu(b) }",
        "Relu",
    ),
    "6 narrowed": (
        "g (float[N] x) => (float[N] y) { a = Cast<to=10>(x)\n y = Cast<to=1>(a) }",
        "Cast Cast",
    ),
    "6 wraps": (
        "g (int32[N] x) => (int8[N] y) { a = Cast<to=11>(x)\n y = Cast<to=3>(a) }",
        "Cast Cast",
    ),
    "6 text": (
        "g (int32[N] x, string[1] s) => (bool[N] y) { a = Cast<to=11>(x)\n b = Cast<to=8>(a)\n y = Equal(b, s) }",
        "Cast Cast Equal",
    ),
    "7 twice": ("g (float[N] x) => (float[N] y) { a = Relu(x)\n b = Relu(a)\n y = Neg(b) }", "Relu Neg"),
    "8 clip": (
        """g (float[N] x) => (float[N] y) <float a = {-1}, float b = {0.5}, float c = {-0.5}, float d = {3}>
           { e = Clip(x, a, b)\n f = Clip(e, c, d)\n y = Clip(f, , b) }""",
        "Clip",
    ),
    "8 disjoint": (
        """g (float[N] x) => (float[N] y) <float a = {-3}, float b = {-2}, float c = {1}, float d = {3}>
           { e = Clip(x, a, b)\n y = Clip(e, c, d) }""",
        "Clip",
    ),
    "8 relu": (
        "g (float[N] x) => (float[N] y) <float b = {0.5}> { a = Relu(x)\n y = Clip(a, , b) }",
        "Clip",
    ),
    "8 bounds that vary": (
        "g (float[N] x, float b) => (float[N] y) { a = Relu(x)\n y = Clip(a, , b) }",
        "Relu Clip",
    ),
    "9 negated": (
        """g (float[N] x, float[N] z) => (float[N] y)
           { a = Neg(z)\n b = Add(x, a)\n c = Neg(x)\n d = Sub(b, c)\n e = Neg(d)\n y = Add(e, z) }""",
        "Sub Add Sub",
    ),
    "10 where": (
        "g (bool[N] c, float[N] x, float[N] z) => (float[N] y) { a = Not(c)\n y = Where(a, x, z) }",
        "Where",
    ),
    "11 squeeze": (
        """g (float[N,4,5] x) => (float[N] y) <int64[2] a = {1, 2}, int64[2] b = {-1, -2}>
           { c = ReduceMean(x, a)\n y = Squeeze(c, b) }""",
        "ReduceMean",
    ),
    "11 unsqueeze": (
        """g (float[N,4,5] x) => (int64[N,1,5] y) <int64[1] a = {1}>
           { c = ArgMax<axis=-2, keepdims=0>(x)\n y = Unsqueeze(c, a) }""",
        "ArgMax",
    ),
    "11 other axes": (
        """g (float[1,4,5] x) => (float[1,4] y) <int64[2] a = {0, 2}, int64[1] b = {2}>
           { c = ReduceMean(x, b)\n y = Squeeze(c, b)\n }""",
        "ReduceMean",
    ),
    "11 fewer axes": (
        """g (float[N,4,5] x) => (float[N,1] y) <int64[2] a = {1, 2}, int64[1] b = {2}>
           { c = ReduceSum(x, a)\n y = Squeeze(c, b) }""",
        "ReduceSum Squeeze",
    ),
    "13 reciprocal": (
        """g (float[N,4] x, float[N,1] z) => (float[N,4] y)
           { a = Exp(z)\n b = Reciprocal(a)\n c = Mul(x, b)\n d = Exp(x)\n e = Reciprocal(d)\n y = Mul(e, c) }""",
        "Exp Div Exp Div",
    ),
    "14 both scaled": (
        """g (float[N,3,4] x, float[N,4,2] z) => (float[N,3,2] y) <float s = {0.5}, float[1] t = {0.25}>
           { a = Mul(x, s)\n b = Mul(t, z)\n y = MatMul(a, b) }""",
        "Mul MatMul",
    ),
    "14 one scaled": (
        """g (float[N,3,4] x, float[N,4,2] z) => (float[N,3,2] y) <float s = {0.5}>
           { a = Mul(x, s)\n y = MatMul(a, z) }""",
        "Mul MatMul",
    ),
    "12 sequence": (
        """g (float[N] x, float[N] z) => (float[M] y)
           { s = SequenceConstruct(x, z)\n y = ConcatFromSequence<axis=0>(s) }""",
        "Concat",
    ),
}


@pytest.mark.parametrize("name", FUSION)
def test_fusion(name: str) -> None:
    tolerance = 1e-5 if any(op in FUSION[name][1] for op in ("Gemm", "Conv", "MatMul", "Div")) else 0
    sizes = [{"N": 3, "M": 6}] if name == "12 sequence" else [SIZES]
    if name == "6 text":
        return _text(name)
    pass_test(fusion.run, *FUSION[name], tolerance=tolerance, sizes=sizes)


def _text(name: str) -> None:
    built = model(FUSION[name][0])
    fusion.run(Rewriter(built))
    assert ops(built) == FUSION[name][1]


PACKED = """g (float[5,N,24] x) => (float[N,5,8] q, float[N,5,8] k, float[N,5,8] v)
  <int64[4] s = {5, -1, 3, 8}, int64[1] o = {0}, int64[1] t = {-2}, int64 i = {0}, int64 j = {1}, int64 l = {2},
   float[5,N,3,8] a, float[1,5,N,3,8] b, float[3,5,N,1,8] c, float[3,5,N,8] d>
  { a = Reshape(x, s)\n b = Unsqueeze(a, o)\n c = Transpose<perm=[3,1,2,0,4]>(b)\n d = Squeeze(c, t)
    e = Gather<axis=0>(d, i)\n q = Transpose<perm=[1,0,2]>(e)
    f = Gather<axis=0>(d, j)\n k = Transpose<perm=[1,0,2]>(f)
    g = Gather<axis=0>(d, l)\n v = Transpose<perm=[1,0,2]>(g) }"""


def test_packed_projections_are_split() -> None:
    built = changed(model(PACKED), optimize)
    assert ops(built) == "Split Transpose Transpose Transpose"


def test_rules_write_what_the_opset_has() -> None:
    pieces = """g (float[N,6] x) => (float[N,2] y) <int64[3] s = {0, 3, 2}, int64 i = {1}, float[N,3,2] a>
                { a = Reshape(x, s)\n y = Gather<axis=1>(a, i) }"""
    reduction = """g (float[N,4,5] x) => (float[N,5] y) <int64[1] a = {1}>
                   { c = ReduceMean<axes=[1]>(x)\n y = Squeeze(c, a) }"""
    pass_test(layout.run, pieces, "Split", opset_version=17)
    pass_test(layout.run, pieces, "Split", opset_version=21)
    pass_test(fusion.run, reduction, "ReduceMean", opset_version=17)


def test_metadata_of_fused_nodes_is_merged() -> None:
    built = model(FUSION["1 bias"][0])
    matmul, add = built.graph
    matmul.metadata_props.update(source="a.py:1", scope="linear")
    add.metadata_props["source"] = "a.py:2"
    add.name = "linear/Add"
    optimize(built)
    assert built.graph[0].name == "linear/Add"
    assert built.graph[0].metadata_props == {"source": "a.py:2", "scope": "linear"}
