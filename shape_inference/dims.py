"""Symbolic integers for shapes: immutable, shared, in a normal form, with proven bounds.

A `Dim` is a polynomial with integer coefficients over *atoms*: named symbols, floor divisions,
minima and maxima. Equal polynomials are one object, so comparing two dims is comparing two
addresses. What is constant is a plain `int`, never a `Dim`.

The normal form has neither mod nor ceiling division: `a % b` is `a - b*(a // b)` and
`ceil_div(a, k)` is `(a + k - 1) // k`, so that `h + -h % 7` and `7*ceil_div(h, 7)` are one dim.
The printer and `Dim.lower` put the mod back where they see one.

A formula that would print too long becomes an atom with a name of its own (`formula_1a2b3c4d`),
which still knows its definition: it evaluates, has bounds and cancels as before, and every
operation stays cheap however long the chain that led there.
"""

from __future__ import annotations

import ast
import functools
import itertools
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

import onnx_ir as ir

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

# A formula with more leaves than this gets a name; products with more terms do not multiply out.
_MAX_WEIGHT = 64
_MAX_TERMS = 48
# How deep proofs go into nested floor divisions, minima and maxima.
_PROOF_DEPTH = 6


class Algebra(Protocol[T]):
    """What `Dim.lower` folds an expression through."""

    def constant(self, value: int) -> T: ...
    def symbol(self, dim: Dim) -> T: ...
    def add(self, a: T, b: T) -> T: ...
    def sub(self, a: T, b: T) -> T: ...
    def mul(self, a: T, b: T) -> T: ...
    def floordiv(self, a: T, b: T) -> T: ...
    def mod(self, a: T, b: T) -> T: ...
    def min(self, a: T, b: T) -> T: ...
    def max(self, a: T, b: T) -> T: ...


# How the atoms of several arguments are computed from two at a time.
def _pick(kind: str) -> Callable[[Size, Size], Size]:
    return {"min": smaller, "max": larger, "broadcast": stretched}[kind]


class _Atom:
    """What cannot be multiplied out: a symbol, a floor division, a minimum or a maximum."""

    __slots__ = ("__weakref__", "args", "high", "kind", "low", "order", "text", "weight")

    def __init__(
        self,
        kind: str,
        args: tuple[Size, ...],
        text: str,
        low: int | None,
        high: int | None,
        weight: int,
    ) -> None:
        self.kind = kind  # "symbol", "formula", "floordiv", "min", "max" or "broadcast"
        self.args = args
        self.text = text
        self.low = low
        self.high = high
        self.weight = weight
        self.order = (kind != "symbol", text, next(_ages))


_ages = itertools.count()
_Monomial = tuple[_Atom, ...]  # sorted by order, one entry a power; () is the constant
_Terms = dict[_Monomial, int]

_atoms: WeakValueDictionary[tuple[object, ...], _Atom] = WeakValueDictionary()
_dims: WeakValueDictionary[frozenset[tuple[_Monomial, int]], Dim] = WeakValueDictionary()


class Dim(ir.SymbolicDim):
    """An integer expression that is not constant; make them with `symbol`, `parse` and arithmetic."""

    __slots__ = (
        "_added",
        "_bounds",
        "_divided",
        "_multiplied",
        "_terms",
        "_text",
        "_weight",
    )

    _added: dict[int, tuple[Size, Size]]
    _bounds: tuple[int | None, int | None] | None
    _divided: dict[int, tuple[Size, Size]]
    _multiplied: dict[int, tuple[Size, Size]]
    _terms: _Terms
    _text: str | None
    _weight: int

    def __init__(self, value: str) -> None:
        raise TypeError(f"Dim must be made with symbol() or parse(), got Dim({value!r})")

    # -- arithmetic ------------------------------------------------------------------------

    def __add__(self, other: Any) -> Size:  # type: ignore[override]  # what is constant is an int here
        if isinstance(other, int):
            if other == 0:
                return self
            known = self._added.get(other)
            if known is not None:
                return known[1]
            terms = dict(self._terms)
            constant = terms.get((), 0) + other
            if constant:
                terms[()] = constant
            else:
                del terms[()]
            result: Size = _make(terms)
            self._added[other] = (other, result)
            return result
        if type(other) is not Dim:
            return NotImplemented
        key = ~id(other)
        known = self._added.get(key)
        if known is not None and known[0] is other:
            return known[1]
        result = _make(_sum(self._terms, other._terms, 1))
        self._added[key] = (other, result)
        return result

    __radd__ = __add__  # type: ignore[assignment]  # as above

    def __neg__(self) -> Dim:
        return _make({monomial: -factor for monomial, factor in self._terms.items()})  # type: ignore[return-value]  # not constant, so its negative is not

    def __sub__(self, other: Any) -> Size:  # type: ignore[override]  # as above
        if isinstance(other, int):
            return self + -other
        if type(other) is not Dim:
            return NotImplemented
        if self is other:
            return 0
        return _make(_sum(self._terms, other._terms, -1))

    def __rsub__(self, other: Any) -> Size:  # type: ignore[override]  # as above
        return -self + other if isinstance(other, int) else NotImplemented

    def __mul__(self, other: Any) -> Size:  # type: ignore[override]  # as above
        if isinstance(other, int):
            if other == 1:
                return self
            if other == 0:
                return 0
            known = self._multiplied.get(other)
            if known is not None:
                return known[1]
            result: Size = _make({m: factor * other for m, factor in self._terms.items()})
            self._multiplied[other] = (other, result)
            return result
        if type(other) is not Dim:
            return NotImplemented
        key = ~id(other)
        known = self._multiplied.get(key)
        if known is not None and known[0] is other:
            return known[1]
        result = _make(_product(self, other))
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

    # -- identity --------------------------------------------------------------------------

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
        ranges = tuple((atom.text, atom.low, atom.high) for atom in _named(self))
        return _restore, (_text(self, full=True), ranges)

    # -- text ------------------------------------------------------------------------------

    @property
    def value(self) -> str:
        """The formula as text, as `parse` reads it."""
        text = self._text
        if text is None:
            text = self._text = _text(self)
        return text

    _value = value  # type: ignore[assignment]  # a slot of the base class, here computed

    @property
    def _expr(self) -> Any:
        raise TypeError(f"a Dim has no sympy expression, got {self}")

    def __str__(self) -> str:
        return self.value

    def __repr__(self) -> str:
        return f"Dim({self.value!r})"

    # -- questions -------------------------------------------------------------------------

    @property
    def minimum(self) -> int | None:
        """The greatest known integer that it is never below, or None."""
        bounds = self._bounds
        if bounds is None:
            bounds = self._bounds = _bounds(self._terms, _PROOF_DEPTH)
        return bounds[0]

    @property
    def maximum(self) -> int | None:
        """The least known integer that it is never above, or None."""
        bounds = self._bounds
        if bounds is None:
            bounds = self._bounds = _bounds(self._terms, _PROOF_DEPTH)
        return bounds[1]

    @property
    def is_symbol(self) -> bool:
        """Whether this is a name alone."""
        atom = _lone(self)
        return atom is not None and atom.kind == "symbol"

    def symbols(self) -> frozenset[Dim]:
        """The named symbols in it, each as a Dim."""
        return frozenset(_dim_of(atom) for atom in _named(self))

    def free_symbols(self) -> frozenset[str]:
        """The names of the symbols in it."""
        return frozenset(atom.text for atom in _named(self))

    def definition(self) -> Dim | None:
        """The formula that this name stands for, if it was too long to write out."""
        atom = _lone(self)
        if atom is None or atom.kind != "formula":
            return None
        return atom.args[0]  # type: ignore[return-value]  # a formula atom holds one Dim

    def evaluate(self, bindings: Mapping[str, int]) -> int:
        """Compute the number for these values of the symbols.

        Raises:
            KeyError: A symbol in it has no value in `bindings`.
        """
        return _Evaluation(bindings).size(self)

    def substitute(self, bindings: Mapping[str, Size]) -> Size:
        """Put sizes in place of symbols; the names that are not in `bindings` stay."""
        return _Substitution(bindings).size(self)

    def lower(self, algebra: Algebra[T]) -> T:
        """Fold the expression through `algebra`, sharing what occurs twice in it."""
        result: T = _Lowering(algebra).size(self)
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
        atom = _atoms[key] = _Atom("symbol", (), name, minimum, maximum, 1)
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
    if divisible(difference, _content(difference)) is False:
        return False
    return None


def at_least(a: Size, b: Size) -> bool | None:
    """Whether a >= b for every value in the declared ranges; None if that is not known."""
    return _at_least(a, b, _PROOF_DEPTH)


def divisible(a: Size, k: Size) -> bool | None:
    """Whether k divides a for every value in the declared ranges; None if that is not known."""
    if isinstance(a, int) and isinstance(k, int):
        return a % k == 0 if k else None
    if isinstance(k, int):
        assert not isinstance(a, int)
        if k == 0:
            return None
        if any(factor % k for monomial, factor in a._terms.items() if monomial):
            return None
        return a._terms.get((), 0) % k == 0
    if a == 0:
        return True
    return True if _quotient(_terms_of(a), k._terms) is not None else None


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


# -- the normal form ---------------------------------------------------------------------------


def _make(terms: _Terms) -> Size:
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
    weight = 0
    for monomial in terms:
        weight += 1
        for atom in monomial:
            weight += atom.weight
    dim._weight = weight
    if weight > _MAX_WEIGHT:
        dim = _named_formula(dim)
    _dims[key] = dim
    return dim


def _dim_of(atom: _Atom) -> Dim:
    return _make({(atom,): 1})  # type: ignore[return-value]  # an atom is not constant


def _lone(dim: Dim) -> _Atom | None:
    """The atom that this dim is, if it is one."""
    if len(dim._terms) == 1:
        ((monomial, factor),) = dim._terms.items()
        if factor == 1 and len(monomial) == 1:
            return monomial[0]
    return None


def _named_formula(dim: Dim) -> Dim:
    """Return a name for a dim that is too long to write out."""
    key = ("formula", dim)
    digest = zlib.crc32(_text(dim).encode())
    low, high = _bounds(dim._terms, 1)
    atom = _Atom("formula", (dim,), f"formula_{digest:08x}", low, high, 1)
    _atoms[key] = atom
    return _dim_of(atom)


def _terms_of(size: Size) -> _Terms:
    if isinstance(size, int):
        return {(): size} if size else {}
    return size._terms


def _sum(a: _Terms, b: _Terms, sign: int) -> _Terms:
    terms = dict(a)
    for monomial, factor in b.items():
        total = terms.get(monomial, 0) + sign * factor
        if total:
            terms[monomial] = total
        else:
            del terms[monomial]
    return terms


def _order(atom: _Atom) -> tuple[bool, str, int]:
    return atom.order


def _times(a: _Monomial, b: _Monomial) -> _Monomial:
    if not a:
        return b
    if not b:
        return a
    return tuple(sorted(a + b, key=_order))


def _product(a: Dim, b: Dim) -> _Terms:
    if len(a._terms) * len(b._terms) > _MAX_TERMS:
        a = a if len(a._terms) == 1 else _named_formula(a)
        b = b if len(b._terms) == 1 else _named_formula(b)
    terms: _Terms = {}
    for left, left_factor in a._terms.items():
        for right, right_factor in b._terms.items():
            monomial = _times(left, right)
            total = terms.get(monomial, 0) + left_factor * right_factor
            if total:
                terms[monomial] = total
            else:
                del terms[monomial]
    return terms


def _content(dim: Dim) -> int:
    """The greatest common divisor of all factors but the constant."""
    return math.gcd(*(factor for monomial, factor in dim._terms.items() if monomial))


def _monomial_key(monomial: _Monomial) -> tuple[object, ...]:
    return (-len(monomial), [atom.order for atom in monomial])


def _leading(terms: _Terms) -> _Monomial:
    return min(terms, key=_monomial_key)


def _without(monomial: _Monomial, factors: _Monomial) -> _Monomial | None:
    """Return monomial / factors, or None where that leaves a fraction."""
    left = list(monomial)
    for atom in factors:
        if atom not in left:
            return None
        left.remove(atom)
    return tuple(left)


def _common(monomials: Iterable[_Monomial]) -> _Monomial:
    """The greatest monomial that divides all of these."""
    iterator = iter(monomials)
    common = list(next(iterator))
    for monomial in iterator:
        if not common:
            break
        rest = list(monomial)
        kept = []
        for atom in common:
            if atom in rest:
                rest.remove(atom)
                kept.append(atom)
        common = kept
    return tuple(common)


def _quotient(a: _Terms, b: _Terms) -> _Terms | None:
    """Return a / b where that is a polynomial with integer coefficients, by long division."""
    head = _leading(b)
    head_factor = b[head]
    rest = dict(a)
    quotient: _Terms = {}
    for _ in range(2 * _MAX_TERMS):
        if not rest:
            return quotient
        top = _leading(rest)
        monomial = _without(top, head)
        factor, remainder = divmod(rest[top], head_factor)
        if monomial is None or remainder:
            return None
        quotient[monomial] = quotient.get(monomial, 0) + factor
        step = {_times(monomial, other): factor * value for other, value in b.items()}
        rest = _sum(rest, step, -1)
    return None


def _floordiv(a: Size, b: Size) -> Size:
    if isinstance(b, int):
        if b == 0:
            raise ZeroDivisionError(f"{a} // 0")
        if b < 0:
            return _floordiv(-a, -b)
        return a // b if isinstance(a, int) else _divided_by_int(a, b)
    if isinstance(a, int) and a == 0:
        return 0
    if a is b:
        return 1
    return _divided_by_dim(a, b)


def _divided_by_int(a: Dim, k: int) -> Size:
    """a // k: whole parts come out, common factors go, nested divisions become one.

    (k*p + q) // k = p + q // k;  (g*p + c) // (g*k) = (p + c // g) // k;
    (p // j + q) // k = (p + j*q) // (j*k);  -p // k = -((p + k - 1) // k).
    """
    if k == 1:
        return a
    whole: _Terms = {}
    rest: _Terms = {}
    for monomial, factor in a._terms.items():
        if monomial and factor < 0:
            out = -(-factor // k)
            left = -(-factor % k)
        else:
            out, left = divmod(factor, k)
        if out:
            whole[monomial] = out
        if left:
            rest[monomial] = left
    outside = _make(whole)
    inside = _make(rest)
    if isinstance(inside, int):
        return outside + inside // k
    if inside._terms[_leading(inside._terms)] < 0:
        return outside - _divided_by_int_positive(-inside + (k - 1), k)
    return outside + _divided_by_int_positive(inside, k)


def _divided_by_int_positive(a: Size, k: int) -> Size:
    if isinstance(a, int):
        return a // k
    constant = a._terms.get((), 0)
    if not 0 <= constant < k:
        return _divided_by_int_positive(a - (constant - constant % k), k) + constant // k
    shared = math.gcd(k, _content(a))
    if shared > 1:
        terms = {m: factor // shared for m, factor in a._terms.items() if factor // shared}
        return _divided_by_int_positive(_make(terms), k // shared) if k > shared else _make(terms)
    for monomial, factor in a._terms.items():
        if len(monomial) != 1 or factor != 1 or monomial[0].kind != "floordiv":
            continue
        above, below = monomial[0].args
        if isinstance(below, int):
            others = a - _dim_of(monomial[0])
            return _divided_by_int(above + others * below, k * below)  # type: ignore[arg-type]  # `above` of an atom is not constant beside an int
    low, high = a.minimum, a.maximum
    if low is not None and high is not None and low // k == high // k:
        return low // k
    return _division(a, k)


def _divided_by_dim(a: Size, b: Dim) -> Size:
    """Divide: exact quotients and common factors go (b is not 0, or a // b has no value)."""
    a_terms, b_terms = _terms_of(a), b._terms
    if b_terms[_leading(b_terms)] < 0:
        return _floordiv(-a, -b)
    exact = _quotient(a_terms, b_terms)
    if exact is not None:
        return _make(exact)
    shared = _common([*a_terms, *b_terms])
    factor = math.gcd(*a_terms.values(), *b_terms.values())
    if shared or factor > 1:
        over = _make({_without(m, shared) or (): f // factor for m, f in a_terms.items()})
        under = _make({_without(m, shared) or (): f // factor for m, f in b_terms.items()})
        return over // under
    if len(b_terms) == 1:
        ((divisor, count),) = b_terms.items()
        whole: _Terms = {}
        for monomial, value in a_terms.items():
            left = _without(monomial, divisor)
            if left is not None and value % count == 0:
                whole[left] = value // count
        if whole:
            outside = _make(whole)
            return outside + _floordiv(a - outside * b, b)
    low = a if isinstance(a, int) else a.minimum
    if low is not None and low >= 0 and at_least(b, a + 1):
        return 0
    return _division(a, b)


def _division(a: Size, b: Size) -> Dim:
    """The atom a // b."""
    key = ("floordiv", _key(a), _key(b))
    atom = _atoms.get(key)
    if atom is None:
        a_low, a_high = _range_of(a)
        b_low, b_high = _range_of(b)
        low = high = None
        if b_low is not None and b_low > 0:
            if a_low is not None:
                low = _quotient_bound(a_low, b_low, b_high, least=True)
            if a_high is not None:
                high = _quotient_bound(a_high, b_low, b_high, least=False)
        text = f"{_factor_text(a)} // {_factor_text(b)}"
        atom = _Atom("floordiv", (a, b), text, low, high, _weight(a) + _weight(b) + 1)
        _atoms[key] = atom
    return _dim_of(atom)


def _quotient_bound(a: int, low: int, high: int | None, *, least: bool) -> int:
    """The least or greatest a // b over low <= b <= high."""
    if (a >= 0) == least:
        return a // high if high is not None else (0 if a >= 0 else -1)
    return a // low


def _extreme(kind: str, sizes: tuple[Size, ...]) -> Size:
    """The minimum, maximum or broadcast of these, without those that another one decides."""
    flat: list[Size] = []
    for size in sizes:
        atom = None if isinstance(size, int) else _lone(size)
        flat.extend(atom.args if atom is not None and atom.kind == kind else (size,))
    if kind == "broadcast" and all((_range_of(size)[0] or 0) >= 1 for size in flat):
        return _extreme("max", tuple(flat))
    kept: list[Size] = []
    for candidate in flat:
        if any(_decides(kind, other, candidate) for other in kept):
            continue
        kept = [other for other in kept if not _decides(kind, candidate, other)]
        kept.append(candidate)
    if len(kept) == 1:
        return kept[0]
    kept.sort(key=_size_order)
    args = tuple(kept)
    key = (kind, *map(_key, args))
    atom = _atoms.get(key)
    if atom is None:
        ranges = [_range_of(size) for size in args]
        lows, highs = zip(*ranges, strict=True)
        low, high = _extreme_range(kind, lows, highs)
        text = f"{kind}({', '.join(map(str, args))})"
        atom = _Atom(kind, args, text, low, high, sum(map(_weight, args)) + 1)
        _atoms[key] = atom
    return _dim_of(atom)


def _extreme_range(
    kind: str, lows: tuple[int | None, ...], highs: tuple[int | None, ...]
) -> tuple[int | None, int | None]:
    known_lows = [low for low in lows if low is not None]
    known_highs = [high for high in highs if high is not None]
    if kind == "min":
        low = min(known_lows) if len(known_lows) == len(lows) else None
        return low, min(known_highs, default=None)
    high = max(known_highs) if len(known_highs) == len(highs) else None
    return max(known_lows, default=None), high


def _decides(kind: str, winner: Size, loser: Size) -> bool:
    if kind == "broadcast":
        return winner is loser or at_least(winner, 2) is True
    if kind == "max":
        return at_least(winner, loser) is True
    return at_least(loser, winner) is True


def _key(size: Size) -> object:
    """A key for the atom table: the int, or the dim by address (dims are shared)."""
    return size if isinstance(size, int) else _ByAddress(size)


class _ByAddress:
    """Holds a dim in a key without printing it for its hash."""

    __slots__ = ("dim",)

    def __init__(self, dim: Dim) -> None:
        self.dim = dim

    def __hash__(self) -> int:
        return id(self.dim)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByAddress) and self.dim is other.dim


def _size_order(size: Size) -> tuple[bool, str]:
    return (isinstance(size, int), str(size))


def _weight(size: Size) -> int:
    return 1 if isinstance(size, int) else size._weight


# -- bounds and proofs -------------------------------------------------------------------------

_Range = tuple[int | None, int | None]


def _range_of(size: Size) -> _Range:
    return (size, size) if isinstance(size, int) else (size.minimum, size.maximum)


def _bounds(terms: _Terms, depth: int) -> _Range:
    """Proven bounds of a polynomial, by interval arithmetic and by relaxing floor divisions."""
    low: int | None = 0
    high: int | None = 0
    for monomial, factor in terms.items():
        term_low, term_high = _monomial_range(monomial)
        if factor < 0:
            term_low, term_high = term_high, term_low
        low = None if low is None or term_low is None else low + factor * term_low
        high = None if high is None or term_high is None else high + factor * term_high
    if depth and len(terms) > 1 and (low is None or high is None or low < 0):
        relaxed_low, relaxed_high = _relaxed(terms, depth, 1), _relaxed(terms, depth, -1)
        if relaxed_low is not None and (low is None or relaxed_low > low):
            low = relaxed_low
        if relaxed_high is not None and (high is None or -relaxed_high < high):
            high = -relaxed_high
    return low, high


def _monomial_range(monomial: _Monomial) -> _Range:
    low: int | None = 1
    high: int | None = 1
    for atom, group in itertools.groupby(monomial):
        power = sum(1 for _ in group)
        atom_low, atom_high = _power_range(atom.low, atom.high, power)
        low, high = _product_range(low, high, atom_low, atom_high)
    return low, high


def _power_range(low: int | None, high: int | None, power: int) -> _Range:
    if power == 1:
        return low, high
    if low is not None and low >= 0:
        return low**power, None if high is None else high**power
    if power % 2:
        return (
            None if low is None else low**power,
            None if high is None else high**power,
        )
    bounded = low is not None and high is not None
    return 0, max(low**power, high**power) if bounded else None  # type: ignore[operator]  # `bounded` says that both are ints


def _product_range(a: int | None, b: int | None, c: int | None, d: int | None) -> _Range:
    """The range of x*y for a <= x <= b and c <= y <= d."""
    if a is not None and c is not None and a >= 0 and c >= 0:
        return a * c, None if b is None or d is None else b * d
    if a is None or b is None or c is None or d is None:
        return None, None
    corners = (a * c, a * d, b * c, b * d)
    return min(corners), max(corners)


def _relaxed(terms: _Terms, depth: int, sign: int) -> int | None:
    """The least value of sign * terms with each p // k put within [(p - k + 1) / k, p / k].

    A maximum with a positive factor is at least each of its arguments, a minimum with a
    negative one at most each; each is tried alone.
    """
    scale = 1
    found = []
    for monomial, factor in terms.items():
        for position, atom in enumerate(monomial):
            if atom.kind in ("symbol", "formula"):
                continue
            others = monomial[:position] + monomial[position + 1 :]
            if others and (_monomial_range(others)[0] or -1) < 0:
                continue
            grows = factor * sign > 0
            if atom.kind == "floordiv":
                if not isinstance(atom.args[1], int):
                    continue
                scale = math.lcm(scale, atom.args[1])
            elif atom.kind == "broadcast" or (atom.kind == "max") != grows:
                continue
            found.append((monomial, factor * sign, atom, others))
            break
    if not found:
        return None
    changed = {monomial: factor * sign * scale for monomial, factor in terms.items()}
    choices: list[_Terms] = [changed]
    for monomial, factor, atom, others in found:
        next_choices = []
        for choice in choices[:4]:
            for bound in _relaxations(atom, factor, scale):
                added = _terms_of(bound)
                step = {_times(others, m): factor * value for m, value in added.items()}
                removed = _sum(choice, {monomial: factor * scale}, -1)
                next_choices.append(_sum(removed, step, 1))
        choices = next_choices
    best: int | None = None
    for choice in choices:
        low = _bounds(choice, depth - 1)[0] if choice else 0
        if low is not None:
            low = -(-low // scale)
            best = low if best is None else max(best, low)
    return best


def _relaxations(atom: _Atom, factor: int, scale: int) -> list[Size]:
    """What scale * atom is at least (factor > 0) or at most (factor < 0)."""
    if atom.kind != "floordiv":
        return [size * scale for size in atom.args]
    above, below = atom.args
    assert isinstance(below, int)
    bound = above - (below - 1) if factor > 0 else above
    return [bound * (scale // below)]


def _at_least(a: Size, b: Size, depth: int) -> bool | None:
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


# -- walks -------------------------------------------------------------------------------------


def _named(dim: Dim) -> list[_Atom]:
    """The symbols in a dim, each once, in the order in which a reader meets them."""
    found: dict[_Atom, None] = {}
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


def _ordered(terms: _Terms) -> Iterator[tuple[_Monomial, int]]:
    """The terms as people write them: positive first, high degrees first, the constant last."""
    positive = [item for item in terms.items() if item[1] > 0 and item[0]]
    negative = [item for item in terms.items() if item[1] < 0 and item[0]]
    positive.sort(key=lambda item: _monomial_key(item[0]))
    negative.sort(key=lambda item: _monomial_key(item[0]))
    yield from positive
    yield from negative
    if () in terms:
        yield (), terms[()]


def _mods(terms: _Terms) -> tuple[list[tuple[int, _Atom]], _Terms]:
    """Take c*p - c*k*(p // k) out of a sum as c*(p % k)."""
    found: list[tuple[int, _Atom]] = []
    rest = terms
    for monomial, factor in terms.items():
        if len(monomial) != 1 or monomial[0].kind != "floordiv":
            continue
        above, below = monomial[0].args
        if isinstance(above, int) or not isinstance(below, int) or factor % below:
            continue
        count = -factor // below
        scaled = {m: count * value for m, value in above._terms.items()}
        if all(
            abs(rest.get(m, 0)) >= abs(value) and rest[m] * value > 0
            for m, value in scaled.items()
            if m
        ):
            found.append((count, monomial[0]))
            rest = _sum(_sum(rest, {monomial: factor}, -1), scaled, -1)
    return found, rest


class _Lowering:
    """`Dim.lower`: folds through an algebra, sharing equal sub-expressions."""

    def __init__(self, algebra: Algebra[Any]) -> None:
        self._algebra = algebra
        self._known: dict[object, Any] = {}

    def size(self, size: Size) -> Any:
        algebra = self._algebra
        if isinstance(size, int):
            return algebra.constant(size)
        key = id(size)
        if key in self._known:
            return self._known[key]
        mods, rest = _mods(size._terms)
        parts: list[tuple[int, Any]] = []
        for monomial, factor in _ordered(rest):
            if monomial:
                value = functools.reduce(algebra.mul, map(self._atom, monomial))
                parts.append((factor, value))
        for factor, atom in mods:
            value = algebra.mod(self.size(atom.args[0]), self.size(atom.args[1]))
            parts.append((factor, value))
        parts.sort(key=lambda part: part[0] < 0)
        result = self._total(parts, rest.get((), 0))
        self._known[key] = result
        return result

    def _total(self, parts: list[tuple[int, Any]], constant: int) -> Any:
        algebra = self._algebra
        total: Any = None
        if not parts:
            return algebra.constant(constant)
        if parts[0][0] < 0 and constant:
            total, constant = algebra.constant(constant), 0
        for factor, value in parts:
            magnitude = abs(factor) if total is not None else factor
            if magnitude != 1:
                value = algebra.mul(value, algebra.constant(magnitude))
            if total is None:
                total = value
            else:
                total = algebra.sub(total, value) if factor < 0 else algebra.add(total, value)
        if constant > 0:
            return algebra.add(total, algebra.constant(constant))
        if constant < 0:
            return algebra.sub(total, algebra.constant(-constant))
        return total

    def _atom(self, atom: _Atom) -> Any:
        if atom in self._known:
            return self._known[atom]
        algebra = self._algebra
        if atom.kind == "symbol":
            result = algebra.symbol(_dim_of(atom))
        elif atom.kind == "formula":
            result = self.size(atom.args[0])
        elif atom.kind == "floordiv":
            result = algebra.floordiv(self.size(atom.args[0]), self.size(atom.args[1]))
        elif atom.kind == "broadcast":
            # max(a, b) * min(a, b, 1): the sizes are equal or one of them is 1.
            args = list(map(self.size, atom.args))
            least = functools.reduce(algebra.min, [*args, algebra.constant(1)])
            result = algebra.mul(functools.reduce(algebra.max, args), least)
        else:
            pick = algebra.min if atom.kind == "min" else algebra.max
            result = functools.reduce(pick, map(self.size, atom.args))
        self._known[atom] = result
        return result


class _Substitution:
    """`Dim.substitute`: computes the dim anew with sizes in place of some symbols."""

    def __init__(self, bindings: Mapping[str, Size]) -> None:
        self._bindings = bindings
        self._known: dict[_Atom, Size] = {}

    def size(self, size: Size) -> Size:
        if isinstance(size, int):
            return size
        total: Size = 0
        for monomial, factor in size._terms.items():
            value: Size = factor
            for atom in monomial:
                value = self._atom(atom) * value
            total = value + total
        return total

    def _atom(self, atom: _Atom) -> Size:
        if atom in self._known:
            return self._known[atom]
        if atom.kind in ("symbol", "formula") and atom.text in self._bindings:
            result = self._bindings[atom.text]
        elif atom.kind == "symbol":
            result = self._unbound(atom)
        elif atom.kind == "formula":
            result = self.size(atom.args[0])
        elif atom.kind == "floordiv":
            result = self.size(atom.args[0]) // self.size(atom.args[1])
        else:
            result = functools.reduce(_pick(atom.kind), map(self.size, atom.args))
        self._known[atom] = result
        return result

    def _unbound(self, atom: _Atom) -> Size:
        return _dim_of(atom)


class _Evaluation(_Substitution):
    """`Dim.evaluate`: a substitution that leaves no symbol."""

    def size(self, size: Size) -> int:
        return super().size(size)  # type: ignore[return-value]  # no symbol is left, so it is an int

    def _unbound(self, atom: _Atom) -> Size:
        raise KeyError(atom.text)


# -- text --------------------------------------------------------------------------------------


def _text(dim: Dim, *, full: bool = False) -> str:
    """Print a dim; `full` writes the named formulas out."""
    terms = dim._terms
    shared = _common(terms)
    factor = math.gcd(*terms.values()) if shared else 1
    if len(terms) > 1 and shared:
        inner = _make({_without(m, shared) or (): f // factor for m, f in terms.items()})
        outside = _monomial_text(shared, full)
        scale = "" if factor == 1 else f"{factor}*"
        return f"{scale}{outside}*({_sum_text(_terms_of(inner), full)})"
    return _sum_text(terms, full)


def _sum_text(terms: _Terms, full: bool) -> str:
    mods, rest = _mods(terms)
    parts = [(factor, _monomial_text(monomial, full)) for monomial, factor in _ordered(rest) if monomial]
    for factor, atom in mods:
        parts.append((factor, f"({_factor_text(atom.args[0], full)} % {_factor_text(atom.args[1], full)})"))
    parts.sort(key=lambda part: part[0] < 0)
    constant = rest.get((), 0)
    if constant > 0 and parts and parts[0][0] < 0:
        parts.insert(0, (constant, ""))
    elif constant or not parts:
        parts.append((constant, ""))
    pieces: list[str] = []
    for factor, text in parts:
        magnitude = abs(factor)
        if not text:
            word = str(magnitude)
        elif magnitude != 1:
            word = f"{magnitude}*{text}"
        else:
            # A sum binds less than // and %, a unary minus binds more.
            word = text[1:-1] if _is_division(text) and (pieces or factor > 0) else text
        sign = ("-" if factor < 0 else "") if not pieces else ("- " if factor < 0 else "+ ")
        pieces.append(sign + word)
    return " ".join(pieces)


def _is_division(text: str) -> bool:
    """Whether a text is one division in parentheses, rather than a product."""
    if not text.startswith("("):
        return False
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return place == len(text) - 1
    return False


def _monomial_text(monomial: _Monomial, full: bool) -> str:
    words = []
    for atom, group in itertools.groupby(monomial):
        power = sum(1 for _ in group)
        text = _atom_text(atom, full)
        if atom.kind == "floordiv" or (full and atom.kind == "formula"):
            text = f"({text})"
        words.append(text if power == 1 else f"{text}**{power}")
    return "*".join(words)


def _atom_text(atom: _Atom, full: bool) -> str:
    if not full or atom.kind == "symbol":
        return atom.text
    if atom.kind == "formula":
        return _size_text(atom.args[0], full)
    if atom.kind == "floordiv":
        return f"{_factor_text(atom.args[0], full)} // {_factor_text(atom.args[1], full)}"
    return f"{atom.kind}({', '.join(_size_text(size, full) for size in atom.args)})"


def _size_text(size: Size, full: bool) -> str:
    if isinstance(size, int):
        return str(size)
    return _text(size, full=True) if full else size.value


def _factor_text(size: Size, full: bool = False) -> str:
    """Print a size as an operand of // or %."""
    text = _size_text(size, full)
    if isinstance(size, int):
        return text if size >= 0 else f"({text})"
    atom = _lone(size)
    if atom is not None and (
        atom.kind in ("symbol", "min", "max", "broadcast") or (atom.kind == "formula" and not full)
    ):
        return text
    return f"({text})"


def _restore(text: str, ranges: tuple[tuple[str, int | None, int | None], ...]) -> Size:
    names = {name: symbol(name, minimum=low, maximum=high) for name, low, high in ranges}
    return parse(text, names)


def parse(text: str, symbols: Mapping[str, Dim] | None = None) -> Size:
    """Read a formula as `str(dim)` prints it and as people and other tools write it.

    `floor(h/2 - 1/2) + 1`, `Max(1, a)`, `ceiling(h/2)` and `Mod(a, 7)` are understood. A text
    that is no formula is the name of a symbol, whatever characters it has.

    Args:
        text: The formula.
        symbols: The dims that names stand for; a name that is not in it is `symbol(name)`.
    """
    names = symbols if symbols is not None else {}
    text = text.strip()
    if text.isidentifier():
        return names.get(text) or symbol(text)
    try:
        over, under = _Reader(names).read(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError):
        return names.get(text) or symbol(text)
    return over // under


class _Reader:
    """Reads a syntax tree as a fraction: a size over a positive int."""

    def __init__(self, names: Mapping[str, Dim]) -> None:
        self._names = names

    def read(self, tree: ast.expr) -> tuple[Size, int]:
        if isinstance(tree, ast.Constant) and type(tree.value) is int:
            return tree.value, 1
        if isinstance(tree, ast.Name):
            return self._names.get(tree.id) or symbol(tree.id), 1
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, (ast.USub, ast.UAdd)):
            over, under = self.read(tree.operand)
            return (-over if isinstance(tree.op, ast.USub) else over), under
        if isinstance(tree, ast.BinOp):
            return self._binary(tree.op, self.read(tree.left), self.read(tree.right))
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and not tree.keywords:
            return self._call(tree.func.id.lower(), [self.read(arg) for arg in tree.args])
        raise ValueError("not a formula")

    def _binary(
        self, op: ast.operator, a: tuple[Size, int], b: tuple[Size, int]
    ) -> tuple[Size, int]:
        (a_over, a_under), (b_over, b_under) = a, b
        if isinstance(op, ast.Add):
            return _fraction(a_over * b_under + b_over * a_under, a_under * b_under)
        if isinstance(op, ast.Sub):
            return _fraction(a_over * b_under - b_over * a_under, a_under * b_under)
        if isinstance(op, ast.Mult):
            return _fraction(a_over * b_over, a_under * b_under)
        if isinstance(op, ast.Div):
            if isinstance(b_over, int):
                sign = -1 if b_over < 0 else 1
                return _fraction(a_over * (sign * b_under), a_under * abs(b_over))
            return (a_over * b_under) // (b_over * a_under), 1
        if isinstance(op, ast.FloorDiv):
            return (a_over * b_under) // (b_over * a_under), 1
        if isinstance(op, ast.Mod) and a_under == b_under == 1:
            return a_over % b_over, 1
        if isinstance(op, ast.Pow) and isinstance(b_over, int) and b_under == 1 and b_over >= 0:
            return product([a_over] * min(b_over, 64)), a_under**b_over
        raise ValueError("not a formula")

    def _call(self, name: str, args: list[tuple[Size, int]]) -> tuple[Size, int]:
        if name in ("floor", "ceil", "ceiling", "int", "trunc") and len(args) == 1:
            over, under = args[0]
            return (ceil_div(over, under) if name.startswith("ceil") else over // under), 1
        if name in ("min", "max", "broadcast") and args:
            under = math.lcm(*(below for _, below in args))
            return functools.reduce(_pick(name), (o * (under // u) for o, u in args)), under
        if len(args) == 2 and args[0][1] == args[1][1] == 1:
            (a, _), (b, _) = args
            if name == "mod":
                return a % b, 1
            if name == "floordiv":
                return a // b, 1
            if name in ("ceildiv", "ceil_div"):
                return ceil_div(a, b), 1
        raise ValueError("not a formula")


def _fraction(over: Size, under: int) -> tuple[Size, int]:
    """Reduce where the fraction is a whole number."""
    if under == 0:
        raise ZeroDivisionError("division by zero")
    return (over // under, 1) if divisible(over, under) else (over, under)
