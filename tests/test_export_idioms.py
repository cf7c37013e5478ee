"""What users write around operators: sizes as numbers, writes in place, checks of values, odd arguments."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # its usual name
from torch import nn

from tests.lowering import Case, cases, check


def _x(*shape: int, dtype: torch.dtype = torch.float32) -> Callable[[], list[torch.Tensor]]:
    return lambda: [torch.randn(shape).mul(3).to(dtype)]


def _written(write: Callable[[torch.Tensor], Any]) -> Callable[[torch.Tensor], torch.Tensor]:
    """A copy of the argument after a write to it."""

    def run(x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        write(y)
        return y

    return run


def _uneven(x: torch.Tensor) -> torch.Tensor:
    y = x * 2
    first, second = y.chunk(2, 1)
    first.mul_(2)
    second.add_(1)
    return y


def _viewed_as(x: torch.Tensor) -> torch.Tensor:
    """A cut of a tensor whose size values decide, seen in another shape."""
    count = (x > 0).sum().item()
    rows = torch.arange((count + 1) * 4).view(count + 1, 4)
    return rows[1:].view_as(torch.empty(4, count))


def _places(x: torch.Tensor) -> torch.Tensor:
    """Known numbers written where a number that values decide begins."""
    counts = (x > 0).sum(1).tolist()
    places = torch.zeros(2, max(count + 3 for count in counts), 2, dtype=torch.int32)
    for i, count in enumerate(counts):
        places[i, :count, 0] = torch.arange(count, dtype=torch.int32)
        places[i, count : count + 3, 1] = torch.arange(3, dtype=torch.int32).view(-1, 1).repeat(1, 1).flatten()
    return places


def _by_experts(x: torch.Tensor) -> torch.Tensor:
    """Each row by the two experts that it chooses, an expert after the other: as many as `bincount` says."""
    weights, chosen = torch.topk(x[:, :7].softmax(-1), 2, sorted=False)
    order = chosen.view(-1).argsort()
    ends = chosen.view(-1).bincount().cpu().numpy().cumsum(0)
    result = torch.zeros_like(x)
    for expert, end in enumerate(ends):
        start = 0 if expert == 0 else ends[expert - 1]
        if start == end:
            continue
        rows = order[start:end] // 2
        found = (x[rows] * (expert + 1)).mul_(weights.view(-1, 1)[order[start:end]])
        result.scatter_reduce_(0, rows.view(-1, 1).repeat(1, x.shape[-1]), found, reduce="sum")
    return result


def _overlapping(x: torch.Tensor) -> torch.Tensor:
    """[batch, seq, heads, d] -> chunks of 2 rows, each with one of the next: what Longformer's windows are."""
    rows = x.transpose(1, 2).reshape(-1, x.shape[1], x.shape[3])
    chunks = rows.view(rows.shape[0], x.shape[1] // 2, 2, x.shape[3])
    (a, count, *sizes), (b, step, *strides) = chunks.size(), chunks.stride()
    return chunks.as_strided([a, count * 2 - 1, *sizes], [b, step // 2, *strides]) * 2


def _check_that(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _told(x: torch.Tensor) -> torch.Tensor:
    """A number that nothing but the text of a check is made of."""
    _check_that(x.dim() == 2, f"a matrix, not one of {x.size()[:-1].numel()} rows")
    return x + 1


def _seeded(x: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(5)
    return torch.einsum("bd,dh->bh", x, torch.randn(4, 3)) + torch.rand(3) + torch.randint(2, 9, (3,))


def _complex_parts(z: torch.Tensor) -> torch.Tensor:
    z = z.clone()
    z.real = torch.ones_like(z.imag)
    z.imag[:, 0].mul_(2)
    return z


@functools.cache
def _cached(size: int) -> int:
    return size + 1


def _placed(x: torch.Tensor) -> torch.Tensor:
    rows, columns = zip(*(x > 0).long()[:, :2].clamp(max=1), strict=True)
    y = x * 2
    y[rows, columns] = 7.0
    return y + y[rows, columns].sum()


_X = _x(3, 4)

# Functions that take plain numbers, given sizes.
NUMBERS = [
    Case("sqrt", lambda x: x / math.sqrt(x.size(-1)), _X),
    Case("sqrt_of_product", lambda x: x * math.sqrt(x.shape[0] * x.shape[1] + 1), _X),
    Case("power of two", lambda x: nn.functional.pad(x, (0, 2 ** math.ceil(math.log2(x.shape[1])) - x.shape[1])), _X),
    Case("logarithms", lambda x: x * math.log(x.shape[0]) + math.log2(x.shape[1]) - math.log(x.shape[1], 3), _X),
    Case("exp_log10_pow", lambda x: x * math.exp(-x.shape[0]) + math.log10(x.shape[1]) + math.pow(x.shape[0], 2), _X),
    Case("is_finite", lambda x: x if math.isfinite(x.shape[0]) and not math.isnan(x.shape[1]) else -x, _X),
    Case("as_tensor", lambda x: torch.as_tensor(x.shape[0]) + torch.as_tensor([x.shape[1], 2]), _X),
    Case("shape_as_tensor", lambda x: torch._shape_as_tensor(x) * 2, _X),
    Case("linspace", lambda x: torch.linspace(-1, 2, x.shape[0]), _X),
    Case("linspace_of_one", lambda x: torch.linspace(-1, 2, x.shape[0] - 2), _X),
    Case("logspace", lambda x: torch.logspace(0, 1, x.shape[0], base=2.0), _X),
    Case("linspace_of_tensors", lambda a, b, n: torch.linspace(a, b, n),
         lambda: [torch.tensor(1.0), torch.tensor(4.0), torch.tensor(5)], dynamic=False),
    Case("fftfreq", lambda x: x * torch.fft.fftfreq(x.shape[1], 0.5), _X),
    Case("rfftfreq", lambda x: torch.fft.rfftfreq(x.shape[1]) + x.sum(), _X),
    Case("fftfreq_static", lambda x: x * torch.fft.fftfreq(4) + torch.fft.rfftfreq(7), _X, fixed=(1,)),
    Case("tril_indices", lambda x: torch.tril_indices(x.shape[0], x.shape[1], 1), _X),
    Case("triu_indices", lambda x: torch.triu_indices(x.shape[0], 3), _X),
    Case("round", lambda x: [x * round(x.shape[i] / n) for i in (0, 1) for n in (2, 3, 4, 6)], _x(5, 6)),
    Case("round_to_decimals", lambda x: x * round(x.shape[0] / 3, 2), _X),
    Case("round_of_product", lambda x: x.flatten()[: round(x.shape[0] * 0.7)], _X),
    Case("divmod", lambda x: x * divmod(x.shape[0], 2)[1] + divmod(17, x.shape[1])[0], _X),
    Case("modulo_of_a_fraction", lambda x: x * (x.shape[0] % 2.5) + x.shape[1] / 2 % 3, _X),
    Case("abs", lambda x: x * abs(x.shape[0] - 9) + abs(x.shape[1] / 2 - 4.5) + math.fabs(x.shape[0] - 4), _X),
    Case("shifts", lambda x: x * (x.shape[0] << 2) + (x.shape[1] >> 1) + (1 << x.shape[0]), _X),
    Case("tan_tanh_atan_erf", lambda x: x * math.tanh(x.shape[0] / 4) + math.tan(x.shape[1]) + math.atan(x.shape[0])
         + math.erf(x.shape[0] / 8), _X),
    Case("repeated_tensors", lambda x: (torch.stack([x[0]] * x.shape[0], 1), torch.cat(x.shape[1] * [x]),
         x * len([x] * x.shape[1])), _X),
    Case("size_as_a_key", lambda x: {x.shape[0]: x, x.shape[1]: -x}[x.shape[0]] + _cached(x.shape[1]), _X),
    Case("interpolate_by_a_ratio", lambda x, y: F.interpolate(
        x, scale_factor=(y.shape[2] / x.shape[2], y.shape[3] / x.shape[3]), mode="bilinear"),
        lambda: [torch.randn(1, 2, 4, 5), torch.randn(1, 2, 6, 9)], fixed=(0, 1)),
    Case("interpolate_by_a_value", lambda x, s: F.interpolate(x, scale_factor=(s[0].item(), s[1].item())),
         lambda: [torch.randn(1, 2, 4, 4), torch.tensor([2.0, 1.5])], dynamic=False),
    Case("istft_to_a_length", lambda x: torch.istft(
        torch.stft(x, 16, window=torch.hann_window(16), return_complex=True), 16, window=torch.hann_window(16),
        length=x.shape[-1]), _x(2, 80)),
    Case("stride", lambda x: x * x.stride(0) + x.stride(1), _X),
    Case("written_where_values_decide", _places, _x(2, 4), fixed=(0,)),
    Case("cut_viewed_as_another", _viewed_as, _x(3, 4)),
    Case("chunks_that_overlap", _overlapping, _x(2, 8, 2, 3), fixed=(0, 2, 3)),
    Case("chunks_that_overlap_in_one_of_a_batch", _overlapping, _x(1, 8, 2, 3), fixed=(0, 3)),
    Case("numbers_from_a_seed", _seeded, _X, fixed=(1,)),
    Case("number_in_a_message", _told, _X),
]  # fmt: skip
NUMBERS += [
    Case(f"{name}_window", lambda x, name=name: x * getattr(torch, f"{name}_window")(x.shape[1]), _x(3, 8))
    for name in ("hann", "hamming", "blackman", "bartlett", "kaiser")
]
NUMBERS += [
    Case("symmetric_window", lambda x: x * torch.hamming_window(x.shape[1], False, 0.5, 0.4), _x(3, 8)),
]

TRUTHS = [
    Case("equal", lambda x, y: (torch.equal(x, y), x.equal(x)), lambda: [torch.randn(3, 4), torch.randn(3, 4)],
         dynamic=False),
    Case("allclose", lambda x: (torch.allclose(x, x + 1e-9), x.allclose(x * 2)), _X),
    Case("where_of_uint8", lambda x: torch.where((x > 0).byte(), x, -x), _X),
    Case("raise_in_torch", lambda x: F.gaussian_nll_loss(x, x + 1, x.abs() + 0.1), _X),
    Case("distribution", lambda x: torch.distributions.Normal(x, x.abs() + 0.1, validate_args=True).log_prob(x), _X),
    Case("multilabel_margin", lambda x: [
        F.multilabel_margin_loss(x, torch.tensor([[3, 0, -1, 1], [0, 1, 2, -1], [-1, 0, 0, 0]]), reduction=r)
        for r in ("none", "mean", "sum")
    ], _X, dynamic=False),
    Case("multilabel_margin_of_one", lambda x, t: F.multilabel_margin_loss(x, t),
         lambda: [torch.randn(4), torch.tensor([2, 0, -1, 1])]),
    Case("adaptive_softmax", lambda x: _ADAPTIVE(x, torch.tensor([0, 5, 9, 4, 3])), _x(5, 8), fixed=(0, 1)),
    Case("adaptive_softmax_of_one", lambda x: _ADAPTIVE(x, torch.tensor(6)), _x(8), fixed=(0,)),
    Case("adaptive_prediction", lambda x: _ADAPTIVE.predict(x), _x(5, 8), fixed=(1,)),
]  # fmt: skip

WRITES = [
    Case("experts", _by_experts, _x(5, 8), fixed=(1,)),
    Case("parts", _uneven, _x(3, 5)),
    Case("parts_of_a_complex_tensor", _complex_parts, lambda: [torch.randn(3, 4, dtype=torch.complex64)]),
    Case("diagonal", _written(lambda y: y.fill_diagonal_(9.0)), _X),
    Case("resize of a copy", lambda x: (x.resize(2, 6), x), _X, dynamic=False),
    Case("resize", _written(lambda y: y.resize_(2, 2)), _X, dynamic=False),
    Case("places_in_tuples", _placed, _X, dynamic=False),
    Case("arange_out", lambda x: torch.arange(4, out=torch.empty(4, dtype=torch.int64)) + x, _X, fixed=(1,)),
]

COMPOSITES = [
    Case(f"matrix_norm_{order}", lambda x, o=order: torch.linalg.matrix_norm(x, o, keepdim=o == 1), _x(2, 3, 4))
    for order in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf)
]
COMPOSITES += [
    Case("norm", lambda x: torch.linalg.norm(x, 2, (0, 1), keepdim=True), _x(4, 3, 2)),
    Case("gradient", lambda x: torch.gradient(x), _x(5, 4)),
    Case("gradient_of_second_order", lambda x: torch.gradient(x, spacing=0.5, dim=1, edge_order=2), _x(5, 4)),
    Case("gradient_static", lambda x: torch.gradient(x, spacing=0.5, dim=[0, 1]), _x(5, 4), dynamic=False),
    Case("vander", lambda x: (torch.vander(x, 3), torch.linalg.vander(x, N=4)), _x(5)),
    Case("rising_vander", lambda x: torch.vander(x, increasing=True), _x(3), fixed=(0,)),
    Case("einsum_trace_of_bools", lambda x: torch.einsum("ii", x > 0), _x(4, 4), dynamic=False),
    Case("nansum_of_no_dims", lambda x: (x.nansum(()), x.nanmean(())), _X),
]

COMPOSITES += [
    Case("gradient_in_forward", lambda x: _force(x), _x(3, 4), fixed=(1,)),
    Case("backward_in_forward", lambda x: _backward(x), _X),
]

_ENERGY = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


def _force(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        energy = _ENERGY(x).sum()
        return energy.detach(), -torch.autograd.grad(energy, x)[0]


def _backward(x: torch.Tensor) -> Any:
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_(True)
        (x.sin() * x).sum().backward()
        return x.grad


_ADAPTIVE = nn.AdaptiveLogSoftmaxWithLoss(8, 10, [4, 7]).eval()


@cases(*NUMBERS, *TRUTHS, *WRITES, *COMPOSITES)
def test_static(case: Case) -> None:
    check(case)


@cases(*NUMBERS, *TRUTHS, *WRITES, *COMPOSITES)
def test_dynamic(case: Case) -> None:
    check(case, dynamic=True)
