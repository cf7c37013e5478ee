"""What is asked for: a model by its factory, how it is exported, and what it may differ by from its baseline."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from exporter.errors import ManifestError

_INPUT = re.compile(r"(?P<dtype>\w+)\s*\[(?P<dims>[\d\s,]*)\]\s*(?:(?P<kind>[<=])\s*(?P<number>-?\d+(\.\d+)?))?")


@dataclass(frozen=True)
class Tolerances:
    """What a model may differ by, as shares: 0.01 is one per cent.

    Attributes:
        values: of an output's scale, between eager and onnxruntime; by its dtype where None.
        nodes: by which the number of nodes may grow over the baseline's.
        bytes: by which the file and the weights may grow.
        seconds: by which the export may take longer; 1 is twice as long.
    """

    values: float | None = None
    nodes: float = 0.0
    bytes: float = 0.01
    seconds: float = 1.0


@dataclass(frozen=True)
class ModelSpec:
    """One model of a manifest.

    Attributes:
        name: what it is called in reports and in the baseline.
        factory: `package.module:function`, which returns a model, `(model, inputs)` or
            `(model, inputs, dynamic_shapes)`.
        arguments: keyword arguments of the factory.
        inputs: a list or dict of descriptions, see `example_input`, where the factory gives no inputs.
        dynamic_shapes: the open dims, where the factory gives none; as export() takes them.
        opset: the opset of the model.
        capture: the front end, as export() takes it.
        strict: whether code that decides by a dynamic size is an error.
        allow_fixed: whether a dynamic dim may become static where Python code needs its number.
        providers: the execution providers that it is validated on.
        tolerances: what it may differ by.
        tags: words to choose models by.
        timeout_seconds: of wall clock, from the start of its process.
        memory_mb: the resident memory of its process and that one's children; torch alone takes about 400.
        setup: `package.module:function`, called first in the process.
        path: folders in which modules are found, before all others.
        folder: in which the process works, where it exists.
    """

    name: str
    factory: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    inputs: list[str] | dict[str, str] | None = None
    dynamic_shapes: Any = None
    opset: int = 18
    capture: str = "auto"
    strict: bool = False
    allow_fixed: bool = False
    providers: tuple[str, ...] = ("cpu",)
    tolerances: Tolerances = Tolerances()
    tags: tuple[str, ...] = ()
    timeout_seconds: float = 300.0
    memory_mb: float = 8192.0
    setup: str = ""
    path: tuple[str, ...] = ()
    folder: str = ""


def example_input(described: str) -> torch.Tensor:
    """A tensor from its description: `float32[1, 3, 224, 224]`, `int64[1, 16] < 1000` or `int64[1, 16] = 1`.

    Floats are normally distributed, integers lie from 0 up to the number behind `<` (2 where there is none).

    Raises:
        ManifestError: it is no such description.
    """
    found = _INPUT.fullmatch(described.strip())
    dtype = vars(torch).get(found["dtype"]) if found else None
    if found is None or not isinstance(dtype, torch.dtype):
        raise ManifestError(
            f"inputs: must be a dtype and a shape, got {described!r}",
            hint='for instance "float32[1, 3, 224, 224]", "int64[1, 16] < 1000" or "bool[1, 16] = 1"',
        )
    shape = [int(size) for size in found["dims"].split(",") if size.strip()]
    if found["kind"] == "=":
        return torch.full(shape, float(found["number"])).to(dtype)
    if dtype.is_floating_point or dtype.is_complex:
        return torch.randn(shape, dtype=dtype)
    return torch.randint(0, int(float(found["number"] or 2)), shape).to(dtype)
