"""Python decisions that depend on a tensor's values: both answers are tried.

`assert lengths.max() <= limit` and `if values.isnan().any(): raise` are checks of the input: a graph
holds for the inputs that pass.  So an answer after which the model's own code raises is not the answer.
Where the model goes on after both, the graph goes both ways, by an If.
"""

from __future__ import annotations

import ast
import linecache
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from exporter.capture.branching.joining import Apart, joined
from exporter.capture.graph import CapturedGraph
from exporter.errors import DataDependentError

_LIMIT = 6  # decisions that one call may settle
_WAYS = 16  # that a graph may have: each is recorded, and part of the model
_TORCH = Path(torch.__file__).parent
_OWN = (str(_TORCH), str(Path(__file__).parent.parent))
_CHECKING = (str(_TORCH / "nn"), str(_TORCH / "distributions"))  # what torch has of models: it checks values too


class Undecided(BaseException):
    """The model's code asks for an answer that nobody has given yet; no `except Exception` may catch it."""

    def __init__(self, error: DataDependentError) -> None:
        super().__init__(error)
        self.error = error


def explored(record: Callable[[Sequence[bool]], CapturedGraph], answers: Sequence[bool] = ()) -> CapturedGraph:
    """The graph of all ways that the model can go.

    Args:
        record: records the model, given the answers to its first decisions by values.
        answers: those that are settled.

    Raises:
        DataDependentError: the ways are too many, or do not return the same kinds of results.
    """
    try:
        return record(answers)
    except Undecided as question:
        error = question.error
    if len(answers) >= _LIMIT:
        raise error
    outcomes: list[CapturedGraph | Exception] = []
    refusal: Exception = error
    for answer in (True, False):
        try:
            outcomes.append(explored(record, [*answers, answer]))
        except DataDependentError as problem:
            if not (error.inputs or error.layouts):
                error.inputs, error.layouts = problem.inputs, problem.layouts
            raise error from problem  # a later one that is one too many
        except Exception as problem:
            if is_raised_by_user(problem):
                refusal = problem
            else:
                outcomes.append(problem)
    if not outcomes:  # whatever the values are, the model refuses these sizes
        raise refusal
    graphs = [outcome for outcome in outcomes if isinstance(outcome, CapturedGraph)]
    if len(outcomes) == 1 and not graphs and isinstance(outcomes[0], Exception):
        raise outcomes[0]
    if len(outcomes) == 1:
        return graphs[0]
    if len(graphs) != 2:
        raise error from next((outcome for outcome in outcomes if isinstance(outcome, Exception)), None)
    then, other = graphs
    if _are_same(then, other):
        return then
    if then.ways + other.ways > _WAYS:
        raise error
    try:
        return joined(then, other, len(answers))
    except Apart as reason:
        apart = DataDependentError(f"a decision by values: {reason}", hint=error.hint, source=error.source)
        apart.inputs, apart.layouts = error.inputs, error.layouts
        raise apart from None


def is_raised_by_user(error: Exception) -> bool:
    """Whether a `raise` or `assert` of the model's code raised it, and not a call that cannot be recorded."""
    if not is_in_users_code(error):
        return False
    frame = traceback.extract_tb(error.__traceback__)[-1]
    try:
        tree = ast.parse("".join(linecache.getlines(frame.filename)))
    except SyntaxError:
        return False
    line = frame.lineno or 0
    return any(
        isinstance(node, (ast.Raise, ast.Assert)) and node.lineno <= line <= (node.end_lineno or node.lineno)
        for node in ast.walk(tree)
    )


def is_in_users_code(error: Exception) -> bool:
    """Whether it arose in the model's own code, and not in what that calls of torch."""
    filename = traceback.extract_tb(error.__traceback__)[-1].filename
    return not filename.startswith((*_OWN, "<")) or filename.startswith(_CHECKING)


def _are_same(first: CapturedGraph, second: CapturedGraph) -> bool:
    """Whether two recordings compute the same, a decision that only wrote a log between them."""
    return (
        str(first.graph) == str(second.graph)
        and list(map(str, first.outputs)) == list(map(str, second.outputs))
        and {name: str(node) for name, node in first.mutations.items()}
        == {name: str(node) for name, node in second.mutations.items()}
    )
