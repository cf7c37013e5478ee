"""Symbolic integers for shapes: immutable, shared, in a normal form, with proven bounds.

A `Dim` is a polynomial with integer factors over named symbols, floor divisions, minima and
maxima. Equal polynomials are one object, so that comparing two dims is comparing two addresses.
What is constant is a plain `int`, never a `Dim`.

The normal form has neither mod nor ceiling division: `a % b` is `a - b*(a // b)`, and
`ceil_div(a, k)` is `(a + k - 1) // k`, so that `h + -h % 7` and `7*ceil_div(h, 7)` are one dim.
The printer and `Dim.lower` put the mod back where they see one.

A formula that would print too long gets a name of its own (`formula_1a2b3c4d`), which still knows
its definition: it evaluates, has bounds and cancels as before, and every operation stays cheap
however long the chain that led there.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, final

import onnx_ir as ir

from shape_inference.bounds import Range, bounds
from shape_inference.formulas import Algebra, Fold, NotAFormula, Reader, text_of
from shape_inference.normal_form import (
    Pickled,
    dim_of,
    divided,
    extreme,
    make,
    multiplied,
    restored,
    symbol_atom,
    symbols_of,
)
from shape_inference.polynomials import Terms, add, content, lone_atom, quotient, terms_of

__all__ = [
    "Algebra",
    "Dim",
    "Size",
    "at_least",
    "ceil_div",
    "divisible",
    "larger",
    "parse",
    "product",
    "same",
    "smaller",
    "stretched",
    "symbol",
]

T = TypeVar("T")


@final
class Dim(ir.SymbolicDim):
    """An integer expression that is not constant; `symbol`, `parse` and arithmetic make them."""

    __slots__ = ("_bounds", "_known", "_terms", "_text", "_weight")

    _bounds: Range | None
    # The results of operations, by the operation and the other operand (a dim by its address).
    _known: dict[tuple[str, int], tuple[Size, Size]]
    _terms: Terms
    _text: str | None
    _weight: int

    def __init__(self, value: str) -> None:
        raise TypeError(f"Dim must be made with symbol() or parse(), got Dim({value!r})")

    # -- arithmetic ------------------------------------------------------------------------------

    def _operation(self, name: str, function: Callable[[Dim, Size], Size], other: Any) -> Size:
        """Compute once, and remember."""
        if type(other) is Dim:
            key = (name, ~id(other))
        elif isinstance(other, int):
            key = (name, other)
        else:
            return NotImplemented
        known = self._known.get(key)
        # The other dim is held, so that its address is its own for as long as it is a key.
        if known is not None and (known[0] is other or known[0] == other):
            return known[1]
        result = function(self, other)
        self._known[key] = (other, result)
        return result

    def __add__(self, other: Any) -> Size:  # type: ignore[override]  # what is constant is an int here
        return self._operation("+", _sum, other)

    __radd__ = __add__  # type: ignore[assignment]  # as above

    def __neg__(self) -> Dim:
        return self * -1  # type: ignore[return-value]  # not constant, and so its negative is not

    def __sub__(self, other: Any) -> Size:  # type: ignore[override]  # as above
        return 0 if self is other else self._operation("-", _difference, other)

    def __rsub__(self, other: Any) -> Size:  # type: ignore[override]  # as above
        return -self + other if isinstance(other, int) else NotImplemented

    def __mul__(self, other: Any) -> Size:  # type: ignore[override]  # as above
        return self._operation("*", multiplied, other)

    __rmul__ = __mul__  # type: ignore[assignment]  # as above

    def __floordiv__(self, other: Any) -> Size:  # type: ignore[override]  # as above
        return self._operation("//", divided, other)

    def __rfloordiv__(self, other: Any) -> Size:
        return divided(other, self) if isinstance(other, int) else NotImplemented

    def __mod__(self, other: Any) -> Size:  # type: ignore[override]  # as above
        if not isinstance(other, int) and type(other) is not Dim:
            return NotImplemented
        return self - (self // other) * other

    def __rmod__(self, other: Any) -> Size:
        if not isinstance(other, int):
            return NotImplemented
        return other - divided(other, self) * self

    def __truediv__(self, other: object) -> Any:
        raise TypeError(f"a Dim must be divided with // or ceil_div(), got {self} / {other}")

    __rtruediv__ = __truediv__

    def __ceil__(self) -> Dim:
        return self

    __floor__ = __trunc__ = __ceil__

    def simplify(self) -> Dim:
        """Return this dim: it is in normal form already."""
        return self

    # -- identity --------------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(other) is Dim or other is None or isinstance(other, int):
            return False
        if isinstance(other, str):
            return self.value == other
        if isinstance(other, ir.SymbolicDim):
            return self.value == other.value
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._text or self.value)

    def __copy__(self) -> Dim:
        return self

    def __deepcopy__(self, memo: object) -> Dim:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        parts = tuple((factor, tuple(map(Pickled, monomial))) for monomial, factor in self._terms.items())
        return restored, (parts,)

    # -- text ------------------------------------------------------------------------------------

    @property
    def value(self) -> str:  # type: ignore[override]  # onnx_ir's protocol has it as an attribute
        """The formula as text, as `parse` reads it."""
        text = self._text
        if text is None:
            text = self._text = text_of(self._terms)
        return text

    @property
    def _value(self) -> str:  # type: ignore[override]  # a slot of the base class, computed here
        return self.value

    @property
    def _expr(self) -> Any:
        raise TypeError(f"a Dim has no sympy expression, got {self}")

    def __str__(self) -> str:
        return self.value

    def __repr__(self) -> str:
        return f"Dim({self.value!r})"

    # -- questions -------------------------------------------------------------------------------

    @property
    def minimum(self) -> int | None:
        """The greatest known integer that it is never below, or None."""
        if self._bounds is None:
            self._bounds = bounds(self._terms)
        return self._bounds[0]

    @property
    def maximum(self) -> int | None:
        """The least known integer that it is never above, or None."""
        if self._bounds is None:
            self._bounds = bounds(self._terms)
        return self._bounds[1]

    @property
    def is_symbol(self) -> bool:
        """Whether this is a name alone."""
        atom = lone_atom(self._terms)
        return atom is not None and atom.kind == "symbol"

    def symbols(self) -> frozenset[Dim]:
        """The named symbols in it, each as a Dim."""
        return frozenset([dim_of(atom) for atom in symbols_of(self)])

    def free_symbols(self) -> frozenset[str]:
        """The names of the symbols in it."""
        return frozenset([atom.text for atom in symbols_of(self)])

    def definition(self) -> Dim | None:
        """The formula that this name stands for, if it was too long to write out."""
        atom = lone_atom(self._terms)
        if atom is None or atom.kind != "formula":
            return None
        return atom.args[0]  # type: ignore[return-value]  # a formula is not constant

    def evaluate(self, bindings: Mapping[str, int]) -> int:
        """Compute the number for these values of the symbols.

        Raises:
            KeyError: A symbol in it has no value in `bindings`.
        """
        number: int = Fold(_Sizes(lambda dim: bindings[dim.value]), dim_of, stretched).size(self)
        return number

    def substitute(self, bindings: Mapping[str, Size]) -> Size:
        """Put sizes in place of symbols; the names that are not in `bindings` stay."""
        size: Size = Fold(_Sizes(lambda dim: bindings.get(dim.value, dim)), dim_of, stretched).size(self)
        return size

    def lower(self, algebra: Algebra[T]) -> T:
        """Fold the expression through `algebra`; what occurs twice in it is folded once."""
        result: T = Fold(algebra, dim_of).size(self)
        return result


Size = int | Dim


def symbol(name: str, *, minimum: int | None = 0, maximum: int | None = None) -> Dim:
    """Return the named integer; the same name and range is the same object.

    Args:
        name: Any text; one that is an identifier can stand in formulas that are parsed again.
        minimum: What it is never below; None for a number that may be negative.
        maximum: What it is never above.
    """
    return dim_of(symbol_atom(name, minimum, maximum))


def same(a: Size, b: Size) -> bool | None:
    """Whether a equals b for every value in the declared ranges; None if that is not known."""
    if a is b:
        return True
    difference = a - b
    if isinstance(difference, int):
        return difference == 0
    low, high = difference.minimum, difference.maximum
    if (low is not None and low > 0) or (high is not None and high < 0):
        return False
    # What is a multiple of k, but for a constant that is none, is not 0.
    constant = difference._terms.get(())
    return False if constant and constant % content(difference._terms) else None


def at_least(a: Size, b: Size) -> bool | None:
    """Whether a >= b for every value in the declared ranges; None if that is not known."""
    if a is b:
        return True
    difference = a - b
    if isinstance(difference, int):
        return difference >= 0
    low, high = difference.minimum, difference.maximum
    if low is not None and low >= 0:
        return True
    if high is not None and high < 0:
        return False
    return None


def divisible(a: Size, k: Size) -> bool | None:
    """Whether k divides a for every value in the declared ranges; None if that is not known."""
    if isinstance(k, int):
        if k == 0:
            return None
        if isinstance(a, int):
            return a % k == 0
        if any(factor % k for monomial, factor in a._terms.items() if monomial):
            return None
        return a._terms.get((), 0) % k == 0
    return True if a == 0 or quotient(terms_of(a), k._terms) is not None else None


def ceil_div(a: Size, b: Size) -> Size:
    """Return a / b, rounded up."""
    if isinstance(b, int):
        return (a + (b - 1)) // b if b > 0 else -(a // -b)
    return -(-a // b) if b.minimum is None or b.minimum < 0 else (a + b - 1) // b


def smaller(a: Size, b: Size) -> Size:
    """Return the minimum of a and b."""
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return _commuted("min", _least, a, b)


def larger(a: Size, b: Size) -> Size:
    """Return the maximum of a and b."""
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return _commuted("max", _greatest, a, b)


def stretched(a: Size, b: Size) -> Size:
    """Return the size of two dims laid over one another: they are equal, or one of them is 1.

    For sizes of at least 1 that is the maximum; 0 over 1 is 0.
    """
    if isinstance(a, int):
        return b if a == 1 else a
    if isinstance(b, int):
        return a if b == 1 else b
    return _commuted("broadcast", _widest, a, b)


def _commuted(name: str, function: Callable[[Dim, Size], Size], a: Size, b: Size) -> Size:
    """An operation that a dim remembers, whichever of the two it is."""
    if type(a) is Dim:
        return a._operation(name, function, b)
    assert type(b) is Dim
    return b._operation(name, function, a)


def _sum(a: Dim, b: Size) -> Size:
    return make(add(a._terms, terms_of(b)))


def _difference(a: Dim, b: Size) -> Size:
    return make(add(a._terms, terms_of(b), -1))


def _least(a: Dim, b: Size) -> Size:
    return extreme("min", (a, b))


def _greatest(a: Dim, b: Size) -> Size:
    return extreme("max", (a, b))


def _widest(a: Dim, b: Size) -> Size:
    return extreme("broadcast", (a, b))


def product(dims: Iterable[Size]) -> Size:
    """Return the product of all; 1 for none."""
    constant = 1
    result: Size = 1
    for dim in dims:
        if dim.__class__ is int:
            constant *= dim
        else:
            result = dim if result == 1 else dim * result
    return result if constant == 1 else result * constant


def parse(text: str, symbols: Mapping[str, Size] | None = None) -> Size:
    """Read a formula as `str(dim)` prints it and as people and other tools write it.

    `floor(h/2 - 1/2) + 1`, `Max(1, a)`, `ceiling(h/2)` and `Mod(a, 7)` are understood. A text
    that is no formula is the name of a symbol, whatever characters it has.

    Args:
        text: The formula.
        symbols: The sizes that names stand for; a name that is not in it is `symbol(name)`.
    """

    def named(name: str) -> Size:
        return symbols[name] if symbols is not None and name in symbols else symbol(name)

    text = text.strip()
    if text.isidentifier():
        return named(text)
    try:
        over, under = Reader(named, _FUNCTIONS).read(ast.parse(text, mode="eval").body)
        return over // under
    except (NotAFormula, SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return named(text)


_FUNCTIONS: dict[str, Callable[[Size, Size], Size]] = {
    "ceil": ceil_div,
    "min": smaller,
    "max": larger,
    "broadcast": stretched,
}


class _Sizes:
    """The algebra of sizes themselves."""

    def __init__(self, symbol: Callable[[Dim], Any]) -> None:
        self.symbol = symbol

    def constant(self, value: int) -> int:
        return value

    add = staticmethod(operator.add)
    sub = staticmethod(operator.sub)
    mul = staticmethod(operator.mul)
    floordiv = staticmethod(operator.floordiv)
    mod = staticmethod(operator.mod)
    min = staticmethod(smaller)
    max = staticmethod(larger)
