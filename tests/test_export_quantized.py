"""Quantized tensors and layers of eager mode: QuantizeLinear and DequantizeLinear, and integers as weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.ao.nn.quantized as nq
import torch.nn.functional as F  # its usual name
from lowering import session_of
from torch import nn

from exporter import export
from exporter.errors import CaptureError

_STEP = 0.05

torch.manual_seed(0)


def _weights(layer: Any, by_channel: bool = False) -> Any:
    weight = (
        torch.randn(layer.weight().shape).clamp(-3, 3) / 3
    )  # of 7 bits: sums of more overflow in some CPU's kernels
    count = len(weight)
    if by_channel:
        weight = torch.quantize_per_channel(
            weight, torch.rand(count) * 0.02 + 0.01, torch.zeros(count, dtype=torch.int64), 0, torch.qint8
        )
    else:
        weight = torch.quantize_per_tensor(weight, 0.02, 0, torch.qint8)
    layer.set_weight_bias(weight, torch.randn(layer.bias().shape))
    return _steps(layer)


def _steps(layer: Any) -> Any:
    """A layer with the steps of its result."""
    for name, value in (("scale", _STEP), ("zero_point", 100)):
        setattr(layer, name, torch.tensor(value) if isinstance(getattr(layer, name), torch.Tensor) else value)
    return layer


def _transposed() -> Any:
    """Of oneDNN, which "x86" takes for it, the results are others than those of fbgemm and QNNPACK."""
    before, torch.backends.quantized.engine = torch.backends.quantized.engine, "fbgemm"
    try:
        return _weights(nq.ConvTranspose2d(3, 4, 2, stride=2))
    finally:
        torch.backends.quantized.engine = before


_OPS = _steps(nq.QFunctional())
_IMAGE, _ROWS, _LENGTHS = (2, 3, 8, 8), (16, 4), (2, 3, 9)
_P = lambda size: nn.Parameter(torch.randn(size))  # noqa: E731  # a row of the table has several

# Name -> what is computed of a quantized tensor, and the shape of it.
LAYERS: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "linear": (_weights(nq.Linear(4, 5)), _ROWS),
    "linear_by_channel": (_weights(nq.Linear(4, 5), by_channel=True), _ROWS),
    "conv1d": (_weights(nq.Conv1d(3, 4, 3, padding=1)), _LENGTHS),
    "conv2d": (_weights(nq.Conv2d(3, 4, 3, padding=1, stride=2)), _IMAGE),
    "conv3d": (_weights(nq.Conv3d(3, 4, 2)), (1, 3, 4, 4, 4)),
    "conv_transpose2d": (_transposed(), _IMAGE),
    "batch_norm": (_steps(nq.BatchNorm2d(3).eval()), _IMAGE),
    "layer_norm": (nq.LayerNorm([8], _P(8), _P(8), _STEP, 100), _IMAGE),
    "group_norm": (nq.GroupNorm(3, 3, _P(3), _P(3), _STEP, 100), _IMAGE),
    "instance_norm": (nq.InstanceNorm2d(3, _P(3), _P(3), _STEP, 100), _IMAGE),
    "add": (lambda q: _OPS.add(q, q), _ROWS),
    "add_relu": (lambda q: _OPS.add_relu(q, q), _ROWS),
    "mul": (lambda q: _OPS.mul(q, q), _ROWS),
    "cat": (lambda q: _OPS.cat([q, q], 1), _ROWS),
    "add_number": (lambda q: _OPS.add_scalar(q, 0.7), _ROWS),
    "add_large_number": (lambda q: _OPS.add_scalar(q, 11.0), _ROWS),
    "mul_number": (lambda q: _OPS.mul_scalar(q, -1.3), _ROWS),
    "relu": (nn.ReLU(), _ROWS),
    "relu_in_place": (nn.ReLU(inplace=True), _ROWS),
    "hardswish": (nq.Hardswish(_STEP, 100), _ROWS),
    "sigmoid": (nn.Sigmoid(), _ROWS),
    "tanh": (nn.Tanh(), _ROWS),
    "elu": (nq.ELU(_STEP, 100), _ROWS),
    "leaky_relu": (nq.LeakyReLU(_STEP, 100), _ROWS),
    "pools": (lambda q: F.avg_pool2d(F.max_pool2d(q, 2), 2), _IMAGE),
    "interpolate": (lambda q: F.interpolate(q, scale_factor=2, mode="bilinear"), _IMAGE),
    "views": (lambda q: q.permute(0, 2, 1, 3)[:, 1:].flatten(1), _IMAGE),
    "mean": (lambda q: q.mean((2, 3)), _IMAGE),
    "clamp": (lambda q: q.clamp(-0.52, 0.71), _ROWS),
}


def _run(function: Callable[..., Any], x: torch.Tensor, dynamic: bool) -> tuple[list[Any], Any]:
    program = export(function, (x,), dynamic_shapes=({0: "batch"},) if dynamic else None)
    x = torch.cat([x, x * 0.7]) if dynamic else x
    session = session_of(program)
    return session.run(None, {session.get_inputs()[0].name: x.numpy()}), (function(x), program)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, dynamic: bool) -> None:
    layer, shape = LAYERS[name]
    torch.manual_seed(0)

    def model(x: torch.Tensor) -> Any:
        return layer(torch.quantize_per_tensor(x, _STEP, 128, torch.quint8)).dequantize()

    (got,), (want, program) = _run(model, torch.randn(shape), dynamic)
    assert got.shape == tuple(want.shape)
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in program.model.graph}
    # The kernels of torch round sums of integers, here numbers are summed: they may end a step apart.
    step = 0.11 if name == "add_large_number" else 0.066
    np.testing.assert_allclose(got, want.numpy(), atol=step)
    assert (np.abs(got - want.numpy()) < 1e-4).mean() > 0.6


def test_weights_stay_integers() -> None:
    layer = _weights(nq.Linear(64, 128))
    program = export(lambda x: layer(torch.quantize_per_tensor(x, _STEP, 128, torch.quint8)), (torch.randn(2, 64),))
    large = [value for value in program.model.graph.initializers.values() if np.prod(value.shape) >= 64 * 128]
    assert [str(value.dtype) for value in large] == ["INT8"]


def test_parts_of_quantized_tensors() -> None:
    def model(x: torch.Tensor) -> tuple[Any, ...]:
        q = torch.quantize_per_tensor(x, _STEP, 120, torch.quint8)
        by_channel = torch.quantize_per_channel(x, torch.tensor([0.1, 0.05]), torch.tensor([3, 5]), 0, torch.quint8)
        whole = torch.quantize_per_tensor(x, 0.0005, 0, torch.qint32)
        return q.int_repr(), x * q.q_scale() + q.q_zero_point(), by_channel.dequantize(), whole.dequantize()

    got, (want, _) = _run(model, torch.randn(2, 4), False)
    for a, b in zip(got, want, strict=True):
        assert a.dtype == b.numpy().dtype
        np.testing.assert_allclose(a, b.numpy(), atol=1e-5)


def test_a_layer_needs_a_quantized_input() -> None:
    with pytest.raises(CaptureError, match=r"quantized\.linear\.default: the input must be quantized"):
        export(LAYERS["linear"][0], (torch.randn(2, 4),))


def test_dynamic_quantization() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    quantized = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    (got,), (want, _) = _run(quantized, torch.randn(3, 4), True)
    np.testing.assert_allclose(got, want.detach().numpy(), atol=0.03)
