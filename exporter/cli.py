"""The command line: `fx2onnx export`, `check`, `profile`, `shapes`, `validate`, `lint` and `ops`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from exporter.check.command import check
from exporter.command_line import FactoryArgument, Reported, TracebackOption, console, made_by
from exporter.errors import MissingRuleError
from exporter.operators_command import ops
from exporter.profile.command import profile
from exporter.shapes_command import shapes
from exporter.validation.command import validate
from exporter.validation.lint.command import lint

app = typer.Typer(
    name="fx2onnx", help="PyTorch to ONNX.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
app.command("check")(check)
app.command("profile")(profile)
app.command("ops")(ops)
app.command("shapes")(shapes)
app.command("validate")(validate)
app.command("lint")(lint)


@app.command()
def export(
    factory: FactoryArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path("model.onnx"),
    opset: Annotated[int | None, typer.Option(help="The opset of the model, 17 to 24; 18 by default.")] = None,
    target: Annotated[str, typer.Option(help="The runtime to export for: cpu, cuda, tensorrt, coreml, openvino.")] = "",
    capture: Annotated[str, typer.Option(help="auto, record, symbolic_trace, compile or export.")] = "auto",
    external_data: Annotated[bool | None, typer.Option(help="Weights beside the model, whatever its size.")] = None,
    validate: Annotated[bool, typer.Option(help="Run the model in onnxruntime and compare it with eager.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing; say what could not be exported.")] = False,
    show_traceback: TracebackOption = False,
) -> None:
    """Export the model that a factory function returns."""
    from exporter.pipeline import export as export_model

    with Reported(show_traceback):
        model, inputs, dynamic_shapes = made_by(factory)
        with _Steps() as progress:
            try:
                program = export_model(
                    model, inputs, dynamic_shapes=dynamic_shapes, opset_version=opset, target=target, capture=capture,
                    progress=progress.begin,
                )  # fmt: skip
            except MissingRuleError as error:
                if not dry_run:
                    raise
                _print_missing(error)
                raise typer.Exit(1) from error
            nodes = sum(1 for _ in program.model.graph)
            if dry_run:
                console.print(f"every overload of {factory} has a rule; the model would have {nodes} nodes")
                return
            path = program.save(output, external_data=external_data)
            version = program.model.graph.opset_imports[""]
            console.print(f"{path}: {nodes} nodes, opset {version}, captured by {program.report.capture}")
            for decision in program.report.decisions:
                console.print(f"  decided by a dynamic size: {decision}")
            if validate:
                progress.begin("validation")
                report = program.validate()
                console.print(str(report))
                report.check()


class _Steps:
    """Shows which phase is under way and for how long, on a terminal; nothing stays of it."""

    def __enter__(self) -> _Steps:
        columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
        self._progress = Progress(*columns, console=console, transient=True)
        self._progress.__enter__()
        self._task = self._progress.add_task("import")
        return self

    def begin(self, phase: str) -> None:
        """Show the name of the phase that begins."""
        self._progress.update(self._task, description=phase)

    def __exit__(self, *error: Any) -> None:
        self._progress.__exit__(*error)


def _print_missing(error: MissingRuleError) -> None:
    table = Table("overload", "calls", "first called from")
    for name, sources in sorted(error.missing.items(), key=lambda item: -len(item[1])):
        table.add_row(name, str(len(sources)), sources[0])
    console.print(table)
    console.print(error.hint)
