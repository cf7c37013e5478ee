"""The models that shape passes are compared on: the zoo's, by two exporters, static and dynamic, without their weights.

Every weight is a range of one file of zeros that takes no room on the disk, so that a model loads in a
moment, and still runs. What the exporter wrote about shapes is left out: the passes shall find it themselves.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench
import numpy as np
import onnx
import onnx_ir as ir

EXPORTERS = {"ours": bench.export_ours, "torch.onnx": bench.export_torch}
ZEROS = "zeros.bin"

# A tensor of more bytes is a weight, and no size or scale.
_SMALL_BYTES = 1024


@dataclass(frozen=True)
class Model:
    """A model in the folder: which it is, where its file is, and inputs for it at some sizes."""

    name: str
    exporter: str
    kind: str
    path: Path

    @property
    def feeds_path(self) -> Path:
        """Where its inputs are."""
        return self.path.with_suffix(".npz")

    def feeds(self) -> list[dict[str, Any]]:
        """Inputs at each size, by the names of the model's inputs."""
        found: dict[str, dict[str, Any]] = {}
        with np.load(self.feeds_path) as arrays:
            for key, array in arrays.items():
                size, _, name = key.partition("/")
                found.setdefault(size, {})[name] = array
        return list(found.values())


def prepare(names: Iterable[str], folder: Path) -> Iterator[Model | str]:
    """Export what is not in the folder yet: the models, or for each that an exporter refuses a line that says so."""
    folder.mkdir(parents=True, exist_ok=True)
    refusals = _Refusals(folder / "refusals.json")
    for name in names:
        built: list[Any] = []
        for exporter, kind in ((exporter, kind) for exporter in EXPORTERS for kind in ("static", "dynamic")):
            model = Model(name, exporter, kind, folder / f"{name}.{exporter}.{kind}.onnx")
            title = f"{name} {exporter} {kind}"
            if not model.feeds_path.exists() and title not in refusals.found:
                from zoo import CASES  # which imports torch: not where all models are in the folder

                case = CASES[name]
                built = built or [case.build()]
                refused = bench.attempt(_export, case, built[0], model)
                if isinstance(refused, Exception):
                    refusals.add(title, bench.short(refused))
            yield f"{title}: {refusals.found[title]}" if title in refusals.found else model


class _Refusals:
    """What was refused, in a file, so that it is not tried again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.found: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}

    def add(self, title: str, reason: str) -> None:
        self.found[title] = reason
        self._path.write_text(json.dumps(self.found, indent=1))


def _export(case: Any, module: Any, model: Model) -> None:
    import torch

    dynamic = model.kind == "dynamic"
    with torch.no_grad():
        program = EXPORTERS[model.exporter](module, case.inputs(), case.dynamic_shapes if dynamic else None)
    found = program.model
    _name_inputs(found)
    makers: list[Callable[[], Any]] = [case.inputs] + [case.other_inputs] * dynamic
    arrays: dict[str, Any] = {}
    for place, make in enumerate(makers):
        for value, array in zip(found.graph.inputs, _flat(make()), strict=True):
            arrays[f"{place}/{value.name}"] = array
    onnx.save(_bare(_without_weights(found, model.path.parent)), model.path)
    np.savez(model.feeds_path, **arrays)


def _flat(inputs: Any) -> list[Any]:
    """The tensors of the inputs, caches among them, in the order of the model's inputs."""
    import torch

    from exporter import structures

    args, kwargs = bench.split(inputs)
    leaves = [leaf for _, leaf in structures.flatten((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    return [leaf.numpy() for leaf in leaves]


def _name_inputs(model: ir.Model) -> None:
    """Give the inputs' open dims names, which all passes then share."""
    for value in model.graph.inputs:
        if value.shape is not None:
            named = [
                f"{value.name}_{axis}" if not isinstance(dim, int) and dim.value is None else dim
                for axis, dim in enumerate(value.shape)
            ]
            value.shape = ir.Shape([dim if isinstance(dim, int) else str(dim) for dim in named])


def _without_weights(model: ir.Model, folder: Path) -> onnx.ModelProto:
    """The model, each weight a range of the file of zeros."""
    largest = 0
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is None or tensor.nbytes <= _SMALL_BYTES:
            continue
        largest = max(largest, tensor.nbytes)
        value.const_value = ir.ExternalTensor(
            ZEROS, 0, tensor.nbytes, tensor.dtype, shape=ir.Shape(tensor.shape), name=value.name or "", base_dir=folder
        )
    zeros = folder / ZEROS
    if not zeros.exists() or zeros.stat().st_size < largest:
        with open(zeros, "ab") as file:
            os.truncate(file.fileno(), largest)
    return ir.to_proto(model)


def _bare(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model as one that nobody has inferred yet, without the notes on where each node came from."""
    del model.graph.value_info[:]
    for function in model.functions:
        del function.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    for item in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
        del item.metadata_props[:]
        item.ClearField("doc_string")
    return model
