"""Elements chosen by a mask: masked_fill, masked_select, masked_scatter, nonzero."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.elementwise import boolean, compressed, pointwise
from aten_lowering.elementwise import where as choose
from aten_lowering.promotion import Operand, as_value
from aten_lowering.registry import lowers
from aten_lowering.rules.layouts import broadcast_sizes
from aten_lowering.rules.reshapes import flat
from shape_inference import Size

aten = torch.ops.aten


@lowers(aten.masked_fill.Scalar, aten.masked_fill.Tensor)
def masked_fill(op: Builder, self: Value, mask: Value, value: Operand) -> Value:
    """[*S], mask broadcast with it -> their shape, with the number where the mask is true."""
    return choose(op, boolean(op, mask), as_value(op, value, dtype(self)), self)


@lowers(aten.masked_select.default)
def masked_select(op: Builder, self: Value, mask: Value) -> Value:
    """[*S], mask broadcast with it -> [n], row-major."""
    sizes = broadcast_sizes([dims(self), dims(mask)])
    chosen = op.expand(boolean(op, mask), sizes)
    value = op.expand(self, sizes)
    return compressed(op, flat(op, value), flat(op, chosen))


@lowers(aten.masked_scatter.default)
def masked_scatter(op: Builder, self: Value, mask: Value, source: Value) -> Value:
    """[*S], mask, [at least n elements] -> [*S] with the source's next element wherever the mask is true.

    The running count of the mask tells which element that is; before the first it is -1, which no
    one looks at, but must be there: a source that may be empty gets a 0 behind it.
    """
    sizes = broadcast_sizes([dims(self), dims(mask)])
    self = op.expand(self, sizes)
    mask = op.expand(boolean(op, mask), sizes)
    count = op.CumSum(op.cast(flat(op, mask), ir.DataType.INT64), 0)
    elements = flat(op, source)
    if not all(isinstance(size, int) for size in dims(source)):
        elements = op.Concat(elements, op.constant([0], dtype(source)), axis=0)
    taken = op.Gather(elements, op.Sub(count, 1), axis=0)
    return choose(op, mask, op.reshape(taken, sizes), self)


@lowers(aten.nonzero.default, aten.argwhere.default)
def nonzero(op: Builder, self: Value) -> Value:
    """[*S] -> int64 [n, len(S)]: where it is not zero, row-major."""
    if rank(self) == 0:
        return op.Slice(op.transpose(nonzero_rows(op, self), [1, 0]), [0], [0], [1])
    return op.transpose(nonzero_rows(op, self), [1, 0])


def nonzero_rows(op: Builder, value: Value) -> Value:
    """[*S] -> int64 [len(S), n], a row for each axis; a rank of 0 counts as 1."""
    return pointwise(op, "NonZero", op.unsqueeze(value, [0]) if rank(value) == 0 else value)


@lowers(aten.nonzero_static.default)
def nonzero_static(op: Builder, self: Value, size: Size, fill_value: int) -> Value:
    """[*S] -> int64 [size, len(S)]: the first places where it is not zero, the rest filled."""
    found = nonzero(op, self)
    rest = op.expand(op.constant(fill_value, ir.DataType.INT64), [size, rank(self)])
    return op.sized(op.slice(op.Concat(found, rest, axis=0), 0, 0, size), [size, rank(self)])


@lowers(aten.nonzero_numpy.default)
def nonzero_numpy(op: Builder, self: Value) -> Sequence[Value]:
    """[*S] -> int64 [n] for each axis: where it is not zero."""
    found = nonzero_rows(op, self)
    if rank(self) < 2:
        return [op.squeeze(found, [0])]
    return [op.Gather(found, axis, axis=0) for axis in range(rank(self))]


@lowers(aten.where.default)
def where(op: Builder, condition: Value) -> Sequence[Value]:
    """The same as `nonzero_numpy`."""
    return nonzero_numpy(op, condition)
