"""Comparisons, logic, bits and choices."""

from __future__ import annotations

import pytest
import torch

from tests.lowering import Case, both_ways, check

aten = torch.ops.aten


def _xy() -> list[torch.Tensor]:
    return [torch.tensor([[1.0, 2.0, 3.0], [-1.0, 0.0, float("nan")]]), torch.tensor([1.0, 3.0, 0.0])]


def _integers() -> list[torch.Tensor]:
    return [torch.arange(-6, 6).reshape(3, 4), torch.tensor([3, -2, 5, -4])]


def _bools() -> list[torch.Tensor]:
    return [torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])]


def _special() -> list[torch.Tensor]:
    nan, inf = float("nan"), float("inf")
    return [torch.tensor([nan, inf, -inf, -0.0, 0.0, 2.5, -2.5])]


def _shifts(dtype: torch.dtype = torch.int64) -> list[torch.Tensor]:
    bits = torch.iinfo(dtype).bits
    counts = [0, 1, 2, bits - 1, bits, bits + 1, 3, 1]
    return [torch.tensor([1, 3, 7, 1, 5, 100, 127, 0]).to(dtype), torch.tensor(counts).to(dtype)]


RELATIONS = [
    Case("eq", torch.eq, _xy, ops="Equal"),
    Case("eq_number", lambda a, b: a == 1, _xy, ops="Equal"),
    Case("eq_bools", torch.eq, _bools, ops="Equal"),
    Case("ne", torch.ne, _xy, ops="Equal Not"),
    Case("ne_zero", lambda a, b: a != 0, _xy, ops="Cast"),
    Case("ne_number", lambda a, b: a != 3, _xy, ops="Equal Not"),
    Case("ne_bools", torch.ne, _bools, ops="Xor"),
    Case("lt", torch.lt, _xy, ops="Less"),
    Case("lt_number", lambda a, b: a < 2, _xy, ops="Less"),
    Case("lt_bools", torch.lt, _bools),
    Case("lt_float_beside_integers", lambda a, b: a < 2.5, _integers, ops="Cast Less"),
    Case("lt_size", lambda a, b: a < a.shape[1], _integers),
    Case("le", torch.le, _xy, ops="LessOrEqual"),
    Case("le_number", lambda a, b: a <= 2, _xy, ops="LessOrEqual"),
    Case("gt", torch.gt, _xy, ops="Greater"),
    Case("gt_number", lambda a, b: a > 2, _xy, ops="Greater"),
    Case("ge", torch.ge, _xy, ops="GreaterOrEqual"),
    Case("ge_number", lambda a, b: a >= 2, _xy, ops="GreaterOrEqual"),
    Case("isclose", torch.isclose, _xy),
    Case("isin", torch.isin, _integers, dynamic=False),
    Case("isin_inverted", lambda a, b: torch.isin(a, b, invert=True), _integers),
    Case("isin_nothing", lambda a, b: torch.isin(a, b[:0]), _integers),
    Case("isin_number", lambda a, b: torch.isin(a, 3), _integers, ops="Equal"),
    Case("isin_not_number", lambda a, b: torch.isin(a, 3, invert=True), _integers),
    Case("number_isin", lambda a, b: torch.isin(3, b), _integers),
]
TRUTHS = [
    Case("logical_and", torch.logical_and, _xy, ops="Cast Cast And"),
    Case("logical_or", torch.logical_or, _bools, ops="Or"),
    Case("logical_xor", torch.logical_xor, _bools, ops="Xor"),
    Case("logical_not", lambda a, b: torch.logical_not(a), _bools, ops="Not"),
    Case("logical_not_number", lambda a, b: torch.logical_not(a), _xy, ops="Equal"),
    Case("isnan", torch.isnan, _special, ops="IsNaN"),
    Case("isnan_integer", lambda a, b: torch.isnan(a), _integers),
    Case("isinf", torch.isinf, _special, ops="IsInf"),
    Case("isinf_integer", lambda a, b: torch.isinf(a), _integers),
    Case("isinf_half", lambda a: torch.isinf(a.half()), _special),
    Case("isposinf", torch.isposinf, _special, ops="IsInf"),
    Case("isposinf_integer", lambda a, b: torch.isposinf(a), _integers),
    Case("isneginf", torch.isneginf, _special, ops="IsInf"),
    Case("isneginf_integer", lambda a, b: torch.isneginf(a), _integers),
    Case("isfinite", torch.isfinite, _special, ops="Abs Less"),
    Case("isfinite_integer", lambda a, b: torch.isfinite(a), _integers),
    Case("signbit", torch.signbit, _special),
    Case("signbit_integer", lambda a, b: torch.signbit(a), _integers, ops="Less"),
    Case("signbit_bool", lambda a, b: torch.signbit(a), _bools),
]
BITS = [
    Case("bitwise_and", torch.bitwise_and, _integers, ops="BitwiseAnd"),
    Case("bitwise_and_number", lambda a, b: a & 5, _integers, ops="BitwiseAnd"),
    Case("number_bitwise_and", lambda a, b: torch.bitwise_and(5, a), _integers),
    Case("bitwise_and_scalar", lambda a, b: aten.bitwise_and.Scalar(a, 5), _integers),
    Case("bitwise_and_bools", torch.bitwise_and, _bools, ops="And"),
    Case("bitwise_or", torch.bitwise_or, _integers, ops="BitwiseOr"),
    Case("bitwise_or_scalar", lambda a, b: aten.bitwise_or.Scalar(a, 5), _integers),
    Case("number_bitwise_or", lambda a, b: torch.bitwise_or(5, a), _integers),
    Case("bitwise_xor", torch.bitwise_xor, _integers, ops="BitwiseXor"),
    Case("bitwise_xor_scalar", lambda a, b: aten.bitwise_xor.Scalar(a, 5), _integers),
    Case("number_bitwise_xor", lambda a, b: torch.bitwise_xor(5, a), _integers),
    Case("bitwise_not", lambda a, b: ~a, _integers, ops="BitwiseNot"),
    Case("bitwise_not_bools", lambda a, b: ~a, _bools, ops="Not"),
    Case("left_shift", torch.bitwise_left_shift, _shifts),
    Case("left_shift_number", lambda a, b: torch.bitwise_left_shift(a, 2), _shifts, ops="Cast BitShift Cast"),
    Case("left_shift_of_number", lambda a, b: torch.bitwise_left_shift(3, b), _shifts),
    Case("shifts_of_bools", lambda a, b: ((a > 2) << b, (a > 2) >> 1, (a > 2) << 1), _shifts),
    Case("left_shift_operator", lambda a, b: (a << b, a << 2), _shifts),
    Case("right_shift", torch.bitwise_right_shift, _shifts),
    Case("right_shift_negative", lambda a, b: torch.bitwise_right_shift(-a, b), _shifts),
    Case("right_shift_number", lambda a, b: torch.bitwise_right_shift(-a, 2), _shifts),
    Case("right_shift_of_number", lambda a, b: torch.bitwise_right_shift(-30, b), _shifts),
    Case("right_shift_operator", lambda a, b: (a >> b, a >> 2), _shifts),
]
CHOICES = [
    Case("where", lambda a, b: torch.where(a > b, a, b), _xy, ops="Greater Where"),
    Case("where_promotes", lambda a, b: torch.where(a > 0, a, b.float()), _integers),
    Case("where_number", lambda a, b: torch.where(a > b, a, 0.5), _xy, ops="Greater Where"),
    Case("number_where", lambda a, b: torch.where(a > b, 0.5, a), _xy, ops="Greater Where"),
    Case("where_numbers", lambda a, b: torch.where(a > b, 1.0, -1.0), _xy, ops="Greater Where"),
    Case("where_scalar_self", lambda a, b: aten.where.ScalarSelf(a > b, 2, a), _xy),
    Case("where_scalar_other", lambda a, b: aten.where.ScalarOther(a > b, a, 2), _xy),
    Case("where_scalars", lambda a, b: aten.where.Scalar(a > b, 1, 2), _xy),
    Case("where_bools", lambda a, b: torch.where(a, b, ~b), _bools, ops="Not Cast Cast Where Cast"),
    Case("where_bool_or_false", lambda a, b: aten.where.ScalarOther(a, b, False), _bools, ops="And"),
    Case("where_true_or_bool", lambda a, b: aten.where.ScalarSelf(a, True, b), _bools, ops="Or"),
    Case("where_int16", lambda a, b: torch.where(a > 0, a.short(), b.short()), _integers),
]
CASES = RELATIONS + TRUTHS + BITS + CHOICES

test_static, test_dynamic = both_ways(*CASES)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.uint8])
def test_shifts_of_every_width(dtype: torch.dtype) -> None:
    check(Case("both", lambda a, b: (a << b, a >> b), lambda: _shifts(dtype)))
    check(Case("number", lambda a, b: (a << 2, a >> 2), lambda: _shifts(dtype)))


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.uint8, torch.float16, torch.float64])
def test_comparisons_of_every_dtype(dtype: torch.dtype) -> None:
    def call(a: torch.Tensor, b: torch.Tensor) -> list[torch.Tensor]:
        return [a < b, a == b, a != b, a >= b, torch.where(a < b, a, b), torch.isin(a, b)]

    check(Case("all", call, lambda: [torch.tensor([5, 7, 1, 0]).to(dtype), torch.tensor([2, 7, 4, 5]).to(dtype)]))
