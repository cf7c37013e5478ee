"""Running the model itself, without leaving a trace in it."""

from __future__ import annotations

import contextlib
import operator
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from exporter.signature import Signature


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
    modules = list(model.modules()) if isinstance(model, torch.nn.Module) else []
    before = [(vars(m), dict(vars(m))) for m in modules]
    values = [value for attributes, _ in before for value in attributes.values()]
    lists = [(value, list(value)) for value in values if type(value) is list]
    mappings = [(value, dict(value)) for value in values if isinstance(value, dict)]
    states = torch.get_rng_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        for attributes, entries in before:
            _restore(attributes, entries)
        for mapping, entries in mappings:
            _restore(mapping, entries)
        for listed, items in lists:
            if len(listed) != len(items) or any(map(operator.is_not, listed, items)):
                listed[:] = items


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
