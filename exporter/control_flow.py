"""Branches, `torch.cond`, loops and scans as If, Loop and Scan; their functions' graphs become subgraphs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import onnx_ir as ir
from torch import fx

from aten_lowering.builder import Builder, Value, dims
from aten_lowering.promotion import as_value
from exporter.capture.graph import CapturedGraph, either, live_nodes
from exporter.capture.torch_internals import higher_order
from shape_inference import TensorType, Type, at_least

if TYPE_CHECKING:
    from exporter.translation import Translator

__all__ = ["CONTROL_FLOW", "with_inner"]

_BOOL, _INT64 = ir.DataType.BOOL, ir.DataType.INT64


def with_inner(nodes: Sequence[fx.Node]) -> list[fx.Node]:
    """The nodes, and those of the graphs within them."""
    found: list[fx.Node] = []
    for node in nodes:
        found.append(node)
        for captured in node.meta.get("graphs", ()):
            found += with_inner(live_nodes(captured.graph, captured.outputs))
    return found


def _cond(translator: Translator, node: fx.Node, condition: Any, used: Sequence[Any]) -> Any:
    """The results of one of two graphs; where they may be of different sizes, these are known when the model runs."""
    run = _runner(translator, node, used)
    then, other = node.meta["graphs"]
    if isinstance(condition, bool):
        return run(then if condition else other, translator.op, ())
    op = translator.op
    branches = [op.subgraph(lambda inner, g=graph: run(g, inner, ())) for graph in (then, other)]
    condition = op.reshape(op.cast(condition, _BOOL), [])
    results = op.If(condition, then_branch=branches[0], else_branch=branches[1], _outputs=len(then.outputs))
    found = list(results) if isinstance(results, (tuple, list)) else [results]
    for result, first, second in zip(found, branches[0].outputs, branches[1].outputs, strict=True):
        pairs = zip(dims(first), dims(second), strict=True)
        op.sized(result, [a if a == b else op.fresh("size") for a, b in pairs])
    return found


def _while_loop(translator: Translator, node: fx.Node, carried: Sequence[Value], used: Sequence[Any]) -> Any:
    """What is carried in the end; the condition is computed before the loop, and after each round."""
    run = _runner(translator, node, used)
    test, rounds = node.meta["graphs"]

    def condition(op: Builder, values: Sequence[Value]) -> Value:
        return op.reshape(op.cast(run(test, op, values)[0], _BOOL), [])

    def body(op: Builder, index: Value, going: Value, *values: Value) -> list[Value]:
        after = run(rounds, op, values)
        return [condition(op, after), *after]

    op, open_axes = translator.op, node.meta["open_axes"]
    given = _types(op, carried, open_axes)
    inputs: list[tuple[str, Type]] = [("round", TensorType(_INT64, ())), ("going", TensorType(_BOOL, ()))]
    inputs += [(f"carried_{i}", kind) for i, kind in enumerate(given)]
    graph = op.subgraph(body, inputs)
    results = op.Loop(None, condition(op, carried), *carried, body=graph, _outputs=len(carried))
    return _sized(op, results, carried, open_axes)


def _scan(
    translator: Translator, node: fx.Node, carried: Sequence[Value], rows: Sequence[Value], used: Sequence[Any]
) -> Any:  # fmt: skip
    """What is carried in the end, and what each round adds."""
    return _scanned(translator.op, carried, rows, _rounds(translator, node, used), node.meta["open_axes"])


def _map(translator: Translator, node: fx.Node, rows: Sequence[Value], used: Sequence[Any]) -> Any:
    """What each round gives."""
    return _scanned(translator.op, (), rows, _rounds(translator, node, used))


def _associative_scan(translator: Translator, node: fx.Node, rows: Sequence[Value], used: Sequence[Any]) -> Any:
    """The first row, then what it makes with each of the others; combined one after the other."""
    run, op = _rounds(translator, node, used), translator.op
    count = len(rows)

    def body(op: Builder, *values: Value) -> list[Value]:
        combined = run(op, *values)
        return [*combined, *(op.Identity(value) for value in combined)]

    first = [op.slice(row, 0, 0, 1) for row in rows]
    rest = [op.slice(row, 0, 1, dims(row)[0]) for row in rows]
    results = _scanned(op, [op.squeeze(row, [0]) for row in first], rest, body)[count:]
    whole = [op.Concat(a, b, axis=0) for a, b in zip(first, results, strict=True)]
    return [op.sized(value, dims(row)) for value, row in zip(whole, rows, strict=True)]


CONTROL_FLOW: dict[Any, Callable[..., Any]] = {
    higher_order("cond"): _cond,
    either: _cond,
    higher_order("while_loop"): _while_loop,
    higher_order("scan"): _scan,
    higher_order("map_impl"): _map,
    higher_order("associative_scan"): _associative_scan,
}


Run = Callable[[CapturedGraph, Builder, Sequence[Value]], list[Value]]


def _runner(translator: Translator, node: fx.Node, used: Sequence[Any]) -> Run:
    """Translate a graph into a builder; `used` is what the nodes of the graphs around became."""
    outside: Mapping[fx.Node, Any] = dict(zip(node.args[-1], used, strict=True))  # type: ignore[arg-type]  # a list of nodes

    def run(captured: CapturedGraph, op: Builder, inputs: Sequence[Value]) -> list[Value]:
        return [_as_output(op, item) for item in translator.translate_inner(captured, op, inputs, outside)]

    return run


def _rounds(translator: Translator, node: fx.Node, used: Sequence[Any]) -> Callable[..., list[Value]]:
    run, (captured,) = _runner(translator, node, used), node.meta["graphs"]
    return lambda op, *values: run(captured, op, values)


def _as_output(op: Builder, item: Any) -> Value:
    if isinstance(item, Value):
        return item
    return as_value(op, item, _BOOL if isinstance(item, bool) else _INT64)


OpenAxes = Sequence[Collection[int]]  # of each result; what is carried comes first


def _types(op: Builder, values: Sequence[Value], open_axes: OpenAxes = ()) -> list[TensorType]:
    """The types of values, with a size of its own at each open axis."""
    kinds = []
    for i, value in enumerate(values):
        dtype, shape = op.type(value).dtype, op.type(value).shape
        axes = open_axes[i] if open_axes else ()
        if shape is not None and axes:
            shape = tuple(op.fresh("size") if axis in axes else size for axis, size in enumerate(shape))
        kinds.append(TensorType(dtype, shape))
    return kinds


def _scanned(
    op: Builder, carried: Sequence[Value], rows: Sequence[Value], body: Callable[..., list[Value]],
    open_axes: OpenAxes = (),
) -> list[Value]:  # fmt: skip
    if any(open_axes) or not at_least(dims(rows[0])[0], 1):
        return _repeated(op, carried, rows, body, open_axes)
    parts = [TensorType(kind.dtype, kind.shape[1:] if kind.shape else None) for kind in _types(op, rows)]
    inputs: list[tuple[str, Type]] = [(f"carried_{i}", kind) for i, kind in enumerate(_types(op, carried))]
    inputs += [(f"row_{i}", kind) for i, kind in enumerate(parts)]
    graph = op.subgraph(body, inputs)
    results = op.Scan(*carried, *rows, body=graph, num_scan_inputs=len(rows), _outputs=len(graph.outputs))
    results = list(results) if isinstance(results, tuple) else [results]
    return [*_sized(op, results[: len(carried)], carried), *results[len(carried) :]]


def _repeated(
    op: Builder, carried: Sequence[Value], rows: Sequence[Value], body: Callable[..., list[Value]],
    open_axes: OpenAxes = (),
) -> list[Value]:  # fmt: skip
    """As a Loop, which may go no round, and whose values may change their sizes; Scan needs a row, and one size."""

    def taken(op: Builder, place: Value, going: Value, *values: Value) -> list[Value]:
        return [op.Identity(going), *body(op, *values, *(op.Gather(row, place, axis=0) for row in rows))]

    inputs: list[tuple[str, Type]] = [("place", TensorType(_INT64, ())), ("going", TensorType(_BOOL, ()))]
    inputs += [(f"carried_{i}", kind) for i, kind in enumerate(_types(op, carried, open_axes))]
    graph = op.subgraph(taken, inputs)
    count, going = op.scalar(dims(rows[0])[0]), None if carried else op.constant(True, _BOOL)  # of two inputs at least
    results = op.Loop(count, going, *carried, body=graph, _outputs=len(graph.outputs) - 1)
    results = list(results) if isinstance(results, tuple) else [results]
    added = zip(results[len(carried) :], graph.outputs[len(carried) + 1 :], strict=True)
    stacked = [op.sized(value, [dims(rows[0])[0], *dims(one)]) for value, one in added]
    return [*_sized(op, results[: len(carried)], carried, open_axes), *stacked]


def _sized(op: Builder, results: Any, like: Sequence[Value], open_axes: OpenAxes = ()) -> list[Value]:
    """The results, with the sizes of other values, but for open axes."""
    found = list(results) if isinstance(results, (tuple, list)) else [results]
    kinds = _types(op, like, open_axes)
    return [
        value if kind.shape is None else op.sized(value, kind.shape) for value, kind in zip(found, kinds, strict=True)
    ]
