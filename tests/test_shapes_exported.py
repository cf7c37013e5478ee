"""Exported models: the symbolic shape of every value, evaluated at several sizes, is what onnxruntime computes there.

Both what the export wrote, typing each value as it was emitted, and what `infer` finds in the finished model
from its inputs alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import pytest
import torch
import zoo
from shapes_computed import Computed
from torch import nn
from torchvision_without_binary import import_torchvision

from exporter import export, structures
from shape_inference import Dim, infer

Sizes = Mapping[str, int]
Shapes = dict[str, list[Any]]


@dataclass(frozen=True)
class Model:
    """A model, how to make inputs for it at given sizes, its dynamic dims, and the sizes to try."""

    build: Callable[[], nn.Module]
    inputs: Callable[..., Any]
    dynamic_shapes: Any
    sizes: tuple[Sizes, ...]


def _image(*, batch: int, height: int = 64, width: int = 64) -> tuple[torch.Tensor, ...]:
    return (torch.rand(batch, 3, height, width),)


def _resnet() -> nn.Module:
    models = import_torchvision().models
    return models.resnet.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=5).eval()


def _swin() -> nn.Module:
    swin = import_torchvision().models.SwinTransformer
    return swin([4, 4], 8, [2, 2], [2, 2], [4, 4], num_classes=5).eval()


def _vit() -> nn.Module:
    vit = import_torchvision().models.VisionTransformer
    return vit(image_size=64, patch_size=16, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32).eval()


def _segmentation(name: str) -> nn.Module:
    segmentation = import_torchvision().models.segmentation
    model = getattr(segmentation, name)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.ReLU())

    class Backbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = backbone

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"out": self.body(x)}

    head = {"DeepLabV3": segmentation.deeplabv3.DeepLabHead, "FCN": segmentation.fcn.FCNHead}[name]
    return model(Backbone(), head(8, 3), None).eval()


class _Lstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 6, num_layers=2, bidirectional=True, batch_first=True)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sequence, (last, _) = self.lstm(x)
        return sequence, last


_ANY_SIZE = {0: "batch", 2: "height", 3: "width"}
_IMAGE_SIZES = ({"batch": 2, "height": 64, "width": 64}, {"batch": 1, "height": 77, "width": 65}, {"batch": 3, "height": 128, "width": 97})  # fmt: skip

OWN = {
    "resnet": Model(_resnet, _image, {"x": _ANY_SIZE}, _IMAGE_SIZES),
    "swin": Model(_swin, _image, {"x": _ANY_SIZE}, _IMAGE_SIZES),
    "vit": Model(_vit, _image, {"x": {0: "batch"}}, ({"batch": 2}, {"batch": 1}, {"batch": 3})),
    "deeplabv3": Model(lambda: _segmentation("DeepLabV3"), _image, {"x": _ANY_SIZE}, _IMAGE_SIZES),
    "fcn": Model(lambda: _segmentation("FCN"), _image, {"x": _ANY_SIZE}, _IMAGE_SIZES),
    "lstm": Model(
        _Lstm,
        lambda batch, time: (torch.rand(batch, time, 4),),
        {"x": {0: "batch", 1: "time"}},
        ({"batch": 2, "time": 5}, {"batch": 1, "time": 1}, {"batch": 3, "time": 20}),
    ),
}


def _of_zoo(name: str) -> Model:
    """A case of the zoo at the export's sizes, at its other ones, and at one more of each."""
    case = zoo.CASES[name]
    other = {**case.sizes, **case.other_sizes}
    third = {dim: size + 1 for dim, size in other.items()}
    return Model(
        case.build, lambda **sizes: case.inputs_at(1, **sizes), case.dynamic_shapes, (case.sizes, other, third)
    )


SMALL = [case.name for case in zoo.tagged("small")]
LARGE = [name for name in zoo.CASES if name not in SMALL]


def check(model: Model) -> None:
    """Export, infer anew, and compare both with onnxruntime at all sizes."""
    torch.manual_seed(0)
    program = export(model.build(), model.inputs(**model.sizes[0]), dynamic_shapes=model.dynamic_shapes)
    written = {value.name or "": list(value.shape or ()) for value in program.model.graph.inputs}
    bare = ir.to_proto(program.model)
    del bare.graph.value_info[:]
    for output in bare.graph.output:
        output.type.tensor_type.ClearField("shape")
    again = ir.serde.deserialize_model(bare)
    report = infer(again, strict=True)
    assert not report.unresolved
    shapes = {"as exported": _shapes(program.model), "as inferred": _shapes(again)}
    computed = Computed(bare)
    for sizes in model.sizes:
        feed = _feed(program.model, model.inputs(**sizes))
        bindings = _bindings(written, feed)
        actual = computed.shapes(feed)
        for kind, found in shapes.items():
            wrong = _wrong(found, actual, dict(bindings))
            assert not wrong, f"{kind}, at {dict(sizes)}: {wrong[:5]}"


def _shapes(model: ir.Model) -> Shapes:
    """The dims of every tensor that a node of the graph makes."""
    return {
        value.name or "": list(value.shape)
        for node in model.graph
        for value in node.outputs
        if value.shape is not None and isinstance(value.type, ir.TensorType)
    }


def _feed(model: ir.Model, inputs: Any) -> dict[str, Any]:
    args, kwargs = ((), inputs) if isinstance(inputs, dict) else (inputs, {})
    tensors = [leaf for _, leaf in structures.flatten((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    return {value.name or "": t.numpy() for value, t in zip(model.graph.inputs, tensors, strict=True)}


def _bindings(inputs: Shapes, feed: Mapping[str, Any]) -> dict[str, int]:
    """The sizes that the names of the inputs' dims stand for."""
    return {
        str(dim): feed[name].shape[axis]
        for name, dims in inputs.items()
        for axis, dim in enumerate(dims)
        if not isinstance(dim, int) and str(dim).isidentifier()
    }


def _wrong(found: Shapes, actual: dict[str, list[int]], bindings: dict[str, int]) -> list[str]:
    """The values whose dims are not the actual ones; a name that only the data decide is what it is at first."""
    wrong = []
    for name, numbers in actual.items():
        dims = found.get(name)
        if dims is None or len(dims) != len(numbers):
            wrong.append(f"{name}: {dims} is {numbers}")
            continue
        for dim, number in zip(dims, numbers, strict=True):
            if isinstance(dim, Dim) and dim.is_symbol:
                bindings.setdefault(dim.value, number)
            size = dim.evaluate(bindings) if isinstance(dim, Dim) else dim
            if size != number:
                wrong.append(f"{name}: {dims} is {numbers}")
                break
    return wrong


@pytest.mark.parametrize("name", OWN)
def test_own(name: str) -> None:
    check(OWN[name])


@pytest.mark.parametrize("name", SMALL)
def test_small(name: str) -> None:
    check(_of_zoo(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_large(name: str) -> None:
    check(_of_zoo(name))
