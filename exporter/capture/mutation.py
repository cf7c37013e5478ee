"""How writes become values: the functional counterpart of an overload, and the inverse of a view."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch

from exporter.capture.sizes import SizeNode
from exporter.capture.tensors import RecordedTensor, ViewStep, same_sizes
from exporter.capture.torch_internals import is_mutable, schema_of, size_from_node
from exporter.errors import CaptureError

aten = torch.ops.aten

_RENAMED: dict[Any, Any] = {
    aten.normal_.default: aten.normal_functional.default,
    aten.bernoulli_.float: aten.bernoulli.p,
    aten.bernoulli_.Tensor: aten.bernoulli.Tensor,
    aten.arange.out: aten.arange.default,
    aten.arange.start_out: aten.arange.start_step,
    aten.__iand__.Scalar: aten.bitwise_and.Scalar,
    aten.__iand__.Tensor: aten.bitwise_and.Tensor,
    aten.__ior__.Scalar: aten.bitwise_or.Scalar,
    aten.__ior__.Tensor: aten.bitwise_or.Tensor,
    aten.__ixor__.Scalar: aten.bitwise_xor.Scalar,
    aten.__ixor__.Tensor: aten.bitwise_xor.Tensor,
    aten.__ilshift__.Scalar: aten.bitwise_left_shift.Tensor_Scalar,
    aten.__ilshift__.Tensor: aten.bitwise_left_shift.Tensor,
    aten.__irshift__.Scalar: aten.bitwise_right_shift.Tensor_Scalar,
    aten.__irshift__.Tensor: aten.bitwise_right_shift.Tensor,
}


@cache
def written_arguments(overload: Any) -> tuple[str, ...]:
    """The names of the arguments that the overload writes to, in the schema's order."""
    return tuple(
        argument.name
        for argument in schema_of(overload).arguments
        if argument.alias_info is not None and argument.alias_info.is_write
    )


@cache
def functional(overload: Any) -> Any:
    """The overload that returns what this one writes: add_.Tensor -> add.Tensor, add.out -> add.Tensor.

    Raises:
        CaptureError: there is none.
    """
    if overload in _RENAMED:
        return _RENAMED[overload]
    namespace, name = schema_of(overload).name.split("::")
    packets = getattr(torch.ops, namespace)
    stem = name.removesuffix("_")
    is_out = any(argument.is_out for argument in schema_of(overload).arguments)
    candidates = [name, name + "_functional"] if is_out else [stem, stem + "_functional", name]
    overloads = [
        getattr(packet, overload_name)
        for candidate in candidates
        if (packet := getattr(packets, candidate, None)) is not None
        for overload_name in packet.overloads()
    ]
    for describe in (_argument_names, _argument_types):  # dropout_ calls `self` what dropout calls `input`
        wanted = describe(overload)
        for other in overloads:
            if not is_mutable(other) and describe(other) == wanted:
                return other
    for other in overloads:  # ones.out is told its dtype by out=, and ones.default by itself
        if is_out and not is_mutable(other) and _extends(other, overload):
            return other
    raise CaptureError(
        f"{overload}: no functional counterpart, so what it writes cannot be a value of a graph",
        hint="return the result from the operator instead of writing to an argument",
    )


def _argument_names(overload: Any) -> tuple[tuple[str, str], ...]:
    """Name and type of what remains of an overload's arguments without its out= ones."""
    return tuple(
        (argument.name, str(argument.type)) for argument in schema_of(overload).arguments if not argument.is_out
    )


def _extends(other: Any, overload: Any) -> bool:
    """Whether an overload takes what another takes without its out= ones, and besides what it can do without."""
    known = set(_argument_names(overload))
    more = [a for a in schema_of(other).arguments if (a.name, str(a.type)) not in known]
    return len(more) + len(known) == len(schema_of(other).arguments) and all(a.has_default_value() for a in more)


def _argument_types(overload: Any) -> tuple[str, ...]:
    return tuple(kind for _, kind in _argument_names(overload))


# Steps that keep the order of the elements: their inverse is a reshape.
_ORDERED = {
    "view", "reshape", "_unsafe_view", "flatten", "unflatten", "view_as", "reshape_as", "unsqueeze", "squeeze", "ravel",
    "contiguous", "to", "alias", "detach", "expand", "expand_as", "atleast_1d", "atleast_2d", "atleast_3d",
    "_reshape_alias", "type_as", "resolve_conj", "resolve_neg",
}  # fmt: skip
_SWAPS = {"transpose", "swapaxes", "swapdims", "t", "T", "mT", "numpy_T", "matrix_H", "mH", "adjoint"}
_PERMUTATIONS = {"permute", "movedim", "moveaxis"}
_REPLACED = {
    "slice": aten.slice_scatter.default,
    "select": aten.select_scatter.default,
    "diagonal": aten.diagonal_scatter.default,
    "as_strided": aten.as_strided_scatter.default,
}
_PARTS = {
    "split", "chunk", "tensor_split", "unbind", "split_with_sizes", "hsplit", "vsplit", "dsplit", "unsafe_split",
    "unsafe_chunk", "unsafe_split_with_sizes",
}  # fmt: skip

Call = Callable[..., Any]


def write_back(step: ViewStep, parent: Any, child: Any, call: Call) -> Any:
    """The parent's new value after its view took the value `child`.

    Args:
        step: how the view was taken.
        parent: the parent's value before, a tensor.
        child: the view's new value, a tensor.
        call: calls an overload on tensors.

    Raises:
        CaptureError: the view has no inverse.
    """
    name = schema_of(step.target).name.split("::")[1]
    if name in _ORDERED and _counts(child) == _counts(parent):
        return child if same_sizes(child, parent) else call(aten.reshape.default, child, list(parent.shape))
    if name in _SWAPS:
        return call(step.target, child, *step.args, **step.kwargs)
    if name in _PERMUTATIONS:
        return call(aten.permute.default, child, _inverse_permutation(step, parent.ndim))
    if name in _REPLACED:
        return call(_REPLACED[name], parent, child, *step.args, **step.kwargs)
    if name == "narrow":
        dim, start, length = (size_from_node(a) if isinstance(a, SizeNode) else a for a in step.args)
        return call(aten.slice_scatter.default, parent, child, dim, start, start + length)
    if name in _PARTS and step.index is not None:
        return _replace_part(step, parent, child, call)
    if name == "real":
        return call(aten.complex.default, child, call(aten.imag.default, parent))
    if name == "imag":
        return call(aten.complex.default, call(aten.real.default, parent), child)
    if name == "view_as_real":
        return call(aten.view_as_complex.default, child)
    if name == "view_as_complex":
        return call(aten.view_as_real.default, child)
    raise CaptureError(
        f"{step.target}: a write to this view cannot be followed to the tensor that it is a view of",
        hint="write to a clone() of the view, or build the result with torch.where or torch.cat",
    )


def _counts(tensor: RecordedTensor) -> list[int]:
    """How many elements there are, at each sample."""
    counts = [math.prod(spec.shape) for spec in tensor.specs]
    return counts[:1] if len(set(counts)) == 1 else counts


def _inverse_permutation(step: ViewStep, rank: int) -> list[int]:
    """The permutation that undoes the step, read off a tensor whose sizes are its axes' numbers."""
    probe = torch.empty(tuple(range(1, rank + 1)), device="meta")
    order = [size - 1 for size in step.target(probe, *step.args, **step.kwargs).shape]
    return [order.index(axis) for axis in range(rank)]


def _replace_part(step: ViewStep, parent: Any, child: Any, call: Call) -> Any:
    parts: Sequence[Any] = call(step.target, parent, *step.args, **step.kwargs)
    names = [argument.name for argument in schema_of(step.target).arguments[1:]]
    given = dict(zip(names, step.args, strict=False)) | step.kwargs
    dim = given.get("dim", _DEFAULT_DIM.get(schema_of(step.target).name.split("::")[1], 0))
    assert step.index is not None  # told by the caller
    if "unbind" in schema_of(step.target).name:
        return call(aten.select_scatter.default, parent, child, dim, step.index)
    start = sum(part.shape[dim] for part in parts[: step.index])
    return call(aten.slice_scatter.default, parent, child, dim, start, start + child.shape[dim])


_DEFAULT_DIM = {"hsplit": 1, "vsplit": 0, "dsplit": 2}
