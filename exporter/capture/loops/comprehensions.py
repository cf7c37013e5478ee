"""`torch.stack([f(x[i]) for i in range(seq)])` by a dynamic size: the first element as it comes, the others a Loop.

The list that Python makes holds the first element and two more, each recorded into a graph of its own; these must
be the same graph.  What puts the list together makes the Loop of it, and nothing else may use the elements.
"""

from __future__ import annotations

import ast
import functools
import types
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import fx

from exporter.capture.branching.inert import Extent, extent_of, place_of, tree_of
from exporter.capture.control_flow import Body, Kind, finished_operator, stacked
from exporter.capture.graph import CapturedGraph
from exporter.capture.loops.manner import Manner
from exporter.capture.loops.rounds import described, kind_of
from exporter.capture.loops.statements import arguments_of_joins, parameters
from exporter.capture.recorder import Recorder
from exporter.capture.tensors import RecordedTensor, Spec
from exporter.capture.torch_internals import higher_order
from exporter.errors import CaptureError


def rolled_comprehension(
    recorder: Recorder, manner: Manner, frame: types.FrameType, bounds: Sequence[Any]
) -> Comprehension | None:
    """What a comprehension over `range(*bounds)` in a frame goes through, where it may be one loop; else None."""
    start, stop, step = (0, bounds[0], 1) if len(bounds) == 1 else (*bounds, 1)[:3]
    if not manner.rolls or type(step) is not int or step < 1 or type(stop) is not torch.SymInt or stop.node.data:
        return None
    if type(start) is not int or place_of(frame) not in _joined(frame.f_code):
        return None
    count = (stop - start + step - 1) // step
    if min(count.node.values) < 1 or not count > 0:
        return None
    manner.rolled = True
    return Comprehension(recorder, start, step, count)


class Comprehension:
    """What stands for the range, until its elements are put together.

    Attributes:
        graphs: those that the second element and the third were recorded into.
    """

    def __init__(self, recorder: Recorder, start: int, step: int, count: Any) -> None:
        self._recorder, self._start, self._step, self._count = recorder, start, step, count
        self.graphs: list[fx.Graph] = []

    def __iter__(self) -> Iterator[Any]:
        self._recorder.comprehensions.append(self)
        yield self._start
        for _ in range(2):
            with self._recorder.frame() as graph:
                self.graphs.append(graph)
                place = self._recorder.placeholder("place", (Spec((), (), torch.int64),), torch.device("cpu"))
                yield self._start + self._recorder.open_number(place) * self._step

    def rows(self, first: torch.Tensor, others: Sequence[RecordedTensor]) -> RecordedTensor:
        """Record the loop: the elements as the rows of a tensor.

        Args:
            first: the first element.
            others: the second element and the third.

        Raises:
            CaptureError: the elements differ in more than their place.
        """
        recorder = self._recorder
        outputs = [recorder.node_of(tensor) for tensor in others]
        second, third = (described(recorder, graph, [out], {}) for graph, out in zip(self.graphs, outputs, strict=True))
        around = [self.graphs[1], *recorder.graphs]
        used = [used for node in self.graphs[1].nodes for used in node.all_input_nodes]
        kinds = {kind_of(recorder.tensor(tensor)) for tensor in (first, *others)}
        if second != third or len(kinds) > 1 or any(node.graph not in around for node in used):
            raise CaptureError("the elements of a list by a dynamic size are not computed alike")
        recorder.comprehensions.remove(self)
        with recorder:
            places = recorder.tensor(torch.arange(1, self._count))
        body = Body(CapturedGraph(self.graphs[1], recorder.state, outputs[1:], is_sequence=True))
        results = [Kind(stacked(others[1].specs, places), others[1].device)]
        (values,) = finished_operator(recorder, higher_order("scan"), [[], [places]], [body], results)
        with recorder:
            return recorder.tensor(torch.cat([first.unsqueeze(0), values]))


@functools.lru_cache(maxsize=256)
def _joined(code: types.CodeType) -> Sequence[Extent]:
    """Where a function's comprehensions get what they go through, of those that are no more than put together."""
    tree = tree_of(code)
    if tree is None:
        return []
    joins = arguments_of_joins(tree)
    loaded = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node not in joins
    }
    lists = {node for node in joins if isinstance(node, ast.ListComp)}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.ListComp() as made):
                lists |= {made} if name not in loaded.union(parameters(code)) else set()
    found: list[Extent] = []
    for made in lists:
        match made:
            case ast.ListComp(generators=[ast.comprehension(iter=iterated, ifs=[], is_async=0)]):
                found += [extent_of(iterated), extent_of(made)]  # `iter` is called at the whole in Python 3.11
    return found
