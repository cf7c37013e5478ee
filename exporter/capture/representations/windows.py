"""`as_strided` by dynamic strides, told in the sizes of the tensor itself: as windows along its own axes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from exporter.capture.tensors import RecordedTensor, ViewStep

if TYPE_CHECKING:
    from exporter.capture.recorder import Recorder

aten = torch.ops.aten


class _Run(NamedTuple):
    """Axes of a tensor that lie in its memory as one; by sample, how many elements, and how far apart."""

    axes: tuple[int, ...]
    lengths: tuple[int, ...]
    strides: tuple[int, ...]


def windows(recorder: Recorder, tensor: RecordedTensor, size: Sequence[Any], stride: Sequence[Any]) -> Any:
    """What `as_strided` takes from where the tensor begins, if each new axis runs along one of its own; else None.

    A new axis of c times the stride of an old one takes every c-th element of it, and where two new axes run along
    the same old one, their places add up: chunks that overlap are such.
    """
    samples = range(len(tensor.specs))
    sizes, steps = ([_at(number, samples) for number in numbers] for numbers in (size, stride))
    runs = _runs(tensor)
    along = [_along(runs, *column) for column in zip(sizes, steps, strict=True)]
    if None in along:
        return None
    factors: list[list[tuple[int, int]]] = [[] for _ in runs]
    for axis, (place, factor) in enumerate(found for found in along if found is not None):
        factors[place].append((axis, factor))
    for run, parts in zip(runs, factors, strict=True):
        if any(sum(f * (sizes[a][i] - 1) for a, f in parts) >= run.lengths[i] for i in samples):
            return None
    with recorder:
        taken = _taken(tensor, runs, factors, size)
    result = recorder.tensor(taken)
    # No write to it can be followed, and `unfold` is a view of which that is said.
    result.parent, result.step, result.storage_ = tensor, ViewStep(aten.unfold.default, (), {}), tensor.storage_
    result.version = result.storage_.version
    return result


def _taken(
    tensor: torch.Tensor, runs: Sequence[_Run], factors: Sequence[Sequence[tuple[int, int]]], size: Sequence[Any]
) -> torch.Tensor:  # fmt: skip
    """The tensor as its runs, each replaced by the new axes along it, in the order of these."""
    value = tensor.reshape([math.prod(tensor.shape[axis] for axis in run.axes) for run in runs])
    order: list[int] = []
    for run, parts in zip(runs, factors, strict=True):
        dim = len(order)
        is_whole = len(parts) == 1 and parts[0][1] == 1 and size[parts[0][0]] is tensor.shape[run.axes[0]]
        if not (is_whole and len(run.axes) == 1):
            places = torch.zeros((), dtype=torch.int64)
            for axis, factor in parts:
                places = places.unsqueeze(-1) + torch.arange(size[axis]) * factor
            shape = [size[axis] for axis, _ in parts]
            value = value.index_select(dim, places.reshape(-1))
            value = value.reshape([*value.shape[:dim], *shape, *value.shape[dim + 1 :]])
        order += [axis for axis, _ in parts]
    return value.permute([order.index(axis) for axis in range(len(order))])


def _runs(tensor: RecordedTensor) -> list[_Run]:
    """The axes, neighbours that lie in memory as one put together; those of one element left out."""
    found: list[_Run] = []
    for axis in range(tensor.ndim):
        lengths = tuple(spec.shape[axis] for spec in tensor.specs)
        strides = tuple(spec.stride[axis] for spec in tensor.specs)
        if set(lengths) == {1}:
            continue
        if found and found[-1].strides == tuple(n * s for n, s in zip(lengths, strides, strict=True)):
            last = found.pop()
            lengths = tuple(a * b for a, b in zip(last.lengths, lengths, strict=True))
            found.append(_Run((*last.axes, axis), lengths, strides))
        else:
            found.append(_Run((axis,), lengths, strides))
    return found


def _along(runs: Sequence[_Run], sizes: Sequence[int], steps: Sequence[int]) -> tuple[int, int] | None:
    """The run that a new axis goes along, and by how many of its elements; None where there is none."""
    choices = []
    for place, run in enumerate(runs):
        if all(stride and step % stride == 0 for step, stride in zip(steps, run.strides, strict=True)):
            factors = {step // stride for step, stride in zip(steps, run.strides, strict=True)}
            if len(factors) == 1 and all(n <= length for n, length in zip(sizes, run.lengths, strict=True)):
                choices.append((factors.pop(), place))
    return None if not choices else min(choices)[::-1]


def _at(number: Any, samples: Sequence[int]) -> tuple[int, ...]:
    """A number at each sample."""
    if isinstance(number, torch.SymInt):
        values: tuple[int, ...] = number.node.values
        return values
    return tuple(itertools.repeat(number, len(samples)))
