"""The ResNet-50 training step: export against inference's, and onnxruntime's step against torch's.

Everything is interleaved, and the report has the ratios of medians.
"""

from __future__ import annotations

import argparse
import copy
import statistics
from collections.abc import Callable
from typing import Any

import bench
import torch
from torchvision_without_binary import define_operators

from exporter import export, export_training

SIZE = 224


def exports(report: bench.Report, model: Any, rounds: int) -> None:
    """Time the exports of the model and of its step, at two batch sizes."""

    def inference() -> None:
        export(model.eval(), (torch.empty(2, 3, SIZE, SIZE),))

    def step(batch: int) -> Callable[[], object]:
        return lambda: exported(model, batch)

    times = bench.interleaved({"inference": inference, "step": step(2), "step, batch 32": step(32)}, rounds)
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, found in medians.items():
        report.add(f"export: {name}", found, found / medians["inference"], "inference export")


def exported(model: Any, batch: int) -> Any:
    """The step of SGD with momentum."""
    targets = torch.zeros(batch, dtype=torch.int64)
    return export_training(
        model.train(), (torch.empty(batch, 3, SIZE, SIZE),), targets=targets, loss=torch.nn.CrossEntropyLoss(),
        optimizer=optimizer_of(model),
    )  # fmt: skip


def optimizer_of(model: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9, weight_decay=1e-4)


def steps(report: bench.Report, model: Any, batch: int, rounds: int) -> None:
    """Time a step in onnxruntime and in eager torch, on the same threads."""
    threads = torch.get_num_threads()
    twin = copy.deepcopy(model.train())
    session, optimizer, loss = (
        exported(model, batch).session(threads=threads),
        optimizer_of(twin),
        torch.nn.CrossEntropyLoss(),
    )
    images, classes = torch.randn(batch, 3, SIZE, SIZE), torch.randint(0, 1000, (batch,))

    def eager() -> None:
        optimizer.zero_grad()
        loss(twin(images), classes).backward()
        optimizer.step()

    times = bench.interleaved({"torch": eager, "onnxruntime": lambda: session.step(images, classes)}, rounds)
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, found in medians.items():
        report.add(f"step of {batch} images: {name}", found, found / medians["torch"], "torch's eager step")
    report.note(f"Steps run on {threads} threads.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=4)
    arguments = parser.parse_args()
    define_operators()
    import torchvision

    torch.manual_seed(0)
    model = torchvision.models.resnet50()
    report = bench.Report(
        "training", "ResNet-50's training step", ("what", "seconds", "ratio", "to"),
        what=f"Medians of {arguments.rounds} interleaved rounds; SGD with momentum, {SIZE} x {SIZE} pixels.",
    )  # fmt: skip
    with bench.quiet():
        exports(report, model, arguments.rounds)
        steps(report, model, arguments.batch, arguments.rounds)
    report.finish()


if __name__ == "__main__":
    main()
