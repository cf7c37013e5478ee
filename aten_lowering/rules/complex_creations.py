"""Complex tensors of one number."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from aten_lowering.builder import Builder, Value, dims, dtype
from aten_lowering.complexes import Complex, as_complex
from aten_lowering.dtypes import from_torch
from aten_lowering.promotion import as_value
from aten_lowering.registry import lowers_complex
from aten_lowering.rules.complexes import real
from shape_inference import Size

aten = torch.ops.aten


def _filled(op: Builder, sizes: Sequence[Size], number: complex, dtype: torch.dtype) -> Complex | Value:
    """A tensor of one number; real where the dtype is."""
    kind = from_torch(dtype)
    if not dtype.is_complex:
        return op.expand(as_value(op, complex(number).real, kind), list(sizes))
    return Complex(op.expand(as_complex(op, number, kind).value, [*sizes, 2]))


def _dtype_of(tensor: Complex | Value, dtype: torch.dtype | None) -> torch.dtype:
    if dtype is not None:
        return dtype
    is_double = isinstance(tensor, Complex) and tensor.dtype == from_torch(torch.float64)
    return torch.complex128 if is_double else torch.complex64


@lowers_complex(aten.zeros.default, aten.empty.memory_format)
def zeros(op: Builder, size: Sequence[Size], dtype: torch.dtype) -> Complex | Value:
    """-> [*size], zeros; where torch leaves the memory as it is, too."""
    return _filled(op, size, 0, dtype)


@lowers_complex(aten.ones.default)
def ones(op: Builder, size: Sequence[Size], dtype: torch.dtype) -> Complex | Value:
    """-> [*size], ones."""
    return _filled(op, size, 1, dtype)


@lowers_complex(aten.full.default)
def full(op: Builder, size: Sequence[Size], fill_value: complex, dtype: torch.dtype | None) -> Complex | Value:
    """-> [*size], a number."""
    return _filled(op, size, fill_value, dtype or torch.complex64)


@lowers_complex(aten.zeros_like.default, aten.empty_like.default)
def zeros_like(op: Builder, self: Complex | Value, dtype: torch.dtype | None) -> Complex | Value:
    """[*S] -> [*S], zeros."""
    return full_like(op, self, 0, dtype)


@lowers_complex(aten.ones_like.default)
def ones_like(op: Builder, self: Complex | Value, dtype: torch.dtype | None) -> Complex | Value:
    """[*S] -> [*S], ones."""
    return full_like(op, self, 1, dtype)


@lowers_complex(aten.full_like.default)
def full_like(op: Builder, self: Complex | Value, fill_value: complex, dtype: torch.dtype | None) -> Complex | Value:
    """[*S] -> [*S], a number."""
    sizes = self.dims if isinstance(self, Complex) else dims(self)
    return _filled(op, sizes, fill_value, _dtype_of(self, dtype))


@lowers_complex(aten.copy.default)
def copy(op: Builder, self: Complex | Value, src: Complex | Value) -> Complex | Value:
    """[*S], [*T] -> [*S], the second stretched, in the dtype of the first."""
    if isinstance(self, Complex):
        return Complex(op.expand(as_complex(op, src, self.dtype).value, [*self.dims, 2]))
    assert isinstance(src, Complex)  # one of the two is
    return op.expand(op.cast(real(op, src), dtype(self)), dims(self))


@lowers_complex(aten.fill.Scalar, aten.fill.Tensor)
def fill(op: Builder, self: Complex, value: Complex | Value | complex) -> Complex:
    """[*S], [] -> [*S], one number everywhere."""
    return Complex(op.expand(as_complex(op, value, self.dtype).value, [*self.dims, 2]))


@lowers_complex(aten.new_zeros.default, aten.new_empty.default)
def new_zeros(op: Builder, self: Complex | Value, size: Sequence[Size], dtype: torch.dtype | None) -> Complex | Value:
    """-> [*size], zeros in the dtype of a tensor."""
    return _filled(op, size, 0, _dtype_of(self, dtype))


@lowers_complex(aten.new_ones.default)
def new_ones(op: Builder, self: Complex | Value, size: Sequence[Size], dtype: torch.dtype | None) -> Complex | Value:
    """-> [*size], ones in the dtype of a tensor."""
    return _filled(op, size, 1, _dtype_of(self, dtype))
