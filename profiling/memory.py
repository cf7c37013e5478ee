"""Measure by how much peak memory rises during export and save, each exporter in a process of its own."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import bench
import typer

KINDS = ("ours", "torch.onnx", "TorchScript")
MEGABYTE = 1e6


def main(
    model: Annotated[str, typer.Argument(help="a case of the zoo")] = "bert",
    rounds: Annotated[int, typer.Option(help="processes for each exporter")] = 3,
    kind: Annotated[list[str] | None, typer.Option(help="exporters; by default all three")] = None,
    cold: Annotated[bool, typer.Option("--cold", help="no small export first: the imports' memory counts too")] = False,
    child: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Print the rise of peak resident memory over what it was before the call."""
    if child:
        print(json.dumps(measure(model, child, cold)))
        return
    report = bench.Report(
        "memory",
        f"Peak memory during export and save of {model}",
        ("exporter", "rise of the peak, MB", "of the model's bytes", "within 5 % + 50 MB"),
        what="Peak resident memory during export and save, over resident memory before the call, in a fresh process"
        + (", nothing exported before" if cold else " that has exported a small model before")
        + f"; the median of {rounds}.",
    )
    for name in kind or KINDS:
        flags = ["--cold"] if cold else []
        results = [bench.attempt(bench.child, __file__, model, "--child", name, *flags) for _ in range(rounds)]
        if failed := [result for result in results if isinstance(result, Exception)]:
            report.add(name, bench.short(failed[0]), "", "")
            continue
        rise = statistics.median(result["rise"] for result in results)
        size = results[0]["model"]
        within = "yes" if rise <= 0.05 * size + 50 * MEGABYTE else "no"
        report.add(name, f"{rise / MEGABYTE:.0f}", f"{rise / size:.1%}", within)
        report.note(f"{name}: before {results[0]['before'] / MEGABYTE:.0f} MB, model {size / MEGABYTE:.0f} MB.")
    report.finish()


def measure(name: str, kind: str, cold: bool) -> dict[str, float]:
    """Export and save in this process, watching its memory."""
    import torch
    from zoo import CASES

    save = savers()[kind]
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        if not cold:
            save(CASES["bert_small"].build(), CASES["bert_small"].inputs(), Path(folder) / "small.onnx")
        case = CASES[name]
        model, inputs = case.build(), case.inputs()
        size = sum(p.nbytes for p in model.parameters()) + sum(b.nbytes for b in model.buffers())
        gc.collect()
        _give_back_freed_memory()
        before = _status("VmRSS")
        peak = peak_during(lambda: save(model, inputs, Path(folder) / "model.onnx"))
    return {"before": before, "rise": peak - before, "model": size}


def _give_back_freed_memory() -> None:
    """Return freed memory to the system, lest an export that reuses it look cheaper than it is."""
    with contextlib.suppress(AttributeError, OSError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def savers() -> dict[str, Callable[[Any, Any, Path], None]]:
    """Give for each exporter the call that exports and saves."""

    def ours(model: Any, inputs: Any, path: Path) -> None:
        bench.export_ours(model, inputs).save(path)

    def current(model: Any, inputs: Any, path: Path) -> None:
        program = bench.export_torch(model, inputs)
        with bench.quiet():
            program.save(path, external_data=True)  # as torch.onnx.export does when it is given a file

    def former(model: Any, inputs: Any, path: Path) -> None:
        bench.export_torchscript(model, inputs, str(path))

    return dict(zip(KINDS, (ours, current, former), strict=True))


def peak_during(run: Callable[[], None]) -> float:
    """Give the highest resident memory in bytes while `run` runs.

    Linux keeps the peak itself and resets it on request; elsewhere it is sampled.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return _sampled_peak(run)
    run()
    return _status("VmHWM")


def _sampled_peak(run: Callable[[], None]) -> float:
    peaks = [_status("VmRSS")]
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            peaks[0] = max(peaks[0], _status("VmRSS"))
            time.sleep(0.002)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        run()
    finally:
        done.set()
        watcher.join()
    return peaks[0]


def _status(field: str) -> float:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise RuntimeError(f"/proc/self/status has no {field}")
    return int(found[1]) * 1024.0


if __name__ == "__main__":
    typer.run(main)
