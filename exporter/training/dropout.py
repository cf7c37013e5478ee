"""Training without dropout: its probability is 0 wherever torch is asked for it."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch

F = torch.nn.functional

# Function -> the argument that says how much is dropped.
_FUNCTIONS = {
    "dropout": "p", "dropout1d": "p", "dropout2d": "p", "dropout3d": "p", "alpha_dropout": "p",
    "feature_alpha_dropout": "p", "scaled_dot_product_attention": "dropout_p",
}  # fmt: skip
_POSITIONS = {"p": 1, "dropout_p": 4}


@contextlib.contextmanager
def without_dropout(model: torch.nn.Module) -> Iterator[None]:
    """Let nothing be dropped: by the functions of `torch.nn.functional`, by dropout and by recurrent layers."""
    originals = {name: getattr(F, name) for name in _FUNCTIONS}
    layers = [module for module in model.modules() if isinstance(module, torch.nn.RNNBase)]
    before = [layer.dropout for layer in layers]
    for name, argument in _FUNCTIONS.items():
        setattr(F, name, _never(originals[name], argument))
    for layer in layers:
        layer.dropout = 0.0
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(F, name, original)
        for layer, probability in zip(layers, before, strict=True):
            layer.dropout = probability


def _never(original: Callable[..., Any], argument: str) -> Callable[..., Any]:
    position = _POSITIONS[argument]

    def function(*args: Any, **kwargs: Any) -> Any:
        if len(args) > position:
            return original(*args[:position], 0.0, *args[position + 1 :], **kwargs)
        return original(*args, **{**kwargs, argument: 0.0})

    with contextlib.suppress(TypeError, ValueError):
        function.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]  # read when it is called
    return function
