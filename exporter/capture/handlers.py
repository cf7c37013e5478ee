"""Overloads that are not recorded as they come: questions for a value, hidden writes, shape changes in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from exporter.capture.parts import TAKES_APART, take_apart
from exporter.capture.recorder import Recorder
from exporter.capture.sizes import SizeNode
from exporter.capture.tensors import RecordedTensor
from exporter.capture.torch_internals import size_from_node
from exporter.errors import CaptureError

aten = torch.ops.aten

HANDLERS: dict[Any, Callable[..., Any]] = dict.fromkeys(TAKES_APART, take_apart)


def handles(*overloads: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what to do for some overloads instead of recording them."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        HANDLERS.update(dict.fromkeys(overloads, function))
        return function

    return register


@handles(aten.item.default, aten._local_scalar_dense.default, aten.is_nonzero.default)
def item(recorder: Recorder, func: Any, tensor: torch.Tensor) -> Any:
    """`tensor.item()`, `bool(tensor)`."""
    recorded = recorder.tensor(tensor)
    node = recorded.node
    if node is not None and node.target is aten.select.int and node.args[1:] == (0, 0) and node.args[0] in recorder.batches:
        batch = recorder.batches[node.args[0]]
        return size_from_node(batch) if isinstance(batch, SizeNode) else batch
    value = recorder.scalar(recorded)
    return bool(value) if func is aten.is_nonzero.default else value


@handles(aten._pack_padded_sequence.default)
def pack_padded_sequence(
    recorder: Recorder, func: Any, input: torch.Tensor, lengths: torch.Tensor, batch_first: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Who asks for the first of the batch sizes, as recurrent layers do, gets the size of the batch."""
    data, batch_sizes = recorder.call(func, (input, lengths, batch_first), {})
    batch = lengths.shape[0]
    recorder.batches[recorder.node_of(batch_sizes)] = batch if type(batch) is int else batch.node
    return data, batch_sizes


@handles(aten.sym_size.int, aten.size.int)
def size(recorder: Recorder, func: Any, tensor: torch.Tensor, dim: int) -> Any:
    """One size of a tensor, symbolic where it is dynamic."""
    return tensor.shape[dim]


@handles(aten.sym_numel.default, aten.numel.default)
def numel(recorder: Recorder, func: Any, tensor: torch.Tensor) -> Any:
    """The number of elements, symbolic where it is dynamic."""
    return tensor.numel()


@handles(aten.equal.default)
def equal(recorder: Recorder, func: Any, first: torch.Tensor, second: torch.Tensor) -> Any:
    """`torch.equal(a, b)`: a truth about values."""
    if tuple(first.shape) != tuple(second.shape):
        return False
    with recorder:
        same = (first == second).all()
    return recorder.scalar(recorder.tensor(same))


@handles(aten.lift_fresh.default, aten.lift.default)
def lift_fresh(recorder: Recorder, func: Any, tensor: torch.Tensor) -> torch.Tensor:
    """A constant written in `forward`: its memory is its own."""
    return recorder.fresh_constant(tensor)


@handles(aten._assert_async.default, aten._assert_async.msg, aten._assert_scalar.default,
         aten._assert_tensor_metadata.default, aten.sym_constrain_range.default,
         aten.sym_constrain_range_for_size.default, aten._print.default)  # fmt: skip
def nothing(recorder: Recorder, func: Any, *args: Any, **kwargs: Any) -> None:
    """Checks of values have no place in a graph."""


@handles(aten._has_compatible_shallow_copy_type.default)
def compatible(recorder: Recorder, func: Any, *args: Any) -> bool:
    """Asked when a tensor's data is replaced."""
    return True


@handles(aten.batch_norm.default)
def batch_norm(
    recorder: Recorder, func: Any, input: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None,
    running_mean: torch.Tensor | None, running_var: torch.Tensor | None, training: bool, momentum: float,
    eps: float, cudnn_enabled: bool,
) -> Any:  # fmt: skip
    """In training it writes to the running statistics, which its schema does not tell."""
    arguments = (input, weight, bias, running_mean, running_var, training, momentum, eps)
    if not training or running_mean is None:
        return recorder.call(func, (*arguments, cudnn_enabled), {})
    result = recorder.call(aten._native_batch_norm_legit_functional.default, arguments, {})
    recorder.assign(running_mean, result[3])
    recorder.assign(running_var, result[4])
    return result[0]


@handles(aten.instance_norm.default)
def instance_norm(
    recorder: Recorder, func: Any, input: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None,
    running_mean: torch.Tensor | None, running_var: torch.Tensor | None, use_input_stats: bool,
    momentum: float, eps: float, cudnn_enabled: bool,
) -> Any:  # fmt: skip
    """With running statistics and statistics of the input, it writes to the former: `r += m (mean - r)`."""
    result = recorder.call(
        func, (input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, cudnn_enabled), {}
    )
    if use_input_stats and running_mean is not None and running_var is not None:
        space = list(range(2, input.ndim))
        with recorder:
            mean = running_mean * (1 - momentum) + input.mean([0, *space]) * momentum
            variance = running_var * (1 - momentum) + input.var(space, unbiased=True).mean(0) * momentum
        recorder.assign(running_mean, mean)
        recorder.assign(running_var, variance)
    return result


@handles(aten.copy_.default)
def copy(recorder: Recorder, func: Any, target: torch.Tensor, source: torch.Tensor, *args: Any) -> torch.Tensor:
    """`x[i] += y` ends in writing the view into itself, which changes nothing."""
    if recorder.is_same_memory(target, source):
        return target
    result: torch.Tensor = recorder.write(func, (target, source, *args), {})
    return result


_IN_PLACE_VIEWS = {
    aten.unsqueeze_.default: aten.unsqueeze.default,
    aten.squeeze_.default: aten.squeeze.default,
    aten.squeeze_.dim: aten.squeeze.dim,
    aten.squeeze_.dims: aten.squeeze.dims,
    aten.t_.default: aten.t.default,
    aten.transpose_.default: aten.transpose.int,
    aten.swapaxes_.default: aten.swapaxes.default,
    aten.swapdims_.default: aten.swapdims.default,
    aten.as_strided_.default: aten.as_strided.default,
}


@handles(*_IN_PLACE_VIEWS)
def change_shape(recorder: Recorder, func: Any, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """A view that takes the place of the tensor itself."""
    if not isinstance(tensor, RecordedTensor):
        raise CaptureError(
            f"{func}: changes the shape of a tensor of the model's state",
            hint=f"use {_IN_PLACE_VIEWS[func]} and keep its result",
        )
    return recorder.become(tensor, recorder.call(_IN_PLACE_VIEWS[func], (tensor, *args), kwargs))


@handles(aten.resize_.default, aten.resize_as_.default)
def resize(recorder: Recorder, func: Any, tensor: torch.Tensor, size: Any, **kwargs: Any) -> torch.Tensor:
    """A resize that keeps or lowers the number of elements; more would be undefined memory."""
    shape = list(size.shape if isinstance(size, torch.Tensor) else size)
    count = 1
    for length in shape:
        count *= length
    if count > tensor.numel():
        return recorder.become(recorder.tensor(tensor), tensor.new_zeros(shape))
    return recorder.become(recorder.tensor(tensor), tensor.reshape(-1)[:count].reshape(shape))


@handles(aten.set_.source_Tensor)
def set_data(recorder: Recorder, func: Any, tensor: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """`tensor.set_(source)`: it looks at the source's memory from now on."""
    return recorder.become(recorder.tensor(tensor), source)
