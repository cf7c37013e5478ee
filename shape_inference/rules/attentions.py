"""Attention and what goes with it, as ONNX's own operators."""

from __future__ import annotations

from shape_inference.broadcasting import unified
from shape_inference.dims import Size
from shape_inference.registry import Call, infers
from shape_inference.types import TensorType, Type

Types = tuple[Type | None, ...]


@infers("Attention")
def attention(call: Call) -> Types:
    """Attend: Q [B, H, L, E], K [B, G, S, E], V [B, G, S, F] -> [B, H, L, F].

    Also the caches [B, G, P+S, E] and [B, G, P+S, F], and the scores [B, H, L, P+S]; rank-3
    inputs are [B, L, H*E] and so is the result.
    """
    q, k, v = call.tensor(0), call.tensor(1), call.tensor(2)
    if q.shape is None or k.shape is None or v.shape is None:
        rank = None if q.shape is None else len(q.shape)
        dims = None if rank is None else call.unknown_shape(rank, "attention")
        caches = TensorType(k.dtype, None), TensorType(v.dtype, None)
        return TensorType(q.dtype, dims), *caches, TensorType(q.dtype, None)
    for name, tensor in (("Q", q), ("K", k), ("V", v)):
        if tensor.shape is not None and len(tensor.shape) not in (3, 4):
            call.fail(f"{name} must have rank 3 or 4", tensor)
    batch, heads, length, size = _heads(call, q, "q_num_heads")
    _, kv_heads, steps, key_size = _heads(call, k, "kv_num_heads")
    _, _, _, value_size = _heads(call, v, "kv_num_heads")
    unified(call, size, key_size, "the head sizes of Q and K")
    past = call.optional(4)
    total = steps
    if past is not None:
        total = call.fresh("total") if past.shape is None else past.shape[2] + steps
    if len(q.shape) == 3:
        dims = (batch, length, heads * value_size)
    else:
        dims = (batch, heads, length, value_size)
    return (
        TensorType(q.dtype, dims),
        TensorType(k.dtype, (batch, kv_heads, total, key_size)),
        TensorType(v.dtype, (batch, kv_heads, total, value_size)),
        TensorType(q.dtype, (batch, heads, length, total)),
    )


def _heads(call: Call, x: TensorType, attribute: str) -> tuple[Size, Size, Size, Size]:
    """Batch, heads, length and head size of a tensor of rank 3 or 4."""
    dims = x.shape or ()
    if len(dims) == 4:
        return dims
    heads = call.required(attribute)
    return dims[0], heads, dims[1], dims[2] // heads


@infers("RotaryEmbedding")
def rotary_embedding(call: Call) -> Types:
    """Rotate by position: [*S] -> [*S]."""
    x = call.tensor(0)
    if x.shape is not None and len(x.shape) not in (3, 4):
        call.fail("X must have rank 3 or 4", x)
    return (TensorType(x.dtype, x.shape),)


@infers("LinearAttention")
def linear_attention(call: Call) -> Types:
    """Attend linearly: [B, T, H*E], [B, T, G*E], [B, T, G*F] -> [B, T, H*F], state [B, G, E, F]."""
    q, k, v = call.tensor(0), call.tensor(1), call.tensor(2)
    state = call.optional(3)
    state_dtype = q.dtype if state is None else state.dtype
    if q.shape is None or k.shape is None or v.shape is None:
        return TensorType(q.dtype, None), TensorType(state_dtype, None)
    heads, groups = call.required("q_num_heads"), call.required("kv_num_heads")
    key_size, value_size = k.shape[2] // groups, v.shape[2] // groups
    return (
        TensorType(q.dtype, (*q.shape[:2], value_size * heads)),
        TensorType(state_dtype, (q.shape[0], groups, key_size, value_size)),
    )


@infers("CausalConvWithState")
def causal_conv_with_state(call: Call) -> Types:
    """Convolve in time: [B, C, L], [C, 1, k] -> [B, C, L], state [B, C, k-1]."""
    x, w = call.tensor(0), call.tensor(1)
    if x.shape is None or w.shape is None:
        return TensorType(x.dtype, x.shape), TensorType(x.dtype, None)
    return (
        TensorType(x.dtype, x.shape),
        TensorType(x.dtype, (*x.shape[:2], w.shape[2] - 1)),
    )


@infers("SwiGLU")
def swiglu(call: Call) -> Types:
    """Gate: [*S], [*S] -> [*S]."""
    a, b = call.tensor(0), call.tensor(1)
    if a.shape is None or b.shape is None:
        return (TensorType(a.dtype, a.shape or b.shape),)
    if len(a.shape) != len(b.shape):
        call.fail("A and B must have the same shape", f"{a} and {b}")
    dims = tuple(unified(call, x, y) for x, y in zip(a.shape, b.shape, strict=True))
    return (TensorType(a.dtype, dims),)
