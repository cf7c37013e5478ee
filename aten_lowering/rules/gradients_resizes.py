"""Gradients of interpolation and of padding by what is there: a matrix [O, S] an axis, transposed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.errors import UnsupportedArgument
from aten_lowering.registry import lowers
from aten_lowering.rules.matrices import transposed
from aten_lowering.rules.resizes import CUBIC, CUBIC_AA, LANCZOS_AA, LINEAR_AA, Axis, Mode, filter_weights
from aten_lowering.windows import scaled_range, weighted_sums
from shape_inference import Size

aten = torch.ops.aten


def _points(op: Builder, size: Size, count: Size, scale: float | None, aligned: bool, half: bool) -> Value:
    """Where in the input each element of the output lies: [count], float32."""
    places = op.cast(scaled_range(op, count, 1), ir.DataType.FLOAT)
    if aligned:
        steps = op.Max(op.Sub(op.scalar(count, ir.DataType.FLOAT), 1.0), 1.0)
        return op.Mul(places, op.Div(op.Sub(op.scalar(size, ir.DataType.FLOAT), 1.0), steps))
    if scale:
        step = op.constant(1.0 / scale, ir.DataType.FLOAT)
    else:
        step = op.Div(op.scalar(size, ir.DataType.FLOAT), op.scalar(count, ir.DataType.FLOAT))
    return op.Sub(op.Mul(op.Add(places, 0.5), step), 0.5) if half else op.Mul(places, step)


def _linear_weights(op: Builder, size: Size, count: Size, scale: float | None, aligned: bool) -> Value:
    """[count, size]: 1 - |p - s|, at least 0, for points p within the input."""
    last = op.Sub(op.scalar(size, ir.DataType.FLOAT), 1.0)
    points = op.Min(op.Max(_points(op, size, count, scale, aligned, True), 0.0), last)
    distance = op.Abs(op.Sub(op.unsqueeze(points, [1]), op.cast(scaled_range(op, size, 1), ir.DataType.FLOAT)))
    return op.Relu(op.Sub(1.0, distance))


def _nearest_weights(op: Builder, size: Size, count: Size, scale: float | None, exact: bool) -> Value:
    """[count, size]: 1 where the output's element is a copy of the input's."""
    points = _points(op, size, count, scale, False, exact)
    if exact:
        points = op.Add(points, 0.5)
    places = op.Min(op.cast(op.Floor(points), ir.DataType.INT64), op.scalar(size - 1))
    chosen = op.Equal(op.unsqueeze(places, [1]), scaled_range(op, size, 1))
    return op.cast(chosen, ir.DataType.FLOAT)


def _spread(
    op: Builder, grad: Value, sizes: Sequence[Size], weights: Callable[[int, Size, Size], Value]
) -> Value:  # fmt: skip
    """[N, C, *O] -> [N, C, *S], by the transposed weights of each axis."""
    for axis, size in enumerate(sizes):
        matrix = op.cast(weights(axis, size, dims(grad)[2 + axis]), dtype(grad))
        grad = weighted_sums(op, grad, 2 + axis, transposed(op, matrix))
    return grad


def _linear_backward(
    op: Builder, grad: Value, input_size: Sequence[Size], aligned: bool, scales: Sequence[float | None]
) -> Value:  # fmt: skip
    return _spread(
        op, grad, input_size[2:], lambda axis, size, count: _linear_weights(op, size, count, scales[axis], aligned)
    )


@lowers(aten.upsample_linear1d_backward.default)
def upsample_linear1d_backward(
    op: Builder, grad_output: Value, output_size: Sequence[Size], input_size: Sequence[Size], align_corners: bool,
    scales: float | None,
) -> Value:  # fmt: skip
    """[N, C, O] -> [N, C, S]."""
    return _linear_backward(op, grad_output, input_size, align_corners, [scales])


@lowers(aten.upsample_bilinear2d_backward.default)
def upsample_bilinear2d_backward(
    op: Builder, grad_output: Value, output_size: Sequence[Size], input_size: Sequence[Size], align_corners: bool,
    scales_h: float | None, scales_w: float | None,
) -> Value:  # fmt: skip
    """[N, C, *O] -> [N, C, *S]."""
    return _linear_backward(op, grad_output, input_size, align_corners, [scales_h, scales_w])


@lowers(aten.upsample_trilinear3d_backward.default)
def upsample_trilinear3d_backward(
    op: Builder, grad_output: Value, output_size: Sequence[Size], input_size: Sequence[Size], align_corners: bool,
    scales_d: float | None, scales_h: float | None, scales_w: float | None,
) -> Value:  # fmt: skip
    """[N, C, *O] -> [N, C, *S]."""
    return _linear_backward(op, grad_output, input_size, align_corners, [scales_d, scales_h, scales_w])


def _nearest_backward(overload: Any, space: int, exact: bool) -> None:
    def backward(op: Builder, grad_output: Value, input_size: Sequence[Size], scales: Sequence[float | None]) -> Value:
        return _spread(
            op, grad_output, input_size[2:],
            lambda axis, size, count: _nearest_weights(op, size, count, scales[axis], exact),
        )  # fmt: skip

    def one(
        op: Builder, grad_output: Value, output_size: Sequence[Size], input_size: Sequence[Size], scales: float | None
    ) -> Value:  # fmt: skip
        return backward(op, grad_output, input_size, [scales])

    def two(
        op: Builder, grad_output: Value, output_size: Sequence[Size], input_size: Sequence[Size],
        scales_h: float | None, scales_w: float | None,
    ) -> Value:  # fmt: skip
        return backward(op, grad_output, input_size, [scales_h, scales_w])

    def three(
        op: Builder, grad_output: Value, output_size: Sequence[Size], input_size: Sequence[Size],
        scales_d: float | None, scales_h: float | None, scales_w: float | None,
    ) -> Value:  # fmt: skip
        return backward(op, grad_output, input_size, [scales_d, scales_h, scales_w])

    rules: dict[int, Callable[..., Value]] = {1: one, 2: two, 3: three}
    lowers(overload)(rules[space])


for _nearest, _space, _exact in (
    (aten.upsample_nearest1d_backward.default, 1, False),
    (aten.upsample_nearest2d_backward.default, 2, False),
    (aten.upsample_nearest3d_backward.default, 3, False),
    (aten._upsample_nearest_exact1d_backward.default, 1, True),
    (aten._upsample_nearest_exact2d_backward.default, 2, True),
    (aten._upsample_nearest_exact3d_backward.default, 3, True),
):
    _nearest_backward(_nearest, _space, _exact)


# Filters whose weights are constants.


def _filtered_backward(mode: Mode) -> Callable[..., Value]:
    def backward(
        op: Builder, grad_output: Value, output_size: Sequence[Size], input_size: Sequence[Size], align_corners: bool,
        scales_h: float | None, scales_w: float | None,
    ) -> Value:  # fmt: skip
        """[N, C, *O] -> [N, C, *S]."""
        scales = (scales_h or None, scales_w or None)

        def weights(axis: int, size: Size, count: Size) -> Value:
            if type(size) is not int or type(count) is not int:
                raise UnsupportedArgument(
                    f"the gradient of {mode.name} interpolation: sizes must be static, got {size} to {count}",
                    hint="let only the batch be dynamic, or interpolate linearly",
                )
            return op.constant(filter_weights(mode, Axis(size, count, scales[axis]), align_corners), ir.DataType.FLOAT)

        return _spread(op, grad_output, input_size[2:], weights)

    return backward


FILTERED: dict[Any, Mode] = {
    aten.upsample_bicubic2d_backward.default: CUBIC,
    aten._upsample_bilinear2d_aa_backward.default: LINEAR_AA,
    aten._upsample_bicubic2d_aa_backward.default: CUBIC_AA,
    aten._upsample_lanczos2d_aa_backward.default: LANCZOS_AA,
}
for _overload, _mode in FILTERED.items():
    lowers(_overload)(_filtered_backward(_mode))


@lowers(
    aten.replication_pad1d_backward.default, aten.replication_pad2d_backward.default,
    aten.replication_pad3d_backward.default,
)  # fmt: skip
def replication_pad_backward(op: Builder, grad_output: Value, self: Value, padding: Sequence[Size]) -> Value:
    """[*N, *O] -> [*N, *S]: what lies outside adds up at the edges; padding goes from the last axis on."""
    for i, before in enumerate(padding[::2]):
        axis = rank(self) - 1 - i
        size, count = dims(self)[axis], dims(grad_output)[axis]
        places = op.Sub(scaled_range(op, count, 1), op.scalar(before))
        places = op.Min(op.Max(places, op.constant(0)), op.scalar(size - 1))
        chosen = op.Equal(scaled_range(op, size, 1), op.unsqueeze(places, [1]))
        weights = transposed(op, op.cast(chosen, dtype(grad_output)))
        grad_output = weighted_sums(op, grad_output, axis, weights)
    return grad_output
