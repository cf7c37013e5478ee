"""What export_training() returns: the step as an ONNX model, and the state that it starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import onnx_ir as ir
import torch

from exporter import serialization
from exporter.capture.graph import CapturedGraph
from exporter.report import ExportReport
from exporter.signature import Signature
from exporter.training.step import LEARNING_RATE, STEP, Step

if TYPE_CHECKING:
    from exporter.program import Program
    from exporter.training.session import TrainingSession


@dataclass
class TrainingProgram:
    """A training step.

    Attributes:
        model: the ONNX model.
        report: how the export went.
        signature: names, structures and dynamic dims of inputs, targets and results.
        captured: the graph of ATen overloads that was translated.
        reference: the module that is trained; neither exporting nor training changes it.
        step: loss, parameters, optimizer and options.
    """

    model: ir.Model
    report: ExportReport
    signature: Signature
    captured: CapturedGraph
    reference: torch.nn.Module
    step: Step

    @property
    def input_names(self) -> list[str]:
        """The inputs of the graph, in order."""
        return [str(value.name) for value in self.model.graph.inputs]

    @property
    def output_names(self) -> list[str]:
        """The results of the graph, in order."""
        return [str(value.name) for value in self.model.graph.outputs]

    @property
    def learning_rates(self) -> dict[str, float]:
        """The inputs for learning rates, and what the optimizer had in them."""
        groups = () if self.step.optimizer is None else self.step.optimizer.groups
        names = [name for name in self.input_names if name.partition(".")[0] == LEARNING_RATE]
        return dict(zip(names, (group.learning_rate for group in groups), strict=True))

    @property
    def steps_made(self) -> int:
        """How many steps the optimizer had made when it was exported."""
        return 0 if self.step.optimizer is None else self.step.optimizer.updates * self.step.accumulate

    def initial_state(self) -> dict[str, torch.Tensor]:
        """What training starts from: input -> parameter, buffer, or state of the optimizer, in the input's order.

        Parameters and buffers are the model's own tensors.
        """
        optimizer = self.step.optimizer
        known: dict[str, torch.Tensor] = {
            **dict(self.reference.named_buffers()),
            **dict(self.reference.named_parameters()),
        }
        kept = {} if optimizer is None else optimizer.initial
        state: dict[str, torch.Tensor] = {}
        for name in self.state_names():
            parameter, _, key = name.rpartition(".")
            if name in known:
                state[name] = known[name].detach()
            else:
                state[name] = kept.get(parameter, {}).get(key, torch.zeros_like(known[parameter])).detach()
        return state

    def state_names(self) -> list[str]:
        """The inputs that training carries from step to step."""
        given = {self.signature.input_names[i] for i in self.signature.tensor_indices}
        others = given | {STEP, "seed", *self.learning_rates}
        return [name for name in self.input_names if name not in others]

    def save(self, path: str | Path, *, external_data: bool | None = None) -> Path:
        """Write the step, whole or not at all; the parameters are inputs, and no part of it.

        Args:
            path: the file to write.
            external_data: whether weights that are not trained go to `<path>.data` beside it; by itself from 2 GB on.

        Raises:
            SaveError: the path cannot be written, or the disk is full.
        """
        return serialization.save(self.model, Path(path), external_data=external_data)

    def save_testcase(self, folder: str | Path) -> Path:
        """Write the step, the example and torch's results and gradients as a new folder; see `save_testcase`."""
        from exporter.training.testcases import save_testcase

        return save_testcase(self, Path(folder))

    def to_proto(self) -> onnx.ModelProto:
        """The step as a protobuf message."""
        return ir.to_proto(self.model)

    def session(self, *, providers: Sequence[str] = ("cpu",), threads: int | None = None) -> TrainingSession:
        """Train in onnxruntime, from the state that the model has now.

        Args:
            providers: short names (`cpu`, `cuda`, ...) or onnxruntime's own, the first preferred.
            threads: how many threads an operator may use; onnxruntime's choice where None.

        Raises:
            InputError: a provider has an unknown name or is not here.
        """
        from exporter.training.session import TrainingSession

        return TrainingSession(self, providers=providers, threads=threads)

    def inference_program(self, state_dict: dict[str, Any] | None = None, **options: Any) -> Program:
        """Export the model for inference, in eval mode.

        Args:
            state_dict: the weights, as `TrainingSession.state_dict` gives them; the module's own where None.
            options: what `export` takes, such as `opset_version`.
        """
        from exporter.training.inference import inference_program

        return inference_program(self, state_dict, **options)
