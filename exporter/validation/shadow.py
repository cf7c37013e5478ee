"""A float32 shadow of a bfloat16 model, for runtimes without bfloat16 kernels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from onnxruntime import InferenceSession

from exporter.validation.runtime import run, session_of

_LOW, _HIGH = ir.DataType.BFLOAT16, ir.DataType.FLOAT


def has_bfloat16(model: ir.Model) -> bool:
    """Whether any value of the main graph is bfloat16."""
    graph = model.graph
    values = [*graph.inputs, *graph.initializers.values(), *(o for node in graph.all_nodes() for o in node.outputs)]
    return any(value.dtype == _LOW for value in values)


def shadow(model: ir.Model) -> ir.Model:
    """A copy of the model that computes in float32 wherever the model has bfloat16."""
    copy = ir.from_proto(ir.to_proto(model))
    for graph in (copy.graph, *_subgraphs(copy.graph)):
        for value in (*graph.inputs, *graph.initializers.values()):
            _raise(value)
    for node in copy.graph.all_nodes():
        for output in node.outputs:
            _raise(output)
        for name, attribute in list(node.attributes.items()):
            if name in ("to", "dtype") and attribute.value == _LOW:  # of Cast, SequenceEmpty and the like
                node.attributes[name] = ir.AttrInt64(name, _HIGH)
            elif attribute.type == ir.AttributeType.TENSOR and attribute.value.dtype == _LOW:
                node.attributes[name] = ir.AttrTensor(name, _as_float32(attribute.value))
    return copy


def session_or_shadow(
    model: ir.Model, provider: str, options: Mapping[str, Any] | None, *,
    path: str | Path | None = None, optimized: bool = True,
) -> tuple[InferenceSession, ir.Model, str]:  # fmt: skip
    """A session, its model and ""; or a float32 shadow's and a note, where there are no bfloat16 kernels.

    Args:
        model: the model.
        provider: onnxruntime's name of a provider.
        options: the provider's options.
        path: the model's file, where it is in one.
        optimized: whether onnxruntime may rewrite the graph.
    """
    try:
        return session_of(path or model, provider, options, optimized=optimized), model, ""
    except Exception as error:  # onnxruntime's own are many
        if "NOT_IMPLEMENTED" not in str(error) or not has_bfloat16(model):
            raise
        raised = shadow(model)
        note = f"in float32: {str(error).strip().splitlines()[0][:300]}"
        return session_of(raised, provider, options, optimized=optimized), raised, note


def run_or_shadow(
    model: ir.Model, provider: str, options: Mapping[str, Any] | None, inputs: Sequence[torch.Tensor]
) -> list[torch.Tensor]:  # fmt: skip
    """What a model gives, not optimized, or its shadow where that alone can run, in the dtypes of the model."""
    session, _, note = session_or_shadow(model, provider, options, optimized=False)
    if not note:
        return run(session, inputs)
    results = run(session, [raised(tensor) for tensor in inputs])
    outputs = zip(results, model.graph.outputs, strict=True)
    return [result.bfloat16() if value.dtype == _LOW else result for result, value in outputs]


def raised(tensor: torch.Tensor) -> torch.Tensor:
    """A bfloat16 tensor in float32, as its shadow takes it; any other as it is."""
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor


def _subgraphs(graph: ir.Graph) -> Iterator[ir.Graph]:
    for node in graph.all_nodes():
        yield from (a.value for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH)


def _raise(value: ir.Value) -> None:
    if value.dtype == _LOW:
        value.dtype = _HIGH
    if value.const_value is not None and value.const_value.dtype == _LOW:
        value.const_value = _as_float32(value.const_value)


def _as_float32(tensor: ir.TensorProtocol) -> ir.Tensor:
    return ir.Tensor(tensor.numpy().astype(np.float32), name=tensor.name)
