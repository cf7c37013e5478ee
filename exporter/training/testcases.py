"""A step as a test-case folder: the model, inputs, and what torch makes of them, gradients among it."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir
import torch

from exporter.capture.training.steps import SEED
from exporter.errors import InputError, SaveError
from exporter.training.forward import Forward
from exporter.weights import weight

if TYPE_CHECKING:
    from exporter.training.program import TrainingProgram


def save_testcase(program: TrainingProgram, folder: Path) -> Path:
    """Write `model.onnx` and `test_data_set_0` with `input_i.pb`, `output_i.pb` and `gradient_i.pb`.

    Inputs and outputs are numbered as in the graph; outputs are what eager torch gives for the example.  The
    gradients of the trained parameters are numbered in the order of these, each named as its parameter.

    Raises:
        InputError: the step has an optimizer, or random numbers, which torch draws otherwise.
        SaveError: the folder is there already, or cannot be written.
    """
    if program.step.optimizer is not None or SEED in program.input_names:
        raise InputError(
            "save_testcase: the step must end with gradients and draw no random numbers",
            hint="export it without optimizer, and with dropout=False",
        )
    if folder.exists():
        raise SaveError(f"{folder}: must be a new folder, is there already")
    inputs, outputs = _inputs(program), _outputs(program)
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fx2onnx-") as name:
            made = Path(name, "case")
            data = made / "test_data_set_0"
            data.mkdir(parents=True)
            program.save(made / "model.onnx")
            _write(data, "input", {name: inputs[name] for name in program.input_names})
            _write(data, "output", {name: outputs[name] for name in program.output_names})
            names = [name for name in program.step.parameters if f"{name}.grad" in outputs]
            _write(data, "gradient", {name: outputs[f"{name}.grad"] for name in names})
            os.replace(made, folder)
    except OSError as error:
        raise SaveError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return folder


def _inputs(program: TrainingProgram) -> dict[str, torch.Tensor]:
    """The example and the model's state, by the names of the graph."""
    signature = program.signature
    given = {signature.input_names[i]: signature.leaves[i] for i in signature.tensor_indices}
    return {**given, **program.initial_state()}


def _outputs(program: TrainingProgram) -> dict[str, torch.Tensor]:
    """What eager torch makes of the example: loss, results, gradients and buffers, by the names of the graph."""
    signature, step = program.signature, program.step
    model = copy.deepcopy(program.reference)
    forward = Forward(model, step.forward.loss, dict.fromkeys(step.forward.targets))
    args, kwargs = signature.unflatten([v.clone() if isinstance(v, torch.Tensor) else v for v in signature.leaves])
    loss, result = forward(*args, **kwargs)
    outputs = {"loss": loss, **forward.outputs(loss, result)}
    loss.backward()
    parameters = {name: parameter for name, parameter in model.named_parameters() if name in step.parameters}
    if step.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(list(parameters.values()), step.clip_norm)
    outputs |= {f"{name}.grad": p.grad for name, p in parameters.items() if p.grad is not None}
    outputs |= {f"{name}.updated": buffer for name, buffer in model.named_buffers()}
    return outputs


def _write(folder: Path, kind: str, tensors: Mapping[str, torch.Tensor]) -> None:
    for i, (name, tensor) in enumerate(tensors.items()):
        proto = ir.serde.serialize_tensor(weight(tensor.contiguous(), name))
        (folder / f"{kind}_{i}.pb").write_bytes(proto.SerializeToString())
