"""Arguments and results of any structure, as a flat list of leaves with readable paths.

torch's own pytrees know neither plain dataclasses nor the caches of transformers; these do.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from exporter.capture.torch_internals import SUPPORTED_NODES

Path = tuple[str | int, ...]
Children = tuple[list[tuple[str | int, Any]], Callable[[list[Any]], Any]]


# Levels of a cache that a user's spelling leaves out.
SILENT_KEYS = ("layers", "self_attention_cache", "cross_attention_cache")


def flatten(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield the leaves of a structure with their paths, in order.  None is a leaf."""
    children = _open(value)
    if children is None:
        yield path, value
        return
    for key, child in children[0]:
        yield from flatten(child, (*path, key))


def rebuild(value: Any, leaves: Iterator[Any]) -> Any:
    """A structure like `value` whose leaves are taken from `leaves`, in the order of `flatten`."""
    children = _open(value)
    if children is None:
        return next(leaves)
    items, make = children
    return make([rebuild(child, leaves) for _, child in items])


def children(value: Any) -> dict[str | int, Any]:
    """The parts of a structure by their keys in a path; none of a leaf."""
    found = _open(value)
    return {} if found is None else dict(found[0])


def path_name(path: Path) -> str:
    """`("past_key_values", "layers", 0, "keys")` -> `past_key_values.0.key`."""
    short = {"keys": "key", "values": "value", "self_attention_cache": "self", "cross_attention_cache": "cross"}
    parts = [str(short.get(str(key), key)) for key in path if key != "layers"]
    return ".".join(parts)


def _open(value: Any) -> Children | None:
    """The children of a structure and how to make one like it of others; None for a leaf."""
    if value is None or isinstance(value, (torch.Tensor, str, bytes, int, float, complex)):
        return None
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True)), lambda items: type(value)(*items)
    if isinstance(value, (list, tuple)):
        return list(enumerate(value)), _sequence_maker(value)
    if isinstance(value, Mapping):
        return _open_mapping(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value) if hasattr(value, f.name)]
        return [(name, getattr(value, name)) for name in names], _copier(value, names)
    if _is_container_object(value):
        names = [name for name, item in vars(value).items() if name[0] != "_" and _holds_tensor(item)]
        return [(name, vars(value)[name]) for name in names], _cache_copier(value, names)
    node = SUPPORTED_NODES.get(type(value))
    if node is not None:
        children, context = node.flatten_fn(value)
        return list(enumerate(children)), lambda items: node.unflatten_fn(items, context)
    return None


def _sequence_maker(value: Sequence[Any]) -> Callable[[list[Any]], Any]:
    kind = type(value)
    if kind is list:
        return lambda items: items
    if kind in (tuple, torch.Size):
        return tuple
    return kind  # torch.return_types and users' own sequences take one iterable


def _open_mapping(value: Mapping[Any, Any]) -> Children:
    keys = list(value)
    kind = type(value)

    def make(items: list[Any]) -> Any:
        filled = dict(zip(keys, items, strict=True))
        if kind is dict:
            return filled
        if kind is OrderedDict:
            return OrderedDict(filled)
        made = copy.copy(value)
        for key, item in filled.items():
            made[key] = item  # type: ignore[index]  # a mapping that was filled can be filled
        return made

    return [(key, value[key]) for key in keys], make


def _copier(value: Any, names: Sequence[str]) -> Callable[[list[Any]], Any]:
    def make(items: list[Any]) -> Any:
        made = copy.copy(value)
        for name, item in zip(names, items, strict=True):
            object.__setattr__(made, name, item)
        return made

    return make


def _cache_copier(value: Any, names: Sequence[str]) -> Callable[[list[Any]], Any]:
    """Like `_copier`; what a run would change in the cache is not shared, and its count of tokens follows its keys."""
    copied = _copier(value, names)

    def make(items: list[Any]) -> Any:
        made = copied(items)
        for name, item in vars(value).items():
            if name not in names and isinstance(item, (list, dict)):
                setattr(made, name, copy.deepcopy(item))
        count, keys = vars(value).get("cumulative_length"), vars(value).get("keys")
        if type(count) is int and isinstance(keys, torch.Tensor) and keys.ndim > 1 and count == keys.shape[-2]:
            made.cumulative_length = made.keys.shape[-2]
        return made

    return make


def _is_container_object(value: Any) -> bool:
    """A cache or a layer of one, of transformers' or of a model's own module."""
    names = [kind.__name__ for kind in type(value).__mro__]
    return hasattr(value, "__dict__") and any(
        name.endswith(("Cache", "CacheLayerMixin", "Layer", "CacheParams")) for name in names
    ) and not isinstance(value, torch.nn.Module)  # fmt: skip


def _holds_tensor(value: Any) -> bool:
    """Whether a structure has a tensor somewhere, or what a tracer puts in its place."""
    if isinstance(value, (torch.Tensor, fx.Proxy)):
        return True
    children = _open(value) if isinstance(value, (list, tuple, Mapping)) or _is_container_object(value) else None
    return children is not None and any(_holds_tensor(child) for _, child in children[0])
