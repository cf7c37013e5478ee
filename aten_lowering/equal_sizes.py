"""One formula for sizes that are equal, found by their values at many points.

Shape rules give exact formulas, and two of them may be equal without looking it: a feature map that is
padded to whole windows and cut back has `min(7*((h + 24) // 28), h // 4)`, which is `h // 4`.  Proofs
of that are costly; values are not.  Formulas that agree at every point are taken for one, where the
points are small sizes, at which rounding shows, and random ones (Schwartz and Zippel's test, after which
two polynomials of degree d differ unseen at a random point of n values with a chance of d/n).  What these
take for equal must be so at sizes in a row too: `(w + 7) // 32` and `(w + 15) // 32` differ at a fourth of all.

A point is left out where it makes a tensor of the model empty: the model has no such size.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from shape_inference import Dim, Size, TensorType, Type, larger, smaller

__all__ = ["EqualSizes"]

_SMALL, _RANDOM, _LARGEST = 10, 22, 2**20
_ROW = 128  # sizes in a row: every remainder of a division by up to as many


class EqualSizes:
    """The sizes of one model, each by its values at the points."""

    def __init__(self) -> None:
        self._values: dict[Dim, tuple[int, ...]] = {}
        self._rows: dict[Dim, tuple[int, ...]] = {}
        self._chosen: dict[tuple[int, ...], Dim] = {}
        self._result: dict[Dim, Size] = {}
        self._kept = list(range(_SMALL + _RANDOM))
        self._present: set[Dim] = set()

    def simplest(self, size: Size) -> Size:
        """The first formula that was seen of those equal to `size`; a number where it is always the same."""
        if isinstance(size, int):
            return size
        known = self._result.get(size)
        if known is None:
            known = self._result[size] = self._choose(size)
        return known

    def in_type(self, inferred: Type | None) -> Type | None:
        """The type with the simplest formula of each of its sizes."""
        if not isinstance(inferred, TensorType):
            return inferred
        shape, content = inferred.shape, inferred.content
        if shape is not None and any(type(size) is not int for size in shape):
            shape = tuple(map(self.simplest, shape))
        if content is not None and any(type(item) is Dim for item in content):
            content = tuple(self.simplest(item) if type(item) is Dim else item for item in content)
        if shape is inferred.shape and content is inferred.content:
            return inferred
        return TensorType(inferred.dtype, shape, content)

    def present(self, sizes: Sequence[Size]) -> None:
        """Say that a tensor of the model has these sizes: at no size of the model is it empty."""
        for size in sizes:
            if isinstance(size, int) or size in self._present:
                continue
            self._present.add(size)
            values = self._at_points(size)
            kept = [point for point in self._kept if values[point] > 0]
            if len(kept) < len(self._kept) and len(kept) > _RANDOM // 2:
                self._kept = kept
                self._result.clear()
                self._chosen = {self._key(dim): dim for dim in reversed(self._chosen.values())}

    def _choose(self, size: Dim) -> Size:
        key = self._key(size)
        if len(set(key)) == 1:
            return key[0]
        known = self._chosen.get(key)
        if known is not None and self._row(size) != self._row(known):
            key = (*key, *self._row(size))
            known = self._chosen.get(key)
        if known is None:
            decided = size.lower(_Decided(self))
            known = self._chosen[key] = decided if type(decided) is Dim else size
        return known

    def least(self, a: Size, b: Size) -> Size | None:
        """Which of the two is never above the other, or None."""
        pairs = [*zip(self._key_of(a), self._key_of(b), strict=True), *zip(self._row(a), self._row(b), strict=True)]
        if all(x <= y for x, y in pairs):
            return a
        return b if all(x >= y for x, y in pairs) else None

    def _key_of(self, size: Size) -> tuple[int, ...]:
        return (size,) * len(self._kept) if isinstance(size, int) else self._key(size)

    def _key(self, size: Dim) -> tuple[int, ...]:
        values = self._at_points(size)
        return tuple(values[point] for point in self._kept)

    def _at_points(self, size: Dim) -> tuple[int, ...]:
        known = self._values.get(size)
        if known is None:
            known = self._values[size] = size.lower(_Points(_scattered, _SMALL + _RANDOM))
        return known

    def _row(self, size: Size) -> tuple[int, ...]:
        """The values where every symbol goes through sizes in a row, each in an order of its own."""
        if isinstance(size, int):
            return (size,) * _ROW
        known = self._rows.get(size)
        if known is None:
            known = self._rows[size] = size.lower(_Points(_in_a_row, _ROW))
        return known


class _Decided:
    """The algebra of sizes themselves, in which a minimum or maximum that is always one side is that side."""

    def __init__(self, sizes: EqualSizes) -> None:
        self.sizes = sizes

    def constant(self, value: int) -> Size:
        return value

    def symbol(self, dim: Dim) -> Size:
        return dim

    def add(self, a: Size, b: Size) -> Size:
        return a + b

    def sub(self, a: Size, b: Size) -> Size:
        return a - b

    def mul(self, a: Size, b: Size) -> Size:
        return a * b

    def floordiv(self, a: Size, b: Size) -> Size:
        return a // b

    def mod(self, a: Size, b: Size) -> Size:
        return a % b

    def min(self, a: Size, b: Size) -> Size:
        least = self.sizes.least(a, b)
        return smaller(a, b) if least is None else least

    def max(self, a: Size, b: Size) -> Size:
        least = self.sizes.least(a, b)
        return larger(a, b) if least is None else b if least is a else a


def _bounds(dim: Dim) -> tuple[int, int]:
    """The least and the largest size of a symbol that are tried."""
    low = dim.minimum or 0
    return low, dim.maximum if dim.maximum is not None else max(_LARGEST, 2 * low)


def _scattered(dim: Dim) -> tuple[int, ...]:
    """Small sizes and random ones, within the bounds of the symbol; the same for the same name."""
    low, high = _bounds(dim)
    draw = random.Random(str(dim))
    small = draw.sample(range(low, low + _SMALL), _SMALL)
    # One in each range of magnitudes, so that a limit in a minimum or maximum lies between some of them.
    parts = [(i + draw.random()) / _RANDOM for i in range(_RANDOM)]
    draw.shuffle(parts)
    values = small + [low + int((high - low + 1) ** part) - 1 for part in parts]
    return tuple(min(value, high) for value in values)


def _in_a_row(dim: Dim) -> tuple[int, ...]:
    """Sizes that follow one another, within the bounds of the symbol, in any order; the same for the same name."""
    low, high = _bounds(dim)
    draw = random.Random(f"{dim} in a row")
    first = draw.randint(low, max(high - _ROW, low))
    return tuple(min(first + i, high) for i in draw.sample(range(_ROW), _ROW))


class _Points:
    """The algebra of values at every point at once; `draw` gives those of a symbol, `count` of them."""

    def __init__(self, draw: Callable[[Dim], tuple[int, ...]], count: int) -> None:
        self.symbol, self.count = draw, count

    def constant(self, value: int) -> tuple[int, ...]:
        return (value,) * self.count

    def add(self, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(x + y for x, y in zip(a, b, strict=True))

    def sub(self, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(x - y for x, y in zip(a, b, strict=True))

    def mul(self, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(x * y for x, y in zip(a, b, strict=True))

    def floordiv(self, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(x // y if y else 0 for x, y in zip(a, b, strict=True))

    def mod(self, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(x % y if y else 0 for x, y in zip(a, b, strict=True))

    def min(self, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(map(min, a, b))

    def max(self, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(map(max, a, b))
