"""Measure what the phase timeline costs an export, and what a profile costs.

Two ways: the operations of the clock that an export makes, counted and timed by themselves; and exports with
and without the timeline, interleaved. Both in processor time, the fastest of many rounds: what else the machine
does only ever adds to it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any
from unittest.mock import patch

import bench
import typer

MODELS = ("mnist_cnn", "bert_small", "t5_small", "resnet50", "bert")
BAR = 0.02


def main(
    models: Annotated[list[str] | None, typer.Argument(help="cases of the zoo")] = None,
    rounds: Annotated[int, typer.Option(help="timed exports of each kind")] = 40,
) -> None:
    """Print the cost as a share of the export."""
    import torch
    from zoo import CASES

    from exporter import export
    from exporter.profile.recording import Profile

    bench.use_processor_time()
    phase, rule, inference = unit_costs()
    report = bench.Report(
        "profiler_cost",
        "What the timeline of every export costs",
        ("model", "export, ms", "clock, µs", "share", "without timeline, ms", "difference", "with a profile, ms"),
        what=f"Static exports, interleaved, the processor time of the fastest of {rounds}. Clock: what the phases, the"
        " calls of rules and the shape inferences that were timed cost, counted in the export and timed by themselves.",
    )
    shares = []
    for name in models or MODELS:
        case = CASES[name]
        model = case.build()
        with torch.no_grad():
            runs = {
                "on": partial(bench.export_ours, model, case.inputs()),
                "off": partial(_untimed, model, case.inputs()),
                "profile": partial(_quietly, export, model, case.inputs(), profile=Profile()),
            }
            timeline = runs["on"]().report.timeline
            times = bench.interleaved(runs, rounds)
        best = {kind: min(values) for kind, values in times.items()}
        inferences = timeline.phases["export", "translation", "shape inference"].count
        cost = phase * sum(p.runs for p in timeline.phases.values()) + inference * inferences
        cost += rule * sum(r.calls for r in timeline.rules.values())
        shares.append(cost / best["on"])
        difference = best["on"] / best["off"] - 1
        report.add(
            name, best["on"] * 1e3, cost * 1e6, f"{shares[-1]:.2%}", best["off"] * 1e3, f"{difference:+.1%}",
            best["profile"] * 1e3,
        )  # fmt: skip
    report.note(f"At most {max(shares):.2%} by the clock's operations; the bar is {BAR:.0%}.")
    report.note(
        f"A phase costs {phase * 1e6:.2f} µs, a rule's call {rule * 1e6:.2f}, an inference {inference * 1e6:.2f}."
    )
    report.finish()


def unit_costs() -> tuple[float, float, float]:
    """What the clock of one phase, one rule's call and one shape inference costs, in seconds."""
    from exporter.profile.timeline import RuleTime, Timeline

    timeline = Timeline()
    clock = time.perf_counter
    account = {"rule": RuleTime("rule")}

    def phase() -> None:
        with timeline.phase("phase") as it:
            it.counts(1, "nodes")

    class Root:
        emitted = inferences = 0
        seconds = 0.0

    root = Root()

    def rule() -> None:
        found = account.get("rule")
        emitted, started = root.emitted, clock()
        found.seconds += clock() - started
        found.nodes += root.emitted - emitted
        found.calls += 1

    def inference() -> None:
        started = clock()
        root.inferences += 1
        root.emitted += 1
        root.seconds += clock() - started

    return tuple(_cost(operation) for operation in (phase, rule, inference))


def _cost(operation: Any, repeats: int = 5000) -> float:
    def run() -> None:
        for _ in range(repeats):
            operation()

    return min(bench.seconds(run) for _ in range(20)) / repeats


@contextlib.contextmanager
def untimed() -> Iterator[None]:
    """Exports as they would be without a timeline."""
    from aten_lowering.root import Root
    from exporter.profile.timeline import Phase, _Running
    from exporter.translation import Translator
    from shape_inference import infer_call

    def applied(translator: Any, rule: Any, args: Any, kwargs: Any) -> Any:
        return rule(translator.op, args, kwargs)

    def infer(root: Any, op_type: Any, types: Any, attributes: Any, domain: Any, outputs: Any, fresh: Any) -> Any:
        results = infer_call(
            op_type, types, attributes, domain=domain, version=root.opset_version, output_count=outputs, fresh=fresh
        )
        return tuple(map(root.equal_sizes.in_type, results))

    nothing = Phase(("nothing",))
    with (
        patch.object(Translator, "_applied", applied),
        patch.object(Root, "infer", infer),
        patch.object(_Running, "__init__", lambda *_: None),
        patch.object(_Running, "__enter__", lambda _: nothing),
        patch.object(_Running, "__exit__", lambda *_: None),
    ):
        yield


def _untimed(model: Any, inputs: Any) -> None:
    with untimed():
        bench.export_ours(model, inputs)


def _quietly(export: Any, *args: Any, **kwargs: Any) -> Any:
    with bench.quiet():
        return export(*args, **kwargs)


if __name__ == "__main__":
    typer.run(main)
