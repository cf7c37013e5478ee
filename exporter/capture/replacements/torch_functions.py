"""Functions and methods of torch that are replaced while a model is recorded, and put back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from exporter.capture.replacements.slots import forget_item_slot
from exporter.capture.torch_internals import layer_bindings, schema_of, sequence_bindings, tree_leaves


@contextlib.contextmanager
def module_calls(around: Callable[..., Any]) -> Iterator[None]:
    """Send every `module(...)` through `around(call, module, *args, **kwargs)`."""
    original = torch.nn.Module.__call__

    def call(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        return around(original, module, *args, **kwargs)

    torch.nn.Module.__call__ = call  # type: ignore[method-assign]  # it is put back
    try:
        yield
    finally:
        torch.nn.Module.__call__ = original  # type: ignore[method-assign]  # it is put back


@contextlib.contextmanager
def subscripts(getitem: Callable[..., Any], setitem: Callable[..., Any]) -> Iterator[None]:
    """Send `tensor[index]` through `getitem(original, tensor, index)`, and writes through `setitem`."""
    read, write = torch.Tensor.__getitem__, torch.Tensor.__setitem__
    torch.Tensor.__getitem__ = lambda tensor, index: getitem(read, tensor, index)  # type: ignore[method-assign]  # it is put back
    torch.Tensor.__setitem__ = lambda tensor, index, value: setitem(write, tensor, index, value)  # type: ignore[method-assign]  # it is put back too
    try:
        yield
    finally:  # both are inherited
        del torch.Tensor.__getitem__, torch.Tensor.__setitem__
        forget_item_slot(torch.Tensor)


@contextlib.contextmanager
def data_written(write: Callable[[torch.Tensor, torch.Tensor], None]) -> Iterator[None]:
    """Send `tensor.data = value` through `write(tensor, value)`: torch itself would swap the memory of both."""
    read = torch.Tensor.data.__get__  # type: ignore[attr-defined]  # a descriptor in C
    torch.Tensor.data = property(read, write)  # type: ignore[assignment]  # it is put back
    try:
        yield
    finally:  # it is inherited
        del torch.Tensor.data


# Functions whose bindings take plain integers, where a size of the input is often given.
_INTEGER_BINDINGS: tuple[tuple[Any, str, str], ...] = (
    (sequence_bindings, "_pad_packed_sequence", "default"),
    (torch, "istft", "default"),
    (torch.nn.functional, "adaptive_avg_pool1d", "default"),
    (torch.nn.functional, "avg_pool1d", "default"),
    (torch.nn.functional, "avg_pool2d", "default"),
    (torch.nn.functional, "avg_pool3d", "default"),
    (torch, "adaptive_max_pool1d", "default"),
    (layer_bindings, "adaptive_max_pool2d", "default"),
    (layer_bindings, "adaptive_max_pool3d", "default"),
    (torch, "max_pool1d", "default"),
    (torch, "max_pool2d", "default"),
    (torch, "max_pool3d", "default"),
)


@contextlib.contextmanager
def integer_bindings(call: Callable[..., Any]) -> Iterator[None]:
    """Send calls that have a symbolic size where the binding wants an integer to `call(overload, args, kwargs)`."""
    originals = [vars(owner).get(name) for owner, name, _ in _INTEGER_BINDINGS]
    for owner, name, overload in _INTEGER_BINDINGS:
        target = getattr(getattr(torch.ops.aten, name), overload)
        setattr(owner, name, _taking_sizes(getattr(owner, name), target, call))
    try:
        yield
    finally:
        for (owner, name, _), original in zip(_INTEGER_BINDINGS, originals, strict=True):
            if original is None:
                delattr(owner, name)
            else:
                setattr(owner, name, original)


# Methods that take sizes as `x.view(a, b)` or `x.view((a, b))`; beside a symbolic one, no tensor may stand there.
_SHAPE_METHODS = ("view", "reshape", "expand", "repeat", "new_zeros", "new_ones", "new_empty", "new_full")


@contextlib.contextmanager
def tensors_as_sizes(kind: type[torch.Tensor]) -> Iterator[None]:
    """Let tensors of a class be sizes, as `torch.div(x.size(1), 2, rounding_mode="floor")` is one."""
    originals = {name: getattr(torch.Tensor, name) for name in _SHAPE_METHODS}

    def plain(argument: Any) -> Any:
        if isinstance(argument, (tuple, list)):
            return [plain(item) for item in argument]
        return argument.item() if isinstance(argument, kind) and not argument.ndim else argument

    def taking(original: Callable[..., Any], name: str) -> Callable[..., Any]:
        count = 1 if name == "new_full" else None

        def method(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            return original(self, *map(plain, args[:count]), *(args[count:] if count else ()), **kwargs)

        return method

    for name, original in originals.items():
        setattr(torch.Tensor, name, taking(original, name))
    try:
        yield
    finally:
        for name in originals:
            delattr(torch.Tensor, name)


def _taking_sizes(original: Callable[..., Any], overload: Any, call: Callable[..., Any]) -> Callable[..., Any]:
    kinds = {argument.name: argument.type for argument in schema_of(overload).arguments}

    def plain(argument: Any, kind: Any) -> Any:
        if isinstance(kind, torch.ListType) and isinstance(argument, (int, torch.SymInt)):
            return [argument]
        return list(argument) if isinstance(argument, tuple) else argument

    def function(*args: Any, **kwargs: Any) -> Any:
        given = tuple(map(plain, args, kinds.values()))
        named = {name: plain(argument, kinds.get(name)) for name, argument in kwargs.items()}
        if any(isinstance(leaf, torch.SymInt) for leaf in tree_leaves((given, named))):
            return call(overload, given, named)
        return original(*args, **kwargs)

    return function


@contextlib.contextmanager
def custom_function_calls(around: Callable[..., Any]) -> Iterator[None]:
    """Send every `autograd.Function.apply` through `around(apply, function, *args)`."""
    original = torch.autograd.Function.__dict__["apply"]

    def apply(function: type, *args: Any, **kwargs: Any) -> Any:
        return around(original.__get__(None, function), function, *args, **kwargs)

    torch.autograd.Function.apply = classmethod(apply)  # type: ignore[method-assign,assignment]  # it is put back
    try:
        yield
    finally:
        torch.autograd.Function.apply = original  # type: ignore[method-assign]  # it is put back
