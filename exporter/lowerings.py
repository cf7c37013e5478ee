"""What a user gives as `lowerings=`: rules for overloads, custom operators and autograd Functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from aten_lowering import RuleRegistry, registry
from exporter.capture.torch_internals import overload_of
from exporter.errors import InputError

__all__ = ["rules_with"]


def rules_with(lowerings: Mapping[Any, Callable[..., Any]] | None) -> RuleRegistry:
    """Our rules, and before them a user's.

    Args:
        lowerings: an overload, an operator that has one overload, what `torch.library.custom_op` made, or an
            `autograd.Function` -> a rule: a function over `op`, or an `@onnxscript.script()` function.

    Raises:
        InputError: a key is none of these, or a rule does not fit the schema.
    """
    if not lowerings:
        return registry
    rules = RuleRegistry(registry)
    for key, rule in lowerings.items():
        overload = key if isinstance(key, type) and issubclass(key, torch.autograd.Function) else overload_of(key)
        if overload is None:
            raise InputError(
                f"lowerings: a key must be an overload or an autograd.Function, got {key!r}",
                hint="write torch.ops.my.operator.default",
            )
        if not callable(rule):
            raise InputError(f"lowerings: the rule for {key} must be a function, got {type(rule).__name__}")
        try:
            rules.add(overload, rule)
        except TypeError as error:
            raise InputError(f"lowerings: {error}") from error
    return rules
