"""What `torch.ao.nn.quantized` and its dynamic kin call: layers in float32 between the steps of their tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # its usual name

from exporter.capture.representations.quantized import Quantizer, noted, numbers, on_steps, quantizer_of
from exporter.capture.torch_internals import outside_modes, schema_of
from exporter.errors import CaptureError

if TYPE_CHECKING:
    from exporter.capture.recorder import Recorder

__all__ = ["QUANTIZED_LAYERS"]

quantized = torch.ops.quantized

# What a layer computes of its arguments by their names in the schema, quantized ones as numbers.
Layer = Callable[..., torch.Tensor]
Given = dict[str, Any]
_CONVOLUTIONS = {False: F.conv2d, True: F.conv_transpose2d}, {False: F.conv3d, True: F.conv_transpose3d}


def _linear(recorder: Recorder, given: Given, x: torch.Tensor, packed: Any, *_: Any) -> torch.Tensor:
    return F.linear(x, *_weights(recorder, packed))


def _convolution(recorder: Recorder, given: Given, x: torch.Tensor, packed: Any, *_: Any) -> torch.Tensor:
    """Of one dim, it is packed as one of two with a height of 1."""
    with outside_modes():
        places = packed.stride(), packed.padding(), packed.dilation(), packed.groups()
        behind, is_transposed = packed.output_padding(), packed.transpose()
    stride, padding, dilation, groups = places
    function: Any = _CONVOLUTIONS[len(stride) - 2][is_transposed]
    rest = (behind, groups, dilation) if is_transposed else (dilation, groups)
    is_flat = x.ndim == len(stride) + 1
    x = x.unsqueeze(2) if is_flat else x
    result: torch.Tensor = function(x, *_weights(recorder, packed), stride, padding, *rest)
    return result.squeeze(2) if is_flat else result


def _weights(recorder: Recorder, packed: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    with outside_modes():
        weight, bias = packed.unpack()
        weight = weight if weight.is_quantized else weight.float()  # of half precision
    return numbers(recorder, weight), None if bias is None else recorder.fresh_constant(bias)


def _batch_norm(
    x: torch.Tensor, weight: Any, bias: Any, mean: torch.Tensor, var: torch.Tensor, eps: float
) -> torch.Tensor:  # fmt: skip
    return F.batch_norm(x, mean, var, weight, bias, eps=eps)


def _instance_norm(x: torch.Tensor, weight: Any, bias: Any, eps: float) -> torch.Tensor:
    return F.instance_norm(x, None, None, weight, bias, eps=eps)


def _plain(function: Callable[..., torch.Tensor], *rest: str) -> Layer:
    """A layer that is a function of its first argument and those of some names."""

    def layer(recorder: Recorder, given: Given, x: Any, *_: Any) -> torch.Tensor:
        return function(x, *(given[name] for name in rest))

    return layer


_NORM = ("weight", "bias", "mean", "var", "eps")
# Name of the function in torch.ops.quantized -> the layer. Each may have a relu behind it.
_LAYERS: dict[str, Layer] = {
    "linear": _linear,
    "conv1d": _convolution,
    "conv2d": _convolution,
    "conv3d": _convolution,
    "conv_transpose1d": _convolution,
    "conv_transpose2d": _convolution,
    "conv_transpose3d": _convolution,
    "batch_norm": _plain(_batch_norm, *_NORM),
    "batch_norm1d": _plain(_batch_norm, *_NORM),
    "batch_norm2d": _plain(_batch_norm, *_NORM),
    "batch_norm3d": _plain(_batch_norm, *_NORM),
    "add": _plain(torch.add, "qb"),
    "mul": _plain(torch.mul, "qb"),
    "matmul": _plain(torch.matmul, "qb"),
    "cat": _plain(torch.cat, "dim"),
    "layer_norm": _plain(F.layer_norm, "normalized_shape", "weight", "bias", "eps"),
    "group_norm": _plain(F.group_norm, "num_groups", "weight", "bias", "eps"),
    "instance_norm": _plain(_instance_norm, "weight", "bias", "eps"),
    "hardswish": _plain(F.hardswish),
    "sigmoid": _plain(torch.sigmoid),
    "celu": _plain(F.celu, "alpha"),
    "elu": _plain(F.elu, "alpha"),
    "leaky_relu": _plain(F.leaky_relu, "negative_slope"),
    "prelu": _plain(F.prelu, "weight"),
    "softmax": _plain(F.softmax, "dim"),
    "relu6": _plain(F.relu6),
    "clamp": _plain(torch.clamp, "min", "max"),
    "threshold": _plain(F.threshold, "threshold", "value"),
    "dropout": _plain(F.dropout, "p", "training"),
}
_SCALES = ("output_scale", "Y_scale_i", "scale")  # of `elu`, the last is another
_ZERO_POINTS = ("zero_point", "output_zero_point", "Y_zero_point_i")


def _layer(recorder: Recorder, func: Any, *args: Any, **kwargs: Any) -> Any:
    """The numbers through a layer, and the result on the steps that the call gives, else those of its argument."""
    name, given, values = _arguments(recorder, func, args, kwargs)
    source = args[0][0] if isinstance(args[0], (list, tuple)) else args[0]
    before = quantizer_of(source)
    if before is None:
        raise CaptureError(f"{func}: the input must be quantized", hint="call torch.quantize_per_tensor before")
    with recorder:
        result = _result(recorder, name, given, values)
    scale = next((given[key] for key in _SCALES if given.get(key) is not None), before.scale)
    zero_point = next((given[key] for key in _ZERO_POINTS if given.get(key) is not None), before.zero_point)
    return on_steps(recorder, result, Quantizer(scale, zero_point, before.dtype))


def _result(recorder: Recorder, name: str, given: Given, values: Sequence[Any]) -> torch.Tensor:
    """What a layer makes of numbers; `linear_relu` is two of them."""
    if name in _LAYERS:
        return _LAYERS[name](recorder, given, *values)
    return _LAYERS[name.removesuffix("_relu")](recorder, given, *values).relu()


def _dynamic(recorder: Recorder, func: Any, *args: Any, **kwargs: Any) -> Any:
    """A layer whose input is put on 255 steps, or 127, between its own least and greatest number, and 0."""
    name, given, (x, packed, *_) = _arguments(recorder, func, args, kwargs)
    layer = name.removesuffix("_fp16").removesuffix("_dynamic")
    with recorder:
        if not name.endswith("_fp16"):
            highest = 127 if given.get("reduce_range") else 255
            least, greatest = x.amin().clamp(max=0.0), x.amax().clamp(min=0.0)
            scale = ((greatest - least) / highest).clamp(min=torch.finfo(torch.float32).eps)
            zero = (-least / scale).round()
            x = (((x / scale).round() + zero).clamp(0, highest) - zero) * scale
        return _result(recorder, layer, given, [x, packed])


def _arguments(
    recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Given
) -> tuple[str, Given, list[Any]]:  # fmt: skip
    """The function's name, its arguments by name and in order, quantized tensors as numbers."""
    schema = schema_of(func)

    def plain(argument: Any) -> Any:
        if isinstance(argument, (list, tuple)):
            return [plain(item) for item in argument]
        return numbers(recorder, argument) if isinstance(argument, torch.Tensor) else argument

    values = [plain(argument) for argument in args]
    names = [argument.name for argument in schema.arguments]
    given = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    given |= dict(zip(names, values, strict=False)) | {key: plain(item) for key, item in kwargs.items()}
    return schema.name.split("::")[1], given, values


def _add_scalar(recorder: Recorder, func: Any, tensor: torch.Tensor, number: float) -> Any:
    """The numbers moved by whole steps, the integers stay; where the zero point would leave their range, wider ones."""
    before = _steps_of(func, tensor)
    low, high = before.limits
    count = round(number / before.scale)
    after = before._replace(zero_point=before.zero_point - count)
    with recorder:
        result = numbers(recorder, tensor) + count * before.scale
        result = result.relu() if "relu" in func.name() else result
    if low <= after.zero_point <= high:
        return noted(recorder, result, after)
    span = max(high - after.zero_point, after.zero_point - low) / (high - low)
    edge = low if after.zero_point < low else high
    return on_steps(recorder, result, before._replace(scale=before.scale * span, zero_point=edge))


def _mul_scalar(recorder: Recorder, func: Any, tensor: torch.Tensor, number: float) -> Any:
    """The numbers times another, and the steps with them."""
    before = _steps_of(func, tensor)
    low, high = before.limits
    zero = before.zero_point if number > 0 else low + high - before.zero_point
    with recorder:
        result = numbers(recorder, tensor) * number
        result = result.relu() if "relu" in func.name() else result
    return noted(recorder, result, before._replace(scale=abs(number) * before.scale or 1.0, zero_point=zero))


def _steps_of(func: Any, tensor: torch.Tensor) -> Quantizer:
    quantizer = quantizer_of(tensor)
    if quantizer is None:
        raise CaptureError(f"{func}: the input must be quantized", hint="call torch.quantize_per_tensor before")
    return quantizer


def _embedding(recorder: Recorder, func: Any, packed: Any, indices: torch.Tensor, *_: Any) -> torch.Tensor:
    """Rows of the table that a packed one stands for."""
    with outside_modes():
        table = quantized.embedding_bag_unpack(packed).dequantize()
    with recorder:
        return F.embedding(indices, recorder.fresh_constant(table))


def _outside(recorder: Recorder, func: Any, *args: Any, **kwargs: Any) -> Any:
    """Packing of weights, which are real tensors."""
    with outside_modes():
        return func(*args, **kwargs)


QUANTIZED_LAYERS: dict[Any, Callable[..., Any]] = {
    quantized.embedding_byte.default: _embedding,
    quantized.embedding_4bit.default: _embedding,
}


def _register(name: str, handler: Callable[..., Any], *overloads: str) -> None:
    packet = getattr(quantized, name, None)
    for overload in overloads:
        if packet is not None and overload in packet.overloads():
            QUANTIZED_LAYERS[getattr(packet, overload)] = handler


for _name in _LAYERS:
    _register(_name, _layer, "default", "new")
    _register(f"{_name}_relu", _layer, "default", "new")
    for _suffix in ("_dynamic", "_relu_dynamic", "_dynamic_fp16", "_relu_dynamic_fp16"):
        _register(f"{_name}{_suffix}", _dynamic, "default")
    _register(f"{_name}_prepack", _outside, "default")
for _name, _handler in (("add", _add_scalar), ("mul", _mul_scalar)):
    for _suffix in ("", "_relu"):
        _register(f"{_name}{_suffix}", _handler, "Scalar")
        _register(f"{_name}_scalar{_suffix}", _handler, "default")
