"""What onnxruntime's CoreML provider takes, from the tables that ship in its wheel, for both of CoreML's formats.

Source: onnxruntime/tools/mobile_helpers/coreml_supported_{mlprogram,neuralnetwork}_ops.md of the installed wheel, whose
notes are given as reasons word for word; the limits that hold for every operator are those of the provider's
base_op_builder (opset) and of the wheel's usability_checker (rank, static shapes).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import resources

import onnx_ir as ir

from exporter.validation.lint.facts import (
    attribute,
    dtype,
    has_static_shape,
    is_constant,
    rank,
    since_version,
    static_shape,
)

__all__ = ["FORMATS", "reason", "table_of"]

FORMATS = {
    "MLProgram": "coreml_supported_mlprogram_ops.md",
    "NeuralNetwork": "coreml_supported_neuralnetwork_ops.md",
}
_MAX_RANK = 5
_MAX_OPSET = 20  # base_op_builder.h, GetMaxSupportedOpSet
# The spellings of the tables that no ONNX operator has.
_MISSPELLED = {"ai.onnx:Argmax": "ai.onnx:ArgMax", "ai.onnx.ReduceSum": "ai.onnx:ReduceSum"}
# The builders of these ask for other element types than float, or for none.
_ANY_DTYPE = frozenset(
    [
        "And",
        "ArgMax",
        "Cast",
        "Concat",
        "Gather",
        "GatherND",
        "Identity",
        "Shape",
        "Slice",
        "Split",
        "Unsqueeze",
        "Where",
    ]
)
_FLOATS = {"NeuralNetwork": {ir.DataType.FLOAT}, "MLProgram": {ir.DataType.FLOAT, ir.DataType.FLOAT16}}


@functools.cache
def table_of(form: str) -> dict[str, str]:
    """Operator, as `ai.onnx:Conv` -> the note on it, of the installed onnxruntime."""
    text = resources.files("onnxruntime.tools.mobile_helpers").joinpath(FORMATS[form]).read_text(encoding="utf-8")
    rows = [line.strip().split("|") for line in text.splitlines() if line.startswith("|")]
    table = {row[1].strip(): row[2].strip().replace("<br/>", " ") for row in rows if len(row) == 4}
    return {_MISSPELLED.get(name, name): note for name, note in table.items() if "." in name}


def reason(node: ir.Node, form: str, opset_version: int, static_shapes: bool) -> str:
    """Why the provider would leave a node to the CPU; "" where it takes it.

    Args:
        node: the node, whose values have their types.
        form: "MLProgram" or "NeuralNetwork".
        opset_version: the model's.
        static_shapes: whether dims must be numbers, as the provider's option RequireStaticInputShapes asks.
    """
    name = f"{node.domain or 'ai.onnx'}:{node.op_type}"
    table = table_of(form)
    if name not in table:
        return f"{name} is not in {FORMATS[form]}"
    since = since_version(node, opset_version)
    if since is not None and since > _MAX_OPSET and not node.domain:
        return f"{node.op_type} is only supported for opset [1, {_MAX_OPSET}], got that of opset {since}"
    for value in node.inputs:
        found = rank(value)
        if value is not None and found is not None and found > _MAX_RANK:
            return f"input {value.name} has rank {found}; CoreML takes at most {_MAX_RANK}"
        shape = static_shape(value)
        if value is not None and shape is not None and 0 in shape and node.op_type != "Resize":
            return f"input {value.name} is empty: shape {list(shape)}"
        if value is not None and static_shapes and not has_static_shape(value):
            return f"input {value.name} has a dynamic shape: {value.shape}"
    first = dtype(node.inputs[0]) if node.inputs else None
    if node.op_type not in _ANY_DTYPE and first is not None and first not in _FLOATS[form]:
        return f"[{node.op_type}] Input type: [{first}] is not supported"
    condition = _CONDITIONS[form].get(node.op_type)
    return table[name] if condition is not None and not condition(node) else ""


Condition = Callable[[ir.Node], bool]


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _constant(*indices: int) -> Condition:
    return lambda node: all(is_constant(_input(node, index)) for index in indices)


def _of_rank(*ranks: int) -> Condition:
    return lambda node: rank(_input(node, 0)) in (*ranks, None)


def _all(*conditions: Condition) -> Condition:
    return lambda node: all(condition(node) for condition in conditions)


def _mode(name: str, *allowed: str, default: str) -> Condition:
    return lambda node: attribute(node, name, default) in allowed


def _both_floats(node: ir.Node) -> bool:
    return all(dtype(value) in (ir.DataType.FLOAT, None) for value in node.inputs)


def _conv_transpose(node: ir.Node) -> bool:
    weight = static_shape(_input(node, 1))
    kernel = attribute(node, "kernel_shape")
    return (
        _constant(1, 2)(node)
        and attribute(node, "auto_pad", "NOTSET") not in ("SAME_UPPER", "SAME_LOWER")
        and attribute(node, "output_shape") is None
        and not any(attribute(node, "output_padding", ()))
        and (kernel is None or weight is None or tuple(kernel) == weight[2:])
    )


def _grid_sample(node: ir.Node) -> bool:
    mode, padding = attribute(node, "mode", "bilinear"), attribute(node, "padding_mode", "zeros")
    corners = attribute(node, "align_corners", 0)
    linear = mode in ("linear", "bilinear")
    return (
        _of_rank(4)(node) and (linear or mode == "nearest") and not (linear and padding == "reflection" and not corners)
    )


def _plain_gemm(node: ir.Node) -> bool:
    plain = attribute(node, "alpha", 1.0) == 1.0 and attribute(node, "beta", 1.0) == 1.0
    return plain and not attribute(node, "transA", 0) and is_constant(_input(node, 1))


def _where(node: ir.Node) -> bool:
    return all(dtype(_input(node, i)) in (ir.DataType.FLOAT, ir.DataType.FLOAT16, None) for i in (1, 2))


def _crd_is_fixed(node: ir.Node) -> bool:
    return attribute(node, "mode", "DCR") != "CRD" or has_static_shape(_input(node, 0))


def _bools(node: ir.Node) -> bool:
    return all(dtype(value) in (ir.DataType.BOOL, None) for value in node.inputs)


def _resize_program(node: ir.Node) -> bool:
    return (
        _of_rank(3, 4)(node)
        and _constant(2, 3)(node)
        and _mode("mode", "linear", "nearest", default="nearest")(node)
        and not attribute(node, "antialias", 0)
        and not attribute(node, "exclude_outside", 0)
    )


def _resize_network(node: ir.Node) -> bool:
    nearest = attribute(node, "mode", "nearest") == "nearest"
    return (
        _of_rank(4)(node)
        and _constant(2, 3)(node)
        and _mode("mode", "linear", "nearest", default="nearest")(node)
        and _mode("coordinate_transformation_mode", "asymmetric", default="half_pixel")(node)
        and (not nearest or _mode("nearest_mode", "floor", default="round_prefer_floor")(node))
        and not attribute(node, "exclude_outside", 0)
    )


def _pad(node: ir.Node) -> bool:
    """Constant mode; only the last two of the dims are padded."""
    pads, axes = _input(node, 1), _input(node, 3)
    if not _mode("mode", "constant", default="constant")(node) or not _constant(1, 2, 3)(node):
        return False
    if pads is None or pads.const_value is None or axes is not None:
        return axes is None
    numbers = pads.const_value.numpy().reshape(2, -1)
    return not numbers[:, :-2].any()


def _slope(node: ir.Node) -> bool:
    shape = static_shape(_input(node, 1))
    fits = shape is None or len([n for n in shape if n != 1]) == 0 or (len(shape) == 3 and shape[1:] == (1, 1))
    return is_constant(_input(node, 1)) and fits


_POOLS = dict.fromkeys(["AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool"], _of_rank(4))

_CONDITIONS: dict[str, dict[str, Condition]] = {
    "MLProgram": {
        **_POOLS,
        "And": _bools,
        "Conv": _all(_of_rank(3, 4), _constant(2)),
        "ConvTranspose": _conv_transpose,
        "DepthToSpace": _crd_is_fixed,
        "GatherND": lambda node: not attribute(node, "batch_dims", 0),
        "Gemm": _plain_gemm,
        "GridSample": _grid_sample,
        "Pow": _both_floats,
        "Resize": _resize_program,
        "Slice": _constant(1, 2, 3, 4),
        "Split": _constant(1),
        "Tile": _of_rank(0, 1, 2, 3, 4, 5),
        "Where": _where,
    },
    "NeuralNetwork": {
        **_POOLS,
        "Conv": _all(_of_rank(3, 4), _constant(1, 2)),
        "DepthToSpace": _mode("mode", "DCR", default="DCR"),
        "Gather": lambda node: rank(_input(node, 1)) != 0,
        "Gemm": _plain_gemm,
        "MatMul": _constant(1),
        "Pad": _pad,
        "Pow": _both_floats,
        "PRelu": _slope,
        "Resize": _resize_network,
        "Shape": lambda node: not attribute(node, "start", 0) and attribute(node, "end") is None,
        "Slice": _constant(1, 2, 3, 4),
        "Split": _constant(1),
    },
}
