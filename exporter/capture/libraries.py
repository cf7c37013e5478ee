"""Functions of libraries that ask for values in Python, and what is recorded in their place."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch


def _batched_nms(
    boxes: torch.Tensor, scores: torch.Tensor, idxs: torch.Tensor, iou_threshold: float
) -> torch.Tensor:  # fmt: skip
    """Suppress boxes by better ones of the same class: [N, 4], [N], [N] -> [kept].

    The boxes of each class are moved to a place of their own. torchvision does so too, for few boxes: for
    many it takes one class after the other, and for none it leaves early.
    """
    largest = torch.cat([boxes.reshape(-1), boxes.new_zeros(1)]).max()
    apart = idxs.to(boxes) * (largest + 1)
    return torch.ops.torchvision.nms(boxes + apart[:, None], scores, iou_threshold)


_REPLACED: dict[tuple[str, str], Callable[..., Any]] = {("torchvision.ops.boxes", "batched_nms"): _batched_nms}


@contextlib.contextmanager
def replaced_functions() -> Iterator[None]:
    """Put the functions in their places, in the modules that are imported."""
    replaced: list[tuple[dict[str, Any], str, Any]] = []
    for (module, name), function in _REPLACED.items():
        if module in sys.modules:
            names = vars(sys.modules[module])
            replaced.append((names, name, names[name]))
            names[name] = function
    try:
        yield
    finally:
        for names, name, original in replaced:
            names[name] = original
