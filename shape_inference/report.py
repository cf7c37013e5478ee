"""What `infer` found: every value with its type and origin, and what stayed open and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from shape_inference.errors import InferenceError
from shape_inference.types import Type, tensor_in

__all__ = ["Report", "Row", "Unresolved", "label"]


@dataclass(frozen=True, slots=True)
class Row:
    """One value of the model: its name, its type, and whether an input or which node made it."""

    name: str
    type: Type | None
    by: str


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Something that no formula over the inputs describes, and the node that is the cause."""

    name: str
    what: str
    cause: str


def label(node: ir.Node) -> str:
    """How a node is called in messages: its op type and its name."""
    name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    return f"{name} {node.name!r}" if node.name else name


@dataclass
class Report:
    """The outcome of `infer`.

    Attributes:
        errors: What is wrong with the model; with `strict` the first one is raised instead.
        types: The type of every value that one is known of.
        origins: The names that were made up for sizes without a formula, and the node that
            each came from.
        data_sizes: The names of sizes that only the data decide, as after a NonZero, and the
            node of each. What is a formula over them is not unresolved.
    """

    errors: list[InferenceError]
    types: Mapping[ir.Value, Type]
    origins: Mapping[str, str]
    data_sizes: Mapping[str, str]
    _graph: ir.Graph = field(repr=False)

    @property
    def values(self) -> list[Row]:
        """All values: the graph's inputs, then what its nodes and their bodies make."""
        return [Row(value.name or "", self.types.get(value), by) for value, by in self._all()]

    @property
    def unresolved(self) -> list[Unresolved]:
        """What has no type, no shape, or a size that no formula over the inputs describes."""
        causes: dict[ir.Value, str] = {}
        found = []
        for value, _ in self._all():
            tensor = tensor_in(self.types.get(value))
            name = value.name or ""
            if tensor is None or tensor.dtype is ir.DataType.UNDEFINED:
                found.append(Unresolved(name, "type", self._cause(value, causes)))
            elif tensor.shape is None:
                found.append(Unresolved(name, "rank", self._cause(value, causes)))
            else:
                for axis, dim in enumerate(tensor.shape):
                    made_up = [] if isinstance(dim, int) else sorted(self._made_up(dim))
                    if made_up:
                        cause = self.origins[made_up[0]]
                        found.append(Unresolved(name, f"dim {axis}: {dim}", cause))
        return found

    def _made_up(self, dim: ir.SymbolicDim) -> frozenset[str]:
        return dim.free_symbols() & self.origins.keys()

    def _all(self) -> Iterator[tuple[ir.Value, str]]:
        for value in self._graph.inputs:
            yield value, "input"
        for node in ir.traversal.RecursiveGraphIterator(self._graph):
            by = label(node)
            for value in node.outputs:
                if value.name:
                    yield value, by

    def _cause(self, value: ir.Value, known: dict[ir.Value, str]) -> str:
        """The first node on the way to a value whose inputs are typed and whose output is not."""
        trail = []
        while value not in known:
            trail.append(value)
            node = value.producer()
            if node is None:
                known[value] = "input" if value.is_graph_input() else "no producer"
                break
            open_inputs = [source for source in node.inputs if source is not None and self._is_open(source)]
            if not open_inputs or open_inputs[0] in trail:
                known[value] = label(node)
                break
            value = open_inputs[0]
        for passed in trail:
            known[passed] = known[value]
        return known[value]

    def _is_open(self, value: ir.Value) -> bool:
        if value.const_value is not None:
            return False
        tensor = tensor_in(self.types.get(value))
        return tensor is None or tensor.shape is None or tensor.dtype is ir.DataType.UNDEFINED

    def __str__(self) -> str:
        """A table: errors, sizes of data, what is unresolved, then every value."""
        lines = [f"error: {error}" for error in self.errors]
        lines += [f"size of data: {name} (by {by})" for name, by in self.data_sizes.items()]
        unresolved = self.unresolved
        lines += [f"unresolved: {item.name} {item.what} (by {item.cause})" for item in unresolved]
        rows = self.values
        width = max((len(row.name) for row in rows), default=0)
        texts = ["?" if row.type is None else str(row.type) for row in rows]
        middle = max(map(len, texts), default=0)
        lines += [f"{row.name:<{width}}  {text:<{middle}}  {row.by}" for row, text in zip(rows, texts, strict=True)]
        return "\n".join(lines)
