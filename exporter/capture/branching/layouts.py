"""Where an input of integers holds given numbers, as ids hold those of images: it tells how a call is laid out.

Where Python code decides by `input_ids == image_token_id` in a way that a graph cannot, such comparisons are the
example's.  The ids themselves are an input still.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import fx

from exporter.capture.known import has_kinds, known_values, run_again

if TYPE_CHECKING:
    from exporter.capture.answers import Answers
    from exporter.capture.sizes import SizeNode

aten = torch.ops.aten

COMPARISONS = {aten.eq.Scalar: operator.eq, aten.ne.Scalar: operator.ne}
_MOVES = {
    "select", "slice", "unbind", "index", "index_select", "view", "reshape", "flatten", "contiguous", "clone",
    "unsqueeze", "squeeze", "detach", "alias",
}  # fmt: skip


class Compared(NamedTuple):
    """The input whose elements are compared with a number, and the nodes that choose which."""

    name: str
    chosen_by: list[fx.Node]


def compared_input(recorder: Answers, item: Any) -> Compared | None:
    """What is compared with a number, where these are elements of an input of integers; else None.

    Args:
        recorder: which knows the examples.
        item: a node of the graph, or a number that Python has.
    """
    start = _compared(item)
    name = None if start is None else input_of_elements(recorder, start)
    if start is None or name is None:
        return None
    *steps, _ = _path(start)
    return Compared(name, [node for step in steps for node in step.all_input_nodes[1:]])


def input_of_elements(recorder: Answers, node: fx.Node) -> str | None:
    """The input of integers, no mask or kinds, that a node holds elements of; None for another node."""
    first = _path(node)[-1]
    example = recorder.examples.get(first.name) if first.op == "placeholder" else None
    if example is None or example.is_floating_point() or example.is_complex() or has_kinds(example):
        return None
    return str(first.target)


def example_values(recorder: Answers, node: fx.Node) -> torch.Tensor | None:
    """What a node holds at the example, where it holds elements of an input whose layout is fixed; else None."""
    *steps, first = _path(node)
    if first.op != "placeholder" or str(first.target) not in recorder.layouts or first.name not in recorder.examples:
        return None
    values: Any = recorder.examples[first.name]
    for step in reversed(steps):
        known: dict[fx.Node, tuple[Any, ...] | None] = {step.all_input_nodes[0]: (values,)}
        known |= {chosen: known_values(recorder, chosen) for chosen in step.all_input_nodes[1:]}
        if any(samples is None or len(samples) > 1 for samples in known.values()):
            return None
        values = run_again(step, known, 0)
    return values if isinstance(values, torch.Tensor) else None


def settled_by_layout(recorder: Answers, size: SizeNode) -> bool | None:
    """The answer to a comparison of an element with a number, where the layout is fixed; None for another question."""
    start = _compared(size) if recorder.layouts else None
    values = None if start is None else example_values(recorder, start)
    if values is None:
        return None
    (number,) = (operand.values[0] for operand in size.operands if operand.is_literal)
    return bool(values.item() == number) == (size.operation is operator.eq)


def _compared(item: Any) -> fx.Node | None:
    """What is compared with a number, to see whether it is that."""
    if isinstance(item, fx.Node):
        return item.all_input_nodes[0] if item.target in COMPARISONS else None
    if item.operation not in (operator.eq, operator.ne):
        return None
    others = [operand for operand in item.operands if not operand.is_literal]
    if len(others) != 1 or others[0].operation is not None:
        return None
    node = others[0].operands[0]
    return node.all_input_nodes[0] if node.target is aten._local_scalar_dense.default else None


def _path(node: fx.Node) -> list[fx.Node]:
    """A node, and what its elements come from, step by step: the last is none that moves elements."""
    found = [node]
    while node.target is operator.getitem or getattr(node.target, "_opname", "") in _MOVES:
        node = node.all_input_nodes[0]
        found.append(node)
    return found
