"""Types one operator call, or all values of a model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from shape_inference import rules
from shape_inference.dims import Dim, symbol
from shape_inference.models import infer
from shape_inference.registry import Call, NotTyped, rule_for
from shape_inference.types import Type
from shape_inference.values import type_of

__all__ = ["infer", "infer_call"]

rules.load()


def infer_call(
    op_type: str,
    inputs: Sequence[Type | None],
    attributes: Mapping[str, Any],
    *,
    domain: str = "",
    version: int = 18,
    output_count: int = 1,
    fresh: Callable[[str], Dim],
) -> tuple[Type | None, ...]:
    """Type the outputs of one operator call.

    Args:
        op_type: The operator's name.
        inputs: The types of the inputs; None for an absent one, `UNKNOWN` for one that is there.
        attributes: The attributes as Python values.
        domain: The operator's domain.
        version: The opset version of that domain.
        output_count: How many outputs are used.
        fresh: Makes a new symbol, for a dim that no formula describes.

    Returns:
        One type an output; None where it is not known.

    Raises:
        InferenceError: The call is not valid; the text names the op, what must hold and what it got.
    """
    rule = rule_for(op_type, domain, version)
    if rule is None:
        return (None,) * output_count
    try:
        types = rule(Call(op_type, domain, version, inputs, attributes, output_count, fresh, _as_typed))
    except NotTyped:
        return (None,) * output_count
    if len(types) < output_count:
        return types + (None,) * (output_count - len(types))
    return types[:output_count] if len(types) > output_count else types


def _as_typed(graph: ir.Graph, inputs: Sequence[Type | None], dead: bool) -> tuple[Type | None, ...]:
    """The outputs of a graph whose values are typed already."""
    return tuple([type_of(value, _unnamed) for value in graph.outputs])


def _unnamed(hint: str) -> Dim:
    return symbol(f"unnamed_{hint}_{next(_numbers)}")


_numbers = itertools.count()
