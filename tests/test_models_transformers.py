"""Hugging Face transformers: one tiny model of each kind of difficulty, called as its users call it.

Each is exported statically and with dynamic dims, runs in onnxruntime at the example, at other values
and at sizes that the export did not see, and must equal eager in every result, caches included.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn
from zoo_text import initialized
from zoo_values import generator, ids, images, right_padding

from exporter import ExportError, export

SMALL = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 256,
}
GROUPED = {**SMALL, "num_key_value_heads": 2, "head_dim": 8}
EXPERTS = {**GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2}
PAIR = {
    "vocab_size": 60,
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 256,
}
TOKENS = {0: "batch", 1: "seq"}
Call = tuple[dict[str, Any], dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """A model class by its name, its config's values, and what makes a call of it: arguments and dynamic dims."""

    name: str
    model: str
    config: Mapping[str, Any]
    call: Callable[[nn.Module], Call]
    sizes: int = 1
    config_class: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> nn.Module:
        """The model with generic values."""
        import transformers

        config_class = getattr(transformers, self.config_class or f"{self.model.partition('For')[0]}Config")
        return initialized(getattr(transformers, self.model), config_class(**self.config), **self.settings)


def _masked_tokens(model: nn.Module) -> Call:
    """Ids, right-padded."""
    call = {"input_ids": ids(1, 2, 7, 60), "attention_mask": right_padding(1, 2, 7)}
    return call, dict.fromkeys(call, TOKENS)


def _left_padded(model: nn.Module) -> Call:
    """Ids, left-padded, so that the first rows of attention are fully masked."""
    mask = torch.ones(2, 7, dtype=torch.long)
    mask[1, :2] = 0
    return {"input_ids": ids(1, 2, 7, 60), "attention_mask": mask}, {"input_ids": TOKENS, "attention_mask": TOKENS}


def _with_cache(model: nn.Module) -> Call:
    """Three more tokens behind the cache of a first call, whatever kind of cache it is."""
    given, _ = _left_padded(model)
    given = {name: value[:, :5] for name, value in given.items()}
    with torch.no_grad():
        cache = model(**given).past_key_values
    mask = torch.cat([given["attention_mask"], torch.ones(2, 3, dtype=torch.long)], 1)
    call = {"input_ids": ids(2, 2, 3, 60), "attention_mask": mask, "past_key_values": cache}
    dims = {"input_ids": TOKENS, "attention_mask": {0: "batch", 1: "past + seq"}}
    return call, {**dims, "past_key_values": {0: "batch", 2: "past"}}


def _states(model: nn.Module) -> Call:
    """One more token behind the states of a recurrent model."""
    with torch.no_grad():
        state = model(ids(1, 2, 5, 60)).cache_params
    call = {"input_ids": ids(2, 2, 1, 60), "cache_params": state}
    return call, {"input_ids": {0: "batch"}, "cache_params": {0: "batch"}}


def _pair(model: nn.Module) -> Call:
    """Source ids with their mask, and target ids."""
    call, dims = _masked_tokens(model)
    return {**call, "decoder_input_ids": ids(3, 2, 4, 60)}, {**dims, "decoder_input_ids": {0: "batch", 1: "target"}}


def _pictures(size: int) -> Callable[[nn.Module], Call]:
    return lambda model: ({"pixel_values": images(1, 2, size, size)}, {"pixel_values": {0: "batch"}})


def _waves(*axes: int) -> Callable[[nn.Module], Call]:
    def call(model: nn.Module) -> Call:
        waves = torch.randn(*axes, 400, generator=generator(1))
        return {"input_values": waves}, {"input_values": {0: "batch", len(axes): "samples"}}

    return call


def _picture_in_text(model: nn.Module) -> Call:
    """Two texts, each with 16 tokens that stand for a picture."""
    text = ids(1, 2, 20, 50)
    text[:, 2:18] = 55
    call = {"input_ids": text, "attention_mask": torch.ones_like(text), "pixel_values": images(1, 2, 32, 32)}
    return call, {name: {0: "batch"} for name in call}


SWIN = {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}
DETECTOR = {
    "encoder_in_channels": [16, 24, 32],
    "encoder_hidden_dim": 32,
    "d_model": 32,
    "decoder_in_channels": [32, 32, 32],
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "num_queries": 8,
    "num_labels": 3,
    "backbone_config": {
        "model_type": "rt_detr_resnet",
        "embedding_size": 8,
        "hidden_sizes": [8, 16, 24, 32],
        "depths": [1, 1, 1, 1],
        "layer_type": "basic",
        "out_features": ["stage2", "stage3", "stage4"],
    },
}
DEPTH = {
    **{key: SMALL[key] for key in ("hidden_size", "num_attention_heads", "intermediate_size")},
    "num_hidden_layers": 4,
    "image_size": 32,
    "patch_size": 8,
    "backbone_out_indices": [0, 1, 2, 3],
    "neck_hidden_sizes": [8, 16, 24, 32],
    "fusion_hidden_size": 16,
}
CODEC = {
    "num_filters": 4,
    "hidden_size": 16,
    "codebook_dim": 16,
    "codebook_size": 32,
    "upsampling_ratios": [4, 2],
    "sampling_rate": 2400,
    "target_bandwidths": [1.5, 3.0],
}
LLAVA = {
    "image_token_id": 55,
    "text_config": {"model_type": "llama", **GROUPED},
    "vision_config": {
        "model_type": "clip_vision_model",
        **{key: SMALL[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")},
        "image_size": 32,
        "patch_size": 8,
        "projection_dim": 16,
    },
}

ROWS = (
    Row(
        "modernbert, rows fully masked by its window",
        "ModernBertForMaskedLM",
        {**SMALL, "pad_token_id": 0, "local_attention": 4},
        _masked_tokens,
    ),
    Row(
        "xlm, which asserts values",
        "XLMWithLMHeadModel",
        {"n_words": 60, "emb_dim": 32, "n_layers": 2, "n_heads": 4},
        _masked_tokens,
        config_class="XLMConfig",
    ),
    Row("falcon, square weights transposed", "FalconForCausalLM", {**SMALL, "num_attention_heads": 4}, _left_padded),
    Row(
        "llama 4, complex rotary",
        "Llama4ForCausalLM",
        {**EXPERTS, "intermediate_size_mlp": 48, "pad_token_id": 0},
        _left_padded,
        config_class="Llama4TextConfig",
    ),
    Row("mixtral, experts and cache", "MixtralForCausalLM", EXPERTS, _with_cache),
    Row(
        "gemma 2, sliding and full cache",
        "Gemma2ForCausalLM",
        {**GROUPED, "sliding_window": 9, "pad_token_id": 0},
        _with_cache,
    ),
    Row(
        "opt, cache",
        "OPTForCausalLM",
        {
            "vocab_size": 60,
            "hidden_size": 32,
            "word_embed_proj_dim": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "ffn_dim": 48,
        },
        _with_cache,
    ),
    Row(
        "mamba, recurrent states",
        "MambaForCausalLM",
        {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
        _states,
    ),
    Row("bart, two caches out", "BartForConditionalGeneration", PAIR, _pair),
    Row("swin, views of attention", "SwinForImageClassification", SWIN, _pictures(32)),
    Row("rt-detr, len() of a batch", "RTDetrForObjectDetection", DETECTOR, _pictures(64)),
    Row("dpt, hooks at its first call", "DPTForDepthEstimation", DEPTH, _pictures(32)),
    Row("encodec, paddings in buffers", "EncodecModel", CODEC, _waves(2, 1), sizes=0, config_class="EncodecConfig"),
    Row("llava, a picture in a text", "LlavaForConditionalGeneration", LLAVA, _picture_in_text, sizes=0),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_static(row: Row) -> None:
    model = row.build()
    call, _ = row.call(model)
    report = export(model, kwargs=copy.deepcopy(call)).validate()
    assert report.passed, str(report)


@pytest.mark.parametrize("row", [row for row in ROWS if row.sizes], ids=lambda row: row.name)
def test_dynamic(row: Row) -> None:
    model = row.build()
    call, dims = row.call(model)
    report = export(model, kwargs=copy.deepcopy(call), dynamic_shapes=dims).validate()
    assert report.passed, str(report)
    assert len(report.results[0].runs) >= 2 + row.sizes, "no other size was tried"


def test_an_export_leaves_the_model_as_it_was() -> None:
    """The hooks that DPT installs at its first call are its own affair."""
    row = next(row for row in ROWS if row.name.startswith("dpt"))
    model, untouched = row.build(), row.build()
    call, _ = row.call(model)
    export(model, kwargs=call)
    with torch.no_grad():
        assert torch.equal(model(**call).predicted_depth, untouched(**call).predicted_depth)
    assert torch.tensor([torch.tensor(3)]).tolist() == [3]  # torch itself takes tensors as before


@pytest.mark.parametrize("padding", [None, 0, 2], ids=["none", "of_ones", "of_two"])
def test_a_prefix_is_causal_only_beside_padding(padding: int | None) -> None:
    """Eager, for which PaliGemma's text attends to all tokens, makes a causal mask as soon as one is masked."""
    transformers = importlib.import_module("transformers")
    config = transformers.GemmaConfig(**GROUPED, use_bidirectional_attention=True)
    model = initialized(transformers.GemmaForCausalLM, config)
    call = {"input_ids": ids(1, 2, 7, vocabulary=60)}
    others = []
    if padding is not None:
        masks = [torch.tensor([[1] * 7, [0] * count + [1] * (7 - count)]) for count in (padding, 2 - padding)]
        others = [{**call, "attention_mask": masks[1]}]
        call["attention_mask"] = masks[0]
    program = export(model, kwargs=call, dynamic_shapes=dict.fromkeys(call, TOKENS))
    program.validate(inputs=others).check()


def test_dims_that_are_sums_are_found_where_they_are_not_said() -> None:
    row = next(row for row in ROWS if row.name.startswith("opt"))
    model = row.build()
    call, dims = row.call(model)
    program = export(model, kwargs=call, dynamic_shapes={**dims, "attention_mask": {0: "batch", 1: "total"}})
    mask = next(value for value in program.model.graph.inputs if value.name == "attention_mask")
    assert [str(dim) for dim in mask.shape or ()] == ["batch", "past + seq"]
    assert program.validate().passed


def test_a_formula_must_fit_the_example() -> None:
    row = next(row for row in ROWS if row.name.startswith("opt"))
    model = row.build()
    call, dims = row.call(model)
    call["attention_mask"] = torch.ones(2, 9, dtype=torch.long)
    with pytest.raises(ExportError, match=r"dim 'past \+ seq' must be 8 in the example, got 9"):
        export(model, kwargs=call, dynamic_shapes=dims)
