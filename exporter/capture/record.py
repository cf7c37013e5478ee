"""The default front end: run the model's own Python code under the recorder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, NoReturn, TypeVar

import torch

from exporter.capture.branching.branches import explored, is_in_users_code, is_raised_by_user
from exporter.capture.branching.fixing import warn_fixed_values
from exporter.capture.custom_functions import Keeps, whole_functions
from exporter.capture.data_dependence.counts import Counts, CountsEqual
from exporter.capture.graph import CapturedGraph, live_nodes
from exporter.capture.handlers import HANDLERS
from exporter.capture.known import ValueNeeded
from exporter.capture.loops.manner import Manner
from exporter.capture.loops.number_types import NumbersAsked, asks_for_type
from exporter.capture.loops.rolling import check_closed
from exporter.capture.loops.visits import NoRound
from exporter.capture.recorder import Recorder
from exporter.capture.replacements.torch_functions import custom_function_calls
from exporter.capture.sizes import SAMPLES
from exporter.capture.surroundings import surroundings
from exporter.capture.tensors import RecordedTensor, Spec, contiguous
from exporter.capture.torch_internals import above_autograd
from exporter.eager import untouched
from exporter.errors import DataDependentError
from exporter.profile.timeline import current
from exporter.profile.watching import watch_recorder
from exporter.signature import Signature

Recorded = TypeVar("Recorded")


class GradientsAsked(BaseException):
    """The model's code takes a gradient, which there is none of above autograd; no `except Exception` may catch it."""


def record(
    function: Callable[..., Any], model: torch.nn.Module | None, signature: Signature,
    keeps: Keeps = lambda function: False,
) -> CapturedGraph:  # fmt: skip
    """Record one call of `function`.

    Args:
        function: what is called with the signature's arguments.
        model: whose parameters, buffers and submodules give names; None for a plain function.
        signature: the inputs and their dynamic dims.
        keeps: whether an `autograd.Function` stays whole.

    Returns:
        The graph.  `outputs` follow the flattened result; `signature.result` is told its structure.

    Raises:
        GradientsAsked: `exporter.capture.training.steps.record_with_gradients` can do it.
    """
    manner, problem = Manner(rolls=signature.is_dynamic, symbolic_in=[], no_rounds=frozenset()), None
    while True:
        try:
            return with_known_values(
                lambda answers, counts: _recorded(function, model, signature, answers, keeps, manner, counts),
                signature,
                lambda: manner.rolled or bool(manner.symbolic_in),
            )
        except NumbersAsked as asked:
            manner = replace(manner, rolled=False, symbolic_in=[*(manner.symbolic_in or ()), asked.module])
        except NoRound as found:
            manner = replace(manner, no_rounds=(manner.no_rounds or frozenset()) | {(found.loop, found.place)})
        except Exception as error:
            other = _another(manner, error, rolls=signature.is_dynamic)
            if other is None:
                raise problem or error from None
            if other.flags < manner.flags:
                problem = problem or error
            manner = other


def _another(manner: Manner, error: Exception, *, rolls: bool) -> Manner | None:
    """In which manner to record a model again after an error; None where there is no other."""
    if manner.rolled:
        return replace(manner, rolls=False, rolled=False)
    if (module := asks_for_type(error, manner.symbolic_in)) is not None:
        return replace(manner, symbolic_in=[*(manner.symbolic_in or ()), module])
    if manner.symbolic_in:
        return replace(manner, rolls=rolls, symbolic_in=None)
    if manner.flags and is_in_users_code(error):  # what libraries do for exporters may be what fails
        flags = manner.flags - 1 if is_raised_by_user(error) else 0
        return replace(manner, rolls=rolls, flags=flags, symbolic_in=[])
    return None


def with_known_values(
    recorded: Callable[[Sequence[bool], Counts], CapturedGraph], signature: Signature,
    may_differ: Callable[[], bool] = lambda: False,
) -> CapturedGraph:  # fmt: skip
    """Record all ways that the model can go, and again as `with_values_asked_for` does.

    Args:
        recorded: takes answers to decisions by values, and what counts of elements must be.
        signature: is told which inputs' values are fixed.
        may_differ: whether what failed may be recorded in another way, which comes before fixing values.
    """
    return with_values_asked_for(
        lambda: explored(lambda answers: _with_counts_learnt(recorded, answers)), signature, may_differ
    )


def _with_counts_learnt(
    recorded: Callable[[Sequence[bool], Counts], CapturedGraph], answers: Sequence[bool]
) -> CapturedGraph:  # fmt: skip
    """Record one way that the model can go, again for as long as it tells what counts of elements are on it."""
    counts: Counts = {}
    while True:
        try:
            return recorded(answers, counts)
        except CountsEqual as found:
            counts[found.key] = found.values


def with_values_asked_for(
    recorded: Callable[[], Recorded], signature: Signature, may_differ: Callable[[], bool] = lambda: False
) -> Recorded:
    """Record again, knowing more, for as long as the recording asks for values that can be known.

    Args:
        recorded: records.
        signature: is told which inputs' values are fixed.
        may_differ: whether what failed may be recorded in another way, which comes before fixing values.
    """
    while True:
        try:
            return recorded()
        except ValueNeeded as question:
            signature.fixed_values |= question.inputs
        except DataDependentError as error:
            if may_differ() or not (error.inputs - signature.fixed_values or error.layouts - signature.fixed_layouts):
                raise
            signature.fixed_values |= error.inputs
            signature.fixed_layouts |= error.layouts
            warn_fixed_values(error)


def _recorded(
    function: Callable[..., Any], model: torch.nn.Module | None, signature: Signature, answers: Sequence[bool],
    keeps: Keeps, manner: Manner, counts: Counts,
) -> CapturedGraph:  # fmt: skip
    recorder = Recorder(state_names(model), HANDLERS)
    recorder.answers, recorder.equal_counts, recorder.symbolic_in = answers, counts, manner.symbolic_in
    functions = custom_function_calls(whole_functions(recorder, keeps))
    whole = recording(recorder, model, signature, recorder.call, manner)
    with functions, above_autograd(), _without_gradients(), whole as (args, kwargs):
        result = function(*args, **kwargs)
        if manner.rolled:
            check_closed(recorder)
        captured = finished(recorder, model, signature.flatten_result(result))
        captured.forks, captured.result_names = recorder.forks, signature.output_names
        return captured


@contextmanager
def _without_gradients() -> Iterator[None]:
    originals = torch.autograd.grad, torch.autograd.backward

    def asked(*args: Any, **kwargs: Any) -> NoReturn:
        raise GradientsAsked

    torch.autograd.grad = torch.autograd.backward = asked
    try:
        yield
    finally:
        torch.autograd.grad, torch.autograd.backward = originals


@contextmanager
def recording(
    recorder: Recorder,
    model: torch.nn.Module | None,
    signature: Signature,
    call: Callable[..., Any],
    manner: Manner | None = None,
) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Record what runs in the block; gives the arguments to call the function with.

    `call` takes overload, args and kwargs of calls with a size where torch's own binding wants a number;
    `manner` says how the model's code is run.
    """
    modules = {} if model is None else {id(module): name for name, module in model.named_modules()}
    manner = manner or Manner()
    recorder.named, recorder.layouts = signature.named_samples(), signature.fixed_layouts
    around = _scoped(recorder, modules)
    if (spans := current().spans) is not None:
        watch_recorder(recorder, spans)
        around = spans.modules(modules, around)
    with ExitStack() as stack:
        stack.enter_context(untouched(model))
        for replaced in surroundings(recorder, manner, call, around):
            stack.enter_context(replaced)
        arguments = signature.unflatten(inputs_of(recorder, signature))
        stack.enter_context(recorder)
        try:
            yield arguments
        except Exception:
            signature.decided = recorder.decisions
            raise


def finished(recorder: Recorder, model: torch.nn.Module | None, results: Sequence[Any]) -> CapturedGraph:
    """What was recorded, ending in these results; to be called while it is recorded still."""
    outputs = [_output(recorder, leaf) for leaf in results]
    captured = CapturedGraph(recorder.graph, recorder.state, outputs)
    captured.mutations = dict(_mutations(recorder, model))
    recorder.graph.output(tuple(o for o in outputs if isinstance(o, torch.fx.Node)))
    needed = [*captured.outputs, *captured.mutations.values()]
    live = set(live_nodes(recorder.graph, [item for item in needed if isinstance(item, torch.fx.Node)]))
    captured.decisions = [decision for decision in recorder.decisions if decision.counts(live)]
    return captured


def state_names(model: torch.nn.Module | None) -> dict[int, str]:
    """Id of each parameter and buffer -> its name in the state_dict, the first where it has several."""
    names: dict[int, str] = {}
    if model is not None:
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            names.setdefault(id(tensor), name)
    return names


def inputs_of(recorder: Recorder, signature: Signature) -> list[Any]:
    """The leaves of a call's arguments as the model is given them."""
    return [_input(recorder, signature, i) for i in range(len(signature.leaves))]


def _input(recorder: Recorder, signature: Signature, index: int) -> Any:
    """What the model is given for a flattened input: a recorded tensor, or the constant that it is."""
    leaf = signature.leaves[index]
    if not isinstance(leaf, torch.Tensor):
        return leaf
    name = signature.input_names[index]
    if signature.is_number(index):
        number = recorder.placeholder(name, (Spec((), (), leaf.dtype),), leaf.device)
        return recorder.named_number(number, signature.number_at_samples(index))
    specs = tuple(contiguous(shape, leaf.dtype) for shape in signature.shapes(index, SAMPLES))
    if len(specs) == 1:
        specs = (Spec(specs[0].shape, leaf.stride(), leaf.dtype),)
    placeholder = recorder.placeholder(name, specs, leaf.device)
    if name in signature.fixed_values:
        return recorder.fresh_constant(leaf)
    if len(specs) == 1:
        recorder.examples[recorder.node_of(placeholder).name] = leaf
    return placeholder


def _output(recorder: Recorder, leaf: Any) -> Any:
    if isinstance(leaf, torch.Tensor):
        return recorder.node_of(recorder.tensor(leaf))
    if isinstance(leaf, (torch.SymInt, torch.SymFloat, torch.SymBool)):
        return recorder.graph_node(leaf.node)
    return leaf


def _scoped(recorder: Recorder, names: Mapping[int, str]) -> Callable[..., Any]:
    """Keep `recorder.scope` at the path of the module that runs."""

    def around(call: Callable[..., Any], module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        before = recorder.scope
        recorder.scope = names.get(id(module)) or before
        try:
            return call(module, *args, **kwargs)
        finally:
            recorder.scope = before

    return around


def _mutations(recorder: Recorder, model: torch.nn.Module | None) -> Iterator[tuple[str, torch.fx.Node]]:
    """The buffers and parameters that hold another value after the call."""
    for name, tensor in () if model is None else (*model.named_buffers(), *model.named_parameters()):
        recorded = recorder.known(tensor)
        changed = recorded is not None and (recorded.storage_.version or recorded.parent is not None)
        if changed or isinstance(tensor, RecordedTensor):
            node = recorder.node_of(recorder.tensor(tensor))
            if node.op != "get_attr" or node.target != name:
                yield name, node
