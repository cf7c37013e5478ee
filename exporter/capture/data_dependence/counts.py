"""Sizes that values decide: what stands for them at each sample, and what they turn out to be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from exporter.capture.calls import Call, at_sample
from exporter.capture.graph import live_nodes
from exporter.capture.known import ValueNeeded, inputs_with_sizes
from exporter.capture.sizes import SAMPLES, SizeNode
from exporter.capture.tensors import RecordedTensor

if TYPE_CHECKING:
    from exporter.capture.answers import Answers
    from exporter.capture.recorder import Recorder

aten = torch.ops.aten

Counts = dict[Any, tuple[int, ...]]  # what tells which value decides -> the count at each sample

# Sample counts: primes, so that no two of them, nor their small multiples, are taken for one another.
_PRIMES = list(
    zip(
        [11, 17, 23, 31, 41, 47, 59, 67, 73, 83, 97, 103, 109, 127, 137, 149, 157, 167, 179, 191],
        [13, 19, 29, 37, 43, 53, 61, 71, 79, 89, 101, 107, 113, 131, 139, 151, 163, 173, 181, 193],
        [5003, 5009, 5011, 5021, 5023, 5039, 5051, 5059, 5077, 5081, 5087, 5099, 5101, 5107, 5113, 5119, 5147, 5153,
         5167, 5171],
        strict=True,
    )
)  # fmt: skip


def counts_of(recorder: Recorder, values: RecordedTensor | fx.Node) -> tuple[int, ...]:
    """What stands at each sample for the number that a tensor's values decide; the same for the same values."""
    node = recorder.node_of(values) if isinstance(values, RecordedTensor) else values
    counts = counts_for(recorder, recorder.numbering.of(node))
    if isinstance(values, RecordedTensor) and values.dtype is torch.bool and node.target is aten.bitwise_not.default:
        left = counts_of(recorder, node.all_input_nodes[0])
        whole = tuple(math.prod(at_sample(values, sample).shape) for sample in range(SAMPLES))
        recorder.opposites |= {counts: (left, whole), left: (counts, whole)}
    return counts


def counts_for(recorder: Recorder, key: Any) -> tuple[int, ...]:
    """What stands for a size that nobody knows; no other has the same.

    One sample is small and one is large, so that `min(count, 300)` is no constant.
    """
    if key not in recorder.counts:
        turn, place = divmod(len(recorder.counts), len(_PRIMES))
        some, few, many = _PRIMES[place]
        recorder.counts[key] = some + 331 * turn, few, many + 331 * turn
    return recorder.equal_counts.get(key) or recorder.counts[key]


class CountsEqual(BaseException):
    """The model works only for some numbers of elements that a mask chooses; nothing may catch it.

    Attributes:
        key: what tells which mask, the same in every recording.
        values: such numbers, one a sample.
    """

    def __init__(self, key: Any, values: tuple[int, ...]) -> None:
        super().__init__(key, values)
        self.key, self.values = key, values


def learn_count(recorder: Answers, comparison: SizeNode, answer: bool) -> None:
    """After `count < 5` was answered, go on with samples that the answer is true of, and with what it is at the least.

    Raises:
        CountsEqual: the samples of the one count that is compared are other ones so far.
    """
    taken = {*recorder.counts.values(), *recorder.equal_counts.values()}
    leaves = {tuple(map(int, leaf.values)) for leaf in _leaves(comparison)}
    if len(leaves) != 1 or not leaves <= taken:
        return
    (count,) = leaves
    fitting = [number for number in range(_MOST_TRIED) if _is_true(comparison, number) is answer]
    recorder.least_counts[count] = max(fitting[0] if fitting else 0, recorder.least_counts.get(count, 0))
    guesses = _guesses(recorder)
    if {*map(bool, comparison.values)} == {answer} or count not in guesses:
        return
    many = [number for number in fitting if number > 1]
    for place in range(len(many) if len(many) > 1 else 0):
        values = tuple(many[(place + step) % len(many)] for step in range(SAMPLES))
        if values not in taken:
            raise CountsEqual(guesses[count], values)


_MOST_TRIED = 2000


def _leaves(size: SizeNode) -> Iterator[SizeNode]:
    """The sizes that a number is computed from."""
    if size.operation is None:
        yield size
    elif not size.is_literal:
        for operand in size.operands:
            yield from _leaves(operand)


def _is_true(comparison: SizeNode, count: int) -> bool | None:
    """What a comparison gives where the size in it is `count`; None where there is no such number."""
    try:
        return bool(_at(comparison, count))
    except ZeroDivisionError:
        return None


def _at(size: SizeNode, count: int) -> Any:
    """What a number is where the size that it is computed from is `count`."""
    if size.is_literal:
        return size.values[0]
    if size.operation is None:
        return count
    return size.operation(*(_at(operand, count) for operand in size.operands))


def ask_for_counts(recorder: Recorder, call: Call) -> None:
    """After a call failed, look for a size by values that stands where another one, or a multiple, does.

    Raises:
        ValueNeeded: inputs that hold sizes tell them.
        CountsEqual: there is such a size, and what it is taken for is no more than a guess so far.
        DataDependentError: masks and kinds tell them, whose values may be fixed.
    """
    if recorder.answers is None:
        return
    before = live_nodes(recorder.graph, [recorder.node_of(tensor) for tensor in call.tensors])
    by_values = [node for node in before if "data" in node.meta]
    for node in by_values:
        if needed := inputs_with_sizes(recorder, node):
            raise ValueNeeded(needed)
    for size in call.sizes:
        if size.data:
            recorder.need_values(size)
    guesses = _guesses(recorder)
    _ask_for_reshaped(call, guesses)
    _ask_for_split(call, guesses)
    for a, b in combinations(call.tensors, 2):
        for pair in zip(reversed(_columns(a)), reversed(_columns(b)), strict=False):
            if pair[0] == pair[1] or 1 in (pair[0][0], pair[1][0]):
                continue
            for one, other in (pair, pair[::-1]):
                if one in guesses:
                    raise CountsEqual(guesses[one], other)
    for size in (recorder.sizes[node] for node in by_values if node in recorder.sizes):
        error = recorder.data_dependent("a call that takes only some sizes, which depend on values", size)
        if error.inputs:
            raise error


def _guesses(recorder: Answers) -> dict[tuple[int, ...], Any]:
    """The counts that are no more than guesses, some of them known to be multiples, and what tells which they are."""
    found = {}
    for key, guess in recorder.counts.items():
        count = recorder.equal_counts.get(key, guess)
        if all(number % prime == 0 for number, prime in zip(count, guess, strict=True)):
            found[count] = key
    return found


RESHAPES = {aten.view.default, aten.reshape.default, aten._unsafe_view.default}


def _ask_for_reshaped(call: Call, guesses: Mapping[tuple[int, ...], Any]) -> None:
    """`x[mask].view(2, 3, 4)` works only where the mask chooses six rows, and `view(2, -1, 4)` where they are even.

    Raises:
        CountsEqual: the call puts elements in other sizes, and a guess decides how many they are.
    """
    if call.func not in RESHAPES:
        return
    tensor, target = call.args[:2]
    columns = _columns(tensor)
    guess = next((column for column in columns if column in guesses), None)
    if guess is None:
        return
    counts = []
    for sample in range(SAMPLES):
        sizes = at_sample(target, sample)
        row = math.prod(column[sample] for column in columns) // guess[sample]
        known = math.prod(size for size in sizes if size != -1)
        if not row or not known or (-1 not in sizes and known % row):
            return
        multiple = math.lcm(guess[sample], known // math.gcd(known, row))
        counts.append(multiple if -1 in sizes else known // row)
    if tuple(counts) != guess:
        raise CountsEqual(guesses[guess], tuple(counts))


_SPLITS = {aten.split_with_sizes.default, aten.split.sizes}


def _ask_for_split(call: Call, guesses: Mapping[tuple[int, ...], Any]) -> None:
    """`x[mask].split([2, 3])` works only where the mask chooses five rows.

    Raises:
        CountsEqual: a guess decides how many they are.
    """
    if call.func in _SPLITS:
        tensor, sizes, *dim = call.args
        column = _columns(tensor)[dim[0] if dim else 0]
        if column in guesses:
            raise CountsEqual(guesses[column], tuple(sum(at_sample(sizes, sample)) for sample in range(SAMPLES)))


def _columns(tensor: RecordedTensor) -> list[tuple[int, ...]]:
    """Each size of a tensor at all samples."""
    return [tuple(at_sample(tensor, sample).shape[axis] for sample in range(SAMPLES)) for axis in range(tensor.ndim)]
