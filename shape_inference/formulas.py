"""Dims as text, and folded through an algebra: what a formula looks like from outside."""

from __future__ import annotations

import ast
import functools
import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from shape_inference.polynomials import (
    Atom,
    Monomial,
    Terms,
    common_factor,
    lone_atom,
    ordered,
    split_mods,
    terms_of,
    without,
)

if TYPE_CHECKING:
    from shape_inference.dims import Dim, Size

__all__ = ["Algebra", "Fold", "NotAFormula", "Reader", "operand_text", "text_of"]

T = TypeVar("T")


class Algebra(Protocol[T]):
    """What `Dim.lower` folds an expression through."""

    def constant(self, value: int) -> T:
        """A number."""
        ...

    def symbol(self, dim: Dim) -> T:
        """A named size."""
        ...

    def add(self, a: T, b: T) -> T:
        """The sum."""
        ...

    def sub(self, a: T, b: T) -> T:
        """The difference."""
        ...

    def mul(self, a: T, b: T) -> T:
        """The product."""
        ...

    def floordiv(self, a: T, b: T) -> T:
        """The quotient, rounded down."""
        ...

    def mod(self, a: T, b: T) -> T:
        """The remainder, of the sign of b."""
        ...

    def min(self, a: T, b: T) -> T:
        """The lesser."""
        ...

    def max(self, a: T, b: T) -> T:
        """The greater."""
        ...


class Fold:
    """Folds sizes through an algebra; what occurs twice is folded once.

    Args:
        algebra: What to fold through.
        dim_of: Makes the dim of a symbol.
        stretch: What a broadcast folds to; max(a, b) * min(a, b, 1) where it is not given.
    """

    def __init__(
        self,
        algebra: Algebra[Any],
        dim_of: Callable[[Atom], Dim],
        stretch: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        self._algebra = algebra
        self._dim_of = dim_of
        self._stretch = stretch
        self._sizes: dict[int, Any] = {}
        self._atoms: dict[Atom, Any] = {}

    def size(self, size: Size) -> Any:
        """Fold a size."""
        if isinstance(size, int):
            return self._algebra.constant(size)
        key = id(size)
        if key not in self._sizes:
            self._sizes[key] = self._sum(size._terms)
        return self._sizes[key]

    def _sum(self, terms: Terms) -> Any:
        algebra = self._algebra
        mods, rest = split_mods(terms)
        parts = []
        for monomial, factor in ordered(rest):
            parts.append((factor, functools.reduce(algebra.mul, map(self._atom, monomial))))
        for factor, atom in mods:
            parts.append((factor, algebra.mod(self.size(atom.args[0]), self.size(atom.args[1]))))
        parts.sort(key=lambda part: part[0] < 0)
        constant = rest.get((), 0)
        if not parts:
            return algebra.constant(constant)
        total: Any = None
        if parts[0][0] < 0 and constant:
            total, constant = algebra.constant(constant), 0
        for factor, value in parts:
            scale = factor if total is None else abs(factor)
            scaled = value if scale == 1 else algebra.mul(value, algebra.constant(scale))
            if total is None:
                total = scaled
            else:
                total = algebra.sub(total, scaled) if factor < 0 else algebra.add(total, scaled)
        if constant > 0:
            return algebra.add(total, algebra.constant(constant))
        return algebra.sub(total, algebra.constant(-constant)) if constant else total

    def _atom(self, atom: Atom) -> Any:
        if atom not in self._atoms:
            self._atoms[atom] = self._folded(atom)
        return self._atoms[atom]

    def _folded(self, atom: Atom) -> Any:
        algebra = self._algebra
        if atom.kind == "symbol":
            return algebra.symbol(self._dim_of(atom))
        args = [self.size(size) for size in atom.args]
        if atom.kind == "formula":
            return args[0]
        if atom.kind == "floordiv":
            return algebra.floordiv(*args)
        if atom.kind == "min":
            return functools.reduce(algebra.min, args)
        if atom.kind == "broadcast" and self._stretch is not None:
            return functools.reduce(self._stretch, args)
        greatest = functools.reduce(algebra.max, args)
        if atom.kind == "max":
            return greatest
        # The sizes are equal or 1, so that max * min(…, 1) is 0 where one of them is 0.
        return algebra.mul(greatest, functools.reduce(algebra.min, args, algebra.constant(1)))


# -- printing ------------------------------------------------------------------------------------


def text_of(terms: Terms) -> str:
    """Print a polynomial as people write it, with what all terms share in front."""
    shared = common_factor(terms)
    if len(terms) == 1 or not shared:
        return _sum_text(terms)
    factor = math.gcd(*terms.values())
    inner = {without(monomial, shared) or (): value // factor for monomial, value in terms.items()}
    scale = "" if factor == 1 else f"{factor}*"
    return f"{scale}{_product_text(shared)}*({_sum_text(inner)})"


def _sum_text(terms: Terms) -> str:
    mods, rest = split_mods(terms)
    # Each part: its factor, its text beside a sum, its text beside a product.
    parts = [(factor, _lone_text(monomial), _product_text(monomial)) for monomial, factor in ordered(rest)]
    for factor, atom in mods:
        text = f"{operand_text(atom.args[0])} % {operand_text(atom.args[1])}"
        parts.append((factor, text, f"({text})"))
    parts.sort(key=lambda part: part[0] < 0)
    constant = rest.get((), 0)
    if constant > 0 and parts and parts[0][0] < 0:
        parts.insert(0, (constant, "", ""))
    elif constant or not parts:
        parts.append((constant, "", ""))
    pieces: list[str] = []
    for factor, loose, tight in parts:
        first = not pieces
        sign = ("-" if factor < 0 else "") if first else ("- " if factor < 0 else "+ ")
        if not tight:
            word = str(abs(factor))
        elif abs(factor) != 1:
            word = f"{abs(factor)}*{tight}"
        else:
            word = tight if first and factor < 0 else loose
        pieces.append(sign + word)
    return " ".join(pieces)


def _lone_text(monomial: Monomial) -> str:
    return monomial[0].text if len(monomial) == 1 else _product_text(monomial)


def _product_text(monomial: Monomial) -> str:
    words = []
    for atom, group in itertools.groupby(monomial):
        power = sum(1 for _ in group)
        text = f"({atom.text})" if atom.kind == "floordiv" else atom.text
        words.append(text if power == 1 else f"{text}**{power}")
    return "*".join(words)


def operand_text(size: Size) -> str:
    """Print a size as an operand of // or %."""
    if isinstance(size, int):
        return str(size) if size >= 0 else f"({size})"
    atom = lone_atom(terms_of(size))
    loose = atom is None or atom.kind == "floordiv"
    return f"({size.value})" if loose else size.value


# -- reading -------------------------------------------------------------------------------------


class NotAFormula(ValueError):
    """A text that is no formula, and so the name of a symbol."""


class Reader:
    """Reads a syntax tree as a size over a positive number.

    Args:
        symbol: What a name stands for.
        functions: How to compute "ceil" of two sizes, and "min", "max" and "broadcast".
    """

    def __init__(self, symbol: Callable[[str], Size], functions: dict[str, Callable[[Size, Size], Size]]) -> None:
        self._symbol = symbol
        self._functions = functions

    def read(self, tree: ast.expr) -> tuple[Size, int]:
        """Read a tree.

        Raises:
            NotAFormula: It holds anything but integer arithmetic.
            ZeroDivisionError: It divides by zero.
        """
        if isinstance(tree, ast.Constant) and type(tree.value) is int:
            return tree.value, 1
        if isinstance(tree, ast.Name):
            return self._symbol(tree.id), 1
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, (ast.USub, ast.UAdd)):
            over, under = self.read(tree.operand)
            return (-over if isinstance(tree.op, ast.USub) else over), under
        if isinstance(tree, ast.BinOp):
            return self._binary(tree.op, *self.read(tree.left), *self.read(tree.right))
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and not tree.keywords:
            return self._call(tree.func.id.lower(), [self.read(arg) for arg in tree.args])
        raise NotAFormula

    def _binary(self, op: ast.operator, a: Size, a_under: int, b: Size, b_under: int) -> tuple[Size, int]:
        if isinstance(op, ast.Add):
            return _reduced(a * b_under + b * a_under, a_under * b_under)
        if isinstance(op, ast.Sub):
            return _reduced(a * b_under - b * a_under, a_under * b_under)
        if isinstance(op, ast.Mult):
            return _reduced(a * b, a_under * b_under)
        if isinstance(op, ast.Div) and isinstance(b, int):
            return _reduced(a * (b_under if b > 0 else -b_under), a_under * abs(b))
        if isinstance(op, (ast.Div, ast.FloorDiv)):
            return (a * b_under) // (b * a_under), 1
        if isinstance(op, ast.Mod) and a_under == b_under == 1:
            return a % b, 1
        if isinstance(op, ast.Pow) and isinstance(b, int) and b_under == 1 and 0 <= b <= 16:
            return math.prod([a] * b), a_under**b
        raise NotAFormula

    def _call(self, name: str, args: list[tuple[Size, int]]) -> tuple[Size, int]:
        functions = self._functions
        if len(args) == 1:
            ((over, under),) = args
            if name in ("floor", "int", "trunc"):
                return over // under, 1
            if name in ("ceil", "ceiling"):
                return functions["ceil"](over, under), 1
        if name in ("min", "max", "broadcast") and args:
            under = math.lcm(*(below for _, below in args))
            return functools.reduce(functions[name], (over * (under // below) for over, below in args)), under
        if len(args) == 2 and args[0][1] == args[1][1] == 1:
            (a, _), (b, _) = args
            if name == "mod":
                return a % b, 1
            if name == "floordiv":
                return a // b, 1
            if name in ("ceildiv", "ceil_div"):
                return functions["ceil"](a, b), 1
        raise NotAFormula


def _reduced(over: Size, under: int) -> tuple[Size, int]:
    """A fraction as a whole number, where it is one."""
    if under == 0:
        raise ZeroDivisionError("division by zero")
    whole = all(factor % under == 0 for factor in terms_of(over).values())
    return (over // under, 1) if whole else (over, under)
