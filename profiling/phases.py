"""Measure the share of each phase of an export, ours beside torch.onnx's: where each one's time goes.

All three save the model, to a folder that is gone afterwards.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import bench
import plots
import typer

MODELS = ("resnet50", "bert", "t5")


def main(
    models: Annotated[list[str] | None, typer.Argument(help="cases of the zoo")] = None,
    rounds: Annotated[int, typer.Option(help="timed exports of each kind")] = 3,
) -> None:
    """Print each phase's seconds and share."""
    import torch
    from zoo import CASES

    report = bench.Report(
        "phases",
        "The phases of an export, ours beside torch.onnx's",
        ("model", "exporter", "total, s", *plots.PHASES),
        what=f"Static export and saving, interleaved, the median of {rounds} after a warm-up; each phase's seconds and"
        " its share. Registration, optimization and so on are what the exporters do in functions of their own;"
        " other is what lies between them.",
    )
    shares: dict[str, dict[str, float]] = {}
    for name in models or MODELS:
        case = CASES[name]
        model = case.build()
        with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
            found = measured(model, case.inputs, Path(folder), rounds)
        for kind, phases in found.items():
            total = sum(phases.values())
            shares[f"{name}, {kind}"] = {phase: seconds / total for phase, seconds in phases.items()}
            cells = [f"{phases[p]:.3g} ({phases[p] / total:.0%})" if p in phases else "" for p in plots.PHASES]
            report.add(name, kind, total, *cells)
    report.picture(plots.bars(report.name, shares, "share of export and saving"), "Share of each phase")
    report.finish()


def measured(model: Any, inputs: Callable[[], Any], folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Exporter -> phase -> its median time in seconds, in interleaved rounds."""
    import their_spans

    runs: dict[str, Callable[[], dict[str, float]]] = {
        "ours": lambda: our_phases(model, inputs(), folder),
        "torch.onnx": lambda: chart_phases(their_spans.dynamo_chart(model, inputs(), folder=folder)),
        "TorchScript": lambda: chart_phases(their_spans.torchscript_chart(model, inputs(), folder)),
    }
    for run in runs.values():
        run()
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in runs}
    for _ in range(rounds):
        for kind, run in runs.items():
            found[kind].append(run())
    return {
        kind: {phase: statistics.median(times.get(phase, 0.0) for times in each) for phase in each[0]}
        for kind, each in found.items()
    }


def our_phases(model: Any, inputs: Any, folder: Path) -> dict[str, float]:
    """The phases that every export of ours keeps; decomposition is told apart from translation, as theirs is."""
    program = bench.export_ours(model, inputs)
    program.save(folder / "ours.onnx")
    timeline = program.report.timeline
    times = {phase.name: phase.seconds for top in ("export", "save") for phase in timeline.inside(top)}
    times["decomposition"] = timeline.seconds("export", "translation", "decomposition")
    times["translation"] -= times["decomposition"]
    whole = timeline.seconds("export") + timeline.seconds("save")
    return {**times, "other": whole - sum(times.values())}


def chart_phases(chart: Any) -> dict[str, float]:
    """The outermost phases of a chart, those of one name together."""
    times: dict[str, float] = {}
    for top in chart.root.children:
        for frame in top.children:
            if frame.kind == "phase":
                times[frame.name] = times.get(frame.name, 0.0) + frame.seconds
    return {**times, "other": chart.root.seconds - sum(times.values())}


if __name__ == "__main__":
    typer.run(main)
