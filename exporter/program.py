"""What export() returns: the ONNX model, and what is known of how it came to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import onnx_ir as ir

from aten_lowering.registry import RuleRegistry, registry
from exporter import serialization
from exporter.capture.graph import CapturedGraph
from exporter.report import ExportReport
from exporter.signature import Signature

if TYPE_CHECKING:
    from exporter.validation import ValidationReport


@dataclass
class Program:
    """An exported model.

    Attributes:
        model: the ONNX model, whose weights are read when it is written.
        report: how the export went.
        signature: names, structures and dynamic dims of inputs and results.
        captured: the graph of ATen overloads that was translated.
        reference: the eager callable that was exported.
        rules: the lowering rules that it was exported with.
        target: the runtime that it was exported for, or "".
    """

    model: ir.Model
    report: ExportReport
    signature: Signature
    captured: CapturedGraph
    reference: Callable[..., Any]
    rules: RuleRegistry = registry
    target: str = ""

    def save(self, path: str | Path, *, external_data: bool | None = None) -> Path:
        """Write the model, whole or not at all.

        Args:
            path: the file to write.
            external_data: whether weights go to `<path>.data` beside it; by itself from 2 GB on.

        Raises:
            SaveError: the path cannot be written, or the disk is full.
        """
        with self.report.running("save"):
            return serialization.save(self.model, Path(path), external_data=external_data)

    def to_proto(self) -> onnx.ModelProto:
        """The model as a protobuf message, weights included; at most 2 GB."""
        return ir.to_proto(self.model)

    def validate(self, *, providers: Sequence[str] = ("cpu",), **options: Any) -> ValidationReport:
        """Run the model in onnxruntime beside eager and compare; see `exporter.validation.validate_program`."""
        from exporter.validation import validate_program

        return validate_program(self, providers=providers, **options)

    def save_testcase(self, folder: str | Path, **options: Any) -> Path:
        """Write the model with inputs and eager's outputs; see `exporter.validation.testcases.save_testcase`."""
        from exporter.validation.testcases import save_testcase

        return save_testcase(self, folder, **options)
