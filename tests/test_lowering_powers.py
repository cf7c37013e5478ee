"""Powers, and functions of two numbers that are made of them."""

from __future__ import annotations

import pytest
import torch

from tests.lowering import Case, both_ways, check

aten = torch.ops.aten


def _x() -> list[torch.Tensor]:
    return [torch.rand(3, 4) + 0.1]


def _xy() -> list[torch.Tensor]:
    return [torch.rand(3, 4) + 0.1, torch.randn(4)]


def _integers() -> list[torch.Tensor]:
    return [torch.tensor([[0, 1, -1], [2, -3, 7], [5, 11, -2]]), torch.tensor([5, 3, 2])]


def _exponents() -> list[torch.Tensor]:
    return [torch.tensor([0, 1, -1, 2, -3, 2, -1, 3]), torch.tensor([3, -2, -3, -1, 3, 70, -2, 41])]


def _special_pair() -> list[torch.Tensor]:
    nan, inf = float("nan"), float("inf")
    x = torch.tensor([nan, inf, -inf, -0.0, 0.0, 2.5, -2.5, 0.0])
    return [x, torch.tensor([1.0, inf, 1.0, nan, 0.0, -0.0, nan, 3.0])]


CASES = [
    Case("square", torch.square, _x, ops="Pow"),
    Case("pow", lambda x: x**3.5, _x, ops="Pow"),
    Case("pow_half", lambda x: x**0.5, _x, ops="Sqrt"),
    Case("pow_minus_half", lambda x: x**-0.5, _x, ops="Sqrt Reciprocal"),
    Case("pow_minus_1", lambda x: x**-1, _x, ops="Reciprocal"),
    Case("pow_0", lambda x: x**0, _x),
    Case("pow_integers", lambda x, y: x**3, _integers, ops="Mul Mul"),
    Case("pow_integers_0", lambda x, y: x**0, _integers),
    Case("pow_integers_wrap", lambda x, y: x**41, _integers),
    Case("pow_integers_half", lambda x, y: x.abs() ** 0.5, _integers, ops="Abs Cast Sqrt"),
    Case("pow_item", lambda x, y: aten.pow.Tensor_Scalar(x, y.item()), lambda: [_x()[0], torch.tensor(2.5)]),
    Case("pow_integer_item", lambda x, y: x ** y.item(), lambda: [torch.arange(5), torch.tensor(3)]),
    Case(
        "pow_of_small_integers",
        lambda x, y: x**y,
        lambda: [torch.arange(4, dtype=torch.uint8), torch.tensor([2, -1, 3, 0], dtype=torch.int8)],
    ),
    Case("pow_truths", lambda x: (x**True, x**False, x.int() ** True), lambda: [torch.tensor([True, False])]),
    Case("pow_bool", lambda x: x**2, lambda: [torch.tensor([True, False])]),
    Case("pow_tensors", torch.pow, _xy, ops="Pow"),
    Case("pow_integer_tensors", torch.pow, _exponents),
    Case("pow_integer_tensors_broadcast", lambda x, y: x[:, None] ** y.abs(), _exponents),
    Case("pow_int8", torch.pow, lambda: [torch.arange(-4, 4, dtype=torch.int8), torch.arange(8, dtype=torch.int8)]),
    Case("pow_uint8", torch.pow, lambda: [torch.arange(8, dtype=torch.uint8), torch.arange(8, dtype=torch.uint8)]),
    Case("pow_of_nothing", torch.pow, lambda: [torch.zeros(0, 3, dtype=torch.int64), torch.arange(3)]),
    Case("number_pow", lambda x, y: 2.5**y, _xy, ops="Pow"),
    Case("number_pow_integers", lambda x, y: 3 ** y.abs(), _integers),
    Case("float_power", lambda x, y: torch.float_power(x, y), _xy),
    Case("ldexp", lambda x, y: torch.ldexp(x, y.int()), _xy),
    Case("hypot", torch.hypot, _xy, ops="Cast Cast Mul Mul Add Sqrt Cast"),
    Case("hypot_large", lambda x, y: torch.hypot(x * 1e30, y * 1e30), _xy),
    Case("xlogy", torch.xlogy, _special_pair),
    Case("xlogy_number", lambda x, y: torch.xlogy(x, 2.0), _xy),
    Case("number_xlogy", lambda x, y: torch.xlogy(2.0, x), _xy),
    Case("xlog1py", torch.special.xlog1py, _special_pair),
    Case("xlog1py_number", lambda x, y: torch.special.xlog1py(x, 2.0), _xy),
    Case("number_xlog1py", lambda x, y: torch.special.xlog1py(2.0, x), _xy),
    Case("entr", lambda x, y: torch.special.entr(x), _special_pair),
    Case("logaddexp", torch.logaddexp, _special_pair),
    Case("logaddexp_far", lambda x, y: torch.logaddexp(x * 1000, y * 1000), _xy),
    Case("logaddexp2", torch.logaddexp2, _special_pair),
    Case("copysign", torch.copysign, lambda: [torch.randn(4), torch.tensor([-0.0, 0.0, -2.0, float("-inf")])]),
    Case("copysign_number", lambda x, y: torch.copysign(y, -0.0), _xy),
    Case("copysign_integers", torch.copysign, _integers),
    Case("heaviside", torch.heaviside, _special_pair),
    Case("heaviside_integers", lambda x, y: torch.heaviside(x, y), _integers),
    Case("heaviside_bools", torch.heaviside, lambda: [torch.tensor([True, False]), torch.tensor([True, True])]),
]

test_static, test_dynamic = both_ways(*CASES)


@pytest.mark.parametrize("opset_version", [17, 20, 22, 24])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_every_opset_and_float(opset_version: int, dtype: torch.dtype) -> None:
    def call(x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        return [x**3, x**y, torch.hypot(x, y), torch.logaddexp(x, y), torch.xlogy(x, x), torch.copysign(x, y)]

    check(Case("all", call, lambda: [x.to(dtype) for x in _xy()], opset_version=opset_version))
