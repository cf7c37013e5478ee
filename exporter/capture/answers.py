"""What a recording answers when Python code asks: for a number, a truth, the value of a tensor."""

from __future__ import annotations

import functools
import math
import operator
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from exporter.capture.branching.branches import Undecided
from exporter.capture.branching.deciding import deciding_inputs
from exporter.capture.branching.idle import guards_nothing
from exporter.capture.branching.inert import is_in_message, is_inert
from exporter.capture.branching.layouts import settled_by_layout
from exporter.capture.data_dependence.counts import Counts, learn_count
from exporter.capture.data_dependence.element_counts import counts_elements
from exporter.capture.folding import FOLD_LIMIT
from exporter.capture.graph import Decision, Fork, live_nodes
from exporter.capture.known import ValueNeeded, inputs_with_sizes, known_values
from exporter.capture.loops.number_types import Globals, ask_for_numbers
from exporter.capture.memory import Memory
from exporter.capture.numbering import Numbering
from exporter.capture.sizes import Number, SizeNode
from exporter.capture.sources import Sources
from exporter.capture.tensors import RecordedTensor
from exporter.capture.torch_internals import size_from_node
from exporter.errors import CaptureError, DataDependentError

aten = torch.ops.aten

_TORCH = str(Path(torch.__file__).parent)
_PASSING_ON = (torch.__file__, str(Path(__file__).parent))  # `SymBool.__bool__`, and this package


# What is the same on integers of tensors of rank 0 and on sizes.
INTEGER_ARITHMETIC: dict[Any, Callable[[Any, Any], SizeNode]] = {
    aten.add.Tensor: lambda a, b: a._apply(operator.add, a, b),
    aten.sub.Tensor: lambda a, b: a._apply(operator.sub, a, b),
    aten.rsub.Scalar: lambda a, b: a._apply(operator.sub, b, a),
    aten.rsub.Tensor: lambda a, b: a._apply(operator.sub, b, a),
    aten.mul.Tensor: lambda a, b: a._apply(operator.mul, a, b),
}
# What stands for integers that nobody knows, each for another: two small ones, as such numbers mostly are, one of
# them even, and a large one, so that `max(n, 100)` is no constant.  A float is 0.3 more: no integer, and what it is
# cut off to differs between the samples.
_UNKNOWN = [(3, 8, 607), (5, 4, 613), (4, 9, 617), (7, 6, 619), (6, 3, 631), (8, 5, 641), (9, 2, 643), (2, 7, 647)]


def _samples(kind: Number, count: int) -> tuple[Number, ...]:
    """What stands for the next number of a kind that depends on values."""
    if isinstance(kind, bool):
        return True, False, True
    turn, place = divmod(count, len(_UNKNOWN))
    numbers = tuple(number + 10 * turn for number in _UNKNOWN[place])
    return numbers if isinstance(kind, int) else tuple(number + 0.3 for number in numbers)


_COMPARISONS = {operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge}


class Answers(Memory, Sources):
    """The part of the recorder that sizes and tensors turn to; its attributes are the recorder's."""

    decisions: list[Decision]
    known_values: dict[fx.Node, tuple[Any, ...] | None]
    answers: Sequence[bool] | None
    forks: list[Fork]
    numbering: Numbering
    examples: dict[str, torch.Tensor]
    counts: Counts
    equal_counts: Counts
    least_counts: dict[tuple[int, ...], int]
    layouts: Set[str]
    identified: set[str]
    opened: dict[int, SizeNode]
    sizes: dict[fx.Node, SizeNode]
    symbolic_in: Sequence[Globals] | None = None  # the modules whose `int` and `float` are symbolic, where that may be
    _quiet: bool

    if TYPE_CHECKING:

        def record(self, target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> fx.Node:
            """Add a node."""

    # Sizes: what the nodes of SymInts ask.

    def decide(self, node: SizeNode, *, in_python: bool = False) -> bool:
        """The example's answer; noted, unless torch's own code asks for an equality that holds at every sample or none.

        What the user's own Python code, not torch's, decides by a size that depends on values is noted too.
        What does nothing where the condition is false is done at every size.
        """
        if not self._quiet:
            frame = self.user_frame() if in_python else None
            if frame is not None and guards_nothing(frame):
                return True
            if node.data:
                if (known := settled_by_layout(self, node)) is not None:
                    return known
                settled = _answer_for_sizes(node)
                if settled is not None:
                    if in_python and _is_asked_by_user():
                        self.decisions.append(Decision(node, self.source(), fixed=False))
                    return settled
                self.need_values(node)
                return self._answer(node)
            varies = len(set(node.values)) > 1 or node.operation not in (operator.eq, operator.ne)
            if (varies or (in_python and _is_asked_by_user())) and not _is_of_strides(node):
                frame = self.user_frame()
                if frame is None or not is_inert(frame):
                    self.decisions.append(Decision(node, self.source(), fixed=False))
        return bool(node.values[0])

    def _answer(self, node: SizeNode) -> bool:
        """The answer to a decision by values: one that was given, the same each time that the same is asked."""
        error = self.data_dependent("a condition on a size that depends on values", node)
        if self.answers is None:
            raise error
        question = self.numbering.of_size(node)
        known = next((i for i, fork in enumerate(self.forks) if fork.question == question), None)
        if known is not None:
            return self.answers[known]
        if len(self.forks) == len(self.answers):
            raise Undecided(error)
        condition = None if self.is_inside else self.graph_node(node)
        self.forks.append(Fork(question, condition, len(self.graph.nodes)))
        answer = self.answers[len(self.forks) - 1]
        learn_count(self, node, answer)
        return answer

    def fix(self, node: SizeNode) -> Number:
        """The example's value; noted, but where a message alone is made of it."""
        frame = self.user_frame()
        if frame is not None and is_in_message(frame):
            return node.values[0]
        if node.data:
            self.need_values(node)
            ask_for_numbers(self.user_frame(), self.symbolic_in)
            raise self.data_dependent("a number needed from a size that depends on values", node)
        if not self._quiet:
            is_known = len(set(node.values)) == 1
            if not is_known:
                ask_for_numbers(self.user_frame(), self.symbolic_in)
            asked = node.compared(operator.eq, int(node.values[0])) if is_known and node.is_int() else node
            self.decisions.append(Decision(asked, self.source(), fixed=not is_known))
        return node.values[0]

    def need_values(self, node: SizeNode) -> None:
        """Ask for the values of the inputs that hold the sizes which a number was left open for, if there are such.

        Raises:
            ValueNeeded: there are.
        """
        stack: list[Any] = [node]
        while stack:
            size = stack.pop()
            if not isinstance(size, SizeNode) or size.is_literal:
                continue
            if size.operation is not None:
                stack.extend(size.operands)
                continue
            for item in live_nodes(self.graph, [size.operands[0]]):
                held = item.args[0] if item.target is aten._local_scalar_dense.default else None
                if isinstance(held, fx.Node) and (needed := inputs_with_sizes(self, held)):
                    raise ValueNeeded(needed)

    def fix_count(self, node: SizeNode, parts: Sequence[torch.Tensor]) -> None:
        """Note that a size is fixed at the example's value, in as many parts as there are."""
        nodes = tuple(self.node_of(self.tensor(part)) for part in parts)
        self.decisions.append(Decision(node, self.source(), fixed=True, parts=nodes))

    def limit(self, sizes: Iterable[SizeNode], parts: Sequence[torch.Tensor | fx.Node]) -> None:
        """Note the comparisons that hold at every sample and on which some parts of the graph rely."""
        for size in sizes:
            if not size.data:
                nodes = tuple(p if isinstance(p, fx.Node) else self.node_of(self.tensor(p)) for p in parts)
                self.decisions.append(Decision(size, self.source(), fixed=False, parts=nodes))

    def graph_node(self, node: SizeNode) -> fx.Node:
        """The node that computes a size, added where it is first used."""
        if node.cached is None:
            if node.operation is None:
                tensor, axis = node.operands
                with self.at([tensor]):
                    node.cached = self._stride(node) if axis is not None and axis < 0 else self._extent(tensor, axis)
            else:
                operands = [_literal_or_size(operand) for operand in node.operands]
                with self.at([self.graph_node(operand) for operand in operands if isinstance(operand, SizeNode)]):
                    node.cached = self.record(node.operation, operands, {})
            node.cached.meta["values"] = node.values
            self.sizes[node.cached] = node
            if node.data:
                node.cached.meta["data"] = True
        return node.cached

    def _extent(self, tensor: fx.Node, axis: int | None) -> fx.Node:
        return tensor if axis is None else self.record(aten.sym_size.int, (tensor, axis), {})

    def _stride(self, node: SizeNode) -> fx.Node:
        """The product of the sizes behind an axis, counted as -1 - axis: its stride, where the memory is row-major.

        Raises:
            CaptureError: it is another number at a sample.
        """
        tensor, axis = node.operands
        (column,) = tensor.meta["specs"]
        behind = [spec.shape[-axis:] for spec in column]
        if any(math.prod(sizes) != stride for sizes, stride in zip(behind, node.values, strict=True)):
            raise CaptureError(
                "stride(): there is no formula for the stride of a tensor that is not contiguous",
                hint="compute with sizes instead",
                source=str(self.source() or ""),
            )
        extents = [self._extent(tensor, place) for place in range(-axis, len(column[0].shape))]
        return functools.reduce(lambda a, b: self.record(operator.mul, (a, b), {}), extents)

    def data_dependent(self, what: str, size: SizeNode | None = None) -> DataDependentError:
        """The error for Python code that needs a value which only a run could tell; `size` computes it."""
        error = DataDependentError(
            f"{what}: the graph cannot hold a Python decision that depends on a tensor's values",
            hint="use torch.where for values, torch.cond for a branch, torch.while_loop for a loop",
            source=str(self.source() or ""),
        )
        if size is not None:
            error.inputs, error.layouts = deciding_inputs(self, size)
        return error

    def scalar(self, tensor: RecordedTensor) -> Any:
        """`tensor.item()`: the number where it is known, else a symbolic one."""
        value = self.value_of(tensor)
        if value is not None:
            return value.item()
        if (numbers := self._numbers(tensor)) is not None:
            return numbers
        if needed := inputs_with_sizes(self, self.node_of(tensor), alone=False):
            raise ValueNeeded(needed)
        return self.open_number(tensor)

    def named_number(self, tensor: RecordedTensor, samples: tuple[int, ...]) -> Any:
        """A symbolic number that an input holds, which is a dim of the user's: it answers as the sizes do."""
        node = self.record(aten._local_scalar_dense.default, (tensor,), {})
        return size_from_node(SizeNode(self, samples, None, (node, None)))

    def open_number(self, tensor: RecordedTensor) -> Any:
        """A symbolic number for what a tensor of one element holds, whatever that may be.

        The same value is the same number, and a sum of integers is the sum of their numbers.
        """
        return size_from_node(self._opened(self.node_of(tensor)))

    def _opened(self, node: fx.Node) -> SizeNode:
        """The number that a node holds; what it is added to, and was not asked for before, is open itself."""
        size = self._open_size(node)
        if size is None and (start := _moved(node)) is not None:
            self._opened(start)
            size = self._open_size(node)
        if size is None:
            item = self.record(aten._local_scalar_dense.default, (node,), {})
            samples = _samples(torch.empty((), dtype=node.meta["specs"][0][0].dtype).item(), len(self.opened))
            size = SizeNode(self, samples, None, (item, None), data=True)
        self.opened[self.numbering.of(node)] = size
        return size

    def _open_size(self, node: fx.Node) -> SizeNode | None:
        """The number that a node holds, where it was asked for before or is computed from such integers."""
        known = self.opened.get(self.numbering.of(node))
        if known is not None or node.target not in INTEGER_ARITHMETIC or node.kwargs:
            return known
        (column,) = node.meta["specs"]
        if column[0].shape or column[0].dtype.is_floating_point or len(node.args) != 2:
            return None
        operands = [self._operand(argument) for argument in node.args]
        size = next((operand for operand in operands if isinstance(operand, SizeNode)), None)
        if size is None or None in operands:
            return None
        first, second = (size.wrap_int(operand) if type(operand) is int else operand for operand in operands)
        result: SizeNode = INTEGER_ARITHMETIC[node.target](first, second)
        return result

    def _operand(self, argument: Any) -> SizeNode | int | None:
        """An operand of arithmetic on tensors of rank 0, as a number."""
        if not isinstance(argument, fx.Node):
            return argument if type(argument) is int else None
        if "values" in argument.meta:
            return self.sizes.get(argument)
        return self._open_size(argument)

    def _numbers(self, tensor: RecordedTensor) -> Any:
        """The number in a tensor that depends on sizes alone, a symbolic one where the samples disagree."""
        node = self.node_of(tensor)
        values = known_values(self, node)
        if values is None:
            return None
        numbers = tuple(value.item() for value in values)
        if len(set(numbers)) == 1 and (len(numbers) == 1 or type(numbers[0]) is not bool):
            return numbers[0]
        item = self.record(aten._local_scalar_dense.default, (tensor,), {})
        return size_from_node(SizeNode(self, numbers, None, (item, None)))

    def value_of(self, tensor: RecordedTensor) -> torch.Tensor | None:
        """The real tensor, where it is small and depends on no input."""
        if tensor.constant is not None:
            return tensor.constant
        node = self.node_of(tensor)
        if node.op == "get_attr" and tensor.numel() <= FOLD_LIMIT:
            real = self.state[str(node.target)]
            return None if real.is_meta else real.detach().reshape(tuple(tensor.shape))
        return None


def _literal_or_size(operand: Any) -> Any:
    """What stands for an operand of a size."""
    return operand.values[0] if isinstance(operand, SizeNode) and operand.is_literal else operand


def _moved(node: fx.Node) -> fx.Node | None:
    """What an integer of rank 0 is, but for a number that is added to it; None where it is computed otherwise."""
    if node.target not in (aten.add.Tensor, aten.sub.Tensor) or node.kwargs:
        return None
    start, number = node.args
    if not isinstance(start, fx.Node) or type(number) is not int or "specs" not in start.meta:
        return None
    (column,) = start.meta["specs"]
    return None if column[0].shape or column[0].dtype.is_floating_point or column[0].dtype == torch.bool else start


def _is_asked_by_user() -> bool:
    """Whether the `if` is in code outside torch."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PASSING_ON):
        frame = frame.f_back
    return not frame.f_code.co_filename.startswith(_TORCH)


def _answer_for_sizes(node: SizeNode) -> bool | None:
    """The answer to a comparison of sizes that depend on values, where every size above 1 gives the same.

    Sizes that are equal at all samples are equal.  Against 0 and 1, a size that depends on values counts
    as neither, as in torch.export: code that treats them apart does so for speed, or where nothing is left
    to do, and what holds for many holds for them.  A question about strides is torch's own, and decides
    nothing that a graph holds.
    """
    if _is_of_strides(node):
        return bool(node.values[0])
    if node.operation not in _COMPARISONS or len(set(node.values)) > 1:
        return None
    first, second = node.operands
    if not (_is_of_sizes(first) and _is_of_sizes(second)):
        return None
    if node.operation in (operator.eq, operator.ne) and (_is_added(first, second) or _is_added(second, first)):
        return bool(node.values[0])  # what values decide and is added counts as more than 0
    trivial = any(operand.is_literal and operand.values[0] in (0, 1) for operand in (first, second))
    is_order = node.operation not in (operator.eq, operator.ne)
    if trivial and is_order and any(operand.operation is operator.sub for operand in (first, second)):
        return None  # `wanted - count > 0` asks which is more
    return bool(node.values[0]) if trivial or first.values == second.values else None


def _is_of_strides(node: Any) -> bool:
    """Whether a stride of a tensor takes part in a number."""
    if not isinstance(node, SizeNode) or node.is_literal:
        return False
    if node.operation is None:
        return node.operands[1] is not None and node.operands[1] < 0
    return any(map(_is_of_strides, node.operands))


def _is_added(start: SizeNode, end: SizeNode) -> bool:
    """Whether a number is another one and something, as the end of a part is."""
    return end.operation is operator.add and any(operand is start for operand in end.operands)


def _is_of_sizes(node: Any) -> bool:
    """Whether a number was computed from sizes of tensors, and counts of elements, alone."""
    if not isinstance(node, SizeNode) or node.is_literal:
        return True
    if node.operation is None:
        return node.operands[1] is not None or counts_elements(node.operands[0])
    return all(map(_is_of_sizes, node.operands))
