"""Training in onnxruntime: parameters and the optimizer's state stay on the device from step to step."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel

from exporter import serialization, structures
from exporter.capture.training.steps import SEED
from exporter.errors import InputError, ValidationError
from exporter.pipeline import example_call
from exporter.training.forward import named_targets
from exporter.training.step import STEP
from exporter.validation.providers import is_available, provider_name

if TYPE_CHECKING:
    from exporter.program import Program
    from exporter.training.program import TrainingProgram

_IN_MEMORY = 512 * 2**20  # bytes: a step with more weights is loaded from a file
_DEVICES = {"CUDAExecutionProvider": "cuda", "TensorrtExecutionProvider": "cuda", "ROCMExecutionProvider": "cuda"}


class TrainingSession:
    """A training step in onnxruntime, and the state that it carries.

    The state stands twice on the device: a step reads one and writes the other.

    Attributes:
        program: the step.
        steps: how many steps were made, those of the optimizer before the export included.
        session: onnxruntime's session.
    """

    def __init__(
        self, program: TrainingProgram, *, providers: Sequence[str] = ("cpu",), threads: int | None = None
    ) -> None:  # fmt: skip
        """Load the step, and put the model's state on the device.

        Raises:
            InputError: a provider has an unknown name or is not here.
            ValidationError: the provider has no kernel for an op of the step.
        """
        self.program, self.steps = program, program.steps_made
        names = [provider_name(name) for name in providers]
        for short, full in zip(providers, names, strict=True):
            if not is_available(full):
                raise InputError(f"providers: {short} is not available in this build of onnxruntime")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads or 0
        if "CPUExecutionProvider" not in names:
            names.append("CPUExecutionProvider")
        self.session = _session(program, options, names)
        self._device = _DEVICES.get(names[0], "cpu")
        self._outputs = [output.name for output in self.session.get_outputs()]
        self._inputs = {item.name for item in self.session.get_inputs()}
        signature, symbols = program.signature, program.signature.symbols()
        self._shapes = {i: signature.symbolic_shape(i, symbols) for i in signature.tensor_indices}
        state = program.initial_state()
        carried = [name for name in state if f"{name}.updated" in self._outputs]
        self._fixed = {name: self._on_device(state[name]) for name in state if name not in carried}
        self._now = {name: self._on_device(state[name]) for name in carried}
        self._next = {name: self._on_device(state[name]) for name in carried}

    def step(
        self, inputs: Any = (), targets: Any = (), *, kwargs: Mapping[str, Any] | None = None,
        learning_rate: float | Sequence[float] | None = None, seed: int | None = None,
    ) -> float:  # fmt: skip
        """Train on one batch.

        Args:
            inputs: the model's arguments, as in `export_training`.
            targets: the targets, as in `export_training`.
            kwargs: keyword arguments, beside positional ones.
            learning_rate: of this step, one for all groups or one for each; the optimizer's where None.
            seed: what randomness follows from; the number of the step where None.

        Returns:
            The loss before the update.

        Raises:
            InputError: the step has no optimizer, or the inputs do not fit.
        """
        if self.program.step.optimizer is None:
            raise InputError(
                "step: the program must have an optimizer, got one that ends with gradients",
                hint="export_training(..., optimizer=...), or take the gradients from run()",
            )
        binding = self._bound(inputs, targets, kwargs, learning_rate, seed)
        for name, value in self._next.items():
            binding.bind_ortvalue_output(f"{name}.updated", value)
        binding.bind_output("loss", "cpu")
        self.session.run_with_iobinding(binding)
        self._now, self._next = self._next, self._now
        self.steps += 1
        return float(binding.get_outputs()[-1].numpy())

    def run(
        self, inputs: Any = (), targets: Any = (), *, kwargs: Mapping[str, Any] | None = None,
        learning_rate: float | Sequence[float] | None = None, seed: int | None = None,
    ) -> dict[str, torch.Tensor]:  # fmt: skip
        """All results of the graph for one batch, by name, on the CPU; the state stays as it is."""
        binding = self._bound(inputs, targets, kwargs, learning_rate, seed)
        for name in self._outputs:
            binding.bind_output(name, "cpu")
        self.session.run_with_iobinding(binding)
        return {name: _tensor(value) for name, value in zip(self._outputs, binding.get_outputs(), strict=True)}

    def state(self) -> dict[str, torch.Tensor]:
        """Parameters, buffers and the optimizer's state, by the names of the graph's inputs, on the CPU."""
        return {name: _tensor(value) for name, value in (self._fixed | self._now).items()}

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The weights as the module's `load_state_dict` takes them."""
        state, module = self.state(), self.program.reference
        names = {id(tensor): name for name, tensor in (*module.named_parameters(), *module.named_buffers())}
        own = module.state_dict(keep_vars=True)
        return {key: state.get(names.get(id(tensor), key), tensor).detach().clone() for key, tensor in own.items()}

    def inference_program(self, **options: Any) -> Program:
        """Export the model with the trained weights for inference; takes what `export` takes."""
        return self.program.inference_program(self.state_dict(), **options)

    # Inside.

    def _on_device(self, tensor: torch.Tensor) -> onnxruntime.OrtValue:
        value = _value(tensor)
        return onnxruntime.OrtValue.ortvalue_from_numpy(value.numpy(), self._device) if self._device != "cpu" else value

    def _bound(
        self, inputs: Any, targets: Any, kwargs: Mapping[str, Any] | None,
        learning_rate: float | Sequence[float] | None, seed: int | None,
    ) -> onnxruntime.IOBinding:  # fmt: skip
        """A binding with all inputs."""
        binding = self.session.io_binding()
        feeds = self._feeds(inputs, targets, kwargs) | self._numbers(learning_rate, seed)
        for name, value in (self._fixed | self._now | feeds).items():
            if name in self._inputs:
                binding.bind_ortvalue_input(name, value)
        return binding

    def _feeds(
        self, inputs: Any, targets: Any, kwargs: Mapping[str, Any] | None
    ) -> dict[str, onnxruntime.OrtValue]:  # fmt: skip
        """Inputs and targets by the names of the graph.

        Raises:
            InputError: there are not as many tensors as in the example, or they are of another dtype or shape.
        """
        signature = self.program.signature
        args, keywords = example_call(inputs, kwargs)
        given = (args, {**keywords, **named_targets(targets)})
        leaves = {_path(signature, path): leaf for path, leaf in structures.flatten(given)}
        feeds = {}
        for i in signature.tensor_indices:
            name, leaf = signature.input_names[i], leaves.get(tuple(signature.paths[i]))
            if not isinstance(leaf, torch.Tensor):
                raise InputError(
                    f"step: {name} must be a tensor, got {type(leaf).__name__}",
                    hint="give inputs and targets in the structure of the example",
                )
            if leaf.dtype != signature.leaves[i].dtype:
                raise InputError(f"step: {name} must be of {signature.leaves[i].dtype}, got {leaf.dtype}")
            wanted = self._shapes[i]
            if len(wanted) != leaf.ndim or any(
                type(a) is int and a != b for a, b in zip(wanted, leaf.shape, strict=True)
            ):
                raise InputError(
                    f"step: {name} must be of shape [{', '.join(map(str, wanted))}], got {list(leaf.shape)}",
                    hint="name what may change in dynamic_shapes of export_training",
                )
            feeds[name] = _value(leaf)
        return feeds

    def _numbers(self, learning_rate: float | Sequence[float] | None, seed: int | None) -> dict[str, Any]:
        """The step's own numbers."""
        rates = self.program.learning_rates
        if isinstance(learning_rate, Sequence):
            if len(learning_rate) != len(rates):
                raise InputError(f"learning_rate: must be one or {len(rates)} numbers, got {len(learning_rate)}")
            rates = dict(zip(rates, learning_rate, strict=True))
        elif learning_rate is not None:
            rates = dict.fromkeys(rates, learning_rate)
        numbers = {name: np.array(rate, dtype=np.float32) for name, rate in rates.items()}
        numbers[STEP] = np.array(self.steps, dtype=np.int64)
        numbers[SEED] = np.array(self.steps if seed is None else seed, dtype=np.int64)
        return {name: onnxruntime.OrtValue.ortvalue_from_numpy(number) for name, number in numbers.items()}


def _path(signature: Any, path: structures.Path) -> tuple[Any, ...]:
    """A path in (args, kwargs), by the names of the model's arguments."""
    if path[0] == 0:
        return (signature.positional_names[int(path[1])], *path[2:])
    return tuple(path[1:])


def _session(
    program: TrainingProgram, options: onnxruntime.SessionOptions, providers: Sequence[str]
) -> onnxruntime.InferenceSession:  # fmt: skip
    try:
        if serialization.weight_bytes(program.model) < _IN_MEMORY:
            return onnxruntime.InferenceSession(program.to_proto().SerializeToString(), options, providers=providers)
        with tempfile.TemporaryDirectory() as folder:
            path = program.save(Path(folder, "step.onnx"), external_data=True)
            return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except NoKernel as error:
        raise ValidationError(
            f"session: onnxruntime refuses the step: {str(error).rpartition(' : ')[2]}",
            hint="train in float32: its CPU provider computes little in bfloat16 or float16",
        ) from error


def _value(tensor: torch.Tensor) -> onnxruntime.OrtValue:
    """A copy of a tensor, as onnxruntime's."""
    copy = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    if copy.dtype == torch.bfloat16:
        return onnxruntime.OrtValue.from_dlpack(copy)
    return onnxruntime.OrtValue.ortvalue_from_numpy(copy.numpy())


def _tensor(value: onnxruntime.OrtValue) -> torch.Tensor:
    if "bfloat16" in value.data_type():
        return torch.utils.dlpack.from_dlpack(value).clone()
    return torch.from_numpy(np.array(value.numpy()))
