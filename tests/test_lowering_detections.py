"""torchvision's operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torchvision_without_binary import import_torchvision

from exporter.errors import ExportError
from tests.lowering import Case, both_ways, check

torchvision = import_torchvision()
ops, detection = torchvision.ops, torchvision.models.detection


def _boxes(count: int = 20) -> torch.Tensor:
    corners = torch.rand(count, 2) * 20
    return torch.cat([corners, corners + torch.rand(count, 2) * 8 + 1], 1)


def _regions(images: int = 2, count: int = 5) -> torch.Tensor:
    return torch.cat([torch.randint(0, images, (count, 1)), _boxes(count) * 0.5], 1)


def _detection() -> list[torch.Tensor]:
    return [_boxes(), torch.rand(20)]


def _best(scores: torch.Tensor, count: int) -> torch.Tensor:
    return scores.topk(min(count, scores.shape[0])).values


def _image(channels: int = 3) -> Callable[[], list[torch.Tensor]]:
    return lambda: [torch.randn(2, channels, 12, 14), _regions()]


def _roi(function: Callable[..., Any], **settings: Any) -> Callable[..., Any]:
    return lambda x, regions: function(x, regions, **settings)


def _deform(groups: int = 1, offset_groups: int = 1, mask: bool = True, **settings: Any) -> Callable[..., Any]:
    """A deformable convolution of 4 channels to 6 by a kernel of 3 x 2."""
    torch.manual_seed(1)
    weight, bias = torch.randn(6, 4 // groups, 3, 2), torch.randn(6)

    def run(x: torch.Tensor, offset: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        return ops.deform_conv2d(x, offset, weight, bias, mask=given.sigmoid() if mask else None, **settings)

    return run


def _shifts(height: int, width: int, offset_groups: int = 1) -> Callable[[], list[torch.Tensor]]:
    return lambda: [
        torch.randn(2, 4, 7, 8), torch.randn(2, 12 * offset_groups, height, width),
        torch.randn(2, 6 * offset_groups, height, width),
    ]  # fmt: skip


CASES = [
    Case("nms", lambda boxes, scores: ops.nms(boxes, scores, 0.3), _detection, fixed=(1,),
         ops="Unsqueeze Unsqueeze NonMaxSuppression Gather"),
    Case("nms_then_pick", lambda boxes, scores: boxes[ops.nms(boxes, scores, 0.1)] * 2, _detection, dynamic=False),
    Case("nms_none", lambda boxes, scores: ops.nms(boxes[scores > 2], scores[scores > 2], 0.3), _detection,
         dynamic=False),
    Case("batched_nms_of_chosen", lambda boxes, scores: ops.batched_nms(
        boxes[scores > 0.4], scores[scores > 0.4], (scores[scores > 0.4] * 3).long(), 0.3), _detection, fixed=(1,)),
    Case("batched_nms", lambda boxes, scores: ops.batched_nms(boxes, scores, (scores * 3).long(), 0.3), _detection,
         dynamic=False),
    Case("best_of_few", lambda boxes, scores: _best(scores[ops.nms(boxes, scores, 0.1)], 300), _detection,
         dynamic=False),
    Case("best_of_many", lambda boxes, scores: _best(scores[ops.nms(boxes, scores, 0.1)], 3), _detection,
         dynamic=False),
    Case("masks_in_image", lambda m, b: detection.transform.paste_masks_in_image(m, b - 3, (20, 24)),
         lambda: [torch.rand(5, 1, 7, 7), _boxes(5)], fixed=(1, 2, 3)),
    Case("no_masks_in_image", lambda m, b: detection.transform.paste_masks_in_image(m[b[:, 0] > 99], b[b[:, 0] > 99], (9, 9)),
         lambda: [torch.rand(5, 1, 7, 7), _boxes(5)], dynamic=False),
    Case("keypoints_of_heatmaps", lambda m, b: detection.roi_heads.heatmaps_to_keypoints(m, b),
         lambda: [torch.randn(5, 4, 7, 7), _boxes(5)], fixed=(1, 2, 3)),
    Case("roi_align", _roi(ops.roi_align, output_size=(3, 4), spatial_scale=0.8, sampling_ratio=2, aligned=True),
         _image(), ops="Slice Gather Cast RoiAlign", fixed=(0, 1)),
    Case("roi_align_adaptive", _roi(ops.roi_align, output_size=3), _image(), fixed=(0, 1)),
    Case("roi_align_of_images", lambda x, boxes: ops.roi_align(x, boxes.unbind(0), 3),
         lambda: [torch.randn(2, 3, 12, 14), _boxes(6).reshape(2, 3, 4) * 0.5], fixed=(1, 2)),
    Case("roi_align_of_uneven_images", lambda x, boxes: ops.roi_align(x, [boxes[:2], boxes[2:]], 3),
         lambda: [torch.randn(2, 3, 12, 14), _boxes(5) * 0.5], dynamic=False),
    Case("roi_pool", _roi(ops.roi_pool, output_size=(3, 2), spatial_scale=0.9), _image(), ops="MaxRoiPool",
         fixed=(0, 1)),
    Case("ps_roi_align", _roi(ops.ps_roi_align, output_size=2, sampling_ratio=2), _image(12), fixed=(0, 1)),
    Case("ps_roi_align_channels",
         lambda x, regions: torch.ops.torchvision.ps_roi_align(x, regions, 1.0, 2, 3, 2)[1], _image(12), fixed=(0, 1)),
    Case("deform_conv2d", _deform(), _shifts(5, 7), dynamic=False),
    Case("deform_conv2d_settings", _deform(groups=2, offset_groups=2, stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
         _shifts(4, 6, 2), dynamic=False),
    Case("deform_conv2d_without_mask", _deform(mask=False, padding=1), _shifts(7, 9), dynamic=False),
]  # fmt: skip

test_static, test_dynamic = both_ways(*CASES)


def test_deform_conv_of_opset_19() -> None:
    for case in CASES:
        if case.name == "deform_conv2d_settings":
            check(replace(case, opset_version=19, ops="Sigmoid DeformConv"))


def test_regions_need_an_opset_with_a_kernel() -> None:
    case = next(case for case in CASES if case.name == "roi_align")
    with pytest.raises(ExportError, match="opset_version must be at most 21, got 22"):
        check(replace(case, opset_version=22))
