"""The front end for `torch.compile`: Dynamo's bytecode capture gives one whole graph, which is recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from exporter import structures
from exporter.capture.torch_internals import DynamoError, dynamo_settings, guards_of, mark_dynamic, reset_dynamo
from exporter.errors import CaptureError
from exporter.signature import Signature


class _Capture:
    """A Dynamo backend that keeps the graph and returns stand-ins, so that nothing is run."""

    def __init__(self) -> None:
        self.module: fx.GraphModule | None = None
        self.inputs: Sequence[Any] = ()
        self.outputs: list[Any] = []
        self.sizes: list[int] = []  # which inputs are sizes
        self.holds: Callable[[Sequence[Any]], bool] = lambda sizes: True  # what the graph takes for granted of them

    def __call__(self, module: fx.GraphModule, example_inputs: Sequence[Any]) -> Callable[..., Any]:
        self.module = module
        self.sizes = [i for i, item in enumerate(example_inputs) if isinstance(item, torch.SymInt)]
        self.holds = guards_of([example_inputs[i] for i in self.sizes])

        def stand_in(*inputs: Any) -> tuple[Any, ...]:
            self.inputs = inputs
            results = next(node for node in module.graph.nodes if node.op == "output").args[0]
            self.outputs = [_stand_in(node, i) for i, node in enumerate(results)]
            return tuple(self.outputs)

        return stand_in


def compiled_function(
    model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], signature: Signature
) -> Callable[..., Any]:
    """The model as a function that runs the graph which Dynamo captured.

    Raises:
        CaptureError: Dynamo broke the graph; the text says where.
    """
    if signature.numbers:
        names = ", ".join(signature.input_names[i] for i in signature.numbers)
        raise CaptureError(
            f"torch.compile: takes {names} for a constant, which dynamic_shapes leaves open",
            hint='capture="record" keeps it open',
        )
    capture = _Capture()
    for index in signature.tensor_indices:
        for axis in signature.dims[index]:
            mark_dynamic(signature.leaves[index], axis)
    reset_dynamo()
    try:
        with torch.no_grad(), dynamo_settings():
            result = torch.compile(model, backend=capture, fullgraph=True)(*args, **kwargs)
    except DynamoError as error:
        raise CaptureError(f"torch.compile: {_first_lines(error)}") from error
    finally:
        reset_dynamo()
    module = capture.module
    places = {id(leaf): i for i, leaf in enumerate(signature.leaves) if isinstance(leaf, torch.Tensor)}
    results = {_mark(item): i for i, item in enumerate(capture.outputs)}
    returned = [leaf for _, leaf in structures.flatten(result)]  # before a replay fills the structure with others

    def replay(*args: Any, **kwargs: Any) -> Any:
        leaves = [leaf for _, leaf in structures.flatten((args, kwargs))]

        def given(item: Any) -> Any:
            return leaves[places[id(item)]] if id(item) in places else item

        inputs = [] if module is None else _with_sizes(module, list(map(given, capture.inputs)))
        capture.holds([inputs[i] for i in capture.sizes])  # asked of symbolic sizes, it is a decision by them
        outputs = () if module is None else module(*inputs)
        filled = (outputs[results[_mark(leaf)]] if _mark(leaf) in results else given(leaf) for leaf in returned)
        return structures.rebuild(result, filled)

    return replay


def _stand_in(node: Any, index: int) -> Any:
    """What stands for a result of the graph: a tensor without memory, or an integer that nobody computes."""
    value = node.meta.get("example_value") if isinstance(node, fx.Node) else node
    if isinstance(value, torch.Tensor):
        return torch.empty([int(n) for n in value.shape], dtype=value.dtype, device="meta")
    return _FIRST_MARK + index if isinstance(value, torch.SymInt) else value


_FIRST_MARK = 2**52 + 1


def _mark(item: Any) -> int:
    """What tells a stand-in apart from all else."""
    return item if type(item) is int and item >= _FIRST_MARK else id(item)


def _with_sizes(module: fx.GraphModule, inputs: Sequence[Any]) -> list[Any]:
    """The inputs of the graph, its plain sizes taken from the recorded tensors that have them."""
    placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
    sizes: dict[str, Any] = {}
    for node, value in zip(placeholders, inputs, strict=True):
        example = node.meta.get("example_value")
        if isinstance(example, torch.Tensor) and isinstance(value, torch.Tensor):
            for axis, size in enumerate(example.shape):
                sizes.setdefault(str(size), value.shape[axis])
    return [
        sizes.get(str(node.meta.get("example_value")), value) if isinstance(value, int) else value
        for node, value in zip(placeholders, inputs, strict=True)
    ]


def _first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    where = [line for line in lines if line.startswith("File ")]
    return "; ".join(lines[:2] + where[-1:])
