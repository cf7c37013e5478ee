"""Measure whether export time depends on the size of the example inputs: T5's tokens, resnet50's pixels.

The TorchScript exporter, which runs the model on the example, is there for comparison.
"""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import bench
import plots
import typer

TOKENS = (8, 64, 512, 4096)
PIXELS = (64, 224, 512, 1024)


def main(
    rounds: Annotated[int, typer.Option(help="timed exports of ours at each size")] = 5,
    their_rounds: Annotated[int, typer.Option(help="timed exports of torch's at each size; 0 leaves them out")] = 3,
    script_up_to: Annotated[
        int, typer.Option(help="size up to which the TorchScript exporter is measured: it runs the model")
    ] = max(TOKENS),
    processor_time: Annotated[bool, typer.Option("--processor-time", help="for a machine with other work")] = False,
) -> None:
    """Print seconds by size."""
    from zoo import CASES

    report = bench.Report(
        "input_size",
        "Export time by size of the example",
        ("model", "size", "ours, s", "torch.onnx, s", "TorchScript, s"),
        what=f"Static exports; ours interleaved over the sizes, the median of {rounds}; torch's {their_rounds} each;"
        " one warm-up; saving aside (the TorchScript exporter writes to memory, as it must write)."
        + (bench.use_processor_time() if processor_time else ""),
    )
    t5, resnet50 = CASES["t5"].build(), CASES["resnet50"].build()
    tokens = {size: CASES["t5"].inputs_at(0, batch=1, seq=size, target=size) for size in TOKENS}
    pixels = {size: CASES["resnet50_any_size"].inputs_at(0, batch=1, height=size, width=size) for size in PIXELS}
    panels: dict[str, dict[str, dict[float, float]]] = {}
    for name, unit, model, samples in (("t5", "tokens", t5, tokens), ("resnet50", "pixels", resnet50, pixels)):
        ours = _medians(partial(bench.export_ours, model), samples, rounds)
        asked = samples if their_rounds else {}
        theirs = _medians(partial(bench.export_torch, model), asked, their_rounds)
        small = {size: inputs for size, inputs in asked.items() if size <= script_up_to}
        script = _medians(partial(_export_torchscript, model), small, their_rounds)
        panels[name] = {"ours": ours, "torch.onnx": _numbers(theirs), "TorchScript": _numbers(script)}
        for size, value in ours.items():
            report.add(name, f"{size} {unit}", value, theirs.get(size, ""), script.get(size, ""))
        spread = max(ours.values()) / min(ours.values()) - 1
        ends = abs(ours[max(ours)] / ours[min(ours)] - 1)
        report.note(f"{name}: ours differs by {ends:.1%} between smallest and largest, {spread:.1%} over all sizes.")
    labels = {"t5": "tokens", "resnet50": "pixels, a side"}
    report.picture(plots.lines(report.name, panels, labels), "Export time over the size of the example")
    report.note("The bar for T5 is 10 % between 8 and 4,096 tokens.")
    report.finish()


def _numbers(found: dict[int, Any]) -> dict[float, float]:
    """The sizes that could be exported."""
    return {size: value for size, value in found.items() if isinstance(value, float)}


def _export_torchscript(model: Any, inputs: Any) -> None:
    bench.export_torchscript(model, inputs, io.BytesIO())


def _medians(run: Callable[[Any], Any], samples: dict[int, Any], rounds: int) -> dict[int, Any]:
    """Time one exporter over the sizes, interleaved; an error stands in the place of its size."""
    found: dict[int, Any] = {size: bench.attempt(run, inputs) for size, inputs in samples.items()}
    failed = {size: bench.short(value) for size, value in found.items() if isinstance(value, Exception)}
    found.clear()
    good = {str(size): partial(run, inputs) for size, inputs in samples.items() if size not in failed}
    times = bench.interleaved(good, rounds, warm_up=0)
    return {size: failed.get(size) or statistics.median(times[str(size)]) for size in samples}


if __name__ == "__main__":
    typer.run(main)
