"""`python -m exporter` is the command `fx2onnx`."""

from __future__ import annotations

from exporter.cli import app

app()
