"""Measure how export time grows with depth: a chain of N Linear and ReLU."""

from __future__ import annotations

import statistics
from functools import partial
from typing import Annotated

import bench
import plots
import typer

OURS = (64, 128, 256, 512, 1024, 2048, 4096)
THEIRS = (64, 128, 256, 512, 1024)
WIDTH = 32


def main(
    rounds: Annotated[int, typer.Option(help="timed exports of each depth")] = 3,
    theirs_up_to: Annotated[int, typer.Option(help="depth up to which torch.onnx is measured")] = max(THEIRS),
    dynamic: Annotated[bool, typer.Option("--dynamic", help="with a dynamic batch")] = False,
    processor_time: Annotated[bool, typer.Option("--processor-time", help="for a machine with other work")] = False,
) -> None:
    """Print seconds by number of layers."""
    import torch

    shapes = {"input": {0: "batch"}} if dynamic else None
    report = bench.Report(
        "layers_dynamic" if dynamic else "layers",
        "Export time by number of layers" + (", dynamic batch" if dynamic else ""),
        ("layers", "ours, s", "ours, ms a layer", "torch.onnx, s", "ratio"),
        what=f"A chain of N Linear({WIDTH}, {WIDTH}) and ReLU; medians of {rounds} after a warm-up; saving aside."
        + (bench.use_processor_time() if processor_time else ""),
    )
    inputs = (torch.randn(2, WIDTH),)
    medians: dict[str, dict[float, float]] = {"ours": {}, "torch.onnx": {}}
    for depth in OURS:
        model = chain(depth)
        runs = {"ours": partial(bench.export_ours, model, inputs, shapes)}
        if depth <= theirs_up_to:
            runs["torch"] = partial(bench.export_torch, model, inputs, shapes)
        times = bench.interleaved(runs, rounds)
        median = {kind: statistics.median(values) for kind, values in times.items()}
        medians["ours"][depth] = median["ours"]
        theirs = median.get("torch")
        if theirs:
            medians["torch.onnx"][depth] = theirs
        ratio = f"{theirs / median['ours']:.1f}" if theirs else ""
        report.add(depth, median["ours"], 1000 * median["ours"] / depth, theirs or "", ratio)
    ours = medians["ours"]
    report.note(f"4096 layers take {ours[4096] / ours[1024]:.2f} times as long as 1024; the bar is 4.4.")
    picture = plots.lines(report.name, {"A chain of Linear and ReLU": medians}, "layers")
    report.picture(picture, "Export time over the number of layers")
    report.finish()


def chain(depth: int) -> object:
    """Make the chain: [N, WIDTH] -> [N, WIDTH]."""
    from torch import nn

    layers = [layer for _ in range(depth) for layer in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
    return nn.Sequential(*layers).eval()


if __name__ == "__main__":
    typer.run(main)
