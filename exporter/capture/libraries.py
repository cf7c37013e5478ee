"""Functions of libraries that ask for values in Python, and what is recorded in their place."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch

from exporter.capture.torch_internals import adaptive_softmax_result


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


def _batch_images(transform: Any, images: list[torch.Tensor], size_divisible: int = 32) -> torch.Tensor:
    """Put images side by side, on black of whole strides: [C, H_i, W_i] each -> [N, C, H, W]."""
    channels, height, width = transform.max_by_axis([list(image.shape) for image in images])
    rows, columns = (-(-size // size_divisible) * size_divisible for size in (height, width))
    batch = images[0].new_full([len(images), channels, rows, columns], 0)
    for i, image in enumerate(images):
        batch[i, : image.shape[0], : image.shape[1], : image.shape[2]].copy_(image)
    return batch


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


# Module, and the name in it: of a function, or of a class and its method.
_REPLACED: dict[tuple[str, str], Callable[..., Any]] = {
    ("torchvision.ops.boxes", "batched_nms"): _batched_nms,
    ("torchvision.models.detection.transform", "GeneralizedRCNNTransform.batch_images"): _batch_images,
    ("torch.nn.modules.adaptive", "AdaptiveLogSoftmaxWithLoss.forward"): _adaptive_softmax,
    ("torch.nn.modules.adaptive", "AdaptiveLogSoftmaxWithLoss.predict"): _adaptive_prediction,
    ("torch.nn.modules.rnn", "RNNBase.check_forward_args"): _unchecked,
    ("torch.nn.modules.rnn", "LSTM.check_forward_args"): _unchecked,
}


@contextlib.contextmanager
def replaced_functions() -> Iterator[None]:
    """Put the functions in their places, in the modules that are imported."""
    replaced: list[tuple[Any, str, Any]] = []
    for (module, path), function in _REPLACED.items():
        if module not in sys.modules:
            continue
        owner: Any = sys.modules[module]
        *classes, name = path.split(".")
        for inner in classes:
            owner = vars(owner)[inner]
        replaced.append((owner, name, vars(owner)[name]))
        setattr(owner, name, function)
    try:
        yield
    finally:
        for owner, name, original in replaced:
            setattr(owner, name, original)
