"""What Python code decided by dynamic sizes, in words: the constraint, the user's line, where it holds."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from exporter.capture.graph import Decision
from exporter.capture.limits import ENDLESS
from exporter.capture.sizes import SizeNode
from shape_inference import Dim, Size, at_least, larger, same, smaller, symbol

_MANY = 16  # values of an input that are written out
_NEGATED = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_SYMBOLS: dict[Any, str] = {
    operator.eq: "==", operator.ne: "!=", operator.lt: "<",
    operator.le: "<=", operator.gt: ">", operator.ge: ">=",
}  # fmt: skip


@dataclass(frozen=True)
class Constraint:
    """For which sizes an exported model does what the Python code would do.

    Attributes:
        expression: a comparison of sizes, such as `seq <= 512`.
        source: the user's line that decided by it.
        fixed: whether the line needed a number, and so fixed a dim at the example's size.
    """

    expression: str
    source: str
    fixed: bool
    _operation: Any = None
    _operands: tuple[Size, ...] = ()
    _answer: bool = True

    @property
    def dims(self) -> tuple[str, ...]:
        """The names of the dims that it restricts."""
        symbols = {s for size in self._operands if isinstance(size, Dim) for s in size.symbols()}
        return tuple(sorted(map(str, symbols)))

    def __str__(self) -> str:
        return f"{self.expression} ({'fixed' if self.fixed else 'decided'} at {self.source})"

    def admits(self, sizes: Mapping[str, int]) -> bool:
        """Whether the constraint holds at the given sizes of the dims; True where it cannot be told."""
        if self._operation is None:
            return True
        try:
            values = [n.evaluate(sizes) if isinstance(n, Dim) else n for n in self._operands]
        except (KeyError, ValueError):
            return True
        return bool(self._operation(*values)) == self._answer


SizeOf = Callable[[fx.Node, int], Size | None]


def constraints_of(
    decisions: Sequence[Decision],
    samples: Mapping[str, tuple[int, ...]],
    dims: Mapping[str, Dim],
    size_of: SizeOf = lambda node, axis: None,
) -> list[Constraint]:
    """The decisions that restrict sizes, each once.

    Args:
        decisions: what the recorder noted.
        samples: name of a dynamic dim -> its sizes while recording.
        dims: name of a dynamic dim -> the symbol, with its declared range.
        size_of: the formula of a captured tensor's size, where shape inference has found it.
    """
    namer = _Namer(samples, dims, size_of)
    found: dict[tuple[str, bool], Constraint] = {}
    for decision in decisions:
        constraint = _constraint(decision, namer)
        if constraint is not None:
            found.setdefault((constraint.expression, constraint.fixed), constraint)
    return list(found.values())


def size_constraints(fixed: Mapping[str, tuple[int, str]]) -> list[Constraint]:
    """That dims which became static have the example's sizes.

    Args:
        fixed: name of such a dim -> its size, and the line that fixed it, or "".
    """
    return [
        Constraint(f"{name} == {size}", source or "the model, which works at no other size", fixed=True)
        for name, (size, source) in fixed.items()
    ]


def value_constraints(examples: Mapping[str, Any]) -> list[Constraint]:
    """That inputs by whose values the code decides must hold those of the example.

    Args:
        examples: name of such an input -> the example's tensor.
    """
    source = "sizes that the model's code reads from this input"
    return [Constraint(f"{name} == {_in_words(tensor)}", source, fixed=True) for name, tensor in examples.items()]


def layout_constraints(names: Iterable[str]) -> list[Constraint]:
    """That inputs in which the code looks for certain numbers must hold these where the example does."""
    source = "numbers that the model's code looks for in this input"
    return [Constraint(f"{name}: laid out as in the example", source, fixed=True) for name in names]


def _in_words(tensor: torch.Tensor) -> str:
    return str(tensor.tolist()) if tensor.numel() <= _MANY else "the example's values"


def _constraint(decision: Decision, namer: _Namer) -> Constraint | None:
    node, source = decision.size, str(decision.source or "")
    if decision.fixed:
        size = namer.size(node)
        if type(size) is int:
            return None
        value = int(node.values[0])
        return Constraint(f"{size} == {value}", source, True, operator.eq, (size, value))
    sign = _SYMBOLS.get(node.operation)
    if sign is None:
        if len(set(node.values)) == 1:
            return None
        return Constraint(f"{namer.describe(node)} is {bool(node.values[0])}", source, False)
    left, right = (namer.size(operand) for operand in node.operands)
    answer = bool(node.values[0])
    if _is_decided(sign, left, right):
        return None
    words = f"{left} {sign if answer else _NEGATED[sign]} {right}"
    return Constraint(words, source, False, node.operation, (left, right), answer)


def _is_decided(sign: str, left: Size, right: Size) -> bool:
    """Whether the declared ranges alone answer the comparison, or a number that no size reaches."""
    if any(type(size) is int and size >= ENDLESS for size in (left, right)):
        return True
    if sign in ("==", "!="):
        return same(left, right) is not None
    if sign in ("<", ">="):
        return at_least(left, right) is not None
    return at_least(right, left) is not None


class _Namer:
    """Finds formulas for sizes by their samples."""

    def __init__(self, samples: Mapping[str, tuple[int, ...]], dims: Mapping[str, Dim], size_of: SizeOf) -> None:
        self.samples, self.dims, self.size_of = samples, dims, size_of
        self._by_samples = {values: dims[name] for name, values in samples.items()}

    def size(self, node: Any) -> Size:
        """The formula of a size node."""
        if not isinstance(node, SizeNode):
            return int(node)
        if node.is_literal:
            return int(node.values[0])
        if node.operation is None:
            tensor, axis = node.operands
            known = None if axis is None else self.size_of(tensor, axis)
            return self._leaf(tuple(map(int, node.values)), str(tensor)) if known is None else known
        operation = _EXACT.get(node.operation)
        if operation is None:
            return self._leaf(tuple(map(int, node.values)), "size")
        return operation(*map(self.size, node.operands))

    def describe(self, node: SizeNode) -> str:
        """What was asked, where it is no comparison."""
        name = getattr(node.operation, "__name__", "size")
        return f"{name}({', '.join(str(self.size(operand)) for operand in node.operands)})"

    def _leaf(self, values: tuple[int, ...], hint: str) -> Size:
        """The dim of these samples, or what is linear in a dim, or the sum of two dims and a number."""
        known = self._by_samples.get(values)
        if known is not None:
            return known
        for name, samples in self.samples.items():
            rise, run = values[1] - values[0], samples[1] - samples[0]
            if rise % run:
                continue
            factor = rise // run
            offset = values[0] - factor * samples[0]
            if factor and all(factor * n + offset == value for n, value in zip(samples, values, strict=True)):
                return factor * self.dims[name] + offset
        for first, second in itertools.combinations(self.samples, 2):
            pairs = zip(values, self.samples[first], self.samples[second], strict=True)
            offsets = {value - a - b for value, a, b in pairs}
            if len(offsets) == 1:
                return self.dims[first] + self.dims[second] + offsets.pop()
        return symbol(hint)


_EXACT: dict[Any, Any] = {
    operator.add: operator.add,
    operator.sub: operator.sub,
    operator.mul: operator.mul,
    operator.floordiv: operator.floordiv,
    operator.mod: operator.mod,
    operator.neg: operator.neg,
    min: smaller,
    max: larger,
}
