"""One round of a loop: what variables hold before and after it, what it is given, and what it records."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx

from exporter.capture.recorder import Recorder
from exporter.capture.tensors import RecordedTensor, Storage
from exporter.capture.torch_internals import outside_modes
from exporter.errors import CaptureError

Path = tuple[Any, ...]


_LONGEST, _DEEPEST = 1000, 4  # structures in variables that are looked into


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


class Given:
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
        hold(tensor, self.placeholder)
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


def hold(tensor: RecordedTensor, node: fx.Node) -> None:
    """Let a tensor, and its views, hold the value of a node."""
    tensor.node, tensor.constant, tensor.parent, tensor.step = node, None, None, None
    tensor.storage_.version += 1
    tensor.version = tensor.storage_.version


class Round:
    """What one round recorded.

    Attributes:
        graph: its graph.
        given: what it was given, by variable.
        finals: what the variables are after it.
        lists: the lists that it added to, with how long they were before.
        added: what it added to them.
    """

    def __init__(
        self, recorder: Recorder, graph: fx.Graph, given: Sequence[Given],
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


def grouped(state: State, paths: Sequence[Path]) -> list[tuple[RecordedTensor, list[Path]]]:
    """Each tensor with all the paths that it is under."""
    groups: dict[int, tuple[RecordedTensor, list[Path]]] = {}
    for path in paths:
        tensor = state.tensors[path][0]
        groups.setdefault(id(tensor), (tensor, []))[1].append(path)
    return list(groups.values())
