"""Sizes that values decide: what stands for them at each sample, and what they turn out to be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from exporter.capture.calls import Call, at_sample
from exporter.capture.graph import live_nodes
from exporter.capture.known import ValueNeeded, inputs_with_sizes
from exporter.capture.sizes import SAMPLES
from exporter.capture.tensors import RecordedTensor

if TYPE_CHECKING:
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
    return counts_for(recorder, recorder.numbering.of(node))


def counts_for(recorder: Recorder, key: Any) -> tuple[int, ...]:
    """What stands for a size that nobody knows; no other has the same.

    One sample is small and one is large, so that `min(count, 300)` is no constant.
    """
    known = recorder.equal_counts.get(key) or recorder.counts.get(key)
    if known is None:
        turn, place = divmod(len(recorder.counts), len(_PRIMES))
        some, few, many = _PRIMES[place]
        known = recorder.counts[key] = (some + 331 * turn, few, many + 331 * turn)
    return known


class CountsEqual(BaseException):
    """The model works only for some numbers of elements that a mask chooses; nothing may catch it.

    Attributes:
        key: what tells which mask, the same in every recording.
        values: such numbers, one a sample.
    """

    def __init__(self, key: Any, values: tuple[int, ...]) -> None:
        super().__init__(key, values)
        self.key, self.values = key, values


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
        if needed := inputs_with_sizes(node, recorder.examples):
            raise ValueNeeded(needed)
    for size in call.sizes:
        if size.data:
            recorder.need_values(size)
    guesses = {values: key for key, values in recorder.counts.items() if key not in recorder.equal_counts}
    _ask_for_multiples(guesses, call)
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


def _ask_for_multiples(guesses: Mapping[tuple[int, ...], Any], call: Call) -> None:
    """After `x[mask].reshape(-1, 4 * n)` failed, let the mask choose a multiple of 4."""
    if call.func not in _RESHAPES or -1 not in call.args[1] or any(type(size) is not int for size in call.args[1]):
        return
    row = math.prod(size for size in call.args[1] if size != -1)
    for column in _columns(call.tensors[0]):
        rest = math.prod(call.tensors[0].specs[0].shape) // max(column[0], 1)
        factor = row // math.gcd(row, rest)
        if column in guesses and factor > 1:
            raise CountsEqual(guesses[column], tuple(factor * count for count in column))


_RESHAPES = {aten.view.default, aten.reshape.default, aten._unsafe_view.default}


def _columns(tensor: RecordedTensor) -> list[tuple[int, ...]]:
    """Each size of a tensor at all samples."""
    return [tuple(at_sample(tensor, sample).shape[axis] for sample in range(SAMPLES)) for axis in range(tensor.ndim)]
