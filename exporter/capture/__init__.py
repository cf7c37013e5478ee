"""Capture: from Python code to a graph of ATen overloads, by one of several front ends.

Every front end ends in the recorder (`record.py`), and so in one normal form (`graph.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch

import exporter.capture.control_flow
import exporter.capture.representations.composites  # noqa: F401  # their handlers
from exporter.capture.branching.fixing import fixing_few, warn_fixed
from exporter.capture.custom_functions import Keeps
from exporter.capture.dynamo import compiled_function
from exporter.capture.exported_program import dynamic_shapes_of, example_of, exported_function
from exporter.capture.graph import CapturedGraph
from exporter.capture.record import GradientsAsked, record
from exporter.capture.sampling import record_at_samples
from exporter.capture.symbolic_trace import TracedCall, traced_module
from exporter.capture.torch_internals import is_scripted, original_module
from exporter.capture.training.steps import record_with_gradients
from exporter.errors import CaptureError, DataDependentError, DynamicShapeError, ExportError, InputError, ModelError
from exporter.signature import Signature

__all__ = ["FRONT_ENDS", "CapturedGraph", "capture_model"]

Function = Callable[..., Any]
FrontEnd = Callable[[Any, tuple[Any, ...], Mapping[str, Any], Signature], Function]

# Each makes, of a model and one call of it, the function that is recorded.
FRONT_ENDS: dict[str, FrontEnd] = {
    "record": lambda model, args, kwargs, signature: model,
    "symbolic_trace": traced_module,
    "compile": compiled_function,
    "export": lambda model, args, kwargs, signature: exported_function(model, signature),
}


def capture_model(
    model: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    capture: str = "auto",
    allow_fixed: bool = False,
    keeps: Keeps = lambda function: False,
    **naming: Any,
) -> tuple[CapturedGraph, Signature, dict[str, str]]:
    """Capture one call of a model.

    Args:
        model: a module, an `ExportedProgram` or a function.
        args: its positional arguments.
        kwargs: its keyword arguments.
        capture: a front end of `FRONT_ENDS`, or "auto" for the first that works.
        allow_fixed: whether a dynamic dim that the Python code needs as a number may become static.
        keeps: whether an `autograd.Function` stays whole.
        naming: what `Signature` takes: dynamic_shapes, input_names, output_names, sizes, other_calls.

    Returns:
        The graph; the signature; and for each front end that failed before, why.

    Raises:
        InputError: the arguments do not fit.
        ModelError: the model itself fails.
        CaptureError: no front end could capture it.
    """
    if isinstance(model, torch.export.ExportedProgram):
        module = model.module()
        if not args and not kwargs:
            args, kwargs = example_of(model)
        if naming.get("dynamic_shapes") is None:
            plain = Signature(module.forward, args, kwargs, input_names=naming.get("input_names"))
            naming["dynamic_shapes"] = dynamic_shapes_of(model, plain)
        captured, signature = _capture("record", module, args, kwargs, naming, allow_fixed, keeps)
        captured.front_end = "export"
        return captured, signature, {}
    if not callable(model):
        raise InputError(f"model: must be a module, a function or an ExportedProgram, got {type(model).__name__}")
    if capture != "auto" and capture not in FRONT_ENDS:
        raise InputError(f"capture: must be auto, {', '.join(FRONT_ENDS)}, got {capture!r}")
    model = original_module(model)
    rejected: dict[str, str] = {}
    errors: list[ExportError] = []
    choices = ["record"] if is_scripted(model) else list(FRONT_ENDS)  # Python code is not there for others
    for front_end in choices if capture == "auto" else [capture]:
        try:
            return *_capture(front_end, model, args, kwargs, naming, allow_fixed, keeps), rejected
        except ExportError as error:
            if not errors and isinstance(error, (InputError, ModelError, DataDependentError, DynamicShapeError)):
                raise  # no other front end can know better
            rejected[front_end] = error.problem
            errors.append(error)
    raise errors[0]


def _forward_of(model: torch.nn.Module) -> Callable[..., Any]:
    try:
        return model.forward
    except AttributeError as error:  # torch.jit.script leaves it out where it has several, as of nn.LSTM
        raise ModelError(
            f"model: must have a forward() that can be called: {error}",
            hint="script a module that calls this one, or give this one as it was before torch.jit.script",
        ) from error


def _capture(
    front_end: str,
    model: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    naming: Mapping[str, Any],
    allow_fixed: bool,
    keeps: Keeps,
) -> tuple[CapturedGraph, Signature]:
    """Record the function of one front end; dims without a name that the model fixes become static."""
    forward = _forward_of(model) if isinstance(model, torch.nn.Module) else model

    def attempt(fixed: Collection[str]) -> tuple[CapturedGraph, Signature]:
        signature = Signature(forward, args, kwargs, **naming)
        signature.fix(dict.fromkeys(fixed, ""))
        captured = _recorded(front_end, model, signature, allow_fixed, keeps)
        captured.front_end = front_end
        return captured, signature

    try:
        captured, signature = attempt(())
    except CaptureError as error:
        captured, signature = fixing_few(attempt, Signature(forward, args, kwargs, **naming), error)
    if not allow_fixed:
        warn_fixed(signature.fixed_dims.items())
    return captured, signature


def _recorded(front_end: str, model: Any, signature: Signature, allow_fixed: bool, keeps: Keeps) -> CapturedGraph:
    """The record at samples of the dynamic sizes at which the model works."""

    def recorded() -> CapturedGraph:
        args, kwargs = signature.unflatten(signature.leaves)  # anew: a front end may run the model, which fills caches
        function = FRONT_ENDS[front_end](model, args, kwargs, signature)
        owner = function if isinstance(function, torch.nn.Module) else model
        owner = owner if isinstance(owner, torch.nn.Module) else None
        try:
            captured = record(function, owner, signature, keeps)
        except GradientsAsked:
            captured = record_with_gradients(function, owner, signature)
        if isinstance(function, TracedCall):
            captured.decisions = function.decisions + captured.decisions
        return captured

    return record_at_samples(recorded, model, signature, allow_fixed=allow_fixed)
