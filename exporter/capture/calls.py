"""A call that is to be recorded, and its arguments at each sample of the dynamic sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from exporter.capture.sizes import SizeNode
from exporter.capture.tensors import RecordedTensor, Spec


class Call(NamedTuple):
    """A call of an overload that writes to nothing; real tensors are recorded ones, symbolic sizes their nodes.

    Attributes:
        func: the overload.
        args: what it is called with.
        kwargs: the same by name.
        tensors: all tensors among the arguments, in order.
        sizes: all symbolic sizes among them.
    """

    func: Any
    args: Sequence[Any]
    kwargs: dict[str, Any]
    tensors: Sequence[RecordedTensor]
    sizes: Sequence[SizeNode]

    @property
    def has_open_number(self) -> bool:
        """Whether a number among the arguments depends on values."""
        return any(size.data for size in self.sizes)

    @property
    def is_dynamic(self) -> bool:
        """Whether anything differs between the samples."""
        return bool(self.sizes) or any(len(tensor.specs) > 1 for tensor in self.tensors)


def at_sample(argument: Any, sample: int) -> Any:
    """The argument as the kernels take it: specs for tensors, numbers for sizes, at one sample."""
    kind = type(argument)
    if kind is RecordedTensor:
        specs = argument.specs
        return specs[sample] if len(specs) > 1 else specs[0]
    if kind is list:
        return [at_sample(item, sample) for item in argument]
    if kind is SizeNode:
        return argument.values[sample]
    return argument


def meta_at(argument: Any, sample: int) -> Any:
    """The argument at one sample, a tensor as one on the meta device."""
    found = at_sample(argument, sample)
    return found.meta() if type(found) is Spec else found
