"""Arithmetic."""

from __future__ import annotations

import pytest
import torch

from tests.lowering import Case, both_ways, check

aten = torch.ops.aten


def _x() -> list[torch.Tensor]:
    return [torch.randn(3, 4)]


def _xy() -> list[torch.Tensor]:
    return [torch.randn(3, 4), torch.randn(4)]


def _integers() -> list[torch.Tensor]:
    return [torch.arange(-6, 6).reshape(3, 4), torch.tensor([3, -2, 5, -4])]


def _bools() -> list[torch.Tensor]:
    return [torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])]


def _special() -> list[torch.Tensor]:
    nan, inf = float("nan"), float("inf")
    return [torch.tensor([nan, inf, -inf, -0.0, 0.0, 2.5, -2.5, nan])]


def _special_pair() -> list[torch.Tensor]:
    x = _special()[0]
    return [x, x.flip(0)]


def _quotients() -> list[torch.Tensor]:
    return [
        torch.tensor([0.3, 0.7, -0.3, 6.0, -6.0, 7.5, 1.0, -1.0]),
        torch.tensor([0.1, 0.1, 0.1, 2, 2, -2.5, 0.0, 3.0]),
    ]


SUMS = [
    Case("add", torch.add, _xy, ops="Add"),
    Case("add_alpha", lambda a, b: torch.add(a, b, alpha=2), _xy, ops="Mul Add"),
    Case("add_number", lambda a: a + 2, _x, ops="Add"),
    Case("add_number_first", lambda a: 2.5 + a, _x, ops="Add"),
    Case("add_float_to_integers", lambda a, b: a + 2.5, _integers, ops="Cast Add"),
    Case("add_integer_to_bools", lambda a, b: a + 2, _bools, ops="Cast Add"),
    Case("add_bools", torch.add, _bools, ops="Or"),
    Case("add_int8_int32", torch.add, lambda: [torch.arange(4, dtype=torch.int8), torch.arange(4, dtype=torch.int32)]),
    Case("add_rank_0", lambda a, b: a + b.sum().double(), lambda: [torch.arange(4), torch.randn(2)]),
    Case("add_scalar", lambda a: aten.add.Scalar(a, 2, 3), _x),
    Case("add_size", lambda a: a + a.shape[0], _x),
    Case("add_half_size", lambda a: a + a.shape[1] / 2, _x),
    Case("add_item", lambda a, b: aten.add.Scalar(a, b.item()), lambda: [torch.randn(3).half(), torch.tensor(2.5)]),
    Case("sub", torch.sub, _xy, ops="Sub"),
    Case("sub_alpha", lambda a, b: torch.sub(a, b, alpha=0.5), _xy),
    Case("sub_scalar", lambda a: aten.sub.Scalar(a, 2), _x),
    Case(
        "add_relu",
        lambda a, b: (torch._add_relu(a, b, alpha=2), torch._add_relu(a, -0.5)),
        _xy,
        ops="Mul Add Relu Add Relu",
    ),
    Case("neg_view", lambda a: (torch._neg_view(a) + 0, aten._neg_view_copy(a)), _x),
    Case("rsub", torch.rsub, _xy, ops="Sub"),
    Case("rsub_number", lambda a: 1 - a, _x, ops="Sub"),
    Case("mul", torch.mul, _xy, ops="Mul"),
    Case("mul_number", lambda a: a * 0.5, _x, ops="Mul"),
    Case("mul_scalar", lambda a: aten.mul.Scalar(a, 3), _x),
    Case("mul_half", lambda a: a.half() * 0.5, _x, ops="Cast Mul"),
    Case("mul_half_by_tiny", lambda a: a.half() * 1e-6, _x, ops="Cast Cast Mul Cast"),
    Case("mul_half_by_huge", lambda a: (a > 0).half() * -3e38, _x),
    Case("mul_bools", torch.mul, _bools, ops="And"),
    Case("mul_scalar_bool", lambda a, b: aten.mul.Scalar(a, True), _bools),
    Case("mul_wraps", lambda a: a * 100, lambda: [torch.arange(4, dtype=torch.int8)]),
    Case("addcmul", lambda a, b: torch.addcmul(a, b, b, value=2), _xy, ops="Mul Mul Add"),
    Case("addcdiv", lambda a, b: torch.addcdiv(a, a, b), _xy, ops="Div Add"),
    Case("lerp", lambda a, b: torch.lerp(a, b, 0.3), _xy),
    Case("lerp_tensor", lambda a, b: torch.lerp(a, b, b), _xy, ops="Sub Mul Add"),
    Case("neg", torch.neg, _x, ops="Neg"),
    Case("neg_unsigned", torch.neg, lambda: [torch.arange(4, dtype=torch.uint8)]),
    Case("abs", torch.abs, _special, ops="Abs"),
    Case("sign", torch.sign, lambda: _integers()[:1], ops="Sign"),
    Case("sign_bool", lambda a, b: torch.sign(a), _bools),
    Case("sgn", torch.sgn, _x, ops="Sign"),
]
QUOTIENTS = [
    Case("div", torch.div, _xy, ops="Div"),
    Case("div_integers", torch.div, _integers, ops="Cast Cast Div"),
    Case("div_scalar", lambda a: aten.div.Scalar(a, 2), _x),
    Case("div_size", lambda a: a / a.shape[0], _x),
    Case("div_half_by_huge", lambda a: a.half() / 1e5, _x),
    Case("div_mode_none", lambda a, b: torch.div(a, b, rounding_mode=None), _xy, ops="Div"),
    Case("div_floor", lambda a, b: torch.div(a, b, rounding_mode="floor"), _quotients),
    Case("div_trunc", lambda a, b: torch.div(a, b, rounding_mode="trunc"), _quotients),
    Case("div_floor_integers", lambda a, b: torch.div(a, b, rounding_mode="floor"), _integers, ops="Mod Sub Div"),
    Case("div_trunc_integers", lambda a, b: torch.div(a, b, rounding_mode="trunc"), _integers, ops="Div"),
    Case("div_scalar_mode", lambda a: aten.div.Scalar_mode(a, 2, rounding_mode="floor"), _x, ops="Div Floor"),
    Case("div_scalar_mode_none", lambda a: aten.div.Scalar_mode(a, 2, rounding_mode=None), _x, ops="Div"),
    Case("floor_divide", torch.floor_divide, _quotients),
    Case("floor_divide_number", lambda a, b: a // 0.1, _quotients),
    Case("floor_divide_scalar", lambda a: aten.floor_divide.Scalar(a, 3), _x),
    Case("floor_divide_unsigned", lambda a: a // 3, lambda: [torch.arange(9, dtype=torch.uint8)], ops="Div"),
    Case("remainder", torch.remainder, _quotients),
    Case("remainder_number", lambda a: a % 3, _x, ops="Mod Less Add Where"),
    Case("remainder_below_zero", lambda a: a % -3, _x, ops="Mod Greater Add Where"),
    Case("remainder_integers", torch.remainder, _integers, ops="Mod"),
    Case("remainder_of_number", lambda a, b: torch.remainder(7, b), _integers),
    Case("remainder_scalar", lambda a: aten.remainder.Scalar(a, 0.7), _x),
    Case("fmod", torch.fmod, _quotients, ops="Mod"),
    Case("fmod_integers", torch.fmod, _integers, ops="Mod"),
    Case("fmod_scalar", lambda a: aten.fmod.Scalar(a, -0.7), _x, ops="Mod"),
]
BOUNDS = [
    Case("clamp", lambda a: a.clamp(-0.5, 0.5), _special, ops="Clip"),
    Case("clamp_min", lambda a: a.clamp(min=0), _x, ops="Clip"),
    Case("clamp_max", lambda a: a.clamp(max=0.3), _x, ops="Clip"),
    Case("clamp_crossed", lambda a: a.clamp(1, -1), _x),
    Case("clamp_integers_by_float", lambda a, b: a.clamp(-0.5, 2), _integers, ops="Cast Clip"),
    Case(
        "clamp_int16", lambda a: a.clamp(-1, 2), lambda: [torch.arange(-4, 4, dtype=torch.int16)], ops="Cast Clip Cast"
    ),
    Case("clamp_to_size", lambda a, b: a.clamp(0, a.shape[0]), _integers),
    Case("clamp_tensors", lambda a, b: torch.clamp(a, b, b + 1), _xy),
    Case("clamp_tensor_below", lambda a, b: torch.clamp(a, max=b), _xy, ops="Min"),
    Case("clamp_min_scalar", lambda a: aten.clamp_min(a, 0.1), _x, ops="Clip"),
    Case("clamp_max_scalar", lambda a: aten.clamp_max(a, 0.1), _x, ops="Clip"),
    Case("clamp_min_tensor", lambda a, b: aten.clamp_min.Tensor(a, b), _xy, ops="Max"),
    Case("clamp_max_tensor", lambda a, b: aten.clamp_max.Tensor(a, b), _xy, ops="Min"),
    Case("maximum", torch.maximum, _special_pair, ops="Max"),
    Case("minimum", torch.minimum, _special_pair, ops="Min"),
    Case("maximum_bools", torch.maximum, _bools, ops="Or"),
    Case("maximum_int16", lambda a: torch.maximum(a, -a), lambda: [torch.arange(-4, 4, dtype=torch.int16)]),
    Case("max_other", lambda a, b: aten.max.other(a, b), _xy, ops="Max"),
    Case("min_other", lambda a, b: aten.min.other(a, b), _xy, ops="Min"),
    Case("fmax", torch.fmax, _special_pair, ops="Less IsNaN Or Where"),
    Case("fmin", torch.fmin, _special_pair, ops="Greater IsNaN Or Where"),
    Case("fmax_integers", torch.fmax, _integers, ops="Max"),
    Case("fmin_bools", torch.fmin, _bools, ops="And"),
    Case("a size as a shape and as a number", lambda a: a.new_ones(a.shape[0], 1) / a.shape[0] + a, _x),
]
CASES = SUMS + QUOTIENTS + BOUNDS

test_static, test_dynamic = both_ways(*CASES)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int8, torch.int16, torch.int32, torch.uint8])
def test_every_dtype(dtype: torch.dtype) -> None:
    def call(a: torch.Tensor, b: torch.Tensor) -> list[torch.Tensor]:
        return [
            a + b,
            a - b,
            a * b,
            a / b,
            a // b,
            a % b,
            torch.fmod(a, b),
            torch.maximum(a, b),
            a.clamp(1, 3),
            -a,
            a.abs(),
        ]

    check(Case("all", call, lambda: [torch.tensor([5, 7, 1, 0]).to(dtype), torch.tensor([2, 3, 4, 5]).to(dtype)]))


@pytest.mark.parametrize("opset_version", [17, 20, 22, 24])
def test_every_opset(opset_version: int) -> None:
    def call(a: torch.Tensor, b: torch.Tensor) -> list[torch.Tensor]:
        return [a + b, a // b, a % b, a.clamp(-1, 1), torch.fmax(a, b), torch.maximum(a, b)]

    check(Case("all", call, _quotients, opset_version=opset_version))
