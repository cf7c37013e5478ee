"""An order in which the nodes of a graph can run."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

__all__ = ["in_order"]


def in_order(nodes: Iterable[ir.Node]) -> tuple[list[ir.Node], list[ir.Node]]:
    """Sort nodes so that each comes after what it needs; last those that lie on a cycle, or behind one."""
    waiting = {node: _needs(node) for node in nodes}
    made: set[ir.Value] = {value for node in waiting for value in node.outputs}
    users: dict[ir.Value, list[ir.Node]] = {}
    counts: dict[ir.Node, int] = {}
    for node, needs in waiting.items():
        own = {value for value in needs if value in made}
        counts[node] = len(own)
        for value in own:
            users.setdefault(value, []).append(node)
    ready = [node for node, count in counts.items() if not count]
    for node in ready:
        for value in node.outputs:
            for user in users.get(value, ()):
                counts[user] -= 1
                if not counts[user]:
                    ready.append(user)
    done = set(ready)
    return ready, [node for node in waiting if node not in done]


def _needs(node: ir.Node) -> set[ir.Value]:
    """What a node uses, in its bodies too."""
    needs = {value for value in node.inputs if value is not None}
    for attr in node.attributes.values():
        if attr.type == ir.AttributeType.GRAPH and not attr.is_ref():
            for inner in ir.traversal.RecursiveGraphIterator(attr.as_graph()):
                needs.update(value for value in inner.inputs if value is not None)
    return needs
