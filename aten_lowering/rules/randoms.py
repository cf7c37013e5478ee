"""Random numbers.  They come from the runtime's generator: of the same distribution, not the same numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims
from aten_lowering.builder import dtype as dtype_of
from aten_lowering.dtypes import UNSIGNED, from_torch
from aten_lowering.elementwise import any_of, boolean, broadcast, pointwise, repeat_while, wide
from aten_lowering.promotion import Operand, as_value
from aten_lowering.registry import lowers
from aten_lowering.rules.creations import filled_like
from shape_inference import Size

aten = torch.ops.aten

_FLOAT, _INT64 = ir.DataType.FLOAT, ir.DataType.INT64
# What the runtime draws in; others are cast from float32.
_DRAWN = frozenset({_FLOAT, ir.DataType.DOUBLE})


def _drawn(op: Builder, op_type: str, sizes: Sequence[Size], kind: ir.DataType, **attributes: float) -> Value:
    """[*sizes] numbers of RandomUniform or RandomNormal."""
    used = kind if kind in _DRAWN else _FLOAT
    if all(type(size) is int for size in sizes):
        result = op.emit(op_type, [], {"shape": list(sizes), "dtype": used, **attributes})
    else:
        like = op.ConstantOfShape(op.shape(sizes))
        result = op.emit(f"{op_type}Like", [like], {"dtype": used, **attributes})
    return op.cast(result, kind)


def _drawn_like(op: Builder, op_type: str, like: Value, kind: ir.DataType | None = None, **attributes: float) -> Value:
    """Numbers of RandomUniform or RandomNormal in the shape of a tensor."""
    if all(type(size) is int for size in dims(like)):
        return _drawn(op, op_type, dims(like), kind or dtype_of(like), **attributes)
    used = kind or dtype_of(like)
    drawn = used if used in _DRAWN else _FLOAT
    return op.cast(op.emit(f"{op_type}Like", [like], {"dtype": drawn, **attributes}), used)


def _kind(dtype: torch.dtype | None) -> ir.DataType:
    return from_torch(torch.get_default_dtype() if dtype is None else dtype)


def _integer_kind(dtype: torch.dtype | int | None) -> ir.DataType:
    """The dtype of integers; some schemas have the number of int64 as their default."""
    return from_torch(dtype) if isinstance(dtype, torch.dtype) else _INT64


def _sized(overload: Any, op_type: str) -> None:
    @lowers(overload)
    def rule(op: Builder, size: Sequence[Size], dtype: torch.dtype | None) -> Value:
        return _drawn(op, op_type, size, _kind(dtype))


def _like(overload: Any, op_type: str) -> None:
    @lowers(overload)
    def rule(op: Builder, self: Value, dtype: torch.dtype | None) -> Value:
        return _drawn_like(op, op_type, self, None if dtype is None else from_torch(dtype))


_sized(aten.rand.default, "RandomUniform")
_sized(aten.randn.default, "RandomNormal")
_like(aten.rand_like.default, "RandomUniform")
_like(aten.randn_like.default, "RandomNormal")


@lowers(aten.uniform.default)
def uniform(op: Builder, self: Value, from_: float, to: float) -> Value:
    """[*S] -> [*S], evenly between two numbers."""
    return _drawn_like(op, "RandomUniform", self, low=from_, high=to)


@lowers(aten.normal_functional.default)
def normal(op: Builder, self: Value, mean: float, std: float) -> Value:
    """[*S] -> [*S], the normal distribution."""
    return _drawn_like(op, "RandomNormal", self, mean=mean, scale=std)


@lowers(aten.normal.float_float)
def normal_of_size(
    op: Builder, mean: float, std: float, size: Sequence[Size], dtype: torch.dtype | None
) -> Value:  # fmt: skip
    """[*size], the normal distribution."""
    return _drawn(op, "RandomNormal", size, _kind(dtype), mean=mean, scale=std)


@lowers(aten.normal.Tensor_float)
def normal_around(op: Builder, mean: Value, std: float) -> Value:
    """[*M] -> [*M], normal around each mean."""
    return op.Add(mean, _drawn_like(op, "RandomNormal", mean, scale=std))


@lowers(aten.normal.float_Tensor)
def normal_as_wide(op: Builder, mean: float, std: Value) -> Value:
    """[*D] -> [*D], normal as wide as each deviation."""
    scaled = op.Mul(std, _drawn_like(op, "RandomNormal", std))
    return scaled if mean == 0 else op.Add(scaled, mean)


@lowers(aten.normal.Tensor_Tensor)
def normal_of_tensors(op: Builder, mean: Value, std: Value) -> Value:
    """[*M], [*D] -> broadcast, normal around each mean, as wide as each deviation."""
    like = mean if dims(mean) == dims(std) else op.Add(mean, std)
    return op.Add(mean, op.Mul(std, _drawn_like(op, "RandomNormal", like)))


@lowers(aten.exponential.default)
def exponential(op: Builder, self: Value, lambd: float) -> Value:
    """[*S] -> [*S], -log(u) / lambda for an even u."""
    return op.Div(op.Log(_positive(op, self)), -lambd)


@lowers(aten.geometric.default)
def geometric(op: Builder, self: Value, p: float) -> Value:
    """[*S] -> [*S], ceil(log(u) / log(1 - p)): how many trials to the first success."""
    drawn = _drawn_like(op, "RandomUniform", self, _FLOAT, low=_SMALLEST)
    return op.cast(op.Ceil(op.Div(op.Log(drawn), math.log1p(-p) if p < 1 else -math.inf)), dtype_of(self))


@lowers(aten.cauchy.default)
def cauchy(op: Builder, self: Value, median: float, sigma: float) -> Value:
    """[*S] -> [*S], median + sigma tan(pi (u - 1/2))."""
    angle = _drawn_like(op, "RandomUniform", self, low=-math.pi / 2, high=math.pi / 2)
    return op.Add(op.Mul(pointwise(op, "Tan", angle), sigma), median)


@lowers(aten.log_normal.default)
def log_normal(op: Builder, self: Value, mean: float, std: float) -> Value:
    """[*S] -> [*S], exp of normal numbers."""
    return op.Exp(_drawn_like(op, "RandomNormal", self, mean=mean, scale=std))


_SMALLEST = 2.0**-24  # an even number that is not 0: its logarithm is finite


def _positive(op: Builder, like: Value) -> Value:
    return _drawn_like(op, "RandomUniform", like, low=_SMALLEST)


@lowers(aten.bernoulli.default)
def bernoulli(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], 1 with the probability that stands there, else 0."""
    return op.cast(op.Less(_drawn_like(op, "RandomUniform", self), self), dtype_of(self))


@lowers(aten.bernoulli.p)
def bernoulli_of(op: Builder, self: Value, p: float) -> Value:
    """[*S] -> [*S], 1 with one probability, else 0."""
    return op.cast(op.Less(_drawn_like(op, "RandomUniform", self, _FLOAT), p), dtype_of(self))


@lowers(aten.bernoulli.Tensor)
def bernoulli_by(op: Builder, self: Value, p: Value) -> Value:
    """[*S], [*P] -> [*S], 1 with the probability that stands in the other, else 0."""
    drawn = _drawn_like(op, "RandomUniform", self, _FLOAT)
    return op.cast(op.Less(drawn, op.cast(p, _FLOAT)), dtype_of(self))


@lowers(aten.randint.default)
def randint(op: Builder, high: Size, size: Sequence[Size], dtype: torch.dtype | None) -> Value:
    """[*size], integers below high."""
    return randint_low(op, 0, high, size, dtype)


@lowers(aten.randint.low)
def randint_low(op: Builder, low: Size, high: Size, size: Sequence[Size], dtype: torch.dtype | None) -> Value:
    """[*size], integers from low to below high."""
    drawn = _drawn(op, "RandomUniform", size, ir.DataType.DOUBLE)
    return _whole(op, drawn, low, high, _integer_kind(dtype))


@lowers(aten.randint_like.default)
def randint_like(op: Builder, self: Value, high: Size, dtype: torch.dtype | None) -> Value:
    """[*S] -> [*S], integers below high."""
    return randint_like_low(op, self, 0, high, dtype)


@lowers(aten.randint_like.low_dtype)
def randint_like_low(op: Builder, self: Value, low: Size, high: Size, dtype: torch.dtype | None) -> Value:
    """[*S] -> [*S], integers from low to below high."""
    drawn = _drawn_like(op, "RandomUniform", self, ir.DataType.DOUBLE)
    return _whole(op, drawn, low, high, dtype_of(self) if dtype is None else from_torch(dtype))


def _whole(op: Builder, drawn: Value, low: Size, high: Size, kind: ir.DataType) -> Value:
    """Even numbers of [0, 1) as integers of [low, high)."""
    scaled = op.Floor(op.Mul(drawn, as_value(op, high - low, dtype_of(drawn))))
    return op.cast(op.Add(scaled, as_value(op, low, dtype_of(drawn))), kind)


@lowers(getattr(aten.random, "from"))
def random_from(op: Builder, self: Value, from_: int, to: int | None) -> Value:
    """[*S] -> [*S], integers from one number to below another, or to the largest."""
    kind = dtype_of(self)
    drawn = _drawn_like(op, "RandomUniform", self, ir.DataType.DOUBLE)
    return _whole(op, drawn, from_, _end(kind) if to is None else to, kind)


@lowers(aten.random.to)
def random_to(op: Builder, self: Value, to: int) -> Value:
    """[*S] -> [*S], integers below a number."""
    return random_from(op, self, 0, to)


@lowers(aten.random.default)
def random_any(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], integers that are not negative; as floats, those that have no gaps."""
    return random_from(op, self, 0, None)


def _end(kind: ir.DataType) -> int:
    """The first integer that a dtype does not have, or from which on a float one has gaps; at most 2^53."""
    if kind in _DIGITS:
        return 2 ** _DIGITS[kind] + 1
    return min(2 ** (kind.bitwidth - (kind not in UNSIGNED)), 2**53) if kind != ir.DataType.BOOL else 2


_DIGITS = {ir.DataType.DOUBLE: 53, _FLOAT: 24, ir.DataType.FLOAT16: 11, ir.DataType.BFLOAT16: 8}


@lowers(aten.randperm.default)
def randperm(op: Builder, n: Size, dtype: torch.dtype | None) -> Value:
    """[n], the numbers below n in some order: that of random numbers."""
    drawn = _drawn(op, "RandomUniform", [n], _FLOAT)
    _, order = op.TopK(drawn, op.shape([n]), _outputs=2)
    return op.cast(order, _integer_kind(dtype))


@lowers(aten.multinomial.default)
def multinomial(op: Builder, self: Value, num_samples: Size, replacement: bool) -> Value:
    """[*B, C] -> [*B, num_samples], indices of the last axis, drawn by their weights.

    The largest of log(weight) + Gumbel noise; with replacement, of new noise for each sample.
    """
    weights = op.Log(op.cast(self, _FLOAT))
    if not replacement or num_samples == 1:
        _, chosen = op.TopK(_noisy(op, weights), op.shape([num_samples]), axis=-1, _outputs=2)
        return chosen
    rows = op.unsqueeze(weights, [-2])
    sizes = [*dims(self)[:-1], num_samples, dims(self)[-1]]
    return op.ArgMax(_noisy(op, op.expand(rows, sizes)), axis=-1, keepdims=0)


def _noisy(op: Builder, logits: Value) -> Value:
    """Logits with Gumbel noise, -log(-log(u))."""
    return op.Sub(logits, op.Log(op.Neg(op.Log(_positive(op, logits)))))


@lowers(aten.poisson.default)
def poisson(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], how many even numbers can be multiplied before the product is below exp(-rate).

    Of a rate above 10,000, which would take as many steps, the rounded normal number of that mean and variance.
    """
    kind = dtype_of(self)
    rate = wide(op, self)
    is_large = op.Greater(rate, 1e4)
    limit = op.Neg(op.Where(is_large, 0.0, rate))
    nothing = filled_like(op, self, 0, ir.DataType.DOUBLE)

    def draw(inner: Builder, count: Value, logarithm: Value) -> tuple[Value, Sequence[Value]]:
        logarithm = inner.Add(logarithm, inner.Log(_positive(inner, logarithm)))
        more = inner.Greater(logarithm, limit)
        return any_of(inner, more), (inner.Add(count, wide(inner, more)), logarithm)

    count, _ = repeat_while(op, [nothing, nothing], draw)
    spread = op.Mul(op.Sqrt(rate), _drawn_like(op, "RandomNormal", rate))
    return op.cast(op.Where(is_large, op.Round(op.Add(rate, spread)), count), kind)


@lowers(aten.binomial.default)
def binomial(op: Builder, count: Value, prob: Value) -> Value:
    """[*N], [*P] -> broadcast, how many of n trials succeed, tried one by one."""
    kind = dtype_of(count)
    trials, chances = broadcast(op, wide(op, count), wide(op, prob))

    def attempt(inner: Builder, successes: Value, left: Value) -> tuple[Value, Sequence[Value]]:
        lucky = inner.Less(_drawn_like(inner, "RandomUniform", left), chances)
        more = wide(inner, inner.And(lucky, inner.Greater(left, 0)))
        left = inner.Sub(left, 1)
        return any_of(inner, inner.Greater(left, 0)), (inner.Add(successes, more), left)

    successes, _ = repeat_while(op, [filled_like(op, trials, 0, ir.DataType.DOUBLE), trials], attempt)
    return op.cast(successes, kind)


@lowers(aten._standard_gamma.default)
def standard_gamma(op: Builder, self: Value) -> Value:
    """[*S] -> [*S], the gamma distribution of each shape a.

    d (1 + c x)^3 for normal x, drawn anew until it is accepted; for a < 1 that of a + 1, times u^(1 / a).  It is NaN
    for a negative shape.
    Source: Marsaglia and Tsang, ACM Transactions on Mathematical Software 26 (2000).
    """
    shape = wide(op, self)
    below = op.Less(shape, 1)
    d = op.Sub(op.Where(below, op.Add(shape, 1), shape), 1 / 3)
    c = op.Reciprocal(op.Sqrt(op.Mul(d, 9)))

    def draw(inner: Builder, result: Value) -> tuple[Value, Sequence[Value]]:
        x = _drawn_like(inner, "RandomNormal", result)
        root = inner.Add(inner.Mul(x, c), 1)
        cube = inner.Mul(inner.Mul(root, root), root)
        bound = inner.Mul(inner.Add(inner.Sub(inner.Log(cube), cube), 1), d)
        bound = inner.Add(bound, inner.Mul(inner.Mul(x, x), 0.5))
        accepted = inner.Less(inner.Log(_positive(inner, result)), bound)  # never where the cube is not positive
        pending = inner.Less(result, 0)
        result = inner.Where(inner.And(pending, accepted), inner.Mul(cube, d), result)
        return any_of(inner, inner.Less(result, 0)), (result,)

    # Nothing would ever be accepted for these: they are what they are from the beginning, the others pending.
    proper = op.And(op.GreaterOrEqual(shape, 0), op.Less(shape, math.inf))
    (drawn,) = repeat_while(op, [op.Where(proper, -1.0, op.Sqrt(shape))], draw)
    boost = op.Pow(_positive(op, shape), op.Reciprocal(shape))
    return op.cast(op.Where(below, op.Mul(drawn, boost), drawn), dtype_of(self))


@lowers(aten._sample_dirichlet.default)
def sample_dirichlet(op: Builder, self: Value) -> Value:
    """[*B, K] -> [*B, K], the Dirichlet distribution: gamma numbers over their sum."""
    drawn = standard_gamma(op, self)
    return op.Div(drawn, op.reduce("ReduceSum", drawn, [-1], keepdims=True))


# Dropout.


def dropped(op: Builder, input: Value, p: float, noise_sizes: Sequence[Size] | None = None) -> tuple[Value, Value]:
    """The input times 0 or 1 / (1 - p), and the mask of what was kept.

    The mask is used even where nobody asks for it: onnxruntime's EliminateDropout removes the node else, though
    it is in training mode.
    """
    if p >= 1:
        nothing = op.Mul(input, 0)
        return nothing, boolean(op, nothing)
    if noise_sizes is None:
        result, mask = op.Dropout(input, p, True, _outputs=2)
        return op.Where(mask, result, op.constant(0, dtype_of(input))), mask
    drawn = _drawn(op, "RandomUniform", noise_sizes, _FLOAT)
    kept = op.GreaterOrEqual(drawn, p)
    return op.Mul(input, op.Div(op.cast(kept, dtype_of(input)), 1 - p)), kept


@lowers(aten.dropout.default)
def dropout(op: Builder, input: Value, p: float, train: bool) -> Value:
    """[*S] -> [*S]: as it is, or in training some elements 0 and the others times 1 / (1 - p)."""
    return dropped(op, input, p)[0] if train and p > 0 else input


@lowers(aten.native_dropout.default)
def native_dropout(op: Builder, input: Value, p: float, train: bool | None) -> tuple[Value, Value]:
    """[*S] -> [*S], and the mask of what was kept."""
    if train is False or p == 0:
        return input, op.Equal(input, input)
    return dropped(op, input, p)


@lowers(aten.feature_dropout.default)
def feature_dropout(op: Builder, input: Value, p: float, train: bool) -> Value:
    """[N, C, *S] -> [N, C, *S]: in training whole channels 0, the others times 1 / (1 - p)."""
    if not train or p == 0:
        return input
    return dropped(op, input, p, _per_channel(input))[0]


@lowers(aten.alpha_dropout.default)
def alpha_dropout(op: Builder, input: Value, p: float, train: bool) -> Value:
    """[*S] -> [*S]: in training some elements to where selu saturates; mean and variance stay."""
    return _alpha_dropped(op, input, p, dims(input)) if train and p > 0 else input


@lowers(aten.feature_alpha_dropout.default)
def feature_alpha_dropout(op: Builder, input: Value, p: float, train: bool) -> Value:
    """[N, C, *S] -> [N, C, *S]: in training whole channels to where selu saturates."""
    return _alpha_dropped(op, input, p, _per_channel(input)) if train and p > 0 else input


def _per_channel(input: Value) -> list[Size]:
    return [*dims(input)[:2], *[1] * (len(dims(input)) - 2)]


def _alpha_dropped(op: Builder, input: Value, p: float, noise_sizes: Sequence[Size]) -> Value:
    """`a x kept + a alpha (kept - 1) + a alpha p`, for selu's alpha and the a that keeps the variance."""
    if p >= 1:
        return op.Mul(input, 0)
    alpha = 1.7580993408473766
    scale = 1 / math.sqrt((alpha * alpha * p + 1) * (1 - p))
    kept = op.cast(op.GreaterOrEqual(_drawn(op, "RandomUniform", noise_sizes, _FLOAT), p), dtype_of(input))
    moved = op.Add(op.Mul(kept, alpha * scale), alpha * scale * (p - 1))
    return op.Add(op.Mul(op.Mul(input, scale), kept), moved)


@lowers(aten.rrelu_with_noise_functional.default)
def rrelu_with_noise(
    op: Builder, self: Value, noise: Value, lower: Operand, upper: Operand, training: bool
) -> tuple[Value, Value]:
    """[*S] -> [*S], x >= 0 ? x : slope x, and the slopes, 1 where x is not negative."""
    low, high = (as_value(op, bound, dtype_of(self)) for bound in (lower, upper))
    if not training:
        slope = op.Div(op.Add(low, high), 2)
        return op.Where(op.Less(self, 0), op.Mul(self, slope), self), noise
    drawn = op.Add(low, op.Mul(_drawn_like(op, "RandomUniform", self), op.Sub(high, low)))
    slopes = op.Where(op.LessOrEqual(self, 0), drawn, op.constant(1, dtype_of(self)))
    return op.Mul(self, slopes), slopes
