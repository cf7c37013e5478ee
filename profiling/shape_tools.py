"""Four passes that infer shapes: ours, onnx's in C++, onnxruntime's symbolic one, onnx-shape-inference."""

from __future__ import annotations

import contextlib
import gc
import logging
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import bench
import onnx
import onnx_ir as ir

from shape_inference import Dim, infer, parse
from shape_inference.types import tensor_in

# A pass that takes longer is stopped: some never finish.
TIMEOUT_SECONDS = 120

# What a pass says of each value: its dims, each a number, a text, or None; None where it knows no rank.
Shapes = dict[str, "list[int | str | None] | None"]


class Tool:
    """A pass over a model that is loaded already.

    Args:
        name: What it is called in tables.
        load: Makes what it runs on from the model's bytes; this is not timed.
        run: The pass.
        shapes: Reads its result.
    """

    def __init__(
        self, name: str, load: Callable[[bytes], Any], run: Callable[[Any], Any], shapes: Callable[[Any], Shapes]
    ) -> None:
        self.name = name
        self._load, self._run, self._shapes = load, run, shapes

    def shapes(self, model: bytes) -> Shapes:
        """Infer, and say what is known of each value of the graph."""
        loaded = self._load(model)
        with _limited():
            return self._shapes(self._run(loaded))

    def seconds(self, model: bytes) -> float:
        """Time one pass, on the clock of this process: other processes take no part in it."""
        gc.collect()
        loaded = self._load(model)
        with _limited():
            start = time.process_time()
            self._run(loaded)
            return time.process_time() - start


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Silence a pass, and stop it where it does not finish."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"more than {TIMEOUT_SECONDS} s")

    former = signal.signal(signal.SIGALRM, stop)
    signal.alarm(TIMEOUT_SECONDS)
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)


def _ir_model(model: bytes) -> ir.Model:
    return ir.serde.deserialize_model(onnx.load_from_string(model))


def _our_shapes(report: Any) -> Shapes:
    found: Shapes = {}
    made_up = report.origins.keys() | report.data_sizes.keys()
    for value, given in report.types.items():
        tensor = tensor_in(given)
        if tensor is None or tensor.shape is None or not value.name:
            continue
        found[value.name] = [
            None if type(dim) is Dim and not made_up.isdisjoint(dim.free_symbols()) else dim for dim in tensor.shape
        ]
    return found


def _onnx_pass(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def _proto_shapes(model: onnx.ModelProto) -> Shapes:
    found: Shapes = {}
    for info in (*model.graph.value_info, *model.graph.output):
        kind = info.type
        while not kind.HasField("tensor_type") and kind.WhichOneof("value") in ("sequence_type", "optional_type"):
            kind = (kind.sequence_type if kind.HasField("sequence_type") else kind.optional_type).elem_type
        if kind.HasField("tensor_type") and kind.tensor_type.HasField("shape"):
            dims = kind.tensor_type.shape.dim
            found[info.name] = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in dims]
    return found


def _onnxruntime_pass(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

    # As infer_shapes() does, but for the file that it writes where something stays open.
    inference, complete = SymbolicShapeInference(2**31 - 1, False, False, 0), False
    inference._preprocess(model)
    while inference.run_:
        complete = inference._infer_impl()
    inference._update_output_from_vi()
    if not complete:
        raise ValueError("Incomplete symbolic shape inference")
    return inference.out_mp_


def _peer_pass(model: ir.Model) -> ir.Model:
    from onnx_shape_inference import infer_symbolic_shapes

    return infer_symbolic_shapes(model, warn_on_missing=False)


def _ir_shapes(model: ir.Model) -> Shapes:
    found: Shapes = {}
    for node in model.graph:
        for value in node.outputs:
            if value.name and value.shape is not None:
                found[value.name] = [dim if isinstance(dim, int) else dim.value for dim in value.shape]
    return found


TOOLS = (
    Tool("ours", _ir_model, infer, _our_shapes),
    Tool("onnx", onnx.load_from_string, _onnx_pass, _proto_shapes),
    Tool("onnxruntime", onnx.load_from_string, _onnxruntime_pass, _proto_shapes),
    Tool("onnx-shape-inference", _ir_model, _peer_pass, _ir_shapes),
)

# onnx's pass as it is by default: it does not follow what is in tensors of sizes, which all others do.
ONNX_BY_DEFAULT = Tool("onnx by default", onnx.load_from_string, onnx.shape_inference.infer_shapes, _proto_shapes)


def times(model: bytes, tools: Mapping[str, Tool], rounds: int) -> dict[str, float]:
    """The least seconds of each pass, turn by turn; a slow one is not timed as often."""
    found: dict[str, list[float]] = {name: [] for name in tools}
    for _ in range(rounds):
        for name, tool in tools.items():
            if sum(found[name]) < 3:
                found[name].append(tool.seconds(model))
    return {name: min(values) for name, values in found.items()}


def reading_seconds(model: bytes, rounds: int) -> float:
    """The least seconds that onnx's pass takes to read and write a model in which it knows no operator."""
    unknown = onnx.load_from_string(model)
    for node in unknown.graph.node:
        node.domain = "unknown"
    unknown.opset_import.add(domain="unknown", version=1)
    (tool,) = (tool for tool in TOOLS if tool.name == "onnx")
    return min(tool.seconds(unknown.SerializeToString()) for _ in range(rounds))


def resolved(dims: list[int | str | None] | None, names: frozenset[str]) -> list[Any]:
    """Each dim as a size in the names of the inputs, None for one that is open."""
    found: list[Any] = []
    for dim in dims or ():
        size = parse(dim) if isinstance(dim, str) else dim
        is_open = type(size) is Dim and isinstance(dim, str) and not size.free_symbols() <= names
        found.append(None if is_open else size)
    return found


def attempt(tool: Tool, model: bytes) -> Shapes | Exception:
    """What a pass finds, or how it fails."""
    result: Shapes | Exception = bench.attempt(tool.shapes, model)
    return result
