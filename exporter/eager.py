"""Running the model itself, without leaving a trace in it."""

from __future__ import annotations

import contextlib
import functools
import operator
import random
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

import torch

from exporter.signature import Signature

_MANY = 1000  # entries: a table, no state
_NO_STATE = (torch.Tensor, torch.nn.Module, type, types.ModuleType, types.FunctionType, types.MethodType)


def call(function: Callable[..., Any], signature: Signature, leaves: Sequence[Any]) -> Any:
    """Call a function with other leaves in the places of the signature's; it gets copies of tensors."""
    copies = [leaf.clone() if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
    args, kwargs = signature.unflatten(copies)
    with torch.no_grad():
        return function(*args, **kwargs)


def seed(number: int) -> None:
    """`torch.manual_seed` without its queue of what GPUs would do, whose tracebacks take milliseconds."""
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(number)


def buffers(model: Any, names: Sequence[str]) -> list[torch.Tensor]:
    """The tensors that a module holds under these names, which need not be persistent buffers."""
    held = {**dict(model.named_parameters()), **dict(model.named_buffers())} if names else {}
    return [held[name] for name in names]


@contextlib.contextmanager
def untouched(model: Any) -> Iterator[None]:
    """Put back what a run changes: attributes, buffers, parameters and hooks of modules, and random states."""
    held = _held(list(model.modules()) if isinstance(model, torch.nn.Module) else [])
    mappings = [(item, dict(item)) for item in held if isinstance(item, dict)]
    lists = [(item, list(item)) for item in held if isinstance(item, list)]
    states = torch.get_rng_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        for mapping, entries in mappings:
            _restore(mapping, entries)
        for listed, items in lists:
            if len(listed) != len(items) or any(map(operator.is_not, listed, items)):
                listed[:] = items


def _held(modules: Sequence[torch.nn.Module]) -> list[Any]:
    """The attributes of modules and of plain objects that they hold, such as caches, and the dicts and lists there."""
    found: dict[int, Any] = {}
    stack: list[Any] = [vars(module) for module in modules]
    while stack:
        item = stack.pop()
        if id(item) in found:
            continue
        found[id(item)] = item
        if len(item) > _MANY:
            continue
        for value in item.values() if isinstance(item, dict) else item:
            role = _role(type(value))  # type: ignore[arg-type]  # a type can be hashed
            if role is _Role.CONTAINER:
                stack.append(value)
            elif role is _Role.OBJECT:
                stack.append(vars(value))
    return list(found.values())


class _Role(Enum):
    """What a value may hold of a model's state."""

    NONE = 0
    CONTAINER = 1
    OBJECT = 2


@functools.lru_cache(maxsize=4096)
def _role(kind: type) -> _Role:
    if issubclass(kind, (dict, list)):
        return _Role.CONTAINER
    return _Role.OBJECT if kind.__dictoffset__ and not issubclass(kind, _NO_STATE) else _Role.NONE


@contextlib.contextmanager
def untouched_values(model: Any) -> Iterator[None]:
    """`untouched`, and the values in the buffers too, which a real run writes."""
    buffers = dict(model.named_buffers()) if isinstance(model, torch.nn.Module) else {}
    before = {name: buffer.clone() for name, buffer in buffers.items()}
    with untouched(model):
        try:
            yield
        finally:
            with torch.no_grad():
                for name, buffer in buffers.items():
                    buffer.copy_(before[name])


def _restore(now: dict[Any, Any], before: Mapping[Any, Any]) -> None:
    if list(now) != list(before) or any(map(operator.is_not, now.values(), before.values())):
        now.clear()
        now.update(before)
