"""Limits that samples do not show: `x[:, :512]` is all of `x` at every sample below 512, and no constant of others.

What is true at every sample is taken for true where sizes are compared with sizes.  A constant in the
code may lie beyond the samples: what it cuts off is a node of the graph whatever the samples say, and
where it leaves a constant at all of them (`x[:, :5]`, `min(seq, 5)`), that size stays a symbolic number,
here and in what is computed from it.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

if TYPE_CHECKING:
    from exporter.capture.sizes import SizeNode

aten = torch.ops.aten

ENDLESS = 1 << 62  # beyond every size: the end of `x[1:]`

_ORDERINGS = {operator.lt, operator.le, operator.gt, operator.ge}
_CUTTING = {min, max, operator.mod, operator.floordiv}


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


def limited_sizes(func: Any, args: Sequence[Any], sizes: Sequence[SizeNode], nodes: Iterable[fx.Node]) -> set[int]:
    """The sizes above 1 of a call's results that are constant at every sample, and may be others elsewhere.

    Args:
        func: what is called.
        args: its arguments.
        sizes: the sizes among them.
        nodes: of the tensors among them; each has such sizes of its own in its meta, as `limited`.
    """
    found = {int(size.values[0]) for size in sizes if len(set(size.values)) == 1 and _is_cut(size)}
    if func is aten.slice.Tensor:
        found |= _constant_of_slice(*args)
    return found.union(*(node.meta["limited"] for node in nodes if "limited" in node.meta)) - {0, 1}


def _constant_of_slice(tensor: Any, dim: int = 0, start: Any = None, end: Any = None, step: Any = 1) -> set[int]:
    """The size of `x[start:end]`, where it is constant, and the size of x or a bound is not."""
    given = [tensor.shape[dim], start, end, step]
    numbers = [number.node if isinstance(number, torch.SymInt) else number for number in given]
    nodes = [number for number in numbers if hasattr(number, "values")]
    if not nodes or (nodes[0] is not numbers[0] and not any(map(_is_cut, nodes))):
        return set()
    lengths = set()
    for sample in range(len(nodes[0].values)):
        size, *bounds = (number.values[sample] if number in nodes else number for number in numbers)
        lengths.add(len(range(size)[slice(*bounds)]))
    return lengths if len(lengths) == 1 else set()


def _is_cut(size: SizeNode) -> bool:
    """Whether a size holds a minimum, a maximum or a rounding, which samples on one side of a limit do not show."""
    if size.operation is None or size.is_literal:
        return False
    return size.operation in _CUTTING or any(map(_is_cut, size.operands))
