"""Remove nodes whose output is their input, for every input: bit for bit, -0.0 and NaN included.

1. Identity.
2. Dropout at inference: its training_mode is absent or false, its mask unused.
3. Cast and CastLike to the dtype that the input has.
4. Transpose that keeps the order.
5. Reshape, Flatten, Squeeze, Unsqueeze and Expand to the shape that the input has. Their shape
   alone decides: they keep the order of the elements.
6. Slice to the same shape with positive steps: it then starts at 0 with step 1, or has one element.
7. Pad by 0 everywhere; Tile by 1 everywhere.
8. Concat, Sum, Max, Min and Mean of one input; Concat with inputs that are empty along its axis.
9. Split into one piece.
10. x*1, x/1, x**1, x-0, x+(-0.0), x+0 for integers, x and True, x or False, x xor False; with the
    constant of any rank, where the result has the shape of x.
11. Where with a constant condition of one value, or between a value and itself, where the result
    has the shape of the choice.
12. Clip without bounds.
13. Resize to the same shape by nearest neighbours.
14. An even number of Neg or Not: the inner one's input. BitwiseNot too.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import onnx_ir as ir

from exporter.optimization.rewriting import Rewriter, Rules
from exporter.optimization.values import (
    Array,
    attribute,
    integers,
    is_used,
    same_shape,
    scalar,
    small_array,
)

__all__ = ["run"]


def run(rewriter: Rewriter) -> int:
    """Remove identities; return how many."""
    return rewriter.apply(RULES)


def _identity(_: Rewriter, node: ir.Node) -> ir.Value | None:
    return node.inputs[0]  # 1


def _dropout(_: Rewriter, node: ir.Node) -> ir.Value | None:
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        training = small_array(node.inputs[2])
        if training is None or training.any():
            return None
    if any(is_used(mask) or mask.is_graph_output() for mask in node.outputs[1:]):
        return None
    return node.inputs[0]  # 2


def _cast(_: Rewriter, node: ir.Node) -> ir.Value | None:
    data = node.inputs[0]
    if data is None or data.dtype is None or data.dtype != attribute(node, "to", None):
        return None
    return data  # 3


def _cast_like(_: Rewriter, node: ir.Node) -> ir.Value | None:
    data, like = node.inputs
    if data is None or like is None or data.dtype is None or data.dtype != like.dtype:
        return None
    return data  # 3


def _transpose(_: Rewriter, node: ir.Node) -> ir.Value | None:
    data, perm = node.inputs[0], attribute(node, "perm", None)
    if perm is None:
        turned = data is None or data.shape is None or len(data.shape) > 1
    else:
        turned = any(axis != position for position, axis in enumerate(perm))
    return None if turned else data  # 4


def _same_shape(_: Rewriter, node: ir.Node) -> ir.Value | None:
    data = node.inputs[0]
    return data if same_shape(data, node.outputs[0]) else None  # 5


def _slice(_: Rewriter, node: ir.Node) -> ir.Value | None:
    data = node.inputs[0]
    if not same_shape(data, node.outputs[0]):
        return None
    if len(node.inputs) > 4 and node.inputs[4] is not None:
        steps = integers(node.inputs[4])
        if steps is None or any(step < 0 for step in steps):
            return None
    return data  # 6


def _pad(_: Rewriter, node: ir.Node) -> ir.Value | None:
    pads = integers(node.inputs[1])
    return None if pads is None or any(pads) else node.inputs[0]  # 7


def _tile(_: Rewriter, node: ir.Node) -> ir.Value | None:
    repeats = integers(node.inputs[1])
    if repeats is None or any(repeat != 1 for repeat in repeats):
        return None
    return node.inputs[0]  # 7


def _single(_: Rewriter, node: ir.Node) -> ir.Value | None:
    return node.inputs[0] if len(node.inputs) == 1 else None  # 8


def _concat(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    axis = attribute(node, "axis", 0)
    kept = [value for value in node.inputs if not _is_empty(value, axis)] or node.inputs[:1]
    if len(kept) == 1:
        return kept[0]  # 8
    if len(kept) == len(node.inputs):
        return None
    return rewriter.emit(node, "Concat", kept, node.attributes.values())  # 8


def _is_empty(value: ir.Value | None, axis: int) -> bool:
    if value is None or value.shape is None:
        return False
    return len(value.shape) > 0 and value.shape[axis] == 0


def _split(_: Rewriter, node: ir.Node) -> ir.Value | None:
    return node.inputs[0] if len(node.outputs) == 1 else None  # 9


def _neutral_right(is_neutral: Callable[[Array], bool]) -> Callable[..., ir.Value | None]:
    def rule(_: Rewriter, node: ir.Node) -> ir.Value | None:
        number = scalar(node.inputs[1])
        if number is None or not is_neutral(number):
            return None
        return node.inputs[0] if same_shape(node.inputs[0], node.outputs[0]) else None  # 10

    return rule


def _neutral(is_neutral: Callable[[Array], bool]) -> Callable[..., ir.Value | None]:
    right = _neutral_right(is_neutral)

    def rule(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
        number = scalar(node.inputs[0])
        if number is None:
            return right(rewriter, node)
        if not is_neutral(number):
            return None
        return node.inputs[1] if same_shape(node.inputs[1], node.outputs[0]) else None  # 10

    return rule


def _is_one(number: Array) -> bool:
    return bool(number == 1)


def _is_plus_zero(number: Array) -> bool:
    return bool(number == 0) and math.copysign(1, float(number)) > 0  # -0.0 - 0.0 is -0.0


def _is_nothing_added(number: Array) -> bool:
    if number.dtype.kind in "iu":
        return bool(number == 0)
    return bool(number == 0) and math.copysign(1, float(number)) < 0  # -0.0 + 0.0 would be +0.0


def _where(_: Rewriter, node: ir.Node) -> ir.Value | None:
    choice, other = node.inputs[1:]
    if choice is not other:
        condition = small_array(node.inputs[0])
        if condition is None or condition.size == 0:
            return None
        if not condition.any():
            choice = other
        elif not condition.all():
            return None
    return choice if same_shape(choice, node.outputs[0]) else None  # 11


def _clip(_: Rewriter, node: ir.Node) -> ir.Value | None:
    return None if any(bound is not None for bound in node.inputs[1:]) else node.inputs[0]  # 12


def _resize(_: Rewriter, node: ir.Node) -> ir.Value | None:
    mode = attribute(node, "mode", "nearest")
    moved = attribute(node, "coordinate_transformation_mode", "half_pixel")
    policy = attribute(node, "keep_aspect_ratio_policy", "stretch")
    if mode != "nearest" or moved == "tf_crop_and_resize" or policy != "stretch":
        return None
    if len(node.inputs) < 4:  # by scales: the same shape comes from a scale of 1.01 as well
        scales = small_array(node.inputs[2]) if len(node.inputs) == 3 else None
        if scales is None or (scales != 1).any():
            return None
    return node.inputs[0] if same_shape(node.inputs[0], node.outputs[0]) else None  # 13


def _twice(_: Rewriter, node: ir.Node) -> ir.Value | None:
    data = node.inputs[0]
    inner = None if data is None else data.producer()
    if inner is None or inner.op_type != node.op_type or inner.domain:
        return None
    return inner.inputs[0]  # 14


RULES: Rules = {
    "Identity": (_identity,),
    "Dropout": (_dropout,),
    "Cast": (_cast,),
    "CastLike": (_cast_like,),
    "Transpose": (_transpose,),
    "Reshape": (_same_shape,),
    "Flatten": (_same_shape,),
    "Squeeze": (_same_shape,),
    "Unsqueeze": (_same_shape,),
    "Expand": (_same_shape,),
    "Slice": (_slice,),
    "Pad": (_pad,),
    "Tile": (_tile,),
    "Concat": (_concat,),
    "Sum": (_single,),
    "Max": (_single,),
    "Min": (_single,),
    "Mean": (_single,),
    "Split": (_split,),
    "Mul": (_neutral(_is_one),),
    "Div": (_neutral_right(_is_one),),
    "Pow": (_neutral_right(_is_one),),
    "Sub": (_neutral_right(_is_plus_zero),),
    "Add": (_neutral(_is_nothing_added),),
    "And": (_neutral(bool),),
    "Or": (_neutral(lambda value: not value),),
    "Xor": (_neutral(lambda value: not value),),
    "Where": (_where,),
    "Clip": (_clip,),
    "Resize": (_resize,),
    "Neg": (_twice,),
    "Not": (_twice,),
    "BitwiseNot": (_twice,),
}
