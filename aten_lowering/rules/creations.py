"""Tensors made from numbers: filled ones, ranges, grids, triangles of indices, windows."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims
from aten_lowering.builder import dtype as dtype_of
from aten_lowering.dtypes import from_torch, is_float
from aten_lowering.errors import UnsupportedArgument
from aten_lowering.promotion import Operand, as_value
from aten_lowering.quotients import Quotient
from aten_lowering.registry import lowers
from shape_inference import Dim, Size, at_least, larger

aten = torch.ops.aten

_FLOAT, _DOUBLE, _INT64 = ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.INT64
_LARGEST_CONSTANT = 1024  # elements; what is larger is computed when the model runs

# What memory is filled with; what torch leaves undefined is 0.
SIZED: dict[Any, int] = {
    aten.zeros.default: 0,
    aten.ones.default: 1,
    aten.empty.memory_format: 0,
    aten._efficientzerotensor.default: 0,
}
LIKE: dict[Any, int] = {
    aten.zeros_like.default: 0,
    aten.ones_like.default: 1,
    aten.empty_like.default: 0,
}
NEW: dict[Any, int] = {
    aten.new_zeros.default: 0,
    aten.new_ones.default: 1,
    aten.new_empty.default: 0,
}
# All arguments are numbers that the capture knows: torch computes the constant.
KNOWN: tuple[Any, ...] = (
    aten.tril_indices.default,
    aten.triu_indices.default,
    aten.bartlett_window.default,
    aten.bartlett_window.periodic,
    aten.blackman_window.default,
    aten.blackman_window.periodic,
    aten.hamming_window.default,
    aten.hamming_window.periodic,
    aten.hamming_window.periodic_alpha,
    aten.hamming_window.periodic_alpha_beta,
    aten.hann_window.default,
    aten.hann_window.periodic,
    aten.kaiser_window.default,
    aten.kaiser_window.periodic,
    aten.kaiser_window.beta,
    aten.fft_fftfreq.default,
    aten.fft_rfftfreq.default,
)


def filled(op: Builder, sizes: Sequence[Size], number: Operand, kind: ir.DataType) -> Value:
    """A tensor of one number: a constant where it is small, else one node."""
    value = as_value(op, number, kind)
    content = op.content(value)
    known = content is not None and not isinstance(content[0], Dim)
    if content is not None and known and all(type(size) is int for size in sizes):
        shape = [int(size) for size in sizes]  # type: ignore[arg-type]  # they are integers
        if math.prod(shape) <= _LARGEST_CONSTANT:
            return op.constant(np.full(shape, content[0], dtype=kind.numpy()), kind)
    return op.expand(value, sizes)


def filled_like(op: Builder, like: Value, number: Operand, kind: ir.DataType) -> Value:
    """A tensor of one number in the shape of another."""
    if all(type(size) is int for size in dims(like)):
        return filled(op, dims(like), number, kind)
    return op.Expand(as_value(op, number, kind), op.Shape(like))


def _default(dtype: torch.dtype | None) -> ir.DataType:
    return from_torch(torch.get_default_dtype() if dtype is None else dtype)


def _is_real(number: Operand) -> bool:
    """Whether a range of such numbers is one of floats."""
    return isinstance(number, (float, Quotient)) or (isinstance(number, Value) and is_float(dtype_of(number)))


def _sized(overload: Any, number: int) -> None:
    @lowers(overload)
    def rule(op: Builder, size: Sequence[Size], dtype: torch.dtype | None) -> Value:
        return filled(op, size, number, _default(dtype))


def _like(overload: Any, number: int) -> None:
    @lowers(overload)
    def rule(op: Builder, self: Value, dtype: torch.dtype | None) -> Value:
        return filled_like(op, self, number, dtype_of(self) if dtype is None else from_torch(dtype))


def _new(overload: Any, number: int) -> None:
    @lowers(overload)
    def rule(op: Builder, self: Value, size: Sequence[Size], dtype: torch.dtype | None) -> Value:
        return filled(op, size, number, dtype_of(self) if dtype is None else from_torch(dtype))


def _known(overload: Any) -> None:
    names = [argument.name for argument in overload._schema.arguments]
    names = [name for name in names if name not in ("layout", "device", "pin_memory")]

    def rule(op: Builder, *arguments: Any) -> Value:
        if any(isinstance(argument, (Value, Dim, Quotient)) for argument in arguments):
            raise UnsupportedArgument(
                f"{overload}: sizes must be static",
                hint="leave the size of the window or of the triangle static",
            )
        result = overload(**dict(zip(names, arguments, strict=True)))
        return op.constant(result.double().numpy(), from_torch(result.dtype))

    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD
    rule.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what `inspect.signature` reads
        [inspect.Parameter(name, kinds) for name in ("op", *names)]
    )
    lowers(overload)(rule)


for _register, _table in ((_sized, SIZED), (_like, LIKE), (_new, NEW)):
    for _overload, _number in _table.items():
        _register(_overload, _number)
for _overload in KNOWN:
    _known(_overload)


@lowers(aten.empty_strided.default)
def empty_strided(op: Builder, size: Sequence[Size], stride: Sequence[Size], dtype: torch.dtype | None) -> Value:
    """[*size], 0."""
    return filled(op, size, 0, _default(dtype))


@lowers(aten.empty_permuted.default)
def empty_permuted(
    op: Builder, size: Sequence[Size], physical_layout: Sequence[int], dtype: torch.dtype | None
) -> Value:
    """[*size], 0."""
    return filled(op, size, 0, _default(dtype))


@lowers(aten.new_empty_strided.default)
def new_empty_strided(
    op: Builder, self: Value, size: Sequence[Size], stride: Sequence[Size], dtype: torch.dtype | None
) -> Value:
    """[*size], 0."""
    return filled(op, size, 0, dtype_of(self) if dtype is None else from_torch(dtype))


@lowers(aten.full.default)
def full(op: Builder, size: Sequence[Size], fill_value: Operand, dtype: torch.dtype | None) -> Value:
    """[*size], the number; its own kind says the dtype where none is given."""
    return filled(op, size, fill_value, _kind_of_number(fill_value, dtype))


@lowers(aten.full_like.default)
def full_like(op: Builder, self: Value, fill_value: Operand, dtype: torch.dtype | None) -> Value:
    """[*S] -> [*S], the number."""
    return filled_like(op, self, fill_value, dtype_of(self) if dtype is None else from_torch(dtype))


@lowers(aten.new_full.default)
def new_full(op: Builder, self: Value, size: Sequence[Size], fill_value: Operand, dtype: torch.dtype | None) -> Value:
    """[*size], the number, in the dtype of the tensor."""
    return filled(op, size, fill_value, dtype_of(self) if dtype is None else from_torch(dtype))


@lowers(aten.fill.Scalar, aten.fill.Tensor)
def fill(op: Builder, self: Value, value: Operand) -> Value:
    """[*S], [] -> [*S], the number."""
    return filled_like(op, self, value, dtype_of(self))


@lowers(aten.zero.default)
def zero(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], 0."""
    return filled_like(op, self, 0, dtype_of(self))


@lowers(aten.scalar_tensor.default)
def scalar_tensor(op: Builder, s: Operand, dtype: torch.dtype | None) -> Value:
    """[], the number; float32 where no dtype is given."""
    return as_value(op, s, _default(dtype))


def _kind_of_number(number: Operand, dtype: torch.dtype | None) -> ir.DataType:
    if dtype is not None or _is_real(number):
        return _default(dtype)
    is_bool = isinstance(number, bool) or (isinstance(number, Value) and number.dtype == ir.DataType.BOOL)
    return ir.DataType.BOOL if is_bool else _INT64


@lowers(aten.arange.default)
def arange(op: Builder, end: Operand, dtype: torch.dtype | None) -> Value:
    """[ceil(end)], 0, 1, … in steps of 1."""
    return arange_start_step(op, 0, end, 1, dtype)


@lowers(aten.arange.start)
def arange_start(op: Builder, start: Operand, end: Operand, dtype: torch.dtype | None) -> Value:
    """[ceil(end - start)], start, start + 1, … in steps of 1."""
    return arange_start_step(op, start, end, 1, dtype)


@lowers(aten.arange.start_step)
def arange_start_step(op: Builder, start: Operand, end: Operand, step: Operand, dtype: torch.dtype | None) -> Value:
    """[n], start + i step, for n = ceil((end - start) / step).

    Range would add up the rounding errors of a fractional step, so it counts in integers.
    """
    numbers = (start, end, step)
    kind = _default(dtype) if dtype is not None or any(map(_is_real, numbers)) else _INT64
    if all(isinstance(number, (int, float)) for number in numbers):
        known = torch.arange(start, end, step, dtype=dtype)  # type: ignore[arg-type]  # they are numbers
        if known.numel() <= _LARGEST_CONSTANT or not all(float(number).is_integer() for number in numbers):  # type: ignore[arg-type]  # the same
            return op.constant(known.double().numpy() if is_float(kind) else known.numpy(), kind)
    numbers = (_whole(start), _whole(end), _whole(step))
    if not any(map(_is_real, numbers)):
        sizes = [number for number in numbers if isinstance(number, (int, Dim))]
        if len(sizes) == len(numbers) and _passes_zero(*sizes):
            return op.cast(_counted(op, *sizes), kind)
        return op.cast(op.Range(*(as_value(op, number, _INT64) for number in numbers)), kind)
    first, last, each = (as_value(op, number, _DOUBLE) for number in numbers)
    count = op.Cast(op.Ceil(op.Div(op.Sub(last, first), each)), to=_INT64)
    places = op.Cast(op.Range(0, count, 1), to=_DOUBLE)
    return op.cast(op.Add(op.Mul(places, each), first), kind)


@lowers(aten.range.default)
def range_to(op: Builder, start: Operand, end: Operand, dtype: torch.dtype | None) -> Value:
    """[floor(end - start) + 1], start, start + 1, …: the end counts."""
    return range_step(op, start, end, 1, dtype)


@lowers(aten.range.step)
def range_step(op: Builder, start: Operand, end: Operand, step: Operand, dtype: torch.dtype | None) -> Value:
    """[n], start + i step, for n = floor((end - start) / step) + 1: the end counts."""
    kind = torch.get_default_dtype() if dtype is None else dtype
    if isinstance(start, (int, float)) and isinstance(end, (int, float)) and isinstance(step, (int, float)):
        count = int((end - start) / step) + 1
        return arange_start_step(op, start, start + (count - 0.5) * step, step, kind)
    beyond = end + 1 if step == 1 and isinstance(end, (int, Dim)) else None
    if beyond is None:
        raise UnsupportedArgument(
            f"aten.range: start, end and step must be numbers known at export, or sizes in steps of 1, got {end}",
            hint="use torch.arange",
        )
    return arange_start_step(op, start, beyond, step, kind)


def _passes_zero(start: Size, end: Size, step: Size) -> bool:
    """Whether a number or the end may be negative."""
    return not (type(step) is int and step > 0 and at_least(start, 0) and at_least(end, 0))


def _counted(op: Builder, start: Size, end: Size, step: Size) -> Value:
    """The same numbers as [start + i step], since what runs Gather by a Range as a Slice takes -1 for the last place.

    onnxruntime's GatherToSliceFusion does: `x[arange(n - 1, -1, -1)]` is empty there.
    """
    down = type(step) is int and step < 0
    distance, length = (start - end, -step) if down else (end - start, step)
    places = op.Range(op.constant(0), op.scalar((distance + length - 1) // length), op.constant(1))
    if step == -1:
        return op.Sub(op.scalar(start), places)
    return op.Add(places if step == 1 else op.Mul(places, op.scalar(step)), op.scalar(start))


@lowers(aten.linspace.default, aten.linspace.Tensor_Tensor, aten.linspace.Tensor_Scalar, aten.linspace.Scalar_Tensor)
def linspace(op: Builder, start: Operand, end: Operand, steps: Size, dtype: torch.dtype | None) -> Value:
    """[steps], evenly from start to end, counted from the nearer one; integers are truncated."""
    kind = _default(dtype)
    if _are_numbers(start, end, steps):
        known = torch.linspace(start, end, steps, dtype=dtype)  # type: ignore[arg-type]  # they are numbers
        return op.constant(known.double().numpy() if is_float(kind) else known.numpy(), kind)
    return op.cast(_evenly(op, start, end, steps, kind), kind)


@lowers(aten.logspace.default, aten.logspace.Tensor_Tensor, aten.logspace.Tensor_Scalar, aten.logspace.Scalar_Tensor)
def logspace(op: Builder, start: Operand, end: Operand, steps: Size, base: float, dtype: torch.dtype | None) -> Value:
    """[steps], base to the powers that go evenly from start to end."""
    kind = _default(dtype)
    if _are_numbers(start, end, steps):
        known = torch.logspace(start, end, steps, base, dtype=dtype)  # type: ignore[arg-type]  # they are numbers
        return op.constant(known.double().numpy() if is_float(kind) else known.numpy(), kind)
    powers = _evenly(op, start, end, steps, kind)
    return op.cast(op.Pow(op.constant(base, dtype_of(powers)), powers), kind)


def _are_numbers(*numbers: Operand) -> bool:
    return all(isinstance(number, (int, float)) for number in numbers)


def _evenly(op: Builder, start: Operand, end: Operand, steps: Size, kind: ir.DataType) -> Value:
    """The numbers of a linspace as floats; those of an integer one as doubles."""
    wide = {ir.DataType.BFLOAT16: _FLOAT}.get(kind, kind) if is_float(kind) else _DOUBLE
    first, last = (op.cast(as_value(op, number, kind), wide) for number in (start, end))
    first, last = op.reshape(first, []), op.reshape(last, [])
    if type(steps) is int and steps <= 1:
        return op.expand(first, [steps])
    places = op.cast(op.Range(0, op.scalar(steps), 1), wide) if isinstance(steps, Dim) else np.arange(steps)
    places = places if isinstance(places, Value) else op.constant(places, wide)
    step = op.Div(op.Sub(last, first), op.scalar(larger(steps - 1, 1), wide))
    ahead = op.Add(first, op.Mul(step, places))
    behind = op.Sub(last, op.Mul(step, op.Sub(op.scalar(steps - 1, wide), places)))
    return op.Where(op.Less(places, op.scalar(larger(steps // 2, 1), wide)), ahead, behind)


@lowers(aten.eye.default)
def eye(op: Builder, n: Size, dtype: torch.dtype | None) -> Value:
    """[n, n], 1 on the diagonal."""
    return eye_m(op, n, n, dtype)


@lowers(aten.eye.m)
def eye_m(op: Builder, n: Size, m: Size, dtype: torch.dtype | None) -> Value:
    """[n, m], 1 on the diagonal."""
    kind = _default(dtype)
    used = kind if kind in (_FLOAT, _DOUBLE, ir.DataType.INT32, _INT64) else _FLOAT
    return op.cast(op.EyeLike(filled(op, [n, m], 0, used)), kind)


def _whole(number: Operand) -> Operand:
    """A float that is a whole number as that number."""
    return int(number) if isinstance(number, float) and number.is_integer() else number
