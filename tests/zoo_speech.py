"""Speech models: Hugging Face's Whisper."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from zoo_case import Case, Inputs
from zoo_text import initialized
from zoo_values import generator, ids


def whisper(*, use_cache: bool, **config: Any) -> nn.Module:
    """Build Whisper with encoder, decoder and language-model head; the tiny one where no size is given."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    return initialized(WhisperForConditionalGeneration, WhisperConfig(use_cache=use_cache, **config))


def _spectrogram_and_tokens(seed: int, *, batch: int, seq: int, mels: int, frames: int, vocabulary: int) -> Inputs:
    features = torch.randn(batch, mels, frames, generator=generator(seed))
    return {"input_features": features, "decoder_input_ids": ids(seed + 50, batch, seq, vocabulary)}


def whisper_case(
    name: str, build: Callable[[], nn.Module], mels: int, frames: int, vocabulary: int, *tags: str
) -> Case:
    """Describe a case with a spectrogram of a fixed number of frames, and target ids."""
    return Case(
        name=name,
        build=build,
        sample=partial(_spectrogram_and_tokens, mels=mels, frames=frames, vocabulary=vocabulary),
        sizes={"batch": 2, "seq": 8},
        other_sizes={"batch": 3, "seq": 13},
        dynamic_shapes={"input_features": {0: "batch"}, "decoder_input_ids": {0: "batch", 1: "seq"}},
        tags=frozenset({"speech", *tags}),
    )


_TINY = {
    "d_model": 384,
    "encoder_layers": 4,
    "decoder_layers": 4,
    "encoder_attention_heads": 6,
    "decoder_attention_heads": 6,
    "encoder_ffn_dim": 1536,
    "decoder_ffn_dim": 1536,
}

CASES = (
    whisper_case("whisper_tiny", partial(whisper, use_cache=False, **_TINY), 80, 3000, 51865, "demo", "slow"),
    whisper_case("whisper_tiny_cache", partial(whisper, use_cache=True, **_TINY), 80, 3000, 51865, "cache", "slow"),
)
