"""The front end for an `ExportedProgram`, given or made by `torch.export`: its module is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from exporter.errors import InputError
from exporter.signature import Signature


def example_of(program: torch.export.ExportedProgram) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The example inputs that a program was made with.

    Raises:
        InputError: it does not carry them.
    """
    if program.example_inputs is None:
        raise InputError("example_inputs: must be given, the ExportedProgram carries none")
    args, kwargs = program.example_inputs
    return tuple(args), dict(kwargs)


def dynamic_shapes_of(program: torch.export.ExportedProgram) -> dict[str, dict[int, Any]]:
    """The program's dynamic dims in our spelling: input name -> axis -> `Dim`, with its range."""
    shapes: dict[str, dict[int, Any]] = {}
    users = set(program.graph_signature.user_inputs)
    ranges = {str(symbol): interval for symbol, interval in program.range_constraints.items()}
    for node in program.graph.nodes:
        if node.op != "placeholder" or node.name not in users:
            continue
        for axis, size in enumerate(getattr(node.meta.get("val"), "shape", ())):
            if isinstance(size, torch.SymInt):
                name = str(size)
                interval = ranges.get(name)
                low = 0 if interval is None or not interval.lower.is_number else int(interval.lower)
                limit = None if interval is None or interval.upper > 2**31 else int(interval.upper)
                shapes.setdefault(node.name, {})[axis] = torch.export.Dim(name, min=low, max=limit)
    return shapes


def export_program(
    model: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], signature: Signature
) -> torch.export.ExportedProgram:
    """`torch.export` of the model, with the signature's dynamic dims left to `Dim.AUTO`."""
    if not signature.is_dynamic:
        return torch.export.export(model, args, dict(kwargs), strict=False)
    open_dims = [dict.fromkeys(dims, torch.export.Dim.AUTO) if dims else None for dims in signature.dims]
    positional, keyword = signature.unflatten(open_dims)
    shapes = dict(zip(signature.positional_names, positional, strict=True)) | keyword
    return torch.export.export(model, args, dict(kwargs), dynamic_shapes=shapes, strict=False)
