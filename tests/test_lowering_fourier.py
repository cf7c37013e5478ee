"""Fourier transforms."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tests.lowering import Case, both_ways

fft = torch.fft


def _real(*shape: int, dtype: torch.dtype = torch.float32) -> Callable[[], list[torch.Tensor]]:
    return lambda: [torch.randn(shape, dtype=dtype)]


def _z(*shape: int, dtype: torch.dtype = torch.complex64) -> Callable[[], list[torch.Tensor]]:
    return lambda: [torch.randn(shape, dtype=dtype)]


def _filter(x: torch.Tensor) -> torch.Tensor:
    """A global filter: real to half spectrum and back."""
    spectrum = fft.rfft2(x, dim=(1, 2), norm="ortho")
    return fft.irfft2(spectrum * (0.5 - 2j), s=x.shape[1:3], dim=(1, 2), norm="ortho")


def _fnet(x: torch.Tensor) -> torch.Tensor:
    return fft.fftn(x, dim=(1, 2)).real


_OF_REAL = ("fft", "ifft", "rfft", "ihfft")
CASES = [
    *[
        Case(f"{name} {n}", getattr(fft, name), _z(3, n))
        for name in ("fft", "ifft", "hfft", "irfft")
        for n in (2, 5, 8)
    ],
    *[Case(f"{name} of real {n}", getattr(fft, name), _real(3, n)) for name in _OF_REAL for n in (1, 5, 8)],
    Case("rfft ops", fft.rfft, _real(3, 8), ops="MatMul Reshape"),
    Case("fft ops", fft.fft, _z(3, 8), ops="Reshape MatMul Reshape"),
    Case("irfft ops", fft.irfft, _z(3, 5), ops="Reshape MatMul"),
    *[Case(f"fft {norm}", lambda x, norm=norm: fft.fft(x, norm=norm), _real(3, 6)) for norm in ("ortho", "forward")],
    *[Case(f"ifft {norm}", lambda x, norm=norm: fft.ifft(x, norm=norm), _z(3, 6)) for norm in ("ortho", "forward")],
    *[Case(f"irfft {norm}", lambda x, norm=norm: fft.irfft(x, norm=norm), _z(3, 6)) for norm in ("ortho", "forward")],
    Case("fft of an axis", lambda x: fft.fft(x, dim=0), _real(5, 3)),
    Case("fft longer", lambda x: fft.fft(x, n=9), _real(3, 6)),
    Case("fft shorter", lambda x: fft.rfft(x, n=4), _real(3, 6), dynamic=False),
    Case("irfft odd", lambda x: fft.irfft(x, n=7), _z(3, 4), dynamic=False),
    Case("irfft longer", lambda x: fft.irfft(x, n=12), _z(3, 4), dynamic=False),
    Case("fft double", fft.fft, _z(3, 9, dtype=torch.complex128)),
    Case("fft of integers", lambda x: fft.fft(x.to(torch.int64)), _real(3, 9)),
    Case("fft2", fft.fft2, _real(2, 4, 5)),
    Case("ifft2", fft.ifft2, _z(2, 4, 5)),
    Case("rfft2", fft.rfft2, _real(2, 4, 5)),
    Case("irfft2", fft.irfft2, _z(2, 4, 5)),
    Case("hfft2", fft.hfft2, _z(2, 4, 5)),
    Case("ihfft2", fft.ihfft2, _real(2, 4, 6)),
    Case("fftn", fft.fftn, _real(2, 4, 5)),
    Case("rfftn", fft.rfftn, _real(2, 4, 5)),
    Case("irfftn", fft.irfftn, _z(2, 4, 5)),
    Case("ifftn", lambda z: fft.ifftn(z, s=(3, 7), norm="ortho"), _z(2, 4, 5)),
    Case("hfftn", lambda z: fft.hfftn(z, dim=(0, 1)), _z(2, 4, 5)),
    Case("ihfftn", lambda x: fft.ihfftn(x, dim=(1, 0), norm="ortho"), _real(2, 4, 6)),
    Case("rfftn sizes", lambda x: fft.rfftn(x, s=(3, -1), dim=(1, 2)), _real(2, 4, 5)),
    Case("irfft of real", lambda x: fft.irfft(x, norm="ortho"), _real(3, 4)),
    Case("hfft of real", fft.hfft, _real(3, 4)),
    Case("irfftn of real", lambda x: fft.irfftn(x, norm="ortho"), _real(3, 4)),
    Case("r2c", lambda x: torch.ops.aten._fft_r2c(x, [0, 1], 1, False), _real(3, 4)),
    Case("r2c onesided", lambda x: torch.ops.aten._fft_r2c(x, [0, 1], 2, True), _real(3, 4)),
    Case("c2c", lambda z: torch.ops.aten._fft_c2c(z, [0, 1], 1, True), _z(3, 4)),
    Case("c2r", lambda z: torch.ops.aten._fft_c2r(z, [0, 1], 2, 6), _z(3, 4), dynamic=False),
    Case("filter", _filter, _real(2, 6, 6, 3), fixed=(2,)),
    Case("fnet", _fnet, _real(2, 5, 8)),
    Case("fft 600", fft.fft, _z(2, 600), dynamic=False),
    Case("fft 4096", fft.fft, _real(2, 4096), dynamic=False),
    Case("ifft 1024", lambda z: fft.ifft(z, norm="ortho"), _z(2, 1024), dynamic=False),
    Case("irfft 1024", fft.irfft, _z(2, 513), dynamic=False),
    Case("irfft 1025", lambda z: fft.irfft(z, n=1025), _z(2, 513), dynamic=False),
    Case("rfft prime", fft.rfft, _real(2, 521), dynamic=False),
]

test_static, test_dynamic = both_ways(*CASES)
