"""Polynomials with integer factors over atoms: what a `Dim` is made of.

A polynomial is a dict from monomials to factors; a monomial is a sorted tuple of atoms, one entry
a power, and () is the constant. An atom is what cannot be multiplied out: a named symbol, a floor
division, a minimum, a maximum, a broadcast, or a formula that was too long and got a name.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shape_inference.dims import Size

__all__ = [
    "MAX_TERMS",
    "Atom",
    "Monomial",
    "Terms",
    "add",
    "common_factor",
    "content",
    "leading",
    "lone_atom",
    "multiply",
    "ordered",
    "quotient",
    "split_mods",
    "terms_of",
    "times",
    "without",
]

# Products with more terms do not multiply out.
MAX_TERMS = 48

_ages = itertools.count()


class Atom:
    """What cannot be multiplied out.

    Attributes:
        kind: "symbol", "formula", "floordiv", "min", "max" or "broadcast".
        args: What it is made of; none for a symbol.
        text: How it prints.
        low: What it is never below, if that is known.
        high: What it is never above, if that is known.
        weight: How many leaves it prints.
    """

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
        self.kind = kind
        self.args = args
        self.text = text
        self.low = low
        self.high = high
        self.weight = weight
        self.order = (kind != "symbol", text, next(_ages))


Monomial = tuple[Atom, ...]
Terms = dict[Monomial, int]


def terms_of(size: Size) -> Terms:
    """The polynomial of a size; a number is a constant one."""
    if isinstance(size, int):
        return {(): size} if size else {}
    return size._terms


def lone_atom(terms: Terms) -> Atom | None:
    """The atom that a polynomial is, if it is one."""
    if len(terms) == 1:
        ((monomial, factor),) = terms.items()
        if factor == 1 and len(monomial) == 1:
            return monomial[0]
    return None


def add(a: Terms, b: Terms, factor: int = 1) -> Terms:
    """Return a + factor * b."""
    terms = dict(a)
    for monomial, value in b.items():
        total = terms.get(monomial, 0) + factor * value
        if total:
            terms[monomial] = total
        else:
            del terms[monomial]
    return terms


def multiply(a: Terms, b: Terms) -> Terms:
    """Return a * b, multiplied out."""
    terms: Terms = {}
    for left, left_factor in a.items():
        for right, right_factor in b.items():
            monomial = times(left, right)
            total = terms.get(monomial, 0) + left_factor * right_factor
            if total:
                terms[monomial] = total
            else:
                del terms[monomial]
    return terms


def _order(atom: Atom) -> tuple[bool, str, int]:
    return atom.order


def times(a: Monomial, b: Monomial) -> Monomial:
    """Return the product of two monomials."""
    if not a:
        return b
    if not b:
        return a
    return tuple(sorted(a + b, key=_order))


def without(monomial: Monomial, divisor: Monomial) -> Monomial | None:
    """Return monomial / divisor, or None where that leaves a fraction."""
    left = list(monomial)
    for atom in divisor:
        if atom not in left:
            return None
        left.remove(atom)
    return tuple(left)


def common_factor(monomials: Iterable[Monomial]) -> Monomial:
    """The greatest monomial that divides all of these (at least one)."""
    iterator = iter(monomials)
    shared = list(next(iterator))
    for monomial in iterator:
        if not shared:
            break
        rest = list(monomial)
        kept = []
        for atom in shared:
            if atom in rest:
                rest.remove(atom)
                kept.append(atom)
        shared = kept
    return tuple(shared)


def content(terms: Terms) -> int:
    """The greatest common divisor of all factors but the constant."""
    return math.gcd(*(factor for monomial, factor in terms.items() if monomial))


def _rank(monomial: Monomial) -> tuple[int, list[tuple[bool, str, int]]]:
    return (-len(monomial), [atom.order for atom in monomial])


def leading(terms: Terms) -> Monomial:
    """The first monomial: of the highest degree, then by names."""
    return min(terms, key=_rank)


def quotient(a: Terms, b: Terms) -> Terms | None:
    """Return a / b where that is a polynomial with integer factors, by long division."""
    head = leading(b)
    rest = dict(a)
    result: Terms = {}
    for _ in range(2 * MAX_TERMS):
        if not rest:
            return result
        top = leading(rest)
        monomial = without(top, head)
        factor, remainder = divmod(rest[top], b[head])
        if monomial is None or remainder:
            return None
        result[monomial] = result.get(monomial, 0) + factor
        rest = add(rest, {times(monomial, other): value for other, value in b.items()}, -factor)
    return None


def ordered(terms: Terms) -> Iterator[tuple[Monomial, int]]:
    """The terms as people write them: positive first, high degrees first; not the constant."""
    for sign in (1, -1):
        found = [item for item in terms.items() if item[1] * sign > 0 and item[0]]
        found.sort(key=lambda item: _rank(item[0]))
        yield from found


def split_mods(terms: Terms) -> tuple[list[tuple[int, Atom]], Terms]:
    """Take each c*p - c*k*(p // k) out of a sum, as c*(p % k): pairs of c and p // k, and the rest."""
    found: list[tuple[int, Atom]] = []
    rest = terms
    for monomial, factor in terms.items():
        if len(monomial) != 1 or monomial[0].kind != "floordiv" or rest.get(monomial) != factor:
            continue
        above, below = monomial[0].args
        if below == 2 and not isinstance(above, int) and factor < 0:
            upper = _upper_half(rest, above)
            if upper is not None and rest[upper] >= -factor:  # (p + 1) // 2 - p // 2 is p % 2
                found.append((-factor, monomial[0]))
                rest = add(add(rest, {monomial: factor}, -1), {upper: factor})
                continue
        if isinstance(above, int) or not isinstance(below, int) or factor % below:
            continue
        count = -factor // below
        scaled = {m: count * value for m, value in above._terms.items() if m}
        if all(_covers(rest.get(m, 0), value) for m, value in scaled.items()):
            found.append((count, monomial[0]))
            rest = add(add(rest, {monomial: factor}, -1), above._terms, -count)
    return found, rest


def _upper_half(terms: Terms, size: Size) -> Monomial | None:
    """Where (size + 1) // 2 is in a sum."""
    for monomial in terms:
        if len(monomial) == 1 and monomial[0].kind == "floordiv":
            above, below = monomial[0].args
            if below == 2 and not isinstance(above, int) and above is not size and above - 1 is size:
                return monomial
    return None


def _covers(whole: int, part: int) -> bool:
    return abs(whole) >= abs(part) and whole * part > 0
