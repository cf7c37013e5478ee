"""The transformers of the zoo, reduced to two narrow layers: the same code paths in a fraction of the time."""

from __future__ import annotations

from functools import partial

from zoo_speech import whisper, whisper_case
from zoo_text import (
    bert,
    cached_lm_case,
    causal_lm_case,
    clip,
    clip_case,
    gpt2,
    llama,
    masked_lm_case,
    sequence_to_sequence_case,
    t5,
)

_WORDS = 500
_BERT = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": _WORDS,
    "max_position_embeddings": 2048,
}
_GPT2 = {
    "n_embd": 64,
    "n_layer": 2,
    "n_head": 4,
    "vocab_size": _WORDS,
    "n_positions": 2048,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_LLAMA = {
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": _WORDS,
}
_T5 = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4, "vocab_size": _WORDS}
_T5_GATED = {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
_WHISPER = {
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "vocab_size": _WORDS,
    "num_mel_bins": 16,
    "max_source_positions": 50,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
_CLIP_TOWER = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
_CLIP_END = _WORDS - 1
_CLIP_TEXT = {**_CLIP_TOWER, "vocab_size": _WORDS, "eos_token_id": _CLIP_END, "bos_token_id": 1, "pad_token_id": 0}
_CLIP_VISION = {**_CLIP_TOWER, "image_size": 64, "patch_size": 16}

CASES = (
    masked_lm_case("bert_small", partial(bert, **_BERT), _WORDS, "small"),
    causal_lm_case("gpt2_small", partial(gpt2, use_cache=False, **_GPT2), _WORDS, "small"),
    cached_lm_case("gpt2_small_cache", partial(gpt2, use_cache=True, **_GPT2), _WORDS, 2, 4, 16, "small"),
    sequence_to_sequence_case("t5_small", partial(t5, use_cache=False, **_T5), _WORDS, "small"),
    sequence_to_sequence_case("t5_small_cache", partial(t5, use_cache=True, **_T5), _WORDS, "cache", "small"),
    sequence_to_sequence_case("t5_small_gated", partial(t5, use_cache=False, **_T5_GATED), _WORDS, "small"),
    causal_lm_case("llama_small", partial(llama, use_cache=False, **_LLAMA), _WORDS, "small"),
    cached_lm_case("llama_small_cache", partial(llama, use_cache=True, **_LLAMA), _WORDS, 2, 2, 16, "small"),
    whisper_case("whisper_small", partial(whisper, use_cache=False, **_WHISPER), 16, 100, _WORDS, "small"),
    whisper_case(
        "whisper_small_cache", partial(whisper, use_cache=True, **_WHISPER), 16, 100, _WORDS, "cache", "small"
    ),
    clip_case("clip_small", partial(clip, _CLIP_TEXT, _CLIP_VISION, projection=32), _CLIP_END, _CLIP_END, 64, "small"),
)
