"""Which inputs decide what Python code asks for, where they tell no more than how a call is laid out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import fx

from exporter.capture.branching.layouts import compared_input
from exporter.capture.known import has_kinds
from exporter.capture.sizes import SizeNode

if TYPE_CHECKING:
    from exporter.capture.answers import Answers

aten = torch.ops.aten


class Deciding(NamedTuple):
    """The inputs that decide a number by all their values, and those that do by where they hold given numbers alone."""

    values: frozenset[str] = frozenset()
    layouts: frozenset[str] = frozenset()


def deciding_inputs(recorder: Answers, size: SizeNode) -> Deciding:
    """The inputs that decide a number, where all of them tell no more than how a call is laid out; else none.

    Of an attention mask, or `token_type_ids`, these are the values; of ids, which of them are given numbers.
    """
    found: set[str] = set()
    layouts: set[str] = set()
    seen: set[Any] = set()
    stack: list[tuple[Any, bool]] = [(size, True)]  # a node, and whether its values matter, or its sizes alone
    while stack:
        item, by_values = stack.pop()
        if (item, by_values) in seen:
            continue
        seen.add((item, by_values))
        if by_values and (compared := compared_input(recorder, item)) is not None:
            layouts.add(compared.name)
            stack += [(node, True) for node in compared.chosen_by]
        elif isinstance(item, SizeNode):
            stack += _parts_of(item)
        elif "values" in item.meta and item.target is not aten._local_scalar_dense.default:
            stack += [(recorder.sizes[item], True)] if "data" in item.meta and item in recorder.sizes else []
        elif item.op == "placeholder" and by_values:
            example = recorder.examples.get(item.name)
            if example is None or not has_kinds(example):
                return Deciding()
            found.add(str(item.target))
        elif item.op == "call_function" and (by_values or "data" in item.meta):
            stack += _behind(item, by_values)
    return Deciding(frozenset(found), frozenset(layouts))


def _parts_of(size: SizeNode) -> list[tuple[Any, bool]]:
    if size.is_literal:
        return []
    if size.operation is None:
        node, axis = size.operands
        return [(node, axis is None)]
    return [(operand, True) for operand in size.operands if isinstance(operand, SizeNode)]


def _behind(node: fx.Node, by_values: bool) -> list[tuple[Any, bool]]:
    """What decides the values of a node, or its sizes: of `x[mask]` the values of the mask, and x's sizes."""
    if by_values or not node.all_input_nodes:
        return [(argument, getattr(node.target, "_opname", "") not in _BY_SIZES) for argument in node.all_input_nodes]
    first, *others = node.all_input_nodes
    chooses = not others and "data" not in first.meta  # as nonzero does
    return [(first, chooses), *((argument, not _is_of_floats(argument)) for argument in others)]


def _is_of_floats(node: fx.Node) -> bool:
    columns = node.meta.get("specs", ())
    return any(column[0].dtype.is_floating_point or column[0].dtype.is_complex for column in columns)


_BY_SIZES = {"zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty"}
