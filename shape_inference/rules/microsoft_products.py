"""com.microsoft: matrix products, convolutions, and what moves elements."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from shape_inference.dims import Size
from shape_inference.registry import Call, infers
from shape_inference.rules.convolutions import convolved, pooled
from shape_inference.rules.indexing import gather_nd, unique
from shape_inference.rules.products import gemm, matmul_integer, matrix_product
from shape_inference.rules.recurrences import recurrence
from shape_inference.types import TensorType, Type

Types = tuple[Type | None, ...]
Shape = tuple[Size, ...]

_MS = "com.microsoft"


@infers(
    *("FusedMatMul", "FusedMatMulActivation", "TransposeMatMul", "SparseToDenseMatMul"),
    domain=_MS,
)
def fused_matmul(call: Call) -> Types:
    """Multiply matrices, each maybe transposed: [*B, n, k], [*B, k, m] -> [*B, n, m]."""
    a, b = call.tensor(0), call.tensor(1)
    left = _turned(a.shape, call.attribute("transA", 0), call.attribute("transBatchA", 0))
    right = _turned(b.shape, call.attribute("transB", 0), call.attribute("transBatchB", 0))
    dtype = b.dtype if call.op_type == "SparseToDenseMatMul" else a.dtype
    return (TensorType(dtype, matrix_product(call, left, right)),)


def _turned(dims: Shape | None, matrix: int, batch: int) -> Shape | None:
    """The shape after the transposes; transBatch moves the first axis before the last."""
    if dims is None or len(dims) < 2:
        return dims
    if batch:
        dims = (*dims[1:-1], dims[0], dims[-1])
    return (*dims[:-2], dims[-1], dims[-2]) if matrix else dims


@infers("MatMulNBits", "MatMulBnb4", domain=_MS)
def matmul_n_bits(call: Call) -> Types:
    """Multiply by packed weights: [*B, K] -> [*B, N]."""
    a = call.tensor(0)
    columns, rows = call.required("N"), call.required("K")
    if not call.attribute("transB", 1):
        columns, rows = rows, columns
    if a.shape is None:
        return (TensorType(a.dtype, None),)
    if isinstance(a.shape[-1], int) and a.shape[-1] != rows:
        call.fail(f"the last axis of A must be {rows}", a.shape[-1])
    return (TensorType(a.dtype, (*a.shape[:-1], columns)),)


@infers("MatMulNBitsMlp", domain=_MS)
def matmul_n_bits_mlp(call: Call) -> Types:
    """Run a gated layer on packed weights: [*B, K] -> [*B, N], and the residual sum [*B, K]."""
    a = call.tensor(0)
    dims = None if a.shape is None else (*a.shape[:-1], call.required("N"))
    return TensorType(a.dtype, dims), TensorType(a.dtype, a.shape)


@infers("MatMulNBitsQkv", domain=_MS)
def matmul_n_bits_qkv(call: Call) -> Types:
    """Project to query, key and value: [*B, K] -> [*B, Nq], [*B, Nkv] twice, the sum [*B, K]."""
    a = call.tensor(0)
    if a.shape is None:
        return (TensorType(a.dtype, None),) * 4
    query, other = (*a.shape[:-1], call.required("Nq")), (*a.shape[:-1], call.required("Nkv"))
    key = TensorType(a.dtype, other)
    return TensorType(a.dtype, query), key, key, TensorType(a.dtype, a.shape)


@infers("MatMulBlockQuantizedFp4Weight", "MatMulBlockQuantizedFp8Weight", domain=_MS)
def matmul_block_quantized(call: Call) -> Types:
    """Multiply by packed weights [N, …]: [*B, K] -> [*B, N]."""
    a, b = call.tensor(0), call.tensor(1)
    if a.shape is None or b.shape is None:
        return (TensorType(a.dtype, None),)
    return (TensorType(a.dtype, (*a.shape[:-1], b.shape[0])),)


@infers("MatMulFpQ4", domain=_MS)
def matmul_fp_q4(call: Call) -> Types:
    """Multiply by a packed matrix of the shape given: [*B, k], _, (k, m) -> [*B, m]."""
    a = call.tensor(0)
    return (TensorType(a.dtype, matrix_product(call, a.shape, call.sizes(2))),)


infers("MatMulInteger16", domain=_MS)(matmul_integer)


@infers("MatMulIntegerToFloat", domain=_MS)
def matmul_integer_to_float(call: Call) -> Types:
    """Multiply bytes and scale: [*B, n, k], [*B, k, m] -> [*B, n, m], the scale's type."""
    dims = matrix_product(call, call.tensor(0).shape, call.tensor(1).shape)
    return (TensorType(call.tensor(2).dtype, dims),)


@infers("DynamicQuantizeMatMul", "GemmFastGelu", domain=_MS)
def dynamic_quantize_matmul(call: Call) -> Types:
    """Multiply matrices: [*B, n, k], [*B, k, m] -> [*B, n, m], the type of the first."""
    a = call.tensor(0)
    return (TensorType(a.dtype, matrix_product(call, a.shape, call.tensor(1).shape)),)


@infers("QOrderedMatMul", domain=_MS)
def qordered_matmul(call: Call) -> Types:
    """Multiply quantized matrices: A, scale, B, … -> [*B, n, m]."""
    a = call.tensor(0)
    return (TensorType(a.dtype, matrix_product(call, a.shape, call.tensor(2).shape)),)


infers("FusedGemm", domain=_MS)(gemm)


@infers("QGemm", domain=_MS)
def qgemm(call: Call) -> Types:
    """Multiply quantized: A, scale, zero, B, … -> [n, m], FLOAT or the output zero point's type."""
    zero = call.optional(8)
    dtype = ir.DataType.FLOAT if zero is None else zero.dtype
    return (TensorType(dtype, _gemm_shape(call, call.tensor(0), call.tensor(3))),)


@infers("GemmFloat8", domain=_MS)
def gemm_float8(call: Call) -> Types:
    """Multiply: A, B, … -> [n, m], of the type `dtype`."""
    dtype = ir.DataType(call.attribute("dtype", 1))
    return (TensorType(dtype, _gemm_shape(call, call.tensor(0), call.tensor(1))),)


def _gemm_shape(call: Call, a: TensorType, b: TensorType) -> Shape | None:
    left = _turned(a.shape, call.attribute("transA", 0), 0)
    right = _turned(b.shape, call.attribute("transB", 0), 0)
    return matrix_product(call, left, right)


@infers("CDist", domain=_MS)
def cdist(call: Call) -> Types:
    """Measure distances: [n, k], [m, k] -> [n, m]."""
    a, b = call.tensor(0), call.tensor(1)
    rows = call.fresh("rows") if a.shape is None else a.shape[0]
    columns = call.fresh("columns") if b.shape is None else b.shape[0]
    return (TensorType(a.dtype, (rows, columns)),)


@infers("FusedConv", domain=_MS)
def fused_conv(call: Call) -> Types:
    """Convolve: [N, C, *S], [M, C/group, *K] -> [N, M, *S']."""
    x = call.tensor(0)
    return (TensorType(x.dtype, convolved(call, x, call.tensor(1))),)


def _channels_first(x: TensorType) -> TensorType:
    if x.shape is None:
        return x
    return TensorType(x.dtype, (x.shape[0], x.shape[-1], *x.shape[1:-1]))


def _channels_last(dims: Shape | None) -> Shape | None:
    return None if dims is None else (dims[0], *dims[2:], dims[1])


@infers("NhwcConv", "NhwcFusedConv", domain=_MS)
def nhwc_conv(call: Call) -> Types:
    """Convolve with the channels last: [N, *S, C], [M, *K, C/group] -> [N, *S', M]."""
    x, w = call.tensor(0), call.tensor(1)
    dims = convolved(call, _channels_first(x), _channels_first(w))
    return (TensorType(x.dtype, _channels_last(dims)),)


@infers("QLinearConv", domain=_MS)
def qlinear_conv(call: Call) -> Types:
    """Convolve quantized, with the channels first or last: x, scale, zero, w, … -> [N, M, *S']."""
    x, w, dtype = call.tensor(0), call.tensor(3), call.tensor(7).dtype
    if not call.attribute("channels_last", 0):
        return (TensorType(dtype, convolved(call, x, w)),)
    return (TensorType(dtype, _channels_last(convolved(call, _channels_first(x), w))),)


@infers("QLinearAveragePool", "NhwcMaxPool", "MaxpoolWithMask", domain=_MS)
def qlinear_average_pool(call: Call) -> Types:
    """Fold windows: [N, C, *S] -> [N, C, *S'], or with the channels last."""
    x = call.tensor(0)
    if call.op_type == "NhwcMaxPool" or call.attribute("channels_last", 0):
        return (TensorType(x.dtype, _channels_last(pooled(call, _channels_first(x)))),)
    return (TensorType(x.dtype, pooled(call, x)),)


@infers("QLinearGlobalAveragePool", domain=_MS)
def qlinear_global_average_pool(call: Call) -> Types:
    """Fold all space: [N, C, *S] -> [N, C, 1…], or with the channels last."""
    x = call.tensor(0)
    if x.shape is None:
        return (TensorType(x.dtype, None),)
    ones = (1,) * (len(x.shape) - 2)
    if call.attribute("channels_last", 0):
        return (TensorType(x.dtype, (x.shape[0], *ones, x.shape[-1])),)
    return (TensorType(x.dtype, x.shape[:2] + ones),)


@infers("DynamicQuantizeLSTM", domain=_MS)
def dynamic_quantize_lstm(call: Call) -> Types:
    """Run an LSTM: [T, B, I] -> [T, D, B, H], [D, B, H] twice; the weights are [D, I, 4*H]."""
    x = call.tensor(0)
    attributes = dict(call.attributes)
    hidden = call.required("hidden_size")
    directions: Size = 2 if call.attribute("direction") == "bidirectional" else 1
    width: Size = call.fresh("features") if x.shape is None else x.shape[2]
    weights = TensorType(x.dtype, (directions, hidden * 4, width))
    inputs = (x, weights, TensorType(x.dtype, (directions, hidden * 4, hidden)))
    return recurrence(Call("LSTM", "", 14, inputs, attributes, 3, call.fresh, call.run))


@infers("GatherBlockQuantized", domain=_MS)
def gather_block_quantized(call: Call) -> Types:
    """Pick slices of packed numbers: [*L, a, *R], [*I] -> [*L, *I, *R], the scales' type."""
    x, indices, scales = call.tensor(0), call.tensor(1), call.tensor(2)
    if x.shape is None or indices.shape is None:
        return (TensorType(scales.dtype, None),)
    rank = len(x.shape)
    axis = call.axis(call.attribute("gather_axis", 0), rank)
    packed = call.axis(call.attribute("quantize_axis", 1), rank)
    dims = list(x.shape)
    if x.dtype is ir.DataType.UINT8:
        dims[packed] = dims[packed] * (8 // call.attribute("bits", 4))
    return (TensorType(scales.dtype, (*dims[:axis], *indices.shape, *dims[axis + 1 :])),)


infers("GatherND", domain=_MS)(gather_nd)


@infers("TorchEmbedding", domain=_MS)
def torch_embedding(call: Call) -> Types:
    """Look rows up: [V, M], [*I] -> [*I, M]."""
    weight, indices = call.tensor(0), call.tensor(1)
    if weight.shape is None or indices.shape is None:
        return (TensorType(weight.dtype, None),)
    return (TensorType(weight.dtype, (*indices.shape, weight.shape[1])),)


@infers("ExpandDims", domain=_MS)
def expand_dims(call: Call) -> Types:
    """Insert an axis of size 1: [*S] -> [*S with a one]."""
    x, axis = call.tensor(0), call.integers(1)
    if x.shape is None or axis is None:
        known = x.shape is not None
        return (TensorType(x.dtype, call.unknown_shape(len(x.shape or ()) + 1, "dim") if known else None),)
    place = call.axis(axis[0], len(x.shape) + 1)
    return (TensorType(x.dtype, (*x.shape[:place], 1, *x.shape[place:])),)


@infers("CropAndResize", domain=_MS)
def crop_and_resize(call: Call) -> Types:
    """Sample regions: [N, C, H, W], [R, 4], [R], (h, w) -> [R, C, h, w]."""
    x, rois, size = call.tensor(0), call.tensor(1), call.sizes(3)
    regions = call.fresh("rois") if rois.shape is None else rois.shape[0]
    channels = call.fresh("channels") if x.shape is None else x.shape[1]
    return (TensorType(x.dtype, (regions, channels, *(size or call.unknown_shape(2, "crop")))),)


@infers("UnfoldTensor", domain=_MS)
def unfold_tensor(call: Call) -> Types:
    """Cut windows: [*L, a, *R] -> [*L, (a - size) // step + 1, *R, size]."""
    x = call.tensor(0)
    if x.shape is None:
        return (TensorType(x.dtype, None),)
    axis = call.axis(call.attribute("dim", -1), len(x.shape))
    size, step = call.required("size"), call.attribute("step", 1)
    windows = (x.shape[axis] - size) // step + 1
    return (TensorType(x.dtype, (*x.shape[:axis], windows, *x.shape[axis + 1 :], size)),)


@infers("Unique", domain=_MS)
def unique_in_order(call: Call) -> Types:
    """Keep each value once: [n] -> [m], places [n], counts [m]."""
    kept, _, places, counts = unique(call)
    return kept, places, counts


@infers("Rfft", "Irfft", domain=_MS)
def rfft(call: Call) -> Types:
    """Transform the last axes: [*L, n] -> [*L, n//2 + 1, 2], and back for Irfft."""
    x = call.tensor(0)
    if x.shape is None:
        return (TensorType(x.dtype, None),)
    if call.op_type == "Irfft":
        length = (x.shape[-2] - 1) * 2 if call.attribute("onesided", 1) else x.shape[-2]
        return (TensorType(x.dtype, (*x.shape[:-2], length)),)
    bins = x.shape[-1] // 2 + 1 if call.attribute("onesided", 1) else x.shape[-1]
    return (TensorType(x.dtype, (*x.shape[:-1], bins, 2)),)


@infers("ConvTransposeWithDynamicPads", domain=_MS)
def conv_transpose_with_dynamic_pads(call: Call) -> Types:
    """Spread: [N, C, *S], [C, M/group, *K], pads -> [N, M, (s-1)*stride + (k-1)*d + 1 - pads]."""
    from shape_inference.rules.convolutions import conv_transpose

    pads: Any = call.sizes(2)
    x, w = call.tensor(0), call.tensor(1)
    if pads is None:
        rank = None if x.shape is None else len(x.shape)
        return (TensorType(x.dtype, None if rank is None else call.unknown_shape(rank, "conv")),)
    attributes = {**call.attributes, "pads": pads}
    return conv_transpose(Call("ConvTranspose", "", 11, (x, w), attributes, 1, call.fresh, call.run))


@infers("Tokenizer", domain=_MS)
def tokenizer(call: Call) -> Types:
    """Split texts: [C] -> [C, n], [N, C] -> [N, C, n], padded."""
    x = call.tensor(0)
    dims = None if x.shape is None else (*x.shape, call.fresh("tokens"))
    return (TensorType(ir.DataType.STRING, dims),)
