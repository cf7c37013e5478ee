"""Batch norm folded into what comes before: where it is, and where it stays."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from exporter.optimization import batch_norm, optimize
from tests.test_optimization_harness import changed, model, pass_test

BATCH_NORM = {
    "1 conv": (
        """g (float[N,3,8,8] x, float[4,3,3,3] w, float[4] ws, float[4] wb, float[4] wm, float[4] wvar)
           => (float[N,4,6,6] y) { a = Conv(x, w)\n y = BatchNormalization(a, ws, wb, wm, wvar) }""",
        "Conv",
    ),
    "1 conv with bias": (
        """g (float[N,3,8] x, float[4,3,3] w, float[4] wc, float[4] ws, float[4] wb, float[4] wm, float[4] wvar)
           => (float[N,4,6] y)
           { a = Conv(x, w, wc)\n b = BatchNormalization<epsilon=0.1>(a, ws, wb, wm, wvar)\n y = Relu(b) }""",
        "Conv Relu",
    ),
    "1 grouped transposed conv": (
        """g (float[N,4,5,5] x, float[4,3,2,2] w, float[6] wc, float[6] ws, float[6] wb, float[6] wm, float[6] wvar)
           => (float[N,6,6,6] y)
           { a = ConvTranspose<group=2>(x, w, wc)\n y = BatchNormalization(a, ws, wb, wm, wvar) }""",
        "ConvTranspose",
    ),
    "1 gemm": (
        """g (float[N,5] x, float[5,4] w, float[1,4] wc, float[4] ws, float[4] wb, float[4] wm, float[4] wvar)
           => (float[N,4] y) { a = Gemm(x, w, wc)\n y = BatchNormalization(a, ws, wb, wm, wvar) }""",
        "Gemm",
    ),
    "1 transposed gemm": (
        """g (float[N,5] x, float[4,5] w, float[4] ws, float[4] wb, float[4] wm, float[4] wvar)
           => (float[N,4] y) { a = Gemm<transB=1>(x, w)\n y = BatchNormalization(a, ws, wb, wm, wvar) }""",
        "Gemm",
    ),
    "1 training": (
        """g (float[N,3,8] x, float[4,3,3] w, float[4] ws, float[4] wb, float[4] wm, float[4] wvar)
           => (float[N,4,6] y)
           { a = Conv(x, w)\n y, m, v = BatchNormalization<training_mode=1>(a, ws, wb, wm, wvar) }""",
        "Conv BatchNormalization",
    ),
    "1 conv used twice": (
        """g (float[N,3,8] x, float[4,3,3] w, float[4] ws, float[4] wb, float[4] wm, float[4] wvar)
           => (float[N,4,6] y)
           { a = Conv(x, w)\n b = BatchNormalization(a, ws, wb, wm, wvar)\n y = Add(a, b) }""",
        "Conv BatchNormalization Add",
    ),
    "1 weight of an input": (
        """g (float[N,3,8] x, float[4,3,3] z, float[4] ws, float[4] wb, float[4] wm, float[4] wvar)
           => (float[N,4,6] y) { a = Conv(x, z)\n y = BatchNormalization(a, ws, wb, wm, wvar) }""",
        "Conv BatchNormalization",
    ),
    "2 number": (
        """g (float[N,3,8] x, float[4,3,3] w, float[4] wb) => (float[N,4,6] y) <float s = {0.2}>
           { a = Conv(x, w, wb)\n y = Mul(s, a) }""",
        "Conv",
    ),
    "2 huge number": (
        """g (float[N,3,8] x, float[4,3,3] w) => (float[N,4,6] y) <float s = {3e30}>
           { a = Conv(x, w)\n y = Mul(s, a) }""",
        "Conv Mul",
    ),
    "2 channels": (
        """g (float[N,3,8] x, float[4,3,3] w, float[4] wb, float[4,1] wv) => (float[N,4,6] y)
           { a = Conv(x, w, wb)\n y = Div(a, wv) }""",
        "Conv",
    ),
    "2 positions": (
        """g (float[N,3,8] x, float[6,3,3] w, float[6] wv) => (float[N,6,6] y)
           { a = Conv(x, w)\n y = Mul(a, wv) }""",
        "Conv Mul",
    ),
    "2 matmul": (
        """g (float[N,M,30] x, float[30,20] w, float[20] wv) => (float[N,M,20] y) <float s = {0.125}>
           { a = MatMul(x, w)\n b = Mul(a, s)\n y = Mul(wv, b) }""",
        "MatMul",
    ),
    "2 divided by": (
        """g (float[N,3,8] x, float[4,3,3] w) => (float[N,4,6] y) <float s = {8}>
           { a = Conv(x, w)\n y = Div(s, a) }""",
        "Conv Div",
    ),
    "3 shift": (
        """g (float[N,3,8] x, float[4,3,3] w, float[1,4,1] wv, float[4,1] wu) => (float[N,4,6] y)
           { a = Conv(x, w)\n b = Add(wv, a)\n y = Sub(b, wu) }""",
        "Conv",
    ),
    "3 number": (
        """g (float[N,3,8] x, float[4,3,3] w, float[4] wb) => (float[N,4,6] y) <float s = {2}>
           { a = Conv(x, w, wb)\n y = Sub(a, s) }""",
        "Conv",
    ),
    "3 gemm": (
        """g (float[N,30] x, float[30,20] w, float[20] wv) => (float[N,20] y)
           { a = Gemm(x, w)\n y = Add(a, wv) }""",
        "Gemm",
    ),
    "3 one more dim": (
        """g (float[N,3,8] x, float[4,3,3] w) => (float[1,N,4,6] y) <float[1,1,1,1] s = {2}>
           { a = Conv(x, w)\n y = Add(a, s) }""",
        "Conv Add",
    ),
}


@pytest.mark.parametrize("name", BATCH_NORM)
def test_batch_norm(name: str) -> None:
    pass_test(batch_norm.run, *BATCH_NORM[name], tolerance=1e-5)


def test_folded_weights_are_read_once_written() -> None:
    text = BATCH_NORM["1 conv with bias"][0].replace("float[4,3,3] w", "float[4,30,3] w").replace("N,3,8", "N,30,8")
    built = changed(model(text), optimize, tolerance=1e-5)
    assert sorted(built.graph.initializers) == ["w/BatchNormalization", "wc/BatchNormalization"]


@pytest.mark.parametrize("dtype", [ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE])
def test_folded_weights_keep_their_dtype(dtype: ir.DataType) -> None:
    text = BATCH_NORM["1 conv with bias"][0].replace("float[", f"{dtype.name.lower()}[")
    built = model(text)
    optimize(built)
    weights = [value.const_value for value in built.graph.initializers.values()]
    assert {weight.dtype for weight in weights} == {dtype}
    assert {weight.numpy().dtype for weight in weights} == {dtype.numpy()}
