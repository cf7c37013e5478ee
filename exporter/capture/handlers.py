"""Overloads that are not recorded as they come: questions for a value, hidden writes, shape changes in place."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from exporter.capture.branching.layouts import COMPARISONS, example_values, input_of_elements
from exporter.capture.data_dependence.packed import first_batch_size
from exporter.capture.data_dependence.parts import (
    TAKES_APART,
    put_together,
    split_by_sizes,
    split_by_tensor,
    take_apart,
)
from exporter.capture.known import KINDS
from exporter.capture.recorder import Recorder
from exporter.capture.representations.quantized import QUANTIZED_HANDLERS
from exporter.capture.representations.quantized_layers import QUANTIZED_LAYERS
from exporter.capture.representations.sparse import SPARSE_HANDLERS
from exporter.capture.representations.windows import windows
from exporter.capture.tensors import RecordedTensor, offset_of
from exporter.capture.torch_internals import outside_modes
from exporter.errors import CaptureError

aten = torch.ops.aten

HANDLERS: dict[Any, Callable[..., Any]] = dict.fromkeys(TAKES_APART, take_apart)
HANDLERS |= QUANTIZED_HANDLERS | QUANTIZED_LAYERS | SPARSE_HANDLERS
HANDLERS |= dict.fromkeys((aten.cat.default, aten.stack.default), put_together)
HANDLERS |= dict.fromkeys((aten.split_with_sizes.default, aten.split.sizes), split_by_sizes)
HANDLERS[aten.tensor_split.tensor_indices_or_sections] = split_by_tensor


def handles(*overloads: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what to do for some overloads instead of recording them."""
    if taken := [overload for overload in overloads if overload in HANDLERS]:
        raise ValueError(f"{taken} must have one handler, got a second")

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        HANDLERS.update(dict.fromkeys(overloads, function))
        return function

    return register


@handles(aten.item.default, aten._local_scalar_dense.default, aten.is_nonzero.default)
def item(recorder: Recorder, func: Any, tensor: torch.Tensor) -> Any:
    """`tensor.item()`, `bool(tensor)`."""
    recorded = recorder.tensor(tensor)
    batch = first_batch_size(recorder, recorded)
    value = recorder.scalar(recorded) if batch is None else batch
    return bool(value) if func is aten.is_nonzero.default else value


@handles(*COMPARISONS)
def comparison(recorder: Recorder, func: Any, tensor: torch.Tensor, number: Any) -> torch.Tensor:
    """`ids == token`, which is the example's where it tells how a call is laid out."""
    node = recorder.node_of(recorder.tensor(tensor))
    if type(number) is int and number >= KINDS and (name := input_of_elements(recorder, node)) is not None:
        recorder.identified.add(name)
    values = example_values(recorder, node)
    if values is not None:
        with outside_modes():
            return recorder.fresh_constant(COMPARISONS[func](values, number))
    compared: torch.Tensor = recorder.call(func, (tensor, number), {})
    return compared


@handles(aten._pack_padded_sequence.default)
def pack_padded_sequence(
    recorder: Recorder, func: Any, input: torch.Tensor, lengths: torch.Tensor, batch_first: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Who asks for the first of the batch sizes, as recurrent layers do, gets the size of the batch."""
    data, batch_sizes = recorder.call(func, (input, lengths, batch_first), {})
    recorder.batches[recorder.node_of(batch_sizes)] = lengths.shape[0]
    return data, batch_sizes


@handles(aten.sym_size.int, aten.size.int)
def size(recorder: Recorder, func: Any, tensor: torch.Tensor, dim: int) -> Any:
    """One size of a tensor, symbolic where it is dynamic."""
    return tensor.shape[dim]


@handles(aten.sym_size.default, aten.size.default)
def sizes(recorder: Recorder, func: Any, tensor: torch.Tensor) -> list[Any]:
    """All sizes of a tensor, symbolic where they are dynamic."""
    return list(tensor.shape)


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


@handles(aten.allclose.default)
def allclose(
    recorder: Recorder, func: Any, first: torch.Tensor, second: torch.Tensor, rtol: float = 1e-05,
    atol: float = 1e-08, equal_nan: bool = False,
) -> Any:  # fmt: skip
    """`torch.allclose(a, b)`: likewise."""
    with recorder:
        close = torch.isclose(first, second, rtol, atol, equal_nan).all()
    return recorder.scalar(recorder.tensor(close))


@handles(aten.lift_fresh.default, aten.lift.default)
def lift_fresh(recorder: Recorder, func: Any, tensor: torch.Tensor) -> torch.Tensor:
    """A constant written in `forward`: its memory is its own."""
    return recorder.fresh_constant(tensor)


@handles(aten._linalg_check_errors.default, aten._assert_async.default, aten._assert_async.msg,
         aten._assert_scalar.default,
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
    if not training or running_mean is None or running_var is None or input.ndim < 2:
        return recorder.call(func, (*arguments, cudnn_enabled), {})
    result = recorder.call(aten._native_batch_norm_legit_functional.default, arguments, {})
    recorder.assign(running_mean, result[3])
    recorder.assign(running_var, result[4])
    return result[0]


@handles(aten.native_batch_norm.default)
def native_batch_norm(
    recorder: Recorder, func: Any, input: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None,
    running_mean: torch.Tensor | None, running_var: torch.Tensor | None, training: bool, momentum: float, eps: float,
) -> Any:  # fmt: skip
    """In training it writes to the running statistics, which its schema does not tell."""
    arguments = (input, weight, bias, running_mean, running_var, training, momentum, eps)
    if not training or running_mean is None or running_var is None:
        return recorder.call(func, arguments, {})
    results = recorder.call(aten._native_batch_norm_legit_functional.default, arguments, {})
    recorder.assign(running_mean, results[3])
    recorder.assign(running_var, results[4])
    return results[:3]


@handles(aten.bernoulli_.float)
def bernoulli(recorder: Recorder, func: Any, tensor: torch.Tensor, p: float = 0.5, **kwargs: Any) -> Any:
    """Its counterpart without a write has no default."""
    return recorder.write(func, (tensor, p), kwargs)


@handles(aten.polygamma_.default)
def polygamma(recorder: Recorder, func: Any, tensor: torch.Tensor, n: int) -> torch.Tensor:
    """`x.polygamma_(n)`; its counterpart without a write takes `n` first."""
    recorder.assign(tensor, recorder.call(aten.polygamma.default, (n, tensor), {}))
    return tensor


@handles(aten.one_hot.default)
def one_hot(recorder: Recorder, func: Any, indices: torch.Tensor, num_classes: Any = -1) -> Any:
    """Without a number of classes, this is the greatest index + 1."""
    if isinstance(num_classes, int) and num_classes == -1:
        with recorder:
            num_classes = (indices.max() + 1).item()
    return recorder.call(func, (indices, num_classes), {})


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


@handles(aten.where.self, aten.where.ScalarSelf, aten.where.ScalarOther, aten.where.Scalar)
def where(recorder: Recorder, func: Any, condition: torch.Tensor, first: Any, second: Any) -> Any:
    """A condition of uint8 counts as a bool one, which the meta kernel has forgotten."""
    if condition.dtype == torch.uint8:
        with recorder:
            condition = condition.bool()
    return recorder.call(func, (condition, first, second), {})


@handles(aten.fill_diagonal_.default)
def fill_diagonal(
    recorder: Recorder, func: Any, tensor: torch.Tensor, fill_value: Any, wrap: bool = False
) -> torch.Tensor:  # fmt: skip
    """Write a number where all indices are equal; `wrap` begins anew below a matrix of more rows than columns."""
    with recorder:
        if tensor.ndim == 2 and not wrap:
            tensor.diagonal().fill_(fill_value)
        else:
            step = sum(math.prod(tensor.shape[axis:]) for axis in range(1, tensor.ndim + 1))
            tensor.masked_fill_((torch.arange(tensor.numel()) % step == 0).reshape(tensor.shape), fill_value)
    return tensor


@handles(aten.copy_.default)
def copy(recorder: Recorder, func: Any, target: torch.Tensor, source: torch.Tensor, *args: Any) -> torch.Tensor:
    """`x[i] += y` ends in writing the view into itself, which changes nothing."""
    if recorder.is_same_memory(target, source):
        return target
    result: torch.Tensor = recorder.write(func, (target, source, *args), {})
    return result


@handles(aten.as_strided.default)
def as_strided(
    recorder: Recorder, func: Any, tensor: torch.Tensor, size: Any, stride: Any, storage_offset: Any = None
) -> Any:  # fmt: skip
    """It looks at the memory of what the tensor is a view of, whatever the view."""
    recorded = recorder.tensor(tensor)
    if storage_offset is None and any(isinstance(step, torch.SymInt) for step in stride):
        taken = windows(recorder, recorded, size, stride)
        if taken is not None:
            return taken
    root = recorded
    while root.parent is not None:
        root = root.parent
    if not all(spec.meta().is_contiguous() for spec in root.specs):
        raise CaptureError(
            "as_strided: the memory that it looks at must be contiguous",
            hint="call contiguous() before, or use unfold, slices and expand instead",
        )
    if storage_offset is None:
        storage_offset = offset_of(recorded)
    return recorder.call(func, (root, size, stride, storage_offset), {})


IN_PLACE_VIEWS = {
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


@handles(*IN_PLACE_VIEWS)
def change_shape(recorder: Recorder, func: Any, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """A view that takes the place of the tensor itself."""
    if not isinstance(tensor, RecordedTensor):
        raise CaptureError(
            f"{func}: changes the shape of a tensor of the model's state",
            hint=f"use {IN_PLACE_VIEWS[func]} and keep its result",
        )
    return recorder.become(tensor, recorder.call(IN_PLACE_VIEWS[func], (tensor, *args), kwargs))


@handles(aten.resize_.default, aten.resize_as_.default)
def resize(recorder: Recorder, func: Any, tensor: torch.Tensor, size: Any, **kwargs: Any) -> torch.Tensor:
    """A resize that keeps or lowers the number of elements; more would be undefined memory."""
    shape = list(size.shape if isinstance(size, torch.Tensor) else size)
    count = math.prod(shape)
    with recorder:
        kept = tensor.new_zeros(shape) if count > tensor.numel() else tensor.reshape(-1)[:count].reshape(shape)
    return recorder.become(recorder.tensor(tensor), kept)


@handles(aten.resize.default, aten.resize_as.default)
def resized(recorder: Recorder, func: Any, tensor: torch.Tensor, size: Any, **kwargs: Any) -> torch.Tensor:
    """The same of a copy."""
    with recorder:
        return resize(recorder, func, tensor.clone(), size)


@handles(aten.set_.source_Tensor)
def take_memory(recorder: Recorder, func: Any, tensor: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """`tensor.set_(source)`: it looks at the source's memory from now on."""
    return recorder.become(recorder.tensor(tensor), source)


def set_data(recorder: Recorder, tensor: torch.Tensor, source: torch.Tensor) -> None:
    """`tensor.data = source`, which `tensor.data *= mask` ends in too.

    Raises:
        CaptureError: a tensor of the model's state would get another shape.
    """
    if recorder.is_same_memory(tensor, source):
        return
    if not isinstance(tensor, RecordedTensor) and tensor.shape != source.shape:
        raise CaptureError(
            f"tensor.data = ...: changes the shape of a tensor of the model's state, {list(tensor.shape)}",
            hint="compute with a tensor of your own in its place",
            source=str(recorder.source() or ""),
        )
    recorder.become(recorder.tensor(tensor), source)


_WITHOUT_GENERATOR = {
    aten.rand.generator: aten.rand.default,
    aten.randn.generator: aten.randn.default,
    aten.randint.generator: aten.randint.default,
    aten.randint.low_generator: aten.randint.low,
    aten.randperm.generator: aten.randperm.default,
}


@handles(*_WITHOUT_GENERATOR)
def drawn(recorder: Recorder, func: Any, *args: Any, generator: Any = None, **kwargs: Any) -> Any:
    """`torch.randn(size, generator=None)` is `torch.randn(size)`."""
    if generator is not None:
        return recorder.call(func, args, {**kwargs, "generator": generator})
    overload = _WITHOUT_GENERATOR[func]
    handler = HANDLERS.get(overload)
    return recorder.call(overload, args, kwargs) if handler is None else handler(recorder, overload, *args, **kwargs)
