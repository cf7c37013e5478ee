"""Measure what validation costs beside what it cannot do without: eager runs, one session, its runs.

The least for a provider is one run in eager and one in onnxruntime for each call, and the creation of one
session; validation compares, makes inputs and reads the placement on top of it.
"""

from __future__ import annotations

import statistics
import time
from typing import Annotated, Any

import bench
import typer

MODELS = ["resnet50", "mobilenet_v3_large", "bert", "gpt2", "t5_small", "bert_small", "mnist_cnn"]


def main(
    models: Annotated[list[str] | None, typer.Argument(help="cases of the zoo")] = None,
    rounds: Annotated[int, typer.Option(help="rounds of each")] = 5,
) -> None:
    """Print the cost of `program.validate()` against its parts, on the CPU provider."""
    from zoo import CASES

    report = bench.Report(
        "validation",
        "The cost of validation",
        ("model", "calls", "validation, ms", "eager runs + session + its runs, ms", "ratio"),
        what=f"program.validate() with the case's dynamic dims: the example, other values, and two more sizes, beside"
        f" one eager run and one run in onnxruntime for each of these and one session creation, of the serialized"
        f" model. Interleaved, medians of {rounds}; the bar is 1.3.",
    )
    for name in models or MODELS:
        measured = bench.attempt(compare, CASES[name], rounds)
        if isinstance(measured, Exception):
            report.add(name, bench.short(measured), "", "", "")
            continue
        calls, whole, parts = measured
        report.add(name, str(calls), f"{1000 * whole:.0f}", f"{1000 * parts:.0f}", f"{whole / parts:.2f}")
    report.finish()


def compare(case: Any, rounds: int) -> tuple[int, float, float]:
    """How many calls there are, and the median seconds of validation and of its parts."""
    import torch

    from exporter import eager, export
    from exporter.validation import subjects
    from exporter.validation.runtime import run, session_of

    program = export(case.build(), case.inputs(), dynamic_shapes=case.dynamic_shapes)
    calls = subjects.of_program(program, (), None, awkward=False).calls

    def parts() -> None:
        session = session_of(program.model)
        for call in calls:
            with torch.no_grad():
                eager.call(program.reference, program.signature, call.arguments)
            run(session, call.tensors)

    def whole() -> None:
        assert program.validate().passed

    seconds: dict[str, list[float]] = {"whole": [], "parts": []}
    whole(), parts()
    for _ in range(rounds):
        for kind, function in (("whole", whole), ("parts", parts)):
            started = time.perf_counter()
            function()
            seconds[kind].append(time.perf_counter() - started)
    return len(calls), statistics.median(seconds["whole"]), statistics.median(seconds["parts"])


if __name__ == "__main__":
    typer.run(main)
