"""The parameters of a function that the arguments of a call go to."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from exporter.capture.torch_internals import script_parameters
from exporter.errors import InputError


class Parameters(NamedTuple):
    """What a function calls the arguments of one call.

    Attributes:
        positional: a name for each positional argument: those of `*xs` are `xs_0`, `xs_1` and so on.
        rest: the name of `*xs`, or None.
        named: how many of the positional arguments come before those of `*xs`.
        further: the name of `**kw`, or None.
        absent: the parameters that the call leaves at their defaults.
    """

    positional: list[str]
    rest: str | None
    named: int
    further: str | None
    absent: set[str]


def parameters_of(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Parameters:
    """The parameters of a call.

    Raises:
        InputError: the function cannot be called so.
    """
    try:
        parameters = script_parameters(function) or list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a builtin tells nothing
        return Parameters([f"input_{i}" for i in range(len(args))], None, len(args), None, set())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
    further = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)
    if len(args) > len(positional) and rest is None:
        expected = ", ".join(p.name for p in positional) or "none"
        raise InputError(
            f"example_inputs: the model takes at most {len(positional)} positional arguments ({expected}), "
            f"got {len(args)}"
        )
    missing = [p.name for p in positional[len(args) :] if p.default is p.empty and p.name not in kwargs]
    if missing:
        raise InputError(
            f"example_inputs: the model needs {', '.join(missing)} too, got {len(args)} positional arguments"
            + (f" and {', '.join(kwargs)}" if kwargs else "")
        )
    keywords = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    unknown = [name for name in kwargs if name not in keywords]
    if unknown and further is None:
        raise InputError(
            f"example_inputs: the model has no argument {unknown[0]!r}",
            hint=f"it has {', '.join(p.name for p in parameters)}",
        )
    names = [p.name for p in positional[: len(args)]]
    absent = {p.name for p in parameters} - {*names, *kwargs, rest, further}
    return Parameters(
        [*names, *(f"{rest}_{i}" for i in range(len(args) - len(names)))], rest, len(names), further, absent
    )
