"""Functions of the model that rules make: what is done many times is written once, and called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir

from aten_lowering.builder import Builder, Value, dtype
from aten_lowering.errors import LoweringError
from shape_inference import TensorType

__all__ = ["called"]

_DOMAIN = "fx2onnx"


def called(
    op: Builder, name: str, body: Callable[..., Sequence[Value]], inputs: Mapping[str, Value | None]
) -> tuple[Value, ...]:  # fmt: skip
    """Emit one node that calls a function of the model, each of whose results is like the first input.

    Args:
        op: the builder.
        name: of the function; the same name with the same inputs is the same function.
        body: gets a builder and, by name, values like the inputs, of any shape; returns the results.  Numbers that it
            needs are inputs, for a function has no constants of the model.
        inputs: values by the names that they have in the function, absent ones as None.

    Raises:
        LoweringError: the body makes a constant.
    """
    given = {name: value for name, value in inputs.items() if value is not None}
    functions, key = op.root.functions, (name, tuple(given))
    if key not in functions:
        taken = {function.name for function in functions.values()}
        unique = next(n for n in (name, *(f"{name}_{i}" for i in range(1, len(taken) + 1))) if n not in taken)
        functions[key] = _function(op, unique, body, given)
    values, function = list(given.values()), functions[key]
    return op._append(function.name, values, (), [op.type(values[0])] * len(function.outputs), _DOMAIN)


def _function(op: Builder, name: str, body: Callable[..., Sequence[Value]], given: Mapping[str, Value]) -> ir.Function:
    inner = Builder(op.opset_version)
    inputs = {inner.unique(name): Value(name=name) for name in given}
    for value, like in zip(inputs.values(), given.values(), strict=True):
        inner.set_type(value, TensorType(dtype(like), None))
    results = body(inner, **inputs)
    if inner.root.initializers:
        raise LoweringError(f"{name}: a function must get its numbers as inputs")
    for node in inner.nodes:
        for output in node.outputs:
            output.type = None  # that of this call
    graph = ir.Graph(list(inputs.values()), results, nodes=inner.nodes, opset_imports={"": op.opset_version})
    return ir.Function(_DOMAIN, name, graph=graph, attributes=())
