"""Attention."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.errors import UnsupportedArgument
from aten_lowering.registry import lowers
from aten_lowering.rules.matrices import scaled, transposed
from aten_lowering.rules.randoms import dropped
from shape_inference import Size, same

aten = torch.ops.aten

# So low that its exponential is 0 beside any score, and that adding a score leaves it finite.
_LOWEST = {ir.DataType.FLOAT16: -3e4}
_LOWEST_OF_OTHERS = -1.5e38
# Causal masks of more elements than this are computed by the model.
_MASK_LIMIT = 1 << 14
# The dtypes for which runtimes have the Attention op.
_FUSED = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
# onnxruntime's Attention takes a row that is nowhere above this for one without any key.
_TAKEN_FOR_INFINITE = -1e4
# Ops whose results are finite wherever the model makes sense.
_FINITE = frozenset({"MatMul", "Gemm", "Conv", "Einsum", "Softmax", "Sigmoid", "Tanh", "LayerNormalization"})


@lowers(aten.scaled_dot_product_attention.default)
def scaled_dot_product_attention(
    op: Builder, query: Value, key: Value, value: Value, attn_mask: Value | None, dropout_p: float,
    is_causal: bool, scale: Any, enable_gqa: bool,
) -> Value:  # fmt: skip
    """[*B, L, E], [*B, S, E], [*B, S, Ev] -> [*B, L, Ev], `softmax(q k^T scale + mask) v`.

    A row whose every key is masked gives zeros, as in torch. With `enable_gqa`, key and value have
    fewer heads, each for several heads of the query.
    """
    if _is_one_op(op, query, key, value, attn_mask, dropout_p, scale):
        return op.Attention(query, key, value, attn_mask, scale=scale, is_causal=int(is_causal) or None)
    call = _Call(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)
    return _attend(op, call).output


@lowers(aten._scaled_dot_product_flash_attention_for_cpu.default)
def scaled_dot_product_flash_attention_for_cpu(
    op: Builder, query: Value, key: Value, value: Value, dropout_p: float, is_causal: bool,
    attn_mask: Value | None, scale: Any,
) -> tuple[Value, Value]:  # fmt: skip
    """[*B, L, E], [*B, S, E], [*B, S, Ev] -> [*B, L, Ev], and the logarithms of the sums [*B, L]."""
    call = _Call(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa=False)
    attended = _attend(op, call)
    return attended.output, op.reduce("ReduceLogSumExp", attended.scores, [-1])


@lowers(aten._scaled_dot_product_attention_math.default)
def scaled_dot_product_attention_math(
    op: Builder, query: Value, key: Value, value: Value, attn_mask: Value | None, dropout_p: float,
    is_causal: bool, scale: Any, enable_gqa: bool,
) -> tuple[Value, Value]:  # fmt: skip
    """[*B, L, E], [*B, S, E], [*B, S, Ev] -> [*B, L, Ev], and the weights [*B, L, S]."""
    call = _Call(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)
    attended = _attend(op, call)
    return attended.output, attended.weights


class _Call(NamedTuple):
    query: Value
    key: Value
    value: Value
    mask: Value | None
    dropout: float
    is_causal: bool
    scale: Any
    enable_gqa: bool


class _Attended(NamedTuple):
    output: Value
    weights: Value
    scores: Value


def _is_one_op(
    op: Builder, query: Value, key: Value, value: Value, mask: Value | None, dropout_p: float, scale: Any
) -> bool:  # fmt: skip
    """Whether the opset has an op for it, and runtimes a kernel that gives what torch gives.

    onnxruntime's gives zeros for a row that a float mask lowers everywhere by a finite number, too.
    """
    if op.opset_version < 23 or rank(query) != 4 or dtype(query) not in _FUSED or dropout_p:
        return False
    if not (scale is None or type(scale) in (int, float)):
        return False
    if mask is not None and (rank(mask) < 2 or dims(mask)[-1] != dims(key)[-2] or dims(mask)[-2] != dims(query)[-2]):
        return False
    if mask is not None and _may_hold(op, mask, _TAKEN_FOR_INFINITE, set()):
        return False
    return all(rank(other) == 4 and same(dims(query)[0], dims(other)[0]) is True for other in (key, value))


def _attend(op: Builder, call: _Call) -> _Attended:
    """The fewest nodes, in a form that runtimes fuse: the scale at the query, one product with k^T.

    In grouped attention, the heads of the query that share one head of the key are more rows of it:
    [*B, H L, E] = [*B, G, H/G L, E], which copies nothing.
    """
    query, key, value = call.query, call.key, call.value
    length, steps = dims(query)[-2], dims(key)[-2]
    heads = dims(query)[:-2]
    grouped = call.enable_gqa and rank(query) > 2 and dims(query)[-3] != dims(key)[-3]
    rows: list[Size] = [*heads, length]
    if grouped:
        rows = [*dims(key)[:-2], heads[-1] // dims(key)[-3] * length]
        query = op.reshape(query, [*rows, dims(query)[-1]])
    scores = op.MatMul(_scaled(op, query, call.scale), transposed(op, key))
    added, kept = _masks(op, call)
    if grouped and added is not None:
        scores = op.reshape(scores, [*heads, length, steps])
    if added is not None:
        scores = op.Add(scores, added)
    weights = op.Softmax(scores, axis=-1)
    if call.dropout:
        weights, _ = dropped(op, weights, call.dropout)
    output = op.MatMul(op.reshape(weights, [*rows, steps]) if grouped and added is not None else weights, value)
    if grouped:
        output = op.reshape(output, [*heads, length, dims(value)[-1]])
    return _Attended(output if kept is None else op.Mul(output, kept), weights, scores)


def _scaled(op: Builder, query: Value, scale: Any) -> Value:
    """The query times the scale, 1 / sqrt(E) where none is given."""
    size = dims(query)[-1]
    if scale is not None:
        return scaled(op, query, scale)
    if type(size) is int:
        return scaled(op, query, 1 / math.sqrt(max(size, 1)))
    return op.Div(query, op.Sqrt(op.scalar(size, dtype(query))))


def _masks(op: Builder, call: _Call) -> tuple[Value | None, Value | None]:
    """What is added to the scores, and what the output is multiplied by: 0 for rows without any key."""
    mask, kind = call.mask, dtype(call.query)
    if call.is_causal:
        if mask is not None:
            raise UnsupportedArgument(
                "aten.scaled_dot_product_attention.default: attn_mask must be None beside is_causal"
            )
        return _causal(op, dims(call.query)[-2], dims(call.key)[-2], kind), None
    if mask is None:
        return None, None
    if dtype(mask) == ir.DataType.BOOL:
        lowest = op.constant(_LOWEST.get(kind, _LOWEST_OF_OTHERS), kind)
        added = op.Where(mask, op.constant(0.0, kind), lowest)
        return added, op.Exp(op.reduce("ReduceMax", added, [-1], keepdims=True))
    mask = op.cast(mask, kind)
    if not _may_hold(op, mask, -math.inf, set()):
        return mask, None
    zero = op.constant(0.0, kind)
    empty = op.Equal(op.reduce("ReduceMax", mask, [-1], keepdims=True), op.constant(-math.inf, kind))
    return op.Where(empty, zero, mask), op.Where(empty, zero, op.constant(1.0, kind))


def _causal(op: Builder, length: Size, steps: Size, kind: ir.DataType) -> Value:
    """[L, S], 0 where the key is not after the query, else -inf."""
    if type(length) is int and type(steps) is int and length * steps <= _MASK_LIMIT:
        future = torch.ones(length, steps, dtype=torch.bool).triu(1)
        return op.constant(torch.zeros(length, steps).masked_fill(future, -math.inf).numpy(), kind)
    everywhere = op.expand(op.constant(-math.inf, kind), [length, steps])
    return op.Trilu(everywhere, 1, upper=1)


def _may_hold(op: Builder, value: Value, lowest: float, seen: set[Value]) -> bool:
    """Whether a float mask may hold a number so low, as far as the nodes that made it tell; weights do not."""
    if value in seen or value.dtype is None or not value.dtype.is_floating_point():
        return False
    seen.add(value)
    node = value.producer()
    if node is None:
        content = op.content(value)
        return value.const_value is None or (content is not None and min(content, default=0.0) <= lowest)
    if node.op_type in _FINITE:
        return False
    return any(_may_hold(op, item, lowest, seen) for item in node.inputs if item is not None)
