"""Rules of ai.onnx.ml, com.microsoft and the previews; and that no operator lacks one."""

from __future__ import annotations

import onnx
import pytest
from onnxruntime.capi import onnxruntime_pybind11_state

from shape_inference.registry import infers, registered, rule_for
from tests.test_shapes_harness import Row, check, ids

CLASSICAL: list[Row] = [
    ("Binarizer", "float[N, 3]", {}, "float[N, 3]"),
    ("Normalizer", "int64[N, 3]", {}, "float[N, 3]"),
    ("LabelEncoder 4", "string[N]", {"values_int64s": [1, 2]}, "int64[N]"),
    ("LabelEncoder 1", "string[N]", {}, "int64[N]"),
    ("OneHotEncoder", "int64[N]", {"cats_int64s": [1, 2, 3]}, "float[N, 3]"),
    (
        "LinearClassifier",
        "float[N, 4]",
        {"classlabels_ints": [0, 1, 2], "intercepts": [0.0] * 3},
        "int64[N]; float[N, 3]",
    ),
    ("LinearRegressor", "float[N, 4]", {"targets": 2}, "float[N, 2]"),
    ("SVMClassifier", "float[N, 4]", {"classlabels_strings": ["a", "b"], "prob_a": [0.0]}, "string[N]; float[N, 2]"),
    ("SVMRegressor", "float[N, 4]", {}, "float[N, 1]"),
    ("TreeEnsembleClassifier", "float[N, 4]", {"classlabels_int64s": [0, 1]}, "int64[N]; float[N, 2]"),
    ("TreeEnsembleRegressor", "float[N, 4]", {"n_targets": 3}, "float[N, 3]"),
    ("ArrayFeatureExtractor", "float[N, 4]; int64[2]", {}, "float[N, 2]"),
    ("FeatureVectorizer", "float[N, 4]; float[N, 3]", {"inputdimensions": [4, 3]}, "float[N, 7]"),
    ("CategoryMapper", "int64[N]", {}, "string[N]"),
    ("DictVectorizer", "float[1]", {"string_vocabulary": ["a", "b"]}, "undefined[1, 2]"),
    ("CastMap", "float[1]", {"map_form": "SPARSE", "max_map": 4}, "float[1, 4]"),
    ("ZipMap", "float[N, 3]", {}, "-"),
]

MICROSOFT: list[Row] = [
    ("FusedMatMul", "float[N, 8, L]; float[N, 4, 8]", {"transA": 1, "transB": 1}, "float[N, L, 4]"),
    (
        "MatMulNBits",
        "float[N, L, 64]; uint8[32, 2, 16]; float[64]",
        {"N": 32, "K": 64, "bits": 4, "block_size": 32},
        "float[N, L, 32]",
    ),
    (
        "SkipLayerNormalization",
        "float[N, L, 8]; float[N, L, 8]; float[8]",
        {},
        "float[N, L, 8]; float[N, L, 1]; float[N, L, 1]; float[N, L, 8]",
    ),
    ("EmbedLayerNormalization", "int[N, L]; int[N, L]; float[99, 8]; float[64, 8]", {}, "float[N, L, 8]; int[N]"),
    ("BiasGelu", "float[N, L, 8]; float[8]", {}, "float[N, L, 8]"),
    ("BiasSplitGelu", "float[N, L, 8]; float[8]", {}, "float[N, L, 4]"),
    (
        "MultiHeadAttention",
        "float[N, L, 32]; float[N, S, 32]; float[N, S, 24]; -; -; -; float[N, 4, P, 8]; float[N, 4, P, 6]",
        {"num_heads": 4},
        "float[N, L, 24]; float[N, 4, P + S, 8]; float[N, 4, P + S, 6]",
    ),
    ("MultiHeadAttention", "float[N, L, 4, 3, 8]", {"num_heads": 4}, "float[N, L, 32]; float[N, 4, L, 8]"),
    (
        "GroupQueryAttention",
        "float[N, L, 32]; float[N, L, 16]; float[N, L, 16]; float[N, 2, P, 8]; float[N, 2, P, 8]; int[N]; int[]{P + L}",
        {"num_heads": 4, "kv_num_heads": 2},
        "float[N, L, 32]; float[N, 2, L + P, 8]; float[N, 2, L + P, 8]",
    ),
    (
        "GroupQueryAttention",
        "float[N, L, 64]; -; -; -; -; int[N]; int[]",
        {"num_heads": 4, "kv_num_heads": 2},
        "float[N, L, 32]; float[N, 2, L, 8]; float[N, 2, L, 8]",
    ),
    (
        "Attention",
        "float[N, L, 16]; float[16, 96]; float[96]",
        {"num_heads": 4},
        "float[N, L, 32]; float[2, N, 4, L, 8]",
    ),
    ("RotaryEmbedding", "float[N, L, 32]; int64[1]; float[64, 4]; float[64, 4]", {}, "float[N, L, 32]"),
    ("QLinearAdd", "uint8[N, 3]; float[]; uint8[]; uint8[3]; float[]; uint8[]; float[]; uint8[]", {}, "uint8[N, 3]"),
    (
        "QLinearConcat",
        "float[]; uint8[]; uint8[N, 3]; float[]; uint8[]; uint8[N, 4]; float[]; uint8[]",
        {"axis": 1},
        "uint8[N, 7]",
    ),
    (
        "QLinearConv",
        "uint8[N, 9, 9, 3]; float[]; uint8[]; int8[8, 3, 3, 3]; float[]; int8[]; float[]; uint8[]",
        {"channels_last": 1},
        "uint8[N, 7, 7, 8]",
    ),
    (
        "QLinearAveragePool",
        "uint8[N, 3, 8, 8]; float[]; uint8[]; float[]; uint8[]",
        {"kernel_shape": [2, 2], "strides": [2, 2]},
        "uint8[N, 3, 4, 4]",
    ),
    (
        "QLinearGlobalAveragePool",
        "uint8[N, 8, 8, 3]; float[]; uint8[]; float[]; uint8[]",
        {"channels_last": 1},
        "uint8[N, 1, 1, 3]",
    ),
    ("QGemm", "uint8[N, 8]; float[]; uint8[]; int8[8, 3]; float[]; int8[]", {}, "float[N, 3]"),
    ("NhwcConv", "float16[N, 9, 9, 3]; float16[8, 3, 3, 3]", {}, "float16[N, 7, 7, 8]"),
    ("DynamicQuantizeMatMul", "float[N, 8]; int8[8, 3]; float[]", {}, "float[N, 3]"),
    ("GatherBlockQuantized", "uint8[99, 16]; int64[N, L]; float[99, 1]", {"bits": 4}, "float[N, L, 32]"),
    ("Inverse", "float[N, 3, 3]", {}, "float[N, 3, 3]"),
    ("Rfft", "float[N, 16]", {"onesided": 1}, "float[N, 9, 2]"),
    ("CropAndResize", "float[1, 3, 8, 8]; float[R, 4]; int[R]; int[2]{5, 6}", {}, "float[R, 3, 5, 6]"),
    ("UnfoldTensor", "float[N, T]", {"size": 4, "step": 2}, "float[N, T // 2 - 1, 4]"),
    ("Unique", "float[N]", {}, "float[?0]; int64[N]; int64[?0]"),
    (
        "DynamicQuantizeLSTM",
        "float[T, N, 3]; int8[1, 3, 40]; int8[1, 10, 40]",
        {"hidden_size": 10},
        "float[T, 1, N, 10]; float[1, N, 10]",
    ),
    ("PackedAttention", "float[T, 16]; float[16, 96]; float[96]", {}, "float[T, 32]"),
    ("RestorePadding", "float[T, 16]; int[N, L]", {}, "float[N, L, 16]"),
    ("MoE", "float[N, L, 8]; float[T, 4]; float[4, 8, 8]", {}, "float[N, L, 8]"),
    (
        "BeamSearch",
        "int[N, L]; int[1]{20}; int[1]; int[1]{4}; int[1]{R}; float[1]",
        {"vocab_size": 99},
        "int[N, R, 20]; float[N, R]; float[?0, N, 4, 99]",
    ),
    ("WhisperBeamSearch", "float[N, 80, 3000]; int[1]{M}; -; -; int[1]", {}, "int[N, ?0, M]; float[N, ?0]"),
    ("GreedySearch", "int[N, L]; int[1]{M}", {}, "int[N, M]"),
    ("Sampling", "int[N, L]; int[1]{M}; -; float16[1]", {"vocab_size": 99}, "int[N, M]; float16[N, 99]"),
    ("DynamicTimeWarping", "float[1, M, N]", {}, "int[2, ?0]"),
    (
        "PagedAttention",
        "float16[T, 32]; float16[T, 16]; float16[T, 16]; float16[B, 16, 2, 8]; float16[B, 16, 2, 8]",
        {"num_heads": 4, "kv_num_heads": 2},
        "float16[T, 32]; float16[B, 16, 2, 8]; float16[B, 16, 2, 8]",
    ),
    ("PagedAttention", "float16[T, 64]", {"num_heads": 4, "kv_num_heads": 2}, "float16[T, 32]"),
    (
        "SparsePagedAttention",
        "float16[T, 32]; float16[T, 16]; float16[T, 16]; float16[B, 16, 2, 8]; float16[B, 16, 2, 8]",
        {"num_heads": 4, "kv_num_heads": 2},
        "float16[T, 32]; float16[B, 16, 2, 8]; float16[B, 16, 2, 8]",
    ),
    (
        "DynamicSparseAttention",
        "float[N, L, 64]; -; -; float[N, 2, P, 8]",
        {"num_heads": 4, "kv_num_heads": 2},
        "float[N, L, 32]; float[N, 2, ?0, 8]; float[N, 2, ?0, 8]",
    ),
    (
        "SparseAttentionIndexer",
        "float[N, L, 16]; -; float[8]; float[8]; float[9, 4]; float[9, 4]; -; float[N, P, 8]",
        {"policy_mode": "qsa", "token_budget": 8, "compress_ratio": 2},
        "int[N, L, 9]; float[N, L + P, 8]",
    ),
    (
        "SparseAttentionIndexer",
        "float[N, L, 16]; -; float[8]; float[8]; float[9, 4]; float[9, 4]; -; float[N, P, 8]"
        "; -; -; -; -; int[1]; float[2, N, B, 16]",
        {"policy_mode": "csa", "index_topk": 5, "compress_ratio": 2},
        "int[N, L, 5]; float[N, P, 8]; float[2, N, ?0, 16]",
    ),
    (
        "PackedSparseAttentionIndexer",
        "float[T, 16]; -; float[8]; float[8]; float[9, 4]; float[9, 4]; int[5]; int[4]; -; -; -; -"
        "; float[4, C, 8]; float[4, 3, 8]; -; int[4, 2]",
        {"policy_mode": "qsa", "token_budget": 8, "compress_ratio": 2, "state_update_capacity": 3},
        "int[T, 9]; int[T]; float[4, C, 8]; float[4, 3, 8]; -; int[4, 2]; float[4, 3, 8]",
    ),
    (
        "GatedDeltaNet",
        "float[T, 2, 4]; float[T, 2, 4]; float[T, 6, 8]; int[B]; -; -; -",
        {"state_update_capacity": 2},
        "float[T, 6, 8]; float[B - 1, 6, 8, 4]; float[B - 1, 124]",
    ),
    ("GatedDeltaNet", "float[T, 64]; -; -; -; -; -; float[B, 6, 8, 4]", {}, "float[T, 6, 8]; float[B, 6, 8, 4]"),
    (
        "VarlenCausalConvWithState",
        "float[T, C]; float[C, 1, 4]; int[B]; -; float[N, C, 3]",
        {"state_update_capacity": 2},
        "float[T, C]; float[N, C, 3]; float[B - 1, 2, C]",
    ),
    (
        "NGramHashMapping",
        "int64[N, L]; int64[3]; int64[4]",
        {"max_ngram_size": 3, "n_head_per_ngram": 2},
        "int64[N, L, 4]; int64[N, 2]",
    ),
    (
        "VarlenNGramHashMapping",
        "int64[T]; int64[3]; int64[4]; int[B]",
        {"max_ngram_size": 3, "n_head_per_ngram": 2},
        "int64[T, 4]; int64[B - 1, 2]; int[B - 1, 2]; int64[B - 1, 0, 2]",
    ),
    ("BifurcationDetector", "int64[S]; int64[L]; int64[1]", {}, "int64[?0]; int64[1]"),
    ("HyperConnectionPreMix", "float[N, 4, H]; float[N, 4]", {}, "float[N, H]"),
    ("HyperConnectionPreMix", "float[N, 32]; float[N, 4]", {"num_branches": 4}, "float[N, 8]"),
    ("HyperConnectionPostMix", "float[N, 4, H]; float[N, H]; float[N, 4]", {}, "float[N, 4, H]"),
    (
        "AttnLSTM",
        "float[T, N, 3]; float[2, 16, 7]; float[2, 16, 4]",
        {"direction": "bidirectional"},
        "float[T, 2, N, 4]; float[2, N, 4]; float[2, N, 4]",
    ),
    ("WordConvEmbedding", "int[L, 7]; float[6, 1, 3, 4]; float[6]; float[99, 4]", {}, "float[L, 6]"),
    ("QuantizeBFP", "float[N, 3]", {"bfp_type": 1}, "uint8[?0]; int64[2]{N, 3}; int64[2]{3, 1}"),
    ("DequantizeBFP", "uint8[99]; int64[2]{N, 3}; int64[2]", {"bfp_type": 1}, "float[N, 3]"),
]

ONNXRUNTIMES_OWN: list[Row] = [
    ("Crop", "float[N, C, H, 9]", {"border": [1, 2, 3, 1]}, "float[N, C, H - 3, 5]"),
    ("Crop", "float[N, C, H, W]", {"border": [1, 2, 0, 0], "scale": [4, 5]}, "float[N, C, 4, 5]"),
    ("DynamicSlice", "float[N, 5]; int64[2]{1, 0}; int64[2]{-1, 3}", {}, "float[max(N - 2, 0), 3]"),
    ("DynamicSlice", "float[4, N]; int64[1]{1}; int64[1]{3}; int64[1]{0}", {}, "float[2, N]"),
    ("GRUUnit", "float[1, N, 3]; float[1, N, 9]; float[N]; float[1]", {}, "float[1, N, 3]"),
    ("GivenTensorFill", "-", {"shape": [2, 3], "extra_shape": [4]}, "float[2, 3, 4]"),
    ("GivenTensorFill", "int64[2]{N, 3}", {"input_as_shape": 1}, "float[N, 3]"),
    ("GivenTensorFill", "int64[N, 3]", {}, "float[N, 3]"),
    ("MemcpyFromHost", "float[N]", {}, "float[N]"),
    ("MemcpyToHost", "float[N]", {}, "float[N]"),
    ("DisentangledAttention_TRT", "float[N, L, L]; float[N, L, S]; float[N, L, S]", {}, "float[N, L, L]"),
    (
        "EfficientNMS_TRT",
        "float[N, B, 4]; float[N, B, 80]",
        {"max_output_boxes": 100},
        "int[N, 1]; float[N, 100, 4]; float[N, 100]; int[N, 100]",
    ),
    ("PyramidROIAlign_TRT", "float[N, R, 4]; float[N, C, 8, 8]", {"pooled_size": 7}, "float[N, R, C, 7, 7]"),
    ("MultilevelCropAndResize_TRT", "float[N, R, 4]; float[N, C, 8, 8]", {"pooled_size": 7}, "float[N, R, C, 7, 7]"),
]

PREVIEWS: list[Row] = [
    ("Adam", "float[]; int64[]; float[N]; float[N]; float[N]; float[N]", {}, "float[N]; float[N]; float[N]"),
    ("Momentum", "float[]; int64[]; float[2]; float[2]; float[2]", {}, "float[2]; float[2]"),
    ("Gradient", "float[N]; float[3]", {"xs": ["a", "b"], "y": "c"}, "float[N]; float[3]"),
]


@pytest.mark.parametrize("row", CLASSICAL, ids=ids(CLASSICAL))
def test_classical_rule(row: Row) -> None:
    check(row, domain="ai.onnx.ml", version=3)


@pytest.mark.parametrize("row", MICROSOFT, ids=ids(MICROSOFT))
def test_microsoft_rule(row: Row) -> None:
    check(row, domain="com.microsoft", version=1)


@pytest.mark.parametrize("row", PREVIEWS, ids=ids(PREVIEWS))
def test_preview_rule(row: Row) -> None:
    check(row, domain="ai.onnx.preview.training", version=1)


@pytest.mark.parametrize("row", ONNXRUNTIMES_OWN, ids=ids(ONNXRUNTIMES_OWN))
def test_rule_of_an_operator_of_onnxruntime(row: Row) -> None:
    check(row, domain="", version=7)


def test_every_onnx_operator_has_a_rule_at_every_version() -> None:
    schemas = [schema for schema in onnx.defs.get_all_schemas_with_history() if not schema.deprecated]
    missing = [
        f"{schema.domain}.{schema.name} {schema.since_version}"
        for schema in schemas
        if rule_for(schema.name, schema.domain, schema.since_version) is None
    ]
    assert len(schemas) > 600
    assert not missing


# What a device compiled: only it knows the outputs.
OPAQUE = {"EPContext", "Snpe"}


@pytest.mark.parametrize("domain", ["", "com.microsoft"])
def test_onnxruntimes_operators_have_a_rule(domain: str) -> None:
    """Those that its own registry lists."""
    schemas = onnxruntime_pybind11_state.get_all_operator_schema()
    names = {schema.name for schema in schemas if schema.domain.removeprefix("ai.onnx") == domain}
    known = {name for space, name in registered() if space == domain}
    assert len(names) > 100
    assert names - known <= OPAQUE


def test_a_second_rule_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ai.onnx.Relu has a rule since 1 already"):
        infers("Relu")(lambda call: ())


def test_users_register_rules_of_their_own() -> None:
    @infers("Doubled", domain="test.domain", since=2)
    def doubled(call):  # type: ignore[no-untyped-def]
        x = call.tensor(0)
        return (type(x)(x.dtype, (2 * x.shape[0],)),)

    check(("Doubled", "float[N]", {}, "float[2*N]"), domain="test.domain", version=2)
    check(("Doubled", "float[N]", {}, "-"), domain="test.domain", version=1)
