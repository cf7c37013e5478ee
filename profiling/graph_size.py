"""Count nodes: ours against torch.onnx.export's after its optimizer, at two opsets, static and dynamic."""

from __future__ import annotations

from typing import Annotated

import bench
import typer

OPSETS = (18, 20)


def main(
    models: Annotated[list[str] | None, typer.Argument(help="cases of the zoo; by default all full-size ones")] = None,
    opset: Annotated[list[int] | None, typer.Option(help="opset versions; by default 18 and 20")] = None,
    static: Annotated[bool, typer.Option(help="measure without dynamic dims")] = True,
    dynamic: Annotated[bool, typer.Option(help="measure with the case's dynamic dims")] = True,
    ours_only: Annotated[bool, typer.Option("--ours-only", help="leave torch.onnx out")] = False,
) -> None:
    """Print node counts."""
    import torch
    from zoo import CASES, tagged

    report = bench.Report(
        "graph_size",
        "Nodes in the exported graph",
        ("model", "dims", "opset", "ours", "torch.onnx", "ours / torch.onnx"),
        what="Nodes of the graph, its subgraphs and functions, both exporters with their default optimization."
        " Where torch.onnx gives another opset than asked for, that one stands in brackets.",
    )
    larger, ratios = [], []
    for name in models or [case.name for case in tagged(without=("small",))] + ["mnist_cnn"]:
        case = CASES[name]
        model = case.build()
        kinds = [("static", None)] * static + [("dynamic", case.dynamic_shapes)] * dynamic
        for kind, shapes in kinds:
            for version in opset or OPSETS:
                with torch.no_grad():
                    ours = bench.attempt(bench.export_ours, model, case.inputs(), shapes, version)
                    theirs = (
                        None if ours_only else bench.attempt(bench.export_torch, model, case.inputs(), shapes, version)
                    )
                counts = [
                    None if isinstance(p, Exception) or p is None else bench.nodes(p.model) for p in (ours, theirs)
                ]
                ratio = counts[0] / counts[1] if all(counts) else None
                if ratio is not None:
                    ratios.append(ratio)
                    larger += [f"{name} {kind} {version}"] * (ratio > 1)
                report.add(name, kind, version, _cell(ours, version), _cell(theirs, version), ratio or "")
    if ratios:
        report.note(f"Geometric mean {bench.geometric_mean(ratios):.3g}, maximum {max(ratios):.3g}; the bar is 1.")
    report.note(f"Larger than torch.onnx's: {', '.join(larger) or 'none'}.")
    report.finish()


def _cell(program: object, asked: int) -> str:
    if program is None:
        return ""
    if isinstance(program, Exception):
        return bench.short(program)
    model = program.model  # type: ignore[attr-defined]  # either exporter's program has it
    got = model.opset_imports.get("", asked)
    return f"{bench.nodes(model)}" + (f" [{got}]" if got != asked else "")


if __name__ == "__main__":
    typer.run(main)
