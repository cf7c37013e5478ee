"""Limits that samples do not show: `x[:, :512]` is all of `x` at every sample below 512, and no constant of others.

What is true at every sample is taken for true where sizes are compared with sizes.  A constant in the
code may lie beyond the samples; what it cuts off is a node of the graph whatever the samples say, and
where it leaves a constant at all of them (`x[:, :5]`, `min(seq, 5)`), the sizes for which it does are a
constraint.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from exporter.capture.kernels import Outcome
    from exporter.capture.sizes import SizeNode

aten = torch.ops.aten

ENDLESS = 1 << 62  # beyond every size: the end of `x[1:]`

_ORDERINGS = {operator.lt, operator.le, operator.gt, operator.ge}
_MINIMUM, _MAXIMUM = min, max  # the builtins, which a recording replaces
_CUTTING = {_MINIMUM, _MAXIMUM, operator.mod, operator.floordiv}


def holds_beyond_samples(node: SizeNode) -> bool:
    """Whether a comparison that holds at every sample holds at every size, with no constant between them."""
    if node.operation not in _ORDERINGS and node.operation is not operator.eq:
        return True
    if any(map(_is_cut, node.operands)):
        return False
    first, second = (operand.values for operand in node.operands)
    if node.operation is operator.eq or len({a - b for a, b in zip(first, second, strict=True)}) == 1:
        return True
    literals = [operand.values[0] for operand in node.operands if operand.is_literal]
    return any(literal <= 1 or literal >= ENDLESS for literal in literals)


def may_cut(func: Any, args: Sequence[Any], sizes: Sequence[SizeNode]) -> bool:
    """Whether a call that changes nothing at any sample may change something at other sizes."""
    bounds = args[2:4] if func is aten.slice.Tensor else ()
    return any(type(bound) is int and 0 != bound < ENDLESS for bound in bounds) or any(map(_is_cut, sizes))


def limits_of(
    func: Any, args: Sequence[Any], sizes: Sequence[SizeNode], outcomes: Sequence[Outcome]
) -> Iterator[SizeNode]:  # fmt: skip
    """The comparisons of sizes under which a result has the constant size that it has at every sample."""
    if len(outcomes) == 1:
        return
    if func is aten.slice.Tensor:
        limit = _limit_of_slice(*args)
        if limit is not None:
            yield limit
    for size in sizes:
        constant = size.values[0]
        if size.is_literal or len(set(size.values)) > 1 or not _is_cut(size):
            continue
        if any(constant in spec.shape for outcome in outcomes for spec in outcome.specs):
            yield _where_constant(size)


def _limit_of_slice(tensor: Any, dim: int = 0, start: Any = None, end: Any = None, step: Any = 1) -> SizeNode | None:
    """Where `x[start:end]` by numbers is of a constant size: the size is at least that of the number farther in."""
    size = tensor.shape[dim]
    bounds = [bound for bound in (start, end) if bound is not None]
    if not isinstance(size, torch.SymInt) or step != 1 or any(type(bound) is not int for bound in bounds):
        return None
    lengths = {len(range(n)[start:end:step]) for n in size.node.values}
    if len(lengths) > 1:
        return None
    node: SizeNode = size.node
    farthest = node.wrap_int(max(abs(bound) for bound in bounds if bound < ENDLESS))
    return node.le(farthest) if lengths == {0} else node.ge(farthest)


def _where_constant(size: SizeNode) -> SizeNode:
    """The comparison that makes a minimum or maximum with a constant that constant; of anything else, that it is."""
    if size.operation in (_MINIMUM, _MAXIMUM):
        for operand, other in (size.operands, size.operands[::-1]):
            if other.is_literal and other.values == size.values:
                return operand.ge(other) if size.operation is _MINIMUM else operand.le(other)
    return size.eq(size.wrap_int(size.values[0]))


def _is_cut(size: SizeNode) -> bool:
    """Whether a size holds a minimum, a maximum or a rounding, which samples on one side of a limit do not show."""
    if size.operation is None or size.is_literal:
        return False
    return size.operation in _CUTTING or any(map(_is_cut, size.operands))
