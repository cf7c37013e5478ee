"""Causal masks of transformers, which eager leaves out where no token is masked, and code for exporters makes always.

Without a mask each attention is as its module says: of all tokens in models of prefixes, as PaliGemma's text is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class CausalMasks:
    """The masks that were made while a model is recorded, and what of each eager would leave out."""

    def __init__(self) -> None:
        self._left_out: dict[int, tuple[torch.Tensor, torch.Tensor | None]] = {}  # by id: the mask, the padding

    def make(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The mask that `sdpa_mask` makes, [B, 1, Q, K]."""
        mask = original(*args, **kwargs)
        if mask is not None and kwargs.get("allow_is_causal_skip") and kwargs["q_length"] == kwargs["kv_length"]:
            self._left_out[id(mask)] = mask, kwargs.get("attention_mask")
        return mask

    def attend(
        self, original: Callable[..., Any], module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
        attention_mask: torch.Tensor | None, *args: Any, is_causal: bool | None = None, **kwargs: Any,
    ) -> Any:  # fmt: skip
        """What `sdpa_attention_forward` gives, of all tokens where eager has no mask and adds none."""
        adds_its_own = getattr(module, "is_causal", True) if is_causal is None else is_causal
        if id(attention_mask) in self._left_out and not adds_its_own:
            mask, padding = self._left_out[id(attention_mask)]
            attention_mask = torch.ones_like(mask) if padding is None else mask | padding.bool().all()
        return original(module, query, key, value, attention_mask, *args, is_causal=is_causal, **kwargs)
