"""A model in onnxruntime: torch tensors in, torch tensors out."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx_ir as ir
import onnxruntime
import torch

from exporter import serialization
from exporter.validation.placement import CPU, RECORD

_IN_MEMORY = 512 * 2**20  # bytes: larger models are loaded from a file
_SILENT = 4  # onnxruntime's log level "fatal": what goes wrong comes as an exception
_RANDOM = ("Random", "Multinomial", "Bernoulli", "Dropout")


def session_of(
    model: ir.Model | str | Path,
    provider: str = CPU,
    options: Mapping[str, object] | None = None,
    *,
    optimized: bool = True,
) -> onnxruntime.InferenceSession:
    """A session for a model or a file; what the provider lacks falls back to the CPU.

    Args:
        model: the model, or the path of a file.
        provider: onnxruntime's name of a provider.
        options: the provider's options.
        optimized: whether onnxruntime may rewrite the graph.
    """
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = _SILENT
    settings.add_session_config_entry(RECORD, "1")
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")  # eager runs next, and needs the cores
    if not optimized:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    fallback = [] if provider == CPU else [CPU]
    chosen = [(provider, {name: str(value) for name, value in (options or {}).items()}), *fallback]
    if not isinstance(model, ir.Model):
        return onnxruntime.InferenceSession(str(model), settings, providers=chosen)
    if serialization.weight_bytes(model) < _IN_MEMORY:
        return onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), settings, providers=chosen)
    with tempfile.TemporaryDirectory() as folder:
        path = serialization.save(model, Path(folder, "model.onnx"), external_data=True)
        return onnxruntime.InferenceSession(str(path), settings, providers=chosen)


def run(session: onnxruntime.InferenceSession, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Run a session on tensors, one for each of its inputs, in order."""
    feeds = {
        node.name: onnxruntime.OrtValue.from_dlpack(_plain(tensor))
        if tensor.dtype == torch.bfloat16
        else onnxruntime.OrtValue.ortvalue_from_numpy(_plain(tensor).numpy())
        for node, tensor in zip(session.get_inputs(), inputs, strict=True)
    }
    outputs = session.run_with_ort_values(None, feeds)
    return [
        torch.utils.dlpack.from_dlpack(output).clone()
        if "bfloat16" in output.data_type()
        else torch.from_numpy(output.numpy().copy())
        for output in outputs
    ]


def is_random(node: ir.Node) -> bool:
    """Whether a node, or one in its subgraphs, draws random numbers."""
    graphs = [a.value for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]
    return node.op_type.startswith(_RANDOM) or any(is_random(n) for graph in graphs for n in graph)


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor on the CPU and contiguous; a complex one as a real one with a last dim of 2."""
    tensor = tensor.detach().cpu()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return tensor.resolve_neg().contiguous()
