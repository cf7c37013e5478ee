"""Where onnxruntime put the nodes of a model: how many each provider got, and the breaks between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import onnx_ir as ir
import onnxruntime

__all__ = ["Placed", "Placement", "Stretch", "placement_of"]

CPU = "CPUExecutionProvider"
RECORD = "session.record_ep_graph_assignment_info"  # the session option that `placement_of` needs


@dataclass(frozen=True)
class Placed:
    """One node, as onnxruntime had it when it gave nodes to providers.

    Attributes:
        name: the node's name; ours, but for nodes that onnxruntime made.
        op_type: its operator.
        provider: onnxruntime's name of the provider that has it.
    """

    name: str
    op_type: str
    provider: str

    @property
    def module(self) -> str:
        """The path of the module that the node came from, or ""."""
        return self.name.rpartition("/")[0]


@dataclass(frozen=True)
class Stretch:
    """Nodes that follow each other on one provider."""

    provider: str
    nodes: tuple[Placed, ...]


@dataclass(frozen=True)
class Placement:
    """Where the nodes of a model went.

    Attributes:
        provider: onnxruntime's name of the provider that was asked for.
        nodes: the nodes, in the model's order; those that onnxruntime folded away are not among them.
        partitions: how many separate parts of the graph the provider has.
        copies: how many values one provider computes and another reads: each is copied where their memories
            differ.
    """

    provider: str
    nodes: tuple[Placed, ...]
    partitions: int
    copies: int

    @property
    def counts(self) -> dict[str, int]:
        """Provider -> how many nodes it has."""
        return dict(Counter(node.provider for node in self.nodes))

    @property
    def fallback(self) -> tuple[Placed, ...]:
        """The nodes that another provider got than the one asked for."""
        return tuple(node for node in self.nodes if node.provider != self.provider)

    @property
    def stretches(self) -> list[Stretch]:
        """The nodes in the model's order, cut where the provider changes."""
        return [Stretch(provider, tuple(nodes)) for provider, nodes in groupby(self.nodes, lambda n: n.provider)]

    def __str__(self) -> str:
        own = self.counts.get(self.provider, 0)
        parts = [f"{own} of {len(self.nodes)} nodes in {_count(self.partitions, 'partition')}"]
        if self.fallback:
            kinds = Counter(node.op_type for node in self.fallback)
            named = ", ".join(f"{count} {op}" if count > 1 else op for op, count in kinds.most_common(6))
            parts.append(f"{len(self.fallback)} fell back ({named}{', ...' if len(kinds) > 6 else ''})")
            parts.append(_count(self.copies, "value") + " cross" + ("es" if self.copies == 1 else ""))
        return "; ".join(parts)


def placement_of(session: onnxruntime.InferenceSession, provider: str, graph: ir.Graph) -> Placement:
    """Where the nodes of a session went.

    Args:
        session: made with the session option `RECORD` at 1.
        provider: onnxruntime's name of the provider that was asked for.
        graph: the model's graph as it was given to onnxruntime.
    """
    groups = [
        (group.ep_name, [(node.name, node.op_type) for node in group.get_nodes()])
        for group in session.get_provider_graph_assignment_info()
    ]
    placed = {name: Placed(name, op_type, owner) for owner, nodes in groups for name, op_type in nodes}
    order = {node.name or "": place for place, node in enumerate(graph)}
    ends: dict[str, float] = {}  # module -> behind its last node: where a node that onnxruntime made for it stands
    for name in placed.keys() & order.keys():
        module = placed[name].module
        ends[module] = max(ends.get(module, 0.0), order[name] + 0.5)
    last = float(len(order))
    nodes = sorted(placed.values(), key=lambda node: order.get(node.name, ends.get(node.module, last)))
    owners = _owners(graph, placed)
    compiled = [nodes for owner, nodes in groups if owner == provider and len(nodes) > 1]
    partitions = _partitions(graph, owners, provider)
    if compiled:  # a provider that compiles tells its partitions itself
        partitions = sum(owner == provider for owner, _ in groups)
    return Placement(provider, tuple(nodes), partitions, _copies(graph, owners))


def _owners(graph: ir.Graph, placed: Mapping[str, Placed]) -> dict[ir.Node, str]:
    """The provider of each node; a folded or fused one goes with the first node that it reads from."""
    owners: dict[ir.Node, str] = {}
    for node in graph:
        known = placed.get(node.name or "")
        producers = [value.producer() for value in node.inputs if value is not None]
        inherited = [owners[p] for p in producers if p is not None and p in owners]
        if known is not None:
            owners[node] = known.provider
        elif inherited:
            owners[node] = inherited[0]
    return owners


def _copies(graph: ir.Graph, owners: Mapping[ir.Node, str]) -> int:
    """How many pairs of a value and a provider there are that reads the value from another."""
    pairs = {
        (value, owners[user])
        for node in graph
        for value in node.outputs
        for user, _ in value.uses()
        if node in owners and user in owners and owners[user] != owners[node]
    }
    return len(pairs)


def _partitions(graph: ir.Graph, owners: Mapping[ir.Node, str], provider: str) -> int:
    """How many connected parts of the graph a provider has."""
    parent: dict[ir.Node, ir.Node] = {node: node for node in graph if owners.get(node) == provider}

    def root(node: ir.Node) -> ir.Node:
        while parent[node] is not node:
            parent[node] = node = parent[parent[node]]
        return node

    for node in parent:
        producers: Sequence[ir.Node | None] = [value.producer() for value in node.inputs if value is not None]
        for producer in producers:
            if producer in parent and producer is not None:
                parent[root(producer)] = root(node)
    return len({root(node) for node in parent})


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
