"""Overloads that torch composes in C++ of others by plain sizes, here composed by symbolic ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from exporter.capture.handlers import handles
from exporter.capture.recorder import Recorder

aten = torch.ops.aten


def _is_open(tensor: torch.Tensor) -> bool:
    return any(isinstance(size, torch.SymInt) for size in tensor.shape)


@handles(aten._shape_as_tensor.default)
def shape_as_tensor(recorder: Recorder, func: Any, tensor: torch.Tensor) -> torch.Tensor:
    """[*S] -> [rank], the sizes."""
    with recorder:
        return torch.tensor(list(tensor.shape))


@handles(aten.linalg_matrix_norm.default, aten.linalg_matrix_norm.str_ord)
def matrix_norm(
    recorder: Recorder, func: Any, matrix: torch.Tensor, ord: Any = "fro", dim: Sequence[int] = (-2, -1),
    keepdim: bool = False, *, dtype: torch.dtype | None = None,
) -> torch.Tensor:  # fmt: skip
    """[*B, N, M] -> [*B]: of all elements, of the largest or smallest row or column, or of the singular values."""
    rows, columns = (axis % matrix.ndim for axis in dim)
    with recorder:
        values = matrix if dtype is None else matrix.to(dtype)
        if ord == "fro":
            return torch.linalg.vector_norm(values, 2, (rows, columns), keepdim)
        if ord == "nuc" or abs(ord) == 2:
            found = torch.linalg.svdvals(values.movedim((rows, columns), (-2, -1)))
            norm = found.sum(-1) if ord == "nuc" else _extreme(found, -1, ord)
            return norm.unsqueeze(min(rows, columns)).unsqueeze(max(rows, columns)) if keepdim else norm
        summed, picked = (rows, columns) if abs(ord) == 1 else (columns, rows)
        sums = values.abs().sum(summed, keepdim=True)
        norm = _extreme(sums, picked, ord, keepdim=True)
        return norm if keepdim else norm.squeeze((rows, columns))


def _extreme(values: torch.Tensor, dim: int, ord: float, keepdim: bool = False) -> torch.Tensor:
    """The greatest along a dim for a positive order, else the least; 0 of nothing."""
    if values.shape[dim] == 0:
        return values.sum(dim, keepdim=keepdim)
    return values.amax(dim, keepdim) if ord > 0 else values.amin(dim, keepdim)


@handles(aten.linalg_norm.default, aten.linalg_norm.ord_str)
def norm(
    recorder: Recorder, func: Any, tensor: torch.Tensor, ord: Any = None, dim: Sequence[int] | None = None,
    keepdim: bool = False, *, dtype: torch.dtype | None = None,
) -> torch.Tensor:  # fmt: skip
    """[*S] -> [*S] without the dims: of a matrix by an order where there are two dims, else of all the elements."""
    with recorder:
        is_matrix = tensor.ndim == 2 if dim is None else len(dim) == 2
        if ord is not None and is_matrix:
            return torch.linalg.matrix_norm(tensor, ord, (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
        return torch.linalg.vector_norm(tensor, 2 if ord is None else ord, dim, keepdim, dtype=dtype)


@handles(aten.gradient.scalarint, aten.gradient.scalararray, aten.gradient.array)
def gradient(
    recorder: Recorder, func: Any, tensor: torch.Tensor, *, spacing: Any = None, dim: Any = None, edge_order: int = 1
) -> list[torch.Tensor]:  # fmt: skip
    """[*S] -> [*S] for each dim: half of what lies between both neighbours; at the ends, of one or two steps."""
    if not _is_open(tensor):
        given = {"spacing": spacing, "dim": dim, "edge_order": edge_order}
        names = {argument.name for argument in func._schema.arguments}
        return recorder.call(func, (tensor,), {k: v for k, v in given.items() if k in names})
    axes = range(tensor.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    with recorder:
        return [_slope(tensor, axis, 1 if spacing is None else spacing, edge_order) for axis in axes]


def _slope(tensor: torch.Tensor, axis: int, spacing: float, edge_order: int) -> torch.Tensor:
    size = tensor.shape[axis]

    def part(start: Any, length: Any) -> torch.Tensor:
        return tensor.narrow(axis, start, length)

    inside = (part(2, size - 2) - part(0, size - 2)) / 2
    first, last = part(1, 1) - part(0, 1), part(size - 1, 1) - part(size - 2, 1)
    if edge_order == 2:
        first = 2 * part(1, 1) - 1.5 * part(0, 1) - 0.5 * part(2, 1)
        last = 1.5 * part(size - 1, 1) - 2 * part(size - 2, 1) + 0.5 * part(size - 3, 1)
    return torch.cat([first, inside, last], axis) / spacing


@handles(aten.linalg_vander.default)
def vander(recorder: Recorder, func: Any, x: torch.Tensor, *, N: Any = None) -> torch.Tensor:
    """[*B, n] -> [*B, n, N], the powers from 0 on; rank 0 counts as [1]."""
    with recorder:
        x = x if x.ndim else x.unsqueeze(0)
        return x.unsqueeze(-1) ** torch.arange(x.shape[-1] if N is None else N)


@handles(aten.vander.default)
def falling_vander(
    recorder: Recorder, func: Any, x: torch.Tensor, N: Any = None, increasing: bool = False
) -> torch.Tensor:  # fmt: skip
    """[n] -> [n, N], the powers down to 0."""
    powers = vander(recorder, func, x, N=N)
    with recorder:
        return powers if increasing else powers.flip(-1)


@handles(aten._native_multi_head_attention.default)
def native_multi_head_attention(
    recorder: Recorder, func: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, embed_dim: int,
    num_head: int, qkv_weight: torch.Tensor, qkv_bias: torch.Tensor, proj_weight: torch.Tensor,
    proj_bias: torch.Tensor, mask: torch.Tensor | None = None, need_weights: bool = True,
    average_attn_weights: bool = True, mask_type: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """[B, L, E], [B, S, E], [B, S, E] -> [B, L, E] and the weights; what a trace in eval mode has of attention.

    A mask is of [L, S] (type 0), of keys, [B, S] (1), or of [B, heads, L, S] (2); True is left out.
    """
    with recorder:
        projected = [
            torch.nn.functional.linear(x, weight, bias).unflatten(-1, (num_head, -1)).transpose(1, 2)
            for x, weight, bias in zip((query, key, value), qkv_weight.chunk(3), qkv_bias.chunk(3), strict=True)
        ]
        q, k, v = projected
        scores = q @ k.transpose(-2, -1) / (embed_dim // num_head) ** 0.5
        if mask is not None:
            hidden = mask.bool() if mask_type != 1 else mask.bool()[:, None, None, :]
            scores = scores.masked_fill(hidden, float("-inf"))
        weights = scores.softmax(-1)
        output = torch.nn.functional.linear((weights @ v).transpose(1, 2).flatten(2), proj_weight, proj_bias)
        if not need_weights:
            weights = query.new_empty(0)
        return output, weights.mean(1) if need_weights and average_attn_weights else weights


@handles(aten._transformer_encoder_layer_fwd.default)
def transformer_encoder_layer(
    recorder: Recorder, func: Any, src: torch.Tensor, embed_dim: int, num_heads: int, qkv_weight: torch.Tensor,
    qkv_bias: torch.Tensor, proj_weight: torch.Tensor, proj_bias: torch.Tensor, use_gelu: bool, norm_first: bool,
    eps: float, norm_weight_1: torch.Tensor, norm_bias_1: torch.Tensor, norm_weight_2: torch.Tensor,
    norm_bias_2: torch.Tensor, ffn_weight_1: torch.Tensor, ffn_bias_1: torch.Tensor, ffn_weight_2: torch.Tensor,
    ffn_bias_2: torch.Tensor, mask: torch.Tensor | None = None, mask_type: int | None = None,
) -> torch.Tensor:  # fmt: skip
    """[B, L, E] -> [B, L, E]; what a trace in eval mode has of a whole layer."""
    functional = torch.nn.functional

    def attended(x: torch.Tensor) -> torch.Tensor:
        output, _ = torch.ops.aten._native_multi_head_attention.default(
            x, x, x, embed_dim, num_heads, qkv_weight, qkv_bias, proj_weight, proj_bias, mask, False, True, mask_type
        )
        return output

    def fed(x: torch.Tensor) -> torch.Tensor:
        inner = functional.linear(x, ffn_weight_1, ffn_bias_1)
        return functional.linear(functional.gelu(inner) if use_gelu else inner.relu(), ffn_weight_2, ffn_bias_2)

    def normed(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x, (embed_dim,), weight, bias, eps)

    with recorder:
        if norm_first:
            src = src + attended(normed(src, norm_weight_1, norm_bias_1))
            return src + fed(normed(src, norm_weight_2, norm_bias_2))
        src = normed(src + attended(src), norm_weight_1, norm_bias_1)
        return normed(src + fed(src), norm_weight_2, norm_bias_2)
