"""com.microsoft: searches for the next tokens, which run a decoder in a loop of their own."""

from __future__ import annotations

import onnx_ir as ir

from shape_inference.dims import Size
from shape_inference.registry import Call, infers
from shape_inference.types import TensorType, Type

Types = tuple[Type | None, ...]

_MS = "com.microsoft"


def _batch(call: Call) -> Size:
    prompt = call.tensor(0)
    return prompt.shape[0] if prompt.shape else call.fresh("batch")


def _number(call: Call, index: int, hint: str) -> Size:
    """The one element of an input."""
    given = call.sizes(index)
    return given[0] if given else call.fresh(hint)


@infers("BeamSearch", "WhisperBeamSearch", domain=_MS)
def beam_search(call: Call) -> Types:
    """Search with beams: [B, ...], max_length [1] -> [B, returned, max_length], their scores [B, returned].

    The scores of each step are [steps, B, beams, V], the steps as many as are left to max_length.
    """
    batch, length, returned = _batch(call), _number(call, 1, "length"), _number(call, 4, "returned")
    penalty = call.optional(5)
    dtype = ir.DataType.FLOAT if penalty is None else penalty.dtype
    found = (TensorType(ir.DataType.INT32, (batch, returned, length)), TensorType(dtype, (batch, returned)))
    if call.output_count < 3:
        return found
    vocabulary = call.attribute("vocab_size", -1)
    steps, beams = call.fresh("steps"), _number(call, 3, "beams")
    dims = (steps, batch, beams, vocabulary if vocabulary > 0 else call.fresh("vocabulary"))
    return *found, TensorType(dtype, dims)


@infers("GreedySearch", "Sampling", domain=_MS)
def greedy_search(call: Call) -> Types:
    """Take the likeliest, or a random one: [B, L], max_length [1] -> [B, max_length], logits [B, V]."""
    batch, length = _batch(call), _number(call, 1, "length")
    found = TensorType(ir.DataType.INT32, (batch, length))
    if call.output_count < 2:
        return (found,)
    penalty, vocabulary = call.optional(3), call.attribute("vocab_size", -1)
    dims = (batch, vocabulary if vocabulary > 0 else call.fresh("vocabulary"))
    return found, TensorType(ir.DataType.FLOAT if penalty is None else penalty.dtype, dims)


@infers("DynamicTimeWarping", domain=_MS)
def dynamic_time_warping(call: Call) -> Types:
    """Find the path of least cost: [M, N] or [1, M, N] -> [2, steps], INT32; the data decide how long it is."""
    return (TensorType(ir.DataType.INT32, (2, call.fresh("steps"))),)
