"""Factories of the public models that `fx2onnx check --zoo` knows: random weights, nothing downloaded."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import torch


def torchvision_model(name: str) -> torch.nn.Module:
    """A model of torchvision, its backbone's weights random too."""
    from torchvision import models

    builder = models.get_model_builder(name)
    absent = [key for key in ("weights", "weights_backbone") if key in inspect.signature(builder).parameters]
    return builder(**dict.fromkeys(absent))


def torchvision_detector(name: str, size: int) -> tuple[torch.nn.Module, tuple[list[torch.Tensor]]]:
    """A detector of torchvision, and one image [3, size, size]."""
    return torchvision_model(name).eval(), ([torch.rand(3, size, size)],)


def timm_model(name: str) -> torch.nn.Module:
    """A model of timm."""
    import timm

    return timm.create_model(name, pretrained=False)


def transformers_model(model_type: str, head: str = "AutoModel", **config: Any) -> torch.nn.Module:
    """A model of transformers from its configuration.

    Args:
        model_type: as in `config.json`, for instance "bert".
        head: the automatic class, for instance "AutoModelForCausalLM".
        config: what differs from the configuration's defaults.
    """
    transformers = importlib.import_module("transformers")  # which makes its names when they are asked for
    settings = transformers.AutoConfig.for_model(model_type, **config)
    return getattr(transformers, head).from_config(settings)
