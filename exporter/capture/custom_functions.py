"""`torch.autograd.Function`s that stay whole: those with a rule of the user's, or with a `symbolic`.

The node of such a call has the Function itself as its target, and the arguments of `apply`.  What `forward`
does is recorded beside it, to know the results; nothing uses it, unless it writes to what the model keeps.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from typing import Any

import torch

from exporter.capture.graph import call_node
from exporter.capture.recorder import Recorder
from exporter.capture.tensors import RecordedTensor
from exporter.capture.torch_internals import tree_leaves
from exporter.errors import SymbolicWarning

__all__ = ["Keeps", "has_symbolic", "warn_ignored", "whole_functions"]

Keeps = Callable[[Any], bool]


def has_symbolic(function: Any) -> bool:
    """Whether a Function says how the TorchScript exporter would write it."""
    return isinstance(function, type) and "symbolic" in dir(function)


def warn_ignored(function: type, why: str) -> None:
    """Warn that the `symbolic` of a Function is not used."""
    warnings.warn(
        f"{function.__qualname__}.symbolic: is not used, its forward() is exported instead: {why}; "
        f"to keep it one node, give a rule: export(..., lowerings={{{function.__name__}: rule}})",
        SymbolicWarning,
        stacklevel=2,
    )


def whole_functions(recorder: Recorder, keeps: Keeps) -> Callable[..., Any]:
    """What `apply` of every Function is sent through: one node for those that are kept."""

    def around(apply: Callable[..., Any], function: type, *args: Any, **kwargs: Any) -> Any:
        if not keeps(function):
            return apply(*args, **kwargs)
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        tensors = [recorder.tensor(leaf) for leaf in given]
        before = [tensor.storage_.version for tensor in tensors]
        result = apply(*args, **kwargs)
        if before != [tensor.storage_.version for tensor in tensors]:
            warn_ignored(function, "it writes to its arguments")
            return result
        return _as_node(recorder, function, args, kwargs, result)

    return around


def _as_node(recorder: Recorder, function: type, args: Any, kwargs: Any, result: Any) -> Any:
    """The result of a call, its tensors those of a new node."""
    single = isinstance(result, torch.Tensor)
    items = [result] if single else list(result)
    node = recorder.record(function, args, kwargs)
    node.meta["specs"] = tuple(recorder.tensor(i).specs for i in items if isinstance(i, torch.Tensor))
    made: list[Any] = []
    for item in items:
        if not isinstance(item, torch.Tensor):
            made.append(item)
            continue
        part, place = node, sum(isinstance(i, RecordedTensor) for i in made)
        specs = recorder.tensor(item).specs
        if not single:
            part = call_node(recorder.graph, operator.getitem, (node, place))
            part.meta["specs"] = (specs,)
        made.append(recorder.wrap(specs, item.device, part))
    return made[0] if single else type(result)(made)
