"""Orthogonal polynomials of a degree that is a tensor: Chebyshev's, Hermite's, Laguerre's, Legendre's.

Each family is its polynomial of degree 1 and the recurrence from two degrees to the next, run in doubles
to the largest degree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value
from aten_lowering.elementwise import any_of, broadcast, repeat_while, truncated, wide
from aten_lowering.promotion import Operand, float_type, promoted
from aten_lowering.registry import lowers
from aten_lowering.rules.creations import filled_like

aten = torch.ops.aten

_DOUBLE = ir.DataType.DOUBLE

First = Callable[[Builder, Value], Value]
Next = Callable[[Builder, Value, Value, Value, Value], Value]


def _twice(op: Builder, x: Value) -> Value:
    return op.Mul(x, 2)


def _chebyshev(op: Builder, x: Value, degree: Value, now: Value, before: Value) -> Value:
    """`2 x p_k - p_(k - 1)`."""
    return op.Sub(op.Mul(op.Mul(x, 2), now), before)


def _hermite_of_physics(op: Builder, x: Value, degree: Value, now: Value, before: Value) -> Value:
    """`2 x p_k - 2 k p_(k - 1)`."""
    return op.Mul(op.Sub(op.Mul(x, now), op.Mul(degree, before)), 2)


def _hermite_of_probability(op: Builder, x: Value, degree: Value, now: Value, before: Value) -> Value:
    """`x p_k - k p_(k - 1)`."""
    return op.Sub(op.Mul(x, now), op.Mul(degree, before))


def _laguerre(op: Builder, x: Value, degree: Value, now: Value, before: Value) -> Value:
    """`((2 k + 1 - x) p_k - k p_(k - 1)) / (k + 1)`."""
    factor = op.Sub(op.Add(op.Mul(degree, 2), 1), x)
    return op.Div(op.Sub(op.Mul(factor, now), op.Mul(degree, before)), op.Add(degree, 1))


def _legendre(op: Builder, x: Value, degree: Value, now: Value, before: Value) -> Value:
    """`((2 k + 1) x p_k - k p_(k - 1)) / (k + 1)`."""
    factor = op.Mul(op.Add(op.Mul(degree, 2), 1), x)
    return op.Div(op.Sub(op.Mul(factor, now), op.Mul(degree, before)), op.Add(degree, 1))


# The packet, whose overloads are default, x_scalar and n_scalar; degree 1; the recurrence; whether x is 2 x - 1.
FAMILIES: list[tuple[Any, First, Next, bool]] = [
    (aten.special_hermite_polynomial_h, _twice, _hermite_of_physics, False),
    (aten.special_hermite_polynomial_he, lambda op, x: x, _hermite_of_probability, False),
    (aten.special_laguerre_polynomial_l, lambda op, x: op.Sub(1, x), _laguerre, False),
    (aten.special_legendre_polynomial_p, lambda op, x: x, _legendre, False),
]
CHEBYSHEV: dict[str, First] = {
    "t": lambda op, x: x,
    "u": _twice,
    "v": lambda op, x: op.Sub(op.Mul(x, 2), 1),
    "w": lambda op, x: op.Add(op.Mul(x, 2), 1),
}
for _kind, _first in CHEBYSHEV.items():
    FAMILIES.append((getattr(aten, f"special_chebyshev_polynomial_{_kind}"), _first, _chebyshev, False))
    FAMILIES.append((getattr(aten, f"special_shifted_chebyshev_polynomial_{_kind}"), _first, _chebyshev, True))


def _family(packet: Any, first: First, following: Next, shifted: bool) -> None:
    @lowers(packet.default, packet.x_scalar, packet.n_scalar)
    def rule(op: Builder, x: Operand, n: Operand) -> Value:
        kind = float_type([x, n])
        at, degree = broadcast(op, *(wide(op, value) for value in promoted(op, x, n, to=kind)))
        at = op.Sub(op.Mul(at, 2), 1) if shifted else at
        degree = op.Where(op.Less(op.Abs(degree), 2.0**63), truncated(op, degree), op.constant(-1.0, _DOUBLE))
        return op.cast(_of_degree(op, at, degree, first, following), kind)


def _of_degree(op: Builder, x: Value, degree: Value, first: First, following: Next) -> Value:
    """The polynomial of each element's degree; 0 where that is negative or no number."""

    def climb(
        inner: Builder, result: Value, now: Value, before: Value, k: Value
    ) -> tuple[Value, Sequence[Value]]:  # fmt: skip
        result = inner.Where(inner.Equal(degree, k), now, result)
        higher = following(inner, x, k, now, before)
        return any_of(inner, inner.Greater(degree, k)), (result, higher, now, inner.Add(k, 1))

    one = filled_like(op, x, 1.0, _DOUBLE)
    start = op.Where(op.Less(degree, 0), op.constant(0.0, _DOUBLE), one)
    return repeat_while(op, [start, first(op, x), one, op.constant(1.0, _DOUBLE)], climb)[0]


for _packet, _one, _next, _shifted in FAMILIES:
    _family(_packet, _one, _next, _shifted)
