"""One ONNX model that trains: forward, loss, gradients and the optimizer's update as one graph."""

from __future__ import annotations

from exporter.training.pipeline import export_training
from exporter.training.program import TrainingProgram
from exporter.training.session import TrainingSession

__all__ = ["TrainingProgram", "TrainingSession", "export_training"]
