"""`fx2onnx profile`: where the time of one model's export goes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from exporter.command_line import FactoryArgument, Reported, TracebackOption, console, made_by
from exporter.profile.charts import slowest_rules
from exporter.profile.recording import Profile
from exporter.profile.timeline import Phase, RuleTime, Timeline

__all__ = ["profile"]

_SLOWEST = 10


def profile(
    factory: FactoryArgument,
    output: Annotated[
        list[Path] | None,
        typer.Option("--output", "-o", help="A .html, .speedscope.json or .json file; may be given several times."),
    ] = None,
    rules: Annotated[bool, typer.Option("--rules", help="List the rules by total and by per-node time.")] = False,
    sampling: Annotated[bool, typer.Option("--sampling", help="Sample Python's functions too (pyinstrument).")] = False,
    memory: Annotated[bool, typer.Option("--memory", help="Measure the peak memory of each phase (Linux).")] = False,
    warm_up: Annotated[
        int, typer.Option(min=0, help="Exports before the one that is profiled; 0 has Python's imports in it.")
    ] = 1,
    opset: Annotated[int, typer.Option(help="The opset of the model, 17 to 24.")] = 18,
    capture: Annotated[str, typer.Option(help="auto, record, symbolic_trace, compile or export.")] = "auto",
    show_traceback: TracebackOption = False,
) -> None:
    """Show where the time goes when a model is exported and saved."""
    from exporter.pipeline import export

    with Reported(show_traceback), tempfile.TemporaryDirectory() as folder:
        asked = Profile(*(output or []), sampling=sampling, memory=memory)
        model, inputs, dynamic_shapes = made_by(factory)
        options: dict[str, Any] = {"dynamic_shapes": dynamic_shapes, "opset_version": opset, "capture": capture}
        with console.status("exporting"):
            for _ in range(warm_up):
                export(model, inputs, **options)
            program = export(model, inputs, **options, profile=asked if output or sampling or memory else None)
            program.save(Path(folder, "model.onnx"))
    timeline = program.report.timeline
    console.print(phases_table(timeline))
    if rules:
        console.print(rules_table(slowest_rules(timeline.rules), f"{len(timeline.rules)} rules by total time"))
        by_node = slowest_rules(timeline.rules, by_node=True)[:_SLOWEST]
        console.print(rules_table(by_node, f"The {len(by_node)} slowest by time for a node that they emit"))
    for path in asked.paths:
        console.print(f"written to {path}", soft_wrap=True)


def phases_table(timeline: Timeline) -> Table:
    """The phases, each below the one that it is part of."""
    phases = list(timeline.phases.values())
    with_memory = any(phase.peak_bytes for phase in phases)
    table = Table("phase", *(["peak memory"] if with_memory else []))
    for name in ("time", "share", "count"):
        table.add_column(name, justify="right")
    total = sum(phase.seconds for phase in phases if len(phase.path) == 1)
    for phase in timeline.in_order():
        name = "  " * (len(phase.path) - 1) + phase.name
        cells = [_milliseconds(phase.seconds), f"{phase.seconds / total:.1%}", _count(phase)]
        table.add_row(name, *([_mebibytes(phase.peak_bytes)] if with_memory else []), *cells)
    return table


def rules_table(rules: Sequence[RuleTime], title: str) -> Table:
    """Rules with what they cost, in the order given."""
    table = Table("rule", title=title, title_justify="left")
    for name in ("time", "calls", "nodes", "a node"):
        table.add_column(name, justify="right")
    for rule in rules:
        a_node = f"{1e6 * rule.seconds_a_node:.1f} µs"
        table.add_row(rule.overload, _milliseconds(rule.seconds), str(rule.calls), str(rule.nodes), a_node)
    return table


def _mebibytes(count: int | None) -> str:
    return "" if count is None else f"{count / 2**20:.1f} MiB"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.2f} ms"


def _count(phase: Phase) -> str:
    if phase.unit == "bytes":
        return _mebibytes(phase.count)
    return f"{phase.count} {phase.unit}" if phase.unit else ""
