"""Complex tensors put into another shape or order: the rules for real tensors, on all dims but the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from aten_lowering.builder import Builder, Value, rank
from aten_lowering.complexes import Change, Complex, as_complex, leading, part_type
from aten_lowering.errors import UnsupportedArgument
from aten_lowering.registry import lowers_complex
from aten_lowering.rules import diagonals, layouts, pads
from shape_inference import Size, product

aten = torch.ops.aten


def _axis(op: Builder, number: Complex, axis: int) -> int:
    return axis % max(number.rank, 1)


def _new_axis(op: Builder, number: Complex, axis: int) -> int:
    return axis % (number.rank + 1)


def _axes(op: Builder, number: Complex, axes: Sequence[int]) -> list[int]:
    return [_axis(op, number, axis) for axis in axes]


def _order(op: Builder, number: Complex, axes: Sequence[int]) -> list[int]:
    return [*_axes(op, number, axes), number.rank]


def _sizes(op: Builder, number: Complex, sizes: Sequence[Size]) -> list[Size]:
    return [*sizes, 2]


def _counts(op: Builder, number: Complex, counts: Sequence[Size]) -> list[Size]:
    return [*counts, 1]


def _index(op: Builder, number: Complex, index: Value) -> Value:
    return op.Concat(*[op.unsqueeze(index, [-1])] * 2, axis=-1)


def _nothing(op: Builder, number: Complex, given: Any) -> None:
    """A dtype, which is that of the argument."""


_DIM: dict[str, Change] = {"dim": _axis}
LAYOUTS: dict[Any, dict[str, Change]] = {
    aten.view.default: {"size": _sizes},
    aten._unsafe_view.default: {"size": _sizes},
    aten.reshape.default: {"shape": _sizes},
    aten.flatten.using_ints: {"start_dim": _axis, "end_dim": _axis},
    aten.expand.default: {"size": _sizes},
    aten.repeat.default: {"repeats": _counts},
    aten.permute.default: {"dims": _order},
    aten.transpose.int: {"dim0": _axis, "dim1": _axis},
    aten.unsqueeze.default: {"dim": _new_axis},
    aten.squeeze.dim: _DIM,
    aten.squeeze.dims: {"dim": _axes},
    aten.slice.Tensor: _DIM,
    aten.select.int: _DIM,
    aten.index_select.default: _DIM,
    aten.gather.default: {"dim": _axis, "index": _index},
    aten.index.Tensor: {},
    aten.index_put.default: {},
    aten.cat.default: _DIM,
    aten.stack.default: {"dim": _new_axis},
    aten.split.Tensor: _DIM,
    aten.split_with_sizes.default: _DIM,
    aten.unbind.int: _DIM,
    aten.flip.default: {"dims": _axes},
    aten.cumsum.default: {"dim": _axis, "dtype": _nothing},
    aten.slice_scatter.default: _DIM,
    aten.select_scatter.default: _DIM,
}
for _overload, _changes in LAYOUTS.items():
    leading(_overload, **_changes)


@lowers_complex(
    aten.clone.default, aten.contiguous.default, aten.detach.default, aten.alias.default,
    aten.resolve_conj.default, aten.resolve_neg.default,
)  # fmt: skip
def unchanged(op: Builder, self: Complex | Value) -> Complex | Value:
    """[*S] -> [*S], the same."""
    return self


@lowers_complex(aten.t.default)
def t(op: Builder, self: Complex) -> Complex:
    """[N, M] -> [M, N]; a vector stays."""
    return Complex(op.transpose(self.value, [1, 0, 2])) if self.rank == 2 else self


@lowers_complex(aten.squeeze.default)
def squeeze(op: Builder, self: Complex) -> Complex:
    """[*S] -> those sizes of it that are not 1."""
    return Complex(op.squeeze(self.value, [axis for axis, size in enumerate(self.dims) if size == 1]))


@lowers_complex(aten.roll.default)
def roll(op: Builder, self: Complex, shifts: Sequence[Size], dims: Sequence[int]) -> Complex:
    """[*S] -> [*S], elements moved along axes, those that leave at one end come in at the other."""
    if dims:
        return Complex(layouts.roll(op, self.value, shifts, _axes(op, self, dims)))
    flat = op.reshape(self.value, [product(self.dims), 2])
    return Complex(op.reshape(layouts.roll(op, flat, shifts, [0]), [*self.dims, 2]))


@lowers_complex(aten.diagonal.default)
def diagonal(op: Builder, self: Complex, offset: int, dim1: int, dim2: int) -> Complex:
    """[*S] -> [*R, d], the diagonal of two axes."""
    found = diagonals.diagonal(op, self.value, offset, _axis(op, self, dim1), _axis(op, self, dim2))
    count = rank(found)
    return Complex(op.transpose(found, [*range(count - 2), count - 1, count - 2]))


@lowers_complex(aten.constant_pad_nd.default)
def constant_pad_nd(op: Builder, self: Complex, pad: Sequence[Size], value: float | complex) -> Complex:
    """[*S] -> sizes larger by the pads, filled with zeros."""
    if value:
        raise UnsupportedArgument(f"aten.constant_pad_nd.default: value must be 0 for complex tensors, got {value}")
    return Complex(pads.constant_pad_nd(op, self.value, [0, 0, *pad], 0.0))


@lowers_complex(aten.where.self, aten.where.ScalarOther, aten.where.ScalarSelf)
def where(op: Builder, condition: Value, self: Any, other: Any) -> Complex:
    """[*C], [*A], [*B] -> broadcast, choose by the condition."""
    kind = part_type(self, other)
    chosen = as_complex(op, self, kind).value, as_complex(op, other, kind).value
    return Complex(op.Where(op.unsqueeze(condition, [-1]), *chosen))


@lowers_complex(aten.masked_fill.Scalar, aten.masked_fill.Tensor)
def masked_fill(op: Builder, self: Complex, mask: Value, value: Any) -> Complex:
    """[*S], [*M] -> [*S], the value where the mask is true."""
    return Complex(op.Where(op.unsqueeze(mask, [-1]), as_complex(op, value, self.dtype).value, self.value))
