"""`torch.nn.TransformerEncoder` with padding, which eager computes on nested tensors: padded places become zeros."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


@contextlib.contextmanager
def padded_encoders() -> Iterator[None]:
    """Let encoders give what their fast path gives, in evaluation without gradients."""
    original = nn.TransformerEncoder.forward

    def forward(
        encoder: nn.TransformerEncoder, src: Tensor, mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None, is_causal: bool | None = None,
    ) -> Tensor:  # fmt: skip
        if src_key_padding_mask is None or not _takes_fast_path(encoder, src, mask):
            return original(encoder, src, mask, src_key_padding_mask, is_causal)
        norm, encoder.norm = encoder.norm, None
        try:
            result = original(encoder, src, mask, src_key_padding_mask, is_causal)
        finally:
            encoder.norm = norm
        result = result.masked_fill(_zeroed(src_key_padding_mask).unsqueeze(-1), 0.0)
        return result if norm is None else norm(result)

    nn.TransformerEncoder.forward = forward  # type: ignore[assignment]  # it is put back
    try:
        yield
    finally:
        nn.TransformerEncoder.forward = original  # type: ignore[method-assign]  # it is put back


def _takes_fast_path(encoder: Any, src: Tensor, mask: Tensor | None) -> bool:
    """What `TransformerEncoder.forward` asks of an encoder and its input, but for the padding itself."""
    fits = encoder.use_nested_tensor and not encoder.layers[0].training and src.dim() == 3
    return bool(fits) and mask is None and not torch.is_autocast_enabled()


def _zeroed(padding: Tensor) -> Tensor:
    """[B, S] -> [B, S], the padded places, if in every row they come last; else none, as eager then leaves them."""
    hidden = padding if padding.dtype == torch.bool else padding != 0
    last = (hidden[:, 1:] | ~hidden[:, :-1]).all()
    return hidden & last
