"""The live display of a check: what each process is at, and how many models are done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from exporter.check.outcomes import Event, Finished, Outcome, Phase, Started, Verdict


def shown_live(events: Iterable[Event], total: int, console: Console) -> Iterator[Outcome]:
    """Give the outcomes among the events, showing all of them on the way; lines alone where there is no terminal."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        whole = progress.add_task("checked", total=total)
        tasks = {}
        for event in events:
            if isinstance(event, Started):
                tasks[event.name] = progress.add_task(event.name, total=None)
            elif isinstance(event, Phase):
                progress.update(tasks[event.name], description=f"{event.name}: {event.phase}")
            elif isinstance(event, Finished):
                outcome = event.outcome
                if outcome.name in tasks:
                    progress.remove_task(tasks.pop(outcome.name))
                progress.advance(whole)
                style = "green" if outcome.verdict == Verdict.PASSED else "red"
                text = f"{outcome.name}: [{style}]{outcome.verdict.value}[/] in {outcome.seconds:.1f} s"
                progress.console.print(text, highlight=False)
                yield outcome
