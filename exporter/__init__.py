"""fx2onnx: PyTorch to ONNX, captured without running the model, and checked in onnxruntime."""

from __future__ import annotations

from exporter.errors import ExportError
from exporter.pipeline import export
from exporter.program import Program

__all__ = ["ExportError", "Program", "export"]
