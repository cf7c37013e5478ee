"""How many elements there are of each kind, as `bincount` tells: code goes through them as through sizes."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

aten = torch.ops.aten

_SAME_VALUES = {
    aten.view.default, aten.reshape.default, aten.flatten.using_ints, aten.contiguous.default, aten.clone.default,
    aten.to.dtype, aten._to_copy.default, aten.unsqueeze.default, aten.squeeze.dim, aten.permute.default,
    aten.transpose.int, aten.detach.default,
}  # fmt: skip
_PARTS = {
    aten.unbind.int, aten.select.int, aten.slice.Tensor, aten.pad.default, aten.index_select.default,
    operator.getitem, aten._local_scalar_dense.default, *_SAME_VALUES,
}  # fmt: skip
# Overload -> which of its results are places along a dim, which is the argument at a place or -1.
_PLACES = {
    aten.topk.default: (1, 2),
    aten.sort.default: (1, 1),
    aten.argmax.default: (None, 1),
    aten.argsort.default: (None, 1),
    aten.max.dim: (1, 1),
}


def counts_elements(node: fx.Node) -> bool:
    """Whether a value is one of a `bincount`, or several of them."""
    while node.op == "call_function" and node.target in _PARTS:
        node = node.all_input_nodes[0]
    return node.target is aten.bincount.default


def with_all_kinds(counts: torch.Tensor, node: fx.Node | None) -> torch.Tensor:
    """The counts of as many kinds as there may be, none of the last ones: `bincount()` ends at the last that occurs.

    Args:
        counts: what a node holds.
        node: that node; where it is no `bincount` of places along a static dim, the counts are as they are.
    """
    if node is None or node.target is not aten.bincount.default:
        return counts
    kinds = _kinds(node.args[0])
    return counts if kinds is None else F.pad(counts, (0, kinds)).index_select(0, torch.arange(kinds))


def _kinds(node: Any) -> int | None:
    """The size of the dim that a node's values are places along; None for another node."""
    while node.target in _SAME_VALUES:
        node = node.args[0]
    result = None
    if node.target is operator.getitem:
        node, result = node.args
    expected, place = _PLACES.get(node.target, (-1, 0))
    if result != expected:
        return None
    dim = node.args[place] if len(node.args) > place else node.kwargs.get("dim", -1)
    if type(dim) is not int:
        return None
    sizes = {spec.shape[dim] for spec in node.args[0].meta["specs"][0]}
    return sizes.pop() if len(sizes) == 1 else None
