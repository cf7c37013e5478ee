"""Overloads of the backward pass: gradients of convolutions, normalizations, losses, activations, pools."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from tests.lowering import Case, both_ways

aten = torch.ops.aten
ALL = [True, True, True]


def _images(*shape: int, dtype: torch.dtype = torch.float32) -> Callable[[], list[torch.Tensor]]:
    return lambda: [torch.randn(*(shape or (2, 4, 9, 8)), dtype=dtype)]


def _conv(
    weight: tuple[int, ...], stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1, mask: Any = ALL
) -> Callable[[torch.Tensor], Any]:
    kernel = torch.linspace(-1, 1, torch.Size(weight).numel(), dtype=torch.float64).reshape(weight)
    space = len(weight) - 2
    settings = [[s] * space if isinstance(s, int) else s for s in (stride, padding, dilation)]

    def call(x: torch.Tensor) -> Any:
        w = kernel.to(x.dtype)
        grad = aten.convolution(x, w, None, *settings, False, [0] * space, groups).sin()
        return aten.convolution_backward(
            grad, x, w, [weight[0]], *settings, False, [0] * space, groups, mask
        )  # fmt: skip

    return call


def _conv_transpose(weight: tuple[int, ...], stride: int, padding: int, extra: int, groups: int = 1) -> Any:
    kernel = torch.linspace(-1, 1, torch.Size(weight).numel()).reshape(weight)
    settings = [[stride] * 2, [padding] * 2, [1, 1]]

    def call(x: torch.Tensor) -> Any:
        grad = aten.convolution(x, kernel, None, *settings, True, [extra] * 2, groups).sin()
        return aten.convolution_backward(
            grad, x, kernel, [weight[1] * groups], *settings, True, [extra] * 2, groups, ALL
        )

    return call


CONVOLUTIONS = [
    Case("conv 1x1", _conv((6, 4, 1, 1)), _images(), fixed=(1,)),
    Case("conv 3x3", _conv((6, 4, 3, 3), padding=1), _images(), fixed=(1,)),
    Case("conv 3x3 stride 2", _conv((6, 4, 3, 3), 2, 1), _images(), fixed=(1,)),
    Case("conv 3x3 stride 2, even", _conv((6, 4, 3, 3), 2, 1), _images(2, 4, 8, 8), fixed=(1,)),
    Case("conv 1x1 stride 2", _conv((6, 4, 1, 1), 2), _images(), fixed=(1,)),
    Case("conv dilated", _conv((6, 4, 3, 2), 1, 0, 2), _images(), fixed=(1,)),
    Case("conv padded beyond its kernel", _conv((6, 4, 2, 2), 1, 3), _images(), fixed=(1,)),
    Case("conv 7x7", _conv((6, 4, 7, 7), 2, 3), _images(2, 4, 13, 16), fixed=(1,)),
    Case("conv in groups", _conv((6, 2, 3, 3), 1, 1, 1, 2), _images(), fixed=(1,)),
    Case("conv by channel", _conv((4, 1, 3, 3), 2, 1, 1, 4), _images(), fixed=(1,)),
    Case("conv1d", _conv((6, 4, 3), 2, 1), _images(2, 4, 9), fixed=(1,)),
    Case("conv3d", _conv((3, 4, 2, 3, 2), 1, 1), _images(2, 4, 4, 5, 4), fixed=(1,)),
    Case("conv of doubles", _conv((6, 4, 3, 3), 2, 1), _images(2, 4, 7, 7, dtype=torch.float64), fixed=(1,)),
    Case("conv, weight and bias alone", _conv((6, 4, 3, 3), 2, 1, mask=[False, True, True]), _images(), fixed=(1,)),
    Case("conv, input alone", _conv((6, 4, 3, 3), 1, 1, mask=[True, False, False]), _images(),
         fixed=(1,)),
    Case("transposed", _conv_transpose((4, 6, 3, 3), 2, 1, 1), _images(), fixed=(1,)),
    Case("transposed in groups", _conv_transpose((4, 3, 3, 3), 2, 0, 0, 2), _images(), fixed=(1,)),
]  # fmt: skip


def _batch_norm(x: torch.Tensor, train: bool = True, weight: bool = True, mask: Any = ALL) -> Any:
    w, mean, var = torch.tensor([0.5, -1.0, 2.0, 1.0]), torch.tensor([0.1, 0.2, -0.3, 0.0]), torch.ones(4) * 1.5
    kept = w if weight else None
    _, m, s = aten.native_batch_norm(x, kept, None, mean.clone(), var.clone(), train, 0.1, 1e-5)
    return [g for g in aten.native_batch_norm_backward(x.sin(), x, kept, mean, var, m, s, train, 1e-5, mask)
            if g is not None]  # fmt: skip


def _layer_norm(x: torch.Tensor, weight: bool = True, mask: Any = ALL) -> Any:
    w = torch.linspace(-1, 1, 5) if weight else None
    _, mean, inverse = aten.native_layer_norm(x, [5], w, w, 1e-5)
    return [g for g in aten.native_layer_norm_backward(x.sin(), x, [5], mean, inverse, w, w, mask) if g is not None]


def _group_norm(x: torch.Tensor, weight: bool = True) -> Any:
    w = torch.linspace(-1, 1, 4) if weight else None
    n, c, size = x.shape[0], x.shape[1], x.shape[2] * x.shape[3]
    _, mean, inverse = aten.native_group_norm(x, w, w, n, c, size, 2, 1e-5)
    mask = [True, weight, weight]
    grads = aten.native_group_norm_backward(x.sin(), x, mean, inverse, w, n, c, size, 2, mask)
    return [g for g in grads if g is not None]


NORMALIZATIONS = [
    Case("batch norm", _batch_norm, _images(), fixed=(1,)),
    Case("batch norm with running statistics", partial(_batch_norm, train=False), _images(), fixed=(1,)),
    Case("batch norm, nothing learned", partial(_batch_norm, weight=False, mask=[True, False, False]), _images(),
         fixed=(1,)),
    Case("batch norm of vectors", _batch_norm, _images(7, 4), fixed=(1,)),
    Case("layer norm", _layer_norm, _images(2, 3, 5), fixed=(2,)),
    Case("layer norm, nothing learned", partial(_layer_norm, weight=False, mask=[True, False, False]),
         _images(2, 3, 5), fixed=(2,)),
    Case("group norm", _group_norm, _images(2, 4, 3, 5), fixed=(1,)),
    Case("group norm, nothing learned", partial(_group_norm, weight=False), _images(2, 4, 3, 5), fixed=(1,)),
]  # fmt: skip


def _classes(*shape: int) -> Callable[[], list[torch.Tensor]]:
    def inputs() -> list[torch.Tensor]:
        sizes = shape or (5, 4)
        target = torch.randint(0, 4, (sizes[0], *sizes[2:])) if len(sizes) > 1 else torch.tensor(2)
        return [torch.randn(sizes), target]

    return inputs


def _nll(
    x: torch.Tensor, target: torch.Tensor, weight: bool = False, reduction: int = 1, ignored: int = -100
) -> torch.Tensor:
    w = torch.tensor([0.5, 1.0, 2.0, 3.0]) if weight else None
    forward, backward = aten.nll_loss_forward, aten.nll_loss_backward
    if x.ndim == 4:
        forward, backward = aten.nll_loss2d_forward, aten.nll_loss2d_backward
    loss, total = forward(x, target, w, reduction, ignored)
    return backward(loss.cos(), x, target, w, reduction, ignored, total)


def _pair(reduction: int, function: Any, *settings: Any) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    def call(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        grad = (x + y).cos() if reduction == 0 else (x + y).sum().cos()
        return function(grad, x, y, *settings)

    return call


def _two(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    return [torch.randn(3, 4, dtype=dtype) * 2, torch.randn(3, 4, dtype=dtype)]


def _chances() -> list[torch.Tensor]:
    return [torch.rand(3, 4), torch.rand(3, 4)]


LOSSES = [
    Case("log_softmax", lambda x: aten._log_softmax_backward_data(x.sin(), x.log_softmax(1), 1, torch.float32),
         _images(3, 4, 5), ops="Sin LogSoftmax ReduceSum Exp Mul Sub"),
    Case("log_softmax of a scalar", lambda x: aten._log_softmax_backward_data(x.sin(), x * 0, 0, torch.float32),
         lambda: [torch.tensor(0.5)]),
    Case("nll_loss", _nll, _classes(), fixed=(1,)),
    Case("nll_loss, each", partial(_nll, reduction=0), _classes(), fixed=(1,)),
    Case("nll_loss, sum", partial(_nll, reduction=2), _classes(), fixed=(1,)),
    Case("nll_loss with weights", partial(_nll, weight=True), _classes(), fixed=(1,)),
    Case("nll_loss, one class ignored", partial(_nll, weight=True, ignored=1), _classes(), fixed=(1,)),
    Case("nll_loss of one example", _nll, _classes(4), fixed=(0,)),
    Case("nll_loss of pixels", _nll, _classes(2, 4, 3, 5), dynamic=False),
    Case("mse_loss", _pair(1, aten.mse_loss_backward, 1), _two),
    Case("mse_loss by integers", lambda x, t: aten.mse_loss_backward(torch.tensor(1.0), x, (t * 5).long(), 1), _two),
    Case("mse_loss, each", _pair(0, aten.mse_loss_backward, 0), _two),
    Case("smooth_l1_loss", _pair(1, aten.smooth_l1_loss_backward, 1, 0.7), _two),
    Case("smooth_l1_loss without a curve", _pair(2, aten.smooth_l1_loss_backward, 2, 0.0), _two),
    Case("huber_loss", _pair(1, aten.huber_loss_backward, 1, 0.7), _two),
    Case("binary_cross_entropy", lambda x, y: aten.binary_cross_entropy_backward(x.sum(), x, y, None, 1), _chances),
    Case("binary_cross_entropy with weights", lambda x, y: aten.binary_cross_entropy_backward(x, x, y, y.exp(), 0),
         _chances),
]  # fmt: skip


def _around() -> list[torch.Tensor]:
    return [torch.linspace(-5, 5, 24).reshape(4, 6), torch.randn(4, 6)]


def _around_in_double() -> list[torch.Tensor]:
    return [tensor.double() for tensor in _around()]


def _activation(name: str, *settings: Any, of_result: Callable[..., Any] | None = None) -> Callable[..., Any]:
    function = getattr(aten, name)
    return lambda x, g: function(g, x if of_result is None else of_result(x), *settings)


ACTIVATIONS = [
    Case("threshold", _activation("threshold_backward", 0), _around, ops="Greater Where"),
    Case("threshold above 0", _activation("threshold_backward", 1.5), _around),
    Case("sigmoid", _activation("sigmoid_backward", of_result=torch.sigmoid), _around),
    Case("tanh", _activation("tanh_backward", of_result=torch.tanh), _around),
    Case("silu", _activation("silu_backward"), _around),
    Case("gelu", lambda x, g: aten.gelu_backward(g, x), _around),
    Case("gelu of doubles", lambda x, g: aten.gelu_backward(g, x), _around_in_double),
    Case("gelu by tanh", lambda x, g: aten.gelu_backward(g, x, approximate="tanh"), _around),
    Case("hardswish", _activation("hardswish_backward"), _around),
    Case("hardsigmoid", _activation("hardsigmoid_backward"), _around),
    Case("hardtanh", _activation("hardtanh_backward", -1.0, 2.0), _around),
    Case("hardshrink", lambda x, g: aten.hardshrink_backward(g, x, 0.7), _around),
    Case("softshrink", lambda x, g: aten.softshrink_backward(g, x, 0.7), _around),
    Case("leaky_relu", _activation("leaky_relu_backward", 0.1, False), _around),
    Case("elu", lambda x, g: aten.elu_backward(g, 1.5, 2.0, 0.5, False, x), _around),
    Case("elu of its result", lambda x, g: aten.elu_backward(g, 1.5, 1.0, 1.0, True, F.elu(x, 1.5)), _around),
    Case("softplus", _activation("softplus_backward", 2.0, 4.0), _around),
    Case("mish", _activation("mish_backward"), _around),
    Case("log_sigmoid", lambda x, g: aten.log_sigmoid_backward(g, x, x.abs().neg().exp()), _around),
]


def _max_pool(x: torch.Tensor, space: int = 2) -> torch.Tensor:
    forward, backward = {
        2: (aten.max_pool2d_with_indices, aten.max_pool2d_with_indices_backward),
        3: (aten.max_pool3d_with_indices, aten.max_pool3d_with_indices_backward),
    }[space]
    settings = [[3] * space, [2] * space, [1] * space, [1] * space, False]
    pooled, index = forward(x, *settings)
    return backward(pooled.sin(), x, *settings, index)


def _adaptive_max(x: torch.Tensor, space: int = 2) -> torch.Tensor:
    forward, backward = {
        2: (aten.adaptive_max_pool2d, aten.adaptive_max_pool2d_backward),
        3: (aten.adaptive_max_pool3d, aten.adaptive_max_pool3d_backward),
    }[space]
    pooled, index = forward(x, [2] * space)
    return backward(pooled.sin(), x, index)


def _avg_pool(x: torch.Tensor, kernel: Any, stride: Any, padding: Any, *settings: Any) -> torch.Tensor:
    forward, backward = (
        (aten.avg_pool2d, aten.avg_pool2d_backward) if len(kernel) == 2 else (aten.avg_pool3d, aten.avg_pool3d_backward)
    )
    grad = forward(x, kernel, stride, padding, *settings).sin()
    return backward(grad, x, kernel, stride, padding, *settings)


def _adaptive_avg(x: torch.Tensor, size: list[int]) -> torch.Tensor:
    if len(size) == 2:
        return aten._adaptive_avg_pool2d_backward(aten._adaptive_avg_pool2d(x, size).sin(), x)
    return aten._adaptive_avg_pool3d_backward(aten._adaptive_avg_pool3d(x, size).sin(), x)


def _upsampled(name: str, size: list[int], *settings: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    forward, backward = getattr(aten, name), getattr(aten, f"{name}_backward")

    def call(x: torch.Tensor) -> torch.Tensor:
        return backward(forward(x, size, *settings).sin(), size, list(x.shape), *settings)

    return call


POOLS = [
    Case("max_pool2d", _max_pool, _images()),
    Case("max_pool2d of one example", _max_pool, _images(4, 7, 7)),
    Case("max_pool3d", partial(_max_pool, space=3), _images(1, 2, 5, 6, 5)),
    Case("adaptive_max_pool2d", _adaptive_max, _images(2, 3, 6, 7), dynamic=False),
    Case("adaptive_max_pool3d", partial(_adaptive_max, space=3), _images(1, 2, 4, 5, 4), dynamic=False),
    Case("avg_pool2d", lambda x: _avg_pool(x, [2, 2], [2, 2], [0, 0], False, True, None), _images()),
    Case("avg_pool2d, padded", lambda x: _avg_pool(x, [3, 3], [2, 2], [1, 1], False, True, None), _images()),
    Case("avg_pool2d, padding not counted", lambda x: _avg_pool(x, [3, 3], [2, 1], [1, 1], False, False, None),
         _images()),
    Case("avg_pool2d by a divisor", lambda x: _avg_pool(x, [3, 2], [2, 2], [1, 0], False, True, 5), _images()),
    Case("avg_pool2d, rounded up", lambda x: _avg_pool(x, [3, 3], [2, 2], [1, 1], True, True, None),
         _images(2, 4, 8, 8), dynamic=False),
    Case("avg_pool3d", lambda x: _avg_pool(x, [2, 2, 2], [1, 2, 2], [0, 0, 0], False, True, None),
         _images(1, 2, 4, 5, 4)),
    Case("adaptive_avg_pool2d", lambda x: _adaptive_avg(x, [2, 3]), _images(2, 3, 5, 7)),
    Case("adaptive_avg_pool3d", lambda x: _adaptive_avg(x, [2, 1, 2]), _images(1, 2, 4, 3, 5)),
    Case("adaptive_avg_pool3d of one example", lambda x: _adaptive_avg(x, [2, 1, 2]), _images(2, 4, 3, 5)),
]  # fmt: skip


def _replicated(x: torch.Tensor, *padding: int) -> torch.Tensor:
    name = f"replication_pad{len(padding) // 2}d"
    grad = getattr(aten, name)(x, padding).sin()
    return getattr(aten, f"{name}_backward")(grad, x, padding)


RESIZES = [
    Case("linear1d", _upsampled("upsample_linear1d", [9], False, None), _images(2, 3, 4)),
    Case("bilinear2d", _upsampled("upsample_bilinear2d", [9, 7], False, None, None), _images(2, 3, 4, 5)),
    Case("bilinear2d, corners aligned", _upsampled("upsample_bilinear2d", [9, 7], True, None, None),
         _images(2, 3, 4, 5)),
    Case("bilinear2d, smaller", _upsampled("upsample_bilinear2d", [3, 2], False, None, None), _images(2, 3, 8, 7)),
    Case("trilinear3d", _upsampled("upsample_trilinear3d", [5, 6, 4], False, None, None, None),
         _images(1, 2, 3, 4, 3)),
    Case("nearest1d", _upsampled("upsample_nearest1d", [9], None), _images(2, 3, 4), dynamic=False),
    Case("nearest2d", _upsampled("upsample_nearest2d", [8, 10], None, None), _images(2, 3, 4, 5), dynamic=False),
    Case("nearest3d", _upsampled("upsample_nearest3d", [6, 8, 6], None, None, None), _images(1, 2, 3, 4, 3),
         dynamic=False),
    Case("nearest1d, exact", _upsampled("_upsample_nearest_exact1d", [9], None), _images(2, 3, 4), dynamic=False),
    Case("nearest2d, exact", _upsampled("_upsample_nearest_exact2d", [7, 9], None, None), _images(2, 3, 4, 5),
         dynamic=False),
    Case("nearest3d, exact", _upsampled("_upsample_nearest_exact3d", [6, 8, 6], None, None, None),
         _images(1, 2, 3, 4, 3), dynamic=False),
    Case("bicubic2d", _upsampled("upsample_bicubic2d", [9, 7], False, None, None), _images(2, 3, 4, 5), fixed=(2, 3)),
    Case("bicubic2d, corners aligned", _upsampled("upsample_bicubic2d", [3, 7], True, None, None),
         _images(2, 3, 4, 5), fixed=(2, 3)),
    Case("bilinear2d without aliases", _upsampled("_upsample_bilinear2d_aa", [3, 7], False, None, None),
         _images(2, 3, 8, 5), fixed=(2, 3)),
    Case("bicubic2d without aliases", _upsampled("_upsample_bicubic2d_aa", [3, 2], False, None, None),
         _images(2, 3, 8, 5), fixed=(2, 3)),
    Case("lanczos2d without aliases", _upsampled("_upsample_lanczos2d_aa", [3, 2], False, None, None),
         _images(2, 3, 8, 5), fixed=(2, 3)),
    Case("replicated lines", lambda x: _replicated(x, 2, 3), _images(2, 3, 5)),
    Case("replicated images", lambda x: _replicated(x, 1, 0, 2, 1), _images(2, 3, 4, 5)),
    Case("replicated and cut", lambda x: _replicated(x, -1, 2, 1, -1), _images(3, 4, 5)),
    Case("replicated volumes", lambda x: _replicated(x, 1, 0, 2, 1, 0, 3), _images(1, 2, 3, 4, 3)),
]  # fmt: skip


def _masked() -> list[torch.Tensor]:
    return [torch.randn(4, 5), torch.randn(4, 5) > 0]


def _rows() -> list[torch.Tensor]:
    return [torch.randn(2, 6, 3), torch.randint(0, 5, (2, 6))]


INDEXING = [
    Case("embedding", lambda g, i: aten.embedding_dense_backward(g, i, 7, -1, False), _rows, fixed=(1, 2)),
    Case("embedding with padding", lambda g, i: aten.embedding_dense_backward(g, i, 7, 2, False), _rows, fixed=(1, 2)),
    Case("embedding by frequency", lambda g, i: aten.embedding_dense_backward(g, i, 7, -1, True), _rows, fixed=(1, 2)),
    Case("slice", lambda g: aten.slice_backward(g, [2, 9, 3], 1, 2, 8, 1), _images(2, 6, 3), dynamic=False),
    Case("slice by steps", lambda g: aten.slice_backward(g, [2, 9, 3], 1, 1, 9, 2), _images(2, 4, 3), dynamic=False),
    Case("select", lambda g: aten.select_backward(g, [2, 9, 3], 1, -2), _images(2, 3), fixed=(0, 1)),
    Case(
        "unfold", lambda g: aten.unfold_backward(g, [g.shape[0], 11, 2], 1, 4, 2), _images(3, 4, 2, 4), fixed=(1, 2, 3)
    ),
    Case(
        "unfold the last",
        lambda g: aten.unfold_backward(g, [3, g.shape[1] * 2 + 3], 1, 5, 2),
        _images(3, 4, 5),
        fixed=(0, 2),
    ),
    Case("masked_scatter", lambda g, mask: aten.masked_scatter_backward(g, mask, [3, 9]), _masked, dynamic=False),
]

EVERY = [*CONVOLUTIONS, *NORMALIZATIONS, *LOSSES, *ACTIVATIONS, *POOLS, *RESIZES, *INDEXING]

test_static, test_dynamic = both_ways(*EVERY)
