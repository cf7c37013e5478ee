"""What torchvision's detectors do to one detection after another, done to all of them: there may be any number."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from exporter.capture.tensors import RecordedTensor, same_sizes
from exporter.capture.torch_internals import higher_order

_HEADS = "torchvision.models.detection.roi_heads"


def batched_nms(
    boxes: torch.Tensor, scores: torch.Tensor, idxs: torch.Tensor, iou_threshold: float
) -> torch.Tensor:  # fmt: skip
    """Suppress boxes by better ones of the same class: [N, 4], [N], [N] -> [kept].

    The boxes of each class are moved to a place of their own. torchvision does so too, for few boxes: for
    many it takes one class after the other, and for none it leaves early.
    """
    largest = torch.cat([boxes.reshape(-1), boxes.new_zeros(1)]).max()
    apart = idxs.to(boxes) * (largest + 1)
    return torch.ops.torchvision.nms(boxes + apart[:, None], scores, iou_threshold)


def regions_of_images(boxes: Sequence[torch.Tensor]) -> torch.Tensor:
    """Put the boxes of all images below each other, behind the place of their image: [L_i, 4] each -> [sum L_i, 5].

    As many boxes for each image are one tensor, of which there may be any number of images.
    """
    if _are_alike(boxes):
        rows = torch.stack(list(boxes))
        places = torch.arange(rows.shape[0], device=rows.device).to(rows.dtype)[:, None, None]
        return torch.cat([places.expand(-1, rows.shape[1], -1), rows], 2).flatten(0, 1)
    return torch.cat([F.pad(rows, (1, 0), value=float(place)) for place, rows in enumerate(boxes)])


def _are_alike(tensors: Sequence[torch.Tensor]) -> bool:
    """Whether tensors have one shape at every sample, asked without deciding anything."""
    if any(type(tensor) is not RecordedTensor for tensor in tensors):
        return False
    return all(same_sizes(tensors[0], tensor) for tensor in tensors)  # type: ignore[arg-type]  # asked for above


def batch_images(transform: Any, images: list[torch.Tensor], size_divisible: int = 32) -> torch.Tensor:
    """Put images side by side, on black of whole strides: [C, H_i, W_i] each -> [N, C, H, W]."""
    channels, height, width = transform.max_by_axis([list(image.shape) for image in images])
    rows, columns = (-(-size // size_divisible) * size_divisible for size in (height, width))
    batch = images[0].new_full([len(images), channels, rows, columns], 0)
    for i, image in enumerate(images):
        batch[i, : image.shape[0], : image.shape[1], : image.shape[2]].copy_(image)
    return batch


def masks_in_image(
    masks: torch.Tensor, boxes: torch.Tensor, img_shape: Sequence[Any], padding: int = 1
) -> torch.Tensor:  # fmt: skip
    """Resize each mask to its box, in an image of zeros: [N, 1, M, M], [N, 4] -> [N, 1, *img_shape].

    Bilinear interpolation is a product with what each element counts: in the rows, and in the columns.
    """
    heads: Any = sys.modules[_HEADS]
    masks, scale = heads.expand_masks(masks, padding=padding)
    boxes = heads.expand_boxes(boxes, scale).to(torch.int64)
    rows = _bilinear_weights(boxes[:, 1], boxes[:, 3], masks.shape[-2], img_shape[0])
    columns = _bilinear_weights(boxes[:, 0], boxes[:, 2], masks.shape[-1], img_shape[1])
    return rows[:, None] @ masks @ columns[:, None].transpose(-1, -2)


def _bilinear_weights(first: torch.Tensor, last: torch.Tensor, size: int, length: Any) -> torch.Tensor:
    """What elements, stretched from the place `first` to `last`, count at each: [N], [N] -> [N, length, size]."""
    places = torch.arange(length, device=first.device)
    within = (places >= first[:, None]) & (places <= last[:, None])
    step = size / (last - first + 1).clamp(min=1)[:, None]
    sources = (step * (places - first[:, None] + 0.5) - 0.5).clamp(0, size - 1)
    distances = (sources[..., None] - torch.arange(size, device=first.device)).abs()
    return (1 - distances).clamp(min=0) * within[..., None]


def keypoints_of_heatmaps(maps: torch.Tensor, rois: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Find where each heatmap, resized to its box, is largest: [N, K, H, W], [N, 4] -> [N, K, 3], [N, K].

    A place is (x, y, 1). The boxes are gone through one by one, as resized maps have sizes of their own.
    """
    corners = rois[:, :2]
    extents = (rois[:, 2:] - corners).clamp(min=1)
    places, scores = higher_order("map_impl")(_keypoints, (maps, corners, extents, extents.ceil()), ())
    return places, scores


def _keypoints(
    heatmaps: torch.Tensor, corner: torch.Tensor, extent: torch.Tensor, sizes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """One box: [K, H, W], [2], [2], [2] -> [K, 3], [K]."""
    width, height = sizes.to(torch.int64).tolist()
    resized = F.interpolate(heatmaps[:, None], size=(height, width), mode="bicubic", align_corners=False)
    scores, places = resized.reshape(heatmaps.shape[0], height * width).max(1)
    found = torch.stack([places % width, places // width], 1)
    at = (found + 0.5) * (extent / sizes) + corner
    return torch.cat([at, torch.ones_like(at[:, :1])], 1), scores
