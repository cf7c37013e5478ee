"""Proven bounds of polynomials, by interval arithmetic and by relaxing their atoms."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from shape_inference.polynomials import Atom, Monomial, Terms, add, terms_of, times

if TYPE_CHECKING:
    from shape_inference.dims import Size

__all__ = ["PROOF_DEPTH", "Range", "bounds", "extreme_range", "quotient_range", "range_of"]

# How deep proofs go into nested floor divisions, minima and maxima.
PROOF_DEPTH = 6
# How many ways to relax the minima and maxima of one polynomial are tried, at one depth and in all.
_CHOICES = 6
_TRIALS = 24

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
    """What a polynomial is never below; `trials` counts down how many relaxations are left."""
    low: int | None = 0
    relaxable = False
    for monomial, factor in terms.items():
        if len(monomial) == 1:
            atom = monomial[0]
            bound = atom.low if factor > 0 else atom.high
            relaxable = relaxable or atom.kind != "symbol"
        elif monomial:
            bound = _monomial_range(monomial)[factor < 0]
            relaxable = relaxable or any(atom.kind != "symbol" for atom in monomial)
        else:
            bound = 1
        low = None if low is None or bound is None else low + factor * bound
    if relaxable and depth and len(terms) > 1:
        relaxed = _relaxed(terms, depth, trials)
        if relaxed is not None and (low is None or relaxed > low):
            return relaxed
    return low


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


def _relaxed(terms: Terms, depth: int, trials: list[int]) -> int | None:
    """What a polynomial is never below with each atom put at what it is known to be near.

    p // k lies within [(p - k + 1) / k, p / k]; a maximum with a positive factor is at least each
    of its arguments, a minimum with a negative one at most each: each is tried alone.
    """
    scale = 1
    found: list[tuple[Monomial, int, Atom, Monomial]] = []
    for monomial, factor in terms.items():
        place = _relaxable(monomial, factor)
        if place is None:
            continue
        atom = monomial[place]
        if atom.kind == "floordiv":
            scale = math.lcm(scale, int(atom.args[1]))  # type: ignore[arg-type]  # `_relaxable` saw an int
        found.append((monomial, factor, atom, monomial[:place] + monomial[place + 1 :]))
    if not found:
        return None
    choices: list[Terms] = [{monomial: factor * scale for monomial, factor in terms.items()}]
    for monomial, factor, atom, others in found:
        choices = [
            _replaced(choice, monomial, factor, others, bound, scale)
            for choice in choices
            for bound in _relaxations(atom, factor, scale)
        ][:_CHOICES]
    best: int | None = None
    for choice in choices:
        if trials[0] <= 0:
            break
        trials[0] -= 1
        low = _least(choice, depth - 1, trials) if choice else 0
        if low is not None and (best is None or -(-low // scale) > best):
            best = -(-low // scale)
    return best


def _relaxable(monomial: Monomial, factor: int) -> int | None:
    """The place of an atom that a relaxation can replace, the others being no less than 0."""
    for place, atom in enumerate(monomial):
        if atom.kind == "floordiv":
            if not isinstance(atom.args[1], int):
                continue
        elif atom.kind != ("max" if factor > 0 else "min"):
            continue
        others = monomial[:place] + monomial[place + 1 :]
        low = _monomial_range(others)[0]
        if low is not None and low >= 0:
            return place
    return None


def _relaxations(atom: Atom, factor: int, scale: int) -> list[Size]:
    """What scale * atom is at least (factor > 0) or at most (factor < 0)."""
    if atom.kind != "floordiv":
        return [size * scale for size in atom.args]
    above, below = atom.args
    assert isinstance(below, int)
    bound = above - (below - 1) if factor > 0 else above
    return [bound * (scale // below)]


def _replaced(terms: Terms, monomial: Monomial, factor: int, others: Monomial, bound: Size, scale: int) -> Terms:
    """The terms with `bound` in place of an atom of `monomial`."""
    put = {times(others, part): value for part, value in terms_of(bound).items()}
    return add(add(terms, {monomial: factor * scale}, -1), put, factor)


def quotient_range(a: Size, b: Size) -> Range:
    """The range of a // b, which has no value where b is 0; nothing is known where b may be negative."""
    (a_low, a_high), (b_low, b_high) = range_of(a), range_of(b)
    if b_low is None or b_low < 0:
        return None, None
    b_low = max(b_low, 1)
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
