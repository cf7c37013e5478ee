"""The front end for `torch.fx`: symbolic tracing with proxies that know shapes and dtypes.

Each proxy has, beside its node, the tensor or size that it stands for, on tensors without memory.  What
Python code asks of it (a shape, a dtype, a rank) is answered from there; a static answer is a plain
Python object.  The traced `GraphModule` is then recorded like any module.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import fx

from exporter import structures
from exporter.capture.graph import Decision
from exporter.capture.handlers import HANDLERS
from exporter.capture.record import inputs_of, state_names, with_values_asked_for
from exporter.capture.recorder import Recorder
from exporter.capture.surroundings import as_written
from exporter.capture.tensors import RecordedTensor
from exporter.capture.torch_internals import above_autograd, call_with_hooks
from exporter.eager import untouched
from exporter.signature import Signature

_SYMBOLIC = (torch.Tensor, torch.SymInt, torch.SymFloat, torch.SymBool)
# Functions of sizes alone: C code that takes no proxy by itself.
_CONSTRUCTORS = (
    "arange",
    "zeros",
    "ones",
    "full",
    "empty",
    "eye",
    "tensor",
    "linspace",
    "rand",
    "randn",
    "triu_indices",
)


class ShapeProxy(fx.Proxy):
    """A proxy that knows the tensor, or the size, that it stands for."""

    def __init__(self, node: fx.Node, tracer: ShapeTracer, value: Any) -> None:
        super().__init__(node, tracer)
        self.value = value
        self.shapes = tracer

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.shapes.attribute(self, name)

    def __bool__(self) -> bool:
        with self.shapes.computing():
            return bool(self.value)

    def __int__(self) -> int:
        with self.shapes.computing():
            return int(self.value)

    __index__ = __int__

    def __float__(self) -> float:
        with self.shapes.computing():
            return float(self.value)

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        items: Any = self.unbind(0) if isinstance(self.value, torch.Tensor) else self
        return iter([items[i] for i in range(len(items))])

    def __setitem__(self, index: Any, item: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, index, item), {})

    def __hash__(self) -> int:
        return id(self)


class ShapeTracer(fx.Tracer):
    """Traces a module; computes what each node gives as it makes it."""

    def __init__(self, recorder: Recorder, inputs: Mapping[str, RecordedTensor]) -> None:
        super().__init__()
        self.recorder, self.inputs = recorder, inputs
        self._is_computing = False

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Where values are computed: the recorder sees it, the tracer does not; its record is thrown away."""
        before, self._is_computing = self._is_computing, True
        try:
            with self.recorder:
                yield
        finally:
            self._is_computing = before

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """What reading a module's attribute gives: a proxy for a parameter, unless values are computed."""
        return attr_val if self._is_computing else super().getattr(attr, attr_val, parameter_proxy_cache)

    def call_module(
        self, m: torch.nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """A node for a leaf module; a plain call where values are computed."""
        return forward(*args, **kwargs) if self._is_computing else super().call_module(m, forward, args, kwargs)

    def create_proxy(
        self, kind: str, target: Any, args: Any, kwargs: Any, name: str | None = None,
        type_expr: Any = None, proxy_factory_fn: Any = None,
    ) -> Any:  # fmt: skip
        """A proxy for a new node, or a plain object where that is what the call gives."""
        if kind == "output":
            return super().create_proxy(kind, target, args, kwargs, name, type_expr)
        value = self._value(kind, target, _values(args), _values(kwargs))
        if kind in ("call_function", "call_method") and value is not None and not _is_symbolic(value):
            return value
        node = self.create_node(kind, target, self.create_arg(args), self.create_arg(kwargs), name, type_expr)
        return ShapeProxy(node, self, value)

    def create_arg(self, a: Any) -> Any:
        """What stands for an argument in the graph."""
        return a.node if _is_proxy(a) else super().create_arg(a)

    def attribute(self, proxy: ShapeProxy, name: str) -> Any:
        """`proxy.name`: a method to be called, a plain object, or a proxy."""
        with self.computing():
            found = getattr(proxy.value, name)
        if callable(found) and not isinstance(found, torch.Tensor):
            return functools.partial(self._call_method, name, proxy)
        return self.create_proxy("call_function", getattr, (proxy, name), {}) if _is_symbolic(found) else found

    def _call_method(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self.create_proxy("call_method", name, args, kwargs)

    def _value(self, kind: str, target: Any, args: Any, kwargs: Any) -> Any:
        if kind == "placeholder":
            return self.inputs[target]
        with self.computing():
            if kind == "get_attr":
                return operator.attrgetter(target)(self.root)
            if kind == "call_module":
                return self.root.get_submodule(target).forward(*args, **kwargs)
            if kind == "call_method":
                return getattr(args[0], target)(*args[1:], **kwargs)
            return target(*args, **kwargs)


class TracedCall:
    """A traced model as a function that is called as the model is.

    Attributes:
        decisions: what Python code decided by dynamic sizes while it was traced.
    """

    def __init__(self, module: fx.GraphModule, signature: Signature, result: Any, decisions: list[Decision]) -> None:
        self.module, self.signature, self.result = module, signature, result
        self.decisions = decisions

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the traced graph."""
        leaves = [leaf for _, leaf in structures.flatten((args, kwargs))]
        outputs = iter(self.module(*(leaves[i] for i in self.signature.tensor_indices)))
        return structures.rebuild(
            self.result, (next(outputs) if _is_proxy(leaf) else leaf for _, leaf in structures.flatten(self.result))
        )


def traced_module(
    model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], signature: Signature
) -> Callable[..., Any]:
    """The model as the `GraphModule` that `torch.fx` traces."""
    return with_values_asked_for(lambda: _traced(model, args, kwargs, signature), signature)


def _traced(model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], signature: Signature) -> TracedCall:
    root = model if isinstance(model, torch.nn.Module) else torch.nn.Module()
    recorder = Recorder(state_names(root), HANDLERS)
    results: list[Any] = []

    def call(*proxies: Any) -> list[Any]:
        given = iter(proxies)
        leaves = [next(given) if isinstance(leaf, torch.Tensor) else leaf for leaf in signature.leaves]
        positional, keyword = signature.unflatten(leaves)
        called = functools.partial(call_with_hooks, model) if model is root else model
        results.append(called(*positional, **keyword))
        return [leaf for _, leaf in structures.flatten(results[0]) if _is_proxy(leaf)]

    with ExitStack() as stack:
        stack.enter_context(untouched(root))
        stack.enter_context(above_autograd())
        for replaced in as_written():
            stack.enter_context(replaced)
        leaves = inputs_of(recorder, signature)
        inputs = [leaves[i] for i in signature.tensor_indices]
        names = [f"input_{i}" for i in range(len(inputs))]
        tracer = ShapeTracer(recorder, dict(zip(names, inputs, strict=True)))
        stack.enter_context(_constructors(tracer))
        module = fx.GraphModule(root, tracer.trace(_with_forward(root, names, call)))
    return TracedCall(module, signature, results[0], recorder.decisions)


def _with_forward(root: torch.nn.Module, names: list[str], call: Callable[..., Any]) -> torch.nn.Module:
    """The module under a forward that has one parameter a tensor, as a tracer wants it."""
    scope: dict[str, Any] = {"call": call}
    arguments = "".join(f", {name}" for name in names)
    exec(f"def forward(self{arguments}):\n    return call({', '.join(names)})\n", scope)
    clone: torch.nn.Module = root.__new__(
        type(f"Traced{type(root).__name__}", (type(root),), {"forward": scope["forward"]})
    )
    clone.__dict__ = root.__dict__
    return clone


@contextmanager
def _constructors(tracer: ShapeTracer) -> Iterator[None]:
    """Let torch's constructors take proxies for sizes."""
    originals = {name: getattr(torch, name) for name in _CONSTRUCTORS}

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def construct(*args: Any, **kwargs: Any) -> Any:
            if any(_is_proxy(leaf) for _, leaf in structures.flatten((args, kwargs))):
                return tracer.create_proxy("call_function", original, args, kwargs)
            return original(*args, **kwargs)

        return construct

    try:
        for name, original in originals.items():
            setattr(torch, name, wrapper(original))
        yield
    finally:
        for name, original in originals.items():
            setattr(torch, name, original)


def _is_proxy(item: Any) -> bool:
    return issubclass(type(item), fx.Proxy)


def _values(arguments: Any) -> Any:
    """Arguments with the values of proxies in their places."""
    if _is_proxy(arguments):
        return arguments.value
    if isinstance(arguments, (tuple, list)):
        return type(arguments)(map(_values, arguments))
    if isinstance(arguments, dict):
        return {name: _values(item) for name, item in arguments.items()}
    if isinstance(arguments, slice):
        return slice(_values(arguments.start), _values(arguments.stop), _values(arguments.step))
    return arguments


def _is_symbolic(value: Any) -> bool:
    """Whether a value has a tensor or a dynamic size in it."""
    if isinstance(value, (tuple, list)):
        return any(map(_is_symbolic, value))
    return isinstance(value, _SYMBOLIC)
