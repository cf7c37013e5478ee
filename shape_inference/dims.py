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
import functools
import math
import operator
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import onnx_ir as ir

from shape_inference.bounds import Range, bounds, extreme_range, quotient_range, range_of
from shape_inference.formulas import Algebra, Fold, NotAFormula, Reader, operand_text, text_of
from shape_inference.polynomials import (
    MAX_TERMS,
    Atom,
    Monomial,
    Terms,
    add,
    common_factor,
    content,
    leading,
    lone_atom,
    multiply,
    quotient,
    terms_of,
    without,
)

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

# A formula with more leaves than this gets a name.
_MAX_WEIGHT = 64

# Every atom and every dim that is alive, by what it is made of.
_atoms: WeakValueDictionary[tuple[object, ...], Atom] = WeakValueDictionary()
_dims: WeakValueDictionary[frozenset[tuple[Monomial, int]], Dim] = WeakValueDictionary()


class Dim(ir.SymbolicDim):
    """An integer expression that is not constant; `symbol`, `parse` and arithmetic make them."""

    __slots__ = ("_added", "_bounds", "_divided", "_multiplied", "_terms", "_text", "_weight")

    # The results of operations, by the other operand: an int, or a dim by its address.
    _added: dict[int, tuple[Size, Size]]
    _divided: dict[int, tuple[Size, Size]]
    _multiplied: dict[int, tuple[Size, Size]]
    _bounds: Range | None
    _terms: Terms
    _text: str | None
    _weight: int

    def __init__(self, value: str) -> None:
        raise TypeError(f"Dim must be made with symbol() or parse(), got Dim({value!r})")

    # -- arithmetic ------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Size:  # type: ignore[override]  # what is constant is an int here
        if isinstance(other, int):
            if other == 0:
                return self
            key = other
        elif type(other) is Dim:
            key = ~id(other)
        else:
            return NotImplemented
        known = self._added.get(key)
        if known is not None and (known[0] is other or known[0] == other):
            return known[1]
        result = _make(add(self._terms, terms_of(other)))
        self._added[key] = (other, result)
        return result

    __radd__ = __add__  # type: ignore[assignment]  # as above

    def __neg__(self) -> Dim:
        return self * -1  # type: ignore[return-value]  # not constant, and so its negative is not

    def __sub__(self, other: Any) -> Size:  # type: ignore[override]  # as above
        if isinstance(other, int):
            return self + -other
        if type(other) is not Dim:
            return NotImplemented
        return 0 if self is other else _make(add(self._terms, other._terms, -1))

    def __rsub__(self, other: Any) -> Size:  # type: ignore[override]  # as above
        return -self + other if isinstance(other, int) else NotImplemented

    def __mul__(self, other: Any) -> Size:  # type: ignore[override]  # as above
        if isinstance(other, int):
            if other == 0:
                return 0
            if other == 1:
                return self
            key = other
        elif type(other) is Dim:
            key = ~id(other)
        else:
            return NotImplemented
        known = self._multiplied.get(key)
        if known is not None and (known[0] is other or known[0] == other):
            return known[1]
        result = _times(self, other)
        self._multiplied[key] = (other, result)
        return result

    __rmul__ = __mul__  # type: ignore[assignment]  # as above

    def __floordiv__(self, other: Any) -> Size:  # type: ignore[override]  # as above
        if isinstance(other, int):
            key = other
        elif type(other) is Dim:
            key = ~id(other)
        else:
            return NotImplemented
        known = self._divided.get(key)
        if known is not None and (known[0] is other or known[0] == other):
            return known[1]
        result = _floordiv(self, other)
        self._divided[key] = (other, result)
        return result

    def __rfloordiv__(self, other: Any) -> Size:
        return _floordiv(other, self) if isinstance(other, int) else NotImplemented

    def __mod__(self, other: Any) -> Size:  # type: ignore[override]  # as above
        if not isinstance(other, int) and type(other) is not Dim:
            return NotImplemented
        return self - (self // other) * other

    def __rmod__(self, other: Any) -> Size:
        if not isinstance(other, int):
            return NotImplemented
        return other - _floordiv(other, self) * self

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
        return hash(self.value)

    def __copy__(self) -> Dim:
        return self

    def __deepcopy__(self, memo: object) -> Dim:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        parts = tuple((factor, tuple(map(_Pickled, monomial))) for monomial, factor in self._terms.items())
        return _restored, (parts,)

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
        return frozenset([_dim_of(atom) for atom in _named(self)])

    def free_symbols(self) -> frozenset[str]:
        """The names of the symbols in it."""
        return frozenset([atom.text for atom in _named(self)])

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
        number: int = Fold(_Sizes(lambda dim: bindings[dim.value]), _dim_of, stretched).size(self)
        return number

    def substitute(self, bindings: Mapping[str, Size]) -> Size:
        """Put sizes in place of symbols; the names that are not in `bindings` stay."""
        size: Size = Fold(_Sizes(lambda dim: bindings.get(dim.value, dim)), _dim_of, stretched).size(self)
        return size

    def lower(self, algebra: Algebra[T]) -> T:
        """Fold the expression through `algebra`; what occurs twice in it is folded once."""
        result: T = Fold(algebra, _dim_of).size(self)
        return result


Size = int | Dim


def symbol(name: str, *, minimum: int | None = 0, maximum: int | None = None) -> Dim:
    """Return the named integer; the same name and range is the same object.

    Args:
        name: Any text; one that is an identifier can stand in formulas that are parsed again.
        minimum: What it is never below; None for a number that may be negative.
        maximum: What it is never above.
    """
    key = ("symbol", name, minimum, maximum)
    atom = _atoms.get(key)
    if atom is None:
        atom = _atoms[key] = Atom("symbol", (), name, minimum, maximum, 1)
    return _dim_of(atom)


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
    if divisible(difference, content(difference._terms)) is False:
        return False
    return None


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
    return (a + b - 1) // b if (b.minimum or 0) >= 1 else -(-a // b)


def smaller(a: Size, b: Size) -> Size:
    """Return the minimum of a and b."""
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return _extreme("min", (a, b))


def larger(a: Size, b: Size) -> Size:
    """Return the maximum of a and b."""
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return _extreme("max", (a, b))


def stretched(a: Size, b: Size) -> Size:
    """Return the size of two dims laid over one another: they are equal, or one of them is 1.

    For sizes of at least 1 that is the maximum; 0 over 1 is 0.
    """
    if isinstance(a, int):
        return b if a == 1 else a
    if isinstance(b, int):
        return a if b == 1 else b
    return _extreme("broadcast", (a, b))


def product(dims: Iterable[Size]) -> Size:
    """Return the product of all; 1 for none."""
    constant = 1
    result: Size = 1
    for dim in dims:
        if isinstance(dim, int):
            constant *= dim
        else:
            result = dim * result
    return result * constant


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


# -- the normal form -----------------------------------------------------------------------------


def _make(terms: Terms) -> Size:
    """Return the one object for these terms (without zero factors)."""
    if not terms:
        return 0
    if len(terms) == 1 and () in terms:
        return terms[()]
    key = frozenset(terms.items())
    dim = _dims.get(key)
    if dim is not None:
        return dim
    dim = Dim.__new__(Dim)
    dim._terms = terms
    dim._text = None
    dim._bounds = None
    dim._added = {}
    dim._multiplied = {}
    dim._divided = {}
    dim._weight = sum([1 + sum([atom.weight for atom in monomial]) for monomial in terms])
    if dim._weight > _MAX_WEIGHT:
        dim = _named_formula(dim)
    _dims[key] = dim
    return dim


def _dim_of(atom: Atom) -> Dim:
    return _make({(atom,): 1})  # type: ignore[return-value]  # an atom is not constant


def _named_formula(dim: Dim) -> Dim:
    """Return a name for a dim that is too long to write out."""
    text = text_of(dim._terms)
    key = ("formula", _ByAddress(dim))
    atom = _atoms.get(key)
    if atom is None:
        low, high = bounds(dim._terms, 1)
        digest = zlib.crc32(text.encode())
        while ("formula", f"{digest:08x}") in _atoms:
            digest += 1
        atom = _atoms[key] = Atom("formula", (dim,), f"formula_{digest:08x}", low, high, 1)
        _atoms["formula", f"{digest:08x}"] = atom
    return _dim_of(atom)


def _times(a: Dim, b: Size) -> Size:
    if isinstance(b, int):
        return _make({monomial: factor * b for monomial, factor in a._terms.items()})
    if len(a._terms) * len(b._terms) > MAX_TERMS:
        a, b = (dim if len(dim._terms) == 1 else _named_formula(dim) for dim in (a, b))
    return _make(multiply(a._terms, b._terms))


def _floordiv(a: Size, b: Size) -> Size:
    if isinstance(b, int):
        if b == 0:
            raise ZeroDivisionError(f"{a} // 0")
        if isinstance(a, int):
            return a // b
        return _by_number(a, b) if b > 0 else _by_number(-a, -b)
    if isinstance(a, int) and a == 0:
        return 0
    return 1 if a is b else _by_dim(a, b)


def _by_number(a: Dim, k: int) -> Size:
    """Divide: whole parts come out, and a negative rest is turned around.

    (k*p + q) // k = p + q // k;  -p // k = -((p + k - 1) // k).
    """
    if k == 1:
        return a
    whole: Terms = {}
    rest: Terms = {}
    for monomial, factor in a._terms.items():
        if monomial and factor < 0:
            out, left = -(-factor // k), -(-factor % k)
        else:
            out, left = divmod(factor, k)
        if out:
            whole[monomial] = out
        if left:
            rest[monomial] = left
    outside, inside = _make(whole), _make(rest)
    if not isinstance(inside, int) and inside._terms[leading(inside._terms)] < 0:
        return outside - _rest_by_number(-inside + (k - 1), k)
    return outside + _rest_by_number(inside, k)


def _rest_by_number(a: Size, k: int) -> Size:
    """Divide what has no whole part: common factors go, nested divisions become one.

    (g*p + c) // (g*k) = (p + c // g) // k;  (p // j + q) // k = (p + j*q) // (j*k).
    """
    if isinstance(a, int):
        return a // k
    constant = a._terms.get((), 0)
    if not 0 <= constant < k:
        return _rest_by_number(a - (constant - constant % k), k) + constant // k
    shared = math.gcd(k, content(a._terms))
    if shared > 1:
        inside = _make({m: factor // shared for m, factor in a._terms.items() if factor // shared})
        return inside if k == shared else _rest_by_number(inside, k // shared)
    for monomial, factor in a._terms.items():
        if factor == 1 and len(monomial) == 1 and monomial[0].kind == "floordiv":
            above, below = monomial[0].args
            if isinstance(below, int):
                return (above + (a - _dim_of(monomial[0])) * below) // (k * below)
    low, high = a.minimum, a.maximum
    if low is not None and high is not None and low // k == high // k:
        return low // k
    return _division(a, k)


def _by_dim(a: Size, b: Dim) -> Size:
    """Divide: exact quotients and common factors go (b is not 0, or a // b has no value)."""
    over, under = terms_of(a), b._terms
    if under[leading(under)] < 0:
        return _floordiv(-a, -b)
    exact = quotient(over, under)
    if exact is not None:
        return _make(exact)
    shared = common_factor([*over, *under])
    factor = math.gcd(*over.values(), *under.values())
    if shared or factor > 1:
        return _reduced(over, shared, factor) // _reduced(under, shared, factor)
    if len(under) == 1:
        ((divisor, count),) = under.items()
        whole: Terms = {}
        for monomial, value in over.items():
            left = without(monomial, divisor)
            if left is not None and value % count == 0:
                whole[left] = value // count
        if whole:
            outside = _make(whole)
            return outside + _floordiv(a - outside * b, b)
    low = range_of(a)[0]
    if low is not None and low >= 0 and at_least(b, a + 1):
        return 0
    return _division(a, b)


def _reduced(terms: Terms, shared: Monomial, factor: int) -> Size:
    return _make({without(m, shared) or (): value // factor for m, value in terms.items()})


def _division(a: Size, b: Size) -> Dim:
    """The atom a // b."""
    key = ("floordiv", _key(a), _key(b))
    atom = _atoms.get(key)
    if atom is None:
        text = f"{operand_text(a)} // {operand_text(b)}"
        weight = _weight(a) + _weight(b) + 1
        atom = _atoms[key] = Atom("floordiv", (a, b), text, *quotient_range(a, b), weight)
    return _dim_of(atom)


def _extreme(kind: str, sizes: tuple[Size, ...]) -> Size:
    """The minimum, maximum or broadcast of these, without those that another one decides."""
    flat: list[Size] = []
    for size in sizes:
        atom = None if isinstance(size, int) else lone_atom(size._terms)
        flat.extend(atom.args if atom is not None and atom.kind == kind else (size,))
    if kind == "broadcast" and all((range_of(size)[0] or 0) >= 1 for size in flat):
        return _extreme("max", tuple(flat))
    kept: list[Size] = []
    for candidate in flat:
        if any(_decides(kind, other, candidate) for other in kept):
            continue
        kept = [other for other in kept if not _decides(kind, candidate, other)]
        kept.append(candidate)
    if len(kept) == 1:
        return kept[0]
    kept.sort(key=lambda size: (isinstance(size, int), str(size)))
    args = tuple(kept)
    key = (kind, *map(_key, args))
    atom = _atoms.get(key)
    if atom is None:
        text = f"{kind}({', '.join(map(str, args))})"
        weight = sum(map(_weight, args)) + 1
        atom = _atoms[key] = Atom(kind, args, text, *extreme_range(kind, args), weight)
    return _dim_of(atom)


def _decides(kind: str, winner: Size, loser: Size) -> bool:
    if kind == "broadcast":
        return winner is loser or at_least(winner, 2) is True
    if kind == "max":
        return at_least(winner, loser) is True
    return at_least(loser, winner) is True


def _weight(size: Size) -> int:
    return 1 if isinstance(size, int) else size._weight


def _key(size: Size) -> object:
    """A key for the table of atoms."""
    return size if isinstance(size, int) else _ByAddress(size)


class _ByAddress:
    """A dim as a key, without printing it for its hash."""

    __slots__ = ("dim",)

    def __init__(self, dim: Dim) -> None:
        self.dim = dim

    def __hash__(self) -> int:
        return id(self.dim)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByAddress) and self.dim is other.dim


def _named(dim: Dim) -> list[Atom]:
    """The symbols in a dim, each once."""
    found: dict[Atom, None] = {}
    seen: set[int] = set()
    stack: list[Size] = [dim]
    while stack:
        size = stack.pop()
        if isinstance(size, int) or id(size) in seen:
            continue
        seen.add(id(size))
        for monomial in size._terms:
            for atom in monomial:
                if atom.kind == "symbol":
                    found[atom] = None
                else:
                    stack.extend(atom.args)
    return list(found)


class _Pickled:
    """An atom on its way through pickle."""

    def __init__(self, atom: Atom) -> None:
        self.atom = atom

    def __reduce__(self) -> tuple[object, ...]:
        atom = self.atom
        if atom.kind == "symbol":
            return functools.partial(symbol, minimum=atom.low, maximum=atom.high), (atom.text,)
        if atom.kind == "formula":
            return _make_formula, (atom.args[0],)
        if atom.kind == "floordiv":
            return operator.floordiv, atom.args
        return _extreme, (atom.kind, atom.args)


def _make_formula(size: Size) -> Size:
    return size


def _restored(parts: tuple[tuple[int, tuple[Size, ...]], ...]) -> Size:
    total: Size = 0
    for factor, sizes in parts:
        total = product(sizes) * factor + total
    return total
