"""Complex tensors as real ones with a last dimension of 2: the real part, then the imaginary part.

A call that takes or returns a complex tensor is lowered by a rule of its own, from
`complex_registry`. There a complex tensor is a `Complex`, so that a rule sees which of its arguments
are complex; all that does not touch complex tensors is not concerned. Overloads that only move
elements around reuse the rules for real tensors: `leading` tells which arguments are to be changed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.dtypes import is_float
from aten_lowering.errors import LoweringError
from aten_lowering.promotion import as_value
from aten_lowering.registry import lowers_complex, registry
from shape_inference import Dim, Size

__all__ = ["Complex", "as_complex", "joined", "leading", "part_type", "parts"]


@dataclass(frozen=True)
class Complex:
    """A complex tensor [*S], held as a real value [*S, 2]."""

    value: Value

    @property
    def rank(self) -> int:
        """The number of dims of the complex tensor."""
        return rank(self.value) - 1

    @property
    def dims(self) -> tuple[Size, ...]:
        """The shape of the complex tensor."""
        return dims(self.value)[:-1]

    @property
    def dtype(self) -> ir.DataType:
        """The element type of the two parts."""
        return dtype(self.value)


Operand = Complex | Value | Dim | complex | float | int | bool


def parts(op: Builder, number: Complex) -> tuple[Value, Value]:
    """The real and the imaginary part, [*S, 1] each."""
    real, imaginary = op.split(number.value, [1, 1], -1)
    return real, imaginary


def joined(op: Builder, real: Value, imaginary: Value) -> Complex:
    """The complex tensor of two parts, [*S, 1] each."""
    return Complex(op.Concat(real, imaginary, axis=-1))


def part_type(*operands: Operand) -> ir.DataType:
    """The element type of the parts of what torch makes of the operands, one of which is complex.

    As in torch, a tensor of rank 0 or a Python number changes no more than the kind of number: the
    precision is that of the first group (tensors with dims, of rank 0, numbers) that has a fraction.
    """
    tensors = [item for item in operands if isinstance(item, (Complex, Value))]
    with_dims = [item for item in tensors if (item.rank if isinstance(item, Complex) else rank(item))]
    for group in (with_dims, [item for item in tensors if item not in with_dims]):
        kinds = [kind for item in group if is_float(kind := _type_of(item))]
        if kinds:
            return max(kinds, key=lambda kind: kind.bitwidth)
    return ir.DataType.FLOAT


def _type_of(item: Complex | Value) -> ir.DataType:
    return item.dtype if isinstance(item, Complex) else dtype(item)


def as_complex(op: Builder, operand: Operand, kind: ir.DataType) -> Complex:
    """An operand as a complex tensor with parts of an element type."""
    if isinstance(operand, Complex):
        return Complex(op.cast(operand.value, kind))
    if isinstance(operand, (complex, float, int)):
        number = complex(operand)
        return Complex(op.constant([number.real, number.imag], kind))
    real = op.unsqueeze(as_value(op, operand, kind), [-1])
    return Complex(op.Pad(real, [0] * (2 * rank(real) - 1) + [1]))


Change = Callable[[Builder, Complex, Any], Any]


def leading(overload: Any, **changes: Change) -> None:
    """Lower an overload that moves elements by its rule for real tensors, on the dims before the last.

    Args:
        overload: the overload.
        changes: argument name -> what that rule gets, from the builder, the first complex argument,
            and the argument; arguments that are not named stay, complex ones as their values.
    """
    names = [argument.name for argument in overload._schema.arguments]

    def rule(op: Builder, *args: Any) -> Any:
        given = dict(zip(names, args, strict=True))
        first = next(_complex_in(args), None)
        if first is None:
            raise LoweringError(f"{overload}: an argument must be complex where the result is")
        for name, change in changes.items():
            given[name] = change(op, first, given[name])
        real_rule = registry.find(overload)
        if real_rule is None:
            raise LoweringError(f"{overload}: has no rule for real tensors")
        result = real_rule(op, (), {name: _values_of(argument) for name, argument in given.items()})
        return [Complex(item) for item in result] if isinstance(result, (list, tuple)) else Complex(result)

    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("op", *names)]
    rule.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect reads it
    rule.__qualname__ = f"leading[{overload}]"
    lowers_complex(overload)(rule)


def _complex_in(arguments: Sequence[Any]) -> Any:
    for argument in arguments:
        if isinstance(argument, Complex):
            yield argument
        elif isinstance(argument, (list, tuple)):
            yield from _complex_in(argument)


def _values_of(argument: Any) -> Any:
    if isinstance(argument, Complex):
        return argument.value
    if isinstance(argument, (list, tuple)):
        return [_values_of(item) for item in argument]
    return argument
