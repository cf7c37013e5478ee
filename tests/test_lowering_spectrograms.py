"""Short-time Fourier transforms and their inverse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.lowering import Case, both_ways

aten = torch.ops.aten


def _signal(*shape: int, dtype: torch.dtype = torch.float32) -> Callable[[], list[torch.Tensor]]:
    return lambda: [torch.randn(shape, dtype=dtype)]


def _spectrum(*shape: int, dtype: torch.dtype = torch.complex64) -> Callable[[], list[torch.Tensor]]:
    def make() -> list[torch.Tensor]:
        z = torch.randn(shape, dtype=dtype)
        z[..., 0, :] = z[..., 0, :].real + 0j
        return [z]

    return make


def _stft(n: int, *, window: str = "hann", **options: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    def call(x: torch.Tensor) -> torch.Tensor:
        weights = torch.hann_window(options.get("win_length", n), dtype=x.dtype) if window == "hann" else None
        return torch.stft(x, n, window=weights, return_complex=True, **options)

    return call


def _istft(n: int, window: str = "hann", **options: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    def call(z: torch.Tensor) -> torch.Tensor:
        weights = torch.hann_window(options.get("win_length", n), dtype=z.real.dtype) if window == "hann" else None
        return torch.istft(z, n, window=weights, **options)

    return call


def _features(x: torch.Tensor) -> torch.Tensor:
    """The logarithm of the power spectrum, as Whisper takes it."""
    z = torch.stft(x, 40, 16, window=torch.hann_window(40), return_complex=True)
    return (z[..., :-1].abs() ** 2).clamp(min=1e-10).log10()


STFT = [
    Case("stft", _stft(16), _signal(2, 60), ops="Reshape Pad Reshape Conv Reshape Transpose"),
    Case("stft without window", _stft(16, window=""), _signal(2, 60)),
    Case("stft rank 1", _stft(16, hop_length=5), _signal(60)),
    Case("stft not centered", _stft(16, hop_length=5, center=False), _signal(2, 60)),
    Case("stft short window", _stft(16, win_length=9), _signal(2, 60)),
    Case("stft short ones", _stft(16, win_length=9, window=""), _signal(2, 60)),
    Case("stft normalized", _stft(16, normalized=True), _signal(2, 60)),
    Case("stft twosided", _stft(15, onesided=False), _signal(2, 60)),
    Case("stft double", _stft(16), _signal(2, 60, dtype=torch.float64)),
    Case("stft double normalized", _stft(16, normalized=True), _signal(2, 60, dtype=torch.float64)),
    Case("stft long", _stft(2048), _signal(1, 4000)),
    Case("stft parts", lambda x: torch.stft(x, 16, window=torch.ones(16), return_complex=False), _signal(2, 60)),
    Case("stft overload", lambda x: aten.stft.center(x, 16, center=True, return_complex=True), _signal(2, 60)),
    Case("features", _features, _signal(2, 160)),
]
ISTFT = [
    Case("istft", _istft(16), _spectrum(2, 9, 7), fixed=(1,)),
    Case("istft twosided", lambda x: _istft(16)(_stft(16, onesided=False)(x)), _signal(2, 60), fixed=(1,)),
    Case(
        "istft said to be twosided",
        lambda z: _istft(16, onesided=False)(torch.cat([z, z[:, 1:-1].conj().flip(1)], 1)),
        _spectrum(2, 9, 7),
        fixed=(1,),
    ),
    Case("istft without window", _istft(16, window=""), _spectrum(2, 9, 7), fixed=(1,)),
    Case("istft rank 2", _istft(16), _spectrum(9, 7), fixed=(0,)),
    Case("istft odd", _istft(15, hop_length=4), _spectrum(2, 8, 7), fixed=(1,)),
    Case("istft not centered", _istft(16, window="", center=False), _spectrum(2, 9, 7), fixed=(1,)),
    Case("istft normalized", _istft(16, normalized=True), _spectrum(2, 9, 7), fixed=(1,)),
    Case("istft short window", _istft(16, win_length=12, hop_length=3), _spectrum(2, 9, 7), fixed=(1,)),
    Case("istft length", _istft(16, length=20), _spectrum(2, 9, 7), fixed=(1,)),
    Case("istft longer", _istft(16, length=40), _spectrum(2, 9, 7), fixed=(1, 2)),
    Case("istft double", _istft(16), _spectrum(2, 9, 7, dtype=torch.complex128), fixed=(1,)),
]

test_static, test_dynamic = map(pytest.mark.filterwarnings("ignore"), both_ways(*STFT, *ISTFT))
