"""What the measuring programs share: the exporters under test, fair timing, and the reports.

Importing it puts the repository and its tests (for the model zoo) on sys.path.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import io
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "profiling" / "reports"
PACKAGES = ("torch", "torchvision", "transformers", "onnx", "onnx-ir", "onnxscript", "onnxruntime")
SPEED_MODELS = ("resnet50", "mobilenet_v3_large", "vit_b_16", "bert", "gpt2", "t5", "llama")
DEFAULT_OPSET = 18

clock = time.perf_counter

for _folder in (ROOT, ROOT / "tests"):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings and the progress that exporters print."""
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def export_ours(model: Any, inputs: Any, dynamic_shapes: Any = None, opset: int = DEFAULT_OPSET) -> Any:
    """Export with this project; returns its Program."""
    from exporter import export

    with quiet():
        return export(model, inputs, dynamic_shapes=dynamic_shapes, opset_version=opset)


def export_torch(model: Any, inputs: Any, dynamic_shapes: Any = None, opset: int = DEFAULT_OPSET) -> Any:
    """Export with torch.onnx's current exporter; returns its ONNXProgram."""
    import torch

    args, kwargs = split(inputs)
    _register_caches(model)
    with quiet():
        return torch.onnx.export(
            model,
            args,
            kwargs=kwargs,
            dynamo=True,
            verbose=False,
            opset_version=opset,
            dynamic_shapes=torch_dynamic_shapes(dynamic_shapes, inputs),
        )


def export_torchscript(model: Any, inputs: Any, file: Any, opset: int = DEFAULT_OPSET) -> None:
    """Export with torch.onnx's former, TorchScript exporter, which writes the model as it goes."""
    import torch

    args, kwargs = split(inputs)
    with quiet():
        torch.onnx.export(model, (*args, kwargs) if kwargs else args, file, dynamo=False, opset_version=opset)


def split(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Tell positional from keyword arguments."""
    return (inputs, {}) if isinstance(inputs, tuple) else ((), dict(inputs))


def torch_dynamic_shapes(dynamic_shapes: Mapping[str, Any] | None, inputs: Any) -> dict[str, Any] | None:
    """Spell dynamic dims as torch wants them: one entry an argument, one a tensor of a cache."""
    import torch

    if dynamic_shapes is None:
        return None
    spelled = dict(dynamic_shapes)
    for name, value in split(inputs)[1].items():
        if not isinstance(value, torch.Tensor) and name in spelled:
            spelled[name] = [spelled[name]] * len(torch.utils._pytree.tree_leaves(value))
    return spelled


def _register_caches(model: Any) -> None:
    """Tell torch's pytree of transformers' caches, as transformers' own exporter does."""
    if "transformers" not in sys.modules:
        return
    from transformers import PreTrainedModel
    from transformers.exporters.exporter_dynamo import register_cache_pytrees_for_model

    if isinstance(model, PreTrainedModel):
        register_cache_pytrees_for_model(model)


def nodes(model: Any) -> int:
    """Count an onnx_ir model's nodes, those in subgraphs and functions included."""
    return sum(1 for _ in model.graph.all_nodes()) + sum(
        1 for function in model.functions.values() for _ in function.all_nodes()
    )


def use_processor_time() -> str:
    """Time by this process's time on the processors from now on: what else the machine does leaves it almost alone.

    Returns:
        What a report says of it.
    """
    global clock
    clock = time.process_time
    return " Processor time, the sum over the threads, because the machine had other work."


def seconds(run: Callable[[], Any]) -> float:
    """Time one run; garbage of the runs before it is collected first."""
    gc.collect()
    start = clock()
    run()
    return clock() - start


def interleaved(runs: Mapping[str, Callable[[], Any]], rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Time several things turn by turn, so that a disturbance of the machine meets all of them."""
    for run in runs.values():
        for _ in range(warm_up):
            run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(seconds(run))
    return times


def attempt(run: Callable[..., Any], *arguments: Any) -> Any:
    """Run; return the error where there is one."""
    try:
        return run(*arguments)
    except Exception as error:  # an exporter may raise anything, and the table goes on
        return error


def short(error: BaseException) -> str:
    """Say what went wrong at the bottom of it, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:100]


def child(program: str, *arguments: str) -> dict[str, Any]:
    """Run one of these programs in a fresh process; its last line of output is its result, as JSON."""
    command = [sys.executable, program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=offline())
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"exit status {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def offline() -> dict[str, str]:
    """Give the environment for a child process: nothing is downloaded."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}


def geometric_mean(values: Sequence[float]) -> float:
    """Average ratios."""
    return statistics.geometric_mean(values) if values else float("nan")


def machine() -> str:
    """Describe the processor, its cores and the load on it."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        found = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        name = found[0].partition(":")[2].strip() if found else name
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return f"{name}, {os.cpu_count()} cores, load {load:.1f} at the end of the run, {platform.platform()}"


def versions() -> str:
    """List the versions of what was measured."""
    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{package} {importlib.metadata.version(package)}")
    return ", ".join(found)


class Report:
    """A table that grows on the screen row by row, and ends as a Markdown file."""

    def __init__(self, name: str, title: str, columns: Sequence[str], *, what: str) -> None:
        self.name, self.title, self.columns, self.what = name, title, list(columns), what
        self.rows: list[list[str]] = []
        self.notes: list[str] = []
        self.pictures: list[str] = []

    def add(self, *cells: object) -> None:
        """Add a row, and print it."""
        row = [f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells]
        self.rows.append(row)
        print("  ".join(row), file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Add a line below the table."""
        self.notes.append(text)

    def picture(self, path: Path, shows: str) -> None:
        """Show a picture of the report's folder above the table."""
        self.pictures.append(f"![{shows}]({path.name})")

    def finish(self, folder: Path = REPORTS) -> Path:
        """Print the table and write the report; returns its path."""
        from rich.console import Console
        from rich.table import Table

        table = Table(*self.columns, title=self.title)
        for row in self.rows:
            table.add_row(*row)
        console = Console()
        console.print(table)
        for note in self.notes:
            console.print(note)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.md"
        path.write_text(self.markdown())
        console.print(f"written to {path}")
        return path

    def markdown(self) -> str:
        """Give the report as Markdown."""
        lines = [f"# {self.title}", "", self.what, ""]
        lines += [line for picture in self.pictures for line in (picture, "")]
        lines += ["| " + " | ".join(self.columns) + " |", "|" + " --- |" * len(self.columns)]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in self.rows]
        lines += ["", *(f"- {note}" for note in self.notes)]
        lines += [f"- Machine: {machine()}", f"- Versions: {versions()}", f"- Measured on {time.strftime('%Y-%m-%d')}."]
        return "\n".join(lines) + "\n"
