"""Sizes that Python code computes with while a model is recorded.

A dynamic dim has several sample sizes at once: the example's, which answers every question, and
others, which tell what depends on it.  `SizeNode` is what a `torch.SymInt` holds: the samples, and
the formula, which becomes nodes of the graph only where the size is used.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import fx

from exporter.capture.limits import holds_beyond_samples

SAMPLES = 3  # sizes at once

Number = int | float | bool


class Questions(Protocol):
    """Who is asked when Python code decides by a size."""

    def decide(self, node: SizeNode, *, in_python: bool = False) -> bool:
        """The answer to a comparison, after it was noted."""

    def fix(self, node: SizeNode) -> Number:
        """The example's value of a size that had to become a number, after it was noted."""

    def graph_node(self, node: SizeNode) -> fx.Node:
        """The node of the graph that computes the size."""


class SizeNode:
    """A size, or a number or truth computed from sizes, at every sample at once.

    `operation` and `operands` say how it was computed; a size read off a tensor has the operation
    None and the operands (graph node of the tensor, axis).  `data` says that it depends on values of
    tensors, so that the samples mean nothing.
    """

    __slots__ = ("cached", "data", "operands", "operation", "owner", "values")

    constant = None

    def __init__(
        self,
        owner: Questions,
        values: tuple[Number, ...],
        operation: Callable[..., Any] | None,
        operands: tuple[Any, ...],
        data: bool = False,
    ) -> None:
        self.owner, self.values, self.operation, self.operands = owner, values, operation, operands
        self.data = data
        self.cached: fx.Node | None = None

    # What torch asks of every node of a symbolic number.

    def is_int(self) -> bool:
        return type(self.values[0]) is int

    def is_float(self) -> bool:
        return type(self.values[0]) is float

    def is_bool(self) -> bool:
        return type(self.values[0]) is bool

    def is_symbolic(self) -> bool:
        return True

    def is_constant(self) -> bool:
        return False

    def is_nested_int(self) -> bool:
        return False

    def maybe_as_int(self) -> int | None:
        return None

    def nested_int(self) -> None:
        return None

    def singleton_int(self) -> None:
        return None

    def has_hint(self) -> bool:
        return True

    @property
    def hint(self) -> Number:
        return self.values[0]

    def require_hint(self, fallback: int | None = None) -> Number:
        return self.values[0]

    def clone(self) -> SizeNode:
        return self

    def _graph_repr(self) -> str:
        return f"size{self.values}"

    def wrap_int(self, number: int) -> SizeNode:
        return self._literal(int(number))

    def wrap_float(self, number: float) -> SizeNode:
        return self._literal(float(number))

    def wrap_bool(self, number: bool) -> SizeNode:
        return self._literal(bool(number))

    def _literal(self, number: Number) -> SizeNode:
        return SizeNode(self.owner, (number,) * len(self.values), _literal, (number,))

    @property
    def is_literal(self) -> bool:
        """Whether this is a plain number that met a size."""
        return self.operation is _literal

    # Questions.

    def int_(self) -> int:
        return int(self.owner.fix(self))

    def guard_int(self, file: str, line: int) -> int:
        return int(self.owner.fix(self))

    def guard_float(self, file: str, line: int) -> float:
        return float(self.owner.fix(self))

    def bool_(self) -> bool:
        return self.owner.decide(self, in_python=True)

    def guard_bool(self, file: str, line: int) -> bool:
        return self.owner.decide(self)

    def expect_true(self, file: str, line: int) -> bool:
        """`torch._check`: a check of values holds for the inputs that pass it."""
        return self.data or bool(self.values[0])

    def expect_size(self, file: str, line: int) -> bool:
        return bool(self.values[0])

    def statically_known_true(self, file: str, line: int) -> bool:
        """Torch asks for a short cut, which is right only where every size takes it."""
        return not self.data and all(self.values) and holds_beyond_samples(self)

    guard_or_false = guard_size_oblivious = statically_known_true

    def guard_or_true(self, file: str, line: int) -> bool:
        return self.data or any(self.values)

    # Arithmetic that is not one operator.

    def sym_float(self) -> SizeNode:
        return self._apply(torch.sym_float, self)

    def is_integer(self) -> SizeNode:
        return self._apply(float.is_integer, self)

    def floor(self) -> SizeNode:
        return self._apply(math.floor, self)

    def ceil(self) -> SizeNode:
        return self._apply(math.ceil, self)

    def trunc(self) -> SizeNode:
        return self._apply(math.trunc, self)

    def round(self, ndigits: int | None = None) -> SizeNode:
        return self._apply(round, self) if ndigits is None else self._apply(round, self, self.wrap_int(ndigits))

    def sym_sum(self, parts: Sequence[SizeNode]) -> SizeNode:
        return functools.reduce(lambda total, part: total._apply(operator.add, total, part), parts)

    def sym_ite(self, yes: SizeNode, no: SizeNode) -> SizeNode:
        return self._apply(_choose, self, yes, no)

    def compared(self, comparison: Callable[[Any, Any], bool], other: int | SizeNode) -> SizeNode:
        """Whether `comparison`, such as `operator.le`, holds of this size and another."""
        return self._apply(comparison, self, self.wrap_int(other) if isinstance(other, int) else other)

    def _apply(self, operation: Callable[..., Any], *operands: SizeNode) -> SizeNode:
        values = tuple(map(operation, *(operand.values for operand in operands)))
        data = any(operand.data for operand in operands)
        return SizeNode(self.owner, values, operation, operands, data)


def _literal(number: Number) -> Number:
    return number


def _choose(condition: bool, yes: Number, no: Number) -> Number:
    return yes if condition else no


_BINARY: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "truediv": operator.truediv,
    "float_truediv": operator.truediv,
    "int_truediv": operator.truediv,
    "floordiv": operator.floordiv,
    "int_floordiv": operator.floordiv,
    "mod": operator.mod,
    "python_mod": operator.mod,
    "pow": operator.pow,
    "float_pow": operator.pow,
    "pow_by_natural": operator.pow,
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "and_": operator.and_,
    "sym_and": operator.and_,
    "or_": operator.or_,
    "sym_or": operator.or_,
    "bitwise_and": operator.and_,
    "bitwise_or": operator.or_,
    "bitwise_xor": operator.xor,
    "lshift": operator.lshift,
    "rshift": operator.rshift,
    "sym_min": min,
    "sym_max": max,
}
_UNARY: dict[str, Callable[..., Any]] = {
    "neg": operator.neg,
    "pos": operator.pos,
    "abs": operator.abs,
    "sym_not": operator.not_,
    "sym_sqrt": math.sqrt,
    "sym_cos": math.cos,
    "sym_sin": math.sin,
    "sym_exp": math.exp,
    "sym_log2": math.log2,
}


def _binary_method(operation: Callable[..., Any]) -> Callable[[SizeNode, SizeNode], SizeNode]:
    """What `_apply` does, without its loops: torch asks thousands of times."""

    def method(self: SizeNode, other: SizeNode) -> SizeNode:
        values = tuple(map(operation, self.values, other.values))
        return SizeNode(self.owner, values, operation, (self, other), self.data or other.data)

    return method


def _unary_method(operation: Callable[..., Any]) -> Callable[[SizeNode], SizeNode]:
    return lambda self: self._apply(operation, self)


for _name, _operation in _BINARY.items():
    setattr(SizeNode, _name, _binary_method(_operation))
for _name, _operation in _UNARY.items():
    setattr(SizeNode, _name, _unary_method(_operation))
SizeNode.str = SizeNode._graph_repr  # type: ignore[attr-defined]  # in the class it would hide the builtin
