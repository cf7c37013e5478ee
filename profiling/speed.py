"""Measure export() against torch.onnx.export(dynamo=True): one process, both warm, interleaved, medians.

With --dynamic both get the same dynamic dims. With --fresh each export runs in a process of its own, from
its first import on; building the model is timed apart. Saving is aside in either.
"""

from __future__ import annotations

import json
import statistics
import time
from functools import partial
from typing import Annotated, Any

STARTED = time.perf_counter()  # the clock of a fresh process starts before its imports

import bench
import typer


def main(
    models: Annotated[
        list[str] | None, typer.Argument(help="cases of the zoo; by default the seven of the bar")
    ] = None,
    rounds: Annotated[int, typer.Option(help="timed exports of each kind")] = 5,
    dynamic: Annotated[bool, typer.Option("--dynamic", help="with the case's dynamic dims")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="in fresh processes, imports included")] = False,
    ours_only: Annotated[bool, typer.Option("--ours-only", help="leave torch.onnx out")] = False,
    child: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Compare export times."""
    names = models or list(bench.SPEED_MODELS)
    if child:
        print(json.dumps(fresh_export(names[0], child, dynamic)))
    elif fresh:
        measure_fresh(names, rounds, dynamic)
    else:
        measure_warm(names, rounds, dynamic, ours_only)


def measure_warm(names: list[str], rounds: int, dynamic: bool, ours_only: bool) -> None:
    """Compare in this process."""
    import torch
    from zoo import CASES

    kind = "dynamic" if dynamic else "static"
    report = bench.Report(
        "speed_dynamic" if dynamic else "speed",
        f"Export time, {kind}, both warm",
        ("model", "ours, s", "torch.onnx, s", "ratio", "ratio, worst round"),
        what=f"`export()` against `torch.onnx.export(dynamo=True)` in one process, interleaved, the median of {rounds}"
        " after one warm-up each; saving aside.",
    )
    ratios = []
    for name in names:
        case = CASES[name]
        model = case.build()
        inputs, shapes = case.inputs(), case.dynamic_shapes if dynamic else None
        runs = {"ours": partial(bench.export_ours, model, inputs, shapes)}
        if not ours_only:
            runs["torch"] = partial(bench.export_torch, model, inputs, shapes)
        with torch.no_grad():
            failures = {kind: bench.attempt(run) for kind, run in runs.items()}
            failures = {kind: error for kind, error in failures.items() if isinstance(error, Exception)}
            times = bench.interleaved({k: run for k, run in runs.items() if k not in failures}, rounds, warm_up=0)
        medians = {kind: statistics.median(values) for kind, values in times.items()}
        cells = [
            medians.get(kind, bench.short(failures[kind]) if kind in failures else "") for kind in ("ours", "torch")
        ]
        if len(medians) == 2:
            ratios.append(medians["torch"] / medians["ours"])
            worst = min(theirs / ours for ours, theirs in zip(times["ours"], times["torch"], strict=True))
            report.add(name, *cells, f"{ratios[-1]:.1f}", f"{worst:.1f}")
        else:
            report.add(name, *cells, "", "")
    if ratios:
        report.note(f"Geometric mean {bench.geometric_mean(ratios):.1f}, minimum {min(ratios):.1f}.")
    report.finish()


def measure_fresh(names: list[str], rounds: int, dynamic: bool) -> None:
    """Compare in processes of their own."""
    report = bench.Report(
        "speed_fresh_dynamic" if dynamic else "speed_fresh",
        "Export time in a fresh process, imports included",
        ("model", "ours, s", "of it imports", "torch.onnx, s", "of it imports", "ratio"),
        what="From the start of Python to the exported model, the model's own building left out, that of importing"
        f" torch included; each in a process of its own, interleaved, the median of {rounds}.",
    )
    ratios = []
    flags = ["--dynamic"] if dynamic else []
    for name in names:
        results: dict[str, list[Any]] = {"ours": [], "torch": []}
        for _ in range(rounds):
            for kind, found in results.items():
                found.append(bench.attempt(bench.child, __file__, name, "--child", kind, *flags))
        failures = [result for found in results.values() for result in found if isinstance(result, Exception)]
        if failures:
            report.add(name, bench.short(failures[0]), "", "", "", "")
            continue
        totals = {kind: statistics.median(r["total"] for r in found) for kind, found in results.items()}
        imports = {kind: statistics.median(r["imports"] for r in found) for kind, found in results.items()}
        ratios.append(totals["torch"] / totals["ours"])
        report.add(name, totals["ours"], imports["ours"], totals["torch"], imports["torch"], f"{ratios[-1]:.1f}")
    if ratios:
        report.note(f"Geometric mean {bench.geometric_mean(ratios):.1f}, minimum {min(ratios):.1f}.")
    report.finish()


def fresh_export(name: str, kind: str, dynamic: bool) -> dict[str, float]:
    """Export once in this process, timing its imports, the model's building and the export."""
    import torch

    torch.no_grad().__enter__()
    torch_imported = time.perf_counter()
    from zoo import CASES

    case = CASES[name]
    model, inputs = case.build(), case.inputs()
    built = time.perf_counter()
    if kind == "ours":
        import exporter  # noqa: F401
    else:
        import onnxscript  # noqa: F401
        import torch.onnx
    imported = time.perf_counter()
    run = bench.export_ours if kind == "ours" else bench.export_torch
    run(model, inputs, case.dynamic_shapes if dynamic else None)
    done = time.perf_counter()
    imports = torch_imported - STARTED + imported - built
    return {"imports": imports, "total": imports + done - imported}


if __name__ == "__main__":
    typer.run(main)
