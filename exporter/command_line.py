"""What the commands share: the factory that they are given, and how errors are shown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from exporter.errors import ExportError, InputError
from exporter.factories import function_named

__all__ = ["FactoryArgument", "Reported", "TracebackOption", "console", "made_by"]

console = Console()
errors = Console(stderr=True)

FactoryArgument = Annotated[
    str, typer.Argument(metavar="MODULE:FUNCTION", help="Returns (model, inputs) or (model, inputs, dynamic_shapes).")
]
TracebackOption = Annotated[bool, typer.Option("--traceback", help="Show Python's traceback of an error.")]


class Reported:
    """Shows an error of ours as one screen of text, and ends with exit code 1."""

    def __init__(self, show_traceback: bool) -> None:
        self.show_traceback = show_traceback

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ExportError) and not self.show_traceback:
            errors.print(f"[bold red]{type(error).__name__}[/]", end=" ")
            errors.print(str(error), markup=False, highlight=False)
            raise typer.Exit(1) from None


def made_by(factory: str) -> tuple[Any, Any, Any]:
    """The model, its inputs and its dynamic dims, from `module:function`.

    Raises:
        InputError: there is no such function, or it returns something else.
    """
    sys.path.insert(0, str(Path.cwd()))
    made = function_named(factory)()
    if not isinstance(made, tuple) or len(made) not in (2, 3):
        raise InputError(
            f"{factory}: must return (model, inputs) or (model, inputs, dynamic_shapes), got {type(made).__name__}"
        )
    return (*made, None) if len(made) == 2 else made
