"""Measure what lowering rules cost by the nodes that they emit, over the zoo.

The time is the thread's own on the processor, so that what else the machine does leaves it almost alone; of each
rule the round in which it took least counts. It includes the shape inference of the nodes.
"""

from __future__ import annotations

import time
from functools import reduce
from operator import add
from typing import Annotated
from unittest.mock import patch

import bench
import typer

BAR_MICROSECONDS = 60
SLOWEST = 10


def main(
    models: Annotated[list[str] | None, typer.Argument(help="cases of the zoo; by default all")] = None,
    rounds: Annotated[int, typer.Option(help="timed exports of each model, static and dynamic")] = 3,
) -> None:
    """Print the slowest rules."""
    import torch
    from zoo import CASES

    report = bench.Report(
        "rules",
        "Lowering rules by the time for an emitted node",
        ("rule", "µs a node", "nodes", "calls", "total, ms", "models"),
        what=f"{', '.join(models or ['every case of the zoo'])}, static and dynamic, {rounds} times each after a"
        f" warm-up; processor time of the fastest round. The table has the {SLOWEST} slowest that emit nodes, and all"
        f" above {BAR_MICROSECONDS} µs.",
    )
    found: dict[str, list] = {}
    failed = []
    for name in models or CASES:
        with torch.no_grad(), patch("exporter.translation.perf_counter", time.thread_time):
            times = bench.attempt(fastest, CASES[name], rounds)
        if isinstance(times, Exception):
            failed.append(f"{name}: {bench.short(times)}")
            continue
        for overload, cost in times.items():
            found.setdefault(overload, []).append(cost)
        print(name, len(times), "rules", flush=True)
    totals = {overload: reduce(add, costs) for overload, costs in found.items()}
    ranked = sorted((cost for cost in totals.values() if cost.nodes), key=lambda cost: -cost.seconds_a_node)
    above = [cost for cost in ranked if cost.seconds_a_node * 1e6 > BAR_MICROSECONDS]
    for cost in ranked[: max(SLOWEST, len(above))]:
        report.add(
            cost.overload, cost.seconds_a_node * 1e6, cost.nodes, cost.calls, cost.seconds * 1e3,
            len(found[cost.overload]),
        )  # fmt: skip
    seconds, nodes = sum(cost.seconds for cost in totals.values()), sum(cost.nodes for cost in totals.values())
    report.note(
        f"All {len(totals)} rules together: {1e6 * seconds / nodes:.1f} µs a node, {nodes} nodes;"
        f" the bar is {BAR_MICROSECONDS} µs on average. {len(above)} of {len(ranked)} rules are above it."
    )
    for failure in failed:
        report.note(f"Left out: {failure}.")
    report.finish()


def fastest(case, rounds: int) -> dict:
    """Each rule's cost in the exports of one model, static and dynamic, from its fastest round."""
    model = case.build()
    best: dict[str, object] = {}
    for shapes in (None, case.dynamic_shapes):
        runs: list[dict] = []
        for _ in range(1 + rounds):
            runs.append(dict(bench.export_ours(model, case.inputs(), shapes).report.timeline.rules))
        for overload in runs[0]:
            cost = min((run[overload] for run in runs[1:]), key=lambda cost: cost.seconds)
            best[overload] = best[overload] + cost if overload in best else cost
    return best


if __name__ == "__main__":
    typer.run(main)
