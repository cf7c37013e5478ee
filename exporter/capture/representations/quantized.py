"""Quantized tensors of eager mode: recorded as the numbers that their integers stand for.

Such a tensor is a float32 one in the graph, with a note of its scale and zero point: what is computed of it is
computed of the numbers and rounded to the steps of the result's, as QuantizeLinear and DequantizeLinear do it. Packed
weights stay integers.  A quantized result of the model is given by its numbers.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from exporter.capture.tensors import RecordedTensor
from exporter.capture.torch_internals import (
    is_mutable,
    outside_modes,
    quantized_ops,
    schema_of,
    tree_leaves,
    tree_map,
)
from exporter.errors import CaptureError

if TYPE_CHECKING:
    from exporter.capture.recorder import Recorder

__all__ = ["QUANTIZED_HANDLERS", "Quantizer", "noted", "numbers", "on_steps", "quantizer_of"]

aten = torch.ops.aten

_INTEGERS = {torch.quint8: torch.uint8, torch.qint8: torch.int8, torch.qint32: torch.int32}
# Functions whose result lies on the steps of the argument; views do too.
_ON_STEPS = {"relu", "max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool2d", "clone", "contiguous", "reshape",
             "repeat", "flip", "index", "index_select", "gather", "sort", "topk", "stack"}  # fmt: skip
# Functions whose steps do not depend on the argument's: (scale, zero point counted from the least integer).
_FIXED_STEPS = {"sigmoid": (1 / 256, 0), "hardsigmoid": (1 / 256, 0), "tanh": (2 / 256, 128)}


class Quantizer(NamedTuple):
    """Which numbers the integers of a tensor stand for: `(integer - zero_point) * scale`.

    `axis` is that of the channels, where scale and zero point are tensors of one element for each.
    """

    scale: Any
    zero_point: Any
    dtype: torch.dtype
    axis: int | None = None

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the greatest integer."""
        info = torch.iinfo(_INTEGERS[self.dtype])
        return info.min, info.max


# What is recorded.


def on_steps(recorder: Recorder, values: torch.Tensor, quantizer: Quantizer) -> RecordedTensor:
    """The numbers, rounded to the steps; noted as quantized."""
    scale, zero, _, axis = quantizer
    with recorder:
        if axis is None:
            result = torch.fake_quantize_per_tensor_affine(values, scale, zero, *quantizer.limits)
        else:
            result = torch.fake_quantize_per_channel_affine(
                values, scale.float(), zero.to(torch.int32), axis, *quantizer.limits
            )
    return noted(recorder, result, quantizer)


def noted(recorder: Recorder, values: torch.Tensor, quantizer: Quantizer) -> RecordedTensor:
    """The tensor, noted as quantized."""
    tensor = recorder.tensor(values)
    tensor.quantizer = quantizer
    if not isinstance(recorder.handlers, _Handlers):
        recorder.handlers = _Handlers(recorder.handlers)
    return tensor


def quantizer_of(tensor: torch.Tensor) -> Quantizer | None:
    """That of a recorded or a real tensor."""
    if isinstance(tensor, RecordedTensor):
        return tensor.quantizer
    if not tensor.is_quantized:
        return None
    with outside_modes():
        if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
            return Quantizer(tensor.q_scale(), tensor.q_zero_point(), tensor.dtype)
        scales, zeros = tensor.q_per_channel_scales().float(), tensor.q_per_channel_zero_points()
        return Quantizer(scales, zeros, tensor.dtype, tensor.q_per_channel_axis())


def numbers(recorder: Recorder, tensor: torch.Tensor) -> torch.Tensor:
    """What a tensor stands for, without the note; a real quantized one stays integers in the model."""
    quantizer = quantizer_of(tensor)
    if quantizer is None:
        return tensor
    if isinstance(tensor, RecordedTensor):
        with _without_notes([tensor]):
            bare: torch.Tensor = recorder.call(aten.alias.default, (tensor,), {})
        return bare
    with outside_modes():
        integers = tensor.int_repr()
    stored, limits = recorder.fresh_constant(integers), quantizer.limits
    if quantizer.axis is None:
        steps: tuple[Any, ...] = (quantizer.scale, quantizer.zero_point)
        overload = quantized_ops().dequantize_per_tensor.default
    else:
        scales, zeros = (recorder.fresh_constant(x) for x in (quantizer.scale, quantizer.zero_point))
        steps = (scales, zeros, quantizer.axis)
        overload = quantized_ops().dequantize_per_channel.default
    values: torch.Tensor = recorder.call(overload, (stored, *steps, *limits, integers.dtype), {})
    return values


@contextlib.contextmanager
def _without_notes(tensors: Sequence[RecordedTensor]) -> Iterator[None]:
    notes = [tensor.quantizer for tensor in tensors]
    for tensor in tensors:
        tensor.quantizer = None
    try:
        yield
    finally:
        for tensor, note in zip(tensors, notes, strict=True):
            tensor.quantizer = note


# Functions that do not know of it.


class _Handlers(dict[Any, Callable[..., Any]]):
    """The handlers of a recording in which there are quantized tensors: all calls with such come here first."""

    def get(self, overload: Any, default: Any = None) -> Any:
        """The handler of an overload."""
        handler = super().get(overload)
        knows = overload in QUANTIZED_HANDLERS or (handler is not None and overload.namespace == "quantized")
        return handler if knows else functools.partial(_on_quantized, handler=handler)


def _on_quantized(recorder: Recorder, func: Any, *args: Any, handler: Callable[..., Any] | None, **kwargs: Any) -> Any:
    """What a function makes of the numbers, on the steps of its first quantized argument."""
    found = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor) and quantizer_of(x) is not None]
    real = {id(x): numbers(recorder, x) for x in found if not isinstance(x, RecordedTensor)}
    args, kwargs = tree_map(lambda x: real.get(id(x), x), (args, kwargs))
    sources = [x for x in found if isinstance(x, RecordedTensor)]
    with _without_notes(sources):
        if handler is not None:
            result = handler(recorder, func, *args, **kwargs)
        else:
            result = (recorder.write if is_mutable(func) else recorder.call)(func, args, kwargs)
    if not found:
        return result
    quantizer = quantizer_of(found[0])
    assert quantizer is not None  # it was found by it
    return tree_map(functools.partial(_again_on_steps, recorder, func, quantizer, sources), result)


def _again_on_steps(
    recorder: Recorder, func: Any, quantizer: Quantizer, sources: Sequence[RecordedTensor], result: Any
) -> Any:  # fmt: skip
    if not isinstance(result, RecordedTensor) or not result.dtype.is_floating_point:
        return result
    name = schema_of(func).name.split("::")[1].rstrip("_")
    if name in _FIXED_STEPS:
        scale, place = _FIXED_STEPS[name]
        quantizer = quantizer._replace(scale=scale, zero_point=quantizer.limits[0] + place)
    elif name in _ON_STEPS or any(result.storage_ is source.storage_ for source in sources):
        return noted(recorder, result, quantizer)
    if quantizer.axis is not None:
        raise CaptureError(f"{func}: takes no tensor that is quantized by channels", hint="call dequantize() before")
    return on_steps(recorder, result, quantizer)


# Functions that do.

QUANTIZED_HANDLERS: dict[Any, Callable[..., Any]] = {}


def _handles(*overloads: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        QUANTIZED_HANDLERS.update(dict.fromkeys(overloads, function))
        return function

    return register


@_handles(aten.quantize_per_tensor.default, aten.quantize_per_tensor.tensor_qparams)
def _quantize(
    recorder: Recorder, func: Any, tensor: torch.Tensor, scale: Any, zero_point: Any, dtype: torch.dtype
) -> torch.Tensor:  # fmt: skip
    """`torch.quantize_per_tensor(x, scale, zero_point, dtype)`."""
    scale, zero_point = (x.item() if isinstance(x, torch.Tensor) else x for x in (scale, zero_point))
    return on_steps(recorder, tensor, Quantizer(float(scale), int(zero_point), dtype))


@_handles(aten.quantize_per_channel.default)
def _quantize_by_channel(
    recorder: Recorder, func: Any, tensor: torch.Tensor, scales: torch.Tensor, zero_points: torch.Tensor, axis: int,
    dtype: torch.dtype,
) -> torch.Tensor:  # fmt: skip
    return on_steps(recorder, tensor, Quantizer(scales, zero_points, dtype, axis))


@_handles(aten.dequantize.self)
def _dequantize(recorder: Recorder, func: Any, tensor: torch.Tensor) -> torch.Tensor:
    return numbers(recorder, tensor)


@_handles(aten.int_repr.default)
def _integers(recorder: Recorder, func: Any, tensor: torch.Tensor) -> torch.Tensor:
    """The integers themselves."""
    quantizer = _noted_quantizer(func, tensor)
    with recorder:
        integers = (numbers(recorder, tensor) / quantizer.scale).round() + quantizer.zero_point
        return integers.to(_INTEGERS[quantizer.dtype])


@_handles(aten.q_scale.default)
def _scale(recorder: Recorder, func: Any, tensor: torch.Tensor) -> float:
    return float(_noted_quantizer(func, tensor).scale)


@_handles(aten.q_zero_point.default)
def _zero_point(recorder: Recorder, func: Any, tensor: torch.Tensor) -> int:
    return int(_noted_quantizer(func, tensor).zero_point)


def _noted_quantizer(func: Any, tensor: torch.Tensor) -> Quantizer:
    quantizer = quantizer_of(tensor)
    if quantizer is None or quantizer.axis is not None:
        raise CaptureError(f"{func}: the tensor must be quantized, with one scale for all")
    return quantizer
