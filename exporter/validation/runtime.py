"""A model in onnxruntime: torch tensors in, torch tensors out."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx_ir as ir
import onnxruntime
import torch

from exporter import serialization

_IN_MEMORY = 512 * 2**20  # bytes: larger models are loaded from a file


def session_of(
    model: ir.Model | str | Path, provider: str = "CPUExecutionProvider", options: Mapping[str, object] | None = None
) -> onnxruntime.InferenceSession:  # fmt: skip
    """A session for a model or a file; what the provider lacks falls back to the CPU."""
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    fallback = [] if provider == "CPUExecutionProvider" else ["CPUExecutionProvider"]
    chosen = [(provider, dict(options or {})), *fallback]
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


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor on the CPU and contiguous; a complex one as a real one with a last dim of 2."""
    tensor = tensor.detach().cpu()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return tensor.resolve_neg().contiguous()
