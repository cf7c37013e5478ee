"""A float32 shadow of a bfloat16 model, for runtimes without bfloat16 kernels."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

_LOW, _HIGH = ir.DataType.BFLOAT16, ir.DataType.FLOAT


def has_bfloat16(model: ir.Model) -> bool:
    """Whether any value of the main graph is bfloat16."""
    graph = model.graph
    values = [*graph.inputs, *graph.initializers.values(), *(o for node in graph.all_nodes() for o in node.outputs)]
    return any(value.dtype == _LOW for value in values)


def shadow(model: ir.Model) -> ir.Model:
    """A copy of the model that computes in float32 wherever the model has bfloat16."""
    copy = ir.from_proto(ir.to_proto(model))
    graph = copy.graph
    for value in (*graph.inputs, *graph.initializers.values()):
        _raise(value)
    for node in graph.all_nodes():
        for output in node.outputs:
            _raise(output)
        for name, attribute in list(node.attributes.items()):
            if node.op_type == "Cast" and name == "to" and attribute.value == _LOW:
                node.attributes[name] = ir.AttrInt64(name, _HIGH)
            elif attribute.type == ir.AttributeType.TENSOR and attribute.value.dtype == _LOW:
                node.attributes[name] = ir.AttrTensor(name, _as_float32(attribute.value))
    return copy


def _raise(value: ir.Value) -> None:
    if value.dtype == _LOW:
        value.dtype = _HIGH
    if value.const_value is not None and value.const_value.dtype == _LOW:
        value.const_value = _as_float32(value.const_value)


def _as_float32(tensor: ir.TensorProtocol) -> ir.Tensor:
    return ir.Tensor(tensor.numpy().astype(np.float32), name=tensor.name)
