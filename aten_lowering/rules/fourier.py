"""Fourier transforms as products with matrices of cosines and sines.

onnxruntime's DFT is slower than a matrix product up to lengths of some thousands, and where the length
is no power of two it loses four digits; its inverse has float32 accuracy for doubles. A long transform
is taken apart into two shorter ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.complexes import Complex, as_complex
from aten_lowering.dtypes import is_float
from aten_lowering.registry import lowers, lowers_complex
from aten_lowering.rules.complexes import conj, mul, real
from aten_lowering.rules.pads import constant_pad_nd
from shape_inference import Size, same

aten = torch.ops.aten
_INT64 = ir.DataType.INT64

# Longer transforms are taken apart, or left to the DFT op where the length is a large prime.
_DIRECT = 512
_DIRECT_PRIME = 2048


# What a transform of an axis multiplies by: a power of 1 / n, and n.
Scale = tuple[float, Size]
# What each norm of a forward transform multiplies by: this power of 1 / n. An inverse one does the rest.
_POWERS = {None: 0.0, "backward": 0.0, "ortho": 0.5, "forward": 1.0}

Signal = Complex | Value


def _power(norm: str | None, forward: bool) -> float:
    return _POWERS[norm] if forward else 1 - _POWERS[norm]


# Any number of axes: the sizes to cut or pad to, the axes, the power of 1 / n


def _axes(count: int, sizes: Sequence[Size] | None, axes: Sequence[int] | None) -> list[int]:
    if axes is not None:
        return [axis % count for axis in axes]
    return list(range(count - len(sizes), count)) if sizes is not None else list(range(count))


def _resized(op: Builder, value: Value, axes: Sequence[int], sizes: Sequence[Size] | None) -> Value:
    """The value cut or padded with zeros along axes; -1 leaves one as it is."""
    for axis, size in zip(axes, sizes or (), strict=sizes is not None):
        if size == -1 or same(size, dims(value)[axis]):
            continue
        pads: list[Size] = [0] * (2 * rank(value))
        pads[-1 - 2 * axis] = size - dims(value)[axis]
        value = constant_pad_nd(op, value, pads, 0.0)
    return value


def _resized_signal(op: Builder, signal: Signal, axes: Sequence[int], sizes: Sequence[Size] | None) -> Signal:
    """The signal cut or padded with zeros along axes; integers as float32."""
    if isinstance(signal, Complex):
        return Complex(_resized(op, signal.value, axes, sizes))
    return _resized(op, _floating(op, signal), axes, sizes)


def _floating(op: Builder, signal: Value) -> Value:
    return signal if is_float(dtype(signal)) else op.cast(signal, ir.DataType.FLOAT)


def _shape(signal: Signal) -> tuple[Size, ...]:
    return signal.dims if isinstance(signal, Complex) else dims(signal)


def _many(op: Builder, signal: Signal, axes: Sequence[int], power: float, forward: bool) -> Complex:
    """Complex or real to complex."""
    axes = list(axes)
    if not isinstance(signal, Complex):
        last = axes.pop()
        length = dims(signal)[last]
        real_result = real_transform(op, signal, last, length, (power, length))
        signal = real_result if forward else conj(op, real_result)
    for axis in axes:
        signal = _transform(op, signal, axis, (power, signal.dims[axis]), forward)
    return signal


def _many_onesided(op: Builder, signal: Value, axes: Sequence[int], power: float, forward: bool) -> Complex:
    """Real to the half of a complex spectrum."""
    length = dims(signal)[axes[-1]]
    result = real_transform(op, signal, axes[-1], length // 2 + 1, (power, length))
    result = result if forward else conj(op, result)
    return _many(op, result, axes[:-1], power, forward)


def _many_to_real(
    op: Builder, signal: Signal, axes: Sequence[int], length: Size, power: float, forward: bool
) -> Value:  # fmt: skip
    """The half of a complex spectrum to real; `length` is the size of the last axis."""
    kind = signal.dtype if isinstance(signal, Complex) else dtype(signal)
    signal = _many(op, as_complex(op, signal, kind), axes[:-1], power, forward)
    last, half = axes[-1], length // 2 + 1
    spectrum = conj(op, signal) if forward else signal
    spectrum = Complex(_resized(op, spectrum.value, [last], [half]))
    return inverse_real_transform(op, spectrum, last, length, (power, length))


# torch's transforms


def _one_axis(name: str) -> None:
    forward = not name.removeprefix("fft_").startswith("i")

    to_real = name in ("fft_irfft", "fft_hfft")  # which take real signals, too

    @_lowers(getattr(aten, name).default, to_real)
    def transform(op: Builder, self: Signal, n: Size | None, dim: int, norm: str | None) -> Signal:
        return _lowered(op, name, self, None if n is None else [n], [dim], _power(norm, forward))

    for suffix in ("2", "n"):

        @_lowers(getattr(aten, f"{name}{suffix}").default, to_real)
        def transforms(
            op: Builder, self: Signal, s: Sequence[Size] | None, dim: Sequence[int] | None, norm: str | None
        ) -> Signal:  # fmt: skip
            return _lowered(op, name, self, s, dim, _power(norm, forward))


def _lowers(overload: Any, both: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a rule for complex tensors, and for real ones where no complex one need be there."""

    def register(rule: Callable[..., Any]) -> Callable[..., Any]:
        return lowers(overload)(lowers_complex(overload)(rule)) if both else lowers_complex(overload)(rule)

    return register


def _lowered(
    op: Builder, name: str, signal: Signal, sizes: Sequence[Size] | None, axes: Sequence[int] | None, power: float
) -> Signal:  # fmt: skip
    axes = _axes(len(_shape(signal)), sizes, axes)
    if name in ("fft_irfft", "fft_hfft"):
        length: Size = -1 if sizes is None else sizes[-1]
        signal = _resized_signal(op, signal, axes[:-1], None if sizes is None else sizes[:-1])
        if length == -1:
            length = 2 * (_shape(signal)[axes[-1]] - 1)
        return _many_to_real(op, signal, axes, length, power, name == "fft_hfft")
    signal = _resized_signal(op, signal, axes, sizes)
    if name in ("fft_rfft", "fft_ihfft"):
        assert not isinstance(signal, Complex)  # torch takes real ones alone
        return _many_onesided(op, signal, axes, power, name == "fft_rfft")
    return _many(op, signal, axes, power, name == "fft_fft")


for _name in ("fft_fft", "fft_ifft", "fft_rfft", "fft_irfft", "fft_hfft", "fft_ihfft"):
    _one_axis(_name)


@lowers_complex(aten._fft_r2c.default)
def fft_r2c(op: Builder, self: Value, dim: Sequence[int], normalization: int, onesided: bool) -> Complex:
    """[*S] real -> [*S] complex; where onesided, only n // 2 + 1 of the last of the axes."""
    axes = _axes(rank(self), None, dim)
    to_complex = _many_onesided if onesided else _many
    return to_complex(op, self, axes, normalization / 2, True)


@lowers_complex(aten._fft_c2c.default)
def fft_c2c(op: Builder, self: Complex, dim: Sequence[int], normalization: int, forward: bool) -> Complex:
    """[*S] complex -> [*S] complex."""
    return _many(op, self, _axes(self.rank, None, dim), normalization / 2, forward)


@lowers_complex(aten._fft_c2r.default)
def fft_c2r(op: Builder, self: Complex, dim: Sequence[int], normalization: int, last_dim_size: Size) -> Value:
    """[*S] complex -> real, the last of the axes of the given size: the inverse of a onesided transform."""
    return _many_to_real(op, self, _axes(self.rank, None, dim), last_dim_size, normalization / 2, False)


# Transforms of one axis


def _transform(op: Builder, z: Complex, axis: int, scale: Scale, forward: bool) -> Complex:
    """[*L, n, *R] -> [*L, n, *R]."""
    value, order = _last(op, z.value, axis, z.rank)
    *lead, length, _ = dims(value)
    if type(length) is int and (parts := _factors(length)) is not None:
        result = _in_two(op, Complex(value), parts, forward)
        value = _scaled(op, result.value, scale)
    elif type(length) is int and length > _DIRECT_PRIME:
        value = _by_dft(op, value, forward, scale)
    else:
        matrix = _matrix(op, length, length, dtype(value), 1 if forward else -1, scale)
        flat = op.reshape(value, [*lead, length * 2])
        value = op.reshape(op.MatMul(flat, matrix), [*lead, length, 2])
    return Complex(_back(op, value, order))


def real_transform(op: Builder, x: Value, axis: int, kept: Size, scale: Scale) -> Complex:
    """[*L, n, *R] real -> [*L, m, *R], the first m frequencies."""
    length = dims(x)[axis]
    if type(length) is int and length > _DIRECT and (_factors(length) is not None or length > _DIRECT_PRIME):
        wide = op.unsqueeze(x, [-1])
        both = _transform(op, Complex(op.Concat(wide, op.Mul(wide, 0.0), axis=-1)), axis, scale, forward=True)
        return Complex(op.slice(both.value, axis, 0, kept))
    count = len(dims(x))
    x = op.transpose(x, [*(a for a in range(count) if a != axis), axis])
    *lead, length = dims(x)
    matrix = _matrix(op, length, kept, dtype(x), 1, scale, from_real=True)
    product = op.reshape(op.MatMul(x, matrix), [*lead, kept, 2])
    order = [*(a for a in range(count) if a != axis), axis, count]
    return Complex(_back(op, product, order))


def inverse_real_transform(op: Builder, z: Complex, axis: int, length: Size, scale: Scale) -> Value:
    """[*L, n // 2 + 1, *R] -> [*L, n, *R] real."""
    if type(length) is int and (length <= _DIRECT or (_factors(length) is None and length <= _DIRECT_PRIME)):
        value, order = _last(op, z.value, axis, z.rank)
        *lead, half, _ = dims(value)
        matrix = op.constant(_scaled_by(_synthesis(length), scale), dtype(value))
        product = op.MatMul(op.reshape(value, [*lead, half * 2]), matrix)
        return _back(op, product, order[:-1])
    # The other half mirrors the first: x_(n-k) = conj(x_k).
    inner = op.slice(z.value, axis, 1, (length + 1) // 2)
    size = dims(inner)[axis]
    backward = op.Slice(inner, [-1], [-(2**31)], [axis], [-1])
    backward = op.sized(backward, [size if a == axis else n for a, n in enumerate(dims(inner))])
    whole = op.Concat(z.value, conj(op, Complex(backward)).value, axis=axis)
    whole = op.sized(whole, [length if a == axis else n for a, n in enumerate(dims(whole))])
    return real(op, _transform(op, Complex(whole), axis, scale, forward=False))


def _last(op: Builder, value: Value, axis: int, count: int) -> tuple[Value, list[int]]:
    """[*L, n, *R, 2] -> [*L, *R, n, 2], and the order that was taken."""
    order = [*(a for a in range(count) if a != axis), axis, count]
    return op.transpose(value, order), order


def _back(op: Builder, value: Value, order: Sequence[int]) -> Value:
    return op.transpose(value, [order.index(axis) for axis in range(len(order))])


# Matrices


def _angles(rows: int, columns: int, period: int) -> np.ndarray:
    """[rows, columns], 2 pi (j k mod n) / n."""
    turns = np.outer(np.arange(rows), np.arange(columns)) % period
    return turns * (2 * np.pi / period)


def _matrix(
    op: Builder, length: Size, kept: Size, kind: ir.DataType, sign: int, scale: Scale, *, from_real: bool = False
) -> Value:  # fmt: skip
    """[2 n, 2 m], or [n, 2 m] of a real signal: e^(-i sign 2 pi j k / n) on pairs of parts."""
    if type(length) is int and type(kept) is int:
        angles = _angles(length, kept, length)
        cosines, sines = np.cos(angles), -sign * np.sin(angles)
        row = np.stack([cosines, sines], -1).reshape(length, kept * 2)
        if not from_real:
            turned = np.stack([-sines, cosines], -1).reshape(length, kept * 2)
            row = np.stack([row, turned], 1).reshape(length * 2, kept * 2)
        return op.constant(_scaled_by(row, scale), kind)
    return _computed_matrix(op, length, kept, kind, sign, scale, from_real)


def _computed_matrix(
    op: Builder, length: Size, kept: Size, kind: ir.DataType, sign: int, scale: Scale, from_real: bool
) -> Value:  # fmt: skip
    """The same, by the model, for a length that is not known before."""
    turns = op.Mul(op.unsqueeze(_range(op, length), [1]), _range(op, kept))
    turns = op.cast(op.Mod(turns, op.scalar(length)), kind)
    angles = op.Mul(turns, op.Div(op.constant(2 * math.pi, kind), op.scalar(length, kind)))
    angles = op.unsqueeze(angles, [2])
    cosines, sines = op.Cos(angles), op.Sin(angles)
    sines = op.Neg(sines) if sign > 0 else sines
    rows = op.Concat(cosines, sines, axis=-1)
    if not from_real:
        turned = op.Concat(op.Neg(sines), cosines, axis=-1)
        rows = op.Concat(op.unsqueeze(rows, [1]), op.unsqueeze(turned, [1]), axis=1)
    height = length if from_real else length * 2
    return _scaled(op, op.reshape(rows, [height, kept * 2]), scale)


def _range(op: Builder, size: Size) -> Value:
    return op.sized(op.Range(op.constant(0), op.scalar(size), op.constant(1)), [size])


def _synthesis(length: int) -> np.ndarray:
    """[2 (n // 2 + 1), n]: the parts of a half spectrum -> a real signal."""
    half = length // 2 + 1
    angles = _angles(half, length, length)
    weights = np.full((half, 1), 2.0)
    weights[0] = 1
    if length % 2 == 0:
        weights[-1] = 1
    return np.stack([weights * np.cos(angles), -weights * np.sin(angles)], 1).reshape(half * 2, length)


def _scaled_by(matrix: np.ndarray, scale: Scale) -> np.ndarray:
    power, size = scale
    return matrix * float(size) ** -power if power else matrix  # type: ignore[arg-type]  # of a static size


def _scaled(op: Builder, value: Value, scale: Scale) -> Value:
    power, size = scale
    if not power:
        return value
    if type(size) is int:
        return op.Mul(value, float(size) ** -power)
    divisor = op.scalar(size, dtype(value))
    return op.Div(value, op.Sqrt(divisor) if power == 0.5 else divisor)


# Long transforms


def _factors(length: int) -> tuple[int, int] | None:
    """Two factors of a long length, as near to each other as can be; None for a short one or a prime."""
    if length <= _DIRECT:
        return None
    first = next((n for n in range(math.isqrt(length), 1, -1) if length % n == 0), None)
    return None if first is None else (first, length // first)


def _in_two(op: Builder, z: Complex, factors: tuple[int, int], forward: bool) -> Complex:
    """[*L, a b] -> [*L, a b], by transforms of the lengths a and b.

    With j = j1 b + j2 and k = k1 + a k2, w_n^(j k) = w_a^(j1 k1) w_n^(j2 k1) w_b^(j2 k2).
    """
    a, b = factors
    lead, count = z.dims[:-1], z.rank - 1
    grid = Complex(op.reshape(z.value, [*lead, a, b, 2]))
    grid = _transform(op, grid, count, (0.0, a), forward)
    angles = _angles(a, b, a * b)
    sign = -1 if forward else 1
    twiddles = np.stack([np.cos(angles), sign * np.sin(angles)], -1)
    grid = mul(op, grid, Complex(op.constant(twiddles, grid.dtype)))
    grid = _transform(op, grid, count + 1, (0.0, b), forward)
    turned = op.transpose(grid.value, [*range(count), count + 1, count, count + 2])
    return Complex(op.reshape(turned, [*lead, a * b, 2]))


def _by_dft(op: Builder, value: Value, forward: bool, scale: Scale) -> Value:
    """[*L, n, 2] -> [*L, n, 2], by the runtime's transform; its inverse is scaled by 1 / n."""
    axis = len(dims(value)) - 2
    if op.opset_version >= 20:
        result = op.DFT(value, None, axis, inverse=int(not forward))
    else:
        result = op.DFT(value, axis=axis, inverse=int(not forward))
    power, size = scale
    return _scaled(op, result, (power if forward else power - 1, size))
