"""Whether a difference is the exporter's or the model's: how far eager's own result is from what it gives in float64.

Rounding errors that a model magnifies (a topk of near ties, a norm of what cancels out, very deep or untrained
networks) differ between any two ways of computing it.  Then eager in float32 is as far from float64 as onnxruntime is,
be it by luck only where its inputs are others by no more than a rounding error.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F

from exporter.validation.comparison import Difference, compare

_ALIKE = 4.0  # so many times eager's own error is no more than another order of the same sums may give


@contextlib.contextmanager
def in_float64(model: Any) -> Iterator[None]:
    """Let a module's parameters and buffers, and what its code makes by default, be float64 for a while."""
    tensors = [*model.parameters(), *model.buffers()] if isinstance(model, torch.nn.Module) else []
    before = [(tensor, tensor.data) for tensor in tensors]
    default = torch.get_default_dtype()
    try:
        for tensor, data in before:
            tensor.data = raised(data)
        torch.set_default_dtype(torch.float64)
        with _grouped_products():
            yield
    finally:
        torch.set_default_dtype(default)
        for tensor, data in before:
            tensor.data = data


@contextlib.contextmanager
def _grouped_products() -> Iterator[None]:
    """Let the products of experts, which torch has in narrower types alone, be taken in float64 too."""
    original = F.grouped_mm

    def grouped_mm(mat_a: torch.Tensor, mat_b: torch.Tensor, **others: Any) -> torch.Tensor:
        """[M, K], [G, K, N] -> [M, N], the rows up to each of the offsets by a matrix of their own."""
        ends = others.get("offs")
        if mat_a.dtype != torch.float64 or ends is None or (mat_a.ndim, mat_b.ndim) != (2, 3):
            return original(mat_a, mat_b, **others)
        result = mat_a.new_zeros(mat_a.shape[0], mat_b.shape[2])
        for matrix, (start, end) in zip(mat_b, itertools.pairwise([0, *ends.tolist()]), strict=True):
            result[start:end] = mat_a[start:end] @ matrix
        return result

    F.grouped_mm = grouped_mm
    try:
        yield
    finally:
        F.grouped_mm = original


def raised(value: Any) -> Any:
    """A float tensor in float64; anything else as it is."""
    return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def nudged(value: Any) -> Any:
    """A float tensor whose elements are larger or smaller by a rounding error, by chance; anything else as it is."""
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return value
    signs = torch.randint(0, 2, value.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return value + value * signs.to(value) * torch.finfo(value.dtype).eps


def judged(
    difference: Difference, expected: torch.Tensor, got: torch.Tensor,
    exact: Callable[[], torch.Tensor | None], nearby: Callable[[], torch.Tensor | None],
) -> Difference:  # fmt: skip
    """A difference, with a note on whose it is where values differ and eager can be run in float64.

    Args:
        difference: how the output differs.
        expected: what eager gave.
        got: what the runtime gave.
        exact: what eager gives in float64; None where it cannot.
        nearby: what eager gives for inputs that are `nudged`; None where it cannot.
    """
    if not difference.outside or (reference := exact()) is None:
        return difference
    if reference.shape != expected.shape:
        return replace(difference, note="eager itself gives another shape in float64", ill_conditioned=True)
    theirs, ours = _distance(reference, expected), _distance(reference, got)
    moved = ""
    if ours > _ALIKE * theirs and (near := nearby()) is not None and near.shape == reference.shape:
        theirs = max(theirs, _distance(reference, near))
        moved = " at inputs moved by a rounding error"
    is_alike = ours <= _ALIKE * theirs
    words = "the model is ill-conditioned" if is_alike else "the exported model is less exact than eager"
    note = f"of what eager gives in float64, eager{moved} is {theirs:.1e} off, this {ours:.1e}: {words}"
    return replace(difference, note=note, ill_conditioned=is_alike)


def _distance(reference: torch.Tensor, result: torch.Tensor) -> float:
    """The largest difference, of the scale, of floats; the share of integers and truths that differ."""
    found = compare("", reference, result.to(reference.dtype), tolerance=0.0)
    return found.relative if reference.is_floating_point() else found.outside
