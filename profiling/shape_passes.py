"""Compare shape inference: ours, onnx's C++ pass, onnxruntime's symbolic pass and onnx-shape-inference.

On each model of the zoo, exported by us and by torch.onnx, static and dynamic, and on the backend node tests
of ONNX: the time a node, loading aside; how many dims each resolves; and how many of them are not what
onnxruntime computes. Needs `pip install 'fx2onnx[comparison]'`.
"""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import bench
import onnx
import typer
from shape_models import Model, prepare
from shape_tools import ONNX_BY_DEFAULT, TOOLS, Shapes, attempt, reading_seconds, resolved, times
from shapes_computed import Computed

from shape_inference import Dim

OTHERS = tuple(tool.name for tool in TOOLS if tool.name != "ours")


@dataclass
class Row:
    """What one pass did on one model, or on several together."""

    seconds: float | None = None
    resolved: int = 0
    wrong: int = 0
    failure: str = ""


@dataclass
class Result:
    """What the passes did on one model.

    `dims` is how many there are, `reading` the seconds that onnx's pass takes to read and write the model,
    `by_default` those of onnx's pass where it does not follow contents.
    """

    nodes: int
    dims: int = 0
    reading: float = 0.0
    by_default: float = 0.0
    rows: dict[str, Row] = field(default_factory=lambda: {tool.name: Row() for tool in TOOLS})


def main(
    models: Annotated[list[str] | None, typer.Argument(help="cases of the zoo; by default all")] = None,
    rounds: Annotated[int, typer.Option(help="timed passes of each")] = 5,
    folder: Annotated[Path | None, typer.Option(help="where exported models are kept for another run")] = None,
    check: Annotated[bool, typer.Option(help="compare with what onnxruntime computes")] = True,
    zoo: Annotated[bool, typer.Option(help="on the zoo's models")] = True,
    backend: Annotated[bool, typer.Option(help="on the backend node tests of ONNX, all together")] = True,
) -> None:
    """Print times and resolved dims."""
    report = bench.Report(
        "shape_inference" if zoo else "shape_inference_backend",
        "Shape inference",
        ("model", "nodes", "ours, µs a node", *OTHERS, "dims", "ours", *OTHERS, "wrong"),
        what="Passes over models without any shapes but the inputs': the least processor time a node, in µs,"
        " from a model that is loaded to one that is typed, as users call each (onnx's with data_prop=True, so that it"
        " follows sizes as the others do); then the dims of all values of the graph, and how many of them each pass"
        " gives as a number or as a formula of the inputs' dims; and how many are not what onnxruntime computes, at"
        " the example's sizes and where dims are dynamic at others. What only the data decide, as behind an nms, is in"
        " no pass's count. Weights are in another file, and nodes carry no notes on where they came from.",
    )
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory() as temporary:
        kept = (folder or Path(temporary)).absolute()
        kept.mkdir(parents=True, exist_ok=True)
        with _in_folder(kept):
            for item in prepare((models or _names()) if zoo else (), kept):
                if isinstance(item, str):
                    report.note(f"Not exported: {item}")
                    continue
                title = f"{item.name} {item.exporter} {item.kind}"
                results[title] = measure(item, rounds, check)
                report.add(*_cells(title, results[title]))
    if backend:
        title = "backend node tests"
        results[title] = measure_backend()
        report.add(*_cells(title, results[title]))
    for note in _summary(results):
        report.note(note)
    report.finish()


@contextlib.contextmanager
def _in_folder(folder: Path) -> Iterator[None]:
    """Be where the passes that read constants find them."""
    home = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(home)


def _names() -> list[str]:
    from zoo import CASES

    return list(CASES)


def measure(item: Model, rounds: int, check: bool) -> Result:
    """Time all passes on a model, and compare what they say."""
    gc.freeze()  # what exporters left behind is no part of a pass
    model = item.path.read_bytes()
    proto = onnx.load_from_string(model)
    result = Result(nodes=len(proto.graph.node))
    actual = _computed(item, proto) if check else []
    _compare(proto, model, actual, result)
    tools = {tool.name: tool for tool in (*TOOLS, ONNX_BY_DEFAULT)}
    tools = {name: tool for name, tool in tools.items() if name not in result.rows or not result.rows[name].failure}
    found = times(model, tools, rounds)
    result.by_default = found.pop(ONNX_BY_DEFAULT.name)
    for name, seconds in found.items():
        result.rows[name].seconds = seconds
    result.reading = reading_seconds(model, rounds)
    return result


def _compare(proto: onnx.ModelProto, model: bytes, actual: list[Any], result: Result) -> None:
    """Count what each pass resolves, and what is not so; add it to the result."""
    names = _input_symbols(proto)
    found: dict[str, Shapes] = {}
    for tool in TOOLS:
        shapes = attempt(tool, model)
        if isinstance(shapes, Exception):
            result.rows[tool.name].failure = bench.short(shapes)
        else:
            found[tool.name] = shapes
    for value in (name for node in proto.graph.node for name in node.output if name):
        ranks = [len(shapes[value] or ()) for shapes in found.values() if value in shapes]
        result.dims += max(ranks, default=0)
        for name, shapes in found.items():
            sizes = resolved(shapes.get(value), names)
            row = result.rows[name]
            row.resolved += sum(size is not None for size in sizes)
            wrong: set[int] = set()
            for computed, bindings in actual:
                if value in computed:
                    wrong |= _wrong(sizes, computed[value], bindings)
            row.wrong += len(wrong)


def _wrong(sizes: list[Any], actual: list[int], bindings: dict[str, int]) -> set[int]:
    """Which of these sizes are not the actual ones; all that are said where there are more or fewer."""
    if len(sizes) != len(actual):
        return {axis for axis, size in enumerate(sizes) if size is not None}
    found = set()
    for axis, (size, number) in enumerate(zip(sizes, actual, strict=True)):
        if type(size) is Dim:
            size = size.evaluate(bindings) if size.free_symbols() <= bindings.keys() else None
        if size is not None and size != number:
            found.add(axis)
    return found


def _input_symbols(proto: onnx.ModelProto) -> frozenset[str]:
    dims = [dim for value in proto.graph.input for dim in value.type.tensor_type.shape.dim]
    return frozenset(dim.dim_param for dim in dims if dim.dim_param)


def _computed(item: Model, proto: onnx.ModelProto) -> list[tuple[dict[str, list[int]], dict[str, int]]]:
    """At each size, the shape of every tensor as onnxruntime computes it, and the sizes of the inputs' dims."""
    computed = Computed(proto, item.path.parent)
    found = []
    for feed in item.feeds():
        bindings = {
            dim.dim_param: feed[value.name].shape[axis]
            for value in proto.graph.input
            for axis, dim in enumerate(value.type.tensor_type.shape.dim)
            if dim.dim_param and value.name in feed
        }
        found.append((computed.shapes(feed), bindings))
    return found


def measure_backend() -> Result:
    """All backend node tests together, each pass on those models that no pass fails on."""
    from onnx.backend.test.loader import load_model_tests

    with bench.quiet():
        cases = load_model_tests(kind="node")
    for tool in TOOLS:
        attempt(tool, cases[0].model.SerializeToString())
    gc.collect()
    gc.freeze()  # what the tests are and the passes have imported, so that it is not looked at before each pass
    total = Result(nodes=0)
    failures = dict.fromkeys(total.rows, 0)
    for row in total.rows.values():
        row.seconds = 0.0
    for case in cases:
        proto = onnx.ModelProto()
        proto.CopyFrom(case.model)
        for output in proto.graph.output:
            if output.type.HasField("tensor_type"):
                output.type.tensor_type.ClearField("shape")
        one = Result(nodes=len(proto.graph.node))
        model = proto.SerializeToString()
        actual = [({value.name: shape for value, shape in _expected(case)}, {})]
        _compare(proto, model, actual, one)
        failed = [name for name, row in one.rows.items() if row.failure]
        for name in failed:
            failures[name] += 1
        found = {} if failed else times(model, {tool.name: tool for tool in TOOLS}, 1)
        total.nodes += 0 if failed else one.nodes
        total.dims += one.dims
        for name, row in one.rows.items():
            total.rows[name].resolved += row.resolved
            total.rows[name].wrong += row.wrong
            total.rows[name].seconds = (total.rows[name].seconds or 0) + found.get(name, 0.0)
    for name, count in failures.items():
        total.rows[name].failure = f"{count} of {len(cases)} fail" if count else ""
    return total


def _expected(case: Any) -> Iterable[tuple[Any, list[int]]]:
    """The outputs of a backend test that are tensors, with their shapes."""
    for value, item in zip(case.model.graph.output, case.data_sets[0][1], strict=True):
        if value.type.HasField("tensor_type") and item is not None:
            yield value, list(item.dims if isinstance(item, onnx.TensorProto) else item.shape)


def _cells(title: str, result: Result) -> list[str]:
    rows = result.rows
    wrong = ", ".join(f"{name} {row.wrong}" for name, row in rows.items() if row.wrong)
    return [
        title,
        str(result.nodes),
        *(_time(row, result.nodes) for row in rows.values()),
        str(result.dims),
        *(str(row.resolved) if row.resolved or not row.failure else "-" for row in rows.values()),
        wrong or "none",
    ]


def _time(row: Row, nodes: int) -> str:
    if row.seconds is None:
        return row.failure
    return f"{row.seconds / max(nodes, 1) * 1e6:.1f}" + (f" ({row.failure})" if row.failure else "")


def _beside_onnx(results: dict[str, Result]) -> dict[str, dict[str, float]]:
    """How long ours takes beside onnx's pass, in each of its modes, on each model."""
    found: dict[str, dict[str, float]] = {"with data_prop": {}, "without data_prop": {}}
    for title, result in results.items():
        ours, onnx_seconds = result.rows["ours"].seconds, result.rows["onnx"].seconds
        if ours and onnx_seconds and result.by_default:
            found["with data_prop"][title] = ours / onnx_seconds
            found["without data_prop"][title] = ours / result.by_default
    return found if found["with data_prop"] else {}


def _summary(results: dict[str, Result]) -> Iterable[str]:
    """What the bars ask for."""
    for name in OTHERS:
        ratios = {}
        for title, result in results.items():
            ours, theirs = result.rows["ours"].seconds, result.rows[name].seconds
            if ours and theirs:
                ratios[title] = theirs / ours
        if ratios:
            worst = min(ratios, key=lambda title: ratios[title])
            mean = bench.geometric_mean(list(ratios.values()))
            yield (
                f"{name} takes {mean:.2f} times as long as ours in the geometric mean of {len(ratios)} models;"
                f" {ratios[worst]:.2f} times in the worst, {worst}; it fails on {len(results) - len(ratios)}."
            )
            for title, ratio in ratios.items():
                if title.startswith("resnet50_any_size") and title.endswith("dynamic"):
                    yield f"{name} on {title}: {ratio:.1f} times."
    for what, ratios in _beside_onnx(results).items():
        worst = max(ratios, key=lambda title: ratios[title])
        yield (
            f"Ours takes {bench.geometric_mean(list(ratios.values())):.2f} times as long as onnx's C++ pass {what} in"
            f" the geometric mean; {ratios[worst]:.2f} times in the worst, {worst}; more than twice on"
            f" {sum(ratio > 2 for ratio in ratios.values())} of {len(ratios)}."
        )
    shares = [result.reading / (result.rows["onnx"].seconds or 1.0) for result in results.values() if result.reading]
    if shares:
        yield (
            f"Of onnx's time, {bench.geometric_mean(shares):.0%} in the geometric mean are for reading and writing"
            " bytes, which its interface makes part of the pass; ours starts from a loaded model, as the others do."
        )
    fewer = [
        title
        for title, result in results.items()
        if result.rows["ours"].resolved < max(row.resolved - row.wrong for row in result.rows.values())
    ]
    yield f"Models where another pass resolves more dims than ours, wrong ones aside: {', '.join(fewer) or 'none'}."
    for name in ("ours", *OTHERS):
        wrong = [title for title, result in results.items() if result.rows[name].wrong]
        yield f"Dims of {name} that are not what onnxruntime computes: {', '.join(wrong) or 'none'}."


if __name__ == "__main__":
    typer.run(main)
