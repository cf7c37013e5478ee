"""The one normal form that every front end ends in."""

from __future__ import annotations

import traceback
import types
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import fx

from exporter.capture.sizes import SizeNode

if TYPE_CHECKING:
    from exporter.capture.decisions import Constraint


@dataclass(frozen=True)
class Source:
    """A line of the user's code."""

    code: types.CodeType
    line: int

    def __str__(self) -> str:
        return f"{self.code.co_filename}:{self.line}, in {self.code.co_name}"


@dataclass(frozen=True)
class Decision:
    """Where Python code decided by a dynamic size, or turned one into a number.

    Attributes:
        size: what was asked; `size.values` are the answers at the samples, the first the example's.
        source: the user's line.
        fixed: whether a size became a number, which holds for the example alone.
        parts: what the answer is about, if less than the whole graph: the parts that a tensor comes apart
            into, of which whoever needs one of the first alone has not decided how many there are.
    """

    size: SizeNode
    source: Source | None
    fixed: bool
    parts: tuple[fx.Node, ...] = ()

    def counts(self, live: Collection[fx.Node]) -> bool:
        """Whether it decides anything for a graph of these nodes."""
        needed = [part for part in self.parts if part in live]
        return not self.parts or len(needed) > 1 or self.parts[-1] in live


@dataclass(frozen=True)
class Fork:
    """Where Python code decided by values, and was given one of two answers.

    Attributes:
        question: what was asked: equal where the same is asked again.
        condition: the node of the truth; None inside of a graph within the graph.
        place: how many nodes the graph had then.
    """

    question: Any
    condition: fx.Node | None
    place: int


@dataclass
class CapturedGraph:
    """A graph of ATen overloads: functional, with no strides, and at the level they were called.

    Nodes are placeholders, `get_attr` of an entry of `state`, `call_function` of an overload, a
    higher-order operator, `operator.getitem` or arithmetic on sizes, and one output.  Each tensor node
    has in its meta `specs` (one tuple of specs per result), `module` (path of the module that called
    it) and `source` (the user's line).

    Attributes:
        graph: the graph; its placeholders are the tensors among the flattened inputs, in order.
        state: what the `get_attr` nodes name: parameters, buffers, constants.
        mutations: buffer name -> the node of its value after the call.
        decisions: what Python code decided by dynamic sizes.
        constraints: for which sizes these decisions hold.
        outputs: the flattened results: graph nodes, or Python constants.
        front_end: how it was captured.
        is_sequence: whether the result was a tuple or list, where it is not flattened.
        forks: the decisions by values on the way that was recorded.
        result_names: the paths of the outputs in the structure that was returned.
        ways: how many ways through the model it has.
    """

    graph: fx.Graph
    state: dict[str, torch.Tensor]
    outputs: list[Any] = field(default_factory=list)
    mutations: dict[str, fx.Node] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    constraints: list[Constraint] = field(default_factory=list)
    front_end: str = "record"
    is_sequence: bool = False
    forks: list[Fork] = field(default_factory=list)
    result_names: list[str] = field(default_factory=list)
    ways: int = 1


def either(condition: bool, used: Sequence[Any]) -> NoReturn:
    """The target of the node that goes one of two ways; its meta has them, in `graphs`, as a condition's has.

    Args:
        condition: which.
        used: what the graphs use of the graphs around them.
    """
    raise TypeError("a captured graph is translated, not run")


def call_node(
    graph: fx.Graph, target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None
) -> fx.Node:  # fmt: skip
    """Add a call to a graph; `create_node` would walk through arguments that it is given, which takes as long again."""
    node = graph.create_node("call_function", target)
    node.args = args
    if kwargs:
        node.kwargs = dict(kwargs)
    return node


def live_nodes(graph: fx.Graph, outputs: Sequence[fx.Node]) -> list[fx.Node]:
    """The nodes that the outputs depend on, in order."""
    live: set[fx.Node] = set()
    stack = list(outputs)
    while stack:
        node = stack.pop()
        if node not in live:
            live.add(node)
            stack.extend(node.all_input_nodes)
    return [node for node in graph.nodes if node in live]


def user_line(error: BaseException) -> str:
    """The innermost line of an error outside torch and this package, or ""."""
    own = (str(Path(torch.__file__).parent), str(Path(__file__).parent.parent))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith((*own, "<")):
            return f"{frame.filename}:{frame.lineno}, in {frame.name}"
    return ""
