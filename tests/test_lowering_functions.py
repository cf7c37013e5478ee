"""Functions of one real variable, and roundings."""

from __future__ import annotations

import pytest
import torch

from tests.lowering import Case, both_ways, cases, check

aten = torch.ops.aten


def _x() -> list[torch.Tensor]:
    return [torch.randn(3, 4) * 2]


def _positive() -> list[torch.Tensor]:
    return [torch.rand(3, 4) * 5 + 0.01]


def _unit() -> list[torch.Tensor]:
    return [torch.rand(3, 4) * 2 - 1]


def _special() -> list[torch.Tensor]:
    nan, inf = float("nan"), float("inf")
    return [torch.tensor([nan, inf, -inf, -0.0, 0.0, 2.5, -2.5, 0.5, -0.5, 1.5, 1e-6, -1e-6])]


CASES = [
    Case("exp", torch.exp, _special, ops="Exp"),
    Case("exp_integers", torch.exp, lambda: [torch.arange(4)], ops="Cast Exp"),
    Case("log", torch.log, _special, ops="Log"),
    Case("sqrt", torch.sqrt, _special, ops="Sqrt"),
    Case("rsqrt", torch.rsqrt, _positive, ops="Sqrt Reciprocal"),
    Case("reciprocal", torch.reciprocal, _special, ops="Reciprocal"),
    Case("sin", torch.sin, _x, ops="Sin"),
    Case("cos", torch.cos, _x, ops="Cos"),
    Case("tan", torch.tan, _unit, ops="Tan"),
    Case("sinh", torch.sinh, _x, ops="Sinh"),
    Case("cosh", torch.cosh, _x, ops="Cosh"),
    Case("asin", torch.asin, _unit, ops="Asin"),
    Case("acos", torch.acos, _unit, ops="Acos"),
    Case("atan", torch.atan, _special, ops="Atan"),
    Case("asinh", torch.asinh, _x, ops="Asinh"),
    Case("acosh", lambda x: torch.acosh(x + 1), _positive, ops="Add Acosh"),
    Case("atanh", torch.atanh, _unit, ops="Atanh"),
    Case("expm1", torch.expm1, _special, ops="Cast Exp Sub Cast"),
    Case("log1p", torch.log1p, _special, ops="Cast Add Log Cast"),
    Case("log2", torch.log2, _special, ops="Log Div"),
    Case("log10", torch.log10, _special, ops="Log Div"),
    Case("exp2", torch.exp2, _special, ops="Pow"),
    Case("deg2rad", torch.deg2rad, _x, ops="Mul"),
    Case("rad2deg", torch.rad2deg, _x, ops="Mul"),
    Case("ceil", torch.ceil, _special, ops="Ceil"),
    Case("floor", torch.floor, _special, ops="Floor"),
    Case("floor_integers", lambda x: torch.floor(x) + 1, lambda: [torch.arange(4)], ops="Add"),
    Case("round", torch.round, _special, ops="Round"),
    Case("trunc", torch.trunc, _special, ops="Less Ceil Floor Where"),
    Case("frac", torch.frac, _special, ops="Mod"),
    Case("round_decimals", lambda x: torch.round(x, decimals=2), _x, ops="Mul Round Div"),
    Case("round_tens", lambda x: torch.round(x * 100, decimals=-1), _x, ops="Mul Div Round Mul"),
    Case("round_decimals_0", lambda x: torch.round(x, decimals=0), _x, ops="Round"),
    Case("logit", torch.logit, lambda: [torch.rand(3, 4)], ops="Sub Div Log"),
    Case("logit_eps", lambda x: torch.logit(x, 0.1), _unit, ops="Clip Sub Div Log"),
    Case("sinc", torch.sinc, _special),
    Case("angle", torch.angle, _special),
    Case("angle_integers", torch.angle, lambda: [torch.arange(-2, 2)]),
    Case("nan_to_num", torch.nan_to_num, _special, ops="IsNaN Where Clip"),
    Case("nan_to_num_given", lambda x: torch.nan_to_num(x, 1.0, 2.0, -3.0), _special),
    Case("nan_to_num_half", lambda x: torch.nan_to_num(x.half(), posinf=2.0), _special),
    Case("nan_to_num_integers", lambda x: torch.nan_to_num(x) + 1, lambda: [torch.arange(4)], ops="Add"),
    Case("atan2", torch.atan2, lambda: [_special()[0][1:], _special()[0][1:].flip(0)]),
    Case("atan2_of_nan", torch.atan2, lambda: [torch.tensor([0.0, -0.0, 1.0]), torch.full((3,), torch.nan)]),
    Case("atan2_grid", torch.atan2, lambda: [torch.linspace(-1, 1, 5)[:, None], torch.linspace(-1, 1, 5)]),
]

test_static, test_dynamic = both_ways(*CASES)


@cases(*(case for case in CASES if not case.name.startswith(("angle_i", "nan_to_num", "floor_i", "exp_i", "round_d"))))
def test_doubles(case: Case) -> None:
    doubles = Case(case.name, case.function, lambda: [x.double() for x in case.inputs()], dynamic=case.dynamic)
    check(doubles)


@pytest.mark.parametrize("opset_version", [17, 20, 22, 24])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_every_opset_and_float(opset_version: int, dtype: torch.dtype) -> None:
    def call(x: torch.Tensor) -> list[torch.Tensor]:
        functions = [
            torch.exp,
            torch.log,
            torch.sin,
            torch.tan,
            torch.atan,
            torch.sinh,
            torch.erf,
            torch.round,
            torch.trunc,
        ]
        return [function(x) for function in functions] + [torch.nan_to_num(x), torch.asinh(x), torch.expm1(x)]

    check(Case("all", call, lambda: [torch.rand(3, 4).to(dtype)], opset_version=opset_version))
