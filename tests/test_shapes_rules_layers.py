"""Rules of layers: products, convolutions, pools, reductions, normalizations, recurrences, attention, resizing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.test_shapes_harness import Row, check, fails, ids

PRODUCTS: list[Row] = [
    ("MatMul", "float[N, seq, 64]; float[64, 32]", {}, "float[N, seq, 32]"),
    ("MatMul", "float[N, 1, 4, 8]; float[seq, 8, H]", {}, "float[N, seq, 4, H]"),
    ("MatMul", "float[8]; float[N, 8, 3]", {}, "float[N, 3]"),
    ("MatMul", "float[N, 8]; float[8]", {}, "float[N]"),
    ("MatMul", "float[8]; float[8]", {}, "float[]"),
    ("MatMul", "float?; float[8, 8]", {}, "float?"),
    ("Gemm", "float[N, 8]; float[8, 3]; float[3]", {}, "float[N, 3]"),
    ("Gemm", "float[8, N]; float[3, 8]", {"transA": 1, "transB": 1}, "float[N, 3]"),
    ("MatMulInteger", "uint8[N, 8]; int8[8, 3]", {}, "int[N, 3]"),
    (
        "QLinearMatMul",
        "uint8[N, 8]; float[]; uint8[]; int8[8, 3]; float[]; int8[]; float[]; uint8[]",
        {},
        "uint8[N, 3]",
    ),
    ("Einsum", "float[N, 4, H]; float[N, H, W]", {"equation": "bij,bjk->bik"}, "float[N, 4, W]"),
    ("Einsum", "float[N, 4]; float[4, H]", {"equation": "ij,jk"}, "float[N, H]"),
    ("Einsum", "float[N, T, 4]; float[4, H]", {"equation": "...i,ij->...j"}, "float[N, T, H]"),
    ("Einsum", "float[N, N]", {"equation": "ii"}, "float[]"),
    ("Det", "float[N, 3, 3]", {}, "float[N]"),
]

WINDOWS: list[Row] = [
    (
        "Conv",
        "float[N, 3, H, W]; float[64, 3, 7, 7]",
        {"strides": [2, 2], "pads": [3, 3, 3, 3]},
        "float[N, 64, (H + 1) // 2, (W + 1) // 2]",
    ),
    ("Conv", "float[N, 3, 32, 32]; float[8, 3, 3, 3]; float[8]", {"pads": [1, 1, 1, 1]}, "float[N, 8, 32, 32]"),
    ("Conv", "float[N, 6, L]; float[8, 3, 3]", {"group": 2, "dilations": [2]}, "float[N, 8, L - 4]"),
    ("Conv", "float[N, 3, H]; float[8, 3, 3]", {"auto_pad": "SAME_UPPER", "strides": [2]}, "float[N, 8, (H + 1) // 2]"),
    ("Conv", "float[N, 3, 9]; float[8, 3, 3]", {"auto_pad": "VALID"}, "float[N, 8, 7]"),
    ("ConvInteger", "uint8[N, 3, 9]; uint8[8, 3, 3]", {}, "int[N, 8, 7]"),
    ("DeformConv 19", "float[N, 3, 9, 9]; float[8, 3, 3, 3]; float[N, 18, 7, 7]", {}, "float[N, 8, 7, 7]"),
    ("ConvTranspose", "float[N, 8, H, W]; float[8, 4, 2, 2]", {"strides": [2, 2]}, "float[N, 4, 2*H, 2*W]"),
    (
        "ConvTranspose",
        "float[N, 8, 5]; float[8, 2, 3]",
        {"group": 2, "strides": [2], "pads": [1, 1], "output_padding": [1]},
        "float[N, 4, 10]",
    ),
    ("ConvTranspose", "float[N, 8, 5]; float[8, 2, 3]", {"output_shape": [9]}, "float[N, 2, 9]"),
    (
        "MaxPool",
        "float[N, 3, H, W]",
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        "float[N, 3, (H + 1) // 2, (W + 1) // 2]; int64[N, 3, (H + 1) // 2, (W + 1) // 2]",
    ),
    ("AveragePool", "float[N, 3, 7]", {"kernel_shape": [2], "strides": [2], "ceil_mode": 1}, "float[N, 3, 4]"),
    ("AveragePool", "float[N, 3, 5]", {"kernel_shape": [1], "strides": [3], "ceil_mode": 1}, "float[N, 3, 2]"),
    ("LpPool", "float[N, 3, 6]", {"kernel_shape": [2], "strides": [2]}, "float[N, 3, 3]"),
    ("GlobalAveragePool", "float[N, 3, H, W]", {}, "float[N, 3, 1, 1]"),
    ("MaxUnpool", "float[N, 3, 4]; int64[N, 3, 4]", {"kernel_shape": [2], "strides": [2]}, "float[N, 3, 8]"),
    ("MaxRoiPool", "float[N, 3, 8, 8]; float[R, 5]", {"pooled_shape": [2, 2]}, "float[R, 3, 2, 2]"),
    (
        "RoiAlign",
        "float[N, 3, 8, 8]; float[R, 4]; int64[R]",
        {"output_height": 5, "output_width": 6},
        "float[R, 3, 5, 6]",
    ),
    ("Col2Im", "float[N, 12, L]; int64[2]{4, W}; int64[2]{2, 2}", {}, "float[N, 3, 4, W]"),
    ("Resize", "float[N, 3, H, W]; -; float[4]{1.0, 1.0, 2.0, 0.5}", {}, "float[N, 3, 2*H, W // 2]"),
    ("Resize", "float[N, 3, 5, 5]; -; float[4]{1.0, 1.0, 0.6, 1.7}", {}, "float[N, 3, 3, 8]"),
    ("Resize", "float[N, 3, H, W]; -; -; int64[4]{N, 3, 2*H, 7}", {}, "float[N, 3, 2*H, 7]"),
    ("Resize", "float[N, 3, H, W]; -; -; int64[2]{7, W}", {"axes": [2, 3]}, "float[N, 3, 7, W]"),
    (
        "Resize",
        "float[1, 1, 4, 8]; -; -; int64[2]{2, 2}",
        {"axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"},
        "float[1, 1, 1, 2]",
    ),
    ("Upsample 9", "float[N, 3, H, W]; float[4]{1.0, 1.0, 2.0, 2.0}", {}, "float[N, 3, 2*H, 2*W]"),
    ("Upsample 7", "float[N, 3]", {"scales": [1.0, 2.0]}, "float[N, 6]"),
    ("GridSample", "float[N, 3, H, W]; float[N, 5, 6, 2]", {}, "float[N, 3, 5, 6]"),
    ("AffineGrid 20", "float[N, 2, 3]; int64[4]{N, 3, H, W}", {}, "float[N, H, W, 2]"),
    ("CenterCropPad", "float[H, W, 3]; int64[2]{10, 8}", {"axes": [0, 1]}, "float[10, 8, 3]"),
    ("ImageDecoder 20", "uint8[n]", {"pixel_format": "Grayscale"}, "uint8[?0, ?1, 1]"),
]

FOLDS: list[Row] = [
    ("ReduceMean", "float[N, seq, 3]; int64[1]{-1}", {}, "float[N, seq, 1]"),
    ("ReduceMean", "float[N, seq, 3]; int64[2]{0, 1}", {"keepdims": 0}, "float[3]"),
    ("ReduceMean 13", "float[N, seq, 3]", {"axes": [1]}, "float[N, 1, 3]"),
    ("ReduceSum 13", "float[N, 3]; int64[1]{0}", {"keepdims": 0}, "float[3]"),
    ("ReduceMax", "float[N, 3]", {"keepdims": 0}, "float[]"),
    ("ReduceMax", "float[N, 3]", {}, "float[1, 1]"),
    ("ReduceL2", "float[N, 3]", {"noop_with_empty_axes": 1}, "float[N, 3]"),
    ("ReduceProd", "int64[3]{N, seq, 4}; int64[1]{0}", {"keepdims": 0}, "int64[]{4*N*seq}"),
    ("ReduceSum", "int64[2]{N, 4}", {}, "int64[1]{N + 4}"),
    ("ReduceMin", "int64[2]{N, 4}", {"keepdims": 0}, "int64[]{min(N, 4)}"),
    ("ReduceSum", "float[N, 3]; int64[1]", {"keepdims": 0}, "float[?0]"),
    ("ArgMax", "float[N, 3]", {"axis": 1, "keepdims": 0}, "int64[N]"),
    ("ArgMin", "float[N, 3]", {"axis": -1}, "int64[N, 1]"),
    ("CumSum", "int64[3]{1, seq, 2}; int64[]{0}", {}, "int64[3]{1, seq + 1, seq + 3}"),
    ("BatchNormalization", "float[N, C, H]; float[C]; float[C]; float[C]; float[C]", {}, "float[N, C, H]"),
    (
        "BatchNormalization",
        "float[N, C, H]; float[C]; float[C]; float[C]; float[C]",
        {"training_mode": 1},
        "float[N, C, H]; float[C]; float[C]",
    ),
    (
        "LayerNormalization",
        "float16[N, seq, 8]; float16[8]",
        {"axis": -1},
        "float16[N, seq, 8]; float[N, seq, 1]; float[N, seq, 1]",
    ),
    ("RMSNormalization 23", "float[N, 8]; float[8]", {}, "float[N, 8]"),
    ("InstanceNormalization", "float[N, C, H]; float[C]; float[C]", {}, "float[N, C, H]"),
    (
        "LSTM",
        "float[T, N, 3]; float[2, 40, 3]; float[2, 40, 10]",
        {"hidden_size": 10, "direction": "bidirectional"},
        "float[T, 2, N, 10]; float[2, N, 10]; float[2, N, 10]",
    ),
    ("GRU", "float[N, T, 3]; float[1, 30, 3]; float[1, 30, 10]", {"layout": 1}, "float[N, T, 1, 10]; float[N, 1, 10]"),
    (
        "RNN",
        "float[T, N, 3]; float[1, 10, 3]; float[1, 10, 10]",
        {"hidden_size": 10},
        "float[T, 1, N, 10]; float[1, N, 10]",
    ),
    (
        "Attention 23",
        "float[N, 4, L, 8]; float[N, 2, S, 8]; float[N, 2, S, 6]; -; float[N, 2, P, 8]; float[N, 2, P, 6]",
        {},
        "float[N, 4, L, 6]; float[N, 2, P + S, 8]; float[N, 2, P + S, 6]; float[N, 4, L, P + S]",
    ),
    (
        "Attention 23",
        "float[N, L, 32]; float[N, S, 16]; float[N, S, 12]",
        {"q_num_heads": 4, "kv_num_heads": 2},
        "float[N, L, 24]",
    ),
    ("RotaryEmbedding 23", "float[N, 4, L, 8]; float[64, 4]; float[64, 4]; int64[N, L]", {}, "float[N, 4, L, 8]"),
    ("QuantizeLinear", "float[N, 3]; float[]; int8[]", {}, "int8[N, 3]"),
    ("QuantizeLinear", "float[N, 3]; float[]", {}, "uint8[N, 3]"),
    ("DequantizeLinear 19", "int8[N, 3]; float16[]; int8[]", {}, "float16[N, 3]"),
    ("DynamicQuantizeLinear", "float[N, 3]", {}, "uint8[N, 3]; float[]; uint8[]"),
    ("DFT", "float[N, 16, 1]", {"axis": 1, "onesided": 1}, "float[N, 9, 2]"),
    ("DFT 20", "float[N, T, 2]; -; int64[]{1}", {}, "float[N, T, 2]"),
    ("DFT 20", "float[N, 9, 2]", {"onesided": 1, "inverse": 1}, "float[N, 16, 1]"),
    ("STFT", "float[N, T, 1]; int64[]{4}; float[16]; int64[]{16}", {}, "float[N, T // 4 - 3, 9, 2]"),
    ("MelWeightMatrix", "int64[]{8}; int64[]{16}; int64[]; float[]; float[]", {}, "float[9, 8]"),
    ("HannWindow", "int64[]{seq}", {}, "float[seq]"),
    ("RandomNormal", "", {"shape": [2, 3]}, "float[2, 3]"),
    ("RandomUniformLike", "float[N]", {"dtype": 11}, "double[N]"),
    ("Multinomial", "float[N, 5]", {"sample_size": 3}, "int[N, 3]"),
    ("NegativeLogLikelihoodLoss", "float[N, 5, H]; int64[N, H]", {}, "float[]"),
    ("SoftmaxCrossEntropyLoss", "float[N, 5]; int64[N]", {"reduction": "none"}, "float[N]; float[N, 5]"),
    ("StringNormalizer", "string[N]", {"stopwords": ["a"]}, "string[?0]"),
    ("StringSplit 20", "string[N]", {}, "string[N, ?0]; int64[N]"),
    ("StringConcat 20", "string[N, 1]; string[3]", {}, "string[N, 3]"),
    ("TfIdfVectorizer", "int[N, 4]", {"ngram_indexes": [0, 3]}, "float[N, 4]"),
    ("SwiGLU 28", "float[N, 4]; float[N, 4]", {}, "float[N, 4]"),
]

ROWS = PRODUCTS + WINDOWS + FOLDS


@pytest.mark.parametrize("row", ROWS, ids=ids(ROWS))
def test_rule(row: Row) -> None:
    check(row)


ERRORS: list[tuple[str, str, dict[str, Any], str]] = [
    ("MatMul", "float[2, 3]; float[4, 5]", {}, "MatMul: the inner sizes must be equal, got 3 and 4"),
    ("MatMul", "float[]; float[4]", {}, "MatMul: inputs must have at least rank 1, got ranks 0 and 1"),
    ("MatMul", "float[3]; double[3]", {}, "MatMul: inputs must have one element type, got FLOAT, DOUBLE"),
    ("Gemm", "float[3]; float[3, 4]", {}, "Gemm: A must have rank 2, got FLOAT[3]"),
    (
        "Conv",
        "float[1, 4, 8, 8]; float[8, 3, 3, 3]",
        {},
        "Conv: the channels of X and those of W times group must be equal, got 4 and 3",
    ),
    (
        "Conv",
        "float[1, 3, 8]; float[8, 3, 3, 3]",
        {},
        "Conv: X and W must have the same rank, got FLOAT[1, 3, 8] and FLOAT[8, 3, 3, 3]",
    ),
    ("Conv", "float[1, 3, 2, 2]; float[8, 3, 3, 3]", {}, "Conv: the window must fit into the padded input, got 3 > 2"),
    ("MaxPool", "float[1, 3, 8]", {}, "MaxPool: attribute kernel_shape must be given"),
    ("Einsum", "float[2]", {"equation": "ij->i"}, "Einsum: term ij must have one letter an axis, got FLOAT[2]"),
    ("ReduceMean", "float[2]; int64[1]{3}", {}, "ReduceMean: axes must be in [-1, 0], got [3]"),
    ("Resize", "float[2, 3]; -; float[1]{2.0}", {}, "Resize: scales must have 2 elements, got 1"),
    ("LSTM", "float[5, 3]; float[1, 8, 3]; float[1, 8, 2]", {}, "LSTM: X must have rank 3, got FLOAT[5, 3]"),
    (
        "BatchNormalization",
        "float[1, 3]; float[4]; float[4]; float[4]; float[4]",
        {},
        "BatchNormalization: channels must be equal, got 3 and 4",
    ),
    ("LayerNormalization", "float[3]", {"axis": 2}, "LayerNormalization: axis must be in [-1, 0], got 2"),
    ("Det", "float[2, 3]", {}, "Det: height and width must be equal, got 3 and 2"),
]


@pytest.mark.parametrize("row", ERRORS, ids=[row[3][:90] for row in ERRORS])
def test_error(row: Row) -> None:
    version = 19 if row[0] == "Resize" else 18
    assert fails(row[0], row[1], version=version, **row[2]) == row[3]
