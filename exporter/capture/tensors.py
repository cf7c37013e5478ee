"""What the model's Python code holds while it is recorded: tensors without memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import fx

from exporter.capture.data_dependence.element_counts import with_all_kinds
from exporter.capture.sizes import SizeNode
from exporter.capture.torch_internals import disabled_torch_function, new_wrapper, outside_modes
from exporter.errors import CaptureError


class Spec(NamedTuple):
    """What is known of a tensor at one sample of the dynamic sizes."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    def meta(self) -> torch.Tensor:
        """A tensor of this spec on the meta device."""
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device="meta")


def contiguous(shape: Sequence[int], dtype: torch.dtype) -> Spec:
    """A spec whose memory is row-major."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return Spec(tuple(shape), tuple(reversed(strides)), dtype)


@dataclass(frozen=True)
class ViewStep:
    """How a view was taken from its parent: `target(parent, *args, **kwargs)[index]`."""

    target: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    index: int | None = None

    def take(self, parent: torch.Tensor) -> torch.Tensor:
        """The view of a real tensor."""
        result = self.target(parent, *self.args, **self.kwargs)
        view: torch.Tensor = result if self.index is None else result[self.index]
        return view


def same_step(first: ViewStep | None, second: ViewStep | None) -> bool:
    """Whether two views were taken in the same way, as far as their arguments tell without a question."""
    if first is None or second is None:
        return first is second
    return first.target is second.target and first.index == second.index and (
        _same_arguments(first.args, second.args) and _same_arguments(first.kwargs, second.kwargs)
    )  # fmt: skip


def _same_arguments(first: Any, second: Any) -> bool:
    if first is second:
        return True
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return len(first) == len(second) and all(map(_same_arguments, first, second))
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and _same_arguments([*first.values()], [*second.values()])
    return type(first) is type(second) and type(first) in (int, bool, str) and bool(first == second)


class Storage:
    """What all views of one piece of memory share: how often it was written, which of all it is, and whose."""

    __slots__ = ("is_given", "serial", "version")
    _numbers = itertools.count()

    def __init__(self) -> None:
        self.version = 0
        self.serial = self.number()
        self.is_given = False  # to a function, by who calls it

    @classmethod
    def number(cls) -> int:
        """A number that is larger than that of any before."""
        return next(cls._numbers)


class RecordedTensor(torch.Tensor):
    """A tensor that stands for a value of the graph.

    `specs` holds one spec where every size is static, else one for each sample.  `node` is the
    graph's value as of `version`; where its storage has been written since, the recorder takes the
    view again from `parent`.  `constant` is the real value, where it is known and small.  `rows` is a
    tensor for each row of which this one stands in a list, as what the rounds of a loop appended to it.
    """

    specs: tuple[Spec, ...]
    node: fx.Node | None
    storage_: Storage
    version: int
    parent: RecordedTensor | None
    step: ViewStep | None
    constant: torch.Tensor | None
    rows: RecordedTensor | None
    quantizer: Any = None  # of a quantized tensor: see `exporter.capture.representations.quantized`

    __torch_function__ = disabled_torch_function  # type: ignore[assignment]  # the stubs want a method

    @staticmethod
    def __new__(
        cls,
        specs: tuple[Spec, ...],
        shape: tuple[int | torch.SymInt, ...],
        stride: tuple[int | torch.SymInt, ...],
        device: torch.device,
        node: fx.Node | None,
        parent: RecordedTensor | None = None,
        step: ViewStep | None = None,
    ) -> RecordedTensor:
        self: RecordedTensor = new_wrapper(cls, shape, stride, specs[0].dtype, device)
        self.specs, self.node, self.parent, self.step = specs, node, parent, step
        self.storage_ = Storage() if parent is None else parent.storage_
        self.version = self.storage_.version
        self.constant = self.rows = None
        return self

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # the stubs leave `func` out
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        raise CaptureError(
            f"{func}: called on a tensor of a recording that has ended",
            hint="do not keep tensors of forward() in globals or outside the model",
        )

    def __repr__(self) -> str:  # type: ignore[override]  # the stubs want keywords
        return f"RecordedTensor({self.node}, {tuple(self.shape)}, {self.dtype})"

    def __format__(self, spec: str) -> str:
        """A number that is known in the way of numbers, as eager's tensors of rank 0."""
        if self.constant is None or self.ndim:
            return object.__format__(self, spec)
        with outside_modes():
            return format(self.constant.item(), spec)

    def __copy__(self) -> torch.Tensor:
        return self.view_as(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        return self.clone()

    @property
    def is_quantized(self) -> bool:  # type: ignore[override]  # the stubs have an attribute
        """Whether it stands for a quantized tensor of eager mode."""
        return self.quantizer is not None

    def __len__(self) -> int:
        """Where it is dynamic, none: `list(x)` asks C for a hint, and `len(x)` does not come here."""
        if not self.ndim or isinstance(self.shape[0], torch.SymInt):
            raise TypeError(
                "len() of a tensor of rank 0" if not self.ndim else "len() of a dynamic dim: use x.shape[0]"
            )
        return int(self.shape[0])

    def tolist(self) -> Any:
        """The values, where they do not depend on the model's inputs."""
        if self.constant is not None:
            with outside_modes():
                return self.constant.tolist()
        if not self.ndim:
            return self.item()
        return [row.tolist() for row in with_all_kinds(self, self.node).unbind(0)]

    def numpy(self, *, force: bool = False) -> Any:
        """The values, where they do not depend on the model's inputs; integers in a row are symbolic else."""
        if self.constant is None and self.ndim == 1 and self.dtype in (torch.int64, torch.int32):
            return np.array(self.tolist(), dtype=object)
        if self.constant is None:
            raise CaptureError(
                "numpy(): the values of this tensor depend on the model's inputs",
                hint="write this part of the model in torch",
            )
        with outside_modes():
            return self.constant.numpy(force=force)

    def __array__(self, dtype: Any = None) -> Any:
        values = self.numpy()
        return values if dtype is None else values.astype(dtype)


def same_sizes(first: RecordedTensor, second: RecordedTensor) -> bool:
    """Whether two tensors have one shape at every sample, asked without deciding anything."""
    if len(first.specs) != len(second.specs):
        return False
    return all(a.shape == b.shape for a, b in zip(first.specs, second.specs, strict=True))


def device_of(tensors: Sequence[RecordedTensor]) -> torch.device:
    """The device of a result: that of the arguments, where tensors of rank 0 count last."""
    for tensor in tensors:
        if tensor.ndim:
            return tensor.device
    return tensors[0].device if tensors else torch.device("cpu")


def merged(specs: Sequence[Spec], limited: Collection[int] = ()) -> tuple[Spec, ...]:
    """One spec where all samples agree, and no size is one of those that other samples would change."""
    first = specs[0]
    is_one = all(spec == first for spec in specs) and not any(size in limited for size in first.shape)
    return (first,) if is_one else tuple(specs)


def same_layout(source: tuple[Spec, ...], result: tuple[Spec, ...]) -> bool:
    """Whether a view changes nothing: a square matrix has the sizes of its transpose, not the strides."""
    return same_values(source, result) and all(
        step == other or size == 1
        for a, b in _pairs(source, result)
        for size, step, other in zip(a.shape, a.stride, b.stride, strict=True)
    )


def same_values(source: tuple[Spec, ...], result: tuple[Spec, ...]) -> bool:
    """Whether two tensors have one shape and dtype at every sample."""
    return all(a.shape == b.shape and a.dtype == b.dtype for a, b in _pairs(source, result))


def _pairs(source: tuple[Spec, ...], result: tuple[Spec, ...]) -> list[tuple[Spec, Spec]]:
    """The specs of two tensors at each sample; where strides alone are dynamic, one may have one for all."""
    if len(source) == len(result):
        return list(zip(source, result, strict=True))
    return [(source[i % len(source)], result[i % len(result)]) for i in range(max(len(source), len(result)))]


def offset_of(tensor: RecordedTensor) -> int:
    """Where a view begins in the memory that it looks at.

    Raises:
        CaptureError: that depends on a dynamic size.
    """
    offsets = {_view_at(tensor, sample).storage_offset() for sample in range(len(tensor.specs))}
    if len(offsets) > 1:
        raise CaptureError(
            "as_strided: the place where the tensor begins in memory must not depend on a dynamic size",
            hint="give storage_offset, or use unfold and slices instead",
        )
    return int(offsets.pop())


def _view_at(tensor: RecordedTensor, sample: int) -> torch.Tensor:
    """The view on the meta device, at one sample."""
    if tensor.parent is None:
        return tensor.specs[sample % len(tensor.specs)].meta()
    view = _view_at(tensor.parent, sample)
    if tensor.step is None:
        return view
    return replace(tensor.step, args=tuple(_numbers_at(tensor.step.args, sample))).take(view)


def _numbers_at(arguments: Sequence[Any], sample: int) -> list[Any]:
    """The arguments with numbers, at one sample, in place of sizes."""
    return [
        _numbers_at(argument, sample) if isinstance(argument, (list, tuple))
        else argument.values[sample] if isinstance(argument, SizeNode)
        else argument
        for argument in arguments
    ]  # fmt: skip
