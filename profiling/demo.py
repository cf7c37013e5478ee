"""Export real models, run them in onnxruntime beside eager, time it against torch.onnx.export; train one.

Run it with `make demo`.  It prints a table and writes it to demo_report/report.md.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import bench
from rich.console import Console
from rich.table import Table
from zoo import CASES

MODELS = (
    "mnist_cnn", "resnet50", "mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", "yolov5s",
    "vit_b_16", "swin_t", "bert", "gpt2", "t5_small", "llama_small", "whisper_tiny", "minilm",
)  # fmt: skip
COLUMNS = ("model", "dims", "capture", "seconds", "torch.onnx / ours", "nodes", "max difference", "verdict")


def row(name: str, dynamic: bool, with_torch: bool) -> tuple[str, ...]:
    """Export one model and say how it went."""
    case = CASES[name]
    model = case.build()
    shapes = case.dynamic_shapes if dynamic else None
    bench.export_ours(model, case.inputs(), shapes)  # both exporters warm
    started = time.perf_counter()
    program = bench.export_ours(model, case.inputs(), shapes)
    seconds = time.perf_counter() - started
    ratio = f"{torch_seconds(model, case.inputs(), shapes) / seconds:.1f}" if with_torch else ""
    report = program.validate()
    verdict = report.results[0].verdict
    return (
        name, "dynamic" if dynamic else "static", program.report.capture, f"{seconds:.3f}", ratio,
        str(bench.nodes(program.model)), f"{report.max_difference:.1e}", verdict,
    )  # fmt: skip


def torch_seconds(model: Any, inputs: Any, shapes: Any) -> float:
    """The time of torch.onnx.export, or infinity where it fails."""
    started = time.perf_counter()
    try:
        bench.export_torch(model, inputs, shapes)
    except Exception:
        return float("inf")
    return time.perf_counter() - started


def training(console: Console) -> list[tuple[str, ...]]:
    """Train on handwritten digits in onnxruntime and in torch, from the same start."""
    import digits

    table = Table("optimizer", "last loss", "largest difference", "accuracy", "torch's", title=f"{digits.STEPS} steps")
    rows = []
    for name in digits.OPTIMIZERS:
        outcome = digits.train(name)
        accuracies = f"{outcome.our_accuracy:.1%}", f"{outcome.torchs_accuracy:.1%}"
        rows.append((name, f"{outcome.ours[-1]:.4f}", f"{outcome.largest_difference:.1e}", *accuracies))
        table.add_row(*rows[-1])
        if outcome.largest_difference >= 1e-3 or accuracies[0] != accuracies[1]:
            raise SystemExit(f"training with {name}: onnxruntime and torch differ")
    console.print(table)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--no-torch", action="store_true", help="leave torch.onnx.export out")
    parser.add_argument("--no-training", action="store_true", help="leave the training on digits out")
    arguments = parser.parse_args()
    console = Console()
    table = Table(*COLUMNS, title="fx2onnx: exported, run in onnxruntime, compared with eager")
    rows = []
    for name in arguments.models:
        for dynamic in (False, True):
            with console.status(f"{name} {'dynamic' if dynamic else 'static'}"):
                rows.append(row(name, dynamic, not arguments.no_torch))
            console.print("  ".join(rows[-1]))
            table.add_row(*rows[-1])
    console.print(table)
    folder = Path("demo_report")
    folder.mkdir(exist_ok=True)
    lines = [" | ".join(COLUMNS), " | ".join("---" for _ in COLUMNS), *(" | ".join(r) for r in rows)]
    text = "\n".join(f"| {line} |" for line in lines) + "\n"
    if not arguments.no_training:
        heads = ["optimizer | last loss | largest difference | accuracy | torch's", " | ".join(["---"] * 5)]
        trained = [*heads, *(" | ".join(r) for r in training(console))]
        text += "\n" + "\n".join(f"| {line} |" for line in trained) + "\n"
    (folder / "report.md").write_text(text)
    console.print(f"written to {folder / 'report.md'}")
    if any(r[-1] != "passed" for r in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
