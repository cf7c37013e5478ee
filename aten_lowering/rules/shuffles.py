"""Elements moved between channels and space: shuffles, unfolding and folding."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.dtypes import is_integer
from aten_lowering.registry import lowers
from aten_lowering.windows import (
    batched,
    each_axis,
    gather_windows,
    pad_space,
    places,
    scaled_range,
    sizes_after,
)
from shape_inference import Size, product, same

aten = torch.ops.aten

# The runtime's DepthToSpace and Col2Im know these; it takes float16 apart by itself.
_DEPTH_TO_SPACE = frozenset(
    {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.UINT8, ir.DataType.INT8}
)
_COL2IM = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16})
_COL2IM_SINCE = 18


@lowers(aten.pixel_shuffle.default)
def pixel_shuffle(op: Builder, self: Value, upscale_factor: int) -> Value:
    """[*B, C r r, H, W] -> [*B, C, H r, W r]."""
    r = upscale_factor
    if rank(self) == 4 and dtype(self) in _DEPTH_TO_SPACE:
        return op.DepthToSpace(self, blocksize=r, mode="CRD")
    *batch, channels, height, width = dims(self)
    blocks = op.reshape(self, [product(batch), channels // (r * r), r, r, height, width])
    spread = op.transpose(blocks, [0, 1, 4, 2, 5, 3])
    return op.reshape(spread, [*batch, channels // (r * r), height * r, width * r])


@lowers(aten.pixel_unshuffle.default)
def pixel_unshuffle(op: Builder, self: Value, downscale_factor: int) -> Value:
    """[*B, C, H r, W r] -> [*B, C r r, H, W]; SpaceToDepth would put the channels in another order."""
    r = downscale_factor
    *batch, channels, height, width = dims(self)
    blocks = op.reshape(self, [product([*batch, channels]), height // r, r, width // r, r])
    gathered = op.transpose(blocks, [0, 2, 4, 1, 3])
    return op.reshape(gathered, [*batch, channels * r * r, height // r, width // r])


@lowers(aten.channel_shuffle.default, aten.native_channel_shuffle.default)
def channel_shuffle(op: Builder, self: Value, groups: int) -> Value:
    """[N, g C, *S] -> [N, C g, *S]: the first channel of each group, then the second of each."""
    batch, channels, *space = dims(self)
    grouped = op.reshape(self, [batch, groups, channels // groups, product(space)])
    return op.reshape(op.transpose(grouped, [0, 2, 1, 3]), [batch, channels, *space])


@lowers(aten.im2col.default)
def im2col(
    op: Builder, self: Value, kernel_size: Sequence[int], dilation: Sequence[int], padding: Sequence[int],
    stride: Sequence[int],
) -> Value:  # fmt: skip
    """[N, C, H, W] -> [N, C kh kw, OH OW]: each window a column."""
    kernel, dilation, padding, stride = (each_axis(s, 2) for s in (kernel_size, dilation, padding, stride))
    x = batched(op, self, 2)
    batch, channels, *sizes = dims(x)
    counts = sizes_after(sizes, kernel, stride, padding, dilation)
    shape: list[Size] = [batch, channels * product(kernel), product(counts)]
    if kernel == stride and not any(padding) and max(dilation) == 1 and _tiles(sizes, kernel):
        tiles = op.reshape(x, [batch, channels, counts[0], kernel[0], counts[1], kernel[1]])
        columns = op.reshape(op.transpose(tiles, [0, 1, 3, 5, 2, 4]), shape)
        return op.squeeze(columns, [0]) if rank(self) == 3 else columns
    tables = [places(op, *setting) for setting in zip(kernel, counts, stride, dilation, strict=True)]
    windows = gather_windows(op, pad_space(op, x, padding, padding), tables)
    columns = op.reshape(op.transpose(windows, [0, 1, 2, 4, 3, 5]), shape)
    return op.squeeze(columns, [0]) if rank(self) == 3 else columns


def _tiles(sizes: Sequence[Size], kernel: Sequence[int]) -> bool:
    """Whether windows side by side leave nothing over."""
    return all(same(size // k * k, size) is True for size, k in zip(sizes, kernel, strict=True))


@lowers(aten.col2im.default)
def col2im(
    op: Builder, self: Value, output_size: Sequence[Size], kernel_size: Sequence[int], dilation: Sequence[int],
    padding: Sequence[int], stride: Sequence[int],
) -> Value:  # fmt: skip
    """[N, C kh kw, OH OW] -> [N, C, H, W]: each column added up where its window was."""
    kernel, dilation, padding, stride = (each_axis(s, 2) for s in (kernel_size, dilation, padding, stride))
    x = op.unsqueeze(self, [0]) if rank(self) == 2 else self
    batch, rows = dims(x)[:2]
    counts = sizes_after(output_size, kernel, stride, padding, dilation)
    channels = rows // product(kernel)
    if kernel == stride and not any(padding) and max(dilation) == 1 and _tiles(output_size, kernel):
        tiles = op.reshape(x, [batch, channels, *kernel, *counts])
        image = op.reshape(op.transpose(tiles, [0, 1, 4, 2, 5, 3]), [batch, channels, *output_size])
    elif dtype(x) in _COL2IM and op.opset_version >= _COL2IM_SINCE:
        image = op.Col2Im(
            x, op.shape(output_size), op.shape(kernel), dilations=dilation, pads=[*padding, *padding], strides=stride
        )
    else:
        image = _added_up(
            op, op.reshape(x, [batch, channels, *kernel, *counts]), output_size, dilation, padding, stride
        )
    return op.squeeze(image, [0]) if rank(self) == 2 else image


def _added_up(
    op: Builder, x: Value, output_size: Sequence[Size], dilation: Sequence[int], padding: Sequence[int],
    stride: Sequence[int],
) -> Value:  # fmt: skip
    """[N, C, kh, kw, OH, OW] -> [N, C, H, W], by one product with zeros and ones an axis."""
    kind = dtype(x)
    wide = ir.DataType.INT64 if is_integer(kind) else ir.DataType.FLOAT if kind == ir.DataType.BFLOAT16 else kind
    batch, channels, kh, kw, oh, ow = dims(x)
    grid = op.reshape(op.transpose(op.cast(x, wide), [0, 1, 2, 4, 3, 5]), [batch, channels, kh * oh, kw * ow])
    ones = []
    for size, k, count, step, d, p in zip(output_size, (kh, kw), (oh, ow), stride, dilation, padding, strict=True):
        spots = op.Sub(op.reshape(places(op, k, count, step, d), [1, k * count]), p)
        here = op.Equal(op.unsqueeze(scaled_range(op, size, 1), [1]), spots)
        ones.append(op.cast(here, wide))
    image = op.MatMul(op.MatMul(ones[0], grid), op.transpose(ones[1], [1, 0]))
    return op.cast(image, kind)
