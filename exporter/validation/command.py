"""The command line: `fx2onnx validate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from exporter.command_line import Reported, TracebackOption, console, made_by
from exporter.errors import InputError

_Providers = Annotated[list[str], typer.Option("--provider", "-p", help="cpu, cuda, coreml, ...; may be repeated.")]
_DEFAULT_PROVIDERS = ["cpu"]


def validate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="An ONNX file, or MODULE:FUNCTION, which is exported first.")
    ],
    reference: Annotated[
        str,
        typer.Option(
            "--reference", "-r", help="MODULE:FUNCTION that returns (model, inputs), or a test case's folder."
        ),
    ] = "",
    provider: _Providers = _DEFAULT_PROVIDERS,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", help="PROVIDER:NAME=VALUE, an option of a provider; may be repeated."),
    ] = None,
    size: Annotated[
        list[str] | None, typer.Option("--size", help="DIM=N[,DIM=N], one choice of sizes; may be repeated.")
    ] = None,
    tolerance: Annotated[float | None, typer.Option(help="What of an output's scale it may differ by.")] = None,
    awkward: Annotated[bool, typer.Option("--awkward", help="Try zeros, large, infinite and NaN values too.")] = False,
    require: Annotated[bool, typer.Option("--require", help="A provider that is not here is an error.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the report: .html or .json.")] = None,
    culprit: Annotated[
        Path | None,
        typer.Option("--culprit", help="Write the first node that differs to this folder, as a small model."),
    ] = None,
    show_traceback: TracebackOption = False,
) -> None:
    """Run a model in onnxruntime beside a reference, on each provider, and compare.

    Exits with 1 where a provider complains; one that is not here is no complaint unless --require is given.
    """
    from exporter.pipeline import export
    from exporter.validation import validate as validate_model

    with Reported(show_traceback):
        options: dict[str, Any] = {"providers": provider, "tolerance": tolerance, "require": require}
        options["provider_options"] = _provider_options(option or ())
        options["sizes"] = [_sizes(text) for text in size] if size else None
        subject: Any = model
        if not model.endswith(".onnx") and ":" in model:
            made, inputs, dynamic_shapes = made_by(model)
            subject = export(made, inputs, dynamic_shapes=dynamic_shapes)
            options["awkward"] = awkward
        elif ":" in reference:
            held, inputs, _ = made_by(reference)
            options.update(reference=held, inputs=inputs if isinstance(inputs, list) else [inputs])
        elif reference:
            options["reference"] = reference
        report = validate_model(subject, **options)
        console.print(str(report), markup=False, highlight=False)
        if output is not None:
            console.print(f"report: {report.save(output)}", markup=False)
        if culprit is not None and report.culprit is not None and (folder := report.culprit.save(culprit)):
            console.print(f"the node alone: {folder / 'reproduce.py'}", markup=False)
        report.check()


def _provider_options(texts: Any) -> dict[str, dict[str, str]]:
    options: dict[str, dict[str, str]] = {}
    for text in texts:
        provider, colon, rest = text.partition(":")
        name, equals, value = rest.partition("=")
        if not colon or not equals:
            raise InputError(
                f"--option: must be PROVIDER:NAME=VALUE, got {text!r}", hint="for instance cuda:device_id=1"
            )
        options.setdefault(provider, {})[name] = value
    return options


def _sizes(text: str) -> dict[str, int]:
    sizes = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        if not number.isdecimal():
            raise InputError(f"--size: must be DIM=N, got {part!r}", hint="for instance batch=4,seq=16")
        sizes[name.strip()] = int(number)
    return sizes
