"""The whole way of a training step, from Python to ONNX: `export_training` reads as its table of contents."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import torch

from exporter.capture.record import state_names
from exporter.capture.sampling import record_at_samples
from exporter.capture.torch_internals import original_module
from exporter.capture.training.steps import SEED, record_step
from exporter.errors import InputError
from exporter.lowerings import rules_with
from exporter.optimization import optimize
from exporter.pipeline import check_opset, example_call, translate
from exporter.report import no_garbage_collection, raise_decided, timeline
from exporter.signature import Signature
from exporter.training.dropout import without_dropout
from exporter.training.forward import Forward, Loss, named_targets
from exporter.training.optimizers import Optimizer, understood
from exporter.training.program import TrainingProgram
from exporter.training.step import STEP, Step, rate_name


def export_training(
    model: torch.nn.Module,
    example_inputs: Any = (),
    *,
    targets: Any = (),
    loss: Loss | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    kwargs: Mapping[str, Any] | None = None,
    dynamic_shapes: Any = None,
    opset_version: int = 18,
    lowerings: Mapping[Any, Callable[..., Any]] | None = None,
    clip_norm: float | None = None,
    accumulate: int = 1,
    dropout: bool = True,
    allow_unused: bool = False,
    strict: bool = False,
    allow_fixed: bool = False,
) -> TrainingProgram:
    """Export one step of training to ONNX, without running it on real data.

    The model is taken in the mode in which it is: call `model.train()` before for batch statistics and dropout.
    Parameters are inputs under their names in the state_dict; those with `requires_grad=False`, or that the
    optimizer does not have, stay initializers.  Buffers that the step writes are inputs and results (`<name>.updated`).

    Without an optimizer the results are `loss`, the model's own results, `<parameter>.grad` and new buffers;
    with one `loss`, `<parameter>.updated`, `<parameter>.<state>.updated` and new buffers, for the further inputs `step`
    (int64 [], how many steps were made before) and `learning_rate` (float32 []; `learning_rate.<i>` where the
    optimizer has several groups).  What is random follows from `seed` (int64 []), an input where it is needed.

    Args:
        model: a module.
        example_inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments.
        targets: what `loss` takes beside the model's result: a tensor (the input `target`), a tuple of them
            (`target_0`, ...) or a dict of names to tensors.
        loss: called with the model's result and the targets; None for a model that returns its own loss.
        optimizer: `torch.optim.SGD`, `Adam` or `AdamW` over the model's parameters.
        kwargs: keyword arguments, beside positional ones.
        dynamic_shapes: which dims are open, by the names of arguments and targets: `{"x": {0: "batch"}}`.
        opset_version: the opset that the model will have, 17 to 24.
        lowerings: overload -> a rule of yours, before ours; overloads of the backward pass too.
        clip_norm: scale gradients down so that their norm, all together, is at most this.
        accumulate: over how many steps gradients are averaged before the optimizer updates.
        dropout: whether dropout takes part; else the model trains as if its probability were 0.
        allow_unused: whether parameters without gradient stay as they are; else an error.
        strict: whether Python code that decides by a dynamic size is an error.
        allow_fixed: whether a dynamic dim that Python code needs as a number becomes static; else an error.

    Returns:
        The program: `save` it, or train with its `session`.

    Raises:
        LossError: the loss is not one number, or depends on no trained parameter.
        GradientError: a parameter gets no gradient.
        OptimizerError: the optimizer, or an option of it, is not supported.
        ExportError: anything else; see `exporter.errors` for its kinds.
    """
    check_opset(opset_version)
    model = original_module(model)
    _check(model, optimizer, accumulate)
    args, keywords = example_call(example_inputs, kwargs)
    given = named_targets(targets)
    forward = Forward(model, loss, given)
    names = state_names(model)
    update = None if optimizer is None else understood(optimizer, names)
    step = Step(forward, _trained(model, update), update, clip_norm, accumulate, allow_unused)
    with timeline() as report, no_garbage_collection():
        with report.phase("capture"), contextlib.nullcontext() if dropout else without_dropout(model):
            signature = Signature(forward, args, {**keywords, **given}, dynamic_shapes=dynamic_shapes)
            captured = record_at_samples(
                lambda: record_step(forward, model, signature, step, step.parameters),
                forward, signature, allow_fixed=allow_fixed,
            )  # fmt: skip
        _check_names(signature, step)
        with report.phase("translation"):
            onnx_model = translate(captured, signature, rules_with(lowerings), opset_version)
            report.describe(captured)
        if strict and captured.constraints:
            raise_decided(captured.constraints)
        with report.phase("optimization"):
            report.passes = dict(optimize(onnx_model))
    return TrainingProgram(onnx_model, report, signature, captured, model, step)


def _check(model: Any, optimizer: Any, accumulate: int) -> None:
    if not isinstance(model, torch.nn.Module):
        raise InputError(f"model: must be a module, got {type(model).__name__}")
    if isinstance(model, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)):
        raise InputError(f"model: must be one module, got {type(model).__name__}", hint="give model.module")
    if accumulate < 1 or (accumulate > 1 and optimizer is None):
        raise InputError(f"accumulate: must be 1, or more with an optimizer, got {accumulate}")


def _trained(model: torch.nn.Module, optimizer: Optimizer | None) -> dict[str, torch.Tensor]:
    """The parameters that are trained, by name."""
    wanted = None if optimizer is None else {name for group in optimizer.groups for name in group.names}
    found: dict[str, torch.Tensor] = {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and (wanted is None or name in wanted)
    }
    if not found:
        raise InputError(
            "model: must have a parameter to train, got none with requires_grad=True"
            + ("" if wanted is None else " that the optimizer has")
        )
    return found


def _check_names(signature: Signature, step: Step) -> None:
    """Inputs of the model may not be called as those of the step.

    Raises:
        InputError: one is.
    """
    rates = [] if step.optimizer is None else [rate_name(step.optimizer, i) for i in range(len(step.optimizer.groups))]
    taken = {SEED, STEP, *rates, *step.parameters}
    for i in signature.tensor_indices:
        if signature.input_names[i] in taken:
            raise InputError(
                f"example_inputs: {signature.input_names[i]!r} is an input of the training step itself",
                hint="give the model's argument another name",
            )
