"""Two ways that a model can go by the values of a tensor, as one graph: what follows the decision is an If.

Python cannot go both ways at once, so the model was recorded twice.  Both recordings are the same up to the
decision; what each did after it becomes a graph within the graph.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import fx

from exporter.capture.graph import CapturedGraph, either, live_nodes
from exporter.capture.sizes import SAMPLES
from exporter.capture.tensors import Spec

aten = torch.ops.aten

_ALIKE = "the model must return the same kinds of results after both answers"

Specs = tuple[Spec, ...]
Twins = dict[fx.Node, fx.Node]


class Apart(Exception):
    """Two ways that cannot be one graph; the message says why."""


def joined(then: CapturedGraph, other: CapturedGraph, place: int) -> CapturedGraph:
    """The graph of both ways, parted at a decision.

    Args:
        then: what was recorded where the answer was yes.
        other: and no.
        place: which of the decisions on their way it is.

    Raises:
        Apart: the ways do not return results of one structure, dtypes and ranks.
    """
    condition, twins = then.forks[place].condition, _twins(then, other, place)
    if twins is None or condition is None:
        raise Apart("the decision must not stand in a function of torch.cond, while_loop, scan or map")
    if then.result_names != other.result_names:
        raise Apart(f"{_ALIKE}, got {', '.join(then.result_names)} and {', '.join(other.result_names)}")
    names = list(dict.fromkeys((*then.mutations, *other.mutations)))
    firsts = [*then.outputs, *(_after(then, name) for name in names)]
    seconds = [*other.outputs, *(_after(other, name) for name in names)]
    is_parted = [not _is_same(a, b, twins) for a, b in zip(firsts, seconds, strict=True)]
    pairs = [
        (_as_tensor(then.graph, a), _as_tensor(other.graph, b))
        for a, b, parted in zip(firsts, seconds, is_parted, strict=True)
        if parted
    ]
    columns = [_common(a, b) for a, b in pairs]
    for pair, column in zip(pairs, columns, strict=True):
        if not column:
            raise Apart(f"{_ALIKE}, got {' and '.join(map(_kind, pair))}")
    ways = [_way(then, [a for a, _ in pairs], {node: node for node in twins.values()})]
    ways.append(_way(other, [b for _, b in pairs], twins))
    parts = iter(_record(then.graph, condition, ways, columns))
    results = [next(parts) if parted else first for first, parted in zip(firsts, is_parted, strict=True)]
    count = len(then.outputs)
    return replace(
        then, outputs=results[:count], mutations=dict(zip(names, results[count:], strict=True)),
        decisions=then.decisions + other.decisions, forks=then.forks[:place], ways=then.ways + other.ways,
    )  # fmt: skip


def _twins(then: CapturedGraph, other: CapturedGraph, place: int) -> Twins | None:
    """The nodes of `other` up to the decision -> those of `then`; None where they are not the same."""
    count = then.forks[place].place
    first, second = (list(graph.nodes)[:count] for graph in (then.graph, other.graph))
    if count != other.forks[place].place or list(map(_described, first)) != list(map(_described, second)):
        return None
    return dict(zip(second, first, strict=True))


def _described(node: fx.Node) -> tuple[Any, ...]:
    return node.op, node.name, node.target, str(node.args), str(node.kwargs)


def _after(captured: CapturedGraph, name: str) -> fx.Node:
    """What a buffer holds after the call."""
    node = captured.mutations.get(name)
    if node is None:
        held = (node for node in captured.graph.nodes if node.op == "get_attr" and node.target == name)
        node = next(held)  # the other way writes to it, after having read its sizes
    return node


def _is_same(first: Any, second: Any, twins: Twins) -> bool:
    """Whether two results are one constant, or one node from before the decision."""
    if isinstance(first, fx.Node) and isinstance(second, fx.Node):
        return twins.get(second) is first
    return type(first) is type(second) and not isinstance(first, fx.Node) and bool(first == second)


def _as_tensor(graph: fx.Graph, result: Any) -> Any:
    """The node of a tensor of rank 0 for a number or a truth that a way returns; else the result itself."""
    dtype = _DTYPES.get(type(result))
    if dtype is None:
        return result
    *_, last = graph.nodes
    with graph.inserting_before(last if last.op == "output" else None):
        node = graph.call_function(aten.scalar_tensor.default, (result,), {"dtype": dtype})
    node.meta.update(specs=((Spec((), (), dtype),),), module="", source=None)
    return node


_DTYPES = {bool: torch.bool, int: torch.int64, float: torch.float32}


def _common(first: Any, second: Any) -> Specs:
    """What two tensors have in common: sizes that differ become dynamic ones; () where they have too little."""
    if not (isinstance(first, fx.Node) and isinstance(second, fx.Node)):
        return ()
    columns = [node.meta.get("specs", ()) for node in (first, second)]
    if any(len(column) != 1 for column in columns):
        return ()
    (a,), (b,) = columns
    if a[0].dtype != b[0].dtype or len(a[0].shape) != len(b[0].shape):
        return ()
    if a == b or [spec.shape for spec in a] == [spec.shape for spec in b]:
        return tuple(a)
    made = []
    for i in range(SAMPLES):
        pairs = zip(a[i % len(a)].shape, b[i % len(b)].shape, strict=True)
        choices = [(x, y, x + y) for x, y in pairs]
        shape = tuple(x if x == y else (x, y, both)[i] for x, y, both in choices)
        made.append(Spec(shape, tuple(1 for _ in shape), a[0].dtype))
    return tuple(made)


def _kind(result: Any) -> str:
    """A result in words: float32[2, 4], or a number."""
    columns: Any = result.meta.get("specs", ()) if isinstance(result, fx.Node) else ()
    if len(columns) != 1:
        return "a size" if isinstance(result, fx.Node) else repr(result)
    spec = columns[0][0]
    return f"{str(spec.dtype).removeprefix('torch.')}{list(spec.shape)}"


def _way(captured: CapturedGraph, outputs: Sequence[fx.Node], before: Twins) -> CapturedGraph:
    """What is computed after the decision, as a graph of its own; `before` says what stands for earlier nodes."""
    graph, now = fx.Graph(), dict(before)
    _copy([node for node in live_nodes(captured.graph, outputs) if node not in before], graph, now)
    return CapturedGraph(graph, captured.state, [now[node] for node in outputs], is_sequence=True)


def _copy(nodes: Iterable[fx.Node], graph: fx.Graph, now: Twins) -> None:
    """Copy nodes into a graph, and the graphs within them; `now` says what stands for nodes, and learns it."""
    for node in nodes:
        now[node] = copy = graph.node_copy(node, lambda used: now.get(used, used))
        if "graphs" in node.meta:
            copy.meta["graphs"] = [_moved(inner, now) for inner in node.meta["graphs"]]


def _moved(captured: CapturedGraph, around: Twins) -> CapturedGraph:
    graph, now = fx.Graph(), dict(around)
    _copy(captured.graph.nodes, graph, now)
    return replace(captured, graph=graph, outputs=[now.get(node, node) for node in captured.outputs])


def _record(
    graph: fx.Graph, condition: fx.Node, ways: Sequence[CapturedGraph], columns: Sequence[Specs]
) -> list[fx.Node]:  # fmt: skip
    """Add the node that goes one of the ways; return those of its results."""
    used: dict[fx.Node, None] = {}
    for way in ways:
        for node in way.graph.nodes:
            used.update(dict.fromkeys(given for given in node.all_input_nodes if given.graph is graph))
        used.update(dict.fromkeys(output for output in way.outputs if output.graph is graph))
    *_, last = graph.nodes
    with graph.inserting_before(last if last.op == "output" else None):
        node = graph.call_function(either, (condition, list(used)))
        node.meta.update(graphs=list(ways), specs=tuple(columns), module="", source=condition.meta.get("source"))
        parts = []
        for i, column in enumerate(columns):
            part = graph.call_function(operator.getitem, (node, i))
            part.meta["specs"] = (column,)
            parts.append(part)
    return parts
