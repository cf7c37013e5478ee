"""`fx2onnx check`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from exporter.check import reports
from exporter.check.baseline import commit_of, read_baseline, updated, write_baseline
from exporter.check.checking import RED, CheckReport, report_of
from exporter.check.files import write_text
from exporter.check.isolation import run_models
from exporter.check.manifest import ZOOS, Manifest, find_manifest, read_manifest
from exporter.check.outcomes import Event
from exporter.check.progress import shown_live
from exporter.check.ray_engine import run_models_on_ray
from exporter.check.specs import ModelSpec
from exporter.check.starting import start
from exporter.errors import ExportError

console = Console()
errors = Console(stderr=True)


class Engine(str, Enum):
    """Where the models are checked."""

    LOCAL = "local"
    RAY = "ray"


class Zoo(str, Enum):
    """The manifests that come with the product."""

    TORCHVISION = "torchvision"
    TIMM = "timm"
    TRANSFORMERS = "transformers"


def check(
    names: Annotated[list[str] | None, typer.Argument(help="Only these models; patterns with * fit several.")] = None,
    manifest: Annotated[Path | None, typer.Option(help="exportable.toml, or a pyproject.toml.")] = None,
    update: Annotated[bool, typer.Option("--update", help="Write what is found to the baseline.")] = False,
    init: Annotated[list[str] | None, typer.Option(help="Write a manifest with this MODULE:FUNCTION.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only models with this tag.")] = None,
    shard: Annotated[str, typer.Option(help="Only the I-th of N parts, as I/N.")] = "",
    jobs: Annotated[int, typer.Option(min=1, help="How many processes at once.")] = max(1, (os.cpu_count() or 1) // 2),
    engine: Annotated[Engine, typer.Option(help="Where: on this machine, or as tasks of Ray.")] = Engine.LOCAL,
    ray_address: Annotated[str | None, typer.Option(help="Ray's cluster; its own choice where left out.")] = None,
    zoo: Annotated[Zoo | None, typer.Option(help="Check public models instead of a manifest's.")] = None,
    setup: Annotated[str, typer.Option(help="MODULE:FUNCTION to call first in each process.")] = "",
    baseline: Annotated[Path | None, typer.Option(help="By default exportable.lock.json by the manifest.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write a report as JUnit XML.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write a report as JSON.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a report as Markdown.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a report as HTML.")] = None,
) -> None:
    """Check that models stay exportable: export and validate each, and compare with the baseline."""
    try:
        if init:
            for path in start(Path(), init):
                console.print(f"wrote {path}", highlight=False)
            return
        models = _manifest(manifest, zoo, setup)
        path = baseline or models.baseline_path
        entries = read_baseline(path)
        specs = models.chosen(names or (), tag or (), shard)
        outcomes = list(shown_live(_events(specs, engine, jobs, ray_address), len(specs), console))
        folder = models.path.resolve().parent if zoo is None else Path.cwd()
        if update:
            entries = updated(entries, outcomes, [model.name for model in models.models], folder)
            write_baseline(path, entries)
        title = f"{models.path.stem if zoo else models.path}{f' {shard}' if shard else ''}"
        report = report_of(title, specs, outcomes, entries, commit_of(folder))
        _write(report, {junit: reports.junit, json: reports.as_json, markdown: reports.markdown, html: reports.html})
    except ExportError as error:
        errors.print(f"[bold red]{type(error).__name__}[/]", end=" ")
        errors.print(str(error), markup=False, highlight=False)
        raise typer.Exit(2) from error
    _print(report, path if update else None)
    if not report.passed:
        raise typer.Exit(1)


def _manifest(path: Path | None, zoo: Zoo | None, setup: str) -> Manifest:
    if zoo is not None:
        path = ZOOS / f"{zoo.value}.toml"
    return read_manifest(path or find_manifest(Path()), setup=setup)


def _events(specs: Sequence[ModelSpec], engine: Engine, jobs: int, ray_address: str | None) -> Iterable[Event]:
    if engine == Engine.RAY:
        return run_models_on_ray(specs, address=ray_address)
    return run_models(specs, jobs=jobs)


def _write(report: CheckReport, wanted: dict[Path | None, Callable[[CheckReport], str]]) -> None:
    for path, made in wanted.items():
        if path is not None:
            write_text(path, made(report))


def _print(report: CheckReport, updated_path: Path | None) -> None:
    console.print(reports.table(report))
    for checked in report.checked:
        if checked.status in RED and checked.outcome.output:
            console.print(f"[bold]{checked.outcome.name}[/], the end of its output:", highlight=False)
            console.print(checked.outcome.output, markup=False, highlight=False)
        if checked.status in RED and checked.changed_versions:
            changes = (f"{name} {old} -> {new}" for name, (old, new) in checked.changed_versions.items())
            console.print(f"{checked.outcome.name}: since its baseline: {', '.join(changes)}", highlight=False)
    for note in report.notes:
        console.print(note, highlight=False)
    if updated_path:
        console.print(f"wrote {updated_path}: commit it", highlight=False)
    style = "bold green" if report.passed else "bold red"
    console.print(f"[{style}]{report.summary}[/]", highlight=False)
