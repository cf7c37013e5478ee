"""Calls whose result sizes depend on values: what each returns at every sample, by overload.

`OUTCOMES` is the table.  A count that nobody knows is a number of its own at each sample (`counts.py`).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from exporter.capture.calls import Call, at_sample, meta_at
from exporter.capture.data_dependence.counts import counts_for, counts_of
from exporter.capture.data_dependence.packed import packed, padded
from exporter.capture.data_dependence.unbacked import Result, unbacked_result
from exporter.capture.kernels import Outcome, call_meta, outcome_of, stretched
from exporter.capture.known import known_values
from exporter.capture.limits import ENDLESS
from exporter.capture.sizes import SAMPLES, SizeNode
from exporter.capture.tensors import RecordedTensor, Spec
from exporter.capture.torch_internals import outside_modes

if TYPE_CHECKING:
    from exporter.capture.recorder import Recorder

aten = torch.ops.aten


def outcomes_by_values(recorder: Recorder, call: Call) -> list[Outcome] | None:
    """The outcome at each sample of a call whose result sizes depend on values; None for any other."""
    outcomes = OUTCOMES.get(call.func)
    if outcomes is not None:
        return outcomes(recorder, call)
    result = unbacked_result(call.func)
    return None if result is None else _chosen(recorder, result, call)


def depends_on_values(call: Call) -> bool:
    """Whether what a call returns is of a size that values decide, be it as it may with its arguments."""
    return is_unbacked(call.func) or _has_mask(call) or call.has_open_number


def is_unbacked(func: Any) -> bool:
    """Whether the sizes of what an overload returns depend on values."""
    return unbacked_result(func) is not None


def _chosen(recorder: Recorder, result: Result, call: Call) -> list[Outcome]:
    """A count of its own for what the values decide."""
    outcomes = []
    for sample, count in enumerate(_counts_of_call(recorder, call)):
        metas = [meta_at(argument, sample) for argument in call.args]
        given = {name: meta_at(argument, sample) for name, argument in call.kwargs.items()}
        tensors = [meta for meta in metas if isinstance(meta, torch.Tensor)]
        outcomes.append(outcome_of(result(count, *metas, **given), tensors))
    return outcomes


_MASKS = {  # overload -> which argument is the mask, whose true elements are counted
    aten.nonzero.default: 0,
    aten.argwhere.default: 0,
    aten.nonzero_numpy.default: 0,
    aten.where.default: 0,
    aten.masked_select.default: 1,
}
_REPEATS = {aten.repeat_interleave.Tensor: 0, aten.repeat_interleave.self_Tensor: 1}  # which is summed up


def _counts_of_call(recorder: Recorder, call: Call) -> tuple[int, ...]:
    """How many elements a call chooses at each sample, the same for calls that choose as many."""
    if call.func in _MASKS:
        return counts_of(recorder, call.args[_MASKS[call.func]])

    def number(argument: Any) -> Any:
        is_tensor = type(argument) is RecordedTensor
        return recorder.numbering.of(recorder.node_of(argument)) if is_tensor else str(argument)

    if call.func in _REPEATS:
        return counts_for(recorder, ("repeats", number(call.args[_REPEATS[call.func]])))
    return counts_for(recorder, (call.func.name(), *map(number, call.args)))


def known_choice(recorder: Recorder, call: Call) -> Any:
    """What a call chooses of values that no input decides; else None."""
    if call.sizes or not is_unbacked(call.func):
        return None

    def real(argument: Any) -> Any:
        if type(argument) is not RecordedTensor:
            return argument
        if argument.constant is not None:
            return argument.constant
        values = known_values(recorder, recorder.node_of(argument))
        if values is None or len(values) > 1:
            raise LookupError
        return values[0]

    try:
        args, kwargs = [real(argument) for argument in call.args], {name: real(a) for name, a in call.kwargs.items()}
    except LookupError:
        return None
    with outside_modes():
        return call.func(*args, **kwargs)


def _by_masks(recorder: Recorder, call: Call) -> list[Outcome] | None:
    """`x[mask]`: each mask stands for as many integer indices as it has dims."""
    source, indices = call.args
    masks = [index for index in indices if _is_mask(index)]
    if not masks:
        return None
    others = [index for index in indices if type(index) is RecordedTensor and index.ndim and not _is_mask(index)]
    outcomes = []
    for sample in range(SAMPLES):
        expanded: list[Any] = []
        # What stands beside integer indices, or another mask, must choose as many as these say.
        beside = {at_sample(index, sample).shape[-1] for index in others} - {1}
        count = beside.pop() if beside else counts_of(recorder, masks[0])[sample]
        for index in indices:
            if _is_mask(index):
                expanded += [Spec((count,), (1,), torch.int64)] * index.ndim
            else:
                expanded.append(at_sample(index, sample))
        outcomes.append(call_meta(call.func, [at_sample(source, sample), expanded], {}))
    return outcomes


def with_places(recorder: Recorder, func: Any, args: Sequence[Any]) -> Sequence[Any]:
    """`x[mask]` and `x[mask] = y` with each mask that is known as the places where it is true."""
    if func not in _INDEXED or not any(map(_is_known_mask, args[1])):
        return args
    indices: list[Any] = []
    for index in args[1]:
        places = index.constant.nonzero(as_tuple=True) if _is_known_mask(index) else None
        indices += [index] if places is None else map(recorder.fresh_constant, places)
    return [args[0], indices, *args[2:]]


_INDEXED = {
    aten.index.Tensor, aten._unsafe_index.Tensor, aten.index_put.default, aten._unsafe_index_put.default,
    aten.index_put_.default,
}  # fmt: skip


def _is_known_mask(index: Any) -> bool:
    is_mask = type(index) is RecordedTensor and index.dtype in (torch.bool, torch.uint8)
    return is_mask and index.constant is not None and index.ndim > 0


def _has_mask(call: Call) -> bool:
    """Whether this is an indexing call with a mask among its indices."""
    return call.func in (aten.index.Tensor, aten._unsafe_index.Tensor) and any(map(_is_mask, call.args[1]))


def _is_mask(index: Any) -> bool:
    return type(index) is RecordedTensor and index.dtype in (torch.bool, torch.uint8)


def _sliced(recorder: Recorder, call: Call) -> list[Outcome] | None:
    """`x[start:end]` by bounds that depend on values: taken to lie inside, so that x[:n] has the size n.

    `boxes[:100]` is of as many boxes as there are, at most 100: no sample may make that 100, or all of them.
    """
    given: list[Any] = [*call.args, *(0, None, None, 1)[len(call.args) - 1 :]]
    tensor, dim, start, end, step = given
    size = tensor.shape[dim]
    by_numbers = all(type(bound) in (int, type(None)) for bound in (start, end)) and step == 1
    if not call.has_open_number and not (isinstance(size, torch.SymInt) and size.node.data and by_numbers):
        return None
    metas = [meta_at(tensor, sample) for sample in range(SAMPLES)]
    lengths = []
    for sample, meta in enumerate(metas):
        size = meta.shape[dim]
        lengths.append(_bound(end, sample, size, size) - _bound(start, sample, 0, size))
    by_values = [bound for bound in (start, end, step) if isinstance(bound, SizeNode) and bound.data]
    if by_values and (min(lengths) <= 0 or step != 1):
        counts = counts_of(recorder, recorder.graph_node(by_values[0]))
        lengths = [count if n <= 0 or step != 1 else n for n, count in zip(lengths, counts, strict=True)]
    elif not by_values and _may_be_beyond(recorder, tensor, dim % tensor.ndim, start, end, lengths):
        source = recorder.numbering.of(recorder.node_of(tensor))
        lengths = list(counts_for(recorder, ("slice", source, dim, start, end)))
    pairs = zip(metas, lengths, strict=True)
    return [outcome_of(stretched(meta, dim, max(length, 0)), [meta]) for meta, length in pairs]


def _may_be_beyond(
    recorder: Recorder, tensor: RecordedTensor, dim: int, start: int | None, end: int | None, lengths: Sequence[int]
) -> bool:  # fmt: skip
    """Whether constant bounds of a slice may lie beyond a size that values decide, and cut off what samples show."""
    bounds = [bound for bound in (start, end) if bound is not None and bound < ENDLESS]
    if (end is None or end >= ENDLESS) and len(set(lengths)) > 1:
        return False
    return max(map(abs, bounds), default=0) > _at_least(recorder, recorder.node_of(tensor), dim)


def _at_least(recorder: Recorder, node: fx.Node, dim: int) -> int:
    """What a size that values decide is at the very least: what was joined to it, or what was asked and answered."""
    column = tuple(int(spec.shape[dim]) for spec in node.meta["specs"][0])
    if len(set(column)) == 1:
        return 0 if column[0] in node.meta.get("limited", ()) else column[0]
    given: list[Any] = [*node.args, 0]
    if node.target is aten.cat.default and given[1] % len(node.meta["specs"][0][0].shape) == dim:
        return sum(_at_least(recorder, part, dim) for part in given[0])
    return recorder.least_counts.get(column, 0)


def _bound(bound: Any, sample: int, default: int, size: int) -> int:
    """A start or end of a slice at a sample, counted from the front."""
    if bound is None:
        return default
    if isinstance(bound, SizeNode):
        from_end = bound.operation is operator.neg  # x[-n:]
        return int(bound.values[sample]) + (size if from_end else 0)
    return max(bound + size, 0) if bound < 0 else min(bound, size)


def _range(
    bounds_of: Callable[..., tuple[Any, Any, Any]], recorder: Recorder, call: Call
) -> list[Outcome] | None:  # fmt: skip
    """`arange` from or to numbers that depend on values: what stands for them may lie the wrong way round."""
    if not call.has_open_number:
        return None
    bounds = bounds_of(*call.args)
    samples = [[at_sample(bound, sample) for bound in bounds] for sample in range(SAMPLES)]
    lengths = [math.ceil((end - start) / step) for start, end, step in samples]
    if min(lengths) <= 0:
        nodes = (recorder.graph_node(bound) if isinstance(bound, SizeNode) else bound for bound in bounds)
        keys = (recorder.numbering.of(node) if isinstance(node, fx.Node) else node for node in nodes)
        lengths = list(counts_for(recorder, ("range", *keys)))
    dtype = call.kwargs.get("dtype") or torch.arange(*(type(number)(1) for number in samples[0]), device="meta").dtype
    return [outcome_of(torch.empty(length, dtype=dtype, device="meta"), []) for length in lengths]


def _topk(recorder: Recorder, call: Call) -> list[Outcome] | None:
    """`topk` by a number that depends on values, and may stand for more than there are."""
    if not call.has_open_number:
        return None
    input, k, dim = [*call.args, -1][:3]
    metas = [meta_at(input, sample) for sample in range(SAMPLES)]
    values = [stretched(meta, dim, at_sample(k, sample)) for sample, meta in enumerate(metas)]
    return [outcome_of((value, value.to(torch.int64)), []) for value in values]


def _whole(recorder: Recorder, call: Call) -> list[Outcome] | None:
    """A `cat` of all parts of a tensor, split off or chosen by a mask and its opposite: as long as that was."""
    tensors, dim = [*call.args, 0][:2]
    if not (recorder.wholes or recorder.opposites) or len({tensor.ndim for tensor in tensors}) > 1:
        return None
    sizes = [tuple(at_sample(tensor, sample).shape[dim] for sample in range(SAMPLES)) for tensor in tensors]
    whole = recorder.wholes.get(tuple(sizes))
    known = _with_opposites(recorder, sizes) if whole is None else [whole, *((0,) * SAMPLES for _ in sizes[1:])]
    if known == sizes:
        return None
    outcomes = []
    for sample in range(SAMPLES):
        metas = [meta_at(tensor, sample) for tensor in tensors]
        parts = [stretched(meta, dim, size[sample]) for meta, size in zip(metas, known, strict=True)]
        outcomes.append(outcome_of(torch.cat(parts, dim), metas))
    return outcomes


def _with_opposites(recorder: Recorder, sizes: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The sizes of parts, where what a mask chooses and what it leaves are all of it and nothing."""
    known = list(sizes)
    for place, size in enumerate(sizes):
        opposite, whole = recorder.opposites.get(size, (None, None))
        if whole is not None and opposite in known[place + 1 :] and known[place] == size:
            known[known.index(opposite, place + 1)] = (0,) * SAMPLES
            known[place] = whole
    return known


# What each returns at every sample; None where values decide nothing of it.  Beside it stand the overloads of
# `unbacked.py`, whose results are all of one count.
OUTCOMES: dict[Any, Callable[[Recorder, Call], list[Outcome] | None]] = {
    aten.index.Tensor: _by_masks,
    aten._unsafe_index.Tensor: _by_masks,
    aten.slice.Tensor: _sliced,
    aten.arange.default: partial(_range, lambda end: (0, end, 1)),
    aten.arange.start: partial(_range, lambda start, end: (start, end, 1)),
    aten.arange.start_step: partial(_range, lambda start, end, step=1: (start, end, step)),
    aten.topk.default: _topk,
    aten.cat.default: _whole,
    aten._pack_padded_sequence.default: lambda recorder, call: packed(recorder, *call.args),
    aten._pad_packed_sequence.default: lambda recorder, call: padded(recorder, *call.args),
}
