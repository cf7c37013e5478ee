"""`x[i]` and `x[i] = y` where torch itself would ask for the number behind a symbolic index.

torch takes a symbolic size or a tensor of rank 0 among indices for a number at once.  Here each such
index becomes a call of its own: select, slice, or a mask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from exporter.capture.recorder import Recorder
from exporter.capture.tensors import RecordedTensor

aten = torch.ops.aten


def getitem(recorder: Recorder, original: Callable[..., Any], tensor: torch.Tensor, index: Any) -> Any:
    """`tensor[index]`."""
    index = _joined(index)
    if not _is_symbolic(index):
        return original(tensor, index)
    view, indices = _view(recorder, tensor, index)
    return aten.index.Tensor(view, indices) if indices else view


def setitem(
    recorder: Recorder, original: Callable[..., Any], tensor: torch.Tensor, index: Any, value: Any
) -> None:  # fmt: skip
    """`tensor[index] = value`; torch looks for leading dims of size 1 of the value, and so at its sizes."""
    index = _joined(index)
    if not _is_symbolic(index) and not _has_symbolic_sizes(value):
        original(tensor, index, value)
        return
    view, indices = _view(recorder, tensor, index)
    if not isinstance(value, torch.Tensor):
        value = torch.full((), value, dtype=tensor.dtype, device=tensor.device)
    while value.ndim > _rank_under(view, indices):
        value = value.squeeze(0)
    if indices:
        aten.index_put_.default(view, indices, value)
    else:
        view.copy_(value)


def _joined(index: Any) -> Any:
    """The index with lists of tensors, as in `x[rows, columns]`, as one tensor each."""
    if type(index) is not tuple or not any(type(item) in (list, tuple) for item in index):
        return index
    return tuple(
        torch.stack([torch.as_tensor(part) for part in item])
        if type(item) in (list, tuple) and any(type(part) is RecordedTensor for part in item)
        else item
        for item in index
    )


def _is_symbolic(index: Any) -> bool:
    return any(map(_asks_for_a_number, index if type(index) is tuple else (index,)))


def _has_symbolic_sizes(value: Any) -> bool:
    return type(value) is RecordedTensor and any(isinstance(size, torch.SymInt) for size in value.shape)


def _asks_for_a_number(item: Any) -> bool:
    if type(item) is slice:
        return any(type(bound) is RecordedTensor for bound in (item.start, item.stop, item.step))
    if type(item) in (list, tuple):  # of elements of a tensor, as `zip(*places)` gives
        return any(isinstance(part, torch.SymInt) or type(part) is RecordedTensor for part in item)
    return isinstance(item, torch.SymInt) or (type(item) is RecordedTensor and item.ndim == 0 and item.constant is None)


def _view(
    recorder: Recorder, tensor: torch.Tensor, index: Any
) -> tuple[torch.Tensor, list[torch.Tensor | None]]:  # fmt: skip
    """The tensor under all indices but those that are tensors; and these, None for each dim without one."""
    indices: list[torch.Tensor | None] = []
    dim = 0
    for item in _without_ellipsis(tensor, index if type(index) is tuple else (index,)):
        if item is None:
            tensor = tensor.unsqueeze(dim)
        elif type(item) is slice:
            start, stop, step = (_number(recorder, bound) for bound in (item.start, item.stop, item.step))
            tensor = aten.slice.Tensor(tensor, dim, start, stop, 1 if step is None else step)
        elif _is_number(item):
            tensor = aten.select.int(tensor, dim, _number(recorder, item))
            continue
        else:
            found = item if isinstance(item, torch.Tensor) else torch.tensor(item)
            if found.ndim == 0:  # a truth: of a new dim all or nothing
                tensor, found = tensor.unsqueeze(dim), found.reshape(1)
            indices.append(found)
            dim += found.ndim if found.dtype in _MASKS else 1
            continue
        indices.append(None)
        dim += 1
    return tensor, indices if any(item is not None for item in indices) else []


def _rank_under(tensor: torch.Tensor, indices: list[torch.Tensor | None]) -> int:
    """The rank of `tensor[indices]`."""
    given = [item for item in indices if item is not None]
    if not given:
        return tensor.ndim
    wide = max(1 if item.dtype in _MASKS else item.ndim for item in given)
    return tensor.ndim - sum(map(_depth, given)) + wide


_MASKS = (torch.bool, torch.uint8)


def _without_ellipsis(tensor: torch.Tensor, items: tuple[Any, ...]) -> list[Any]:
    """The items with a full slice for each dim that `...` stands for."""
    place = next((i for i, item in enumerate(items) if item is Ellipsis), None)
    if place is None:
        return list(items)
    rest = tensor.ndim - sum(map(_depth, items))
    return [*items[:place], *[slice(None)] * rest, *items[place + 1 :]]


def _depth(item: Any) -> int:
    """How many dims of the tensor an item stands for."""
    if item is None or item is Ellipsis or type(item) is bool:
        return 0
    if isinstance(item, torch.Tensor) and item.dtype in _MASKS:
        return item.ndim
    return 1


def _is_number(item: Any) -> bool:
    if isinstance(item, torch.Tensor):
        return item.ndim == 0 and item.dtype not in _MASKS
    return isinstance(item, (int, torch.SymInt)) and type(item) is not bool


def _number(recorder: Recorder, item: Any) -> Any:
    """A number as it is; what a tensor holds is left open, be it the element of an input or not."""
    if not isinstance(item, torch.Tensor):
        return item
    tensor = recorder.tensor(item)
    return item.item() if recorder.value_of(tensor) is not None else recorder.open_number(tensor)
