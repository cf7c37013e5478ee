"""The outputs of the ONNX graph: one value each, under its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aten_lowering.builder import Builder, Value
from aten_lowering.quotients import number
from shape_inference import Dim


def name_outputs(op: Builder, results: Sequence[Any], names: Sequence[str], inputs: Sequence[Value]) -> list[Value]:
    """Values for the results, in order, each under its own name.

    A result that is an input, a weight or an earlier result gets an Identity, for an ONNX output is one
    value; a size or a number becomes a value of rank 0.
    """
    op.scope = ""
    taken: set[Value] = set(inputs) | set(op.root.initializers.values())
    outputs = []
    for result in results:
        value = _as_value(op, result)
        if value in taken or value in op.root.initializers.values():
            value = op.Identity(value)
        taken.add(value)
        outputs.append(value)
    for value, name in zip(outputs, names, strict=False):
        value.name = name
    return outputs


def _as_value(op: Builder, result: Any) -> Value:
    result = number(op, result)
    if isinstance(result, Value):
        return result
    if isinstance(result, Dim):
        return op.scalar(result)
    return op.constant(result)
