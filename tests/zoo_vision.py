"""Vision models: torchvision's, Hugging Face's ViT, MNIST's CNN, and Real-ESRGAN's RRDBNet."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision_without_binary import import_torchvision
from zoo_case import Case
from zoo_values import generic_values, images, without_initialization


class MnistCnn(nn.Module):
    """The network of PyTorch's MNIST example."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Score the ten digits: [N, 1, 28, 28] -> [N, 10]."""
        x = torch.relu(self.conv1(x))
        x = torch.relu(self.conv2(x))
        x = self.dropout1(nn.functional.max_pool2d(x, 2))
        x = torch.relu(self.fc1(torch.flatten(x, 1)))
        return nn.functional.log_softmax(self.fc2(self.dropout2(x)), dim=1)


def _run_on_images(model: nn.Module, height: int, width: int, channels: int = 3) -> object:
    return model(images(100, 8, height, width, channels))


def _mnist() -> nn.Module:
    return generic_values(MnistCnn(), gain=1.4)


def _torchvision(name: str, calibration_size: int | None = 224, **arguments: Any) -> nn.Module:
    models = import_torchvision().models
    if name.startswith(("deeplabv3", "fcn")):
        arguments["weights_backbone"] = None
    model: nn.Module = models.get_model(name, weights=None, **arguments)
    calibrate = None
    if calibration_size is not None:
        calibrate = partial(_run_on_images, height=calibration_size, width=calibration_size)
    return generic_values(model, calibrate=calibrate)


def _rrdbnet(blocks: int) -> nn.Module:
    import_torchvision()  # spandrel imports it
    from spandrel.architectures.ESRGAN import ESRGAN

    return generic_values(ESRGAN(num_blocks=blocks), gain=0.8)


def _vit(**config: int) -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    with without_initialization():
        model = ViTForImageClassification(ViTConfig(**config))
    return generic_values(model)


def _pictures(seed: int, *, batch: int, height: int = 224, width: int = 224, channels: int = 3) -> tuple[Tensor, ...]:
    return (images(seed, batch, height, width, channels),)


def _classifier(name: str, *tags: str, argument: str = "x", build: Callable[[], nn.Module] | None = None) -> Case:
    return Case(
        name=name,
        build=build or partial(_torchvision, name),
        sample=_pictures,
        sizes={"batch": 2},
        other_sizes={"batch": 3},
        dynamic_shapes={argument: {0: "batch"}},
        tags=frozenset({"vision", *tags}),
    )


def _any_size(
    name: str, build: Callable[[], nn.Module], size: tuple[int, int], other_size: tuple[int, int], *tags: str
) -> Case:
    return Case(
        name=name,
        build=build,
        sample=_pictures,
        sizes={"batch": 2, "height": size[0], "width": size[1]},
        other_sizes={"batch": 3, "height": other_size[0], "width": other_size[1]},
        dynamic_shapes={"x": {0: "batch", 2: "height", 3: "width"}},
        tags=frozenset({"vision", "any_size", *tags}),
    )


_fcn = partial(_torchvision, "fcn_resnet50", 128)
_swin = partial(_torchvision, "swin_t", None)
_convnext = partial(_torchvision, "convnext_tiny", None)
_vit_b_16 = partial(_torchvision, "vit_b_16", None)

CASES = (
    Case(
        name="mnist_cnn",
        build=_mnist,
        sample=partial(_pictures, height=28, width=28, channels=1),
        sizes={"batch": 2},
        other_sizes={"batch": 5},
        dynamic_shapes={"x": {0: "batch"}},
        tags=frozenset({"vision", "demo", "small"}),
    ),
    _classifier("resnet18"),
    _classifier("resnet50", "speed", "demo"),
    _classifier("mobilenet_v3_large", "speed"),
    _classifier("efficientnet_b0"),
    _classifier("vit_b_16", "speed", "demo", "slow", build=_vit_b_16),
    _classifier("swin_t", build=_swin),
    _classifier("convnext_tiny", build=_convnext),
    _classifier("deeplabv3_mobilenet_v3_large"),
    _classifier("fcn_resnet50", "slow", build=_fcn),
    _classifier("vit", "slow", argument="pixel_values", build=partial(_vit, num_labels=1000)),
    _any_size("resnet50_any_size", partial(_torchvision, "resnet50"), (224, 192), (130, 161)),
    _any_size("swin_t_any_size", _swin, (224, 192), (160, 200)),
    _any_size("convnext_tiny_any_size", _convnext, (224, 192), (160, 200)),
    _any_size(
        "deeplabv3_mobilenet_v3_large_any_size",
        partial(_torchvision, "deeplabv3_mobilenet_v3_large"),
        (192, 160),
        (130, 225),
    ),
    _any_size("fcn_resnet50_any_size", _fcn, (192, 160), (130, 225), "slow"),
    _any_size("rrdbnet", partial(_rrdbnet, 23), (48, 40), (32, 51), "slow"),
    _any_size("rrdbnet_small", partial(_rrdbnet, 2), (24, 20), (16, 29), "small"),
    Case(
        name="vit_small",
        build=partial(
            _vit,
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=128,
            image_size=64,
            num_labels=10,
        ),
        sample=partial(_pictures, height=64, width=64),
        sizes={"batch": 2},
        other_sizes={"batch": 3},
        dynamic_shapes={"pixel_values": {0: "batch"}},
        tags=frozenset({"vision", "small"}),
    ),
)
