"""What tensors hold while a model is recorded: the model's state, constants, views of each other, what is written."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from exporter.capture.frames import Frames
from exporter.capture.graph import call_node
from exporter.capture.mutation import functional, write_back, written_arguments
from exporter.capture.representations.sparse import dense
from exporter.capture.tensors import RecordedTensor, Spec, ViewStep, contiguous, same_sizes, same_step
from exporter.capture.torch_internals import outside_modes, replace_tensor, reshape_in_place, same_storage, schema_of
from exporter.errors import CaptureError

aten = torch.ops.aten


class Memory(Frames):
    """The part of the recorder that knows what each tensor holds.

    Attributes:
        state: name -> the real tensor of each `get_attr` node.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        """Prepare for a model whose state has `names`: id of a real tensor -> its name."""
        super().__init__()
        self.state: dict[str, torch.Tensor] = {}
        self._names = names
        self._lifted: dict[int, tuple[torch.Tensor, RecordedTensor]] = {}  # keeps the id's tensor alive
        self._shared: dict[Any, str] = {}

    if TYPE_CHECKING:
        scope: str
        handlers: Mapping[Any, Callable[..., Any]]

        def call(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
            """Record a call that writes to nothing."""

        def record(self, target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> fx.Node:
            """Add a node."""

        def wrap(
            self, specs: tuple[Spec, ...], device: torch.device, node: fx.Node | None,
            parent: RecordedTensor | None = None, step: ViewStep | None = None,
        ) -> RecordedTensor:  # fmt: skip
            """A new tensor."""

    # Real tensors.

    def tensor(self, tensor: torch.Tensor) -> RecordedTensor:
        """The recorded tensor that stands for a tensor of the model's state, or a constant."""
        if isinstance(tensor, RecordedTensor):
            return tensor
        known = self._lifted.get(id(tensor))
        if known is not None:
            return known[1]
        value = dense(tensor)
        specs = (Spec(tuple(value.shape), value.stride(), value.dtype),)
        name = self._names.get(id(tensor))
        node = None if name is None else self._state_node(name, value)
        recorded = self.wrap(specs, tensor.device, node)
        recorded.constant = value.detach() if name is None else None
        self._lifted[id(tensor)] = tensor, recorded
        return recorded

    def known(self, tensor: torch.Tensor) -> RecordedTensor | None:
        """What stands for a real tensor, if the model used it."""
        return self._lifted.get(id(tensor), (tensor, None))[1]

    def _state_node(self, name: str, tensor: torch.Tensor) -> fx.Node:
        """A `get_attr` node; tensors that are the same memory in the same way share one name."""
        if tensor.layout == torch.strided and tensor.numel() and not tensor.is_meta:
            key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
            name = self._shared.setdefault(key, name)
        self.state.setdefault(name, tensor)
        node = self.root.create_node("get_attr", name, (), {})
        node.meta["specs"] = ((Spec(tuple(tensor.shape), tensor.stride(), tensor.dtype),),)
        return node

    def _constant_node(self, value: torch.Tensor | None) -> fx.Node:
        if value is None:
            raise CaptureError("a tensor of this recording has no value")  # not to be reached by a user
        scope = f"{self.scope}." if self.scope else ""
        return self._state_node(f"{scope}constant_{len(self.state)}", value)

    def fresh_constant(self, value: torch.Tensor) -> RecordedTensor:
        """A tensor that Python code wrote down."""
        with outside_modes():
            return self.known_tensor(value.detach().clone(), value.device, (), None)

    def known_tensor(
        self, value: Any, device: torch.device, sources: Sequence[RecordedTensor], step: ViewStep | None
    ) -> Any:
        """A known value as a recorded tensor, a view where it shares its memory with a source."""
        if not isinstance(value, torch.Tensor):
            return value
        specs = (Spec(tuple(value.shape), value.stride(), value.dtype),)
        parents = (s for s in sources if s.constant is not None and same_storage(s.constant, value))
        parent = next(parents, None)
        recorded = self.wrap(specs, device, None, parent, None if parent is None else step)
        recorded.constant = value
        return recorded

    def all_rows(self, rows: torch.Tensor) -> RecordedTensor:
        """What stands in a list for all rows of a tensor; cat and stack alone can use it."""
        whole = self.tensor(rows)
        specs = tuple(contiguous(spec.shape[1:], spec.dtype) for spec in whole.specs)
        every = self.wrap(specs, whole.device, None)
        every.rows = whole
        return every

    # Views.

    def node_of(self, tensor: RecordedTensor) -> fx.Node:
        """The node of the tensor's value now, after all writes."""
        self._refresh(tensor)
        if tensor.node is None:
            tensor.node = self._constant_node(tensor.constant)
        return tensor.node

    def _refresh(self, tensor: RecordedTensor) -> None:
        """Take a view again from its parent, where their memory was written since."""
        parent, step = tensor.parent, tensor.step
        if tensor.version == tensor.storage_.version or parent is None:
            return
        self._refresh(parent)
        if parent.constant is not None:
            with outside_modes():
                tensor.constant = parent.constant if step is None else step.take(parent.constant)
            tensor.node = None
        else:
            base, tensor.constant = self.node_of(parent), None
            with self.at([base]):
                tensor.node = base if step is None else self._view_node(base, step, tensor.specs)
        tensor.version = tensor.storage_.version

    def _view_node(self, base: fx.Node, step: ViewStep, specs: tuple[Spec, ...]) -> fx.Node:
        node = self.record(step.target, (base, *step.args), step.kwargs)
        if step.index is None:
            node.meta["specs"] = (specs,)
            return node
        part = call_node(self.graph, operator.getitem, (node, step.index))
        part.meta["specs"] = (specs,)
        return part

    # Writes.

    def write(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Record an overload that writes to its arguments as the one that returns what it would write."""
        schema = schema_of(func)
        names = [argument.name for argument in schema.arguments]
        given = dict(zip(names, args, strict=False)) | dict(kwargs)
        written = [given[name] for name in written_arguments(func) if given.get(name) is not None]
        if schema.name.startswith("aten::_foreach_") and self._is_shared(written, given.values()):
            for place in range(len(written[0])):
                self.write(func, _only(place, args), {name: _only(place, [item])[0] for name, item in kwargs.items()})
            return None
        counterpart = functional(func)
        outs = {argument.name for argument in schema.arguments if argument.is_out}
        further = {name: value for name, value in kwargs.items() if name not in outs}
        handler = self.handlers.get(counterpart)
        values = handler(self, counterpart, *args, **further) if handler else self.call(counterpart, args, further)
        flat = list(values) if isinstance(values, (tuple, list)) else [values]
        targets = [item for entry in written for item in (entry if isinstance(entry, list) else [entry])]
        count = len(schema.returns)
        # What is written comes behind what is returned where both differ, as in batch normalization.
        for target, value in zip(targets, flat[count:] or flat, strict=False):
            self.assign(target, value, resize=bool(outs))
        results = targets if count == len(targets) else flat[:count]
        return None if not count else results[0] if count == 1 else tuple(results)

    def _is_shared(self, written: Sequence[Any], given: Iterable[Any]) -> bool:
        """Whether a list operator that writes to lists, one tensor after the other, is given one memory twice."""
        lists = [item for item in given if isinstance(item, list) and isinstance(next(iter(item), None), torch.Tensor)]
        owners = [{id(self.tensor(items[place]).storage_) for items in lists} for place in range(len(written[0]))]
        return len(set().union(*owners)) < sum(map(len, owners))

    def assign(self, target: torch.Tensor, value: torch.Tensor, *, resize: bool = False) -> None:
        """Make `value` what `target`, all its views and all that it is a view of hold from now on.

        Where it may `resize`, the target becomes one of other sizes, else the value is broadcast to it.
        """
        tensor = self.tensor(target)
        self.check_inside(tensor)
        if value.dtype != tensor.dtype:
            value = self.call(aten.to.dtype, (value, tensor.dtype), {})
        if not same_sizes(self.tensor(value), tensor):
            if resize and target is tensor:
                self._resize(tensor, self.tensor(value))
                return
            value = self.call(aten.expand.default, (value, list(tensor.shape)), {})
        chain: list[tuple[RecordedTensor, RecordedTensor]] = []
        child, new = tensor, self.tensor(value)
        while True:
            chain.append((child, new))
            parent, step = child.parent, child.step
            if parent is None:
                break
            new = new if step is None else write_back(step, parent, new, self._call_positional)
            child = parent
        values = [(changed, new.constant, new.node) for changed, new in chain]
        tensor.storage_.version += 1
        for changed, constant, node in values:
            changed.constant, changed.node = constant, node
            changed.version = changed.storage_.version

    def is_same_memory(self, first: torch.Tensor, second: torch.Tensor) -> bool:
        """Whether two tensors are one view, taken twice, of one tensor."""
        a, b = _looked_at(self.tensor(first)), _looked_at(self.tensor(second))
        while a is not b:
            if a.parent is None or b.parent is None or not same_step(a.step, b.step):
                return False
            a, b = _looked_at(a.parent), _looked_at(b.parent)
        return True

    def _resize(self, tensor: RecordedTensor, value: RecordedTensor) -> None:
        """Let a tensor that torch is about to return hold a value of other sizes."""
        grown = self.wrap(value.specs, value.device, self.node_of(value))
        reshape_in_place(tensor, grown)
        vars(tensor).update(vars(grown))

    def become(self, tensor: RecordedTensor, other: torch.Tensor) -> RecordedTensor:
        """Give `tensor`, as a Python object, the sizes and the memory of `other`."""
        recorded = self.tensor(other)
        self.node_of(recorded)
        former = self.wrap(recorded.specs, recorded.device, recorded.node, recorded, None)
        former.constant = recorded.constant
        replace_tensor(tensor, former)
        view: RecordedTensor | None = recorded
        while view is not None:  # a view of what `tensor` was is one of what holds that now
            view.parent = former if view.parent is tensor else view.parent
            view = view.parent
        return tensor

    def _call_positional(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        return self.call(func, args, kwargs)


def _looked_at(tensor: RecordedTensor) -> RecordedTensor:
    """What an alias of the whole is an alias of."""
    while tensor.parent is not None and tensor.step is None:
        tensor = tensor.parent
    return tensor


def _only(place: int, arguments: Sequence[Any]) -> list[Any]:
    """The arguments with each list cut down to its element at a place."""
    return [[item[place]] if isinstance(item, (list, tuple)) else item for item in arguments]
