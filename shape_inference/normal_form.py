"""How equal dims become one object: the table of all of them, and the rules that simplify.

This module and `dims` are two halves of one thing: there the class and what is asked of it, here
what is made of polynomials.
"""

from __future__ import annotations

import functools
import math
import operator
import zlib
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from shape_inference import dims
from shape_inference.bounds import bounds, extreme_range, quotient_range, range_of
from shape_inference.formulas import operand_text, text_of
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
    times,
    without,
)

if TYPE_CHECKING:
    from shape_inference.dims import Dim, Size

__all__ = ["Pickled", "dim_of", "divided", "extreme", "make", "multiplied", "restored", "symbol_atom", "symbols_of"]

# A formula with more leaves than this gets a name.
_MAX_WEIGHT = 64

# Every atom and every dim that is alive, by what it is made of.
_atoms: WeakValueDictionary[tuple[object, ...], Atom] = WeakValueDictionary()
_dims: WeakValueDictionary[frozenset[tuple[Monomial, int]], Dim] = WeakValueDictionary()


def symbol_atom(name: str, low: int | None, high: int | None) -> Atom:
    """The atom of a symbol."""
    key = ("symbol", name, low, high)
    atom = _atoms.get(key)
    if atom is None:
        atom = _atoms[key] = Atom("symbol", (), name, low, high, 1)
    return atom


def make(terms: Terms) -> Size:
    """Return the one object for these terms (without zero factors)."""
    if not terms:
        return 0
    if len(terms) == 1 and () in terms:
        return terms[()]
    key = frozenset(terms.items())
    dim = _dims.get(key)
    if dim is not None:
        return dim
    balanced = terms if len(terms) == 1 else _balanced(terms)
    if balanced is not terms:
        size = make(balanced)
        if not isinstance(size, int):
            _dims[key] = size
        return size
    dim = dims.Dim.__new__(dims.Dim)
    dim._terms = terms
    dim._text = None
    dim._bounds = None
    dim._known = {}
    dim._weight = sum([1 + sum([atom.weight for atom in monomial]) for monomial in terms])
    if dim._weight > _MAX_WEIGHT:
        dim = _named_formula(dim)
    _dims[key] = dim
    return dim


def _balanced(terms: Terms) -> Terms:
    """Write a sum of halves in its shortest way, by p // j = p // 2j + (p + j) // 2j.

    Of all a*(p // j) + b*(p // 2j) + c*((p + j) // 2j) that are equal it is the one where the
    median of a, -b and -c is 0: so `h + h % 2` is 2*((h + 1) // 2), and `h // 2 + (h + 1) // 2` is h.
    """
    for _ in range(MAX_TERMS):
        for monomial in terms:
            step = _balancing(terms, monomial)
            if step is not None:
                terms = add(terms, step)
                break
        else:
            return terms
    return terms


def _balancing(terms: Terms, monomial: Monomial) -> Terms | None:
    """What to add to a sum to balance the halves in one of its monomials: a multiple of 0."""
    for place, atom in enumerate(monomial):
        if atom.kind != "floordiv":
            continue
        above, below = atom.args
        if not isinstance(below, int) or below % 2:
            continue
        half = below // 2
        if terms_of(above).get((), 0) >= half:
            above = above - half
        whole = terms_of(above // half)
        pivot = leading(whole)
        if whole[pivot] != 1:
            continue
        others = monomial[:place] + monomial[place + 1 :]
        low, high = (times(others, (_division_atom(above + rest, below),)) for rest in (0, half))
        a = terms.get(times(others, pivot), 0)
        count = sorted((a, -terms.get(low, 0), -terms.get(high, 0)))[1]
        if count:
            wholes = {times(others, part): -count * factor for part, factor in whole.items()}
            return add(add(wholes, {low: count}), {high: count})
    return None


def dim_of(atom: Atom) -> Dim:
    """The dim that is one atom."""
    return make({(atom,): 1})  # type: ignore[return-value]  # an atom is not constant


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
    return dim_of(atom)


def multiplied(a: Dim, b: Size) -> Size:
    """Multiply; what would have too many terms gets a name instead."""
    if isinstance(b, int):
        if b == 0:
            return 0
        return make({monomial: factor * b for monomial, factor in a._terms.items()})
    if len(a._terms) * len(b._terms) > MAX_TERMS:
        a, b = (dim if len(dim._terms) == 1 else _named_formula(dim) for dim in (a, b))
    return make(multiply(a._terms, b._terms))


def divided(a: Size, b: Size) -> Size:
    """Divide, rounding down."""
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
    outside, inside = make(whole), make(rest)
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
        inside = make({m: factor // shared for m, factor in a._terms.items() if factor // shared})
        return inside if k == shared else _rest_by_number(inside, k // shared)
    divisions = [(m, factor) for m, factor in a._terms.items() if any(atom.kind == "floordiv" for atom in m)]
    # One division alone: with a second one the new sum could hold as deep a division again.
    if len(divisions) == 1 and divisions[0][1] == 1 and len(divisions[0][0]) == 1:
        atom = divisions[0][0][0]
        above, below = atom.args
        if isinstance(below, int):
            return (above + (a - dim_of(atom)) * below) // (k * below)
    low, high = a.minimum, a.maximum
    if low is not None and high is not None and low // k == high // k:
        return low // k
    return _division(a, k)


def _by_dim(a: Size, b: Dim) -> Size:
    """Divide: exact quotients and common factors go (b is not 0, or a // b has no value)."""
    over, under = terms_of(a), b._terms
    if under[leading(under)] < 0:
        return divided(-a, -b)
    exact = quotient(over, under)
    if exact is not None:
        return make(exact)
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
            outside = make(whole)
            return outside + divided(a - outside * b, b)
    low, high = quotient_range(a, b)
    if low is not None and low == high:
        return low
    if low == 0 and dims.at_least(b, a + 1):
        return 0
    return _division(a, b)


def _reduced(terms: Terms, shared: Monomial, factor: int) -> Size:
    return make({without(m, shared) or (): value // factor for m, value in terms.items()})


def _division(a: Size, b: Size) -> Dim:
    return dim_of(_division_atom(a, b))


def _division_atom(a: Size, b: Size) -> Atom:
    """The atom a // b, of sizes that no rule makes simpler."""
    key = ("floordiv", _key(a), _key(b))
    atom = _atoms.get(key)
    if atom is None:
        text = f"{operand_text(a)} // {operand_text(b)}"
        weight = _weight(a) + _weight(b) + 1
        atom = _atoms[key] = Atom("floordiv", (a, b), text, *quotient_range(a, b), weight)
    return atom


def extreme(kind: str, sizes: tuple[Size, ...]) -> Size:
    """The minimum, maximum or broadcast of these, without those that another one decides."""
    flat: list[Size] = []
    for size in sizes:
        atom = None if isinstance(size, int) else lone_atom(size._terms)
        flat.extend(atom.args if atom is not None and atom.kind == kind else (size,))
    if kind == "broadcast" and all((range_of(size)[0] or 0) >= 1 for size in flat):
        return extreme("max", tuple(flat))
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
    return dim_of(atom)


def _decides(kind: str, winner: Size, loser: Size) -> bool:
    if kind == "broadcast":
        return winner is loser or dims.at_least(winner, 2) is True or _is_capped(loser, winner)
    if kind == "max":
        return dims.at_least(winner, loser) is True
    return dims.at_least(loser, winner) is True


def _is_capped(size: Size, other: Size) -> bool:
    """Whether a size is the minimum of another and of what is at least 2: where it is less, neither of them is 1."""
    atom = None if isinstance(size, int) else lone_atom(size._terms)
    if atom is None or atom.kind != "min" or not any(arg is other for arg in atom.args):
        return False
    return all(arg is other or dims.at_least(arg, 2) is True for arg in atom.args)


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


def symbols_of(dim: Dim) -> list[Atom]:
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


class Pickled:
    """An atom on its way through pickle."""

    def __init__(self, atom: Atom) -> None:
        self.atom = atom

    def __reduce__(self) -> tuple[object, ...]:
        atom = self.atom
        if atom.kind == "symbol":
            return functools.partial(dims.symbol, minimum=atom.low, maximum=atom.high), (atom.text,)
        if atom.kind == "formula":
            return _make_formula, (atom.args[0],)
        if atom.kind == "floordiv":
            return operator.floordiv, atom.args
        return extreme, (atom.kind, atom.args)


def _make_formula(size: Size) -> Size:
    return size


def restored(parts: tuple[tuple[int, tuple[Size, ...]], ...]) -> Size:
    """The dim that was pickled as factors and atoms."""
    total: Size = 0
    for factor, sizes in parts:
        total = dims.product(sizes) * factor + total
    return total
