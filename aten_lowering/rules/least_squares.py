"""Least squares."""

from __future__ import annotations

import numpy as np
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.registry import lowers
from aten_lowering.rules.matrices import transposed
from aten_lowering.rules.reflections import linalg_qr
from aten_lowering.rules.spectra import singular_values
from aten_lowering.rules.triangles import substituted
from shape_inference import at_least, smaller

aten = torch.ops.aten


@lowers(aten.linalg_lstsq.default)
def linalg_lstsq(
    op: Builder, self: Value, b: Value, rcond: float | None, driver: str | None
) -> tuple[Value, Value, Value, Value]:  # fmt: skip
    """[*B, N, M], [*B, N, K] -> the X [*B, M, K] with the smallest |self X - b|, of the smallest size.

    The matrix must be of full rank: it is not examined. As in torch, the driver decides which of the
    squared errors, ranks and singular values come with it.
    """
    *batch, count, columns = dims(self)
    is_vector = rank(b) < rank(self)
    right = op.unsqueeze(b, [-1]) if is_vector else b
    solution = _solution(op, self, right)
    residuals = singular = op.constant(np.zeros(0), dtype(self))
    if driver not in (None, "gelsy") and count != columns and at_least(count, columns):
        residuals = op.reduce("ReduceSumSquare", op.Sub(op.MatMul(self, solution), right), [-2])
    if driver in ("gelsd", "gelss"):
        singular = singular_values(op, self)
    order = op.expand(op.scalar(smaller(count, columns)), [0] if driver == "gels" else batch)
    return op.squeeze(solution, [-1]) if is_vector else solution, residuals, order, singular


def _solution(op: Builder, matrix: Value, right: Value) -> Value:
    """[*B, N, M], [*B, N, K] -> [*B, M, K]."""
    *batch, count, columns = dims(matrix)
    sizes = [*batch, columns, dims(right)[-1]]

    def of_tall(op: Builder) -> list[Value]:
        q, r = linalg_qr(op, matrix, "reduced")
        r = op.slice(r, -2, 0, columns)
        return [op.sized(substituted(op, r, op.MatMul(transposed(op, q), right), upper=True), sizes)]

    def of_wide(op: Builder) -> list[Value]:
        q, r = linalg_qr(op, transposed(op, matrix), "reduced")
        return [op.sized(op.MatMul(q, substituted(op, transposed(op, r), right, upper=False)), sizes)]

    is_tall = at_least(count, columns)
    if is_tall is not None:
        return (of_tall if is_tall else of_wide)(op)[0]
    decided = op.GreaterOrEqual(op.scalar(count), op.scalar(columns))
    result = op.If(decided, then_branch=op.subgraph(of_tall), else_branch=op.subgraph(of_wide))
    return op.sized(result, sizes)
