"""Make a model smaller and faster without changing what it computes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

import onnx_ir as ir

from exporter.optimization import (
    batch_norm,
    common_subexpressions,
    constants,
    dead_code,
    fusion,
    identities,
    layout,
)
from exporter.optimization.rewriting import Rewriter
from exporter.profile.timeline import current
from exporter.profile.watching import watch_rewriter

__all__ = ["PASSES", "Rewriter", "optimize"]

PASSES: dict[str, Callable[[Rewriter], int]] = {
    "common subexpressions": common_subexpressions.run,
    "identities": identities.run,
    "layout": layout.run,
    "constants": constants.run,
    "batch norm": batch_norm.run,
    "fusion": fusion.run,
}
"""In the order in which they run. Dead code goes first; of its own a pass leaves only constants."""

_MOST_ROUNDS = 8


def optimize(model: ir.Model, *, keep: Collection[str] = ()) -> Counter[str]:
    """Run all passes on the model, in place, until none finds anything.

    Inputs and outputs keep their names and types. No weight is read: a folded one is computed when
    it is written.

    Args:
        model: Is changed in place.
        keep: Names of further values that must stay: initializers and outputs of nodes.

    Returns:
        How many rewrites each pass made, under its name in `PASSES` or "dead code".
    """
    rewriter = Rewriter(model, keep)
    timeline = current()
    if timeline.spans is not None:
        watch_rewriter(rewriter, timeline.spans)
    report = Counter(dict.fromkeys(PASSES, 0))

    def run(name: str, function: Callable[[Rewriter], int]) -> None:
        with timeline.phase(name) as phase:
            rewrites = function(rewriter)
            report[name] += rewrites
            phase.counts(rewrites, "rewrites")

    run("dead code", dead_code.run)
    for _ in range(_MOST_ROUNDS):
        before = rewriter.changes
        for name, function in PASSES.items():
            run(name, function)
        if rewriter.changes == before:
            break
    run("dead code", dead_code.run_on_initializers)
    return report
