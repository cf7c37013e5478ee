"""fx2onnx: PyTorch to ONNX, captured without running the model, and checked in onnxruntime."""

from __future__ import annotations

from exporter.errors import ExportError, ExportWarning
from exporter.pipeline import export
from exporter.profile.recording import Profile
from exporter.program import Program
from exporter.training import TrainingProgram, export_training
from exporter.validation import validate

__all__ = [
    "ExportError",
    "ExportWarning",
    "Profile",
    "Program",
    "TrainingProgram",
    "export",
    "export_training",
    "validate",
]
