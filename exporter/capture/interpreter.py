"""The captured graph run in eager PyTorch, node by node, with the values on the way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from exporter.capture.graph import CapturedGraph, either
from exporter.capture.torch_internals import higher_order

__all__ = ["intermediates"]

Values = dict[fx.Node, Any]


def intermediates(
    captured: CapturedGraph, inputs: Sequence[torch.Tensor], wanted: Collection[fx.Node]
) -> Values:  # fmt: skip
    """What eager PyTorch gives for nodes of a captured graph, at any sizes of its inputs.

    Args:
        captured: the graph.
        inputs: a tensor for each of its placeholders, in order.
        wanted: the nodes whose values are kept; all others are let go when they have been used.
    """
    kept: Values = {}
    with torch.no_grad():
        _Interpreter(captured, {}, kept, set(wanted)).run(*(tensor.clone() for tensor in inputs))
    return kept


class _Interpreter(fx.Interpreter):
    """Runs a captured graph; `outside` has the values of the nodes of graphs around it."""

    def __init__(self, captured: CapturedGraph, outside: Mapping[fx.Node, Any], kept: Values, wanted: set[fx.Node]):
        # Inside a branch or a loop, values of the graphs around it are not the interpreter's to let go.
        super().__init__(torch.nn.Module(), garbage_collect_values=not outside, graph=captured.graph)
        self.captured, self.kept, self.wanted = captured, kept, wanted
        self.outside = outside

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        return self.captured.state[str(target)]

    def run_node(self, n: fx.Node) -> Any:
        result = self._control_flow(n) if n.meta.get("graphs") else super().run_node(n)
        if n in self.wanted:
            self.kept[n] = result
        return result

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        try:
            return super().call_function(target, args, kwargs)
        except RuntimeError as error:
            if "view" not in str(error):
                raise
            # Strides decide nothing: the captured `view` may be of a tensor that here is laid out in another way.
            return super().call_function(target, tuple(map(_contiguous, args)), kwargs)

    def fetch_args_kwargs_from_env(self, n: fx.Node) -> Any:
        def value(node: fx.Node) -> Any:
            return self.env[node] if node in self.env else self.outside[node]

        return fx.node.map_arg(n.args, value), fx.node.map_arg(n.kwargs, value)

    def _control_flow(self, node: fx.Node) -> list[Any]:
        arguments, _ = self.fetch_args_kwargs_from_env(node)
        graphs: Sequence[CapturedGraph] = node.meta["graphs"]
        outside = {**self.outside, **self.env}

        def run(captured: CapturedGraph, *given: Any) -> list[Any]:
            return _run_inner(captured, outside, given)

        return list(_CONTROL_FLOW[node.target](run, graphs, *arguments[:-1]))


def _run_inner(captured: CapturedGraph, outside: Mapping[fx.Node, Any], given: Sequence[Any]) -> list[Any]:
    """The results of a branch or of one round of a loop."""
    values: Values = {}
    _Interpreter(captured, outside, values, set(captured.graph.nodes)).run(*given)
    values = {**outside, **values}
    results = [values[item] if isinstance(item, fx.Node) else item for item in captured.outputs]
    return [torch.as_tensor(item) for item in results]


def _cond(run: Any, graphs: Any, condition: Any) -> list[Any]:
    results: list[Any] = run(graphs[0] if bool(condition) else graphs[1])
    return results


def _while_loop(run: Any, graphs: Any, carried: Sequence[Any]) -> list[Any]:
    values = list(carried)
    while bool(run(graphs[0], *values)[0]):
        values = run(graphs[1], *values)
    return values


def _scan(run: Any, graphs: Any, carried: Sequence[Any], rows: Sequence[Any]) -> list[Any]:
    values, added = list(carried), []
    for place in range(len(rows[0])):
        results = run(graphs[0], *values, *(row[place] for row in rows))
        values = results[: len(carried)]
        added.append(results[len(carried) :])
    return [*values, *map(torch.stack, zip(*added, strict=True))]


def _map(run: Any, graphs: Any, rows: Sequence[Any]) -> list[Any]:
    return _scan(run, graphs, (), rows)


def _associative_scan(run: Any, graphs: Any, rows: Sequence[Any]) -> list[Any]:
    combined = [[row[0] for row in rows]]
    for place in range(1, len(rows[0])):
        combined.append(run(graphs[0], *combined[-1], *(row[place] for row in rows)))
    return [torch.stack(column) for column in zip(*combined, strict=True)]


_CONTROL_FLOW: dict[Any, Callable[..., list[Any]]] = {
    either: _cond,
    higher_order("cond"): _cond,
    higher_order("while_loop"): _while_loop,
    higher_order("scan"): _scan,
    higher_order("map_impl"): _map,
    higher_order("associative_scan"): _associative_scan,
}


def _contiguous(argument: Any) -> Any:
    return argument.contiguous() if isinstance(argument, torch.Tensor) else argument
