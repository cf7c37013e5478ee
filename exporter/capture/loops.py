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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from exporter.capture.control_flow import Body, Kind, finished_operator, stacked
from exporter.capture.graph import CapturedGraph
from exporter.capture.inert import extent_of, place_of, tree_of
from exporter.capture.number_types import Globals
from exporter.capture.recorder import Recorder
from exporter.capture.statements import arguments_of_joins, called, leaves_early, loaded_after, parameters, targets_of
from exporter.capture.tensors import RecordedTensor, Spec, Storage
from exporter.capture.torch_internals import higher_order, outside_modes, replace_tensor
from exporter.errors import CaptureError

Path = tuple[Any, ...]
_LONGEST, _DEEPEST = 1000, 4  # structures in variables that are looked into


@dataclass
class Manner:
    """How a model's code is run; what cannot be recorded in one way is recorded again in another.

    Attributes:
        rolls: whether Python's loops may become loops of the graph, and lists of numbers vectors.
        flags: how many of `torch.compiler.is_compiling()` and `is_exporting()` are true, in this order.
        rolled: whether one became so.
        symbolic_in: the modules in which `int(size)` stays symbolic, by their globals; None where it never does.
        no_rounds: the rounds of loops over nonzero() that no input comes to, each a loop and a place; None where
            the model cannot be recorded again without them.
    """

    rolls: bool = False
    flags: int = 2
    rolled: bool = False
    symbolic_in: list[Globals] | None = None
    no_rounds: frozenset[tuple[Any, int]] | None = None

    def roll(self) -> bool:
        """Whether a loop or a list may become one of the graph, which is then taken to do so."""
        self.rolled |= self.rolls
        return self.rolls


def rolled_loop(recorder: Recorder, manner: Manner, frame: types.FrameType, bounds: Sequence[Any]) -> Loop | None:
    """What `for i in range(*bounds)` in a frame goes through, where it may be one loop of the graph; else None."""
    statement = _statement_at(frame) if manner.rolls else None
    match None if statement is None else statement.iter:
        case ast.Call(func=ast.Name(id="reversed"), args=[ast.Call(func=ast.Name(id="range"))]):
            return _rolled(recorder, manner, frame, bounds)
        case ast.Call(func=ast.Name(id="range")):
            return _rolled(recorder, manner, frame, bounds)
    return None


def _rolled(recorder: Recorder, manner: Manner, frame: types.FrameType, bounds: Sequence[Any]) -> Loop | None:
    """What stands for the range that a statement goes through, whatever it calls it; None where it cannot be rolled."""
    loop = _loop(recorder, frame, bounds)
    manner.rolled |= loop is not None
    return loop


def rolled_rows(
    recorder: Recorder, manner: Manner, frame: types.FrameType, tensor: RecordedTensor, dim: int | None = None
) -> Iterator[torch.Tensor] | None:
    """What a `for` statement in a frame goes through, where it may be one loop of the graph; else None.

    `for row in tensor`, or with a dim `for row in tensor.unbind(dim)`.
    """
    axis = dim or 0
    if not manner.rolls or not tensor.ndim or not isinstance(tensor.shape[axis], torch.SymInt):
        return None
    statement = _statement_at(frame)
    if statement is None or _goes_through(frame, statement, tensor) != (dim is not None):
        return None
    loop = _rolled(recorder, manner, frame, (tensor.shape[axis],))
    return None if loop is None else (tensor.select(axis, place) for place in loop)


def rolled_together(
    recorder: Recorder, manner: Manner, frame: types.FrameType, name: str, columns: Sequence[tuple[torch.Tensor, int]]
) -> Iterator[tuple[Any, tuple[torch.Tensor, ...]]] | None:
    """The place and the parts of a round of `for ... in enumerate(x)` or `zip(x, y)`, as one loop; else None.

    Args:
        recorder: what the model is recorded by.
        manner: how its code is run.
        frame: where the statement is.
        name: enumerate or zip.
        columns: the tensors, each with the axis along which it is gone through.
    """
    lengths: list[int | torch.SymInt] = [tensor.shape[axis] for tensor, axis in columns]
    counts = {length.node.values if isinstance(length, torch.SymInt) else None for length in lengths}
    if not manner.rolls or len(counts) > 1 or None in counts:
        return None
    statement = _statement_at(frame)
    if statement is None or called(statement.iter) != name:
        return None
    loop = _rolled(recorder, manner, frame, (lengths[0],))
    if loop is None:
        return None
    return ((place, tuple(tensor.select(axis, place) for tensor, axis in columns)) for place in loop)


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
            groups = _grouped(now, changes.tensors)
            with self._recorder.frame() as graph:
                given = [_Given(self._recorder, tensor, id(tensor) in changes.written) for tensor, _ in groups]
                now = self._state()
                yield self._start + self._place() * self._step
                after = self._state()
                again = after.since(now)
                if again.tensors != changes.tensors or again.lists != changes.lists or again.others & self._loaded:
                    raise CaptureError("a loop by a dynamic size changes other variables in each of its rounds")
                rounds.append(_Round(self._recorder, graph, given, groups, after, changes.lists, now, self._loaded))
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

    def _finish(self, first: _Round, last: _Round) -> None:
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
                _hold(final, recorder.node_of(next(carried)))
            else:
                replace_tensor(final, next(carried))
        for (items, count), others in zip(first.lists, values[len(inits) :], strict=True):
            with recorder:  # with the first round's: there may be no others, and such have no sizes in onnxruntime
                rows = recorder.tensor(torch.cat([items[count - 1].unsqueeze(0), others]))
            items[count - 1 :] = [recorder.all_rows(rows)]


class State:
    """What variables hold at one time: tensors, with how often their memory was written, and lists."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self.tensors: dict[Path, tuple[RecordedTensor, int]] = {}
        self.lists: dict[Path, tuple[list[Any], int]] = {}
        self.others: dict[str, Any] = {}
        for name, value in variables.items():
            self._add((name,), value)

    def _add(self, path: Path, value: Any) -> None:
        if type(value) is RecordedTensor:
            self.tensors[path] = value, value.storage_.version
            return
        if type(value) is list:
            self.lists[path] = value, len(value)
        items = value.items() if type(value) is dict else enumerate(value) if type(value) in (list, tuple) else None
        if items is None:
            self.others[path[0]] = value
        elif len(value) <= _LONGEST and len(path) <= _DEEPEST:
            for key, item in items:
                self._add((*path, key), item)

    def since(self, before: State) -> _Changes:
        """What is another than before; of views that were written, what they are views of."""
        lists = []
        for path, (items, count) in self.lists.items():
            known = before.lists.get(path)
            if known is not None and known[0] is items and count > known[1]:
                lists.append(path)
        tensors, written = [], set()
        for path, (tensor, version) in self.tensors.items():
            known_tensor = before.tensors.get(path)
            if known_tensor is None:
                changed = not any(path[: len(place)] == place for place in lists)
            elif known_tensor[0] is tensor:
                changed = version != known_tensor[1] and tensor.parent is None
                written |= {id(tensor)} if changed else set()
            else:
                changed = True
            if changed:
                tensors.append(path)
        others = {name for name, item in self.others.items() if before.others.get(name, ...) is not item}
        return _Changes(tensors, written, lists, others)


@dataclass
class _Changes:
    """Paths of variables that hold other tensors, ids of those written, lists that grew, names of what else differs."""

    tensors: list[Path]
    written: set[int]
    lists: list[Path]
    others: set[str]


class _Given:
    """A variable's tensor, which stands for what a round is given until it is restored."""

    def __init__(self, recorder: Recorder, tensor: RecordedTensor, by_writing: bool) -> None:
        recorder.node_of(tensor)
        if by_writing and tensor.parent is not None:
            raise CaptureError("a loop by a dynamic size writes to a view of another tensor")
        self.tensor, self.by_writing = tensor, by_writing
        self._held = tensor.node, tensor.constant, tensor.parent, tensor.step, tensor.storage_
        self._memory = tensor.storage_.serial, tensor.storage_.is_given
        self.placeholder = recorder.node_of(recorder.placeholder("carried", tensor.specs, tensor.device))
        if not by_writing:
            tensor.storage_ = Storage()
        _hold(tensor, self.placeholder)
        tensor.storage_.serial, tensor.storage_.is_given = Storage.number(), False

    def is_needed(self, paths: Sequence[Path], loaded: frozenset[str]) -> bool:
        """Whether a round uses what it is given under these paths, or what follows the loop what it leaves there."""
        return bool(self.placeholder.users) or self.by_writing or any(path[0] in loaded for path in paths)

    def restore(self) -> None:
        """Let the tensor be what it was before the round."""
        tensor = self.tensor
        tensor.node, tensor.constant, tensor.parent, tensor.step, tensor.storage_ = self._held
        tensor.storage_.serial, tensor.storage_.is_given = self._memory
        tensor.storage_.version += self.by_writing
        tensor.version = tensor.storage_.version


def _hold(tensor: RecordedTensor, node: fx.Node) -> None:
    """Let a tensor, and its views, hold the value of a node."""
    tensor.node, tensor.constant, tensor.parent, tensor.step = node, None, None, None
    tensor.storage_.version += 1
    tensor.version = tensor.storage_.version


class _Round:
    """What one round recorded.

    Attributes:
        graph: its graph.
        given: what it was given, by variable.
        finals: what the variables are after it.
        lists: the lists that it added to, with how long they were before.
        added: what it added to them.
    """

    def __init__(
        self, recorder: Recorder, graph: fx.Graph, given: Sequence[_Given],
        groups: Sequence[tuple[RecordedTensor, list[Path]]], after: State, lists: Sequence[Path], now: State,
        loaded: frozenset[str],
    ) -> None:  # fmt: skip
        self._recorder, self.graph, self.given, self.groups = recorder, graph, given, groups
        self.finals: list[RecordedTensor] = []
        for item, (tensor, paths) in zip(given, groups, strict=True):
            final = after.tensors[paths[0]][0]
            is_other = any(after.tensors[path][0] is not final for path in paths) or kind_of(final) != kind_of(tensor)
            if is_other and item.is_needed(paths, loaded):
                raise CaptureError("a loop by a dynamic size leaves tensors of other sizes in each of its rounds")
            self.finals.append(final)
        self.lists = [now.lists[path] for path in lists]
        self.added: list[RecordedTensor] = []
        for items, count in self.lists:
            if len(items) != count + 1 or type(items[count]) is not RecordedTensor:
                raise CaptureError("a loop by a dynamic size adds more than one tensor to a list in each round")
            self.added.append(items[count])
        self._outputs = [recorder.node_of(tensor) for tensor in (*self.finals, *self.added)]

    def kept(self, needed: Sequence[bool]) -> list[fx.Node]:
        """What the graph returns of what is needed; the placeholders of the rest are taken away."""
        for given in itertools.compress(self.given, [not is_needed for is_needed in needed]):
            self.graph.erase_node(given.placeholder)
        return [*itertools.compress(self._outputs, needed), *self._outputs[len(needed) :]]

    def is_open(self) -> bool:
        """Whether it uses what an earlier round computed in other ways than by the variables."""
        graphs = [self.graph, *self._recorder.graphs]
        used = [used for node in self.graph.nodes for used in node.all_input_nodes]
        return any(node.graph not in graphs for node in (*used, *self._outputs))

    def described(self) -> list[Any]:
        """What it computes, equal for rounds that compute the same."""
        return described(self._recorder, self.graph, self._outputs, {})


def described(
    recorder: Recorder, graph: fx.Graph, outputs: Sequence[Any], places: dict[fx.Node, Any]
) -> list[Any]:  # fmt: skip
    """The nodes of a graph by what they compute; `places` are those of the rounds around it, and learns more."""

    def name(node: fx.Node) -> Any:
        if node in places:
            return "inside", places[node]
        value = recorder.state[str(node.target)] if node.op == "get_attr" else None
        if value is None or value.is_meta or value.numel() > _LONGEST:
            return "outside", recorder.numbering.of(node)
        with outside_modes():
            return "constant", value.dtype, str(value.tolist())

    found: list[Any] = []
    for node in graph.nodes:
        inner = [described(recorder, g.graph, g.outputs, places) for g in node.meta.get("graphs", ())]
        arguments = str(fx.node.map_arg((node.args, node.kwargs), name))
        found.append(("" if node.op == "placeholder" else node.target, arguments, inner))
        places[node] = len(places)
    return [*found, [name(node) if isinstance(node, fx.Node) else node for node in outputs]]


def kind_of(tensor: RecordedTensor) -> tuple[Any, ...]:
    """What is the same of tensors that rounds leave in one place: their dtype, and their sizes at each sample."""
    shapes = [spec.shape for spec in tensor.specs]
    return tensor.dtype, *(shapes if len(set(shapes)) > 1 else shapes[:1])


def _grouped(state: State, paths: Sequence[Path]) -> list[tuple[RecordedTensor, list[Path]]]:
    """Each tensor with all the paths that it is under."""
    groups: dict[int, tuple[RecordedTensor, list[Path]]] = {}
    for path in paths:
        tensor = state.tensors[path][0]
        groups.setdefault(id(tensor), (tensor, []))[1].append(path)
    return list(groups.values())


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
