"""Capture: from Python code to a graph of ATen overloads, by one of several front ends.

Every front end ends in the recorder (`record.py`), and so in one normal form (`graph.py`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NoReturn

import torch

import exporter.capture.composites
import exporter.capture.control_flow  # noqa: F401  # their handlers
from exporter.capture.custom_functions import Keeps
from exporter.capture.decisions import Constraint, constraints_of
from exporter.capture.dynamo import compiled_function
from exporter.capture.exported_program import dynamic_shapes_of, example_of, exported_function
from exporter.capture.fixing import fixing_few, warn_fixed
from exporter.capture.graph import CapturedGraph, user_line
from exporter.capture.record import GradientsAsked, record
from exporter.capture.symbolic_trace import TracedCall, traced_module
from exporter.capture.torch_internals import is_scripted, original_module
from exporter.capture.training import record_with_gradients
from exporter.eager import call, untouched_values
from exporter.errors import CaptureError, DataDependentError, DynamicShapeError, ExportError, InputError, ModelError
from exporter.signature import Signature

__all__ = ["FRONT_ENDS", "CapturedGraph", "capture_model", "record_at_samples"]

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
        if not args and not kwargs:
            args, kwargs = example_of(model)
        if naming.get("dynamic_shapes") is None:
            naming["dynamic_shapes"] = dynamic_shapes_of(model)
        captured, signature = _capture("record", model.module(), args, kwargs, naming, allow_fixed, keeps)
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


def record_at_samples(
    recorded: Callable[[], CapturedGraph], model: Any, signature: Signature, *, allow_fixed: bool
) -> CapturedGraph:  # fmt: skip
    """What a function records, at samples of the dynamic sizes at which the model works.

    Raises:
        ExportError: it works at none; the error says why.
    """
    problem: Exception | None = None
    for _ in _sample_choices(signature):
        try:
            captured = recorded()
        except ExportError:
            raise
        except Exception as error:
            problem = problem or error
            continue
        captured.constraints = constraints_of(captured.decisions, signature.sample_sizes, signature.symbols())
        if problem is not None and not _is_of_example(captured, signature):
            continue
        fixed = [constraint for constraint in captured.constraints if constraint.fixed]
        if not fixed:
            return captured
        may_fix = {name for group in signature.automatic_groups() for name in group}
        for constraint in () if allow_fixed else fixed:
            if not may_fix.issuperset(constraint.dims):
                _raise_fixed(constraint)
        signature.fix({name: constraint.source for constraint in fixed for name in constraint.dims})
        return recorded()
    assert problem is not None  # the loop ended by an error
    raise _explained(problem, model, signature) from problem


def _is_of_example(captured: CapturedGraph, signature: Signature) -> bool:
    """Whether what was recorded is what the code does at the example's sizes, but for what it has kept of these.

    What it has kept it compares with the sizes, or what is computed of them, by == or !=: `h // 2 != 8` refuses the
    example, and none of its multiples.
    """
    sizes = signature.sizes_of_example()
    if signature.sizes_at(0) == sizes:
        return True
    multiples = [{name: size * times for name, size in sizes.items()} for times in (2, 3, 4, 5)]
    answers = [decision.size for decision in captured.decisions if not decision.fixed]  # the example's come second
    alike = all(len(set(size.values[:2])) == 1 or size.operation in _EQUALITIES for size in answers)
    return alike and all(
        each.admits(sizes) or (" != " in each.expression and all(map(each.admits, multiples)))
        for each in captured.constraints
    )


_EQUALITIES = (operator.eq, operator.ne)


def _raise_fixed(constraint: Constraint) -> NoReturn:
    raise DynamicShapeError(
        f"dynamic dim {', '.join(constraint.dims)}: the model's code needs a number here, which fixes "
        f"{constraint.expression}",
        hint="compute with the size instead (no int(), no range() over it), or export with allow_fixed=True",
        source=constraint.source,
    )


def _sample_choices(signature: Signature) -> Iterator[None]:
    """Choose other samples each time it is asked: what a model refuses at one choice it may take at another."""
    if not signature.is_dynamic:
        yield
        return
    for relate in (lambda: None, lambda: signature.relate(sums=False), lambda: signature.relate(sums=True)):
        relate()
        for attempt in (0, 1, 2, 3):  # multiples come before sums: a size of 6 is not 2 + 4 because it may be
            for near in (False, True):
                signature.choose_samples(attempt, near=near)
                yield
                if not attempt:  # what a call before has left in the model may be of use at the example's size alone
                    signature.choose_samples(attempt, near=near, elsewhere=True)
                    yield


def _fixed_before(signature: Signature) -> str:
    """What the model's code fixed before it failed, which may be why."""
    found = constraints_of(signature.decided, signature.sample_sizes, signature.symbols())
    fixed = next((constraint for constraint in found if constraint.fixed), None)
    return "" if fixed is None else f"; {fixed.source} needs a number, which fixes {fixed.expression}"


def _explained(error: Exception, model: Any, signature: Signature) -> ExportError:
    """The error of ours for what the model's code raised while it was recorded."""
    message = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
    source = user_line(error)
    try:
        with untouched_values(model):
            call(model, signature, signature.leaves)
    except Exception as eager:
        return ModelError(
            f"the model fails in eager PyTorch: {type(eager).__name__}: {eager}",
            hint="check the example inputs by calling model(*example_inputs)",
            source=user_line(eager),
        )
    if signature.is_dynamic:
        names = ", ".join(signature.sample_sizes)
        return DynamicShapeError(
            f"the model does not work at other sizes of its dynamic dims ({names}): {message}",
            hint="leave out the dim that the line fixes, or give equal dims equal names" + _fixed_before(signature),
            source=source,
        )
    return CaptureError(f"the model cannot be recorded: {message}", source=source)
