"""The command `fx2onnx shapes`: the type and shape of every value of any ONNX model."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any

import onnx_ir as ir
import typer
from google.protobuf.message import DecodeError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from exporter.command_line import Reported
from exporter.errors import InputError, InvalidModelError
from shape_inference import GivenError, InferenceError, Report, infer
from shape_inference.types import tensor_in


def shapes(
    path: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The model, whoever made it.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the model with all types and shapes here.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=SIZE", help="batch=1 for a dim, or x=1,3,height,width for an input."),
    ] = None,
    rules: Annotated[
        list[str] | None, typer.Option(metavar="MODULE", help="A Python module with rules for operators of your own.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first error of the model.")] = False,
    only_open: Annotated[
        bool, typer.Option("--unresolved", help="Print only what is wrong or could not be resolved.")
    ] = False,
    show_traceback: Annotated[bool, typer.Option("--traceback", help="Show Python's traceback of an error.")] = False,
) -> None:
    """Print the type and shape of every value of a model, unresolved ones first.

    No weight is read. Ends with exit code 1 where the model contradicts itself.
    """
    from exporter.serialization import save

    with Reported(show_traceback):
        model = _loaded(path)
        given = _settings(settings or ())
        for module in rules or ():
            _load_rules(module)
        try:
            report = infer(model, inputs=given, strict=strict)
        except GivenError as error:
            raise InputError(f"--set {error.subject}: {error.must}, got {error.got}") from error
        except InferenceError as error:
            raise InvalidModelError(f"{path}: {error}") from error
        if output is not None:
            beside = output.absolute().parent.resolve() == path.absolute().parent.resolve()
            save(model, output, external_data=None if beside or not _in_files(model) else True, keep_external=beside)
        _print(path, model, report, only_open)
    if report.errors:
        raise typer.Exit(1)


def _loaded(path: Path) -> ir.Model:
    """Read a model; its weights stay where they are.

    Raises:
        InputError: There is no such file.
        InvalidModelError: It holds no ONNX model.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        model = ir.load(path)
    except (DecodeError, RuntimeError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise InvalidModelError(f"{path}: must be an ONNX model, got {type(error).__name__}: {error}") from error
    if not model.opset_imports and not len(model.graph):
        raise InvalidModelError(f"{path}: must be an ONNX model, got a file without nodes")
    return model


def _in_files(model: ir.Model) -> bool:
    """Whether weights of the model are in other files."""
    tensors = (value.const_value for value in model.graph.initializers.values())
    return any(isinstance(tensor, ir.ExternalTensor) for tensor in tensors)


def _settings(texts: list[str] | tuple[()]) -> dict[str, Any]:
    """What the user says beyond the model: `batch=1` is a dim, `x=1,3,h,w` an input.

    Raises:
        InputError: It is written otherwise.
    """
    given: dict[str, Any] = {}
    for text in texts:
        name, _, sizes = text.partition("=")
        dims = [int(item) if item.strip().isdecimal() else item.strip() for item in sizes.split(",")]
        if not name or "" in dims:
            raise InputError(f"--set {text}: must be NAME=SIZE", hint="for instance batch=1 or x=1,3,height,width")
        given[name] = dims[0] if len(dims) == 1 and isinstance(dims[0], int) else dims
    return given


def _load_rules(module: str) -> None:
    """Import a user's rules, which register themselves.

    Raises:
        InputError: There is no such module.
    """
    sys.path.insert(0, str(Path.cwd()))
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(f"--rules {module}: there is no module {error.name!r}") from error


def _print(path: Path, model: ir.Model, report: Report, only_open: bool) -> None:
    """Print errors, sizes of data, and the table: what is unresolved, with its cause, then the rest."""
    # Where nobody looks at a terminal, a line is as long as it has to be.
    console = Console() if sys.stdout.isatty() else Console(width=10_000)
    unresolved: dict[str, list[str]] = {}
    for item in report.unresolved:
        unresolved.setdefault(item.name, []).append(f"{item.what} (by {item.cause})")
    for error in report.errors:
        console.print(f"[bold red]error[/] {escape(str(error))}", highlight=False)
    for name, cause in report.data_sizes.items():
        console.print(f"[bold]size of data[/] {escape(name)} (by {escape(cause)})", highlight=False)
    table = Table("value", "dtype", "shape", "by", "unresolved", box=None, pad_edge=False)
    rows = report.values
    for row in sorted(rows, key=lambda row: row.name not in unresolved):
        if row.name in unresolved or not only_open:
            tensor = tensor_in(row.type)
            kind = "?" if row.type is None else str(row.type).partition("[")[0].removesuffix("?")
            shape = "?" if tensor is None or tensor.shape is None else f"[{', '.join(map(str, tensor.shape))}]"
            notes = "; ".join(unresolved.get(row.name, ()))
            table.add_row(*map(escape, (row.name, kind or "?", shape, row.by, notes)))
    if table.row_count:
        console.print(table)
    opset = model.opset_imports.get("", "?")
    console.print(
        f"{escape(str(path))}: opset {opset}, {len(rows)} values, {len(unresolved)} unresolved,"
        f" {len(report.errors)} errors",
        highlight=False,
    )
