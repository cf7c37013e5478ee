"""Which nodes compute the same: `attention_mask.sum()`, taken again in every layer, is one value."""

from __future__ import annotations

from typing import Any

from torch import fx

from exporter.capture.sizes import SizeNode
from exporter.capture.torch_internals import is_random


class Numbering:
    """Numbers nodes so that those with one number hold the same value (value numbering)."""

    def __init__(self) -> None:
        self._numbers: dict[fx.Node, int] = {}
        self._known: dict[Any, int] = {}

    def of(self, node: fx.Node) -> int:
        """The number of a node."""
        stack = [node]
        while stack:
            item = stack[-1]
            open_inputs = [given for given in item.all_input_nodes if given not in self._numbers]
            if open_inputs:
                stack.extend(open_inputs)
                continue
            stack.pop()
            if item not in self._numbers:
                self._numbers[item] = self._known.setdefault(self._key(item), len(self._known))
        return self._numbers[node]

    def of_size(self, size: Any) -> Any:
        """What is equal for sizes, numbers and truths that are computed in the same way.

        Sizes that values decide are equal where they are at all samples.
        """
        if not isinstance(size, SizeNode):
            return size
        if size.operation is None:
            tensor, axis = size.operands
            return size.values if size.data and axis is not None else (self.of(tensor), axis)
        return size.operation, *map(self.of_size, size.operands)

    def _key(self, node: fx.Node) -> Any:
        if node.op == "get_attr":
            return "state", node.target
        if node.op != "call_function" or "graphs" in node.meta or is_random(node.target):
            return node
        return node.target, self._frozen(node.args), self._frozen(node.kwargs)

    def _frozen(self, argument: Any) -> Any:
        """An argument as something that can be compared and hashed; numbers of unlike kinds stay apart."""
        if isinstance(argument, fx.Node):
            return "node", self._numbers[argument]
        if isinstance(argument, (list, tuple)):
            return tuple(map(self._frozen, argument))
        if isinstance(argument, dict):
            return tuple((name, self._frozen(item)) for name, item in sorted(argument.items()))
        return type(argument), str(argument)
