"""Do with one node what two do, where the result is the same to the last bit or one rounding.

1. Add of a bias to a MatMul of two matrices is a Gemm.
2. Gemm and MatMul of a transposed matrix are a Gemm with transA or transB.
3. Pad with zeros before a Conv is the Conv's own padding.
4. Concat in Concat along the same axis is one Concat; the same for a Sum, Max or Min in its own.
5. Slice of Slice along other axes is one Slice.
6. Cast of Cast is one Cast where the first loses nothing, and none where the second undoes it.
7. Relu, Abs, Ceil, Floor, Round or Sign of itself: the inner one's output.
8. Clip and Relu of Clip and Relu, with constant bounds, are one Clip.
9. Add of Neg is Sub, Sub of Neg is Add.
10. Where on Not exchanges its choices.
11. A reduction that keeps its dims, and Squeeze of these: one that does not keep them. A reduction
    that drops its dims, and Unsqueeze that puts them back: one that keeps them.
12. ConcatFromSequence of SequenceConstruct is a Concat.
13. Mul by a Reciprocal is Div, which rounds once.
14. MatMul of two operands that each are scaled by a number: one is scaled, by both.

The inner node must be needed by nothing else, or nothing would be saved.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from exporter.optimization.rewriting import Rewriter, Rules
from exporter.optimization.values import (
    FLOATS,
    INTEGERS,
    Array,
    attribute,
    axes,
    dims,
    integers,
    made_by,
    normalized,
    same_shape,
    scalar,
    small_array,
)

__all__ = ["run"]


def run(rewriter: Rewriter) -> int:
    """Fuse pairs of nodes; return how many."""
    return rewriter.apply(RULES)


# Matrix products and convolutions


def _biased_matmul(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    for product, bias in (tuple(node.inputs), tuple(reversed(node.inputs))):
        inner = made_by(product, "MatMul")
        if inner is None or not rewriter.is_private(product) or bias is None:
            continue
        if product is None or product.dtype not in FLOATS or product.dtype != bias.dtype:
            continue
        if any(len(dims(value) or ()) != 2 for value in inner.inputs):
            continue
        if bias.shape is None or not same_shape(product, node.outputs[0]):
            continue
        return rewriter.emit(node, "Gemm", [*inner.inputs, bias], fused=[inner])  # 1
    return None


def _untransposed(value: ir.Value | None) -> ir.Value | None:
    """What the value is the matrix transpose of."""
    maker = made_by(value, "Transpose")
    if maker is None:
        return None
    perm, data = attribute(maker, "perm", None), maker.inputs[0]
    if perm is None:
        return data if len(dims(data) or ()) == 2 else None
    return data if tuple(perm) == (1, 0) else None


def _gemm(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    attributes = dict(node.attributes.data)
    inputs = list(node.inputs)
    for index, name in enumerate(("transA", "transB")):
        plain = _untransposed(inputs[index])
        if plain is not None:
            inputs[index] = plain
            attributes[name] = ir.AttrInt64(name, 1 - attribute(node, name, 0))
    if all(now is old for now, old in zip(inputs, node.inputs, strict=True)):
        return None
    return rewriter.emit(node, "Gemm", inputs, attributes.values())  # 2


def _matmul(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    left, right = node.inputs
    if left is None or right is None or left.dtype not in FLOATS:
        return None
    plain_left, plain_right = _untransposed(left), _untransposed(right)
    if plain_left is None and plain_right is None:
        return None
    if any(len(dims(value) or ()) != 2 for value in (left, right)):
        return None
    attributes = []
    if plain_left is not None:
        attributes.append(ir.AttrInt64("transA", 1))
    if plain_right is not None:
        attributes.append(ir.AttrInt64("transB", 1))
    return rewriter.emit(node, "Gemm", [plain_left or left, plain_right or right], attributes)  # 2


def _scaled_matmul(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    first, second = (_scaled(rewriter, value) for value in node.inputs)
    if first is None or second is None:
        return None
    left, right = node.inputs
    (scaling, data, one), (_, plain, other) = first, second
    product = np.asarray(one.astype(np.float64) * other.astype(np.float64))
    if left is None or right is None or left.dtype not in FLOATS or not 2.0**-20 < abs(product) < 2.0**20:
        return None
    number = rewriter.array(scaling, "scale", product.astype(one.dtype))
    scaled = rewriter.emit(scaling, "Mul", [data, number])
    return rewriter.emit(node, "MatMul", [scaled, plain])  # 14


def _scaled(rewriter: Rewriter, value: ir.Value | None) -> tuple[ir.Node, ir.Value, Array] | None:
    """The Mul that makes the value of another by a number, the other, and the number."""
    maker = made_by(value, "Mul")
    if maker is None or not rewriter.is_private(value):
        return None
    for data, factor in (tuple(maker.inputs), tuple(reversed(maker.inputs))):
        number = scalar(factor)
        if number is not None and data is not None and same_shape(data, value):
            return maker, data, number
    return None


def _padded_conv(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    data = node.inputs[0]
    inner = made_by(data, "Pad")
    if inner is None or not rewriter.is_private(data):
        return None
    added = _zero_padding(inner)
    if added is None or attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    own = attribute(node, "pads", None) or [0] * len(added)
    pads = [mine + more for mine, more in zip(own, added, strict=True)]
    attributes = {name: a for name, a in node.attributes.data.items() if name != "auto_pad"}
    attributes["pads"] = ir.AttrInt64s("pads", pads)
    inputs = [inner.inputs[0], *node.inputs[1:]]
    return rewriter.emit(node, "Conv", inputs, attributes.values(), fused=[inner])  # 3


def _zero_padding(pad: ir.Node) -> list[int] | None:
    """How many zeros each spatial dim gets, all begins before all ends; None if that is not all."""
    shape, pads = dims(pad.inputs[0]), integers(pad.inputs[1])
    if attribute(pad, "mode", "constant") != "constant" or shape is None or pads is None:
        return None
    if len(pad.inputs) > 2 and pad.inputs[2] is not None:
        fill = scalar(pad.inputs[2])
        if fill is None or fill != 0:
            return None
    rank = len(shape)
    over: Sequence[int] = range(rank)
    if len(pad.inputs) > 3 and pad.inputs[3] is not None:
        found = integers(pad.inputs[3])
        if found is None:
            return None
        over = normalized(found, rank)
    begins, ends = [0] * rank, [0] * rank
    for position, axis in enumerate(over):
        begins[axis], ends[axis] = pads[position], pads[position + len(over)]
    if any(pad < 0 for pad in pads) or any((*begins[:2], *ends[:2])):
        return None
    return [*begins[2:], *ends[2:]]


# Moving data


def _nested(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    inputs: list[ir.Value | None] = []
    fused = []
    for position, value in enumerate(node.inputs):
        inner = made_by(value, node.op_type)
        if position > 0 and node.op_type == "Sum":
            inner = None  # adding in another order rounds otherwise
        if inner is not None and rewriter.is_private(value) and _same_axis(inner, node):
            inputs += inner.inputs
            fused.append(inner)
        else:
            inputs.append(value)
    if not fused:
        return None
    return rewriter.emit(node, node.op_type, inputs, node.attributes.values(), fused=fused)  # 4


def _same_axis(inner: ir.Node, outer: ir.Node) -> bool:
    rank = len(dims(outer.outputs[0]) or dims(inner.outputs[0]) or ())
    first, second = attribute(inner, "axis", 0), attribute(outer, "axis", 0)
    return bool(first == second or (rank > 0 and first % rank == second % rank))


def _slices(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    inner = made_by(node.inputs[0], "Slice")
    if inner is None or not rewriter.is_private(node.inputs[0]):
        return None
    first, second = _slice_parts(inner), _slice_parts(node)
    if first is None or second is None or set(first[2]) & set(second[2]):
        return None
    joined = [a + b for a, b in zip(first, second, strict=True)]
    roles = ("starts", "ends", "axes", "steps")
    parts = [rewriter.integers(node, role, part) for role, part in zip(roles, joined, strict=True)]
    return rewriter.emit(node, "Slice", [inner.inputs[0], *parts], fused=[inner])  # 5


def _slice_parts(node: ir.Node) -> list[tuple[int, ...]] | None:
    """The constant starts, ends, axes and steps of a Slice, each for the same axes."""
    shape = dims(node.inputs[0])
    starts, ends = integers(node.inputs[1]), integers(node.inputs[2])
    if shape is None or starts is None or ends is None:
        return None
    over: tuple[int, ...] | None = tuple(range(len(starts)))
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        over = integers(node.inputs[3])
    steps: tuple[int, ...] | None = (1,) * len(starts)
    if len(node.inputs) > 4 and node.inputs[4] is not None:
        steps = integers(node.inputs[4])
    if over is None or steps is None:
        return None
    return [starts, ends, normalized(over, len(shape)), steps]


def _concat_from_sequence(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    inner = made_by(node.inputs[0], "SequenceConstruct")
    if inner is None or attribute(node, "new_axis", 0):
        return None
    axis = ir.AttrInt64("axis", attribute(node, "axis", 0))
    return rewriter.emit(node, "Concat", inner.inputs, [axis], fused=[inner])  # 12


# Elementwise


def _casts(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    inner = made_by(node.inputs[0], "Cast")
    if inner is None:
        return None
    data = inner.inputs[0]
    if data is None or data.dtype is None:
        return None
    middle, target = ir.DataType(attribute(inner, "to", 0)), ir.DataType(attribute(node, "to", 0))
    if not _keeps_all(data.dtype, middle):
        return None
    if data.dtype == target:
        return data  # 6
    wraps = data.dtype in INTEGERS and target in INTEGERS and not _keeps_all(data.dtype, target)
    if target is ir.DataType.STRING or (wraps and middle not in INTEGERS):
        return None  # 1.0 is not written as 1, and a float out of range does not wrap
    if not rewriter.is_private(node.inputs[0]):
        return None
    return rewriter.emit(node, "Cast", [data], node.attributes.values(), fused=[inner])  # 6


_MANTISSA_BITS = {
    ir.DataType.BFLOAT16: 8,
    ir.DataType.FLOAT16: 11,
    ir.DataType.FLOAT: 24,
    ir.DataType.DOUBLE: 53,
}


def _keeps_all(source: ir.DataType, to: ir.DataType) -> bool:
    """Whether each value of the one type is a value of the other."""
    if source == to:
        return True
    if source is ir.DataType.BOOL:
        return to in _MANTISSA_BITS or to in INTEGERS
    if source in _MANTISSA_BITS and to in _MANTISSA_BITS:
        return to is ir.DataType.DOUBLE or (to is ir.DataType.FLOAT and to.bitwidth > source.bitwidth)
    if source in INTEGERS and to in INTEGERS:
        signed, to_signed = source.is_signed(), to.is_signed()
        return to.bitwidth > source.bitwidth and (to_signed or not signed)
    if source in INTEGERS and to in (ir.DataType.FLOAT, ir.DataType.DOUBLE):
        return source.bitwidth <= _MANTISSA_BITS[to]
    return False


def _idempotent(_: Rewriter, node: ir.Node) -> ir.Value | None:
    return node.inputs[0] if made_by(node.inputs[0], node.op_type) else None  # 7


def _bounds(node: ir.Node) -> tuple[Array | None, Array | None] | None:
    """The constant lower and upper bound of a Clip or a Relu, each None where there is none."""
    data = node.inputs[0]
    if node.op_type == "Relu":
        if data is None or data.dtype not in FLOATS:
            return None
        return np.zeros((), dtype=data.dtype.numpy()), None
    given = [*node.inputs[1:], None, None][:2]
    found = [small_array(value) for value in given]
    if any(value is not None and array is None for value, array in zip(given, found, strict=True)):
        return None
    return found[0], found[1]


def _clips(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    inner = made_by(node.inputs[0], ("Clip", "Relu"))
    if inner is None or not rewriter.is_private(node.inputs[0]):
        return None
    first, second = _bounds(inner), _bounds(node)
    if first is None or second is None:
        return None
    low, high = (_clipped(bound, second) for bound in first)
    low, high = (second[0] if low is None else low), (second[1] if high is None else high)
    bounds = [
        None if bound is None else rewriter.array(node, role, bound) for role, bound in (("min", low), ("max", high))
    ]
    return rewriter.emit(node, "Clip", [inner.inputs[0], *bounds], fused=[inner])  # 8


def _clipped(bound: Array | None, by: tuple[Array | None, Array | None]) -> Array | None:
    """A bound of the inner range after the outer one: clipping is monotone."""
    if bound is None:
        return None
    if by[0] is not None:
        bound = np.maximum(bound, by[0])
    return bound if by[1] is None else np.minimum(bound, by[1])


def _negated(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    left, right = node.inputs
    negative = made_by(right, "Neg")
    if negative is not None and rewriter.is_private(right):
        op_type = "Sub" if node.op_type == "Add" else "Add"
        return rewriter.emit(node, op_type, [left, negative.inputs[0]], fused=[negative])  # 9
    negative = made_by(left, "Neg")
    if negative is not None and rewriter.is_private(left) and node.op_type == "Add":
        return rewriter.emit(node, "Sub", [right, negative.inputs[0]], fused=[negative])  # 9
    return None


def _times_reciprocal(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    for data, factor in (tuple(node.inputs), tuple(reversed(node.inputs))):
        inner = made_by(factor, "Reciprocal")
        if inner is not None and rewriter.is_private(factor):
            return rewriter.emit(node, "Div", [data, inner.inputs[0]], fused=[inner])  # 13
    return None


def _where(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    condition, chosen, other = node.inputs
    inner = made_by(condition, "Not")
    if inner is None or not rewriter.is_private(condition):
        return None
    return rewriter.emit(node, "Where", [inner.inputs[0], other, chosen], fused=[inner])  # 10


def _reduced(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    data = node.inputs[0]
    inner = made_by(data, _REDUCTIONS)
    keeps = node.op_type == "Unsqueeze"
    if inner is None or not rewriter.is_private(data) or bool(attribute(inner, "keepdims", 1)) is keeps:
        return None
    before = dims(inner.inputs[0])
    if before is None:
        return None
    if inner.op_type in ("ArgMax", "ArgMin"):
        over: tuple[int, ...] | None = (attribute(inner, "axis", 0),)
    else:
        over = axes(inner)
    put = axes(node)
    if not over or put is None:
        return None
    if sorted(normalized(over, len(before))) != sorted(normalized(put, len(before))):
        return None
    attributes = {**inner.attributes.data, "keepdims": ir.AttrInt64("keepdims", int(keeps))}
    return rewriter.emit(node, inner.op_type, inner.inputs, attributes.values(), fused=[inner])  # 11


_REDUCTIONS = frozenset(
    {
        "ArgMax",
        "ArgMin",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "ReduceSumSquare",
    }
)

RULES: Rules = {
    "Add": (_biased_matmul, _negated),
    "Sub": (_negated,),
    "Mul": (_times_reciprocal,),
    "Gemm": (_gemm,),
    "MatMul": (_matmul, _scaled_matmul),
    "Conv": (_padded_conv,),
    "Concat": (_nested,),
    "Sum": (_nested,),
    "Max": (_nested,),
    "Min": (_nested,),
    "Slice": (_slices,),
    "Cast": (_casts,),
    "Relu": (_idempotent, _clips),
    "Abs": (_idempotent,),
    "Ceil": (_idempotent,),
    "Floor": (_idempotent,),
    "Round": (_idempotent,),
    "Sign": (_idempotent,),
    "Clip": (_clips,),
    "Where": (_where,),
    "Squeeze": (_reduced,),
    "Unsqueeze": (_reduced,),
    "ConcatFromSequence": (_concat_from_sequence,),
}
