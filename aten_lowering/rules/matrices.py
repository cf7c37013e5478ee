"""Products of matrices and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.dtypes import FLOATS, is_float
from aten_lowering.loops import counted
from aten_lowering.promotion import as_value, promoted
from aten_lowering.registry import lowers
from shape_inference import Size, product

__all__ = ["identity", "identity_of", "multiplied", "scaled", "transposed"]

aten = torch.ops.aten

# Runtimes multiply matrices of these; the narrower integers are multiplied as int32, which wraps alike.
_MULTIPLIED = FLOATS | {ir.DataType.INT32, ir.DataType.INT64, ir.DataType.UINT32, ir.DataType.UINT64}


def multiplied(op: Builder, first: Value, second: Value) -> Value:
    """[*B, N, K], [*B, K, M] -> [*B, N, M], vectors as in numpy, of any number type."""
    kind = dtype(first)
    if kind in _MULTIPLIED:
        return op.MatMul(first, second)
    wide = op.MatMul(op.cast(first, ir.DataType.INT32), op.cast(second, ir.DataType.INT32))
    return op.cast(wide, kind)


def transposed(op: Builder, matrix: Value) -> Value:
    """[*B, N, M] -> [*B, M, N]."""
    count = rank(matrix)
    return op.transpose(matrix, [*range(count - 2), count - 1, count - 2])


def identity(op: Builder, rows: Size, columns: Size, kind: ir.DataType) -> Value:
    """[N, M], ones on the diagonal."""
    below = op.Equal(op.unsqueeze(counted(op, rows), [1]), counted(op, columns))
    return op.cast(below, kind)


def identity_of(op: Builder, matrix: Value) -> Value:
    """[*B, N, M] -> [N, M], ones on the diagonal."""
    rows, columns = dims(matrix)[-2:]
    return identity(op, rows, columns, dtype(matrix))


def scaled(op: Builder, value: Value, factor: Any) -> Value:
    """The value times a number; itself where that is 1."""
    if type(factor) in (int, float, bool) and factor == 1:
        return value
    return op.Mul(value, as_value(op, factor, dtype(value)))


def _sum(op: Builder, addend: Value, summand: Value, beta: Any, alpha: Any) -> Value:
    """`beta * addend + alpha * summand`; where beta is 0, the addend's NaNs do not matter."""
    summand = scaled(op, summand, alpha)
    if type(beta) in (int, float, bool) and beta == 0:
        return summand
    return op.Add(summand, scaled(op, addend, beta))


@lowers(aten.matmul.default, aten.linalg_matmul.default, aten.vdot.default)
def matmul(op: Builder, self: Value, other: Value) -> Value:
    """[*B, N, K], [*B, K, M] -> [*B, N, M], vectors as in numpy."""
    return multiplied(op, self, other)


@lowers(aten.mm.default, aten.bmm.default)
def mm(op: Builder, self: Value, mat2: Value) -> Value:
    """[*B, N, K], [*B, K, M] -> [*B, N, M]."""
    return multiplied(op, self, mat2)


@lowers(aten._int_mm.default)
def int_mm(op: Builder, self: Value, mat2: Value) -> Value:
    """[N, K], [K, M] -> [N, M], int8 to int32."""
    return op.MatMulInteger(self, mat2)


@lowers(aten.mv.default)
def mv(op: Builder, self: Value, vec: Value) -> Value:
    """[N, K], [K] -> [N]."""
    return multiplied(op, self, vec)


@lowers(aten.dot.default)
def dot(op: Builder, self: Value, tensor: Value) -> Value:
    """[K], [K] -> []."""
    return multiplied(op, self, tensor)


@lowers(aten.linear.default)
def linear(op: Builder, input: Value, weight: Value, bias: Value | None) -> Value:
    """[*B, I], [O, I], [O] -> [*B, O]; a weight of rank 1 gives [*B], without bias."""
    if rank(weight) == 1:
        return multiplied(op, input, weight)
    if rank(input) == 2 and is_float(dtype(input)):
        given = [input, weight] if bias is None else [input, weight, bias]
        return op.Gemm(*given, transB=1)
    result = multiplied(op, input, transposed(op, weight))
    return result if bias is None else op.Add(result, bias)


@lowers(aten.addmm.default)
def addmm(op: Builder, self: Value, mat1: Value, mat2: Value, beta: Any, alpha: Any) -> Value:
    """[N, M] or what broadcasts to it, [N, K], [K, M] -> [N, M], `beta * self + alpha * mat1 @ mat2`."""
    is_empty = dims(mat1)[1] == 0  # onnxruntime's Gemm then forgets beta
    if not is_float(dtype(self)) or not (_fits(beta, self) and _fits(alpha, self)) or is_empty:
        return _sum(op, self, multiplied(op, mat1, mat2), beta, alpha)
    factors = {name: factor for name, factor in (("alpha", alpha), ("beta", beta)) if factor != 1}
    given = [mat1, mat2] if beta == 0 else [mat1, mat2, self]
    return op.Gemm(*given, **factors)


def _fits(factor: Any, value: Value) -> bool:
    """Whether a float32 attribute holds the factor as exactly as the value's dtype would."""
    if type(factor) not in (int, float, bool):
        return False
    return dtype(value) != ir.DataType.DOUBLE or float(np.float32(factor)) == factor


@lowers(aten._addmm_activation.default)
def addmm_activation(
    op: Builder, self: Value, mat1: Value, mat2: Value, beta: Any, alpha: Any, use_gelu: bool
) -> Value:  # fmt: skip
    """[N, M], [N, K], [K, M] -> [N, M], an addmm and then relu, or gelu by tanh."""
    result = addmm(op, self, mat1, mat2, beta, alpha)
    if not use_gelu:
        return op.Relu(result)
    if op.opset_version >= 20:
        return op.Gelu(result, approximate="tanh")
    cubed = op.Mul(op.Mul(result, result), result)
    inner = op.Mul(op.Add(result, op.Mul(cubed, 0.044715)), (2 / np.pi) ** 0.5)
    return op.Mul(op.Mul(result, 0.5), op.Add(op.Tanh(inner), 1.0))


@lowers(aten.baddbmm.default)
def baddbmm(op: Builder, self: Value, batch1: Value, batch2: Value, beta: Any, alpha: Any) -> Value:
    """[B, N, M], [B, N, K], [B, K, M] -> [B, N, M], `beta * self + alpha * batch1 @ batch2`."""
    return _sum(op, self, multiplied(op, batch1, batch2), beta, alpha)


@lowers(aten.addbmm.default)
def addbmm(op: Builder, self: Value, batch1: Value, batch2: Value, beta: Any, alpha: Any) -> Value:
    """[N, M], [B, N, K], [B, K, M] -> [N, M], `beta * self + alpha * sum over B of batch1 @ batch2`.

    The sum over B and K at once is one product of [N, B K] and [B K, M].
    """
    batches, rows, inner = dims(batch1)
    wide = op.reshape(op.transpose(batch1, [1, 0, 2]), [rows, batches * inner])
    tall = op.reshape(batch2, [batches * inner, dims(batch2)[2]])
    return addmm(op, self, wide, tall, beta, alpha)


@lowers(aten.addmv.default)
def addmv(op: Builder, self: Value, mat: Value, vec: Value, beta: Any, alpha: Any) -> Value:
    """[N], [N, K], [K] -> [N], `beta * self + alpha * mat @ vec`."""
    return _sum(op, self, multiplied(op, mat, vec), beta, alpha)


@lowers(aten.addr.default)
def addr(op: Builder, self: Value, vec1: Value, vec2: Value, beta: Any, alpha: Any) -> Value:
    """[N, M], [N], [M] -> [N, M], `beta * self + alpha * outer(vec1, vec2)`; `or` and `and` on bools."""
    self, vec1, vec2 = promoted(op, self, vec1, vec2)
    if dtype(self) != ir.DataType.BOOL:
        return _sum(op, self, outer(op, vec1, vec2), beta, alpha)
    result = outer(op, vec1, vec2)
    if not alpha:
        result = op.And(result, False)
    return op.Or(self, result) if beta else result


@lowers(aten.outer.default, aten.ger.default)
def outer(op: Builder, self: Value, vec2: Value) -> Value:
    """[N], [M] -> [N, M]."""
    column, row = promoted(op, op.unsqueeze(self, [1]), vec2)
    return op.emit("And" if dtype(row) == ir.DataType.BOOL else "Mul", [column, row], {})


@lowers(aten.inner.default)
def inner(op: Builder, self: Value, other: Value) -> Value:
    """[*A, K], [*B, K] -> [*A, *B]; a tensor of rank 0 scales the other."""
    if not rank(self) or not rank(other):
        return op.Mul(self, other)
    if rank(other) == 1:
        return multiplied(op, self, other)
    *lead, last = dims(other)
    matrix = op.reshape(other, [product(lead), last]) if len(lead) > 1 else other
    result = multiplied(op, self, transposed(op, matrix))
    return op.reshape(result, [*dims(self)[:-1], *lead]) if len(lead) > 1 else result


@lowers(aten.linalg_multi_dot.default)
def linalg_multi_dot(op: Builder, tensors: Sequence[Value]) -> Value:
    """[N0, N1], [N1, N2], … -> [N0, Nk], in the cheapest order; the outermost may be vectors."""
    edges: list[Size] = [dims(tensors[0])[0] if rank(tensors[0]) == 2 else 1]
    edges += [dims(tensor)[0] for tensor in tensors[1:]]
    edges.append(dims(tensors[-1])[1] if rank(tensors[-1]) == 2 else 1)
    return _chain(op, tensors, _cheapest_cuts(edges), 0, len(tensors) - 1)


@lowers(aten.chain_matmul.default)
def chain_matmul(op: Builder, matrices: Sequence[Value]) -> Value:
    """[N0, N1], [N1, N2], … -> [N0, Nk], in the cheapest order."""
    return linalg_multi_dot(op, matrices)


def _chain(op: Builder, tensors: Sequence[Value], cuts: dict[tuple[int, int], int], first: int, last: int) -> Value:
    if first == last:
        return tensors[first]
    cut = cuts[first, last]
    return multiplied(op, _chain(op, tensors, cuts, first, cut), _chain(op, tensors, cuts, cut + 1, last))


def _cheapest_cuts(edges: Sequence[Size]) -> dict[tuple[int, int], int]:
    """(first, last) matrix of a chain -> the one after which to cut it; symbolic sizes count as 64."""
    sizes = [size if type(size) is int else 64 for size in edges]
    count = len(sizes) - 1
    costs = {(i, i): 0 for i in range(count)}
    cuts: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for first in range(count - length):
            last = first + length
            costs[first, last], cuts[first, last] = min(
                (costs[first, k] + costs[k + 1, last] + sizes[first] * sizes[k + 1] * sizes[last + 1], k)
                for k in range(first, last)
            )
    return cuts


@lowers(aten.linalg_vecdot.default)
def linalg_vecdot(op: Builder, x: Value, y: Value, dim: int) -> Value:
    """[*A, K, *B], [*A, K, *B] -> [*A, *B], the shapes broadcast."""
    return op.reduce("ReduceSum", op.Mul(x, y), [dim])


def _in_int32(op: Builder, *values: Value) -> list[Value]:
    """The values; of an integer type that runtimes do not multiply, as int32."""
    return [v if dtype(v) in _MULTIPLIED else op.cast(v, ir.DataType.INT32) for v in values]


@lowers(aten.linalg_cross.default)
def linalg_cross(op: Builder, self: Value, other: Value, dim: int) -> Value:
    """[*A, 3, *B], [*A, 3, *B] -> [*A, 3, *B], the shapes broadcast.

    With r(x)_i = x_(i+1 mod 3), the product is r(a r(b) - r(a) b): three rolls where the usual
    formula takes four.
    """
    kind = dtype(self)
    self, other = _in_int32(op, self, other)

    def roll(value: Value, axis: int) -> Value:
        return op.Gather(value, [1, 2, 0], axis=axis)

    axis = dim % max(rank(self), rank(other)) - max(rank(self), rank(other))
    first, second = roll(self, axis + rank(self)), roll(other, axis + rank(other))
    difference = op.Sub(op.Mul(self, second), op.Mul(first, other))
    return op.cast(roll(difference, axis + rank(difference)), kind)


@lowers(aten.cross.default)
def cross(op: Builder, self: Value, other: Value, dim: int | None) -> Value:
    """[*A, 3, *B], [*A, 3, *B] -> [*A, 3, *B]; without dim, along the first axis of size 3."""
    return linalg_cross(op, self, other, dims(self).index(3) if dim is None else dim)
