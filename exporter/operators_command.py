"""The command `fx2onnx ops`: the overloads that have a lowering rule."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

console = Console()


def ops(
    search: Annotated[str, typer.Argument(help="Only overloads whose name has this in it.")] = "",
    opset: Annotated[int, typer.Option(help="The opset whose ONNX ops are shown, 17 to 24.")] = 18,
    path: Annotated[Path | None, typer.Option("--write", help="Write the whole table to this Markdown file.")] = None,
    show_traceback: Annotated[bool, typer.Option("--traceback", help="Show Python's traceback of an error.")] = False,
) -> None:
    """Print the overloads that have a lowering rule, and the ONNX ops that each becomes."""
    from exporter.command_line import Reported
    from exporter.operator_table import OPSETS, rows, write
    from exporter.pipeline import check_opset

    with Reported(show_traceback):
        check_opset(opset)
        if path is not None:
            write(path)
            console.print(f"{path}: {len(rows())} rules, opsets {OPSETS[0]} to {OPSETS[-1]}")
            return
        found = [row for row in rows() if search in row.overload]
        table = Table("overload", "family", f"ONNX ops at opset {opset}", "further, in some cases")
        for row in found:
            own, further = (", ".join(sorted(names)) for names in row.ops(opset))
            table.add_row(row.overload, f"{row.family}{' (complex)' if row.is_complex else ''}", own, further)
        console.print(table)
        console.print(f"{len(found)} overloads")
