"""Which rule lowers which overload, and how a rule is called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from onnxscript import OnnxFunction

from aten_lowering.errors import UnsupportedArgument
from aten_lowering.scripts import rule_of

__all__ = ["Rule", "RuleRegistry", "complex_registry", "lowers", "lowers_complex", "registry"]

# What an ONNX model does not have: an argument of one of these names may take any value.
_IGNORED = frozenset(
    [
        "device",
        "layout",
        "memory_format",
        "pin_memory",
        "generator",
        "non_blocking",
        "copy",
        "requires_grad",
        "names",
        "out",
        "cudnn_enabled",
        "cudnn_enable",
        "benchmark",
        "deterministic",
        "allow_tf32",
    ]
)


class Rule:
    """A rule for one overload: the function, and where each of its parameters stands in the schema.

    An `autograd.Function` may stand in the place of an overload; its schema is that of `forward`.

    Raises:
        TypeError: the function takes a parameter that the schema lacks, or leaves out a required one.
    """

    __slots__ = ("_named", "_passes_all", "_unnamed", "function", "overload")

    def __init__(self, overload: Any, function: Callable[..., Any]) -> None:
        self.overload, self.function = overload, function
        schema = _parameters(overload)
        self._passes_all = schema is None
        if schema is None:
            return
        places = {name: (i, default) for i, (name, default, _) in enumerate(schema)}
        parameters = list(inspect.signature(function).parameters.values())[1:]
        # `from_` stands for an argument that is named as a keyword of Python.
        wanted = [
            parameter.name if parameter.name in places else parameter.name.removesuffix("_") for parameter in parameters
        ]
        for name in wanted:
            if name not in places:
                raise TypeError(f"{function.__qualname__}: {overload} has no argument {name!r}")
        for name, _, optional in schema:
            if name not in wanted and not optional and name not in _IGNORED:
                raise TypeError(f"{function.__qualname__}: must take {overload}'s argument {name!r}")
        self._named = [(name, *places[name]) for name in wanted]
        self._unnamed = [
            (name, i, default)
            for i, (name, default, _) in enumerate(schema)
            if name not in wanted and name not in _IGNORED
        ]

    def __call__(self, op: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call the rule as the graph calls the overload.

        Raises:
            UnsupportedArgument: an argument that the rule does not know is not at its default.
        """
        if self._passes_all:
            return self.function(op, *args, **kwargs)
        count = len(args)
        for name, index, default in self._unnamed:
            given = args[index] if index < count else kwargs.get(name, default)
            if given != default and not (given is None or (given == [] and not default)):
                raise UnsupportedArgument(
                    f"{self.overload}: {name} must be {default}, got {given}",
                    hint=f"leave {name} at its default",
                )
        return self.function(
            op,
            *[args[index] if index < count else kwargs.get(name, default) for name, index, default in self._named],
        )


def _parameters(overload: Any) -> list[tuple[str, Any, bool]] | None:
    """Name, default, and whether there is one, of each argument of an overload, or of a Function's forward.

    None for a `forward(ctx, *args)`, whose arguments have no names.
    """
    if not isinstance(overload, type):
        return [(a.name, a.default_value, a.has_default_value()) for a in overload._schema.arguments]
    parameters = list(inspect.signature(overload.forward).parameters.values())  # type: ignore[attr-defined]  # a Function
    has_context = overload.setup_context is torch.autograd.Function.setup_context  # type: ignore[attr-defined]  # as above
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
        return None
    empty = inspect.Parameter.empty
    return [
        (p.name, None if p.default is empty else p.default, p.default is not empty) for p in parameters[has_context:]
    ]


class RuleRegistry:
    """Overload -> rule."""

    def __init__(self, parent: RuleRegistry | None = None) -> None:
        self._parent = parent
        self._rules: dict[Any, Rule] = {}
        self._later: dict[str, Callable[..., Any]] = {}

    def add(self, overload: Any, function: Callable[..., Any]) -> None:
        """Register a rule: a function over the builder, or an `@onnxscript.script()` function.

        Raises:
            TypeError: the overload has a rule here already, or the rule does not fit the schema.
        """
        if overload in self._rules:
            other = self._rules[overload].function
            raise TypeError(f"{overload}: has a rule already, {other.__module__}.{other.__qualname__}")
        self._rules[overload] = Rule(overload, rule_of(function) if isinstance(function, OnnxFunction) else function)

    def add_later(self, name: str, function: Callable[..., Any]) -> None:
        """Register a rule for an overload that a library defines when it is imported.

        Raises:
            TypeError: the name has a rule here already.
        """
        if name in self._later:
            other = self._later[name]
            raise TypeError(f"{name}: has a rule already, {other.__module__}.{other.__qualname__}")
        self._later[name] = function

    def find(self, overload: Any) -> Rule | None:
        """The rule for an overload, or None."""
        rule = self._rules.get(overload)
        if rule is None and (function := self._later.get(str(overload))) is not None:
            self.add(overload, function)
            rule = self._rules[overload]
        return rule if rule is not None or self._parent is None else self._parent.find(overload)

    def own(self, overload: Any) -> Rule | None:
        """The rule that a user gave for an overload, before those of the parent; None without a parent."""
        return None if self._parent is None else self._rules.get(overload)

    def functions(self) -> Iterator[tuple[str, Callable[..., Any]]]:
        """The name of each overload that has a rule, of libraries not imported too, and the rule's function."""
        names = {str(overload): rule.function for overload, rule in self._rules.items()}
        yield from (self._later | names).items()

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules.values())

    def __len__(self) -> int:
        return len(self._rules)


registry = RuleRegistry()
# The rules for calls that take or return complex tensors; see `aten_lowering.complexes`.
complex_registry = RuleRegistry()


def lowers(*overloads: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as the rule for some overloads.

    The function takes the builder, then the schema's arguments by their names; arguments that it does
    not name must be at their defaults. An overload of a library that is not imported yet is given by
    its name, as "torchvision.nms.default".
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for overload in overloads:
            if isinstance(overload, str):
                registry.add_later(overload, function)
            else:
                registry.add(overload, function)
        return function

    return register


def lowers_complex(*overloads: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as the rule for some overloads where an argument or a result is complex.

    Complex arguments come as `Complex`, all others as in `lowers`; complex results are returned so.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for overload in overloads:
            complex_registry.add(overload, function)
        return function

    return register
