"""Activations."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.lowering import Case, both_ways, check

aten = torch.ops.aten


def _x() -> list[torch.Tensor]:
    return [torch.randn(3, 4) * 3]


def _special() -> list[torch.Tensor]:
    nan, inf = float("nan"), float("inf")
    return [torch.tensor([nan, inf, -inf, -0.0, 0.0, 0.5, -0.5, 30.0, -30.0])]


CASES = [
    Case("relu", torch.relu, _special, ops="Relu"),
    Case("relu_integers", torch.relu, lambda: [torch.arange(-3, 3)], ops="Max"),
    Case("sigmoid", torch.sigmoid, _special, ops="Sigmoid"),
    Case("sigmoid_integers", torch.sigmoid, lambda: [torch.arange(-3, 3)], ops="Cast Sigmoid"),
    Case("tanh", torch.tanh, _special, ops="Tanh"),
    Case("relu6", aten.relu6, _x, ops="Clip"),
    Case("relu6_function", F.relu6, _special, ops="Clip"),
    Case("hardtanh", lambda x: F.hardtanh(x, -0.5, 2.0), _special, ops="Clip"),
    Case("hardswish", F.hardswish, _x, ops="HardSwish"),
    Case("hardsigmoid", F.hardsigmoid, _special, ops="HardSigmoid"),
    Case("gelu", F.gelu, _x, ops="Div Erf Add Mul Mul"),
    Case("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"), _x, ops="Pow Mul Add Mul Mul Tanh Add Mul"),
    Case("gelu_20", F.gelu, _x, ops="Gelu", opset_version=20),
    Case("gelu_tanh_20", lambda x: F.gelu(x, approximate="tanh"), _x, ops="Gelu", opset_version=20),
    Case("silu", F.silu, _x, ops="Sigmoid Mul"),
    Case("mish", F.mish, _x, ops="Mish"),
    Case("mish_17", F.mish, _x, ops="Softplus Tanh Mul", opset_version=17),
    Case("elu", lambda x: F.elu(x, 2.0), _special, ops="Elu"),
    Case("elu_scaled", lambda x: aten.elu(x, 1.5, 2.0, 0.5), _x),
    Case("selu", F.selu, _special, ops="Selu"),
    Case("celu", lambda x: F.celu(x, 2.0), _x, ops="Celu"),
    Case("celu_1", F.celu, _special, ops="Elu"),
    Case("celu_half", lambda x: F.celu(x.half(), 2.0), _x),
    Case("leaky_relu", lambda x: F.leaky_relu(x, 0.2), _special, ops="LeakyRelu"),
    Case("prelu", F.prelu, lambda: [torch.randn(2, 3, 4), torch.randn(3)], ops="Unsqueeze PRelu", fixed=(0, 1)),
    Case("prelu_one", F.prelu, lambda: [torch.randn(2, 3, 4), torch.randn(1)], ops="PRelu"),
    Case("prelu_vector", F.prelu, lambda: [torch.randn(5), torch.randn(1)], ops="PRelu"),
    Case("prelu_rank_0", F.prelu, lambda: [torch.tensor(-2.0), torch.randn(1)]),
    Case("prelu_kernel", aten._prelu_kernel, lambda: [torch.randn(2, 3), torch.randn(1, 3)], ops="PRelu"),
    Case("rrelu", lambda x: F.rrelu(x, 0.1, 0.3), _x, ops="LeakyRelu"),
    Case("softplus", F.softplus, _special, ops="Softplus"),
    Case("softplus_scaled", lambda x: F.softplus(x, 2, 3), _x, ops="Mul Softplus Div Greater Where"),
    Case("softsign", F.softsign, _x),
    Case("softshrink", lambda x: F.softshrink(x, 0.7), _special, ops="Clip Sub"),
    Case("hardshrink", lambda x: F.hardshrink(x, 0.7), _special, ops="Abs LessOrEqual Where"),
    Case("tanhshrink", F.tanhshrink, _x, ops="Tanh Sub"),
    Case("threshold", lambda x: F.threshold(x, 0.5, -1.0), _special),
    Case("threshold_0", lambda x: F.threshold(x, 0, 0), _special, ops="Relu"),
    Case("threshold_integers", lambda x: F.threshold(x, 1, 7), lambda: [torch.arange(-3, 3)]),
    Case("glu", F.glu, _x, ops="Split Sigmoid Mul"),
    Case("glu_dim", lambda x: F.glu(x, 1), lambda: [torch.randn(2, 4, 3)]),
    Case("logsigmoid", F.logsigmoid, _special, ops="Neg Softplus Neg"),
    Case("log_sigmoid_forward", lambda x: aten.log_sigmoid_forward(x)[0], _x, ops="Neg Softplus Neg"),
]

test_static, test_dynamic = both_ways(*CASES)


@pytest.mark.parametrize("opset_version", [17, 20, 22, 24])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_every_opset_and_float(opset_version: int, dtype: torch.dtype) -> None:
    functions = [
        F.relu, F.gelu, F.silu, F.mish, F.elu, F.selu, F.celu, F.leaky_relu, F.softplus, F.softsign, F.hardswish,
        F.hardsigmoid, F.relu6, F.logsigmoid, F.hardshrink, F.softshrink, torch.sigmoid, torch.tanh,
    ]  # fmt: skip

    def call(x: torch.Tensor) -> list[torch.Tensor]:
        return [function(x) for function in functions] + [F.prelu(x, x[0, :1])]

    check(Case("all", call, lambda: [torch.randn(3, 4).to(dtype)], opset_version=opset_version))
