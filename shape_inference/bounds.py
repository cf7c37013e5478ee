"""Proven bounds of polynomials, by interval arithmetic and by relaxing their atoms."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from shape_inference.polynomials import Atom, Monomial, Terms, add, multiply, terms_of, times, without

if TYPE_CHECKING:
    from shape_inference.dims import Size

__all__ = ["PROOF_DEPTH", "Range", "bounds", "extreme_range", "least_divisor", "quotient_range", "range_of"]

# How deep proofs go into nested floor divisions, minima and maxima.
PROOF_DEPTH = 6
# How many polynomials one proof may look at.
_TRIALS = 64
# Atoms that are always one of their sizes.
_EXTREMES = ("max", "min", "broadcast")

# The least and the greatest value; None where there is none, or none is known.
Range = tuple[int | None, int | None]


def range_of(size: Size) -> Range:
    """The bounds of a size."""
    return (size, size) if isinstance(size, int) else (size.minimum, size.maximum)


def bounds(terms: Terms, depth: int = PROOF_DEPTH) -> Range:
    """Proven bounds of a polynomial."""
    low = _least(terms, depth, [_TRIALS])
    least = _least({monomial: -factor for monomial, factor in terms.items()}, depth, [_TRIALS])
    return low, None if least is None else -least


def _least(terms: Terms, depth: int, trials: list[int]) -> int | None:
    """What a polynomial is never below; `trials` counts down how many polynomials are looked at."""
    low: int | None = 0
    composite = adds = takes = False
    for monomial, factor in terms.items():
        if not monomial:
            bound: int | None = 1
        else:
            if len(monomial) == 1:
                atom = monomial[0]
                bound = atom.low if factor > 0 else atom.high
                composite = composite or atom.kind != "symbol"
            else:
                bound = _monomial_range(monomial)[factor < 0]
                composite = composite or any(atom.kind != "symbol" for atom in monomial)
            adds, takes = adds or factor > 0, takes or factor < 0
        low = None if low is None or bound is None else low + factor * bound
    # Where nothing is taken from anything, nothing can cancel, and the atoms know their own bounds.
    if not (composite and adds and takes and depth and trials[0] > 0):
        return low
    trials[0] -= 1
    better = _by_cases(terms, depth, trials)
    if better is None:
        better = _without_divisions(terms, depth, trials)
    if better is None or (low is not None and low >= better):
        return low
    return better


def _monomial_range(monomial: Monomial) -> Range:
    low: int | None = 1
    high: int | None = 1
    for atom, group in itertools.groupby(monomial):
        power = sum(1 for _ in group)
        low, high = _product_range(low, high, *_power_range(atom.low, atom.high, power))
    return low, high


def _power_range(low: int | None, high: int | None, power: int) -> Range:
    if power == 1:
        return low, high
    lowest = None if low is None else low**power
    highest = None if high is None else high**power
    if power % 2 or (low is not None and low >= 0):
        return lowest, highest
    return 0, None if lowest is None or highest is None else max(lowest, highest)


def _product_range(a: int | None, b: int | None, c: int | None, d: int | None) -> Range:
    """The range of x*y for a <= x <= b and c <= y <= d."""
    if a is not None and c is not None and a >= 0 and c >= 0:
        return a * c, None if b is None or d is None else b * d
    if a is None or b is None or c is None or d is None:
        return None, None
    corners = (a * c, a * d, b * c, b * d)
    return min(corners), max(corners)


def _by_cases(terms: Terms, depth: int, trials: list[int]) -> int | None:
    """What a polynomial is never below, by the cases that a minimum, maximum or broadcast in it is one of its sizes.

    The polynomial is no less than in the worst of these cases. A maximum that only adds is at least each of its
    sizes, and a minimum that only takes away at most each: the best case counts then.
    """
    chosen = None
    for monomial in terms:
        chosen = next((atom for atom in monomial if atom.kind in _EXTREMES), None)
        if chosen is not None:
            break
    if chosen is None:
        return None
    uses = {monomial: factor for monomial, factor in terms.items() if chosen in monomial}
    rest = {monomial: factor for monomial, factor in terms.items() if chosen not in monomial}
    lows = []
    for size in chosen.args:
        case = rest
        for monomial, factor in uses.items():
            case = add(case, _replaced(monomial, chosen, size), factor)
        lows.append(_least(case, depth - 1, trials) if case else 0)
    if chosen.kind != "broadcast" and _only(uses, chosen, 1 if chosen.kind == "max" else -1):
        return max((low for low in lows if low is not None), default=None)
    return None if None in lows else min(low for low in lows if low is not None)


def _only(uses: Terms, atom: Atom, sign: int) -> bool:
    """Whether an atom occurs once in each term, with factors of this sign and others that are never negative."""
    for monomial, factor in uses.items():
        others = tuple([other for other in monomial if other is not atom])
        low = _monomial_range(others)[0]
        if factor * sign < 0 or len(others) != len(monomial) - 1 or low is None or low < 0:
            return False
    return True


def _replaced(monomial: Monomial, atom: Atom, size: Size) -> Terms:
    """A monomial with a size in place of an atom."""
    result: Terms = {(): 1}
    for other in monomial:
        result = multiply(result, terms_of(size) if other is atom else {(other,): 1})
    return result


def _without_divisions(terms: Terms, depth: int, trials: list[int]) -> int | None:
    """What a polynomial is never below, as each p // k lies within [(p - k + 1) / k, p / k]."""
    remainders = _without_remainders(terms)
    if remainders is not None:
        return _least(remainders, depth - 1, trials) if remainders else 0
    found: list[tuple[Monomial, int, Size, int, Monomial]] = []
    scale = 1
    for monomial, factor in terms.items():
        for place, atom in enumerate(monomial):
            below = atom.args[-1] if atom.kind == "floordiv" else None
            if not isinstance(below, int):
                continue
            others = monomial[:place] + monomial[place + 1 :]
            low = _monomial_range(others)[0]
            if low is not None and low >= 0:
                scale = math.lcm(scale, below)
                found.append((monomial, factor, atom.args[0], below, others))
                break
    if not found:
        return None
    scaled = {monomial: factor * scale for monomial, factor in terms.items()}
    for monomial, factor, above, below, others in found:
        bound = (above - (below - 1) if factor > 0 else above) * (scale // below)
        put = {times(others, part): value for part, value in terms_of(bound).items()}
        scaled = add(add(scaled, {monomial: factor * scale}, -1), put, factor)
    low = _least(scaled, depth - 1, trials) if scaled else 0
    return None if low is None else -(-low // scale)


def _without_remainders(terms: Terms) -> Terms | None:
    """A polynomial that is no greater, without one d*(p // d), which lies within [p - d + 1, p] for d > 0."""
    for monomial, factor in terms.items():
        for place, atom in enumerate(monomial):
            if atom.kind != "floordiv" or isinstance(atom.args[1], int):
                continue
            above, below = atom.args
            low = range_of(below)[0]
            ((divisor, scale), *more) = terms_of(below).items()
            others = without(monomial[:place] + monomial[place + 1 :], divisor)
            if more or others is None or low is None or low < 0 or factor % scale:
                continue
            rest = _monomial_range(others)[0]
            if rest is not None and rest >= 0:
                bound = terms_of(above - below + 1 if factor > 0 else above)
                put = {times(others, part): value for part, value in bound.items()}
                return add(add(terms, {monomial: factor}, -1), put, factor // scale)
    return None


def least_divisor(size: Size) -> int | None:
    """What a divisor, which is not 0, is never below; None if it may be negative."""
    low = range_of(size)[0]
    if low is None or low < 0:
        return None
    shared = math.gcd(*terms_of(size).values())
    return max(-(-low // shared) * shared, shared) if shared else None


def quotient_range(a: Size, b: Size) -> Range:
    """The range of a // b, which has no value where b is 0; nothing is known where b may be negative."""
    (a_low, a_high), b_low, b_high = range_of(a), least_divisor(b), range_of(b)[1]
    if b_low is None:
        return None, None
    low = high = None
    if a_low is not None:
        low = a_low // b_low if a_low < 0 else (0 if b_high is None else a_low // b_high)
    if a_high is not None:
        high = a_high // b_low if a_high >= 0 else (-1 if b_high is None else a_high // b_high)
    return low, high


def extreme_range(kind: str, sizes: tuple[Size, ...]) -> Range:
    """The range of a minimum, maximum or broadcast of these."""
    ranges = [range_of(size) for size in sizes]
    lows = [low for low, _ in ranges if low is not None]
    highs = [high for _, high in ranges if high is not None]
    least = min(lows) if len(lows) == len(sizes) else None
    greatest = max(highs) if len(highs) == len(sizes) else None
    if kind == "min":
        return least, min(highs, default=None)
    if kind == "max":
        return max(lows, default=None), greatest
    return least, greatest
