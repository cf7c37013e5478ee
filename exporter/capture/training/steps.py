"""Recording a training step: forward, then what autograd makes of it, then the update.

The recorder stands below autograd here. It sees the formulas that calls are made of, and while
`torch.autograd.grad` runs on tensors without memory, the overloads of the backward pass.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from exporter.capture import control_flow
from exporter.capture.data_dependence.counts import Counts
from exporter.capture.data_dependence.parts import take_apart
from exporter.capture.graph import CapturedGraph, Source, user_line
from exporter.capture.handlers import HANDLERS, IN_PLACE_VIEWS
from exporter.capture.record import finished, recording, state_names, with_known_values
from exporter.capture.recorder import Recorder
from exporter.capture.tensors import RecordedTensor, Spec
from exporter.capture.torch_internals import (
    backward_sequence,
    below_autograd,
    forward_sequence,
    higher_order,
    is_higher_order,
    is_of_control_flow,
    reshape_in_place,
)
from exporter.capture.training import own_overloads
from exporter.capture.training.alignments import alignment_formulas
from exporter.capture.training.formulas import FORMULAS
from exporter.capture.training.randomness import SEEDED
from exporter.capture.training.recurrences import recurrent_formulas
from exporter.errors import ExportError, GradientError
from exporter.signature import Signature

aten = torch.ops.aten
SEED = "seed"

# What a step is after its forward: the results by the names that they will have.
Step = Callable[["TrainingRecorder", Any], Mapping[str, torch.Tensor]]


class TrainingRecorder(Recorder):
    """A recorder below autograd: a node of the backward pass has the user's line of its forward call.

    Attributes:
        open_state: the names of parameters and buffers whose values are no part of the model.
        is_after: whether the model's code and its backward pass are over.
    """

    def __init__(self, names: Mapping[int, str], open_state: Collection[str], *, seeded: bool = True) -> None:
        super().__init__(names, HANDLERS | (SEEDED if seeded else {}) | _BELOW_AUTOGRAD)
        self.open_state = open_state
        self.is_after = False
        self._lines: dict[int, tuple[Source | None, str]] = {}
        self._draws = 0
        self._inputs: dict[str, RecordedTensor] = {}

    def record(self, target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> fx.Node:
        """Add a node; one of the backward pass goes by the module of its forward call.

        Raises:
            GradientError: it is a branch or a loop, through which no gradient would come.
        """
        if is_higher_order(target) and torch.is_grad_enabled():
            raise _no_gradient(target, str(self.source() or ""))
        sequence = backward_sequence()
        if sequence is None:
            node = super().record(target, args, kwargs)
            self._lines.setdefault(forward_sequence(), (node.meta["source"], self.scope))  # the call itself comes first
            return node
        before = self.scope
        scope = self._lines.get(sequence, (None, ""))[1]
        self.scope = f"{scope}/backward" if scope else "backward"
        try:
            return super().record(target, args, kwargs)
        finally:
            self.scope = before

    def source(self) -> Source | None:
        """The user's line, for the backward pass that of the forward call."""
        if self.is_after:
            return None
        sequence = backward_sequence()
        return super().source() if sequence is None else self._lines.get(sequence, (None, ""))[0]

    def value_of(self, tensor: RecordedTensor) -> torch.Tensor | None:
        """The real tensor, where it is small and depends on no input; a trained parameter is one."""
        node = self.node_of(tensor) if tensor.constant is None else None
        return None if node is not None and node.target in self.open_state else super().value_of(tensor)

    def input(self, name: str, like: torch.Tensor) -> RecordedTensor:
        """A further input of the step, with the shape and dtype of a tensor; one for each name."""
        if name not in self._inputs:
            spec = Spec(tuple(like.shape), like.stride(), like.dtype)
            self._inputs[name] = self.placeholder(name, (spec,), like.device)
        return self._inputs[name]

    def uniform(self, sizes: Sequence[int | torch.SymInt], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """Numbers of [0, 1) that follow from the seed, others at each call."""
        seed = self.input(SEED, torch.zeros((), dtype=torch.int64))
        self._draws += 1
        drawn = self.call(own_overloads.uniform, (seed, self._draws, list(sizes)), {"device": device})
        result: torch.Tensor = drawn if dtype == drawn.dtype else self.call(aten.to.dtype, (drawn, dtype), {})
        return result


def _no_gradient(what: Any, source: str) -> GradientError:
    return GradientError(
        f"{what}: no gradient can be taken through it in a training step",
        hint="use torch.where, or compute it under torch.no_grad()",
        source=source,
    )


def record_step(
    function: Callable[..., Any], model: torch.nn.Module, signature: Signature, step: Step, trained: Collection[str]
) -> CapturedGraph:  # fmt: skip
    """Record one step of training.

    Args:
        function: the forward pass, called with the signature's arguments.
        model: whose parameters and buffers give names.
        signature: the inputs and their dynamic dims; it gets the names of the results.
        step: is called with the recorder and the function's result, with gradients still to be had; returns
            the results of the graph.
        trained: the names of the parameters that become inputs.

    Returns:
        The graph. Behind the placeholders of the signature come those of trained parameters, of buffers that
        are written, and of what the step asked for.
    """
    return with_known_values(
        lambda answers, counts: _recorded(function, model, signature, step, trained, answers, counts), signature
    )


def _recorded(
    function: Callable[..., Any], model: torch.nn.Module, signature: Signature, step: Step,
    trained: Collection[str], answers: Sequence[bool], counts: Counts,
) -> CapturedGraph:  # fmt: skip
    buffers = {name for name, _ in model.named_buffers()}
    recorder = TrainingRecorder(state_names(model), {*trained, *buffers})
    recorder.answers, recorder.equal_counts = answers, counts
    with _recording(recorder, model, signature) as (args, kwargs):
        results = step(recorder, function(*args, **kwargs))
        captured = finished(recorder, model, list(results.values()))
    opened = {*trained, *captured.mutations}
    signature.output_names, signature.updated_buffers = list(results), list(captured.mutations)
    for node in captured.graph.nodes:
        if node.op == "get_attr" and node.target in opened:
            node.op = "placeholder"
            captured.state.pop(str(node.target))
    return captured


def record_with_gradients(
    function: Callable[..., Any], model: torch.nn.Module | None, signature: Signature
) -> CapturedGraph:  # fmt: skip
    """Record one call of a function that takes gradients itself, such as forces of an energy."""
    return with_known_values(
        lambda answers, counts: _recorded_with_gradients(function, model, signature, answers, counts), signature
    )


def _recorded_with_gradients(
    function: Callable[..., Any], model: torch.nn.Module | None, signature: Signature, answers: Sequence[bool],
    counts: Counts,
) -> CapturedGraph:  # fmt: skip
    recorder = TrainingRecorder(state_names(model), (), seeded=False)
    recorder.answers, recorder.equal_counts = answers, counts
    with _recording(recorder, model, signature) as (args, kwargs):
        captured = finished(recorder, model, signature.flatten_result(function(*args, **kwargs)))
        captured.forks, captured.result_names = recorder.forks, signature.output_names
        return captured


@contextlib.contextmanager
def _recording(
    recorder: Recorder, model: torch.nn.Module | None, signature: Signature
) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:  # fmt: skip
    """Record below autograd; yields the arguments of the call."""
    functions = FORMULAS | recurrent_formulas(recorder) | alignment_formulas(recorder)
    formulas = {f"aten::{name}": function for name, function in functions.items()}

    def call(overload: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A formula by itself, for the dispatcher wants its sizes as numbers; others so that autograd sees them."""
        return formulas.get(overload.name(), overload)(*args, **kwargs)

    with below_autograd(formulas), recording(recorder, model, signature, call) as arguments:
        try:
            yield arguments
        except Exception as error:
            if isinstance(error, ExportError) or not is_of_control_flow(error):
                raise
            # For gradients torch makes graphs of the functions, which open sizes and closures may not be in.
            raise _no_gradient("torch.cond or a loop of torch", user_line(error)) from error


def unsafe_split(recorder: Recorder, func: Any, *args: Any, **kwargs: Any) -> Any:
    """Its parts are no views, so that recurrent layers may write to them."""
    return take_apart(recorder, aten.split_copy.Tensor, *args, **kwargs)


def change_shape(recorder: Recorder, func: Any, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """A view that takes the place of the tensor itself, which autograd knows and so must stay the same object."""
    given = recorder.tensor(tensor)
    view = recorder.tensor(recorder.call(IN_PLACE_VIEWS[func], (given, *args), kwargs))
    viewed = recorder.wrap(given.specs, given.device, given.node)
    vars(viewed).update(vars(given))
    reshape_in_place(given, view)
    vars(given).update(vars(view), parent=viewed if view.parent is given else view.parent)
    return given


def map_impl(
    recorder: Recorder, func: Any, body: Callable[..., Any], xs: Sequence[Any], further: Sequence[Any] = ()
) -> Any:
    """Its backward pass, which torch has, gives no gradients that are right here."""
    if any(isinstance(x, torch.Tensor) and x.requires_grad for x in (*xs, *further)):
        raise _no_gradient("map", str(recorder.source() or ""))
    return control_flow.map_impl(recorder, func, body, xs, further)


_BELOW_AUTOGRAD: dict[Any, Callable[..., Any]] = dict.fromkeys(IN_PLACE_VIEWS, change_shape) | {
    aten.unsafe_split.Tensor: unsafe_split,
    higher_order("map_impl"): map_impl,
}
