"""How the tests of training compare a step in onnxruntime with torch's own."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from kinks import expose_arguments, slopes_at

from exporter import TrainingProgram, export_training
from exporter.training import TrainingSession

Batch = tuple[Any, Any]  # inputs and targets, as export_training takes them


def torch_loss(model: torch.nn.Module, loss: Callable[..., Any] | None, batch: Batch) -> torch.Tensor:
    """What torch makes of a batch."""
    inputs, targets = batch
    result = model(**inputs) if isinstance(inputs, Mapping) else model(*inputs)
    if loss is None:
        return result if isinstance(result, torch.Tensor) else result.loss
    return loss(result, *(targets if isinstance(targets, tuple) else (targets,)))


def check_gradients(
    model: torch.nn.Module, loss: Callable[..., Any] | None, batches: Sequence[Batch], *, tolerance: float = 1e-3,
    same_slopes: bool = False, **options: Any,
) -> TrainingProgram:  # fmt: skip
    """Export without an optimizer by the first batch; compare loss, gradients and buffers on every batch.

    Each gradient is held to a share of its own scale, those that are zero but for rounding to 1e-3 of the
    largest gradient's.  With `same_slopes`, rounding may decide on which side of a kink a unit is; see `kinks`.
    """
    inputs, targets = batches[0]
    program = export_training(model, inputs, targets=targets, loss=loss, **options)
    exposed = expose_arguments(program) if same_slopes else []
    session = program.session(threads=1)
    for batch in batches:
        twin = copy.deepcopy(model)
        actual = session.run(*batch)
        with slopes_at([actual[name] for name in exposed]) if same_slopes else contextlib.nullcontext():
            expected = torch_loss(twin, loss, batch)
        expected.backward()
        assert abs(float(actual["loss"]) - expected.item()) <= tolerance * max(abs(expected.item()), 1e-3)
        wanted = {name: p.grad for name, p in twin.named_parameters() if p.grad is not None}
        largest = max(float(gradient.abs().max()) for gradient in wanted.values())
        assert {f"{name}.grad" for name in wanted} == {name for name in actual if name.endswith(".grad")}
        for name, gradient in wanted.items():
            difference = float((actual[f"{name}.grad"] - gradient).abs().max())
            assert difference <= tolerance * max(float(gradient.abs().max()), 1e-3 * largest), name
        for name, buffer in twin.named_buffers():
            if f"{name}.updated" in actual:
                torch.testing.assert_close(actual[f"{name}.updated"], buffer, rtol=1e-3, atol=1e-4)
            else:
                torch.testing.assert_close(buffer, dict(model.named_buffers())[name])
    return program


def check_steps(
    model: torch.nn.Module, loss: Callable[..., Any] | None, make: Callable[[Any], torch.optim.Optimizer],
    batches: Sequence[Batch], *, steps: int = 5, tolerance: float = 1e-3, rates: Sequence[float] | None = None,
    after: Callable[[torch.nn.Module, int], bool] = lambda model, step: True, each_alone: bool = False, **options: Any,
) -> TrainingProgram:  # fmt: skip
    """Train in onnxruntime and in torch from the same start; losses and weights stay together.

    `make` takes the model and returns the optimizer.  `rates` are the learning rates of the steps.  `after`
    is called between torch's backward and its update: it may change gradients, and says whether to update.
    With `each_alone`, torch makes each step from where onnxruntime's training is, and updates are compared as
    wholes, for rounding decides on which side of a kink a unit is; see `kinks`.
    """
    twin = copy.deepcopy(model)
    inputs, targets = batches[0]
    program = export_training(model, inputs, targets=targets, loss=loss, optimizer=make(model), **options)
    session = program.session(threads=1)
    optimizer = make(twin)
    for step in range(steps):
        batch = batches[step % len(batches)]
        rate = None if rates is None else rates[step]
        if each_alone:
            _take_over(session, twin, optimizer)
            start = _all_weights(session.state_dict(), twin)
        actual = session.step(*batch, learning_rate=rate)
        expected = torch_loss(twin, loss, batch)
        expected.backward()
        for group in optimizer.param_groups if rate is not None else ():
            group["lr"] = rate
        if after(twin, step):
            optimizer.step()
            optimizer.zero_grad()
        assert abs(actual - expected.item()) <= tolerance * max(abs(expected.item()), 1e-3), step
        if each_alone:
            _check_same_update(session, twin, start)
    if not each_alone:
        _check_same_weights(session, twin, 10 * tolerance)
    return program


def _take_over(session: TrainingSession, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put the weights of a session and its momenta into a model of torch and its optimizer."""
    model.load_state_dict(session.state_dict())
    if session.steps:
        for name, tensor in session.state().items():
            parameter, _, kept = name.rpartition(".")
            if kept == "momentum_buffer":
                optimizer.state[model.get_parameter(parameter)][kept] = tensor.clone()


def _check_same_weights(session: TrainingSession, model: torch.nn.Module, tolerance: float) -> None:
    trained = session.state_dict()
    for name, tensor in model.state_dict().items():
        scale = max(float(tensor.double().abs().max()), 1e-2)
        assert float((trained[name].double() - tensor.double()).abs().max()) <= tolerance * scale, name


def _check_same_update(session: TrainingSession, model: torch.nn.Module, before: torch.Tensor) -> None:
    ours, torchs = (_all_weights(state, model) - before for state in (session.state_dict(), model.state_dict()))
    assert (ours - torchs).norm() <= 0.1 * torchs.norm()


def _all_weights(state: Mapping[str, torch.Tensor], model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([state[name].detach().flatten() for name, _ in model.named_parameters()])
