"""`for i in mask.nonzero():`, as experts are gone through: one round for each place, kept where the mask is true.

A mask of a known length has as many places, so each round is recorded with its place as a number, and what the
round changes is chosen by the mask: `where(mask[i], after, before)`.  So a round may take a module by its place.
A place that the model has no tensor for, as where a mask is longer than there are experts, has no round: eager
fails there too.
"""

from __future__ import annotations

import ast
import contextlib
import sys
import types
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import fx

from exporter.capture.branching.inert import tree_of
from exporter.capture.loops.comprehensions import rolled_comprehension
from exporter.capture.loops.manner import Manner
from exporter.capture.loops.rolling import rolled_rows
from exporter.capture.loops.rounds import State
from exporter.capture.loops.rows import parts_of
from exporter.capture.loops.statements import leaves_early, loaded_after
from exporter.capture.recorder import Recorder
from exporter.capture.tensors import RecordedTensor, Storage
from exporter.capture.torch_internals import outside_modes, replace_tensor
from exporter.errors import CaptureError

aten = torch.ops.aten

_SAME_VALUES = {
    aten.squeeze.default, aten.squeeze.dim, aten.select.int, aten.flatten.using_ints, aten.view.default,
    aten.reshape.default,
}  # fmt: skip
_MOST = 1024  # rounds


class NoRound(BaseException):
    """A round of a loop over nonzero() fails at its place, whatever the input; no `except Exception` may catch it.

    Attributes:
        loop: which loop it is.
        place: the place that has no round.
    """

    def __init__(self, loop: Any, place: int) -> None:
        super().__init__(place)
        self.loop, self.place = loop, place


@contextlib.contextmanager
def visits(recorder: Recorder, manner: Manner) -> Iterator[None]:
    """Let a `for` statement go through the places where a mask is true, but those that have no round.

    Where it goes through the rows of a tensor of a dynamic size, or through its parts by unbind(), it may be one
    loop of the graph.
    """
    original, originals = RecordedTensor.__iter__, (torch.Tensor.unbind, torch.unbind)

    def rows_of(frame: types.FrameType, tensor: RecordedTensor, dim: int | None = None) -> Iterator[Any] | None:
        axis = dim or 0
        places: Iterable[Any] | None = rolled_rows(recorder, manner, frame, tensor, dim)
        if places is None:
            places = rolled_comprehension(recorder, manner, frame, (tensor.shape[axis] if tensor.ndim else 0,))
        return None if places is None else (tensor.select(axis, place) for place in places)

    def unbind(input: torch.Tensor, dim: int = 0) -> Any:
        if not isinstance(input, RecordedTensor):
            return originals[1](input, dim)
        rows = rows_of(sys._getframe(1), input, dim)
        if rows is not None:
            return rows
        parts = originals[1](input, dim)
        return parts_of(input, dim, parts) if isinstance(input.shape[dim], torch.SymInt) else parts

    def iterate(tensor: RecordedTensor) -> Iterator[Any]:
        frame = sys._getframe(1)
        mask = _mask(recorder, tensor)
        loop = None if mask is None else _statement(frame, tensor)
        if mask is None or loop is None:
            rows = rows_of(frame, tensor)
            return original(tensor) if rows is None else rows
        return _rounds(recorder, manner, frame, loop, mask, tuple(tensor.shape[1:]))

    RecordedTensor.__iter__ = iterate  # type: ignore[method-assign, assignment]  # it is put back
    torch.Tensor.unbind = torch.unbind = unbind  # type: ignore[method-assign, assignment]  # the same
    try:
        yield
    finally:
        torch.Tensor.unbind, torch.unbind = originals  # type: ignore[method-assign]  # the same
        del RecordedTensor.__iter__  # it is inherited


def _mask(recorder: Recorder, tensor: RecordedTensor) -> torch.Tensor | None:
    """The vector of a known length whose nonzero places the rows of a tensor are; None where they are not."""
    if not tensor.ndim or not isinstance(tensor.shape[0], torch.SymInt) or set(tensor.shape[1:]) - {1}:
        return None
    node = recorder.node_of(tensor)
    while node.target in _SAME_VALUES and isinstance(node.args[0], fx.Node):
        node = node.args[0]
    if node.target is not aten.nonzero.default or not isinstance(node.args[0], fx.Node):
        return None
    (specs,) = node.args[0].meta["specs"]
    if len(specs[0].shape) != 1 or specs[0].shape[0] > _MOST or len({spec.shape for spec in specs}) > 1:
        return None
    mask: torch.Tensor = recorder.wrap(specs, tensor.device, node.args[0])
    return mask


def _statement(frame: types.FrameType, tensor: RecordedTensor) -> tuple[ast.Module, ast.For] | None:
    """The `for name in tensor:` that a frame is at, which goes through all its rounds; None where there is none."""
    tree = tree_of(frame.f_code)
    found = [
        node
        for node in ast.walk(tree or ast.Module([], []))
        if isinstance(node, ast.For) and node.iter.lineno == frame.f_lineno and isinstance(node.iter, ast.Name)
    ]
    if tree is None or len(found) != 1 or frame.f_locals.get(getattr(found[0].iter, "id", "")) is not tensor:
        return None
    (loop,) = found
    stored = [node for node in ast.walk(loop) if isinstance(node, (ast.Attribute, ast.Global, ast.Nonlocal))]
    if any(not isinstance(node, ast.Attribute) or isinstance(node.ctx, ast.Store) for node in stored):
        return None
    return None if any(map(leaves_early, loop.body)) else (tree, loop)


def _rounds(
    recorder: Recorder, manner: Manner, frame: types.FrameType, statement: tuple[ast.Module, ast.For],
    mask: torch.Tensor, shape: tuple[int, ...],
) -> Iterator[torch.Tensor]:  # fmt: skip
    """The places, one after the other; after each round what it changed is what it was, where the mask is false."""
    tree, loop = statement
    used = {node.id for node in loaded_after(tree, loop)}
    used |= _read_first(loop.body, _names(loop.target, ast.Store))[0]
    key = recorder.scope, frame.f_code, loop.lineno
    for place in range(int(mask.shape[0])):
        if (key, place) in (manner.no_rounds or ()):
            continue
        before, start = State(frame.f_locals), Storage.number()
        failure = None if manner.no_rounds is None else NoRound(key, place)
        with _writes(recorder, start) as written, _failures(failure):
            yield _constant(recorder, place, shape)
        is_hit = mask[place] != 0
        for root, old in written:
            recorder.assign(root, torch.where(is_hit, root.clone(), old))
        _choose(recorder, is_hit, before, State(frame.f_locals), used)


def _constant(recorder: Recorder, place: int, shape: tuple[int, ...]) -> torch.Tensor:
    with outside_modes():
        value = torch.full(shape, place)
    return recorder.fresh_constant(value)


@contextlib.contextmanager
def _writes(recorder: Recorder, start: int) -> Iterator[list[tuple[RecordedTensor, RecordedTensor]]]:
    """Collects the tensors older than `start` that are written, each with what it held before."""
    original = recorder.assign
    found: dict[int, tuple[RecordedTensor, RecordedTensor]] = {}
    written: list[tuple[RecordedTensor, RecordedTensor]] = []

    def assign(target: torch.Tensor, value: torch.Tensor, *, resize: bool = False) -> None:
        root = recorder.tensor(target)
        while root.parent is not None:
            root = root.parent
        if id(root) not in found and root.storage_.serial < start:
            found[id(root)] = root, recorder.wrap(root.specs, root.device, recorder.node_of(root))
            written.append(found[id(root)])
        original(target, value, resize=resize)

    recorder.assign = assign  # type: ignore[method-assign]  # it is put back
    try:
        yield written
    finally:
        del recorder.assign


@contextlib.contextmanager
def _failures(failure: NoRound | None) -> Iterator[None]:
    """Raises `failure` where a subscript is out of the bounds of a tensor, whose sizes are the same for every input."""
    original = torch.Tensor.__getitem__

    def getitem(tensor: torch.Tensor, index: Any) -> torch.Tensor:
        try:
            return original(tensor, index)
        except IndexError as error:
            if failure is None or any(type(size) is not int for size in tensor.shape):
                raise
            raise failure from error

    torch.Tensor.__getitem__ = getitem  # type: ignore[method-assign, assignment]  # it is put back
    try:
        yield
    finally:
        torch.Tensor.__getitem__ = original  # type: ignore[method-assign]  # it is put back


def _choose(recorder: Recorder, is_hit: torch.Tensor, before: State, after: State, used: set[str]) -> None:
    """Let the variables that hold other tensors, and are used, hold those of before where the round does not count.

    Raises:
        CaptureError: one holds what cannot be chosen so.
    """
    changes = after.since(before)
    names = {path[0] for path in changes.lists} | (changes.others & used)
    seen: dict[int, RecordedTensor] = {}
    for path in changes.tensors:
        new, old = after.tensors[path][0], before.tensors.get(path, (None, 0))[0]
        if path[0] not in used or new is old:
            continue
        if old is None or old.specs != new.specs or seen.setdefault(id(new), old) is not old:
            names.add(path[0])
    if names:
        raise CaptureError(
            f"a loop over nonzero() leaves {', '.join(sorted(map(str, names)))} otherwise in each of its rounds",
            hint="add what a round computes to a tensor, or use torch.where",
        )
    for path in changes.tensors:
        new = after.tensors[path][0]
        if id(new) in seen:
            replace_tensor(new, recorder.tensor(torch.where(is_hit, new.clone(), seen.pop(id(new)))))


def _read_first(statements: Sequence[ast.stmt], known: frozenset[str]) -> tuple[set[str], frozenset[str]]:
    """The variables that statements may read as an earlier round left them, and those that they give a value.

    Args:
        statements: they run one after the other.
        known: the variables that this round has given a value.
    """
    read: set[str] = set()
    for statement in statements:
        if isinstance(statement, ast.If):
            ways = [_read_first(way, known) for way in (statement.body, statement.orelse)]
            read |= (_names(statement.test, ast.Load) - known).union(*(found for found, _ in ways))
            known = ways[0][1] & ways[1][1]
        elif isinstance(statement, ast.With):
            for item in statement.items:
                read |= _names(item, ast.Load) - known
                known |= _names(item, ast.Store)
            found, known = _read_first(statement.body, known)
            read |= found
        else:
            read |= _names(statement, ast.Load) - known
            if isinstance(statement, ast.Assign):
                known |= _names(statement, ast.Store)
            elif isinstance(statement, ast.AugAssign):
                read |= _names(statement, ast.Store) - known
    return read, known


def _names(tree: ast.AST, context: type[ast.expr_context]) -> frozenset[str]:
    return frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, context))
