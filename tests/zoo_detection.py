"""Object detectors: YOLOv5s, and torchvision's Faster R-CNN and SSDlite with their non-maximum suppression."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torchvision_without_binary import import_torchvision
from yolov5 import YoloV5s
from zoo_case import Case
from zoo_values import generic_values, images


def _yolov5s() -> nn.Module:
    model = generic_values(YoloV5s(), calibrate=lambda model: model(images(100, 6, 320, 320)))
    for name, parameter in model.named_parameters():
        if name.startswith("detect."):  # a trained detector's logits are within about 5, and boxes follow their squares
            parameter.mul_(0.2)
    return model


def _detector(name: str, factor: float, **thresholds: float) -> nn.Module:
    detection = import_torchvision().models.detection
    model: nn.Module = getattr(detection, name)(weights=None, weights_backbone=None, **thresholds)
    generic_values(model, calibrate=lambda model: model([*images(100, 6, 320, 320).sigmoid()]))
    _decide(model, factor)
    return model


@torch.no_grad()
def _decide(detector: nn.Module, factor: float) -> None:
    """Make some scores pass the threshold and few be near a tie, and boxes stay near their anchors, as trained ones do."""
    for name, parameter in detector.named_parameters():
        last_convolution = "classification_head" in name and name.endswith((".1.weight", ".1.bias"))
        if "cls_score" in name or last_convolution:
            parameter.mul_(factor)
        if "bbox" in name or "regression_head" in name:
            parameter.mul_(0.1)


def _image_list(seed: int, *, height: int, width: int) -> tuple[list[Tensor]]:
    return ([images(seed, 1, height, width)[0].sigmoid()],)


def _pictures(seed: int, *, batch: int, height: int = 640, width: int = 640) -> tuple[Tensor]:
    return (images(seed, batch, height, width),)


def _torchvision_case(name: str, factor: float, **thresholds: float) -> Case:
    return Case(
        name=name,
        build=partial(_detector, name, factor, **thresholds),
        sample=_image_list,
        sizes={"height": 240, "width": 320},
        other_sizes={"height": 300, "width": 260},
        dynamic_shapes={"images": [{1: "height", 2: "width"}]},
        tags=frozenset({"vision", "detection", "nms", "any_size"}),
    )


CASES = (
    Case(
        name="yolov5s",
        build=_yolov5s,
        sample=_pictures,
        sizes={"batch": 1},
        other_sizes={"batch": 2},
        dynamic_shapes={"x": {0: "batch"}},
        tags=frozenset({"vision", "detection", "demo"}),
    ),
    Case(
        name="yolov5s_any_size",
        build=_yolov5s,
        sample=_pictures,
        sizes={"batch": 2, "height": 320, "width": 256},
        other_sizes={"batch": 1, "height": 224, "width": 416},
        dynamic_shapes={"x": {0: "batch", 2: "height", 3: "width"}},
        tags=frozenset({"vision", "detection", "any_size"}),
    ),
    _torchvision_case("fasterrcnn_mobilenet_v3_large_320_fpn", 0.3, box_score_thresh=0.022),
    _torchvision_case("ssdlite320_mobilenet_v3_large", 0.5, score_thresh=0.08),
)
