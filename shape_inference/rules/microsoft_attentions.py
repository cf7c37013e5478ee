"""com.microsoft: attention, as onnxruntime's fused models have it."""

from __future__ import annotations

import onnx_ir as ir

from shape_inference.dims import Size, larger
from shape_inference.registry import Call, infers
from shape_inference.types import TensorType, Type

Types = tuple[Type | None, ...]

_MS = "com.microsoft"


@infers("Attention", "DecoderMaskedSelfAttention", domain=_MS)
def attention(call: Call) -> Types:
    """Project and attend: [B, L, I], [I, H*(E+E+F)] -> [B, L, H*F], cache [2, B, H, P+L, E]."""
    x, weights = call.tensor(0), call.tensor(1)
    return _projected(call, x, weights, x.dtype, past=4, widths=call.attribute("qkv_hidden_sizes"))


@infers("QAttention", domain=_MS)
def qattention(call: Call) -> Types:
    """Project and attend, quantized: [B, L, I], [I, 3*H*E] -> [B, L, H*E], cache [2, B, H, P+L, E]."""
    x, weights = call.tensor(0), call.tensor(1)
    return _projected(call, x, weights, call.tensor(3).dtype, past=8, widths=None)


def _projected(call: Call, x: TensorType, weights: TensorType, dtype: ir.DataType, past: int, widths: object) -> Types:
    if x.shape is None or weights.shape is None:
        return TensorType(dtype, call.unknown_shape(3, "attention")), TensorType(dtype, None)
    if len(x.shape) != 3:
        call.fail("input must have rank 3", x)
    batch, length, _ = x.shape
    heads = call.required("num_heads")
    if isinstance(widths, (list, tuple)) and widths:
        width: Size = widths[2]
        key_width: Size = widths[1]
    else:
        width = key_width = weights.shape[1] // 3
    cache = call.optional(past)
    total: Size = length
    if cache is not None and cache.shape is not None:
        shared = call.attribute("past_present_share_buffer", 0)
        total = cache.shape[3] if shared else cache.shape[3] + length
    present = (2, batch, heads, total, key_width // heads)
    return TensorType(dtype, (batch, length, width)), TensorType(dtype, present)


@infers("MultiHeadAttention", "DecoderMaskedMultiHeadAttention", domain=_MS)
def multi_head_attention(call: Call) -> Types:
    """Attend: [B, L, H*E], [B, S, H*E], [B, S, H*F] -> [B, L, H*F], caches [B, H, P+S, E].

    Query, key and value may be packed as [B, L, H, 3, E], key and value as [B, S, H, 2, E];
    key and value of rank 4 are [B, H, S, E].
    """
    q, k, v = call.tensor(0), call.optional(1), call.optional(2)
    heads = call.required("num_heads")
    if q.shape is None:
        return (TensorType(q.dtype, call.unknown_shape(3, "attention")),)
    batch, length = q.shape[:2]
    steps: Size
    if len(q.shape) == 5:
        size, value_size, steps = q.shape[4], q.shape[4], length
    else:
        size = q.shape[2] // heads
        found = _key_value(call, size, k, v, heads)
        if found is None:
            return (TensorType(q.dtype, call.unknown_shape(3, "attention")),)
        steps, value_size = found
    masked = call.op_type == "DecoderMaskedMultiHeadAttention"
    past = call.optional(5 if masked else 6)
    shared = call.attribute("past_present_share_buffer", 0) or (not masked and call.has(8))
    total = steps
    if past is not None:
        if past.shape is None:
            total = call.fresh("total")
        else:
            total = past.shape[2] if shared else past.shape[2] + steps
    return (
        TensorType(q.dtype, (batch, length, value_size * heads)),
        TensorType(q.dtype, (batch, heads, total, size)),
        TensorType(q.dtype, (batch, heads, total, value_size)),
        TensorType(q.dtype, (batch, heads, length, total)),
    )


def _key_value(
    call: Call, size: Size, k: TensorType | None, v: TensorType | None, heads: int
) -> tuple[Size, Size] | None:
    """The length of the keys and the head size of the values; None where they are not known."""
    if k is None:
        call.fail("key must be given where the query is not packed")
    if k.shape is None:
        return None
    if len(k.shape) == 5:
        return k.shape[1], k.shape[4]
    if len(k.shape) == 4:
        return k.shape[2], size if v is None or v.shape is None else v.shape[3]
    if v is None or v.shape is None:
        return k.shape[1], size
    return k.shape[1], v.shape[3] if len(v.shape) == 4 else v.shape[2] // heads


@infers("GroupQueryAttention", "SparseAttention", domain=_MS)
def group_query_attention(call: Call) -> Types:
    """Attend: [B, L, H*E], [B, S, G*E], [B, S, G*E] -> [B, L, H*E], caches [B, G, max(P, T), E].

    T is what `total_sequence_length` holds. The query alone may be [B, L, (H + 2*G)*E].
    """
    q, k = call.tensor(0), call.optional(1)
    heads, groups = call.required("num_heads"), call.required("kv_num_heads")
    past = call.optional(3)
    cache_dtype = q.dtype if past is None else past.dtype
    if q.shape is None:
        unknown = TensorType(cache_dtype, call.unknown_shape(4, "present"))
        return TensorType(q.dtype, call.unknown_shape(3, "attention")), unknown, unknown
    batch, length, width = q.shape
    size = width // heads if k is not None else width // (heads + 2 * groups)
    dims = (batch, length, size * heads)
    if past is not None and past.shape is not None and call.op_type == "SparseAttention":
        present = past.shape
    else:
        present = (batch, groups, _total(call, past, length), size)
        if past is not None and past.shape is not None:
            present = (*present[:3], past.shape[3])
    cache = TensorType(cache_dtype, present)
    scores = TensorType(q.dtype, (batch, heads, length, present[2]))
    return TensorType(q.dtype, dims), cache, cache, scores


def _total(call: Call, past: TensorType | None, length: Size) -> Size:
    """The length of the cache after the call."""
    if call.attribute("sliding_window_cache", 0) and past is not None and past.shape is not None:
        return past.shape[2]
    known = call.sizes(6)
    if past is None and known is None:
        return length
    if known is None or (past is not None and past.shape is None):
        return call.fresh("total")
    return known[0] if past is None or past.shape is None else larger(past.shape[2], known[0])


@infers("DecoderAttention", domain=_MS)
def decoder_attention(call: Call) -> Types:
    """Attend: [L, B, I], key, weights [I, I] -> [L, B, I], caches [B, H, T, E]."""
    q = call.tensor(0)
    if q.shape is None:
        return (TensorType(q.dtype, None),)
    heads = call.required("num_heads")
    _, batch, width = q.shape
    cache = TensorType(q.dtype, (batch, heads, call.fresh("total"), width // heads))
    return TensorType(q.dtype, q.shape), cache, cache


@infers("PackedAttention", domain=_MS)
def packed_attention(call: Call) -> Types:
    """Attend to tokens of all sequences: [T, I], [I, 3*H*E] -> [T, H*F]."""
    x, weights = call.tensor(0), call.tensor(1)
    if x.shape is None or weights.shape is None:
        return (TensorType(x.dtype, call.unknown_shape(2, "attention")),)
    widths = call.attribute("qkv_hidden_sizes")
    width = widths[2] if widths else weights.shape[1] // 3
    return (TensorType(x.dtype, (x.shape[0], width)),)


@infers("PackedMultiHeadAttention", domain=_MS)
def packed_multi_head_attention(call: Call) -> Types:
    """Attend to tokens of all sequences: [T, H*E], key, value [T, H*F] -> [T, H*F]."""
    q, v = call.tensor(0), call.optional(2)
    if q.shape is None:
        return (TensorType(q.dtype, call.unknown_shape(2, "attention")),)
    if v is not None and v.shape is not None:
        return (TensorType(q.dtype, (q.shape[0], v.shape[1])),)
    width = q.shape[1] * q.shape[3] if len(q.shape) == 4 else q.shape[1]
    return (TensorType(q.dtype, (q.shape[0], width)),)


@infers("RemovePadding", domain=_MS)
def remove_padding(call: Call) -> Types:
    """Drop padding: [B, L, I] -> [T, I], offsets [B, L], sums [B + 1], the longest [1]."""
    x = call.tensor(0)
    if x.shape is None:
        return (TensorType(x.dtype, call.unknown_shape(2, "tokens")),)
    int32 = ir.DataType.INT32
    return (
        TensorType(x.dtype, (call.fresh("tokens"), x.shape[2])),
        TensorType(int32, x.shape[:2]),
        TensorType(int32, (x.shape[0] + 1,)),
        TensorType(int32, (1,)),
    )


@infers("RestorePadding", domain=_MS)
def restore_padding(call: Call) -> Types:
    """Put padding back: [T, I], offsets [B, L] -> [B, L, I]."""
    x, offsets = call.tensor(0), call.tensor(1)
    if x.shape is None or offsets.shape is None:
        return (TensorType(x.dtype, call.unknown_shape(3, "tokens")),)
    return (TensorType(x.dtype, (*offsets.shape, x.shape[1])),)


@infers("RelativePositionBias", domain=_MS)
def relative_position_bias(call: Call) -> Types:
    """Look biases up: [buckets, H], L, S -> [1, H, L, S]."""
    table, queries, keys = call.tensor(0), call.sizes(1), call.sizes(2)
    heads = call.fresh("heads") if table.shape is None else table.shape[1]
    length = call.fresh("length") if queries is None else queries[0]
    steps = call.fresh("length") if keys is None else keys[0]
    return (TensorType(table.dtype, (1, heads, length, steps)),)


@infers("GatedRelativePositionBias", domain=_MS)
def gated_relative_position_bias(call: Call) -> Types:
    """Gate biases: query [B, L, I], …, rel_pos [1, H, L, L] -> [B, H, L, L]."""
    q, positions = call.tensor(0), call.tensor(2)
    if q.shape is None or positions.shape is None:
        return (TensorType(q.dtype, call.unknown_shape(4, "bias")),)
    batch = call.fresh("batch") if call.has(6) else q.shape[0]
    return (TensorType(q.dtype, (batch, call.required("num_heads"), *positions.shape[2:])),)


@infers("LinearAttention", domain=_MS)
def linear_attention(call: Call) -> Types:
    """Attend: [B, T, H*E], [B, T, G*E], [B, T, G*F] -> [B, T, max(H, G)*F], state [B, G, E, F]."""
    q, k, v = call.tensor(0), call.tensor(1), call.tensor(2)
    if q.shape is None or k.shape is None or v.shape is None:
        return (TensorType(q.dtype, None),)
    heads, groups = call.required("q_num_heads"), call.required("kv_num_heads")
    value_size = v.shape[2] // groups
    state: tuple[Size, ...] = (q.shape[0], groups, q.shape[2] // heads, value_size)
    window = call.attribute("state_window", 0)
    if window:
        state = (window, *state)
    past = call.optional(3)
    state_dtype = q.dtype if past is None else past.dtype
    dims = (*q.shape[:2], value_size * max(heads, groups))
    return TensorType(q.dtype, dims), TensorType(state_dtype, state)


@infers("CausalConvWithState", domain=_MS)
def causal_conv_with_state(call: Call) -> Types:
    """Convolve in time: [B, C, L], [C, 1, k] -> [B, C, L], the state as it was."""
    x, past = call.tensor(0), call.optional(3)
    return TensorType(x.dtype, x.shape), TensorType(x.dtype, None if past is None else past.shape)


@infers("GemmaRotaryEmbedding", domain=_MS)
def gemma_rotary_embedding(call: Call) -> Types:
    """Rotate query and key: emb, q [B, H, L, E], …, k [B, G, L, E] -> as q and as k."""
    q, k = call.tensor(1), call.tensor(3)
    return TensorType(q.dtype, q.shape), TensorType(k.dtype, k.shape)


@infers("PagedAttention", "SparsePagedAttention", domain=_MS)
def paged_attention(call: Call) -> Types:
    """Attend over a cache in blocks: [T, W] -> [T, H*F], and the caches as they are.

    W is H*E for a query alone, (H + 2*K)*E for one packed with its K keys and values.
    """
    q, heads = call.tensor(0), call.required("num_heads")
    caches = [call.optional(3), call.optional(4)]
    if q.shape is None:
        return TensorType(q.dtype, call.unknown_shape(2, "attention")), *caches
    width = q.shape[1]
    if not call.has(1):
        width = width // (heads + 2 * call.required("kv_num_heads")) * heads
    narrower = call.attribute("v_head_size", 0)
    return TensorType(q.dtype, (q.shape[0], narrower * heads if narrower > 0 else width)), *caches
