"""Products of matrices and vectors."""

from __future__ import annotations

import torch

from aten_lowering.builder import Builder, Value, rank
from aten_lowering.registry import lowers

aten = torch.ops.aten


@lowers(aten.linear.default)
def linear(op: Builder, input: Value, weight: Value, bias: Value | None) -> Value:
    """[*B, I], [O, I], [O] -> [*B, O]; a weight of rank 1 gives [*B]."""
    if rank(weight) == 1:
        product = op.MatMul(input, weight)
    elif rank(input) == 2:
        return op.Gemm(input, weight, bias, transB=1) if bias is not None else op.Gemm(input, weight, transB=1)
    else:
        product = op.MatMul(input, op.Transpose(weight, perm=[1, 0]))
    return product if bias is None else op.Add(product, bias)


@lowers(aten.matmul.default)
def matmul(op: Builder, self: Value, other: Value) -> Value:
    """[*B, N, K], [*B, K, M] -> [*B, N, M], vectors as in numpy."""
    return op.MatMul(self, other)
