"""com.microsoft: elementwise operators, normalizations and quantization."""

from __future__ import annotations

import onnx_ir as ir

from shape_inference.broadcasting import broadcast
from shape_inference.dims import ceil_div, product
from shape_inference.registry import Call, infers
from shape_inference.rules import joins, layouts, quantizations, reductions, resizing
from shape_inference.types import TensorType, Type

Types = tuple[Type | None, ...]

_MS = "com.microsoft"
_BOOL, _FLOAT, _INT32 = ir.DataType.BOOL, ir.DataType.FLOAT, ir.DataType.INT32

# One output, of the type and the shape of the first input.
SAME = (
    *("BiasAdd", "BiasGelu", "BiasSoftmax", "FastGelu", "GatedAdd"),
    *("GatedRMSNorm", "Gelu", "GroupNorm", "Inverse", "MoE", "MRotaryEmbedding"),
    *("QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax", "QMoE", "QOrderedAttention"),
    *("QOrderedGelu", "QOrderedLayerNormalization", "QuickGelu", "RotaryEmbedding", "ScaledSiLU"),
    *("SampleOp", "Trilu", "LongformerAttention", "QOrderedLongformerAttention"),
    *("BranchwiseRMSNorm", "EngramGate"),
)


@infers(*SAME, domain=_MS)
def same_as_first(call: Call) -> Types:
    """Keep the type and the shape: [*S] -> [*S]."""
    x = call.tensor(0)
    return (TensorType(x.dtype, x.shape),)


@infers("NGramRepeatBlock", domain=_MS)
def ngram_repeat_block(call: Call) -> Types:
    """Block repeated words: [B, L], scores [B, V] -> [B, V]."""
    scores = call.tensor(1)
    return (TensorType(scores.dtype, scores.shape),)


@infers("SimplifiedLayerNormalization")
def simplified_layer_normalization(call: Call) -> Types:
    """Normalize by the root mean square: [*L, *R] -> [*L, *R], 1/deviation [*L, 1…]."""
    x, scale = call.tensor(0), call.tensor(1)
    stash = ir.DataType(call.attribute("stash_type", 1))
    if x.shape is None:
        return TensorType(scale.dtype, None), TensorType(stash, None)
    axis = call.axis(call.attribute("axis", -1), len(x.shape))
    dims = x.shape[:axis] + (1,) * (len(x.shape) - axis)
    return TensorType(scale.dtype, x.shape), TensorType(stash, dims)


@infers("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=_MS)
def skip_layer_normalization(call: Call) -> Types:
    """Add and normalize: [B, L, H], skip -> [B, L, H], mean and 1/deviation [B, L, 1], the sum."""
    x = call.tensor(0)
    dims = None if x.shape is None else (*x.shape[:-1], 1)
    whole, statistic = TensorType(x.dtype, x.shape), TensorType(_FLOAT, dims)
    return whole, statistic, statistic, whole


@infers("SkipGroupNorm", domain=_MS)
def skip_group_norm(call: Call) -> Types:
    """Add and normalize: [N, H, W, C], skip -> [N, H, W, C] and the sum."""
    x = call.tensor(0)
    return TensorType(x.dtype, x.shape), TensorType(x.dtype, x.shape)


@infers("EmbedLayerNormalization", domain=_MS)
def embed_layer_normalization(call: Call) -> Types:
    """Embed: ids [B, L], segments, words [V, H] -> [B, L, H], mask index [B], the sum [B, L, H]."""
    ids, words = call.tensor(0), call.tensor(2)
    if ids.shape is None or words.shape is None:
        whole = TensorType(words.dtype, call.unknown_shape(3, "embed"))
        return whole, TensorType(_INT32, (call.fresh("batch"),)), whole
    whole = TensorType(words.dtype, (*ids.shape, words.shape[1]))
    return whole, TensorType(_INT32, ids.shape[:1]), whole


@infers("QEmbedLayerNormalization", domain=_MS)
def qembed_layer_normalization(call: Call) -> Types:
    """Embed quantized: ids [B, L], segments, words [V, H] -> FLOAT [B, L, H], mask index [B]."""
    ids, words = call.tensor(0), call.tensor(2)
    if ids.shape is None or words.shape is None:
        return TensorType(_FLOAT, call.unknown_shape(3, "embed")), TensorType(_INT32, None)
    return TensorType(_FLOAT, (*ids.shape, words.shape[1])), TensorType(_INT32, ids.shape[:1])


@infers("BiasDropout", domain=_MS)
def bias_dropout(call: Call) -> Types:
    """Add and drop: [*S], bias -> [*S] and the bool mask [*S]."""
    x = call.tensor(0)
    return TensorType(x.dtype, x.shape), TensorType(_BOOL, x.shape)


@infers("BitmaskDropout", "BitmaskBiasDropout", domain=_MS)
def bitmask_dropout(call: Call) -> Types:
    """Drop: [*S] -> [*S] and a mask of bits, [ceil(prod(S) / 32)] UINT32."""
    x = call.tensor(0)
    bits = None if x.shape is None else (ceil_div(product(x.shape), 32),)
    return TensorType(x.dtype, x.shape), TensorType(ir.DataType.UINT32, bits)


@infers("BiasSplitGelu", domain=_MS)
def bias_split_gelu(call: Call) -> Types:
    """Add and gate: [N, S, D] -> [N, S, D/2]."""
    x = call.tensor(0)
    dims = None if x.shape is None else (*x.shape[:-1], x.shape[-1] // 2)
    return (TensorType(x.dtype, dims),)


@infers("ComplexMul", "ComplexMulConj", domain=_MS)
def complex_mul(call: Call) -> Types:
    """Multiply pairs of real and imaginary part: [*A, 2], [*B, 2] -> broadcast."""
    a, b = call.tensor(0), call.tensor(1)
    return (TensorType(a.dtype, broadcast(call, a.shape, b.shape)),)


@infers("QLinearAdd", "QLinearMul", domain=_MS)
def qlinear_add(call: Call) -> Types:
    """Combine quantized tensors: A, scale, zero, B, … -> broadcast of [*A], [*B]."""
    a, b = call.tensor(0), call.tensor(3)
    return (TensorType(a.dtype, broadcast(call, a.shape, b.shape)),)


@infers("MulInteger", domain=_MS)
def mul_integer(call: Call) -> Types:
    """Multiply bytes: A, zero, B, zero -> broadcast of [*A], [*B], INT32."""
    return (TensorType(_INT32, broadcast(call, call.tensor(0).shape, call.tensor(2).shape)),)


@infers("QLinearWhere", domain=_MS)
def qlinear_where(call: Call) -> Types:
    """Pick quantized: condition, X, scale, zero, Y, … -> broadcast of all three."""
    condition, a, b = call.tensor(0), call.tensor(1), call.tensor(4)
    dims = broadcast(call, condition.shape, broadcast(call, a.shape, b.shape))
    return (TensorType(a.dtype, dims),)


@infers("QLinearConcat", domain=_MS)
def qlinear_concat(call: Call) -> Types:
    """Put quantized tensors side by side: scale, zero, then X, scale, zero each."""
    tensors = [call.inputs[index] for index in range(2, len(call.inputs), 3)]
    return joins.concat(Call(call.op_type, _MS, 13, tensors, call.attributes, 1, call.fresh, call.run))


@infers("QLinearReduceMean", domain=_MS)
def qlinear_reduce_mean(call: Call) -> Types:
    """Average quantized numbers over the axes of an attribute, as ReduceMean does."""
    return reductions.reduce(_as("ReduceMean", call, 13))


@infers("ReduceSumInteger", domain=_MS)
def reduce_sum_integer(call: Call) -> Types:
    """Add bytes up over the axes of an attribute, INT32."""
    (result,) = reductions.reduce(_as("ReduceSum", call, 11))
    return (TensorType(_INT32, result.shape if isinstance(result, TensorType) else None),)


def _as(op_type: str, call: Call, version: int) -> Call:
    """The same call, of the first input alone, as an operator of ONNX's own."""
    return Call(op_type, "", version, call.inputs[:1], call.attributes, 1, call.fresh, call.run)


infers("QuantizeLinear", domain=_MS)(quantizations.quantize_linear)
infers("Pad", domain=_MS)(lambda call: joins.pad(_since(call, 13)))
infers("Range", domain=_MS)(lambda call: layouts.range_(_since(call, 11)))
infers("GridSample", domain=_MS)(resizing.grid_sample)
infers("IsAllFinite", domain=_MS)(lambda call: (TensorType(_BOOL, ()),))


def _since(call: Call, version: int) -> Call:
    """The same call under one of ONNX's own opset versions."""
    return Call(call.op_type, "", version, call.inputs, call.attributes, 1, call.fresh, call.run)


@infers("DequantizeLinear", domain=_MS)
def dequantize_linear(call: Call) -> Types:
    """Turn back into numbers: [*S] -> [*S], the scale's type."""
    return (TensorType(call.tensor(1).dtype, call.tensor(0).shape),)


@infers("QuantizeWithOrder", domain=_MS)
def quantize_with_order(call: Call) -> Types:
    """Quantize into a layout: [*S] -> [*S], INT8."""
    return (TensorType(ir.DataType.INT8, call.tensor(0).shape),)


@infers("DequantizeWithOrder", domain=_MS)
def dequantize_with_order(call: Call) -> Types:
    """Turn back into numbers of the type `to`: [*S] -> [*S]."""
    return (TensorType(ir.DataType(call.required("to")), call.tensor(0).shape),)


@infers("MurmurHash3", domain=_MS)
def murmur_hash3(call: Call) -> Types:
    """Hash each element: [*S] -> [*S], UINT32 by default, else INT32."""
    dtype = ir.DataType.UINT32 if call.attribute("positive", 1) else _INT32
    return (TensorType(dtype, call.tensor(0).shape),)


@infers("LinearAttentionGate", domain=_MS)
def linear_attention_gate(call: Call) -> Types:
    """Make gates: a [B, T, H], …, b [B, T, H] -> decay and beta as a and b."""
    a = call.tensor(0)
    return TensorType(a.dtype, a.shape), TensorType(a.dtype, a.shape)
