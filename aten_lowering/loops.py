"""Loops that change some values a number of times, for algorithms that go through a matrix by columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from aten_lowering.builder import Builder, Value
from shape_inference import Size, TensorType, Type

__all__ = ["counted", "repeated"]

Body = Callable[..., tuple[Sequence[Value], Sequence[Value]]]


def repeated(
    op: Builder, count: Size, state: Sequence[Value], body: Body, *, until: Callable[..., Value] | None = None
) -> list[Value]:
    """Run a body a number of times, and return the last state, then each round's outputs: [count, *S].

    Args:
        op: the builder.
        count: how often.
        state: what the first round begins with; shapes and types stay.
        body: gets a builder, the number of the round, from 0 on, and the state; returns the next
            state, and outputs.
        until: gets a builder and the state after a round; ends the loop where its result is true.
    """
    shapes = [TensorType(item.dtype, op.type(item).shape) for item in state if item.dtype is not None]

    def rounds(inner: Builder, index: Value, going: Value, *values: Value) -> list[Value]:
        after, outputs = body(inner, index, *values)
        goes_on = inner.Identity(going) if until is None else inner.Not(until(inner, *after))
        return [goes_on, *after, *outputs]

    inputs: list[tuple[str, Type]] = [
        ("round", TensorType(ir.DataType.INT64, ())),
        ("going", TensorType(ir.DataType.BOOL, ())),
        *((f"state_{i}", shape) for i, shape in enumerate(shapes)),
    ]
    graph = op.subgraph(rounds, inputs)
    results = op.Loop(op.scalar(count), True, *state, body=graph, _outputs=len(graph.outputs) - 1)
    results = list(results) if isinstance(results, tuple) else [results]
    for i, shape in enumerate(shapes):
        op.set_type(results[i], shape)
    return results


def counted(op: Builder, count: Size) -> Value:
    """[count]: the numbers from 0 on."""
    if type(count) is int:
        return op.constant(np.arange(count))
    return op.sized(op.Range(op.constant(0), op.scalar(count), op.constant(1)), [count])
