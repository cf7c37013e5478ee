"""Functions of libraries that ask for values in Python, and what is recorded in their place."""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from exporter.capture.replacements.causal_masks import CausalMasks
from exporter.capture.replacements.detections import (
    batch_images,
    batched_nms,
    keypoints_of_heatmaps,
    masks_in_image,
    regions_of_images,
)
from exporter.capture.torch_internals import adaptive_softmax_result, outside_modes


def _unchecked(*args: Any) -> None:
    """A check of sizes that takes the size of a packed batch for a number."""


def _adaptive_softmax(module: Any, input_: torch.Tensor, target_: torch.Tensor) -> Any:
    """[N, F], [N] or [F], [] -> the log probability of each target, and minus their mean.

    torch takes the clusters apart one by one, and leaves out those that no target is in.
    """
    scores = module.log_prob(input_ if input_.ndim > 1 else input_.unsqueeze(0))
    output = scores.gather(1, target_.reshape(-1, 1)).squeeze(1)
    loss = -output.mean()
    return adaptive_softmax_result(output if target_.ndim else output.squeeze(0), loss)


def _adaptive_prediction(module: Any, input: torch.Tensor) -> torch.Tensor:
    """[N, F] -> [N], the class of the largest probability."""
    return module.log_prob(input).argmax(dim=1)


def _set_context(variable: Any, value: Any) -> Any:
    """Set what a model within a model records, as transformers does: what the outer one records is put back after.

    While a model is compiled it is a plain one, and what the outer model records is lost behind the inner one.
    """
    return variable.context_var.set(value)


_TO = torch.nn.Module.to


def _module_to(module: torch.nn.Module, *args: Any, **kwargs: Any) -> torch.nn.Module:
    """`self.classifier.to(dtype)` in forward changes the parameters themselves, which stay the model's state."""
    with outside_modes():
        return _TO(module, *args, **kwargs)


# Module, and the name in it: of a function, or of a class and its method.
_REPLACED: dict[tuple[str, str], Callable[..., Any]] = {
    ("torchvision.ops._utils", "convert_boxes_to_roi_format"): regions_of_images,
    ("torchvision.ops.boxes", "batched_nms"): batched_nms,
    ("torchvision.models.detection.transform", "GeneralizedRCNNTransform.batch_images"): batch_images,
    ("torchvision.models.detection.transform", "paste_masks_in_image"): masks_in_image,
    ("torchvision.models.detection.roi_heads", "heatmaps_to_keypoints"): keypoints_of_heatmaps,
    ("transformers.utils.output_capturing", "CompileableContextVar.set"): _set_context,
    ("torch.nn.modules.adaptive", "AdaptiveLogSoftmaxWithLoss.forward"): _adaptive_softmax,
    ("torch.nn.modules.adaptive", "AdaptiveLogSoftmaxWithLoss.predict"): _adaptive_prediction,
    ("torch.nn.modules.module", "Module.to"): _module_to,
    ("torch.nn.modules.rnn", "RNNBase.check_forward_args"): _unchecked,
    ("torch.nn.modules.rnn", "LSTM.check_forward_args"): _unchecked,
}

# Likewise, of functions that what stands in their place is given and calls.
_WRAPPED: dict[tuple[str, str], Callable[..., Any]] = {
    ("transformers.masking_utils", "sdpa_mask"): CausalMasks.make,
    ("transformers.integrations.sdpa_attention", "sdpa_attention_forward"): CausalMasks.attend,
}


def _passed_on(*args: Any, **kwargs: Any) -> Any:
    return _stand_in(*args, **kwargs)  # type: ignore[name-defined]  # noqa: F821  # a name in the function's own module


def _copied(function: types.FunctionType) -> types.FunctionType:
    copy = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


_NAME = "_recorded_in_place_of_"


@contextlib.contextmanager
def replaced_functions() -> Iterator[None]:
    """Put the functions in their places, in the modules that are imported.

    A function of a module gets other code, so that it is replaced by whatever name a model knows it.
    """
    masks = CausalMasks()
    undo: list[Callable[[], object]] = []
    for place, replacement in (_REPLACED | _WRAPPED).items():
        module, path = place
        if module not in sys.modules:
            continue
        owner: Any = sys.modules[module]
        *classes, name = path.split(".")
        for inner in classes:
            owner = vars(owner)[inner]
        original = vars(owner)[name]
        if classes:
            undo.append(partial(setattr, owner, name, original))
            setattr(owner, name, replacement)
        else:
            stand_in = partial(replacement, masks, _copied(original)) if place in _WRAPPED else replacement
            undo.append(partial(setattr, original, "__code__", original.__code__))
            original.__globals__[_NAME + name] = stand_in
            undo.append(partial(original.__globals__.pop, _NAME + name))
            original.__code__ = _passed_on.__code__.replace(co_names=(_NAME + name,))
    try:
        yield
    finally:
        for step in undo:
            step()
