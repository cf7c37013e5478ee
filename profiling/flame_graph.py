"""Flame graphs of our export and of both of torch.onnx's, on one page that opens from disk.

The model is one of the zoo. Each exporter exports it once before, so that no import is in the picture; saving,
to a folder that is gone afterwards, is in it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import bench
import typer


def main(
    model: Annotated[str, typer.Argument(help="a case of the zoo")] = "t5",
    output: Annotated[Path, typer.Option("--output", "-o", help=".html, .speedscope.json or .json")] = Path(
        "flame_graph.html"
    ),
    dynamic: Annotated[bool, typer.Option("--dynamic", help="with the case's dynamic dims")] = False,
    sampling: Annotated[bool, typer.Option("--sampling", help="with Python's functions, sampled, of ours")] = False,
) -> None:
    """Write the page."""
    import torch
    from zoo import CASES

    from exporter.profile.recording import render
    from exporter.serialization import write_whole

    case = CASES[model]
    with torch.no_grad():
        charts = side_by_side(case.build(), case.inputs, case.dynamic_shapes if dynamic else None, sampling=sampling)
    write_whole(output, render(output, f"Export of {model}", charts).encode())
    for chart in charts:
        print(f"{chart.title}: {chart.root.seconds:.2f} s, {sum(1 for _ in chart.flat())} frames")
    print(f"written to {output}")


def side_by_side(model, inputs, dynamic_shapes=None, *, sampling: bool = False, warm_up: bool = True) -> list:
    """Export with all three and return their charts, the slowest last.

    Args:
        model: what is exported.
        inputs: a function that makes its example inputs; a cache among them changes in an export.
        dynamic_shapes: as `export` takes them; the TorchScript exporter is left out where there are some.
        sampling: whether Python's stack is sampled in ours.
        warm_up: whether each exports once before it is recorded.
    """
    import their_spans

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(1 + warm_up):
            charts = [
                *our_charts(model, inputs(), dynamic_shapes, folder, sampling),
                their_spans.dynamo_chart(model, inputs(), dynamic_shapes, folder),
            ]
            if dynamic_shapes is None:
                charts.append(their_spans.torchscript_chart(model, inputs(), folder))
    return charts


def our_charts(model, inputs, dynamic_shapes, folder: Path, sampling: bool) -> list:
    """Export and save with ours."""
    from dataclasses import replace

    from exporter import export
    from exporter.profile.recording import Profile

    with bench.quiet():
        program = export(model, inputs, dynamic_shapes=dynamic_shapes, profile=Profile(sampling=sampling))
        program.save(folder / "ours.onnx")
    recording = program.report.recording
    assert recording is not None  # a profile was asked for
    ours, *functions = recording.charts()
    return [replace(ours, title="fx2onnx"), *functions]


if __name__ == "__main__":
    typer.run(main)
