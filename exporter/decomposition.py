"""What to do for an overload that has no rule: torch's own decomposition, recorded for that call alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from exporter.capture.graph import CapturedGraph
from exporter.capture.handlers import HANDLERS
from exporter.capture.recorder import Recorder
from exporter.capture.sizes import SizeNode
from exporter.capture.torch_internals import above_autograd, compiling, decomposition_of, size_from_node


def decompose(node: fx.Node) -> CapturedGraph | None:
    """Record what torch makes of a call out of simpler overloads; None where torch knows nothing.

    Of an `autograd.Function` this is what its `forward` does.

    The placeholders of the result are the nodes among the call's arguments, in order.
    """
    target: Any = node.target
    function: Any = target.apply if isinstance(target, type) else decomposition_of(target)  # type: ignore[attr-defined]  # a Function
    if function is None:
        return None
    recorder = Recorder({}, HANDLERS)
    with above_autograd(), compiling():
        args = [_stand_in(recorder, argument) for argument in node.args]
        kwargs = {name: _stand_in(recorder, argument) for name, argument in node.kwargs.items()}
        with recorder:
            try:
                result = function(*args, **kwargs)
            except NotImplementedError:
                return None
            is_sequence = isinstance(result, (list, tuple))
            results = list(result) if is_sequence else [result]
            outputs = [
                recorder.node_of(recorder.tensor(item)) if isinstance(item, torch.Tensor) else item for item in results
            ]
    if result is NotImplemented or any(user.target is node.target for user in recorder.graph.nodes):
        return None
    recorder.graph.output(tuple(item for item in outputs if isinstance(item, fx.Node)))
    return CapturedGraph(recorder.graph, recorder.state, outputs, is_sequence=is_sequence)


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
