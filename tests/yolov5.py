"""YOLOv5 (s size, release 6 and later), written from its published architecture.

The package of that name needs OpenCV, pandas and more to import, and looks for updates when it does.
Layer numbers are those of its model description; it has the same 7,235,389 parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

STRIDES = (8, 16, 32)
ANCHORS = (
    ((10.0, 13.0), (16.0, 30.0), (33.0, 23.0)),
    ((30.0, 61.0), (62.0, 45.0), (59.0, 119.0)),
    ((116.0, 90.0), (156.0, 198.0), (373.0, 326.0)),
)


class Conv(nn.Module):
    """Convolution, batch norm and SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, padding: int | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2 if padding is None else padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve: [N, C, H, W] -> [N, M, H/stride, W/stride]."""
        return self.act(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    """A 1x1 and a 3x3 convolution, added to the input where asked."""

    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.cv1 = Conv(channels, channels)
        self.cv2 = Conv(channels, channels, 3)
        self.add = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Refine: the shape stays."""
        y = self.cv2(self.cv1(x))
        return x + y if self.add else y


class C3(nn.Module):
    """A cross-stage-partial block with three convolutions."""

    def __init__(self, inputs: int, outputs: int, repeats: int, shortcut: bool = True) -> None:
        super().__init__()
        hidden = outputs // 2
        self.cv1 = Conv(inputs, hidden)
        self.cv2 = Conv(inputs, hidden)
        self.cv3 = Conv(2 * hidden, outputs)
        self.m = nn.Sequential(*(Bottleneck(hidden, shortcut) for _ in range(repeats)))

    def forward(self, x: Tensor) -> Tensor:
        """Mix: [N, C, H, W] -> [N, M, H, W]."""
        return self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))


class Sppf(nn.Module):
    """Spatial pyramid pooling as three equal max pools in a row."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cv1 = Conv(channels, channels // 2)
        self.cv2 = Conv(channels * 2, channels)
        self.m = nn.MaxPool2d(5, stride=1, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """Pool at three sizes: the shape stays."""
        x = self.cv1(x)
        once = self.m(x)
        twice = self.m(once)
        return self.cv2(torch.cat((x, once, twice, self.m(twice)), 1))


class Detect(nn.Module):
    """Decode three feature maps into boxes in pixels, their objectness and their class scores."""

    anchors: Tensor

    def __init__(self, classes: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.outputs = classes + 5
        self.register_buffer("anchors", torch.tensor(ANCHORS))
        self.m = nn.ModuleList(nn.Conv2d(count, self.outputs * 3, 1) for count in channels)

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Decode: each [N, C, H, W] -> [N, sum of 3*H*W, classes + 5], and each raw map."""
        decoded, raw = [], []
        for convolution, level, stride, anchors in zip(self.m, maps, STRIDES, self.anchors, strict=True):
            x = convolution(level)
            batch, _, height, width = x.shape
            x = x.view(batch, 3, self.outputs, height, width).permute(0, 1, 3, 4, 2).contiguous()
            rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
            grid = torch.stack((columns, rows), 2).to(x.dtype) - 0.5
            position, extent, scores = x.sigmoid().split((2, 2, self.outputs - 4), 4)
            position = (position * 2 + grid) * stride
            extent = (extent * 2) ** 2 * anchors.view(1, 3, 1, 1, 2)
            decoded.append(torch.cat((position, extent, scores), 4).view(batch, 3 * height * width, self.outputs))
            raw.append(x)
        return torch.cat(decoded, 1), raw


class YoloV5s(nn.Module):
    """Backbone, path aggregation neck and head."""

    def __init__(self, classes: int = 80) -> None:
        super().__init__()
        self.stem = Conv(3, 32, 6, 2, 2)
        self.stage2 = nn.Sequential(Conv(32, 64, 3, 2), C3(64, 64, 1))
        self.stage3 = nn.Sequential(Conv(64, 128, 3, 2), C3(128, 128, 2))
        self.stage4 = nn.Sequential(Conv(128, 256, 3, 2), C3(256, 256, 3))
        self.stage5 = nn.Sequential(Conv(256, 512, 3, 2), C3(512, 512, 1), Sppf(512))
        self.layer10 = Conv(512, 256)
        self.layer13 = C3(512, 256, 1, shortcut=False)
        self.layer14 = Conv(256, 128)
        self.layer17 = C3(256, 128, 1, shortcut=False)
        self.layer18 = Conv(128, 128, 3, 2)
        self.layer20 = C3(256, 256, 1, shortcut=False)
        self.layer21 = Conv(256, 256, 3, 2)
        self.layer23 = C3(512, 512, 1, shortcut=False)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.detect = Detect(classes, (128, 256, 512))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Detect: [N, 3, H, W], H and W multiples of 32 -> [N, 3*H*W*(1/64 + 1/256 + 1/1024), classes + 5]."""
        eighth = self.stage3(self.stage2(self.stem(x)))
        sixteenth = self.stage4(eighth)
        top = self.layer10(self.stage5(sixteenth))
        middle = self.layer14(self.layer13(torch.cat((self.upsample(top), sixteenth), 1)))
        small = self.layer17(torch.cat((self.upsample(middle), eighth), 1))
        medium = self.layer20(torch.cat((self.layer18(small), middle), 1))
        large = self.layer23(torch.cat((self.layer21(medium), top), 1))
        return self.detect([small, medium, large])
