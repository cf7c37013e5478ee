"""The command line: `fx2onnx lint`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from exporter.command_line import Reported, TracebackOption, console, made_by
from exporter.serialization import write_whole

_ALL: list[str] = []


def lint(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="An ONNX file, or MODULE:FUNCTION, which is exported first.")
    ],
    provider: Annotated[
        list[str],
        typer.Option("--provider", "-p", help="coreml, cpu, cuda, tensorrt; may be repeated; all by default."),
    ] = _ALL,
    opset: Annotated[int | None, typer.Option(help="The opset to export to.")] = None,
    target: Annotated[str, typer.Option(help="The runtime to export for: coreml, ...")] = "",
    dynamic: Annotated[bool, typer.Option("--dynamic", help="Dynamic shapes do not keep a node from CoreML.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the findings as JSON.")] = None,
    show_traceback: TracebackOption = False,
) -> None:
    """Say which nodes each provider would leave to the CPU, and why, without having the provider."""
    from exporter.pipeline import export
    from exporter.validation.lint import PROVIDERS
    from exporter.validation.lint import lint as lint_model

    with Reported(show_traceback):
        subject: Any = model
        if not model.endswith(".onnx") and ":" in model:
            made, inputs, dynamic_shapes = made_by(model)
            subject = export(made, inputs, dynamic_shapes=dynamic_shapes, opset_version=opset, target=target)
        report = lint_model(subject, provider or PROVIDERS, static_shapes=not dynamic)
        console.print(str(report), markup=False, highlight=False)
        if output is not None:
            write_whole(output, report.to_json().encode())
            console.print(f"findings: {output}", markup=False)
