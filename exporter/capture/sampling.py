"""At which samples of the dynamic sizes a model is recorded: what it refuses at one choice it may take at another."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import torch

from exporter import structures
from exporter.capture.decisions import Constraint, constraints_of
from exporter.capture.graph import CapturedGraph, user_line
from exporter.capture.interpreter import intermediates
from exporter.eager import call, untouched_values
from exporter.errors import CaptureError, DynamicShapeError, ExportError, ModelError
from exporter.signature import Signature, is_value


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
        if problem is not None and not _is_of_example(captured, model, signature):
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


def _is_of_example(captured: CapturedGraph, model: Any, signature: Signature) -> bool:
    """Whether what was recorded is what the code does at the example's sizes, but for what it has kept of these.

    What it has kept it compares with the sizes, or what is computed of them, by == or !=: `h // 2 != 8` refuses the
    example, and none of its multiples.  Then the model is run, on the example: the graph must give the same there.
    """
    sizes = signature.sizes_of_example()
    if signature.sizes_at(0) == sizes:
        return True
    multiples = [{name: size * times for name, size in sizes.items()} for times in (2, 3, 4, 5)]
    answers = [decision.size for decision in captured.decisions if not decision.fixed]  # the example's come second
    if not all(len(set(size.values[:2])) == 1 or size.operation in _EQUALITIES for size in answers):
        return False
    refusing = [constraint for constraint in captured.constraints if not constraint.admits(sizes)]
    if not all(" != " in each.expression and all(map(each.admits, multiples)) for each in refusing):
        return False
    return not refusing or _gives_what_eager_does(captured, model, signature)


def _gives_what_eager_does(captured: CapturedGraph, model: Any, signature: Signature) -> bool:
    """Whether the graph gives for the example what the model itself does."""
    tensors = [torch.as_tensor(signature.leaves[i]) for i in signature.tensor_indices]
    nodes = {item for item in captured.outputs if isinstance(item, torch.fx.Node)}
    try:
        with untouched_values(model):
            expected = [leaf for _, leaf in structures.flatten(call(model, signature, signature.leaves))]
        values = intermediates(captured, tensors, nodes)
    except Exception:  # what torch refuses at these sizes, in the graph or in the model
        return False
    results = [values[item] if isinstance(item, torch.fx.Node) else item for item in captured.outputs]
    return len(results) == len(expected) and all(map(_is_close, results, expected))


def _is_close(result: Any, expected: Any) -> bool:
    if not is_value(expected):
        return True
    result, expected = torch.as_tensor(result), torch.as_tensor(expected)
    if (result.shape, result.dtype) != (expected.shape, expected.dtype) or not expected.is_floating_point():
        return torch.equal(result, expected)
    scale = expected[expected.isfinite()].abs().max().item() if expected.isfinite().any() else 0.0
    return torch.allclose(result, expected, rtol=_CLOSE, atol=_CLOSE * scale, equal_nan=True)


_CLOSE = 1e-3  # of the scale of a result: what is computed and what was kept of it differ in rounding

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
