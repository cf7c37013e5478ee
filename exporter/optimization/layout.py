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
10. A view that only splits dims, and adds or drops those of size 1, of a Transpose of a view: a
    Reshape, which splits before, and a Transpose do all three.
11. One index along an axis of a Transpose that keeps the order of the others: one of its input.
12. One index along an axis that a Reshape has split off another, as in packed queries, keys and
    values: a piece of a Split. The other pieces are the same Split, which common subexpressions merge.
13. A matrix with its last two dims exchanged, times a vector, is the vector times the matrix. onnxruntime
    (1.31 at least) fuses the former into a product that is wrong.

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


def _vector_product(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    matrix, vector = node.inputs
    inner, shape = made_by(matrix, "Transpose"), dims(vector)
    perm = None if inner is None else _perm(inner)
    if inner is None or perm is None or shape is None or len(shape) != 1:
        return None
    if perm != (*range(len(perm) - 2), len(perm) - 1, len(perm) - 2):
        return None
    return rewriter.emit(node, "MatMul", [vector, inner.inputs[0]])  # 13


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


def _split_views(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    turned = node.inputs[0]
    turn = made_by(turned, "Transpose")
    viewed = None if turn is None else turn.inputs[0]
    view = made_by(viewed, _VIEWS)
    if turn is None or view is None or not rewriter.is_private(turned) or not rewriter.is_private(viewed):
        return None
    perm, before, middle, after = _perm(turn), dims(view.inputs[0]), dims(viewed), dims(node.outputs[0])
    if perm is None or before is None or middle is None or after is None:
        return None
    large = [axis for axis in perm if middle[axis] != 1]
    groups = _split_into([middle[axis] for axis in large], after)
    if groups is None:
        return None
    in_order = [place for _, group in sorted(zip(large, groups, strict=True)) for place in group]
    source = list(range(len(after)))  # dims of size 1 keep their place, the others take the rest in order
    shape = list(after)
    for axis, place in zip(sorted(in_order), in_order, strict=True):
        source[place] = axis
        shape[axis] = after[place]
    target = _target(before, tuple(shape))
    if target is None:
        return None
    numbers = rewriter.integers(view, "shape", target)
    reshaped = rewriter.emit(view, "Reshape", [view.inputs[0], numbers], shape=tuple(shape))
    return rewriter.emit(node, "Transpose", [reshaped], [ir.AttrInt64s("perm", source)], fused=[turn])  # 10


def _split_into(whole: Sequence[int | ir.SymbolicDim], parts: Dims) -> list[list[int]] | None:
    """Which of the parts each dim is the product of, in order; parts of size 1 belong to none."""
    groups: list[list[int]] = []
    rest = [place for place, dim in enumerate(parts) if dim != 1]
    for dim in whole:
        group: list[int] = []
        product: int | ir.SymbolicDim = 1
        while not group or not same_dims((product,), (dim,)):
            if not rest or (isinstance(product, int) and isinstance(dim, int) and product > dim):
                return None
            group.append(rest.pop(0))
            grown = _times(product, parts[group[-1]])
            if grown is None:
                return None
            product = grown
        groups.append(group)
    return None if rest else groups


def _times(a: int | ir.SymbolicDim, b: int | ir.SymbolicDim) -> int | ir.SymbolicDim | None:
    """The product where it is cheap and in normal form: not for a dim that only has a name."""
    if a == 1:
        return b
    if type(a) is ir.SymbolicDim or type(b) is ir.SymbolicDim:
        return None
    return a * b


# One index


def _indexed(node: ir.Node) -> tuple[int, int] | None:
    """The one index and the axis of a Gather that drops the axis."""
    data, indices = dims(node.inputs[0]), dims(node.inputs[1])
    index = integers(node.inputs[1])
    if data is None or indices != () or index is None:
        return None
    return index[0], attribute(node, "axis", 0) % len(data)


def _index(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    found = _indexed(node)
    if found is None:
        return None
    (index, axis), data = found, node.inputs[0]
    turn = made_by(data, "Transpose")
    perm = None if turn is None else _perm(turn)
    if turn is not None and perm is not None:
        others = [*perm[:axis], *perm[axis + 1 :]]
        if others == sorted(others):
            data, axis = turn.inputs[0], perm[axis]
    piece = _piece(rewriter, node, data, axis, index)
    if piece is not None or data is node.inputs[0]:
        return piece  # 12
    return rewriter.emit(node, "Gather", [data, node.inputs[1]], [ir.AttrInt64("axis", axis)])  # 11


def _piece(rewriter: Rewriter, node: ir.Node, data: ir.Value | None, axis: int, index: int) -> ir.Value | None:
    view = made_by(data, "Reshape")
    whole = None if view is None else dims(view.inputs[0])
    parts, piece = dims(data), dims(node.outputs[0])
    if view is None or whole is None or parts is None or piece is None or len(whole) != len(piece):
        return None
    changed = [i for i, dim in enumerate(whole) if not same_dims((dim,), (piece[i],))]
    count = parts[axis]
    if len(changed) != 1 or not isinstance(count, int):
        return None
    split = changed[0]
    size = piece[split]
    if not isinstance(size, int) or whole[split] != count * size:
        return None
    ahead = [dim for dim in parts[:axis] if dim != 1]
    if not same_dims(ahead, [dim for dim in whole[:split] if dim != 1]):
        return None  # the axis is split off another one, or behind what remains of it
    attributes = [ir.AttrInt64("axis", split)]
    if rewriter.opset_version >= 18:
        attributes.append(ir.AttrInt64("num_outputs", count))
    return rewriter.emit(node, "Split", [view.inputs[0]], attributes, position=index % count, count=count)


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
    "MatMul": (_vector_product,),
    "Reshape": (_known_reshape, _views, _split_views),
    "Flatten": (_views, _split_views),
    "Squeeze": (_views, _split_views),
    "Unsqueeze": (_views, _split_views),
    "Gather": (_index,),
    "Expand": (_known_expand, _expands),
    "SequenceAt": (_sequence_at,),
    **dict.fromkeys(_ELEMENTWISE, (_elementwise,)),
}
