"""`for i in range(seq):` by a dynamic size: its first round is recorded as it comes, the others as one Loop.

Python runs the body, so what it changes is read off the variables of the function that the loop is in: tensors
that a round leaves under a name are what the next one is given, and what rounds append to a list is stacked.
The body is recorded three times: the first round alone, which makes what the others start from, and then twice,
which must give the same graph, or the loop depends on something that no graph tells of, and is not rolled.
"""

from __future__ import annotations

import ast
import dis
import itertools
import types
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from exporter.capture.branching.inert import extent_of, place_of, tree_of
from exporter.capture.control_flow import Body, Kind, finished_operator, stacked
from exporter.capture.graph import CapturedGraph
from exporter.capture.loops.manner import Manner
from exporter.capture.loops.rounds import Given, Round, State, grouped, hold
from exporter.capture.loops.statements import (
    arguments_of_joins,
    called,
    leaves_early,
    loaded_after,
    parameters,
    targets_of,
)
from exporter.capture.recorder import Recorder
from exporter.capture.tensors import RecordedTensor, Spec
from exporter.capture.torch_internals import higher_order, replace_tensor
from exporter.errors import CaptureError


def rolled_loop(recorder: Recorder, manner: Manner, frame: types.FrameType, bounds: Sequence[Any]) -> Loop | None:
    """What `for i in range(*bounds)` in a frame goes through, where it may be one loop of the graph; else None."""
    statement = _statement_at(frame) if manner.rolls else None
    match None if statement is None else statement.iter:
        case (
            ast.Call(func=ast.Name(id="range"))
            | ast.Call(func=ast.Name(id="reversed"), args=[ast.Call(func=ast.Name(id="range"))])
        ):
            return _rolled(recorder, manner, frame, bounds)
    return None


def _rolled(recorder: Recorder, manner: Manner, frame: types.FrameType, bounds: Sequence[Any]) -> Loop | None:
    """What stands for the range that a statement goes through, whatever it calls it; None where it cannot be rolled."""
    loop = _loop(recorder, frame, bounds)
    manner.rolled |= loop is not None
    return loop


def rolled_rows(
    recorder: Recorder, manner: Manner, frame: types.FrameType, tensor: RecordedTensor, dim: int | None
) -> Loop | None:
    """The places that `for row in tensor`, or with a dim `for row in tensor.unbind(dim)`, goes through; else None."""
    size = tensor.shape[dim or 0] if tensor.ndim else 0
    statement = _statement_at(frame) if manner.rolls and isinstance(size, torch.SymInt) else None
    if statement is None or _goes_through(frame, statement, tensor) != (dim is not None):
        return None
    return _rolled(recorder, manner, frame, (size,))


def rolled_together(
    recorder: Recorder, manner: Manner, frame: types.FrameType, name: str, size: int | torch.SymInt
) -> Loop | None:
    """The places that `for ... in enumerate(x)` or `zip(x, y)`, by its name, goes through where both are so long."""
    statement = _statement_at(frame) if manner.rolls and isinstance(size, torch.SymInt) else None
    if statement is None or called(statement.iter) != name:
        return None
    return _rolled(recorder, manner, frame, (size,))


def check_closed(recorder: Recorder) -> None:
    """Hold a recording to using nothing of a loop's rounds but what its variables are after it.

    Raises:
        CaptureError: a round left a tensor elsewhere.
    """
    graph = recorder.graph
    if recorder.comprehensions:
        raise CaptureError("the elements of a list by a dynamic size are used in other ways than by cat and stack")
    if any(used.graph is not graph for node in graph.nodes for used in node.all_input_nodes):
        raise CaptureError("a tensor that one round of a loop computed is used after it")


def _loop(recorder: Recorder, frame: types.FrameType, bounds: Sequence[Any]) -> Loop | None:
    """The loop of the statement that a frame is at; None where it cannot be rolled."""
    start, stop, step = (0, bounds[0], 1) if len(bounds) == 1 else (*bounds, 1)[:3]
    if type(step) is not int or step == 0 or any(type(b) is torch.SymInt and b.node.data for b in (start, stop)):
        return None
    tree, statement = tree_of(frame.f_code), _statement(frame)
    if tree is None or statement is None:
        return None
    count = (stop - start + step - 1) // step if step > 0 else (start - stop - step - 1) // -step
    if min(count.node.values) < 1 or not count > 0:
        return None
    loaded, counting = loaded_after(tree, statement), targets_of(statement)
    if any(node.id in counting for node in loaded):
        return None
    joined = frozenset(frame.f_locals) - set(parameters(frame.f_code)) - {
        node.id for node in loaded if node not in arguments_of_joins(tree)
    }  # fmt: skip
    return Loop(recorder, frame, statement, frozenset(node.id for node in loaded), joined, start, step, count)


class Loop:
    """What stands for the range: the rounds that Python runs of it are recorded."""

    def __init__(
        self, recorder: Recorder, frame: types.FrameType, statement: ast.For, loaded: frozenset[str],
        joined: frozenset[str], start: Any, step: int, count: Any,
    ) -> None:  # fmt: skip
        self._recorder, self._frame, self._loaded = recorder, frame, loaded
        self._targets = targets_of(statement)
        self._start, self._step, self._count = start, step, count
        self._joined = joined

    def __iter__(self) -> Iterator[Any]:
        before = self._state()
        yield self._start
        now = self._state()
        changes = now.since(before)
        if not self._joined.issuperset(path[0] if len(path) == 1 else None for path in changes.lists):
            raise CaptureError(
                "a list that a loop by a dynamic size adds to is used in other ways than by cat and stack"
            )
        rounds = []
        for _ in range(2):
            groups = grouped(now, changes.tensors)
            with self._recorder.frame() as graph:
                given = [Given(self._recorder, tensor, id(tensor) in changes.written) for tensor, _ in groups]
                now = self._state()
                yield self._start + self._place() * self._step
                after = self._state()
                again = after.since(now)
                if again.tensors != changes.tensors or again.lists != changes.lists or again.others & self._loaded:
                    raise CaptureError("a loop by a dynamic size changes other variables in each of its rounds")
                rounds.append(Round(self._recorder, graph, given, groups, after, changes.lists, now, self._loaded))
            for item in given:
                item.restore()
            now = after
        self._finish(*rounds)

    def __reversed__(self) -> Iterator[Any]:
        last = self._start + (self._count - 1) * self._step
        self._start, self._step = last, -self._step
        return iter(self)

    def _state(self) -> State:
        return State({name: value for name, value in self._frame.f_locals.items() if name not in self._targets})

    def _place(self) -> Any:
        """Which round it is, as a number that the graph is given."""
        spec = Spec((), (), torch.int64)
        return self._recorder.open_number(self._recorder.placeholder("place", (spec,), torch.device("cpu")))

    def _finish(self, first: Round, last: Round) -> None:
        """Record the loop, and let the variables be what it returns."""
        recorder = self._recorder
        if first.described() != last.described() or last.is_open():
            raise CaptureError("a loop by a dynamic size does something else in each of its rounds")
        needed = [
            given.is_needed(paths, self._loaded) for given, (_, paths) in zip(last.given, last.groups, strict=True)
        ]
        inits = [recorder.tensor(given.tensor) for given in itertools.compress(first.given, needed)]
        with recorder:
            rows = recorder.tensor(torch.arange(1, self._count))
        results = [Kind(tensor.specs, tensor.device) for tensor in inits]
        results += [Kind(stacked(item.specs, rows), item.device) for item in last.added]
        body = Body(CapturedGraph(last.graph, recorder.state, last.kept(needed), is_sequence=True))
        values = finished_operator(recorder, higher_order("scan"), [inits, [rows]], [body], results)
        carried = iter(values[: len(inits)])
        for final, given, is_needed in zip(last.finals, last.given, needed, strict=True):
            if not is_needed:
                final.node, final.constant, final.parent = None, None, None  # nobody asks for it
            elif given.by_writing:
                hold(final, recorder.node_of(next(carried)))
            else:
                replace_tensor(final, next(carried))
        for (items, count), others in zip(first.lists, values[len(inits) :], strict=True):
            with recorder:  # with the first round's: there may be no others, and such have no sizes in onnxruntime
                rows = recorder.tensor(torch.cat([items[count - 1].unsqueeze(0), others]))
            items[count - 1 :] = [recorder.all_rows(rows)]


def _statement(frame: types.FrameType) -> ast.For | None:
    """The `for` statement that a frame is at, where it goes through all its rounds."""
    found = _statement_at(frame)
    if found is None or not isinstance(found.target, (ast.Name, ast.Tuple)):
        return None
    stored = (node for node in ast.walk(found) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store))
    return None if any(stored) or any(map(leaves_early, found.body)) else found


def _goes_through(frame: types.FrameType, statement: ast.For, tensor: RecordedTensor) -> bool | None:
    """Whether it is the parts of a tensor that a statement goes through; False for the tensor, None for neither."""
    iterated = statement.iter
    if isinstance(iterated, ast.Name) and frame.f_locals.get(iterated.id) is tensor:
        return False
    asks_for_rows = frame.f_code.co_code[frame.f_lasti] == dis.opmap["GET_ITER"]
    if asks_for_rows and place_of(frame) in (extent_of(statement), extent_of(iterated)):
        return False
    return True if called(iterated) == "unbind" else None


def _statement_at(frame: types.FrameType) -> ast.For | None:
    """The only `for` statement at the line that a frame is at."""
    tree, line = tree_of(frame.f_code), frame.f_lineno
    found = [
        node
        for node in ([] if tree is None else ast.walk(tree))
        if isinstance(node, ast.For) and node.iter.lineno <= line <= (node.iter.end_lineno or 0)
    ]
    return found[0] if len(found) == 1 else None
