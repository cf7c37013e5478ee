"""com.microsoft: sparse attention and its indexers, recurrent states, hashes of tokens, and the rest that is rare."""

from __future__ import annotations

import onnx_ir as ir

from shape_inference.contents import count
from shape_inference.dims import Size, product
from shape_inference.registry import Call, infers
from shape_inference.types import TensorType, Type

Types = tuple[Type | None, ...]
Shape = tuple[Size, ...]

_MS = "com.microsoft"
_INT32, _INT64 = ir.DataType.INT32, ir.DataType.INT64


def _requests(call: Call, index: int) -> Size:
    """How many requests are packed: the offsets are one more."""
    offsets = call.optional(index)
    return offsets.shape[0] - 1 if offsets is not None and offsets.shape else call.fresh("requests")


def _state(call: Call, index: int) -> TensorType | None:
    """The type of a state, which is what it was."""
    past = call.optional(index)
    return None if past is None else TensorType(past.dtype, past.shape)


@infers("DynamicSparseAttention", domain=_MS)
def dynamic_sparse_attention(call: Call) -> Types:
    """Attend where it is said: [B, L, W], …, caches [B, K, P, E] -> [B, L, H*E], caches [B, K, ?, E].

    W is H*E for a query alone, (H + 2*K)*E for one packed with its K keys and values.
    """
    q, past = call.tensor(0), call.optional(3)
    heads, groups = call.required("num_heads"), call.required("kv_num_heads")
    if q.shape is None:
        return TensorType(q.dtype, call.unknown_shape(3, "attention")), None, None
    size = q.shape[2] // (heads if call.has(1) else heads + 2 * groups)
    total = call.fresh("total") if call.output_count > 1 else 0
    cache = TensorType(q.dtype if past is None else past.dtype, (q.shape[0], groups, total, size))
    return TensorType(q.dtype, (*q.shape[:2], size * heads)), cache, cache


def _selected(call: Call) -> Size:
    """How many entries an indexer selects at most."""
    if call.required("policy_mode") == "csa":
        most: Size = call.required("index_topk")
        return most
    chosen: Size = call.required("token_budget") + call.required("compress_ratio") - 1
    return chosen


@infers("SparseAttentionIndexer", domain=_MS)
def sparse_attention_indexer(call: Call) -> Types:
    """Select what to attend to: [B, L, H*E], …, keys [B, P, E] -> [B, L, most], INT32, keys [B, P', E], a buffer.

    P' is P + L for raw keys ("qsa"), and P where a length says how far the keys are filled.
    """
    q, past, buffer = call.tensor(0), call.tensor(7), call.optional(13)
    if q.shape is None or past.shape is None:
        return TensorType(_INT32, call.unknown_shape(3, "selected")), TensorType(past.dtype, past.shape)
    batch, filled, size = past.shape
    if not call.has(12):
        filled = filled + q.shape[1] if call.required("policy_mode") == "qsa" else call.fresh("keys")
    found = TensorType(_INT32, (*q.shape[:2], _selected(call))), TensorType(past.dtype, (batch, filled, size))
    if buffer is None or buffer.shape is None or call.output_count < 3:
        return found
    return *found, TensorType(buffer.dtype, (2, batch, call.fresh("buffered"), buffer.shape[3]))


@infers("PackedSparseAttentionIndexer", domain=_MS)
def packed_sparse_attention_indexer(call: Call) -> Types:
    """Select for packed requests: [T, H*E], … -> [T, most] and [T], INT32, the states as they are, [B, C, E]."""
    q, keys = call.tensor(0), call.tensor(12)
    tokens = q.shape[0] if q.shape else call.fresh("tokens")
    states = [_state(call, index) for index in (12, 13, 14, 15)]
    update = None
    if keys.shape is not None:
        update = TensorType(keys.dtype, (keys.shape[0], call.attribute("state_update_capacity", 0), keys.shape[2]))
    return TensorType(_INT32, (tokens, _selected(call))), TensorType(_INT32, (tokens,)), *states, update


@infers("GatedDeltaNet", domain=_MS)
def gated_delta_net(call: Call) -> Types:
    """Attend linearly: [*T, H, E], [*T, H, E], [*T, G, F] -> [*T, max(H, G), F], state [B, G, F, E], its changes.

    Query, key and value may be packed as [T, 2*H*E + G*F]; the state says then what G, F and E are.
    """
    q, v, past = call.tensor(0), call.optional(2), call.optional(6)
    if q.shape is None:
        return TensorType(q.dtype, None), _state(call, 6)
    if v is None:
        if past is None or past.shape is None:
            return TensorType(q.dtype, call.unknown_shape(3, "attention")), _state(call, 6)
        batch, groups, value_size, size = past.shape
        heads: Size = (q.shape[1] - groups * value_size) // (2 * size)
        lead = q.shape[:1]
    else:
        if v.shape is None:
            return TensorType(q.dtype, None), _state(call, 6)
        lead, (heads, size), (groups, value_size) = q.shape[:-2], q.shape[-2:], v.shape[-2:]
        batch = q.shape[0] if len(q.shape) == 4 else _requests(call, 3)
        if past is not None and past.shape is not None:
            batch = past.shape[0]
    dtype = q.dtype if past is None else past.dtype
    changes = (groups + heads * size + groups * value_size) * call.attribute("state_update_capacity", 0)
    return (
        TensorType(q.dtype, (*lead, groups, value_size)),  # G is a multiple of H
        TensorType(dtype, (batch, groups, value_size, size)),
        TensorType(dtype, (batch, changes)),
    )


@infers("VarlenCausalConvWithState", domain=_MS)
def varlen_causal_conv_with_state(call: Call) -> Types:
    """Convolve packed requests in time: [T, C], [C, 1, k], … -> [T, C], the state as it was, its changes [B, n, C]."""
    x = call.tensor(0)
    channels = call.fresh("channels") if x.shape is None else x.shape[1]
    dims = (_requests(call, 2), call.attribute("state_update_capacity", 0), channels)
    return TensorType(x.dtype, x.shape), _state(call, 4), TensorType(x.dtype, dims)


@infers("NGramHashMapping", domain=_MS)
def n_gram_hash_mapping(call: Call) -> Types:
    """Hash what precedes each token: [B, L] -> [B, L, (n - 1)*heads], the last ids [B, n - 1]."""
    ids = call.tensor(0)
    before = call.required("max_ngram_size") - 1
    dims = call.unknown_shape(2, "tokens") if ids.shape is None else ids.shape
    hashes = before * call.required("n_head_per_ngram")
    return TensorType(ids.dtype, (*dims, hashes)), TensorType(ids.dtype, (dims[0], before))


@infers("VarlenNGramHashMapping", domain=_MS)
def varlen_n_gram_hash_mapping(call: Call) -> Types:
    """Hash in packed requests: [T] -> [T, (n - 1)*heads], the last ids and segments [B, n - 1], [B, c, n - 1]."""
    ids = call.tensor(0)
    before, batch = call.required("max_ngram_size") - 1, _requests(call, 3)
    dims = call.unknown_shape(1, "tokens") if ids.shape is None else ids.shape
    return (
        TensorType(ids.dtype, (*dims, before * call.required("n_head_per_ngram"))),
        TensorType(ids.dtype, (batch, before)),
        TensorType(_INT32, (batch, before)),
        TensorType(ids.dtype, (batch, call.attribute("state_update_capacity", 0), before)),
    )


@infers("BifurcationDetector", domain=_MS)
def bifurcation_detector(call: Call) -> Types:
    """Merge predicted tokens: source, current [L], a place, predicted -> as many as agree, the place."""
    current, place = call.tensor(1), call.tensor(2)
    return TensorType(current.dtype, (call.fresh("tokens"),)), TensorType(place.dtype, place.shape)


@infers("HyperConnectionPreMix", domain=_MS)
def hyper_connection_pre_mix(call: Call) -> Types:
    """Add up C streams: [*L, C, H] -> [*L, H]; they may be one axis of C*H."""
    x = call.tensor(0)
    if x.shape is None:
        return (TensorType(x.dtype, None),)
    branches = call.attribute("num_branches", 0)
    if branches:
        return (TensorType(x.dtype, (*x.shape[:-1], x.shape[-1] // branches)),)
    return (TensorType(x.dtype, x.shape[:-2] + x.shape[-1:]),)


@infers("HyperConnectionPostMix", domain=_MS)
def hyper_connection_post_mix(call: Call) -> Types:
    """Mix streams: [*S] -> [*S]."""
    x = call.tensor(0)
    return (TensorType(x.dtype, x.shape),)


@infers("AttnLSTM", domain=_MS)
def attn_lstm(call: Call) -> Types:
    """Run an LSTM with attention: [T, B, I], …, R [D, 4*H, H] -> [T, D, B, H], [D, B, H] twice."""
    x, r = call.tensor(0), call.tensor(2)
    directions = 2 if call.attribute("direction", "forward") == "bidirectional" else 1
    time, batch = call.unknown_shape(2, "attention") if x.shape is None else x.shape[:2]
    hidden: Size | None = call.attribute("hidden_size")
    if hidden is None:
        hidden = call.fresh("hidden") if r.shape is None else r.shape[2]
    state = TensorType(x.dtype, (directions, batch, hidden))
    return TensorType(x.dtype, (time, directions, batch, hidden)), state, state


@infers("WordConvEmbedding", domain=_MS)
def word_conv_embedding(call: Call) -> Types:
    """Embed words by their letters: [L, letters], W [F, 1, window, E] -> [L, F]."""
    words, w = call.tensor(0), call.tensor(1)
    if not words.shape or not w.shape:
        return (TensorType(w.dtype, call.unknown_shape(2, "words")),)
    return (TensorType(w.dtype, (words.shape[0], w.shape[0])),)


@infers("QuantizeBFP", domain=_MS)
def quantize_bfp(call: Call) -> Types:
    """Quantize in blocks: [*S] -> bytes, the contents S, and its strides."""
    x = call.tensor(0)
    data = TensorType(ir.DataType.UINT8, (call.fresh("bytes"),))
    if x.shape is None:
        return data, None, None
    rank = len(x.shape)
    strides = tuple([product(x.shape[axis + 1 :]) for axis in range(rank)])
    return data, TensorType(_INT64, (rank,), x.shape), TensorType(_INT64, (rank,), strides)


@infers("DequantizeBFP", domain=_MS)
def dequantize_bfp(call: Call) -> Types:
    """Put back what was quantized in blocks: bytes, a shape [r], its strides -> its contents."""
    dims, rank = call.sizes(1), count(call.tensor(1).shape)
    if dims is None and rank is not None:
        dims = call.unknown_shape(rank, "dim")
    return (TensorType(ir.DataType(call.attribute("dtype", 1)), dims),)
