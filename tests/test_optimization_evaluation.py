"""What constants are folded by: each evaluator gives what the runtime does."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from exporter.optimization import Rewriter, constants
from exporter.optimization.evaluation import EVALUATORS
from tests.test_optimization_harness import model, run

EVALUATED = {
    "Identity": "Identity(x)",
    "Cast": "Cast<to=7>(x)",
    "Reshape": "Reshape(x, s)",
    "Flatten": "Flatten<axis=-1>(x)",
    "Squeeze": "Squeeze(o)",
    "Unsqueeze": "Unsqueeze(x, a)",
    "Transpose": "Transpose<perm=[1,0]>(x)",
    "Concat": "Concat<axis=-1>(x, x)",
    "Split": "Split<axis=1>(x, h)",
    "Slice": "Slice(x, b, e, a, t)",
    "Gather": "Gather<axis=1>(x, b)",
    "GatherElements": "GatherElements<axis=1>(x, g)",
    "Expand": "Expand(o, s2)",
    "Tile": "Tile(x, i2)",
    "Trilu": "Trilu<upper=0>(x, d)",
    "Range": "Range(z, n, d)",
    "ConstantOfShape": "ConstantOfShape<value = int64[1] {7}>(i2)",
    "Shape": "Shape<start=-1>(x)",
    "Size": "Size(x)",
    "Mod": "Mod(i2, j2)",
    "Pow": "Pow(p, x)",
    "Pad": "Pad(x, q, f, i2)",
    "CumSum": "CumSum(x, d)",
    "EyeLike": "EyeLike<k=1, dtype=7>(x)",
    "IsNaN": "IsNaN(x)",
    "MatMul": "MatMul(x, y)",
    "Not": "Not(l)",
    "And": "And(l, m)",
    "Or": "Or(l, m)",
    "Xor": "Xor(l, m)",
    "Where": "Where(l, x, f)",
    "Clip": "Clip(x, z1, f)",
    "Log": "Log(p)",
    "Sqrt": "Sqrt(p)",
    "Div": "Div(j2, k2)",
    "Sum": "Sum(x, f, x)",
    "Max": "Max(x, f, z1)",
    "Min": "Min(x, f, z1)",
    "ReduceSum": "ReduceSum<keepdims=0>(x, a)",
    "ReduceMean": "ReduceMean(x, a)",
    "ReduceMax": "ReduceMax<keepdims=0>(x, a)",
    "ReduceMin": "ReduceMin(x)",
    "ReduceProd": "ReduceProd<noop_with_empty_axes=1>(x)",
    "ReduceL2": "ReduceL2(x, a)",
    "ReduceSumSquare": "ReduceSumSquare(x, a)",
}
BINARY = ("Add", "Sub", "Mul", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")
EVALUATORS_OF = {op: EVALUATED.get(op, f"{op}(x, y2)" if op in BINARY else f"{op}(x)") for op in EVALUATORS}

PARTS = """float[2,3] x = {-2.5, -0.0, 1.5, 0.5, 2.0, -7.0}, float[3,2] y = {1, 2, 3, 4, 5, 6},
 float[2,3] y2 = {1, -0.0, 1.5, 3, -7, 2}, float[2,3] p = {1, 2, 3, 4, 5, 6}, float[1,3] o = {1, 2, 3},
 int64[2] s = {0, -1}, int64[2] s2 = {2, 1}, int64[1] a = {1}, int64[1] b = {-1}, int64[1] e = {-9}, int64[1] t = {-2},
 int64[2] h = {2, 1}, int64[2,1] g = {-1, 0}, int64[2] i2 = {1, 0}, int64[2] j2 = {-7, 7}, int64[2] k2 = {2, -2},
 int64 z = {0}, int64 n = {5}, int64 d = {1}, int64[4] q = {1, 0, 2, 1}, float f = {0.75}, float z1 = {-1.0},
 bool[2,1] l = {1, 0}, bool[2,3] m = {1, 1, 0, 1, 0, 0}"""


@pytest.mark.parametrize("op_type", EVALUATORS_OF)
def test_evaluators_agree_with_the_runtime(op_type: str) -> None:
    """Each result is compared with that of the same node on inputs instead of constants."""
    call = EVALUATORS_OF[op_type].replace("j2)", "k2)") if op_type == "Mod" else EVALUATORS_OF[op_type]
    outputs = "r, r1" if op_type == "Split" else "r"
    text = f"g (bool c) => (float[1] u) <float[1] v = {{1}}, {PARTS}> {{ {outputs} = {call}\n u = Identity(v) }}"
    built = model(text.replace("{{", "{"))
    folded = ir.Model(built.graph.clone(), ir_version=9)
    built.graph.outputs.append(built.graph[0].outputs[0])
    wanted = run(ir.to_proto(built), {"c": np.array(True)})[1]
    constants.run(Rewriter(folded))
    got = folded.graph.initializers["r"].const_value.numpy()
    assert got.dtype == wanted.dtype
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
    np.testing.assert_array_equal(np.signbit(got.astype(float)), np.signbit(wanted.astype(float)))
