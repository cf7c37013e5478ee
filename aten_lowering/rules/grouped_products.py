"""Products of rows with the matrix of the group that they belong to, as mixtures of experts have them."""

from __future__ import annotations

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.dtypes import from_torch
from aten_lowering.errors import UnsupportedArgument
from aten_lowering.registry import lowers
from shape_inference import SequenceType, TensorType, Type

aten = torch.ops.aten
_INT64 = ir.DataType.INT64


@lowers("transformers.grouped_mm_fallback.default")
def grouped_mm_fallback(op: Builder, input: Value, weight: Value, offs: Value) -> Value:
    """[T, K], [G, K, N], [G] -> [T, N]: row t times the matrix of its group, the first g with t < offs_g.

    A loop over the groups that skips those without rows; rows behind the last offset give zeros.  There are
    no sequences of bfloat16 in ONNX: such products are float32 until they are put together.
    Source: transformers/integrations/moe.py.
    """
    rows, columns = dims(input)[0], dims(weight)[2]
    ends = op.cast(offs, _INT64)
    starts = op.Concat([0], op.Slice(ends, [0], [-1]), axis=0)
    held = ir.DataType.FLOAT if dtype(input) == ir.DataType.BFLOAT16 else dtype(input)
    kind = TensorType(held, (op.fresh("rows"), columns))

    def body(op: Builder, group: Value, going: Value, products: Value) -> list[Value]:
        start = op.Gather(starts, op.unsqueeze(group, [0]))
        end = op.Gather(ends, op.unsqueeze(group, [0]))

        def product(op: Builder) -> list[Value]:
            return [op.cast(op.MatMul(op.Slice(input, start, end, [0]), op.Gather(weight, group)), held)]

        def nothing(op: Builder) -> list[Value]:
            return [op.expand(op.constant(0.0, held), [0, columns])]

        has_rows = op.squeeze(op.Less(start, end), [0])
        rows = op.If(has_rows, then_branch=op.subgraph(product), else_branch=op.subgraph(nothing))
        return [op.Identity(going), op.SequenceInsert(products, rows)]

    going = TensorType(ir.DataType.BOOL, ())
    inputs: list[tuple[str, Type]] = [("group", TensorType(_INT64, ())), ("going", going)]
    inputs.append(("products", SequenceType(kind)))
    none = op.SequenceEmpty(dtype=int(held))
    products = op.Loop(op.scalar(dims(weight)[0]), None, none, body=op.subgraph(body, inputs))
    result = op.cast(op.ConcatFromSequence(products, axis=0), dtype(input))
    missing = op.Sub(op.shape([rows]), op.Slice(ends, [-1], [2**31]))
    return op.sized(op.Pad(result, op.Concat([0, 0], missing, [0], axis=0)), [rows, columns])


@lowers(aten._grouped_mm.default)
def grouped_mm(
    op: Builder, self: Value, mat2: Value, offs: Value | None, bias: Value | None, out_dtype: torch.dtype | None
) -> Value:  # fmt: skip
    """[T, K], [G, K, N], [G] -> [T, N], or without offsets [G, T, K], [G, K, N] -> [G, T, N]."""
    if rank(mat2) != 3 or (rank(self) == 3) != (offs is None):
        raise UnsupportedArgument(
            f"aten._grouped_mm.default: self and mat2 must be of ranks 2 and 3 beside offs, "
            f"or 3 and 3 without, got {rank(self)} and {rank(mat2)}"
        )
    product = op.MatMul(self, mat2) if offs is None else grouped_mm_fallback(op, self, mat2, offs)
    if bias is not None:
        product = op.Add(product, bias)
    return product if out_dtype is None else op.cast(product, from_torch(out_dtype))
