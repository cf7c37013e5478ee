"""Edit a model in place: what the passes share.

A rule looks at one node and returns what stands for its outputs instead: a value that was there
before, or the output of a node that it has just emitted. What is no longer used then is removed
here, at once, so that "this value has one use" is always true to the graph.

Names hold: a graph output and the values in `keep` never change theirs, a new node takes the name
of the node that it replaces.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from exporter.optimization.values import Array, Dims, bytes_of, has_one_use, is_used

__all__ = [
    "LARGEST_BYTES",
    "OLDEST_OPSET",
    "WITH_SUBGRAPHS",
    "Rewriter",
    "Rule",
    "Rules",
    "subgraphs",
]

Rule: TypeAlias = "Callable[[Rewriter, ir.Node], ir.Value | Sequence[ir.Value] | None]"
Rules: TypeAlias = "Mapping[str, tuple[Rule, ...]]"

OLDEST_OPSET = 13
"""Before it, Squeeze and Unsqueeze have their axes as attributes. Older models stay as they are."""

LARGEST_BYTES = 2**20
"""The largest constant that may come where a smaller one, or a shared one, was."""

FEW_USERS = 4

WITH_SUBGRAPHS = frozenset({"If", "Loop", "Scan", "SequenceMap"})


def subgraphs(node: ir.Node) -> Iterator[ir.Graph]:
    """The bodies of an If, a Loop, a Scan, or of any other node that has some."""
    for attr in node.attributes.data.values():
        if attr.type is ir.AttributeType.GRAPH:
            yield attr.as_graph()
        elif attr.type is ir.AttributeType.GRAPHS:
            yield from attr.as_graphs()


class Rewriter:
    """One model being edited, and what may not change in it."""

    def __init__(self, model: ir.Model, keep: Collection[str] = (), *, growth_bytes: int = 8 * 2**20) -> None:
        """Prepare to edit a model.

        Args:
            model: Is edited in place.
            keep: Names of values that stay: of initializers and of node outputs.
            growth_bytes: How much larger constant folding may make the model, in total.
        """
        self.graph = model.graph
        self.opset_version = model.opset_imports.get("", 0)
        self.keep = frozenset(keep)
        self.growth_bytes = growth_bytes
        self.constants: dict[ir.Graph, dict[Hashable, ir.Value]] = {}  # that were compared already, each by what it is
        self._integers: dict[tuple[ir.Graph, tuple[int, ...]], ir.Value] = {}
        self._names: set[str] | None = None
        self._removed: set[ir.Node] = set()
        self._touched: list[ir.Node] = []
        self._applied: dict[int, int] = {}

    @property
    def changes(self) -> int:
        """A number that grows with every change."""
        return len(self._touched)

    def apply(self, rules: Rules) -> int:
        """Try the rules on the nodes, subgraphs included, front to back; return how many fired.

        The first time these are all nodes, later only those around which something has changed.
        """
        if self.opset_version < OLDEST_OPSET:
            return 0
        since, self._applied[id(rules)] = self._applied.get(id(rules)), self.changes
        if since is None:
            fired = self._sweep(self.graph, rules)
        else:
            again = dict.fromkeys(_with_neighbours(self._touched[since:]))
            fired = sum(self._visit(node, rules) for node in again if node.graph is not None)
        self.flush()
        return fired

    def _sweep(self, graph: ir.Graph, rules: Rules) -> int:
        fired = 0
        for node in graph:  # also visits what is inserted behind the current node
            op_type = node.op_type
            if op_type in rules:
                fired += self._visit(node, rules)
            if op_type in WITH_SUBGRAPHS and node not in self._removed:
                fired += sum(self._sweep(body, rules) for body in subgraphs(node))
        return fired

    def _visit(self, node: ir.Node, rules: Rules) -> int:
        fired = 0
        if node.domain or node in self._removed or self.is_kept(node):
            return 0
        for rule in rules.get(node.op_type, ()):
            replacement = rule(self, node)
            if replacement is None:
                continue
            fired += self.replace(node, replacement)
            if node in self._removed:
                break
        return fired

    def is_kept(self, node: ir.Node) -> bool:
        """Whether the caller asked for one of the node's outputs to stay."""
        return bool(self.keep) and any(output.name in self.keep for output in node.outputs)

    def is_private(self, value: ir.Value | None) -> bool:
        """Whether one input of one node is all that needs the value."""
        return value is not None and has_one_use(value) and value.name not in self.keep

    # What a rule makes

    def emit(
        self,
        node: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Iterable[ir.Attr] = (),
        *,
        fused: Sequence[ir.Node] = (),
        shape: Dims | None = None,
        position: int = 0,
        count: int = 1,
    ) -> ir.Value:
        """Put a node behind `node` whose output has the name, type and shape of the first of `node`.

        Args:
            node: What the new node replaces. It takes its name and its metadata.
            op_type: An operator of the ONNX domain.
            inputs: Its inputs.
            attributes: Its attributes.
            fused: The nodes whose work it does as well. Their metadata fills what `node` lacks.
            shape: The shape of the output, where it is another one.
            position: Which of its outputs that is.
            count: How many outputs it has. The others have the same type and shape, and no use yet.
        """
        replaced = node.outputs[0]
        dims = replaced.shape if shape is None else ir.Shape(shape)
        names = [replaced.name if i == position else self._unique(f"{replaced.name}_{i}") for i in range(count)]
        outputs = [ir.Value(name=name, type=replaced.type, shape=dims) for name in names]
        metadata: dict[str, str] = {}
        for source in (*fused, node):
            metadata.update(source.metadata_props)
        emitted = ir.Node(
            "", op_type, inputs, attributes, outputs=outputs, name=node.name, metadata_props=metadata or None
        )
        _graph_of(node).insert_after(node, emitted)
        self._touched.append(emitted)
        return outputs[position]

    def initializer(self, name: str, tensor: ir.TensorProtocol, graph: ir.Graph | None = None) -> ir.Value:
        """Register a constant under the name, or one close to it where that is taken.

        It goes to the main graph, from where all subgraphs see it, unless a graph is named.
        """
        name = self._unique(name)
        tensor.name = name
        value = ir.Value(
            name=name,
            type=ir.TensorType(tensor.dtype),
            shape=_shape_of(tensor),
            const_value=tensor,
        )
        (graph or self.graph).initializers.add(value)
        return value

    def constant_for(self, output: ir.Value, tensor: ir.TensorProtocol) -> ir.Value:
        """Register a constant that stands for a node's output, under the output's name."""
        node = output.producer()
        if node is None:
            raise TypeError(f"{output.name} must be the output of a node")
        name, output.name = output.name, None
        tensor.name = name
        value = ir.Value(
            name=name,
            type=output.type or ir.TensorType(tensor.dtype),
            shape=_shape_of(tensor),
            const_value=tensor,
        )
        _graph_of(node).initializers.add(value)
        return value

    def integers(self, node: ir.Node, role: str, numbers: Sequence[int]) -> ir.Value:
        """A 1-d constant for an input of what replaces the node: one for all nodes of a graph."""
        graph = _graph_of(node)
        key = graph, tuple(numbers)
        known = self._integers.get(key)
        if known is None or not known.is_initializer():
            tensor = ir.Tensor(np.array(numbers, dtype=np.int64))
            known = self._integers[key] = self.initializer(f"{node.name}/{role}", tensor, graph)
        return known

    def array(self, node: ir.Node, role: str, array: Array) -> ir.Value:
        """Register a small constant for an input of what replaces the node."""
        return self.initializer(f"{node.name}/{role}", ir.Tensor(np.asarray(array)), _graph_of(node))

    def _unique(self, name: str) -> str:
        if self._names is None:
            self._names = set(_names(self.graph))
        unique, count = name, 1
        while unique in self._names:
            unique, count = f"{name}_{count}", count + 1
        self._names.add(unique)
        return unique

    def affords(self, sizes_bytes: Sequence[int], sources: Iterable[ir.Value | None]) -> bool:
        """Whether the model may get constants of these sizes for ones that are used only here.

        What is larger than the sources that go is taken from the budget, and must be small.
        """
        freed = sum(
            bytes_of(value.const_value)
            for value in sources
            if value is not None and value.const_value is not None and self.is_private(value)
        )
        growth = sum(sizes_bytes) - freed
        if growth <= 0:
            return True
        if max(sizes_bytes) > LARGEST_BYTES or growth > self.growth_bytes:
            return False
        self.growth_bytes -= growth
        return True

    # What becomes of the node

    def replace(self, node: ir.Node, replacement: ir.Value | Sequence[ir.Value]) -> int:
        """Let the replacement stand for the node's outputs; return 1 if anything changed, else 0.

        A graph output stays where its name cannot go to the replacement: this is the graph's input,
        an initializer, an output itself, of another graph, or in `keep`. Its other uses move.
        """
        values = [replacement] if isinstance(replacement, ir.Value) else replacement
        moved, renamed = False, []
        for old, new in zip(node.outputs, values, strict=False):
            if old.is_graph_output() and self._may_take_over(old, new):
                self._take_over(old, new)
                renamed.append(old)
            moved = self.redirect(old, new) or moved
        if self.is_unused(node):
            self.remove(node)
            return 1
        for old in renamed:
            old.name = self._unique(f"{old.name}/replaced")
        return int(moved or bool(renamed))

    def set_input(self, node: ir.Node, index: int, value: ir.Value) -> None:
        """Let the node read another value at a position, which may be one that it did not have."""
        if len(node.inputs) <= index:
            node.resize_inputs(index + 1)
        if node.inputs[index] is not value:
            node.replace_input_with(index, value)
            self._touched.append(node)

    def redirect(self, old: ir.Value, new: ir.Value) -> bool:
        """Let all nodes that read the one value read the other; return whether there were any."""
        uses = old.uses()
        for user, index in uses:
            user.replace_input_with(index, new)
            self._touched.append(user)
        return bool(uses)

    def _may_take_over(self, old: ir.Value, new: ir.Value) -> bool:
        producer = new.producer()
        return (
            producer is not None
            and producer.graph is old.graph
            and not new.is_graph_output()
            and new.name not in self.keep
        )

    def _take_over(self, old: ir.Value, new: ir.Value) -> None:
        graph, name = old.graph, old.name
        if not isinstance(graph, ir.Graph):
            raise TypeError(f"{name} must be the output of a graph, got {graph!r}")
        for index, output in enumerate(graph.outputs):
            if output is old:
                graph.outputs[index] = new
        new.name = name
        new.type = old.type or new.type
        new.shape = old.shape or new.shape

    def is_unused(self, node: ir.Node) -> bool:
        """Whether nothing would change without the node."""
        return not any(
            is_used(output) or output.is_graph_output() or output.name in self.keep for output in node.outputs
        )

    def remove(self, node: ir.Node) -> int:
        """Remove a node, and what only it has used; return how many nodes that were.

        The nodes leave the graph at the next `flush`, all at once: `Graph.remove` hashes all graph
        outputs at every call.
        """
        stack, before = [node], len(self._removed)
        while stack:
            dead = stack.pop()
            if dead in self._removed:
                continue
            self._removed.add(dead)
            for value in _detached(dead):
                if has_one_use(value):
                    self._touched += value.consumers()  # this was not the only one before
                producer = value.producer()
                if producer is not None and self.is_unused(producer):
                    stack.append(producer)
        return len(self._removed) - before

    def flush(self) -> None:
        """Take the removed nodes out of their graphs."""
        by_graph: dict[ir.Graph, list[ir.Node]] = {}
        for node in self._removed:
            by_graph.setdefault(_graph_of(node), []).append(node)
        for graph, nodes in by_graph.items():
            graph.remove(nodes)
        self._removed.clear()


def _shape_of(tensor: ir.TensorProtocol) -> ir.Shape:
    shape = tensor.shape
    return shape if isinstance(shape, ir.Shape) else ir.Shape(shape.numpy())


def _graph_of(node: ir.Node) -> ir.Graph:
    graph = node.graph
    if not isinstance(graph, ir.Graph):
        raise TypeError(f"{node.name} must be in a graph, got {graph!r}")
    return graph


def _detached(node: ir.Node) -> list[ir.Value]:
    """Let the node, and the nodes of its subgraphs, use nothing; return what they used."""
    values: list[ir.Value] = []
    for index, value in enumerate(node.inputs):
        if value is not None:
            node.replace_input_with(index, None)
            values.append(value)
    if node.op_type in WITH_SUBGRAPHS or node.domain:
        for body in subgraphs(node):
            for inner in body:
                values += _detached(inner)
    return values


def _with_neighbours(nodes: Iterable[ir.Node]) -> Iterator[ir.Node]:
    """The nodes, each with its users, unless these are many: rules look at the node before, too."""
    for node in nodes:
        yield node
        for output in node.outputs:
            users = output.uses()
            if len(users) <= FEW_USERS:
                yield from (use.node for use in users)


def _names(graph: ir.Graph) -> Iterator[str]:
    """The names of all values of a graph and of its subgraphs."""
    for value in (*graph.inputs, *graph.initializers.values()):
        yield value.name or ""
    for node in graph:
        for output in node.outputs:
            yield output.name or ""
        if node.op_type in WITH_SUBGRAPHS or node.domain:
            for body in subgraphs(node):
                yield from _names(body)
