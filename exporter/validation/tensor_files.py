"""Tensors as `.pb` files, in the layout of ONNX's backend tests: `test_data_set_<n>/{input,output}_<i>.pb`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx
import onnx_ir as ir
import torch

from aten_lowering.dtypes import to_torch
from exporter.errors import InputError
from exporter.weights import weight

__all__ = ["DataSet", "data_sets", "read_tensors", "set_folders", "write_tensors"]

DataSet = tuple[str, list[torch.Tensor], list[torch.Tensor]]


def data_sets(folder: Path) -> list[DataSet]:
    """The data sets of a test case: name, inputs, outputs.

    Raises:
        InputError: there are none, or one cannot be read.
    """
    found = set_folders(folder)
    if not found:
        raise InputError(f"{folder}: must have folders test_data_set_<n> with input_<i>.pb and output_<i>.pb")
    return [(path.name, read_tensors(path, "input"), read_tensors(path, "output")) for path in found]


def read_tensors(folder: Path, kind: str) -> list[torch.Tensor]:
    """The tensors `<kind>_<i>.pb` of a folder, in order.

    Raises:
        InputError: a file is no tensor.
    """
    tensors = []
    for path in _numbered(folder, f"{kind}_*.pb"):
        proto = onnx.TensorProto()
        try:
            proto.ParseFromString(path.read_bytes())
            stored = ir.serde.deserialize_tensor(proto)
        except Exception as error:
            raise InputError(f"{path}: must be a TensorProto: {error}") from error
        data = bytearray(stored.tobytes())
        dtype = to_torch(stored.dtype)
        flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        tensors.append(flat.reshape(tuple(proto.dims)))
    return tensors


def write_tensors(folder: Path, kind: str, tensors: Sequence[torch.Tensor], names: Sequence[str]) -> None:
    """Write tensors as `<kind>_<i>.pb`, each under the name of its value in the model."""
    folder.mkdir(exist_ok=True)
    for i, (tensor, name) in enumerate(zip(tensors, names, strict=True)):
        proto = ir.serde.serialize_tensor(weight(tensor.contiguous(), name))
        (folder / f"{kind}_{i}.pb").write_bytes(proto.SerializeToString())


def set_folders(folder: Path) -> list[Path]:
    """The folders of a test case's data sets, in order."""
    return list(_numbered(folder, "test_data_set_*"))


def _numbered(folder: Path, pattern: str) -> Iterator[Path]:
    """The entries of a folder that match, in the order of their numbers."""
    yield from sorted(folder.glob(pattern), key=lambda path: int(re.findall(r"\d+", path.name)[-1]))
