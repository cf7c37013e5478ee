"""Overloads whose result sizes depend on values: each gets a fresh dynamic size."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from exporter.capture.graph import live_nodes
from exporter.capture.kernels import Outcome, call_meta, outcome_of, stretched
from exporter.capture.known import ValueNeeded, inputs_with_sizes, known_values
from exporter.capture.limits import ENDLESS
from exporter.capture.sizes import SizeNode
from exporter.capture.tensors import RecordedTensor, Spec
from exporter.capture.torch_internals import outside_modes

if TYPE_CHECKING:
    from exporter.capture.recorder import Recorder

aten = torch.ops.aten

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

Result = Callable[..., Any]


def _empty(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(tuple(shape), dtype=dtype, device="meta")


def _nonzero(count: int, input: torch.Tensor) -> torch.Tensor:
    return _empty((count, input.ndim), torch.int64)


def _nonzero_numpy(count: int, input: torch.Tensor) -> list[torch.Tensor]:
    return [_empty((count,), torch.int64) for _ in range(max(input.ndim, 1))]


def _masked_select(count: int, input: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return _empty((count,), input.dtype)


def _unique(
    count: int, input: torch.Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False
) -> tuple[torch.Tensor, ...]:  # fmt: skip
    inverse = _empty(input.shape if return_inverse or return_counts else (0,), torch.int64)
    return _empty((count,), input.dtype), inverse, _empty((count if return_counts else 0,), torch.int64)


def _unique_dim(
    count: int, input: torch.Tensor, dim: int, sorted: bool = True, return_inverse: bool = False,
    return_counts: bool = False,
) -> tuple[torch.Tensor, ...]:  # fmt: skip
    shape = list(input.shape)
    inverse = _empty((shape[dim],), torch.int64)
    shape[dim] = count
    return _empty(shape, input.dtype), inverse, _empty((count,), torch.int64)


def _unique_consecutive(
    count: int, input: torch.Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> tuple[torch.Tensor, ...]:  # fmt: skip
    if dim is None:
        return _unique(count, input, True, return_inverse, return_counts)
    return _unique_dim(count, input, dim)


def _repeat_interleave(
    count: int, input: torch.Tensor, repeats: torch.Tensor | int, dim: int | None = None, *,
    output_size: int | None = None,
) -> torch.Tensor:  # fmt: skip
    total = count if output_size is None else output_size
    if dim is None:
        return _empty((total,), input.dtype)
    shape = list(input.shape)
    shape[dim] = total
    return _empty(shape, input.dtype)


def _repeat_counts(count: int, repeats: torch.Tensor, *, output_size: int | None = None) -> torch.Tensor:
    return _empty((count if output_size is None else output_size,), repeats.dtype)


def _bincount(count: int, input: torch.Tensor, weights: torch.Tensor | None = None, minlength: int = 0) -> torch.Tensor:
    dtype = torch.int64 if weights is None else torch.float32 if weights.dtype == torch.float32 else torch.float64
    return _empty((count + minlength,), dtype)


def _nms(count: int, dets: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    return _empty((count,), torch.int64)


UNBACKED: dict[Any, Result] = {
    aten.nonzero.default: _nonzero,
    aten.argwhere.default: _nonzero,
    aten.nonzero_numpy.default: _nonzero_numpy,
    aten.where.default: _nonzero_numpy,
    aten.masked_select.default: _masked_select,
    aten._unique2.default: _unique,
    aten.unique_dim.default: _unique_dim,
    aten.unique_consecutive.default: _unique_consecutive,
    aten.repeat_interleave.self_Tensor: _repeat_interleave,
    aten.repeat_interleave.Tensor: _repeat_counts,
    aten.bincount.default: _bincount,
}
# Overloads that exist only once their library is imported.
_UNBACKED_BY_NAME: dict[str, Result] = {"torchvision::nms": _nms}


def is_unbacked(func: Any) -> bool:
    """Whether the sizes of what an overload returns depend on values."""
    return func in UNBACKED or func.name() in _UNBACKED_BY_NAME


def unbacked_outcomes(recorder: Recorder, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Outcome]:
    """The outcome at each sample, with a count of its own for what the values decide."""
    result = UNBACKED.get(func) or _UNBACKED_BY_NAME[func.name()]
    key = args[1] if func is aten.masked_select.default else args[0]
    outcomes = []
    for sample, count in enumerate(sample_counts(recorder, key)):
        metas = [_meta(argument, sample) for argument in args]
        given = {name: _meta(argument, sample) for name, argument in kwargs.items()}
        tensors = [meta for meta in metas if isinstance(meta, torch.Tensor)]
        outcomes.append(outcome_of(result(count, *metas, **given), tensors))
    return outcomes


def outcomes_by_values(
    recorder: Recorder, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], sizes: Sequence[SizeNode]
) -> list[Outcome] | None:
    """The outcome at each sample of a call whose result sizes depend on values; None for any other."""
    if is_unbacked(func):
        return unbacked_outcomes(recorder, func, args, kwargs)
    if has_mask(func, args):
        return masked_index_outcomes(recorder, func, args)
    if is_whole(recorder, func, args):
        return whole_outcomes(recorder, args)
    if is_open_slice(func, args, sizes):
        return slice_outcomes(recorder, args)
    if any(size.data for size in sizes):
        if func in _RANGES:
            return range_outcomes(recorder, func, args, kwargs)
        if func is aten.topk.default:
            return topk_outcomes(*args)
    return None


def known_choice(recorder: Recorder, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What a call chooses of values that no input decides; else None."""

    def real(argument: Any) -> Any:
        if type(argument) is not RecordedTensor or argument.constant is not None:
            return getattr(argument, "constant", argument) if type(argument) is RecordedTensor else argument
        values = known_values(recorder, recorder.node_of(argument))
        if values is None or len(values) > 1:
            raise LookupError
        return values[0]

    try:
        given, settings = [real(argument) for argument in args], {name: real(a) for name, a in kwargs.items()}
    except LookupError:
        return None
    with outside_modes():
        return func(*given, **settings)


class CountsEqual(BaseException):
    """The model works only where a mask chooses as many elements as another size is; nothing may catch it.

    Attributes:
        key: what tells which mask, the same in every recording.
        values: the size at each sample.
    """

    def __init__(self, key: Any, values: tuple[int, ...]) -> None:
        super().__init__(key, values)
        self.key, self.values = key, values


def ask_for_equal_counts(
    recorder: Recorder, tensors: Sequence[RecordedTensor], sizes: Sequence[SizeNode]
) -> None:  # fmt: skip
    """After a call failed, look for a size by values that stands where another one does.

    Args:
        recorder: what the call was recorded by.
        tensors: the tensors among its arguments.
        sizes: the numbers among them.

    Raises:
        ValueNeeded: inputs that hold sizes tell them.
        CountsEqual: there is such a size, and what it is taken for is no more than a guess so far.
        DataDependentError: masks and kinds tell them, whose values may be fixed.
    """
    if recorder.answers is None:
        return
    before = live_nodes(recorder.graph, [recorder.node_of(tensor) for tensor in tensors])
    by_values = [node for node in before if "data" in node.meta]
    for node in by_values:
        if needed := inputs_with_sizes(node, recorder.examples):
            raise ValueNeeded(needed)
    for size in sizes:
        if size.data:
            recorder.need_values(size)
    guesses = {values: key for key, values in recorder.counts.items() if key not in recorder.equal_counts}
    for a, b in combinations(tensors, 2):
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


def _columns(tensor: RecordedTensor) -> list[tuple[int, ...]]:
    """Each size of a tensor at all samples."""
    return [tuple(_spec(tensor, sample).shape[axis] for sample in range(3)) for axis in range(tensor.ndim)]


def answer_for_sizes(node: SizeNode) -> bool | None:
    """The answer to a comparison of sizes that depend on values, where every size above 1 gives the same.

    Sizes that are equal at all samples are equal.  Against 0 and 1, a size that depends on values counts
    as neither, as in torch.export: code that treats them apart does so for speed, or where nothing is left
    to do, and what holds for many holds for them.  A question about strides is torch's own, and decides
    nothing that a graph holds.
    """
    if is_of_strides(node):
        return bool(node.values[0])
    if node.operation not in _COMPARISONS or len(set(node.values)) > 1:
        return None
    first, second = node.operands
    if not (_is_of_sizes(first) and _is_of_sizes(second)):
        return None
    trivial = any(operand.is_literal and operand.values[0] in (0, 1) for operand in (first, second))
    return bool(node.values[0]) if trivial or first.values == second.values else None


_COMPARISONS = {operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge}


def is_of_strides(node: Any) -> bool:
    """Whether a stride of a tensor takes part in a number."""
    if not isinstance(node, SizeNode) or node.is_literal:
        return False
    if node.operation is None:
        return node.operands[1] is not None and node.operands[1] < 0
    return any(map(is_of_strides, node.operands))


def _is_of_sizes(node: Any) -> bool:
    """Whether a number was computed from sizes of tensors alone, none from a value."""
    if not isinstance(node, SizeNode) or node.is_literal:
        return True
    if node.operation is None:
        return node.operands[1] is not None
    return all(map(_is_of_sizes, node.operands))


def sample_counts(recorder: Recorder, mask: RecordedTensor) -> tuple[int, ...]:
    """How many elements `mask` is taken to choose at each sample; the same for the same mask."""
    return counts_of(recorder, recorder.node_of(mask))


def counts_of(recorder: Recorder, node: fx.Node) -> tuple[int, ...]:
    """What stands at each sample for the number of elements that a node's values decide."""
    return _counts(recorder, recorder.numbering.of(node))


def _counts(recorder: Recorder, key: Any) -> tuple[int, ...]:
    """What stands for a size that nobody knows; no other has the same.

    One sample is small and one is large, so that `min(count, 300)` is no constant.
    """
    known = recorder.equal_counts.get(key) or recorder.counts.get(key)
    if known is None:
        turn, place = divmod(len(recorder.counts), len(_PRIMES))
        some, few, many = _PRIMES[place]
        known = recorder.counts[key] = (some + 331 * turn, few, many + 331 * turn)
    return known


def masked_index_outcomes(recorder: Recorder, func: Any, args: Sequence[Any]) -> list[Outcome]:
    """`x[mask]` and `x[mask] = y`: each mask stands for as many integer indices as it has dims."""
    source, indices, *rest = args
    masks = [index for index in indices if _is_mask(index)]
    others = [index for index in indices if type(index) is RecordedTensor and index.ndim and not _is_mask(index)]
    outcomes = []
    for sample in range(3):
        expanded: list[Any] = []
        # What stands beside integer indices, or another mask, must choose as many as these say.
        beside = {_spec(index, sample).shape[-1] for index in others} - {1}
        count = beside.pop() if beside else sample_counts(recorder, masks[0])[sample]
        for index in indices:
            if _is_mask(index):
                expanded += [Spec((count,), (1,), torch.int64)] * index.ndim
            else:
                expanded.append(_spec(index, sample))
        outcomes.append(call_meta(func, [_spec(source, sample), expanded, *(_spec(r, sample) for r in rest)], {}))
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


def has_mask(func: Any, args: Sequence[Any]) -> bool:
    """Whether this is an indexing call with a mask among its indices."""
    return func in (aten.index.Tensor, aten._unsafe_index.Tensor) and any(map(_is_mask, args[1]))


def _is_mask(index: Any) -> bool:
    return type(index) is RecordedTensor and index.dtype in (torch.bool, torch.uint8)


def is_open_slice(func: Any, args: Sequence[Any], sizes: Sequence[SizeNode]) -> bool:
    """Whether this is a slice by bounds that depend on values, or by numbers of a dim whose size does."""
    return func is aten.slice.Tensor and (any(size.data for size in sizes) or _is_open(*args))


def _is_open(tensor: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> bool:
    size = tensor.shape[dim]
    by_numbers = all(type(bound) in (int, type(None)) for bound in (start, end))
    return isinstance(size, torch.SymInt) and size.node.data and by_numbers and step == 1


def slice_outcomes(recorder: Recorder, args: Sequence[Any]) -> list[Outcome]:
    """`x[start:end]` by bounds that depend on values: taken to lie inside, so that x[:n] has the size n.

    `boxes[:100]` is of as many boxes as there are, at most 100: no sample may make that 100, or all of them.
    """
    given: list[Any] = [*args, *(0, None, None, 1)[len(args) - 1 :]]
    tensor, dim, start, end, step = given
    metas = [_spec(tensor, sample).meta() for sample in range(3)]
    lengths = []
    for sample, meta in enumerate(metas):
        size = meta.shape[dim]
        lengths.append(_bound(end, sample, size, size) - _bound(start, sample, 0, size))
    by_values = [bound for bound in (start, end, step) if isinstance(bound, SizeNode) and bound.data]
    if by_values and (min(lengths) <= 0 or step != 1):
        counts = counts_of(recorder, recorder.graph_node(by_values[0]))
        lengths = [count if n <= 0 or step != 1 else n for n, count in zip(lengths, counts, strict=True)]
    elif not by_values and ((end is not None and end < ENDLESS) or len(set(lengths)) == 1):
        lengths = list(_counts(recorder, ("slice", recorder.numbering.of(recorder.node_of(tensor)), dim, start, end)))
    pairs = zip(metas, lengths, strict=True)
    return [outcome_of(stretched(meta, dim, max(length, 0)), [meta]) for meta, length in pairs]


_RANGES: dict[Any, Callable[..., tuple[Any, Any, Any]]] = {
    aten.arange.default: lambda end: (0, end, 1),
    aten.arange.start: lambda start, end: (start, end, 1),
    aten.arange.start_step: lambda start, end, step=1: (start, end, step),
}


def range_outcomes(
    recorder: Recorder, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[Outcome]:  # fmt: skip
    """`arange` from or to numbers that depend on values: what stands for them may lie the wrong way round."""
    bounds = _RANGES[func](*args)
    samples = [[_meta(bound, sample) for bound in bounds] for sample in range(3)]
    lengths = [math.ceil((end - start) / step) for start, end, step in samples]
    if min(lengths) <= 0:
        nodes = (recorder.graph_node(bound) if isinstance(bound, SizeNode) else bound for bound in bounds)
        keys = (recorder.numbering.of(node) if isinstance(node, fx.Node) else node for node in nodes)
        lengths = list(_counts(recorder, ("range", *keys)))
    dtype = kwargs.get("dtype") or torch.arange(*(type(number)(1) for number in samples[0]), device="meta").dtype
    return [outcome_of(_empty((length,), dtype), []) for length in lengths]


def topk_outcomes(input: RecordedTensor, k: Any, dim: int = -1, *_: bool) -> list[Outcome]:
    """`topk` by a number that depends on values, and may stand for more than there are."""
    metas = [_meta(input, sample) for sample in range(3)]
    values = [stretched(meta, dim, _meta(k, sample)) for sample, meta in enumerate(metas)]
    return [outcome_of((value, value.to(torch.int64)), []) for value in values]


def is_whole(recorder: Recorder, func: Any, args: Sequence[Any]) -> bool:
    """Whether this is a `cat` of as many parts, of the same sizes, as a tensor was split into by its values."""
    if func is not aten.cat.default or not recorder.wholes or len({tensor.ndim for tensor in args[0]}) > 1:
        return False
    return _lengths(args) in recorder.wholes


def whole_outcomes(recorder: Recorder, args: Sequence[Any]) -> list[Outcome]:
    """Together the parts are as long as what was split, whatever each of them is."""
    tensors, dim = args[0], args[1] if len(args) > 1 else 0
    whole = recorder.wholes[_lengths(args)]
    outcomes = []
    for sample in range(3):
        metas = [_spec(tensor, sample).meta() for tensor in tensors]
        lengths = [whole[sample], *(0 for _ in tensors[1:])]
        parts = [stretched(meta, dim, length) for meta, length in zip(metas, lengths, strict=True)]
        outcomes.append(outcome_of(torch.cat(parts, dim), metas))
    return outcomes


def _lengths(args: Sequence[Any]) -> tuple[tuple[int, ...], ...]:
    """The sizes at each sample of the dim along which tensors are put together."""
    dim = args[1] if len(args) > 1 else 0
    return tuple(tuple(_spec(tensor, sample).shape[dim] for sample in range(3)) for tensor in args[0])


def _bound(bound: Any, sample: int, default: int, size: int) -> int:
    """A start or end of a slice at a sample, counted from the front."""
    if bound is None:
        return default
    if isinstance(bound, SizeNode):
        return int(bound.values[sample])
    return max(bound + size, 0) if bound < 0 else min(bound, size)


def _spec(argument: Any, sample: int) -> Any:
    if type(argument) is RecordedTensor:
        return argument.specs[sample % len(argument.specs)]
    return argument


def _meta(argument: Any, sample: int) -> Any:
    if type(argument) is RecordedTensor:
        return argument.specs[sample % len(argument.specs)].meta()
    return argument.values[sample] if hasattr(argument, "values") else argument
