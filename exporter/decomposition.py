"""What to do for an overload that has no rule: torch's own decomposition, recorded for that call alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from exporter.capture.graph import CapturedGraph, Decision, live_nodes
from exporter.capture.handlers import HANDLERS
from exporter.capture.recorder import Recorder
from exporter.capture.sizes import SizeNode
from exporter.capture.torch_internals import above_autograd, compiling, decomposition_of, size_from_node
from exporter.errors import ExportError, LoweringError


def decompose(node: fx.Node) -> CapturedGraph | None:
    """Record what torch makes of a call out of simpler overloads; None where torch knows nothing.

    Of an `autograd.Function` this is what its `forward` does.  The placeholders of the result are the nodes
    among the call's arguments, in order.

    Raises:
        LoweringError: the decomposition works for the example's sizes alone.
    """
    target: Any = node.target
    function: Any = target.apply if isinstance(target, type) else decomposition_of(target)  # type: ignore[attr-defined]  # a Function
    if function is None:
        return None
    recorder = Recorder({}, HANDLERS)
    try:
        with above_autograd(), compiling():
            args = [_stand_in(recorder, argument) for argument in node.args]
            kwargs = {name: _stand_in(recorder, argument) for name, argument in node.kwargs.items()}
            with recorder:
                result = function(*args, **kwargs)
                is_sequence = isinstance(result, (list, tuple))
                outputs = [_output(recorder, item) for item in (result if is_sequence else [result])]
    except NotImplementedError:
        return None
    except ExportError as error:
        raise _failed(node, error.problem) from error
    except Exception as error:
        raise _failed(node, f"{type(error).__name__}: {error}") from error
    if result is NotImplemented or any(user.target is target for user in recorder.graph.nodes):
        return None
    ends = [item for item in outputs if isinstance(item, fx.Node)]
    recorder.graph.output(tuple(ends))
    captured = CapturedGraph(recorder.graph, recorder.state, outputs, is_sequence=is_sequence)
    live = set(live_nodes(recorder.graph, ends))
    source = node.meta.get("source")
    decided = [decision for decision in recorder.decisions if decision.counts(live)]
    for decision in decided:
        if decision.fixed:
            raise _failed(node, f"it needs a number for a size that is open, {decision.size.values[0]} in the example")
    captured.decisions = [Decision(decision.size, source, False, decision.parts) for decision in decided]
    return captured


def _failed(node: fx.Node, why: str) -> LoweringError:
    return LoweringError(
        f"{node.target}: has no rule, and torch's decomposition cannot be recorded: {why}",
        hint="export with all of its dims static, or give a rule: export(..., lowerings={overload: rule})",
        source=str(node.meta.get("source") or ""),
    )


def _output(recorder: Recorder, item: Any) -> Any:
    return recorder.node_of(recorder.tensor(item)) if isinstance(item, torch.Tensor) else item


def _stand_in(recorder: Recorder, argument: Any) -> Any:
    """A recorded tensor for each tensor of the call, and a size of the same samples for each size."""
    if isinstance(argument, fx.Node):
        if "values" in argument.meta:
            node = recorder.graph.placeholder(argument.name)
            node.meta["values"] = argument.meta["values"]
            return size_from_node(SizeNode(recorder, argument.meta["values"], None, (node, None)))
        return recorder.placeholder(argument.name, argument.meta["specs"][0], torch.device("cpu"))
    if isinstance(argument, (list, tuple)):
        return [_stand_in(recorder, item) for item in argument]
    return argument
