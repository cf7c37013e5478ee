"""What TensorRT's ONNX parser takes, from a table that is kept with its source and version."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any

import onnx_ir as ir

from exporter.validation.lint.facts import attribute, is_constant, rank

__all__ = ["reason", "source"]

_2D_OR_3D = ("AveragePool", "MaxPool")


@functools.cache
def _table() -> dict[str, Any]:
    text = resources.files("exporter.validation.lint").joinpath("tables/tensorrt.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def source() -> str:
    """Where the table is from, with the version."""
    return str(_table()["source"])


def reason(node: ir.Node, opset_version: int) -> str:
    """Why TensorRT would leave a node to another provider; "" where it takes it."""
    table = _table()
    first, last = table["opsets"]
    if not first <= opset_version <= last:
        return f"TensorRT takes opset {first} to {last}, got {opset_version}"
    if node.domain or node.op_type not in table["operators"]:
        return f"{node.domain or 'ai.onnx'}:{node.op_type} is not supported"
    for index in table["constant_inputs"].get(node.op_type, ()):
        if index < len(node.inputs) and not is_constant(node.inputs[index]):
            return f"input {index} must be an initializer"
    if node.op_type in table["first_output_only"] and any(value.uses() for value in node.outputs[1:]):
        return "only the first output is supported"
    if node.op_type in _2D_OR_3D and rank(node.inputs[0]) not in (4, 5, None):
        return "2D or 3D pooling only"
    if node.op_type == "ScatterND" and attribute(node, "reduction", "none") != "none":
        return "`reduction` other than `none` is not supported"
    if node.op_type == "GridSample" and rank(node.inputs[0]) not in (4, None):
        return "Input must be 4D input."
    return ""
