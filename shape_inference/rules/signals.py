"""Fourier transforms and mel filters."""

from __future__ import annotations

import onnx_ir as ir

from shape_inference.dims import Size
from shape_inference.registry import Call, infers
from shape_inference.types import TensorType, Type

Types = tuple[Type | None, ...]


@infers("DFT")
def dft(call: Call) -> Types:
    """Transform: [*L, n, *R, 1 or 2] -> [*L, m, *R, 2], m = n, or n//2 + 1 where onesided.

    The inverse of a onesided transform is real: [*L, n, *R, 2] -> [*L, 2*(n - 1), *R, 1].
    """
    x = call.tensor(0)
    if x.shape is None:
        return (TensorType(x.dtype, None),)
    rank = len(x.shape)
    if rank < 2:
        call.fail("input must have at least rank 2", x)
    axis: int | None
    if call.version < 20:
        axis = call.attribute("axis", 1)
    elif call.has(2):
        found = call.integers(2)
        axis = None if found is None else found[0]
    else:
        axis = -2
    if axis is None:
        return (TensorType(x.dtype, call.unknown_shape(rank, "dft")),)
    axis = call.axis(axis, rank)
    if axis == rank - 1:
        call.fail("axis must not be the last, which holds real and imaginary part", axis)
    inverse, onesided = call.attribute("inverse", 0), call.attribute("onesided", 0)
    length: Size = x.shape[axis]
    if call.has(1):
        given = call.sizes(1)
        length = call.fresh("dft_length") if given is None else given[0]
    elif inverse and onesided:
        length = (length - 1) * 2
    if onesided and not inverse:
        length = length // 2 + 1
    last = 1 if inverse and onesided else 2
    return (TensorType(x.dtype, (*x.shape[:axis], length, *x.shape[axis + 1 : -1], last)),)


@infers("STFT")
def stft(call: Call) -> Types:
    """Transform frames: [B, n, 1 or 2], step, window, length -> [B, frames, bins, 2].

    frames = (n - length) // step + 1; bins = length // 2 + 1 where onesided, else length.
    """
    x = call.tensor(0)
    step = call.sizes(1)
    window = call.optional(2)
    given = call.sizes(3)
    length: Size | None = None
    if given is not None:
        length = given[0]
    elif window is not None and window.shape is not None and not call.has(3):
        length = window.shape[0]
    batch: Size = call.fresh("batch") if x.shape is None else x.shape[0]
    if length is None or step is None or x.shape is None:
        frames: Size = call.fresh("frames")
    else:
        frames = (x.shape[1] - length) // step[0] + 1
    if length is None:
        bins: Size = call.fresh("bins")
    else:
        bins = length // 2 + 1 if call.attribute("onesided", 1) else length
    return (TensorType(x.dtype, (batch, frames, bins, 2)),)


@infers("MelWeightMatrix")
def mel_weight_matrix(call: Call) -> Types:
    """Make mel filters: bins, length, … -> [length // 2 + 1, bins]."""
    bins = call.sizes(0)
    length = call.sizes(1)
    rows = call.fresh("spectrum") if length is None else length[0] // 2 + 1
    columns = call.fresh("mel") if bins is None else bins[0]
    dtype = ir.DataType(call.attribute("output_datatype", 1))
    return (TensorType(dtype, (rows, columns)),)
