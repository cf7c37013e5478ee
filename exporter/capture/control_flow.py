"""`torch.cond`, `while_loop`, `scan`, `map` and `associative_scan`: their functions become graphs of their own.

The node of such an operator takes fx nodes alone: first what its schema gives it, then, in a list, what
its functions use of the graphs around them. In its meta, `graphs` holds the functions' graphs; their
placeholders are what each round is given.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import fx

from exporter.capture.data_dependence.counts import counts_for
from exporter.capture.graph import CapturedGraph, call_node
from exporter.capture.handlers import handles
from exporter.capture.recorder import Recorder
from exporter.capture.sizes import SAMPLES
from exporter.capture.tensors import RecordedTensor, Spec, contiguous
from exporter.capture.torch_internals import TreeSpec, higher_order, tree_flatten, tree_unflatten
from exporter.errors import CaptureError

Specs = tuple[Spec, ...]
Function = Callable[..., Any]


class Kind(NamedTuple):
    """What a tensor of an operator is: one that a round is given, or a result.

    Attributes:
        specs: at each sample.
        device: where it is said to be.
        is_number: whether the function takes it as a number.
        open_axes: the axes whose sizes are told when the model runs alone.
    """

    specs: Specs
    device: torch.device
    is_number: bool = False
    open_axes: frozenset[int] = frozenset()


@dataclass
class Body:
    """What a function of an operator recorded."""

    captured: CapturedGraph


class _Recorded(Body):
    """And the leaves of its result, and how these nest."""

    def __init__(self, recorder: Recorder, graph: fx.Graph, result: Any) -> None:
        leaves, self.structure = tree_flatten(result)
        self.leaves: list[RecordedTensor | None] = [_tensor(recorder, leaf) for leaf in leaves]
        outputs = [recorder.node_of(leaf) for leaf in self.leaves if leaf is not None]
        super().__init__(CapturedGraph(graph, recorder.state, outputs, is_sequence=True))

    @property
    def specs(self) -> list[Specs]:
        """The specs of the results that are tensors."""
        return [leaf.specs for leaf in self.leaves if leaf is not None]


def _tensor(recorder: Recorder, leaf: Any) -> RecordedTensor | None:
    """What a function returned, as a tensor: numbers are of rank 0."""
    if leaf is None:
        return None
    if isinstance(leaf, torch.Tensor):
        return recorder.tensor(leaf)
    kind = torch.bool if isinstance(leaf, (bool, torch.SymBool)) else torch.int64
    with recorder:
        made: RecordedTensor = recorder.tensor(torch.scalar_tensor(leaf, dtype=kind))
    return made


def _record(
    recorder: Recorder, function: Function, given: Sequence[Kind], further: Sequence[Any] = ()
) -> _Recorded:  # fmt: skip
    """Record a call of a function, with placeholders for tensors (or numbers) that each round gives it."""
    with recorder.frame() as graph:
        arguments = []
        for i, kind in enumerate(given):
            tensor = recorder.placeholder(f"given_{i}", kind.specs, kind.device, by_values=bool(kind.open_axes))
            arguments.append(recorder.open_number(tensor) if kind.is_number else tensor)
        with recorder:
            result = function(*arguments, *further)
        return _Recorded(recorder, graph, result)


def _record_rounds(
    recorder: Recorder, what: str, function: Function, carried: Sequence[Kind], others: Sequence[Kind] = (),
    further: Sequence[Any] = (),
) -> tuple[_Recorded, list[Kind]]:  # fmt: skip
    """Record what a round does; sizes that differ after it from those before it are left open.

    Args:
        recorder: what the operator is recorded by.
        what: what is carried, in the words of an error.
        function: the round.
        carried: what it is given first, and returns first.
        others: what it is given beside that.
        further: arguments that are the same in each round.

    Returns:
        The round, and what it carries, with the open sizes.

    Raises:
        CaptureError: what is carried changes its dtype or its rank.
    """
    kinds = list(carried)
    while True:
        rounds = _record(recorder, function, [*kinds, *others], further)
        before, after = [kind.specs for kind in kinds], rounds.specs[: len(kinds)]
        changed = [_changed_axes(a, b) - kind.open_axes for kind, a, b in zip(kinds, before, after, strict=False)]
        if not any(changed):
            masked = [_masked(kind, specs) for kind, specs in zip(kinds, after, strict=False)]
            _check_same(what, [_masked(kind, kind.specs) for kind in kinds], masked)
            return rounds, kinds
        kinds = [_opened(recorder, kind, axes) for kind, axes in zip(kinds, changed, strict=True)]


def _changed_axes(before: Specs, after: Specs) -> frozenset[int]:
    """The axes along which two tensors of one rank are not of one size."""
    rank = len(before[0].shape)
    if len(after[0].shape) != rank or after[0].dtype != before[0].dtype:
        return frozenset()
    sizes = [_at(specs, i).shape for i in range(SAMPLES) for specs in (before, after)]
    return frozenset(axis for axis in range(rank) if any(sizes[i][axis] != sizes[i + 1][axis] for i in (0, 2, 4)))


def _opened(recorder: Recorder, kind: Kind, axes: Collection[int] = ()) -> Kind:
    """The same with further axes open, and sizes of its own at all open ones."""
    axes = kind.open_axes.union(axes)
    if not axes:
        return kind
    counts = {axis: counts_for(recorder, ("carried", len(recorder.counts))) for axis in sorted(axes)}
    specs = []
    for i in range(SAMPLES):
        spec = _at(kind.specs, i)
        specs.append(contiguous([counts[a][i] if a in axes else n for a, n in enumerate(spec.shape)], spec.dtype))
    return kind._replace(specs=tuple(specs), open_axes=axes)


def _masked(kind: Kind, specs: Specs) -> Specs:
    """Specs that tell nothing of the open axes of a kind."""
    shapes = ([0 if a in kind.open_axes else n for a, n in enumerate(spec.shape)] for spec in specs)
    return tuple(contiguous(shape, specs[0].dtype) for shape in shapes)


def _at(specs: Specs, sample: int) -> Spec:
    return specs[sample % len(specs)]


def finished_operator(
    recorder: Recorder, target: Any, arguments: Sequence[Any], functions: Sequence[Body], results: Sequence[Kind]
) -> list[RecordedTensor]:
    """Record the operator's node and return tensors for its results."""
    graphs = [function.captured for function in functions]
    used: dict[fx.Node, None] = {}
    for captured in graphs:
        used.update(dict.fromkeys(_from_outside(captured)))
    node = recorder.record(target, [*arguments, list(used)], {})
    node.meta["graphs"] = graphs
    node.meta["specs"] = tuple(kind.specs for kind in results)
    node.meta["open_axes"] = [kind.open_axes for kind in results]
    tensors = []
    for i, kind in enumerate(results):
        part = call_node(recorder.graph, operator.getitem, (node, i))
        part.meta["specs"] = (kind.specs,)
        if kind.open_axes:
            part.meta["data"] = True
        tensors.append(recorder.wrap(kind.specs, kind.device, part))
    return tensors


def _from_outside(captured: CapturedGraph) -> Iterable[fx.Node]:
    """The nodes of other graphs that a graph uses, or returns."""
    for node in captured.graph.nodes:
        yield from (used for used in node.all_input_nodes if used.graph is not captured.graph)
    yield from (output for output in captured.outputs if output.graph is not captured.graph)


def _rebuilt(leaves: Sequence[RecordedTensor | None], tensors: Sequence[Any], structure: TreeSpec) -> Any:
    """The result of an operator, in the structure of its function's."""
    given = iter(tensors)
    return tree_unflatten([None if leaf is None else next(given) for leaf in leaves], structure)


def _check_same(what: str, first: Sequence[Specs], second: Sequence[Specs]) -> None:
    """Hold two lists of results to one dtype and shape each.

    Raises:
        CaptureError: they differ.
    """
    described = [[(s.dtype, [list(spec.shape) for spec in specs]) for s in specs[:1]] for specs in (*first, *second)]
    if described[: len(first)] != described[len(first) :] or len(first) != len(second):
        shown = [", ".join(f"{specs[0].dtype}{list(specs[0].shape)}" for specs in side) for side in (first, second)]
        raise CaptureError(f"{what} must be of the same dtypes and shapes, got {shown[0]} and {shown[1]}")


def _slice(tensor: RecordedTensor) -> Specs:
    """The specs of the tensor's parts along its first dim."""
    return tuple(Spec(spec.shape[1:], spec.stride[1:], spec.dtype) for spec in tensor.specs)


def stacked(specs: Specs, along: RecordedTensor) -> Specs:
    """The specs of as many tensors as another is long, one after the other."""
    count = max(len(specs), len(along.specs))
    made = []
    for i in range(count):
        spec, length = _at(specs, i), _at(along.specs, i).shape[0]
        made.append(Spec((length, *spec.shape), (spec.stride[0] if spec.stride else 1, *spec.stride), spec.dtype))
    return tuple(made)


# The operators


@handles(higher_order("cond"))
def cond(
    recorder: Recorder, func: Any, condition: Any, if_true: Function, if_false: Function, operands: Sequence[Any] = ()
) -> Any:  # fmt: skip
    """`torch.cond(condition, if_true, if_false, operands)`: the node takes the condition."""
    if isinstance(condition, bool):
        with recorder:
            return (if_true if condition else if_false)(*operands)
    branches = [_record(recorder, function, (), operands) for function in (if_true, if_false)]
    first, second = branches
    changed = [_changed_axes(a, b) for a, b in zip(first.specs, second.specs, strict=False)]
    kinds = [Kind(leaf.specs, leaf.device) for leaf in first.leaves if leaf is not None]
    results = [_opened(recorder, kind, axes) for kind, axes in zip(kinds, changed, strict=False)]
    masked = [[_masked(kind, s) for kind, s in zip(results, b.specs, strict=False)] for b in branches]
    _check_same("both branches' results", *masked)
    taken = condition if isinstance(condition, torch.SymBool) else recorder.tensor(condition)
    return _rebuilt(first.leaves, finished_operator(recorder, func, [taken], branches, results), first.structure)


@handles(higher_order("while_loop"))
def while_loop(
    recorder: Recorder, func: Any, condition: Function, body: Function, carried: Sequence[Any],
    additional: Sequence[Any] = (),
) -> Any:  # fmt: skip
    """`torch.while_loop(condition, body, carried)`: the node takes what is carried."""
    numbers = [not isinstance(item, torch.Tensor) for item in carried]
    with recorder:
        tensors = [
            recorder.tensor(torch.scalar_tensor(x, dtype=torch.int64) if n else x)
            for x, n in zip(carried, numbers, strict=True)
        ]
    given = [Kind(t.specs, t.device, n) for t, n in zip(tensors, numbers, strict=True)]
    what = "what a loop carries, before and after a round,"
    rounds, kinds = _record_rounds(recorder, what, body, given, (), additional)
    test = _record(recorder, condition, kinds, additional)
    left = [_opened(recorder, kind) for kind in kinds]
    results = finished_operator(recorder, func, [tensors], [test, rounds], left)
    final = [recorder.open_number(t) if n else t for t, n in zip(results, numbers, strict=True)]
    return _rebuilt(rounds.leaves, final, rounds.structure)


@handles(higher_order("scan"))
def scan(
    recorder: Recorder, func: Any, body: Function, init: Sequence[Any], xs: Sequence[Any],
    additional: Sequence[Any] = (),
) -> Any:  # fmt: skip
    """`scan(body, init, xs)`: the node takes what is carried at first, and what is gone through."""
    carried, rows = [recorder.tensor(t) for t in init], [recorder.tensor(t) for t in xs]
    given, parts = [Kind(t.specs, t.device) for t in carried], [Kind(_slice(t), t.device) for t in rows]
    what = "what a scan carries, before and after a round,"
    rounds, kinds = _record_rounds(recorder, what, body, given, parts, additional)
    results = [_opened(recorder, kind) for kind in kinds]
    results += [Kind(stacked(specs, rows[0]), rows[0].device) for specs in rounds.specs[len(carried) :]]
    return _rebuilt(
        rounds.leaves, finished_operator(recorder, func, [carried, rows], [rounds], results), rounds.structure
    )


@handles(higher_order("map_impl"))
def map_impl(recorder: Recorder, func: Any, body: Function, xs: Sequence[Any], further: Sequence[Any] = ()) -> Any:
    """`map(body, xs, *further)`: the node takes what is gone through."""
    rows = [recorder.tensor(t) for t in xs]
    rounds = _record(recorder, body, [Kind(_slice(t), t.device) for t in rows], further)
    results = [Kind(stacked(specs, rows[0]), rows[0].device) for specs in rounds.specs]
    return _rebuilt(rounds.leaves, finished_operator(recorder, func, [rows], [rounds], results), rounds.structure)


@handles(higher_order("associative_scan"))
def associative_scan(
    recorder: Recorder, func: Any, body: Function, xs: Sequence[Any], additional: Sequence[Any] = ()
) -> Any:  # fmt: skip
    """`associative_scan(body, xs)`: the node takes what is gone through; rounds combine one after the other."""
    rows = [recorder.tensor(t) for t in xs]
    given = [Kind(_slice(t), t.device) for t in rows] * 2
    rounds = _record(recorder, body, given, additional)
    _check_same("what an associative_scan combines, and its result,", [_slice(t) for t in rows], rounds.specs)
    results = [Kind(t.specs, t.device) for t in rows]
    return _rebuilt(rounds.leaves, finished_operator(recorder, func, [rows], [rounds], results), rounds.structure)


# Operators that only run a function under some setting, which a graph does not have.
_SETTINGS = {"wrap": 0, "wrap_with_set_grad_enabled": 1, "wrap_with_autocast": 4, "tag_activation_checkpoint": 0}


def _plain(name: str, settings: int) -> None:
    @handles(higher_order(name))
    def run(recorder: Recorder, func: Any, *args: Any, **kwargs: Any) -> Any:
        function, *operands = args[settings:]
        with recorder:
            return function(*operands, **kwargs)


for _name, _count in _SETTINGS.items():
    _plain(_name, _count)
