"""Where the shape rules are: one for each operator and since-version, and what a rule is given."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import onnx_ir as ir

from shape_inference.dims import Dim, Size, symbol
from shape_inference.errors import InferenceError
from shape_inference.types import Content, TensorType, Type

__all__ = ["UNKNOWN", "Call", "NotTyped", "Rule", "Run", "infers", "registered", "rule_for"]

# An input that is there, and of which nothing is known (None: the input is absent).
UNKNOWN = TensorType(ir.DataType.UNDEFINED, None)


# Runs a graph attribute: its outputs' types from its inputs' types; what is wrong in a graph
# that is never executed (the last argument) is no error.
Run = Callable[[ir.Graph, Sequence[Type | None], bool], tuple[Type | None, ...]]


class NotTyped(Exception):  # it is no error: it says that too little is known
    """Raised by a rule, through `Call`, when an input that it needs has no known type."""


class Call:
    """One call of an operator: what a rule may know.

    Attributes:
        op_type: The operator's name.
        domain: Its domain; "" is ONNX's own.
        version: The opset version of that domain.
        inputs: The types of the inputs; None where an optional input is absent.
        attributes: Python values: int, float, str, bytes, lists of them, tensors, graphs.
        output_count: How many outputs the node has.
        fresh: Makes a new symbol from a hint for its name.
        run: Types the outputs of a graph attribute from the types of its inputs.
    """

    __slots__ = (
        "attributes",
        "domain",
        "fresh",
        "inputs",
        "op_type",
        "output_count",
        "run",
        "version",
    )

    def __init__(
        self,
        op_type: str,
        domain: str,
        version: int,
        inputs: Sequence[Type | None],
        attributes: Mapping[str, Any],
        output_count: int,
        fresh: Callable[[str], Dim],
        run: Run,
    ) -> None:
        self.op_type = op_type
        self.domain = domain
        self.version = version
        self.inputs = inputs
        self.attributes = attributes
        self.output_count = output_count
        self.fresh = fresh
        self.run = run

    def has(self, index: int) -> bool:
        """Whether the input is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def any_type(self, index: int) -> Type:
        """The type of an input that must be there."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise NotTyped
        return value

    def tensor(self, index: int) -> TensorType:
        """The type of an input that must be there, and be a tensor."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value.__class__ is TensorType:
            return value
        if value is None:
            raise NotTyped
        self.fail(f"input {index} must be a tensor", value)

    def optional(self, index: int) -> TensorType | None:
        """The type of an input that may be absent."""
        if index >= len(self.inputs) or self.inputs[index] is None:
            return None
        return self.tensor(index)

    def tensors(self) -> list[TensorType]:
        """The types of all inputs, at least one, which must be there and be tensors."""
        if not self.inputs:
            self.fail("there must be at least one input", 0)
        return [self.tensor(index) for index in range(len(self.inputs))]

    def content(self, index: int) -> Content | None:
        """The contents of an input; None where it is absent or they are not known."""
        value = self.inputs[index] if index < len(self.inputs) else None
        return None if value is None else self.tensor(index).content

    def sizes(self, index: int) -> tuple[Size, ...] | None:
        """The contents of an input of integers."""
        content = self.content(index)
        if content is None:
            return None
        for item in content:
            if item.__class__ is float:
                self.fail(f"input {index} must be of integers", self.inputs[index])
        return content  # type: ignore[return-value]  # no item is a float

    def unknown_content(self, count: int, hint: str) -> tuple[Dim, ...]:
        """Names for integers of which nothing is known, not even the sign."""
        return tuple([symbol(self.fresh(hint).value, minimum=None) for _ in range(count)])

    def integers(self, index: int) -> tuple[int, ...] | None:
        """The contents of an input if they are all known integers."""
        content = self.content(index)
        if content is not None:
            for item in content:
                if item.__class__ is not int:
                    return None
        return content  # type: ignore[return-value]  # all items are ints

    def attribute(self, name: str, default: Any = None) -> Any:
        """The value of an attribute, or a default."""
        value = self.attributes.get(name)
        return default if value is None else value

    def required(self, name: str) -> Any:
        """The value of an attribute that must be there."""
        value = self.attributes.get(name)
        if value is None:
            self.fail(f"attribute {name} must be given")
        return value

    def axis(self, value: int, rank: int) -> int:
        """An axis counted from the front."""
        if not -rank <= value < rank:
            self.fail(f"axis must be in [{-rank}, {rank - 1}]", value)
        return value + rank if value < 0 else value

    def unknown_shape(self, rank: int, hint: str) -> tuple[Size, ...]:
        """A shape of which only the rank is known."""
        return tuple(self.fresh(f"{hint}_{position}") for position in range(rank))

    def fail(self, must: str, got: object = None) -> NoReturn:
        """Raise the error that this call is not valid."""
        name = f"{self.domain}.{self.op_type}" if self.domain else self.op_type
        raise InferenceError(name, must, got)


Rule = Callable[[Call], tuple[Type | None, ...]]

_rules: dict[tuple[str, str], tuple[list[int], list[Rule]]] = {}
_chosen: dict[tuple[str, str, int], Rule | None] = {}


def infers(*op_types: str, domain: str = "", since: int = 1) -> Callable[[Rule], Rule]:
    """Register a rule for these operators, from opset version `since` on.

    Raises:
        ValueError: There is a rule for one of them at that version already.
    """

    def register(rule: Rule) -> Rule:
        for op_type in op_types:
            versions, rules = _rules.setdefault((domain, sys.intern(op_type)), ([], []))
            if since in versions:
                raise ValueError(f"{domain or 'ai.onnx'}.{op_type} has a rule since {since} already")
            position = bisect_right(versions, since)
            versions.insert(position, since)
            rules.insert(position, rule)
        _chosen.clear()
        return rule

    return register


def rule_for(op_type: str, domain: str, version: int) -> Rule | None:
    """The rule for an operator at an opset version, or None."""
    key = (op_type, domain, version)
    try:
        return _chosen[key]
    except KeyError:
        rule = _chosen[key] = _choose(op_type, domain, version)
        return rule


def _choose(op_type: str, domain: str, version: int) -> Rule | None:
    found = _rules.get(("" if domain == "ai.onnx" else domain, op_type))
    if found is None:
        return None
    position = bisect_right(found[0], version)
    return found[1][position - 1] if position else None


def registered() -> dict[tuple[str, str], tuple[int, ...]]:
    """Every operator that has a rule, with the versions at which the rule changes."""
    return {key: tuple(versions) for key, (versions, _) in _rules.items()}
