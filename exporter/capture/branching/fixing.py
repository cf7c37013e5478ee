"""What a model fixes: dims that a user left to the exporter (`Dim.AUTO`, `Dim.DYNAMIC`), values of masks and kinds.

A dim with a name of the user's is never fixed by itself.  One without becomes static where the model works at
no other size, and the report says so.  An input that tells only how the call is laid out, as an attention mask
does, holds the example's values where Python code decides by them in a way that a graph cannot; one of ids holds
certain ids where the example does, and is an input still.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable

from exporter.capture.graph import CapturedGraph
from exporter.errors import CaptureError, DataDependentError, FixedDimWarning, FixedValuesWarning
from exporter.signature import Signature

__all__ = ["fixing_few", "warn_fixed", "warn_fixed_values"]

Capture = tuple[CapturedGraph, Signature]
_MANY = 12  # so many dims are tried in groups alone


def fixing_few(attempt: Callable[[Collection[str]], Capture], signature: Signature, error: CaptureError) -> Capture:
    """Capture with as few dims fixed as the model needs, of those without a name of the user's.

    Args:
        attempt: captures with some dims fixed.
        signature: the call, no dim fixed yet.
        error: what came of that.

    Raises:
        CaptureError: the error, where it does not come from these dims.
    """
    groups = signature.automatic_groups()
    fixed = {name for group in groups for name in group}
    if not fixed or isinstance(error, DataDependentError):
        raise error
    try:
        best = attempt(fixed)
    except CaptureError:
        raise error from None
    singles = [[name] for group in groups if len(group) > 1 for name in group] if len(fixed) <= _MANY else []
    for group in [*groups, *singles]:
        fewer = fixed.difference(group)
        if len(fewer) == len(fixed):
            continue
        try:
            best, fixed = attempt(fewer), fewer
        except CaptureError:
            continue
    _, found = best
    found.fixed_dims = {name: (size, error.source) for name, (size, _) in found.fixed_dims.items()}
    return best


def warn_fixed(dims: Iterable[tuple[str, tuple[int, str]]]) -> None:
    """Warn of dims without a name that became static."""
    for name, (size, source) in dims:
        where = f" by {source}" if source else ""
        warnings.warn(
            f"dynamic dim {name}: is fixed at {size}{where}; the model works at no other size",
            FixedDimWarning,
            stacklevel=2,
        )


def warn_fixed_values(error: DataDependentError) -> None:
    """Warn of inputs whose values are fixed, because of what could not be recorded otherwise."""
    for name in sorted(error.layouts):
        warnings.warn(
            f"{name}: holds certain numbers where the example does, by which the model's Python code decides: "
            f"{error.source}",
            FixedValuesWarning,
            stacklevel=2,
        )
    for name in sorted(error.inputs):
        warnings.warn(
            f"{name}: is fixed at the example's values, by which the model's Python code decides: {error.source}",
            FixedValuesWarning,
            stacklevel=2,
        )
