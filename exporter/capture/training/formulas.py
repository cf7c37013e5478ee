"""What a training step calls in place of overloads whose backward has no rule, or that want all sizes as numbers.

Each function has the name and the arguments of the overload that it stands for; autograd differentiates what it does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import torch

__all__ = ["FORMULAS"]

_LINEAR, _NEAREST, _CUBIC = range(3)
_ZEROS, _BORDER, _REFLECTION = range(3)
_NONE, _MEAN, _SUM = range(3)

Tensor = torch.Tensor
aten = torch.ops.aten


def unsafe_chunk(tensor: Tensor, chunks: int, dim: int = 0) -> Any:
    """What recurrent cells take their gates apart by; torch's own wants all sizes of the tensor as numbers."""
    size = -(-tensor.shape[dim] // chunks)
    return aten.unsafe_split.Tensor(tensor, size, dim)


def stft(
    input: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
    window: Tensor | None = None, normalized: bool = False, onesided: bool | None = None,
    return_complex: bool | None = None, align_to_window: bool | None = None,
) -> Tensor:  # fmt: skip
    """[*N, L] -> [*N, F, T]: the spectra of T windows of n_fft, hop_length apart; what is centred was padded before."""
    frames = input.unfold(-1, n_fft, hop_length or n_fft // 4)
    if window is not None or win_length not in (None, n_fft):
        window = torch.ones(win_length or n_fft, dtype=input.dtype) if window is None else window
        rest = n_fft - window.shape[0]
        frames = frames * torch.nn.functional.pad(window, (rest // 2, rest - rest // 2))
    is_half = not (input.is_complex() or (window is not None and window.is_complex())) if onesided is None else onesided
    transform = torch.fft.rfft if is_half else torch.fft.fft
    spectra = transform(frames, norm="ortho" if normalized else None).transpose(-1, -2)
    return spectra if return_complex else torch.view_as_real(spectra)


# Distances and products.


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: int | None = None) -> Tensor:
    """[*B, P, M], [*B, R, M] -> [*B, P, R], the p-norms of the differences."""
    return _norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p)


def pdist(self: Tensor, p: float = 2.0) -> Tensor:
    """[N, M] -> [N (N - 1) / 2], the p-norms of the differences of row i and row j, i < j."""
    first, second = torch.triu_indices(self.shape[0], self.shape[0], 1)
    return _norm(self[first] - self[second], p)


def _norm(difference: Tensor, p: float) -> Tensor:
    """[*S, M] -> [*S]; the number of those that are not 0, whose gradient is 0, where p is 0."""
    if p == 0:
        return torch.linalg.vector_norm(difference.detach(), 0, -1) + (difference * 0).sum(-1)
    return torch.linalg.vector_norm(difference, p, -1)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """[*B, I], [*B, J], [O, I, J] -> [*B, O], `sum over i, j of x_i w_oij y_j`."""
    result = (torch.einsum("...i,oij->...oj", input1, weight) * input2.unsqueeze(-2)).sum(-1)
    return result if bias is None else result + bias


def weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """[*S]: v as long as g, along all axes but one; along all of them where dim is -1."""
    axes = [axis for axis in range(v.ndim) if axis != dim]
    return v * (g / torch.linalg.vector_norm(v, 2, axes, keepdim=True))


def linalg_slogdet(A: Tensor) -> tuple[Tensor, Tensor]:
    """[*B, N, N] -> [*B] twice; the gradient of the logarithm is the inverse, transposed."""
    sign, size, *_ = aten._linalg_slogdet(A.detach())
    return sign, size + _in_the_direction(A, torch.linalg.inv(A.detach()).mT)


def linalg_det(A: Tensor) -> Tensor:
    """[*B, N, N] -> [*B]; the gradient is the determinant times the inverse, transposed."""
    result = aten._linalg_det(A.detach())[0]
    return result + _in_the_direction(A, result[..., None, None] * torch.linalg.inv(A.detach()).mT)


def _in_the_direction(A: Tensor, gradient: Tensor) -> Tensor:
    """0, with a given gradient by A."""
    return ((A - A.detach()) * gradient).sum((-2, -1))


# Elements by index.


def index_fill(self: Tensor, dim: int, index: Tensor, value: Tensor) -> Tensor:
    """[*L, a, *R], [n] -> [*L, a, *R]: the value [] at these places of the dim."""
    tensor = torch.atleast_1d(self)
    chosen = torch.zeros(tensor.shape[dim], dtype=torch.bool).index_fill(0, index, True)
    behind = tensor.ndim - 1 - dim % tensor.ndim
    return torch.where(chosen.reshape(-1, *[1] * behind), value, tensor).reshape(self.shape)


# Losses.


def _reduced(loss: Tensor, reduction: int) -> Tensor:
    return loss if reduction == _NONE else loss.mean() if reduction == _MEAN else loss.sum()


def multi_margin_loss(
    self: Tensor, target: Tensor, p: float = 1, margin: float = 1, weight: Tensor | None = None, reduction: int = _MEAN
) -> Tensor:
    """[N, C] or [C]: the mean over the classes of `max(0, margin - x_y + x_i)^p`, but for the class itself."""
    classes = target.reshape(target.shape if self.ndim > 1 else []).unsqueeze(-1)
    distance = (margin - self.gather(-1, classes) + self).clamp(min=0)
    others = torch.ones_like(self).scatter(-1, classes, 0.0)
    loss = distance**p * others
    if weight is not None:
        loss = loss * weight[classes]
    return _reduced(loss.mean(-1), reduction)


def multilabel_margin_loss(self: Tensor, target: Tensor, reduction: int = _MEAN) -> Tensor:
    """[N, C] or [C]: the sum of `max(0, 1 - x_y + x_i) / C` over the classes up to the first -1, and all others."""
    self, target = torch.atleast_1d(self), torch.atleast_1d(target)
    counts = (target >= 0).to(self.dtype).cumprod(-1)
    classes = target.clamp(min=0)
    chosen = (torch.nn.functional.one_hot(classes, self.shape[-1]) * counts.unsqueeze(-1)).amax(-2)
    distance = (1 - self.gather(-1, classes).unsqueeze(-1) + self.unsqueeze(-2)).clamp(min=0)
    loss = distance * counts.unsqueeze(-1) * (1 - chosen).unsqueeze(-2)
    return _reduced(loss.sum((-2, -1)) / self.shape[-1], reduction)


# Bags of embeddings.


def embedding_bag(
    weight: Tensor, indices: Tensor, offsets: Tensor, scale_grad_by_freq: bool = False, mode: int = 0,
    sparse: bool = False, per_sample_weights: Tensor | None = None, include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """[V, D], [n], [B] -> [B, D]: the sum, mean or maximum of each bag's rows, bags being what lies between offsets."""
    starts = offsets[:-1] if include_last_offset else offsets
    bags = torch.searchsorted(starts, torch.arange(indices.shape[0], dtype=starts.dtype), right=True) - 1
    rows = weight[indices]
    counts = torch.ones_like(indices) if padding_idx is None else (indices != padding_idx % weight.shape[0]).long()
    sizes = counts.new_zeros(starts.shape[0]).index_add(0, bags, counts)
    shape, places = [starts.shape[0], weight.shape[1]], bags.unsqueeze(-1).expand_as(rows)
    if mode == 2:
        lowest = rows.masked_fill(counts.unsqueeze(-1) == 0, -torch.inf)
        result = rows.new_zeros(shape).scatter_reduce(0, places, lowest, "amax", include_self=False)
        result = torch.where(sizes.unsqueeze(-1) > 0, result, 0.0)
    else:
        factors = counts.to(rows.dtype) if per_sample_weights is None else counts * per_sample_weights
        result = rows.new_zeros(shape).scatter_add(0, places, rows * factors.unsqueeze(-1))
        result = result / sizes.clamp(min=1).unsqueeze(-1) if mode == 1 else result
    return result, bags, sizes, offsets


# Reductions of neighbouring runs of elements.

# What a reduction starts from, and the one that scatter_reduce calls it.
_REDUCTIONS = {
    "sum": (0.0, "sum"), "mean": (0.0, "sum"), "prod": (1.0, "prod"), "max": (-torch.inf, "amax"),
    "min": (torch.inf, "amin"),
}  # fmt: skip


def segment_reduce(
    data: Tensor, reduce: str, *, lengths: Tensor | None = None, indices: Tensor | None = None,
    offsets: Tensor | None = None, axis: int = 0, unsafe: bool = False, initial: float | None = None,
) -> Tensor:  # fmt: skip
    """[*B, n, *R], run lengths [*B, k] or limits [*B, k + 1], axis=len(B) -> [*B, k, *R].

    What lies behind the last run does not count: it is put into one more, which is cut off.
    """
    if lengths is not None:
        sizes, ends = lengths, lengths.cumsum(axis)
    elif offsets is not None:
        ends = offsets.narrow(axis, 1, offsets.shape[axis] - 1)
        sizes = ends - offsets.narrow(axis, 0, offsets.shape[axis] - 1)
    else:
        raise RuntimeError("segment_reduce(): lengths or offsets must be given")
    count, behind = sizes.shape[axis], [1] * (data.ndim - axis - 1)
    runs = (ends.unsqueeze(axis) <= torch.arange(data.shape[axis]).unsqueeze(1)).sum(axis + 1)
    places = runs.reshape(*runs.shape, *behind).expand_as(data)
    start, reduction = _REDUCTIONS[reduce]
    shape = [*data.shape[:axis], count + 1, *data.shape[axis + 1 :]]
    result = data.new_full(shape, start if initial is None else initial)
    result = result.scatter_reduce(axis, places, data, reduction).narrow(axis, 0, count)
    if reduce == "mean":
        divisor = sizes if initial is None else sizes.clamp(min=1)
        result = result / divisor.reshape(*divisor.shape, *behind)
    return result


# Sampling.


def grid_sampler(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:  # fmt: skip
    """[N, C, *S], [N, *T, d] -> [N, C, *T]: the sum over the taps around each place."""
    index = weight = None
    for axis, size in enumerate(input.shape[2:]):
        place = grid[..., -1 - axis].flatten(1).unsqueeze(1)  # the grid names the last axis first
        taps, shares = _taps(place, size, interpolation_mode, padding_mode, align_corners)
        if index is None or weight is None:
            index, weight = taps, shares
        else:
            index = (index.unsqueeze(2) * size + taps.unsqueeze(1)).flatten(1, 2)
            weight = (weight.unsqueeze(2) * shares.unsqueeze(1)).flatten(1, 2)
    assert index is not None  # there is an axis
    assert weight is not None
    places = index.flatten(1).unsqueeze(1).expand(-1, input.shape[1], -1)
    found = input.flatten(2).gather(2, places).unflatten(2, index.shape[1:])
    return (found * weight.unsqueeze(1)).sum(2).unflatten(2, grid.shape[1:-1])


def _taps(place: Tensor, size: int, mode: int, padding: int, aligned: bool) -> tuple[Tensor, Tensor]:
    """[N, 1, M] from -1 to 1 -> which elements of an axis count for each place, and how much: [N, K, M] both."""
    place = (place + 1) / 2 * (size - 1) if aligned else ((place + 1) * size - 1) / 2
    if mode != _CUBIC:
        place = _inside(place, size, padding, aligned)
    if mode == _NEAREST:
        taps, weight = place.detach().round(), 1 + 0 * place
    else:
        steps = torch.tensor([0, 1] if mode == _LINEAR else [-1, 0, 1, 2], dtype=place.dtype)
        taps = place.detach().floor() + steps.unsqueeze(-1)
        distance = (taps - place).abs()
        weight = 1 - distance if mode == _LINEAR else _keys(distance)
    if mode == _CUBIC:
        taps = _inside(taps, size, padding, aligned)
    if padding == _ZEROS:
        weight = weight * ((taps >= 0) & (taps <= size - 1))
    return taps.clamp(0, size - 1).long(), weight


def _inside(place: Tensor, size: int, padding: int, aligned: bool) -> Tensor:
    """The place, brought inside by the border or by reflection at it."""
    if padding == _REFLECTION:
        # Reflected at 0 and S - 1, or half an element outside of them: a triangle wave of twice the span.
        low, span = (0.0, size - 1) if aligned else (-0.5, size)
        moved = (place - low).abs()
        turns = (moved.detach() / span).floor()
        rest = moved - turns * span
        place = torch.where(turns % 2 == 0, rest, span - rest) + low
    return place if padding == _ZEROS else place.clamp(0, size - 1)


def _keys(distance: Tensor) -> Tensor:
    """Keys' cubic convolution with a = -0.75."""
    near = (1.25 * distance - 2.25) * distance**2 + 1
    far = ((-0.75 * distance + 3.75) * distance - 6) * distance + 3
    return torch.where(distance <= 1, near, far)


# Interpolation by factors.


def _interpolation(overload: Any) -> Callable[..., Tensor]:
    def function(
        input: Tensor, output_size: Sequence[Any] | None, *settings: Any
    ) -> Tensor:  # fmt: skip
        """[N, C, *S] -> [N, C, *S'], the sizes given or floor(S * scale); torch's own wants these as numbers."""
        *aligned, factors = settings
        scales: Sequence[float | None] = [None] * (input.ndim - 2) if factors is None else factors
        if output_size is None:
            shares = [Fraction(scale or 1).limit_denominator(1 << 16) for scale in scales]
            sizes = zip(input.shape[2:], shares, strict=True)
            output_size = [size * share.numerator // share.denominator for size, share in sizes]
        result: Tensor = overload(input, output_size, *aligned, *scales)
        return result

    return function


_INTERPOLATIONS = [f"upsample_nearest{n}d" for n in (1, 2, 3)] + [f"_upsample_nearest_exact{n}d" for n in (1, 2, 3)]
_INTERPOLATIONS += ["upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d"]
_INTERPOLATIONS += ["_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "_upsample_lanczos2d_aa"]

FORMULAS: dict[str, Callable[..., Any]] = {
    "unsafe_chunk": unsafe_chunk,
    "stft": stft,
    "cdist": cdist,
    "pdist": pdist,
    "segment_reduce": segment_reduce,
    "bilinear": bilinear,
    "_weight_norm": weight_norm,
    "linalg_det": linalg_det,
    "linalg_slogdet": linalg_slogdet,
    "index_fill.int_Tensor": index_fill,
    "multi_margin_loss": multi_margin_loss,
    "multilabel_margin_loss": multilabel_margin_loss,
    "embedding_bag": embedding_bag,
    "embedding_bag.padding_idx": embedding_bag,
    "grid_sampler": grid_sampler,
    "grid_sampler_2d": grid_sampler,
    "grid_sampler_3d": grid_sampler,
    **{f"{name}.vec": _interpolation(getattr(aten, name).default) for name in _INTERPOLATIONS},
}
