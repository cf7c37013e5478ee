"""TorchScript: the graph of scripted or traced code is walked under the recorder, node by node.

No Python code of the model has a part in it: conditions and loops that depend on values become If, Loop
and Scan, and the sizes that a trace read off its example stay open.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple, cast

import torch

from exporter.capture.recorder import Recorder
from exporter.capture.script_functions import ALWAYS, ON_NUMBERS, PYTHON_TYPES, ListOfParts, converted
from exporter.capture.torch_internals import higher_order, outside_modes, parse_schema, tree_flatten, tree_unflatten
from exporter.errors import CaptureError

_FOREVER = 2**63 - 1
_LONGEST = 100_000  # rounds of a loop that is unrolled
_NUMBERS = (bool, int, float, torch.SymBool, torch.SymInt, torch.SymFloat)
_OPEN = (torch.SymBool, torch.SymInt, torch.SymFloat)

Environment = dict[str, Any]


@dataclass
class _Frame:
    """The function of a branch or a loop: the lists around it, and what a loop appends to them."""

    outer: set[int]
    may_append: bool = False
    appended: dict[int, tuple[list[Any], list[torch.Tensor]]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Template:
    """How Python values were made of tensors, for branches and loops, which hold nothing else."""

    structure: Any
    kinds: tuple[Any, ...]  # of each leaf: torch.Tensor, a type of number, or what it is, in a tuple

    def filled(self, tensors: Sequence[Any]) -> list[Any]:
        """The values, of other tensors."""
        given = iter(tensors)
        leaves = []
        for kind in self.kinds:
            if isinstance(kind, tuple):
                leaves.append(kind[0])
            else:
                tensor = next(given)
                leaves.append(tensor if kind is torch.Tensor else tensor.item())
        return list(tree_unflatten(leaves, self.structure))


def _packed(values: Sequence[Any]) -> tuple[list[torch.Tensor], _Template]:
    """The tensors in values, numbers as tensors of rank 0, and how to get the values back."""
    leaves, structure = tree_flatten(list(values))
    tensors: list[torch.Tensor] = []
    kinds: list[Any] = []
    for leaf in leaves:
        if isinstance(leaf, torch.Tensor):
            kinds.append(torch.Tensor)
            tensors.append(leaf)
        elif isinstance(leaf, _NUMBERS):
            dtype = _dtype_of(leaf)
            kinds.append(dtype)
            tensors.append(torch.full((), cast(Any, leaf), dtype=dtype))
        else:
            kinds.append((leaf,))
    return tensors, _Template(structure, tuple(kinds))


def _dtype_of(number: Any) -> torch.dtype:
    if isinstance(number, (bool, torch.SymBool)):
        return torch.bool
    return torch.int64 if isinstance(number, (int, torch.SymInt)) else torch.float32


class _Grown(NamedTuple):
    """A list that a loop appends to, and the rows of before its first round: none."""

    items: list[Any]
    rows: torch.Tensor


class _Appends(BaseException):
    """A round appends to lists that the loop does not carry yet: id of a list -> the list, and what it appends."""

    def __init__(self, lists: dict[int, tuple[list[Any], torch.Tensor]]) -> None:
        super().__init__()
        self.lists = lists


class Script:
    """Runs graphs of TorchScript for one recording."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._attributes: dict[tuple[int, str], Any] = {}  # what was set, and containers, for this recording alone
        self._frames: list[_Frame] = []
        self._owners: list[Any] = []  # kept, for attributes go by ids

    def call(self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], owner: Any = None) -> Any:
        """Call a ScriptFunction, or a ScriptMethod of `owner`.

        Raises:
            CaptureError: the graph has a node that cannot be recorded.
        """
        with outside_modes():  # to inline, torch compares constants
            graph = function.inlined_graph
        arguments = list(function.schema.arguments)
        self._owners.append(owner)
        given = [] if owner is None else [owner]
        given += args
        given += [kwargs.get(argument.name, argument.default_value) for argument in arguments[len(given) :]]
        names = [value.debugName() for value in graph.inputs()]
        results = self._block(graph, dict(zip(names, given, strict=True)))
        return results[0] if len(results) == 1 else tuple(results)

    def _block(self, block: Any, values: Environment) -> list[Any]:
        """Run the nodes of a graph or block; `values` takes what each gives."""
        for node in block.nodes():
            given = [values[value.debugName()] for value in node.inputs()]
            results = self._node(node, given, values)
            outputs = list(node.outputs())
            values.update(zip((value.debugName() for value in outputs), results, strict=True))
        return [values[value.debugName()] for value in block.outputs()]

    def _node(self, node: Any, given: list[Any], values: Environment) -> Sequence[Any]:
        """What one node gives, a list of as many as its outputs."""
        kind = node.kind()
        special = _SPECIAL.get(kind)
        if special is not None:
            return special(self, node, given, values)
        if kind in _MUTATIONS and type(given[0]) is ListOfParts:
            given[0].whole = None
        if kind in _MUTATIONS and self._frames and id(given[0]) in self._frames[-1].outer:
            self._append(kind, *given)
            return [given[0]] * node.outputsSize()
        function = ALWAYS.get(kind)
        if function is None and not any(isinstance(item, torch.Tensor) for item in given):
            function = ON_NUMBERS.get(kind)
        result = self._overload(node, given) if function is None else function(*given)
        return [result] if node.outputsSize() == 1 else result if node.outputsSize() else []

    def _overload(self, node: Any, given: Sequence[Any]) -> Any:
        """Call the overload that a node names."""
        overload, arguments = _overload_of(node.kind(), node.schema())
        if overload is None:
            raise CaptureError(
                f"{node.kind()}: TorchScript has it, and capture does not",
                hint="export the module itself, not what torch.jit.script or torch.jit.trace made of it",
            )
        args, kwargs = [], {}
        for argument, value in zip(arguments, given, strict=False):
            value = converted(argument.name, value)
            if argument.kwarg_only:
                kwargs[argument.name] = value
            else:
                args.append(value)
        with outside_modes():
            return self._recorder.__torch_dispatch__(overload, (), tuple(args), kwargs)

    # Nodes that are no calls.

    def _constant(self, node: Any, given: list[Any], values: Environment) -> Sequence[Any]:
        output = node.output()
        return [None if output.type().kind() == "NoneType" else output.toIValue()]

    def _attribute(self, node: Any, given: list[Any], values: Environment) -> Sequence[Any]:
        key = id(given[0]), node.s("name")
        if key in self._attributes:
            return [self._attributes[key]]
        value = getattr(given[0], node.s("name"))
        if isinstance(value, (list, dict)):  # a copy, each time that it is asked for: what is written to it must stay
            self._attributes[key] = value
        return [value]

    def _set_attribute(self, node: Any, given: list[Any], values: Environment) -> Sequence[Any]:
        self._attributes[id(given[0]), node.s("name")] = given[1]
        return []

    def _unpack(self, node: Any, given: list[Any], values: Environment) -> Sequence[Any]:
        parts = list(given[0])
        if len(parts) != node.outputsSize():
            raise RuntimeError(f"expected {node.outputsSize()} elements in a list, got {len(parts)}")
        return parts

    def _slice(self, node: Any, given: list[Any], values: Environment) -> Sequence[Any]:
        return [given[0][node.i("beg") : node.i("end")]]

    def _chunk(self, node: Any, given: list[Any], values: Environment) -> Sequence[Any]:
        return list(given[0].chunk(node.i("chunks"), node.i("dim")))

    def _cast(self, node: Any, given: list[Any], values: Environment) -> Sequence[Any]:
        """`x.to(...)`, in the ways that only TorchScript has, and the others."""
        _, arguments = _overload_of(node.kind(), node.schema())
        if "prim" not in node.schema():
            return [self._overload(node, given)]
        named = {a.name: converted(a.name, v) for a, v in zip(arguments, given, strict=False)}
        target = named.get("other", named.get("dtype"))
        tensor = next(iter(named.values()))
        return [tensor if target is None else tensor.to(target)]

    def _is_instance(self, node: Any, given: list[Any], values: Environment) -> Sequence[Any]:
        kinds = [kind for name in node.tys("types") for kind in PYTHON_TYPES.get(name.kind(), (object,))]
        return [isinstance(given[0], tuple(kinds))]

    def _create(self, node: Any, given: list[Any], values: Environment) -> Sequence[Any]:
        """An object of a scripted class, whose attributes SetAttr sets."""
        made = object()
        self._owners.append(made)
        return [made]

    def _python(self, node: Any, given: list[Any], values: Environment) -> Sequence[Any]:
        """A function under `torch.jit.ignore`."""
        result = node.pyobj()(*given)
        return [result] if node.outputsSize() == 1 else result or []

    def _raise(self, node: Any, given: list[Any], values: Environment) -> Sequence[Any]:
        raise RuntimeError(str(given[0]) if given else "the scripted code raises an exception")

    def _append(self, kind: str, items: list[Any], *given: Any) -> None:
        """A list or dict from outside is changed in a branch or a loop: by a loop, one element more a round."""
        frame = self._frames[-1]
        added: Sequence[Any] = given if kind == "aten::append" else given[0] if kind in _EXTENSIONS else ()
        if not frame.may_append or len(added) != 1 or not isinstance(added[0], torch.Tensor):
            raise CaptureError(
                f"{kind}: a branch or loop that depends on values changes a list from outside of it",
                hint="return tensors from the branch, or append one tensor a round to the list",
            )
        frame.appended.setdefault(id(items), (items, []))[1].append(added[0])

    # Control flow.

    def _if(self, node: Any, given: list[Any], values: Environment) -> Sequence[Any]:
        condition, blocks = given[0], list(node.blocks())
        if not isinstance(condition, torch.SymBool):
            return self._block(blocks[0 if condition else 1], values)
        same = len(set(condition.node.values)) == 1
        if same and not condition.node.data:
            return self._block(blocks[0 if condition else 1], values)
        going_on = [block for block in blocks if not _raises(block)]
        if len(going_on) == 1:
            return self._block(going_on[0], values)
        try:
            return self._branch(condition, blocks, values)
        except CaptureError:
            if condition.node.data:
                raise
        return self._block(blocks[0 if condition else 1], values)  # noted as a decision by a size

    def _branch(self, condition: torch.SymBool, blocks: Sequence[Any], values: Environment) -> list[Any]:
        templates: list[_Template] = []
        written = _written(blocks, values)

        def runner(block: Any) -> Callable[[], list[torch.Tensor]]:
            def run() -> list[torch.Tensor]:
                inner = {**values, **{name: values[name].clone() for name in written}}
                results = self._inside(_Frame(_mutable(values)), block, inner)
                tensors, template = _packed(results)
                templates.append(template)
                return [tensor.clone() for tensor in (*(inner[name] for name in written), *tensors)]

            return run

        results = higher_order("cond")(condition, *map(runner, blocks), ())
        for name in written:
            values[name].copy_(results.pop(0))
        if templates[0] != templates[1]:
            raise CaptureError(
                "both branches of a scripted `if` must give the same kinds of values",
                hint="give tensors or numbers of one type in both",
            )
        return templates[0].filled(results)

    def _loop(self, node: Any, given: list[Any], values: Environment) -> Sequence[Any]:
        count, going, *carried = given
        block = next(iter(node.blocks()))
        names = [value.debugName() for value in block.inputs()]
        for place in range(_LONGEST):
            if isinstance(going, _OPEN) or isinstance(count, _OPEN):
                condition = next(iter(block.outputs())).node()
                counted = condition.kind() == "prim::Constant" and going is True
                run = self._count if counted else self._repeat
                try:
                    return run(block, place, count, going, carried, values)
                except CaptureError:  # the first round may be another, as where a variable is None before it
                    if place or not counted or not count > 0:
                        raise
            if not going or place >= count:
                return carried
            values.update(zip(names, [place, *carried], strict=True))
            going, *carried = self._block(block, values)
        raise CaptureError(f"a scripted loop of more than {_LONGEST} rounds", hint="use torch.while_loop")

    def _count(
        self, block: Any, start: int, count: Any, going: Any, carried: Sequence[Any], values: Environment
    ) -> list[Any]:
        """`for i in range(size)`, as a scan over the places; what it appends to lists comes beside what it carries."""
        written = _written([block], values)
        grown = {i: carried[i] for i in _grown(block)}
        tensors, template = _packed([[values[name] for name in written], *_without(carried, grown)])
        frame = _Frame(_mutable(values) | set(map(id, grown.values())), may_append=True)

        def run(*given: torch.Tensor) -> list[torch.Tensor]:
            *state, place = given
            held, *others = template.filled([tensor.clone() for tensor in state])
            inner, rest = {**values, **dict(zip(written, held, strict=True))}, iter(others)
            before = [grown[i] if i in grown else next(rest) for i in range(len(carried))]
            _, *after = self._inside(frame, block, inner, [place.item(), *before])
            left, template_after = _packed([held, *_without(after, grown)])
            _check_kinds(template, template_after)
            rows = [row for _, row in frame.appended.values()]
            if any(len(row) != 1 for row in rows):
                raise CaptureError("a loop over a size must append one tensor a round to a list")
            return [tensor.clone() for tensor in left] + [row[0].clone() for row in rows]

        results = higher_order("scan")(run, tensors, [torch.arange(start, count)], ())
        for (items, _), column in zip(frame.appended.values(), results[len(tensors) :], strict=True):
            items.extend(column.unbind(0))
        final = iter(_written_back(written, values, template.filled(results[: len(tensors)])))
        return [grown[i] if i in grown else next(final) for i in range(len(carried))]

    def _repeat(
        self, block: Any, start: int, count: Any, going: Any, carried: Sequence[Any], values: Environment
    ) -> list[Any]:
        """`while condition`; a list that it appends to is carried as a tensor that grows by a row a round."""
        written, lists = _written([block], values), dict[int, _Grown]()
        while True:
            tensors, template = _packed(
                [start, going, [values[name] for name in written], [grown.rows for grown in lists.values()], *carried]
            )

            def condition(place: torch.Tensor, going: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
                if type(count) is int and count == _FOREVER:
                    return going
                return going & (place < count)

            def run(place: torch.Tensor, going: torch.Tensor, *state: torch.Tensor) -> list[torch.Tensor]:
                frame = _Frame(_mutable(values), may_append=True)
                number, _, held, rows, *before = template.filled([place, going, *(tensor.clone() for tensor in state)])
                inner = {**values, **dict(zip(written, held, strict=True))}
                going_on, *after = self._inside(frame, block, inner, [number, *before])
                left, template_after = _packed([number, going_on, held, _with_appended(lists, frame, rows), *after])
                _check_kinds(template, template_after)
                return [place + 1, *(tensor.clone() for tensor in left[1:])]

            try:
                results = higher_order("while_loop")(condition, run, tuple(tensors), ())
            except _Appends as found:
                for key, (items, row) in found.lists.items():
                    lists[key] = _Grown(items, torch.zeros(0, *row.shape, dtype=row.dtype))
                continue
            rows, *final = _written_back(written, values, template.filled(results)[2:])
            for grown, column in zip(lists.values(), rows, strict=True):
                grown.items.append(self._recorder.all_rows(column))
            return final

    def _inside(
        self, frame: _Frame, block: Any, values: Environment, inputs: Sequence[Any] = ()
    ) -> list[Any]:  # fmt: skip
        """Run a block as the function of a branch or a loop; what it computes stays inside."""
        inner = dict(values)
        inner.update(zip((value.debugName() for value in block.inputs()), inputs, strict=True))
        self._frames.append(frame)
        try:
            return self._block(block, inner)
        finally:
            self._frames.pop()


def _written(blocks: Sequence[Any], values: Environment) -> list[str]:
    """The names of the tensors from outside that blocks write to."""
    found: dict[str, None] = {}
    for block in blocks:
        for node in block.nodes():
            found.update(dict.fromkeys(_written(list(node.blocks()), values)))
            if not node.kind().startswith("aten::") or not node.kind().endswith("_") or node.kind().endswith("__"):
                continue
            target = next(iter(node.inputs()))
            while target.debugName() not in values and list(target.node().inputs()):
                target = next(iter(target.node().inputs()))
            if isinstance(values.get(target.debugName()), torch.Tensor):
                found[target.debugName()] = None
    return list(found)


def _grown(block: Any) -> list[int]:
    """Which of the values that a loop carries are lists that `items += [...]` adds to, and nothing else."""
    _, *given = (value.debugName() for value in block.inputs())
    _, *left = block.outputs()
    found = []
    for i, value in enumerate(left):
        while value.node().kind() == "aten::add_" and value.type().kind() == "ListType":
            value = next(iter(value.node().inputs()))
        if value.debugName() == given[i] and value.debugName() != left[i].debugName():
            found.append(i)
    return found


def _without(values: Sequence[Any], places: Collection[int]) -> list[Any]:
    return [value for i, value in enumerate(values) if i not in places]


def _written_back(written: Sequence[str], values: Environment, results: Sequence[Any]) -> list[Any]:
    """Write to the tensors from outside what is left of them, the first result, and return the others."""
    for name, tensor in zip(written, results[0], strict=True):
        values[name].copy_(tensor)
    return list(results[1:])


def _mutable(values: Environment) -> set[int]:
    """The ids of the lists and dicts among values."""
    return {id(value) for value in values.values() if isinstance(value, (list, dict))}


def _with_appended(lists: Mapping[int, _Grown], frame: _Frame, rows: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The rows of the lists that a loop carries, behind them those that this round appended.

    Raises:
        _Appends: it appends to others.
    """
    if more := frame.appended.keys() - lists:
        new = [(key, *frame.appended[key]) for key in frame.appended if key in more]
        raise _Appends({key: (items, row) for key, items, (row, *_) in new})
    after = []
    for key, before in zip(lists, rows, strict=True):
        _, added = frame.appended.get(key, ([], []))
        after.append(torch.cat([before, *(row.unsqueeze(0) for row in added)]) if added else before)
    return after


def _check_kinds(before: _Template, after: _Template) -> None:
    if before.kinds != after.kinds:
        raise CaptureError(
            "what a scripted loop carries must be of the same kinds before and after a round",
            hint="begin the loop with tensors and numbers of the types that it ends with",
        )


def _raises(block: Any) -> bool:
    return any(node.kind() == "prim::RaiseException" for node in block.nodes())


@cache
def _overload_of(kind: str, schema: str) -> tuple[Any, Sequence[Any]]:
    """The overload of a node, None where only TorchScript has it, and the arguments of its schema."""
    if schema == "(no schema)":
        return None, ()
    parsed = parse_schema(schema)
    namespace, name = kind.split("::")
    packet = getattr(getattr(torch.ops, namespace), name, None)
    overload_name = parsed.overload_name.replace("Tensor_hacked_twin", "Tensor").replace("hacked_twin", "") or "default"
    if packet is None or overload_name not in packet.overloads():
        return None, parsed.arguments
    return getattr(packet, overload_name), parsed.arguments


_EXTENSIONS = {"aten::extend", "aten::add_"}  # by another list: `items += [x]` is called add_
_MUTATIONS = {
    *_EXTENSIONS, "aten::append", "aten::insert", "aten::pop", "aten::remove", "aten::clear", "aten::reverse",
    "aten::sort", "aten::Delete", "aten::_set_item", "aten::setdefault", "aten::popitem", "aten::update",
}  # fmt: skip
_SPECIAL: dict[str, Callable[[Script, Any, list[Any], Environment], Sequence[Any]]] = {
    "prim::Constant": Script._constant,
    "prim::GetAttr": Script._attribute,
    "prim::SetAttr": Script._set_attribute,
    "prim::ListUnpack": Script._unpack,
    "prim::TupleUnpack": Script._unpack,
    "prim::TupleSlice": Script._slice,
    "prim::ConstantChunk": Script._chunk,
    "prim::RaiseException": Script._raise,
    "prim::PythonOp": Script._python,
    "prim::CreateObject": Script._create,
    "prim::isinstance": Script._is_instance,
    "prim::If": Script._if,
    "prim::Loop": Script._loop,
    "aten::to": Script._cast,
}
