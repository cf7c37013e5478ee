"""Our own capture: the model's Python code runs once on tensors without memory.

`Recorder` is a dispatch mode under `torch.inference_mode()`, where torch hands over overloads as they
were called (`aten.linear`, `aten.lstm`), before anything takes them apart.  Each call becomes one node
of an `fx.Graph`; writes become values; what depends on no input is computed at once.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

import torch
from torch import fx

from exporter.capture.answers import Answers
from exporter.capture.calls import Call, at_sample
from exporter.capture.data_dependence.counts import Counts, ask_for_counts
from exporter.capture.data_dependence.outcomes import depends_on_values, known_choice, outcomes_by_values, with_places
from exporter.capture.folding import folded
from exporter.capture.graph import Decision, Fork, call_node
from exporter.capture.kernels import Kernels, Outcome, fill
from exporter.capture.limits import limited_sizes, may_cut
from exporter.capture.numbering import Numbering
from exporter.capture.sizes import SAMPLES, SizeNode
from exporter.capture.tensors import (
    RecordedTensor,
    Spec,
    ViewStep,
    device_of,
    merged,
    same_layout,
    same_values,
)
from exporter.capture.torch_internals import (
    DispatchMode,
    is_mutable,
    is_random,
    size_from_node,
)
from exporter.errors import CaptureError

aten = torch.ops.aten

_SYMBOLIC = (torch.SymInt, torch.SymFloat, torch.SymBool)

# Views whose result has its argument's sizes and strides, and yet other values.
_NOT_IDENTITY = {aten.as_strided.default, aten._conj.default, aten.conj.default, aten._neg_view.default}
_COPIES = {
    aten.clone.default, aten.contiguous.default, aten._to_copy.default, aten.lift_fresh_copy.default,
    aten.to.dtype, aten.to.dtype_layout, aten.to.device, aten.to.other, aten.type_as.default,
    aten.detach_copy.default, aten.alias_copy.default,
}  # fmt: skip


class Recorder(Answers, DispatchMode):
    """Records what runs under it.

    Attributes:
        graph: what was recorded so far.
        state: name -> the real tensor of each `get_attr` node.
        decisions: what Python code decided by dynamic sizes.
        scope: the path of the module that is running.
        named: the samples of each size that depends on no values: the user's dims, and what was computed from them.
        counts: number of a mask's value -> how many elements it is taken to choose, at each sample.
        equal_counts: those of them that must be, for the model to work.
        least_counts: what stands for a count at the samples -> what it is at the least, by answers to decisions.
        numbering: which nodes hold the same value.
        known_values: what nodes hold that depend on sizes alone, where it was asked for.
        answers: to the decisions by values that the code comes to, in order; None where none can be given.
        forks: where it came to them.
        examples: a placeholder's name -> the example, where its values may be told if they are sizes.
        layouts: the inputs of which it is the example that tells where they hold given numbers.
        identified: the inputs that hold ids, as they were compared with some, and so no sizes.
        opened: number of a value -> the symbolic number that stands for it.
        sizes: node of the graph -> the size that it computes.
        wholes: the sizes of the parts that a tensor was split into by values -> the size of the whole.
        opposites: how many a mask chooses -> how many it leaves, and how many there are.
        batches: the node of a packed sequence's batch sizes -> the first of them, a size.
        comprehensions: those over a dynamic size whose elements nobody has put together.
        is_seeded: whether the model has set torch's seed, and all that was drawn since is known.
    """

    def __init__(self, names: Mapping[int, str], handlers: Mapping[Any, Callable[..., Any]]) -> None:
        """Prepare a recording.

        Args:
            names: id of a real tensor -> its name in the model's state.
            handlers: overload -> what to do instead of recording it, called with the recorder first.
        """
        super().__init__(names)
        self.decisions: list[Decision] = []
        self.scope = ""
        self.handlers = handlers
        self._kernels = Kernels()
        self._quiet = False
        self.named: set[tuple[int, ...]] = set()
        self.counts: Counts = {}
        self.equal_counts: Counts = {}
        self.least_counts: dict[tuple[int, ...], int] = {}
        self.numbering = Numbering()
        self.forks: list[Fork] = []
        self.known_values: dict[fx.Node, tuple[Any, ...] | None] = {}
        self.answers: Sequence[bool] | None = None
        self.examples: dict[str, torch.Tensor] = {}
        self.layouts: Set[str] = frozenset()
        self.identified: set[str] = set()
        self.opened: dict[int, SizeNode] = {}
        self.sizes: dict[fx.Node, SizeNode] = {}
        self.wholes: dict[tuple[tuple[int, ...], ...], tuple[int, ...]] = {}
        self.opposites: dict[tuple[int, ...], tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self.batches: dict[fx.Node, int | torch.SymInt] = {}
        self.comprehensions: list[Any] = []
        self.is_seeded = False

    # What torch calls.

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        handler = self.handlers.get(func)
        if handler is not None:
            return handler(self, func, *args, **kwargs)
        return self.write(func, args, kwargs) if is_mutable(func) else self.call(func, args, kwargs)

    # Recording.

    def call(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Record a call that writes to nothing, and return tensors that stand for its results."""
        tensors: list[RecordedTensor] = []
        sizes: list[SizeNode] = []
        args = [self._lift(argument, tensors, sizes) for argument in with_places(self, func, args)]
        kwargs = {name: self._lift(argument, tensors, sizes) for name, argument in kwargs.items()}
        call = Call(func, args, kwargs, tensors, sizes)
        if (folded := self._fold(call)) is not None:
            return folded
        try:
            outcomes = self._outcomes(call)
        except RuntimeError:
            ask_for_counts(self, call)
            raise
        return self._results(call, outcomes)

    def _outcomes(self, call: Call) -> Sequence[Outcome]:
        if (chosen := outcomes_by_values(self, call)) is not None:
            return chosen
        func, args, kwargs, *_ = call
        return [
            self._kernels.outcome(func, at_sample(args, i), {k: at_sample(v, i) for k, v in kwargs.items()})
            for i in range(SAMPLES if call.is_dynamic else 1)
        ]

    def record(self, target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> fx.Node:
        """Add a node; tensors and sizes among the arguments become their nodes."""
        nodes = tuple(map(self._argument, args))
        keywords = {name: self._argument(argument) for name, argument in kwargs.items()}
        node = call_node(self.graph, target, nodes, keywords)
        node.meta["module"] = self.scope
        node.meta["source"] = self.source()
        return node

    def placeholder(
        self, name: str, specs: tuple[Spec, ...], device: torch.device, *, by_values: bool = False
    ) -> RecordedTensor:
        """Add an input of the graph; `by_values` says that values decide its sizes."""
        node = self.graph.placeholder(name)
        node.meta["specs"] = (specs,)
        if by_values:
            node.meta["data"] = True
        given = self.wrap(specs, device, node)
        given.storage_.is_given = True
        return given

    # Inside.

    def _lift(self, argument: Any, tensors: list[RecordedTensor], sizes: list[SizeNode]) -> Any:
        """The argument with every real tensor recorded; what was found goes into the two lists."""
        kind = type(argument)
        if kind is RecordedTensor:
            self._refresh(argument)
            tensors.append(argument)
        elif kind in (list, tuple):
            return [self._lift(item, tensors, sizes) for item in argument]
        elif isinstance(argument, torch.Tensor):
            tensors.append(self.tensor(argument))
            return tensors[-1]
        elif kind in _SYMBOLIC:
            sizes.append(argument.node)
            return argument.node
        elif kind is SizeNode:
            sizes.append(argument)
        return argument

    def _fold(self, call: Call) -> Any:
        """The results computed at once, where they are small and depend on no input; else None."""
        func, args, kwargs, tensors, sizes = call
        result = None if sizes else folded(func, args, kwargs, tensors, self.is_seeded)
        if result is None:
            result = known_choice(self, call)
        if result is None:
            self.is_seeded &= not is_random(func)
            return None
        device = torch.device(kwargs.get("device") or device_of(tensors))
        step = ViewStep(func, tuple(args[1:]), dict(kwargs))
        if not isinstance(result, (list, tuple)):
            return self.known_tensor(result, device, tensors, step)
        return type(result)(
            self.known_tensor(item, device, tensors, replace(step, index=i)) for i, item in enumerate(result)
        )

    def _results(self, call: Call, outcomes: Sequence[Outcome]) -> Any:
        """Record the node and wrap what it returns."""
        func, args, kwargs, tensors, sizes = call
        specs, template, aliases = outcomes[0]
        if any(outcome.template != template for outcome in outcomes):
            raise CaptureError(
                f"{func}: returns another number of results, or another number, at another size of a dynamic dim",
                hint="export with that dim static",
                source=str(self.source() or ""),
            )
        nodes = map(self.node_of, tensors)
        limited = limited_sizes(func, args, sizes, nodes) if len(outcomes) > 1 else set()
        columns = [merged([outcome.specs[i] for outcome in outcomes], limited) for i in range(len(specs))]
        cuts = len(outcomes) > 1 and may_cut(func, args, sizes)
        if len(columns) == 1 and not cuts and (same := self._unchanged(func, tensors, columns[0], aliases[0])):
            return fill(template, same)
        device = kwargs.get("device") or next((a for a in args if type(a) is torch.device), None)
        device = torch.device(device) if device is not None else device_of(tensors)
        node = self.record(func, args, kwargs)
        node.meta["specs"] = tuple(columns)
        if limited:
            node.meta["limited"] = limited
        if depends_on_values(call) or any("data" in self.node_of(tensor).meta for tensor in tensors):
            node.meta["data"] = True
        single = type(template) not in (list, tuple)
        wrapped = []
        for i, column in enumerate(columns):
            part = node if single else call_node(self.graph, operator.getitem, (node, i))
            if not single:
                part.meta["specs"] = (column,)
                if "data" in node.meta:
                    part.meta["data"] = True
            if limited:
                part.meta["limited"] = limited
            alias = aliases[i]
            if alias is None:
                wrapped.append(self.wrap(column, device, part))
            else:
                step = ViewStep(func, tuple(args[1:]), dict(kwargs), None if single else i)
                wrapped.append(self.wrap(column, device, part, tensors[alias], step))
        return fill(template, wrapped)

    def _unchanged(
        self, func: Any, tensors: Sequence[RecordedTensor], column: tuple[Spec, ...], alias: int | None
    ) -> list[RecordedTensor]:
        """The result of a call that changes no value, the argument's node under a new tensor; else nothing."""
        if alias is not None:
            source = tensors[alias]
            if func in _NOT_IDENTITY or not same_layout(source.specs, column):
                return []
            return [self.wrap(column, source.device, self.node_of(source), source, None)]
        if func in _COPIES and tensors and same_values(tensors[0].specs, column):
            return [self.wrap(column, tensors[0].device, self.node_of(tensors[0]))]
        return []

    def wrap(
        self, specs: tuple[Spec, ...], device: torch.device, node: fx.Node | None,
        parent: RecordedTensor | None = None, step: ViewStep | None = None,
    ) -> RecordedTensor:  # fmt: skip
        """A new tensor, whose sizes are symbolic where they differ between the samples.

        Args:
            specs: what it is at each sample.
            device: where it is said to be.
            node: what computes it; None where it is known, or is taken from its parent when it is needed.
            parent: what it shares its memory with.
            step: how it was taken from its parent; None where it is all of it, as it is.
        """
        first = specs[0]
        if len(specs) == 1:
            return RecordedTensor(specs, first.shape, first.stride, device, node, parent, step)
        shape = tuple(
            self._size(column, node, axis) for axis, column in enumerate(zip(*(s.shape for s in specs), strict=True))
        )
        stride = tuple(
            self._size(column, node, -1 - axis)
            for axis, column in enumerate(zip(*(s.stride for s in specs), strict=True))
        )
        self._quiet = True
        try:
            return RecordedTensor(specs, shape, stride, device, node, parent, step)
        finally:
            self._quiet = False

    def _size(self, values: tuple[int, ...], node: fx.Node | None, axis: int) -> int | torch.SymInt:
        if values.count(values[0]) == SAMPLES and (node is None or values[0] not in node.meta.get("limited", ())):
            return values[0]
        data = node is not None and "data" in node.meta and values not in self.named
        if not data:
            self.named.add(values)
        size: torch.SymInt = size_from_node(SizeNode(self, values, None, (node, axis), data))
        return size

    def _argument(self, argument: Any) -> Any:
        """What stands for an argument in the graph."""
        kind = type(argument)
        if kind is RecordedTensor:
            return self.node_of(argument)
        if kind is SizeNode:
            return self.graph_node(argument)
        if kind in _SYMBOLIC:
            return self.graph_node(argument.node)
        if kind in (list, tuple):
            return [self._argument(item) for item in argument]
        return argument
