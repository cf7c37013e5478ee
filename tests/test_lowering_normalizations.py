"""Layer, batch, group, instance and root-mean-square normalization."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F

from tests.lowering import Case, both_ways

aten = torch.ops.aten
F32, F64, F16 = torch.float32, torch.float64, torch.float16


def _layer(dtype: torch.dtype = F32, weights: torch.dtype | None = None) -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5).to(dtype), *(torch.randn(5).to(weights or dtype) for _ in range(2))]


def _batch(dtype: torch.dtype = F32, statistics: torch.dtype | None = None, dims: int = 1) -> list[torch.Tensor]:
    x = torch.randn(3, 4, *[5] * dims).to(dtype)
    kind = statistics or dtype
    return [x, torch.randn(4).to(kind), torch.randn(4).to(kind), torch.randn(4).to(kind), torch.rand(4).to(kind)]


def _x() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5)]


LAYERS = [
    Case(
        "layer_norm",
        lambda x, w, b: F.layer_norm(x, (5,), w, b),
        _layer,
        fixed=(2,),
        dynamic=False,
        ops="LayerNormalization",
    ),
    Case(
        "layer_norm, open",
        lambda x: F.layer_norm(x, (5,), torch.ones(5) * 2, None),
        _x,
        fixed=(2,),
        ops="LayerNormalization",
    ),
    Case("layer_norm without weights", lambda x: F.layer_norm(x, (4, 5)), _x, fixed=(1, 2), ops="LayerNormalization"),
    Case("layer_norm of open sizes", lambda x: F.layer_norm(x, x.shape[1:]), _x, ops="LayerNormalization"),
    Case(
        "layer_norm of many elements",
        lambda x: F.layer_norm(x, x.shape),
        lambda: [torch.randn(70, 40, 30)],
        ops="LayerNormalization",
    ),
    Case(
        "layer_norm of halves",
        lambda x, w, b: F.layer_norm(x, (5,), w, b),
        partial(_layer, F16),
        dynamic=False,
        ops="LayerNormalization",
    ),
    Case(
        "layer_norm of float64", lambda x, w, b: F.layer_norm(x, (5,), w, b, 0.1), partial(_layer, F64), dynamic=False
    ),
    Case(
        "layer_norm of mixed dtypes",
        lambda x, w, b: F.layer_norm(x, (5,), w, b),
        partial(_layer, F16, F32),
        dynamic=False,
    ),
    Case("native_layer_norm", lambda x: torch.native_layer_norm(x, [5], None, None, 1e-5), _x, fixed=(2,)),
    Case(
        "native_layer_norm of halves",
        lambda x, w, b: torch.native_layer_norm(x, [5], w, b, 1e-5),
        partial(_layer, F16),
        dynamic=False,
    ),
    Case(
        "rms_norm", lambda x, w, b: F.rms_norm(x, (5,), w), _layer, dynamic=False, ops="Pow ReduceMean Add Sqrt Div Mul"
    ),
    Case("rms_norm, open", lambda x: F.rms_norm(x, (5,), eps=1e-3), _x, fixed=(2,), ops="Pow ReduceMean Add Sqrt Div"),
    Case(
        "rms_norm at opset 23",
        lambda x, w, b: F.rms_norm(x, (5,), w),
        _layer,
        dynamic=False,
        opset_version=23,
        ops="RMSNormalization",
    ),
    Case("rms_norm of halves", lambda x, w, b: F.rms_norm(x, (5,), w), partial(_layer, F16), dynamic=False),
    Case("rms_norm of float64", lambda x: F.rms_norm(x, (4, 5)), lambda: [torch.randn(3, 4, 5).double()], fixed=(1, 2)),
    Case("_fused_rms_norm", lambda x, w, b: aten._fused_rms_norm(x, [5], w, 1e-5), _layer, dynamic=False),
]

EVALUATED = [
    Case("batch_norm", lambda x, w, b, m, v: F.batch_norm(x, m, v, w, b), _batch, ops="BatchNormalization"),
    Case(
        "batch_norm of a matrix",
        lambda x, w, b, m, v: F.batch_norm(x, m, v, w, b),
        partial(_batch, dims=0),
        ops="BatchNormalization",
    ),
    Case("batch_norm of images", lambda x, w, b, m, v: F.batch_norm(x, m, v, w, b, eps=0.1), partial(_batch, dims=2)),
    Case("batch_norm without weights", lambda x, w, b, m, v: F.batch_norm(x, m, v), _batch),
    Case("batch_norm of halves", lambda x, w, b, m, v: F.batch_norm(x, m, v, w, b), partial(_batch, F16)),
    Case("batch_norm of mixed dtypes", lambda x, w, b, m, v: F.batch_norm(x, m, v, w, b), partial(_batch, F16, F32)),
    Case("batch_norm of float64", lambda x, w, b, m, v: F.batch_norm(x, m, v, w, b), partial(_batch, F64)),
    Case(
        "batch_norm of nothing",
        lambda x: F.batch_norm(x, torch.zeros(4), torch.ones(4)),
        lambda: [torch.zeros(0, 4, 3)],
    ),
    Case("native_batch_norm", lambda x, w, b, m, v: torch.native_batch_norm(x, w, b, m, v, False, 0.1, 1e-5), _batch),
    Case(
        "_native_batch_norm_legit",
        lambda x, w, b, m, v: aten._native_batch_norm_legit_functional(x, w, b, m, v, False, 0.1, 1e-5),
        _batch,
    ),
    Case(
        "_native_batch_norm_legit_no_training",
        lambda x, w, b, m, v: aten._native_batch_norm_legit_no_training(x, w, b, m, v, 0.1, 1e-5),
        _batch,
    ),
    Case("_batch_norm_no_update", lambda x, w, b, m, v: aten._batch_norm_no_update(x, w, b, m, v, 0.1, 1e-5), _batch),
]


def _after(
    x: torch.Tensor, w: torch.Tensor, b: torch.Tensor, m: torch.Tensor, v: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    m, v = m + 0, v + 0
    return F.batch_norm(x, m, v, w, b, training=True), m, v


def _instances_after(
    x: torch.Tensor, w: torch.Tensor, b: torch.Tensor, m: torch.Tensor, v: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    m, v = m + 0, v + 0
    return F.instance_norm(x, m, v, w, b), m, v


TRAINED = [
    Case(
        "batch_norm in training",
        lambda x, w, b, m, v: F.batch_norm(x, None, None, w, b, True),
        _batch,
        ops="ReduceMean Sub Mul ReduceMean BatchNormalization",
    ),
    Case("batch_norm in training with statistics", _after, _batch),
    Case("batch_norm in training of halves", _after, partial(_batch, F16)),
    Case("batch_norm in training of images", _after, partial(_batch, dims=2)),
    Case(
        "native_batch_norm in training",
        lambda x, w, b, m, v: torch.native_batch_norm(x, w, b, None, None, True, 0.1, 1e-5),
        _batch,
    ),
    Case(
        "_native_batch_norm_legit in training",
        lambda x, w, b, m, v: aten._native_batch_norm_legit_functional(x, w, b, m, v, True, 0.1, 1e-5),
        _batch,
    ),
    Case(
        "_native_batch_norm_legit.no_stats",
        lambda x, w, b, m, v: aten._native_batch_norm_legit.no_stats(x, w, b, True, 0.1, 1e-5),
        _batch,
    ),
    Case(
        "_batch_norm_with_update",
        lambda x, w, b, m, v: aten._batch_norm_with_update_functional(x, w, b, m, v, 0.1, 1e-5),
        _batch,
    ),
]

GROUPS = [
    Case("instance_norm", lambda x: F.instance_norm(x), _x),
    Case(
        "instance_norm with weights",
        lambda x, w, b, m, v: F.instance_norm(x, None, None, w, b),
        _batch,
        ops="InstanceNormalization",
    ),
    Case(
        "instance_norm by statistics",
        lambda x, w, b, m, v: F.instance_norm(x, m, v, w, b, False),
        _batch,
        ops="BatchNormalization",
    ),
    Case("instance_norm updates statistics", _instances_after, _batch),
    Case("instance_norm of float64", lambda x, w, b, m, v: F.instance_norm(x, None, None, w, b), partial(_batch, F64)),
    Case(
        "instance_norm of halves",
        lambda x, w, b, m, v: F.instance_norm(x, None, None, w, b),
        partial(_batch, F16, dims=2),
    ),
    Case("group_norm", lambda x, w, b, m, v: F.group_norm(x, 2, w, b), _batch, fixed=(1,), dynamic=False),
    Case(
        "group_norm without weights",
        lambda x: F.group_norm(x, 2),
        _x,
        fixed=(1,),
        ops="Reshape InstanceNormalization Reshape",
    ),
    Case(
        "group_norm of images",
        lambda x: F.group_norm(x, 2, torch.arange(4.0), torch.ones(4)),
        lambda: [torch.randn(2, 4, 6, 5)],
        fixed=(1,),
    ),
    Case("group_norm of a matrix", lambda x: F.group_norm(x, 2), lambda: [torch.randn(3, 4)], fixed=(1,)),
    Case(
        "group_norm of single channels",
        lambda x, w, b, m, v: F.group_norm(x, 4, w, b),
        _batch,
        dynamic=False,
        ops="InstanceNormalization",
    ),
    Case("group_norm of float64", lambda x, w, b, m, v: F.group_norm(x, 2, w, b), partial(_batch, F64), dynamic=False),
    Case("group_norm of halves", lambda x, w, b, m, v: F.group_norm(x, 1, w, b), partial(_batch, F16), dynamic=False),
    Case(
        "native_group_norm",
        lambda x: torch.native_group_norm(x, None, None, x.shape[0], 4, 5, 2, 1e-5),
        _x,
        fixed=(1, 2),
    ),
    Case("local_response_norm", lambda x: F.local_response_norm(x, 3), lambda: [torch.randn(2, 6, 4, 4)]),
]

ALL = [*LAYERS, *EVALUATED, *TRAINED, *GROUPS]

test_static, test_dynamic = both_ways(*ALL)
