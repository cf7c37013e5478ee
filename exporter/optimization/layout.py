"""Shorten chains of nodes that only move elements or change how they are looked at.

Views are Reshape, Flatten, Squeeze and Unsqueeze: they keep the order of the elements, so that the
shapes before and after say everything.

1. Transpose of Transpose is one Transpose, or none.
2. Transpose that only moves dims of size 1 is a Reshape, where that can be written down.
3. A view of a view with the shape of the first's input: that input.
4. Unsqueeze of Unsqueeze, Squeeze of Squeeze: one, with the axes of both.
5. Any other view of a view is one Reshape of the first's input.
6. Reshape or Expand to a computed shape that inference knows: to a constant one.
7. An elementwise op broadcasts by itself what Expand, or a view that puts dims of size 1 in front,
   broadcasts for it.
8. Expand of Expand to a known shape is one Expand.
9. The element of a sequence that was just made: SequenceAt of SequenceConstruct.

A chain is only replaced where nothing else needs its first node, or where no node remains of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from exporter.optimization.rewriting import Rewriter, Rules
from exporter.optimization.values import (
    Dims,
    attribute,
    axes,
    dims,
    integers,
    is_unknown,
    made_by,
    normalized,
    same_dims,
    same_shape,
    static_dims,
)

__all__ = ["run"]

_VIEWS = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})


def run(rewriter: Rewriter) -> int:
    """Shorten layout chains; return how many rewrites that took."""
    return rewriter.apply(RULES)


# Transpose


def _perm(node: ir.Node) -> tuple[int, ...] | None:
    perm = attribute(node, "perm", None)
    if perm is not None:
        return tuple(perm)
    data = dims(node.inputs[0])
    return None if data is None else tuple(reversed(range(len(data))))


def _transposes(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    middle = node.inputs[0]
    inner = made_by(middle, "Transpose")
    if inner is None:
        return None
    first, second = _perm(inner), _perm(node)
    if first is None or second is None:
        return None
    both = [first[axis] for axis in second]  # output axis i is axis second[i] of the middle
    if both == sorted(both):
        return inner.inputs[0]  # 1
    if not rewriter.is_private(middle):
        return None
    return rewriter.emit(node, "Transpose", [inner.inputs[0]], [ir.AttrInt64s("perm", both)], fused=[inner])  # 1


def _transposed_ones(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    before, after, perm = dims(node.inputs[0]), dims(node.outputs[0]), _perm(node)
    if before is None or after is None or perm is None:
        return None
    moved = [axis for axis in perm if before[axis] != 1]
    if moved != sorted(moved):
        return None
    target = _target(before, after)
    if target is None:
        return None
    return _reshaped(rewriter, node, node.inputs[0], target)  # 2


# Views


def _target(before: Dims, after: Dims) -> list[int] | None:
    """What Reshape takes to get from one shape to the other, or None where it cannot be written.

    One dim may be -1. Where several are symbolic, those that stay in place are 0.
    """
    symbolic = [axis for axis, dim in enumerate(after) if not isinstance(dim, int)]
    if 0 in after:
        return None  # 0 means "as before" in a Reshape
    target = [dim if isinstance(dim, int) else -1 for dim in after]
    if len(symbolic) > 1:
        for axis in symbolic:
            if axis < len(before) and same_dims((before[axis],), (after[axis],)):
                target[axis] = 0
    return target if target.count(-1) <= 1 else None


def _reshaped(
    rewriter: Rewriter,
    node: ir.Node,
    data: ir.Value | None,
    target: Sequence[int],
    fused: Sequence[ir.Node] = (),
) -> ir.Value:
    shape = rewriter.integers(node, "shape", target)
    return rewriter.emit(node, "Reshape", [data, shape], fused=fused)


def _views(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    middle = node.inputs[0]
    inner = made_by(middle, _VIEWS)
    if inner is None:
        return None
    data = inner.inputs[0]
    if same_shape(data, node.outputs[0]):
        return data  # 3
    if not rewriter.is_private(middle):
        return None
    if inner.op_type == node.op_type and node.op_type in ("Squeeze", "Unsqueeze"):
        found = _both_axes(inner, node)
        if found is not None:
            joined = rewriter.integers(node, "axes", found)
            return rewriter.emit(node, node.op_type, [data, joined], fused=[inner])  # 4
    if node.op_type == "Reshape" and _says_all(node):
        return rewriter.emit(node, "Reshape", [data, node.inputs[1]], node.attributes.values(), fused=[inner])  # 5
    before, after = dims(data), dims(node.outputs[0])
    target = None if before is None or after is None else _target(before, after)
    return None if target is None else _reshaped(rewriter, node, data, target, [inner])  # 5


def _says_all(node: ir.Node) -> bool:
    """Whether the shape that a Reshape asks for does not depend on that of its input."""
    shape = integers(node.inputs[1])
    return shape is not None and (0 not in shape or attribute(node, "allowzero", 0) == 1)


def _both_axes(inner: ir.Node, outer: ir.Node) -> list[int] | None:
    """The axes that do at once what inner and outer do, counted in the larger of the shapes."""
    small, large = (inner, outer) if inner.op_type == "Unsqueeze" else (outer, inner)
    middle = dims(inner.outputs[0])
    few, many = axes(small), axes(large)
    if middle is None or few is None or many is None:
        return None
    rank = len(middle) + len(many)  # of the larger shape
    many = normalized(many, rank)
    others = [axis for axis in range(rank) if axis not in many]  # the middle's, in the larger
    return sorted([*many, *(others[axis] for axis in normalized(few, len(middle)))])


def _known_reshape(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    if node.inputs[1] is None or node.inputs[1].is_initializer():
        return None
    before, after = dims(node.inputs[0]), dims(node.outputs[0])
    target = None if before is None or after is None else _target(before, after)
    return None if target is None else _reshaped(rewriter, node, node.inputs[0], target)  # 6


def _known_expand(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    if node.inputs[1] is None or node.inputs[1].is_initializer():
        return None
    return _expanded(rewriter, node, node.inputs[0])  # 6


# Broadcasting


def _broadcast(shapes: Sequence[Dims]) -> Dims | None:
    """The shape that the shapes have together, or None where it depends on symbolic dims."""
    rank = max(map(len, shapes))
    result: list[int | ir.SymbolicDim] = []
    for axis in range(-rank, 0):
        here = [shape[axis] for shape in shapes if len(shape) >= -axis and shape[axis] != 1]
        if any(dim != here[0] or is_unknown(dim) for dim in here):
            return None
        result.append(here[0] if here else 1)
    return tuple(result)


def _elementwise(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    plain = [_not_broadcast(value) for value in node.inputs]
    if all(value is None for value in plain):
        return None
    after = dims(node.outputs[0])
    inputs = list(node.inputs)
    for index, value in enumerate(plain):
        if value is None or after is None:
            continue
        tried = [*inputs[:index], value, *inputs[index + 1 :]]
        shapes = [shape for shape in map(dims, tried) if shape is not None]
        if len(shapes) == len(tried) and _broadcast(shapes) == after:
            inputs = tried
    if all(now is old for now, old in zip(inputs, node.inputs, strict=True)):
        return None
    return rewriter.emit(node, node.op_type, inputs, node.attributes.values())  # 7


def _not_broadcast(value: ir.Value | None) -> ir.Value | None:
    """What the value is, before an Expand, or a view that puts dims of size 1 in front."""
    maker = made_by(value, _BROADCASTS)
    if maker is None or maker.op_type == "Expand":
        return None if maker is None else maker.inputs[0]
    before, after = dims(maker.inputs[0]), dims(value)
    if before is None or after is None or len(after) <= len(before):
        return None
    in_front = len(after) - len(before)
    if any(dim != 1 for dim in after[:in_front]) or not same_dims(before, after[in_front:]):
        return None
    return maker.inputs[0]


_BROADCASTS = frozenset({"Expand", "Reshape", "Unsqueeze"})


def _expands(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    inner = made_by(node.inputs[0], "Expand")
    if inner is None or not rewriter.is_private(node.inputs[0]):
        return None
    return _expanded(rewriter, node, inner.inputs[0], [inner])  # 8


def _expanded(
    rewriter: Rewriter, node: ir.Node, data: ir.Value | None, fused: Sequence[ir.Node] = ()
) -> ir.Value | None:
    """Emit one Expand to the shape that inference knows."""
    known = static_dims(node.outputs[0])
    if known is None:
        return None
    shape = rewriter.integers(node, "shape", known)
    return rewriter.emit(node, "Expand", [data, shape], fused=fused)


# Sequences


def _sequence_at(_: Rewriter, node: ir.Node) -> ir.Value | None:
    maker = made_by(node.inputs[0], "SequenceConstruct")
    position = integers(node.inputs[1])
    if maker is None or position is None or not -len(maker.inputs) <= position[0] < len(maker.inputs):
        return None
    return maker.inputs[position[0]]  # 9


_ELEMENTWISE = (
    "Add",
    "And",
    "Div",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Min",
    "Mod",
    "Mul",
    "Or",
    "Pow",
    "Sub",
    "Where",
    "Xor",
)

RULES: Rules = {
    "Transpose": (_transposes, _transposed_ones),
    "Reshape": (_known_reshape, _views),
    "Flatten": (_views,),
    "Squeeze": (_views,),
    "Unsqueeze": (_views,),
    "Expand": (_known_expand, _expands),
    "SequenceAt": (_sequence_at,),
    **dict.fromkeys(_ELEMENTWISE, (_elementwise,)),
}
