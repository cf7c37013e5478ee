"""The same checks as tasks of Ray, for zoos of thousands of models: https://docs.ray.io.

A task runs its model in a process of its own, under the same limits as on one machine, so that a model that
crashes has its verdict. A worker that is lost, with its machine or without, is another matter: Ray starts the
task again elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from exporter.check.isolation import run_models
from exporter.check.outcomes import Event, Finished, Outcome, Verdict
from exporter.check.specs import ModelSpec
from exporter.errors import InputError

RETRIES = 3


def run_models_on_ray(
    specs: Sequence[ModelSpec], *, address: str | None = None, retries: int = RETRIES
) -> Iterator[Event]:
    """Check models as tasks of Ray; outcomes come as they are ready.

    Args:
        specs: the models.
        address: of the cluster, as `ray.init` takes it; where None, RAY_ADDRESS, or else a new local one.
        retries: how often a task whose worker was lost is started again.

    Raises:
        InputError: Ray is not installed.
    """
    ray = _imported()
    ours = not ray.is_initialized()
    if ours:
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        task = ray.remote(max_retries=retries)(_outcome)
        pending = {task.options(name=spec.name).remote(spec): spec for spec in specs}
        while pending:
            ready, _ = ray.wait(list(pending))
            for reference in ready:
                yield Finished(_fetched(ray, reference, pending.pop(reference), retries))
    finally:
        if ours:
            ray.shutdown()


def _outcome(spec: ModelSpec) -> Outcome:
    """The body of a task."""
    return next(event.outcome for event in run_models([spec]) if isinstance(event, Finished))


def _fetched(ray: Any, reference: Any, spec: ModelSpec, retries: int) -> Outcome:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return Outcome(spec.name, Verdict.CRASHED, f"its worker was lost, {retries} retries included: {reason}")


def _imported() -> Any:
    try:
        import ray
    except ImportError as error:
        raise InputError("--engine ray: Ray is not installed", hint="pip install 'fx2onnx[ray]'") from error
    return ray
