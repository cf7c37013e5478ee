"""Fourier transforms of the windows of a signal, and back.

One Conv makes windows, weighs and transforms them: its kernels are the cosines and sines under the
window. It is several times faster than onnxruntime's STFT. Long windows and doubles, for which
runtimes have no Conv, are gathered and transformed as any signal.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.complexes import Complex
from aten_lowering.errors import UnsupportedArgument
from aten_lowering.registry import lowers, lowers_complex
from aten_lowering.rules.fourier import inverse_real_transform, real_transform
from aten_lowering.rules.pads import pad
from shape_inference import Size, at_least, larger, smaller

aten = torch.ops.aten

# The longest windows that are transformed by a Conv.
_BY_CONVOLUTION = 1024


def _stft(
    op: Builder, self: Value | Complex, n_fft: int, hop_length: int | None, win_length: int | None,
    window: Value | Complex | None, normalized: bool, onesided: bool | None, return_complex: bool | None,
) -> Complex | Value:  # fmt: skip
    """[*B, T] -> [*B, n, (T - n_fft) // hop + 1], n = n_fft // 2 + 1 where onesided, else n_fft."""
    if isinstance(self, Complex) or isinstance(window, Complex):
        raise UnsupportedArgument("aten.stft.default: self and window must be real")
    hop = hop_length or n_fft // 4
    signal = op.unsqueeze(self, [0]) if rank(self) == 1 else self
    bins = n_fft if onesided is False else n_fft // 2 + 1
    window = _window(op, window, n_fft, win_length, dtype(self))
    scale = n_fft**-0.5 if normalized else 1.0
    if n_fft <= _BY_CONVOLUTION and dtype(self) != ir.DataType.DOUBLE:
        kernels = op.constant(_waves(n_fft, bins) * scale, dtype(self))
        kernels = kernels if window is None else op.Mul(kernels, window)
        bands = op.Conv(op.unsqueeze(signal, [1]), kernels, strides=[hop])
        batch, _, frames = dims(bands)
        spectrum = op.transpose(op.reshape(bands, [batch, 2, bins, frames]), [0, 2, 3, 1])
    else:
        batch, length = dims(signal)
        frames = (length - n_fft) // hop + 1
        cut = op.Gather(signal, _places(op, frames, n_fft, hop), axis=1)
        weighed = cut if window is None else op.Mul(cut, window)
        transformed = real_transform(op, weighed, 2, bins, (0.5 if normalized else 0.0, n_fft))
        spectrum = op.transpose(transformed.value, [0, 2, 1, 3])
    if rank(self) == 1:
        spectrum = op.squeeze(spectrum, [0])
    return Complex(spectrum) if return_complex else spectrum


@lowers(aten.stft.default)
@lowers_complex(aten.stft.default)
def stft(
    op: Builder, self: Value, n_fft: int, hop_length: int | None, win_length: int | None, window: Value | None,
    normalized: bool, onesided: bool | None, return_complex: bool | None,
) -> Complex | Value:  # fmt: skip
    """[*B, T] -> [*B, n, frames], of windows that lie in the signal."""
    return _stft(op, self, n_fft, hop_length, win_length, window, normalized, onesided, return_complex)


@lowers(aten.stft.center)
@lowers_complex(aten.stft.center)
def stft_center(
    op: Builder, self: Value, n_fft: int, hop_length: int | None, win_length: int | None, window: Value | None,
    center: bool, pad_mode: str, normalized: bool, onesided: bool | None, return_complex: bool | None,
) -> Complex | Value:  # fmt: skip
    """[*B, T] -> [*B, n, frames], of windows around each point, the signal padded at its ends."""
    if center:
        self = pad(op, self, [n_fft // 2, n_fft // 2], pad_mode, None)
    return _stft(op, self, n_fft, hop_length, win_length, window, normalized, onesided, return_complex)


@lowers_complex(aten.istft.default)
def istft(
    op: Builder, self: Complex, n_fft: int, hop_length: int | None, win_length: int | None,
    window: Value | Complex | None, center: bool, normalized: bool, onesided: bool | None, length: Size | None,
) -> Value:  # fmt: skip
    """[*B, n, F] -> [*B, T]: the windows' signals added up where they lie, over the sum of the squared windows."""
    if isinstance(window, Complex):
        raise UnsupportedArgument("aten.istft.default: window must be real, got a complex one")
    hop = hop_length or n_fft // 4
    spectrum = op.unsqueeze(self.value, [0]) if self.rank == 2 else self.value
    if onesided is False or (onesided is None and self.dims[-2] == n_fft):  # the others are their conjugates
        spectrum = op.slice(spectrum, 1, 0, n_fft // 2 + 1)
    frames = self.dims[-1]
    whole = n_fft + (frames - 1) * hop
    weights = _window(op, window, n_fft, win_length, self.dtype)
    if weights is None:
        weights = op.constant(np.ones(n_fft), self.dtype)
    add_up = _by_convolution if n_fft <= _BY_CONVOLUTION and self.dtype != ir.DataType.DOUBLE else _by_scatter
    signal, envelope = add_up(op, spectrum, weights, n_fft, hop)
    if normalized:
        signal = op.Mul(signal, n_fft**0.5)
    start = n_fft // 2 if center else 0
    end = start + length if length is not None else whole - start
    signal, envelope = (_cut(op, value, start, smaller(end, whole)) for value in (signal, envelope))
    signal = op.Div(signal, envelope)
    if not at_least(whole, end):
        signal = op.sized(op.Pad(signal, op.shape([0, 0, 0, larger(end - whole, 0)])), [dims(signal)[0], end - start])
    return op.squeeze(signal, [0]) if self.rank == 2 else signal


def _by_convolution(op: Builder, spectrum: Value, window: Value, n_fft: int, hop: int) -> tuple[Value, Value]:
    """[B, n, F, 2] -> [B, T] and [1, T], T = n_fft + (F - 1) hop."""
    batch, bins, frames, _ = dims(spectrum)
    bands = op.reshape(op.transpose(spectrum, [0, 3, 1, 2]), [batch, bins * 2, frames])
    waves = _waves(n_fft, n_fft // 2 + 1).reshape(2, -1, 1, n_fft)
    waves[:, 1 : (n_fft + 1) // 2] *= 2  # each stands for two frequencies, k and n - k
    kernels = op.Mul(op.constant(waves.reshape(-1, 1, n_fft) / n_fft, dtype(spectrum)), window)
    signal = op.ConvTranspose(bands, kernels, strides=[hop])
    ones = op.expand(op.constant(1.0, dtype(spectrum)), [1, 1, frames])
    squares = op.ConvTranspose(ones, op.unsqueeze(op.Mul(window, window), [0, 1]), strides=[hop])
    return op.squeeze(signal, [1]), op.squeeze(squares, [1])


def _by_scatter(op: Builder, spectrum: Value, window: Value, n_fft: int, hop: int) -> tuple[Value, Value]:
    """[B, n, F, 2] -> [B, T] and [1, T], T = n_fft + (F - 1) hop."""
    batch, _, frames, _ = dims(spectrum)
    windows = inverse_real_transform(op, Complex(spectrum), 1, n_fft, (1.0, n_fft))
    windows = op.Mul(op.transpose(windows, [0, 2, 1]), window)
    squares = op.expand(op.Mul(window, window), [1, frames, n_fft])
    places = op.reshape(_places(op, frames, n_fft, hop), [1, frames * n_fft])
    whole = n_fft + (frames - 1) * hop

    def added(values: Value, count: Size) -> Value:
        zeros = op.expand(op.constant(0.0, dtype(values)), [count, whole])
        where = op.expand(places, [count, frames * n_fft])
        flat = op.reshape(values, [count, frames * n_fft])
        return op.ScatterElements(zeros, where, flat, axis=1, reduction="add")

    return added(windows, batch), added(squares, 1)


def _window(op: Builder, window: Value | None, n_fft: int, win_length: int | None, kind: ir.DataType) -> Value | None:
    """[n_fft], the window in the middle of zeros; None for one of ones all over."""
    length = win_length or n_fft
    if window is None:
        if length == n_fft:
            return None
        window = op.constant(np.ones(length), kind)
    left = (n_fft - length) // 2
    window = op.cast(window, kind)
    return op.Pad(window, [left, n_fft - length - left]) if length < n_fft else window


def _waves(n_fft: int, bins: int) -> np.ndarray:
    """[2 bins, 1, n_fft]: cosines, then negative sines."""
    angles = np.outer(np.arange(bins), np.arange(n_fft)) % n_fft * (2 * np.pi / n_fft)
    return np.concatenate([np.cos(angles), -np.sin(angles)])[:, None]


def _places(op: Builder, frames: Size, n_fft: int, hop: int) -> Value:
    """[F, n_fft]: where the elements of each window are in the signal."""
    starts = op.sized(op.Range(op.constant(0), op.scalar(frames), op.constant(1)), [frames])
    return op.Add(op.unsqueeze(op.Mul(starts, hop), [1]), op.constant(np.arange(n_fft)))


def _cut(op: Builder, value: Value, start: Size, end: Size) -> Value:
    return op.sized(op.slice(value, 1, start, end), [dims(value)[0], end - start])
