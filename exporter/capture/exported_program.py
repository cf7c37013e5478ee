"""The front end for an `ExportedProgram`, given or made by `torch.export`: its module is recorded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import torch

from exporter import structures
from exporter.capture.torch_internals import tree_flatten
from exporter.dynamic_dims import NUMBER
from exporter.errors import InputError
from exporter.signature import Signature, is_value


def example_of(program: torch.export.ExportedProgram) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The example inputs that a program was made with.

    Raises:
        InputError: it does not carry them.
    """
    if program.example_inputs is None:
        raise InputError("example_inputs: must be given, the ExportedProgram carries none")
    args, kwargs = program.example_inputs
    return tuple(args), dict(kwargs)


def dynamic_shapes_of(program: torch.export.ExportedProgram, signature: Signature) -> dict[str, Any]:
    """The program's dynamic dims in our spelling: name of a tensor -> axis -> `Dim`, of an integer -> its `Dim`.

    Args:
        program: names tensors within lists and dicts in its own way.
        signature: a call of it.
    """
    args, kwargs = signature.unflatten(signature.leaves)
    _, keywords = program.call_spec.in_spec.children()
    given = tree_flatten((args, {name: kwargs[name] for name in keywords.context}))[0]
    names = {id(leaf): name for name, leaf in zip(signature.input_names, signature.leaves, strict=True)}
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    shapes: dict[str, Any] = {}
    for leaf, name in zip(given, program.graph_signature.user_inputs, strict=True):
        value = values.get(name) if isinstance(name, str) else None
        if isinstance(value, torch.SymInt):
            shapes[name] = _dim_of(value, program)
        elif isinstance(value, torch.Tensor):
            sizes: list[int | torch.SymInt] = list(value.shape)
            dims = {a: _dim_of(n, program) for a, n in enumerate(sizes) if isinstance(n, torch.SymInt)}
            shapes |= {names[id(leaf)]: dims} if dims else {}
    return shapes


def _dim_of(size: torch.SymInt, program: torch.export.ExportedProgram) -> torch.export.Dim:
    ranges = {str(symbol): interval for symbol, interval in program.range_constraints.items()}
    interval = ranges.get(str(size))
    low = 0 if interval is None or not interval.lower.is_number else int(interval.lower)
    limit = None if interval is None or interval.upper > 2**31 else int(interval.upper)
    return torch.export.Dim(str(size), min=low, max=limit)


Results = deque[Any]  # torch.export puts lists and attributes of a module back to what they were


class _Flat(torch.nn.Module):
    """A model that takes and returns plain tensors, whatever its structures are: torch knows few of them."""

    def __init__(self, model: Callable[..., Any], signature: Signature, results: Results) -> None:
        super().__init__()
        self._model, self._signature, self._results = model, signature, results

    def forward(self, *tensors: torch.Tensor) -> tuple[Any, ...]:
        """The values among the leaves of the model's result."""
        leaves = list(self._signature.leaves)
        for index, tensor in zip(self._signature.tensor_indices, tensors, strict=True):
            leaves[index] = tensor
        args, kwargs = self._signature.unflatten(leaves)
        result = self._model(*args, **kwargs)
        self._results.append(result)
        return tuple(leaf for _, leaf in structures.flatten(result) if is_value(leaf))


def _left_open(dims: Mapping[int, Any]) -> dict[int, Any] | None:
    return {axis: torch.export.Dim.AUTO for axis in dims if axis != NUMBER} or None


def exported_function(model: Callable[..., Any], signature: Signature) -> Callable[..., Any]:
    """The model as a function that runs the graph of `torch.export`; dynamic dims are left to `Dim.AUTO` there."""
    results: Results = deque(maxlen=1)
    flat = _Flat(model, signature, results)
    places = signature.tensor_indices
    shapes = None
    if signature.is_dynamic:
        shapes = (tuple(_left_open(signature.dims[i]) for i in places),)
    tensors = tuple(signature.leaves[i] for i in places)
    module = torch.export.export(flat, tensors, dynamic_shapes=shapes, strict=False).module()
    (result,) = results

    def replay(*args: Any, **kwargs: Any) -> Any:
        given = [leaf for _, leaf in structures.flatten((args, kwargs))]
        inputs = (given[i] if isinstance(given[i], torch.Tensor) else torch.tensor(given[i]) for i in places)
        values = iter(module(*inputs))
        return structures.rebuild(
            result, (next(values) if is_value(leaf) else leaf for _, leaf in structures.flatten(result))
        )

    return replay
