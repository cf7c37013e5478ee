"""Measure how fast onnxruntime runs what was exported: ours against torch.onnx.export's, one thread, interleaved."""

from __future__ import annotations

import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import bench
import typer


def main(
    models: Annotated[
        list[str] | None, typer.Argument(help="cases of the zoo; by default the seven of the bar")
    ] = None,
    rounds: Annotated[int, typer.Option(help="timed runs of each")] = 21,
    dynamic: Annotated[bool, typer.Option("--dynamic", help="with the case's dynamic dims")] = False,
    opset: Annotated[int, typer.Option(help="opset version")] = bench.DEFAULT_OPSET,
) -> None:
    """Print latencies in onnxruntime on the CPU provider."""
    from zoo import CASES

    kind = "dynamic" if dynamic else "static"
    report = bench.Report(
        "latency_dynamic" if dynamic else "latency",
        f"Latency in onnxruntime, {kind}",
        ("model", "ours, ms", "torch.onnx, ms", "ratio", "largest difference"),
        what=f"Both as exported by default at opset {opset}, CPU provider, one thread, default graph optimization,"
        f" interleaved, the median of {rounds}; a ratio below 1 means that ours is faster. The difference is the"
        " largest between the two models' first outputs, relative to its scale.",
    )
    ratios = []
    for name in models or bench.SPEED_MODELS:
        with tempfile.TemporaryDirectory() as folder:
            measured = bench.attempt(compare, CASES[name], Path(folder), dynamic, opset, rounds)
        if isinstance(measured, Exception):
            report.add(name, bench.short(measured), "", "", "")
            continue
        ours, theirs, difference = measured
        ratios.append(ours / theirs)
        report.add(name, f"{1000 * ours:.1f}", f"{1000 * theirs:.1f}", f"{ratios[-1]:.3f}", difference)
    if ratios:
        report.note(
            f"Geometric mean {bench.geometric_mean(ratios):.3f}, maximum {max(ratios):.3f}; the bar is 1.05 on each."
        )
    report.finish()


def compare(case: Any, folder: Path, dynamic: bool, opset: int, rounds: int) -> tuple[float, float, float]:
    """Give the median seconds of ours and of torch.onnx's, and how far their first outputs are apart."""
    import numpy as np
    import torch

    sessions = {}
    model = case.build()
    shapes = case.dynamic_shapes if dynamic else None
    for kind, run in (("ours", bench.export_ours), ("torch", bench.export_torch)):
        path = folder / f"{kind}.onnx"
        with torch.no_grad(), bench.quiet():
            run(model, case.inputs(), shapes, opset).save(path)
        sessions[kind] = session(path)
    feeds = {kind: feed(found, case.inputs()) for kind, found in sessions.items()}
    outputs = [found.run(None, feeds[kind])[0] for kind, found in sessions.items()]
    difference = float(np.abs(outputs[0] - outputs[1]).max() / (np.abs(outputs[1]).max() or 1))
    runs = {kind: partial(found.run, None, feeds[kind]) for kind, found in sessions.items()}
    times = bench.interleaved(runs, rounds, warm_up=2)
    return statistics.median(times["ours"]), statistics.median(times["torch"]), difference


def session(path: Path) -> Any:
    """Load a model on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def feed(found: Any, inputs: Any) -> dict[str, Any]:
    """Give a session its inputs, which stand in the order of the arguments' tensors."""
    import torch

    arguments, keywords = bench.split(inputs)
    tensors = [
        leaf for leaf in torch.utils._pytree.tree_leaves((arguments, keywords)) if isinstance(leaf, torch.Tensor)
    ]
    names = [value.name for value in found.get_inputs()]
    return {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}


if __name__ == "__main__":
    typer.run(main)
