"""Sliding windows and sums over space, for what ONNX has no operator or the runtime no kernel for.

A window's elements are gathered axis by axis: `places` says for one axis which element stands at tap k of
window o, an integer table [K, O] that is a constant where all sizes are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import onnx_ir as ir

from aten_lowering.builder import Builder, Value, dims, rank
from shape_inference import Size, product

__all__ = [
    "batched",
    "each_axis",
    "float_kernel",
    "gather_windows",
    "pad_space",
    "places",
    "scaled_range",
    "sizes_after",
    "space_of",
    "unbatched",
    "weighted_sums",
]

_S = TypeVar("_S", bound=Size)
_NO_KERNEL = {ir.DataType.BFLOAT16: ir.DataType.FLOAT}


def each_axis(setting: Sequence[_S], space: int, default: Sequence[_S] | None = None) -> list[_S]:
    """A setting for each of the axes: one number stands for all of them, none for the default."""
    given = list(setting) or list(default or [])
    return given * space if len(given) == 1 else given


def batched(op: Builder, x: Value, space: int) -> Value:
    """[C, *S] -> [1, C, *S]; [N, C, *S] stays, where S has `space` axes."""
    return op.unsqueeze(x, [0]) if rank(x) == space + 1 else x


def unbatched(op: Builder, result: Value, like: Value) -> Value:
    """The result without the batch axis that `batched` gave its argument `like`."""
    return op.squeeze(result, [0]) if rank(result) > rank(like) else result


def float_kernel(kind: ir.DataType) -> ir.DataType:
    """The element type in which the runtime has the floating-point kernels of this family."""
    return _NO_KERNEL.get(kind, kind)


def pad_space(op: Builder, x: Value, begin: Sequence[Size], end: Sequence[Size], fill: float = 0) -> Value:
    """Pad the last axes of x: [*B, *S] -> [*B, *(begin + s + end)]; x itself where there is nothing to add."""
    if all(type(size) is int and size == 0 for size in (*begin, *end)):
        return x
    front = [0] * (rank(x) - len(begin))
    pads = op.shape([*front, *begin, *front, *end])
    return op.Pad(x, pads, op.constant(fill, x.dtype)) if fill else op.Pad(x, pads)


def places(op: Builder, kernel: Size, count: Size, stride: Size, dilation: Size) -> Value:
    """Where each tap of each window lies: [K, O], k * dilation + o * stride."""
    if isinstance(kernel, int) and isinstance(count, int) and isinstance(stride, int) and isinstance(dilation, int):
        return op.constant((np.arange(kernel)[:, None] * dilation + np.arange(count) * stride).astype(np.int64))
    taps = scaled_range(op, kernel, dilation)
    return op.Add(op.unsqueeze(taps, [1]), scaled_range(op, count, stride))


def scaled_range(op: Builder, count: Size, step: Size) -> Value:
    """0, step, 2 step, … : [count]."""
    if type(count) is int and type(step) is int:
        return op.constant(np.arange(count, dtype=np.int64) * step)
    return op.Range(op.scalar(0), op.scalar(count * step), op.scalar(step))


def gather_windows(op: Builder, x: Value, tables: Sequence[Value]) -> Value:
    """Gather the last axes by their tables: [*B, *S], [K_i, O_i] each -> [*B, K_1, O_1, K_2, O_2, …]."""
    first = rank(x) - len(tables)
    for i, table in enumerate(tables):
        x = op.Gather(x, table, axis=first + 2 * i)
    return x


def sizes_after(
    sizes: Sequence[Size], kernel: Sequence[Size], stride: Sequence[Size], padding: Sequence[Size],
    dilation: Sequence[Size],
) -> list[Size]:  # fmt: skip
    """How many windows fit: (s + 2 padding - dilation (k - 1) - 1) // stride + 1."""
    return [
        (s + 2 * p - d * (k - 1) - 1) // step + 1
        for s, k, step, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True)
    ]


def space_of(x: Value, space: int) -> tuple[Size, ...]:
    """The sizes of the last `space` axes."""
    return dims(x)[rank(x) - space :]


def weighted_sums(op: Builder, x: Value, axis: int, weights: Value) -> Value:
    """Sums over one axis: [*A, S, *B], [S', S] -> [*A, S', *B]."""
    sizes = dims(x)
    behind = sizes[axis + 1 :]
    if 0 in [size for size in sizes if type(size) is int]:  # the runtime multiplies no empty batch by a matrix
        return op.expand(op.constant(0, x.dtype), [*sizes[:axis], dims(weights)[0], *behind])
    if not behind:
        return op.MatMul(x, op.transpose(weights, [1, 0]))
    x = op.reshape(x, [*sizes[: axis + 1], product(behind)])
    return op.reshape(op.MatMul(weights, x), [*sizes[:axis], dims(weights)[0], *behind])
