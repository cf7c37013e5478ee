"""Graphs within graphs: what the functions of a branch or a loop record goes into a graph of its own.

Its nodes may use nodes of the graphs around it as they are.  What outlives a function (sizes, weights,
views taken again) is recorded in the graph that its arguments are in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import fx

from exporter.capture.tensors import RecordedTensor, Storage
from exporter.errors import CaptureError


class Frames:
    """The part of the recorder that knows which graphs are open; its attributes are the recorder's.

    Attributes:
        graph: the innermost open graph.
    """

    _lifted: dict[int, tuple[torch.Tensor, RecordedTensor]]

    def __init__(self) -> None:
        super().__init__()
        self.graph = fx.Graph()
        self._around: list[fx.Graph] = []
        self._starts: list[int] = []

    @property
    def root(self) -> fx.Graph:
        """The graph of the model itself."""
        return self._around[0] if self._around else self.graph

    @property
    def graphs(self) -> list[fx.Graph]:
        """The graph that is recorded into, and those that it is inside of."""
        return [*self._around, self.graph]

    @property
    def is_inside(self) -> bool:
        """Whether the function of a branch or a loop is being recorded."""
        return bool(self._around)

    @contextlib.contextmanager
    def frame(self) -> Iterator[fx.Graph]:
        """Record into a new graph, inside of the one that is open."""
        self._around.append(self.graph)
        self._starts.append(Storage.number())
        self.graph = fx.Graph()
        try:
            yield self.graph
        finally:
            self.graph = self._around.pop()
            self._starts.pop()

    @contextlib.contextmanager
    def at(self, nodes: Iterable[fx.Node]) -> Iterator[None]:
        """Record into the innermost of the graphs that some nodes are in."""
        if not self._around:
            yield
            return
        current, graphs = self.graph, self.graphs
        self.graph = graphs[max((graphs.index(node.graph) for node in nodes), default=0)]
        try:
            yield
        finally:
            self.graph = current

    def check_inside(self, tensor: RecordedTensor) -> None:
        """Hold the function of a branch or a loop to writing to no tensor but its own.

        Raises:
            CaptureError: the tensor is of the code around it, or of the model's state.
        """
        if not self._starts:
            return
        while tensor.parent is not None:
            tensor = tensor.parent
        is_state = any(known is tensor for _, known in self._lifted.values())
        if is_state or tensor.storage_.is_given or tensor.storage_.serial < self._starts[-1]:
            raise CaptureError(
                "a function of torch.cond, while_loop, scan or map writes to a tensor that is not its own",
                hint="write to a clone() of it, and return what is to be kept",
            )
