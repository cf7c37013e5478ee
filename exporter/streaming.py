"""ONNX files written tensor by tensor, so that no more than one weight is in memory beside the model.

A protobuf message may be written in parts: the fields of a repeated one need not stand together.  So the model
without its weights is one small message, and each weight a field of its graph that is written behind it.

Source: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
import onnx_ir as ir

from exporter.profile.timeline import phase

__all__ = ["SMALL_BYTES", "write_model"]

SMALL_BYTES = 1024
"""Weights of less than this stay in the message."""
_PAGE_BYTES = 4096
_PAGED_FROM = 2**20  # bytes: larger weights begin at a page of their file, so that runtimes can map them into memory


def write_model(model: ir.Model, path: Path, *, external: str | None = None, keep_external: bool = False) -> None:
    """Write a model.

    Args:
        model: the model; its weights are read one after the other.
        path: the file.
        external: the file beside it for the weights; None: they stand in the model's own.
        keep_external: weights that are in files already stay there.

    Raises:
        OSError: a file cannot be written.
    """
    with phase("serialization") as it:
        with _without_weights(model, keep_external) as weights:
            message = ir.to_proto(model)
        graph = message.graph.SerializeToString()
        message.ClearField("graph")
        rest = message.SerializeToString()
        it.counts(len(graph) + len(rest), "bytes")
    with phase("writing") as it:
        if external is None:
            fields = [_with_bytes(name, tensor) for name, tensor in weights.items()]
            length = sum(map(len, fields)) + sum(tensor.nbytes for tensor in weights.values())
        else:
            offsets = _write_beside(weights.values(), path.parent / external)
            places = zip(weights.items(), offsets, strict=True)
            fields = [_in_file(name, tensor, external, offset) for (name, tensor), offset in places]
            length = sum(map(len, fields))
        with path.open("wb") as file:
            file.write(rest + _tag(onnx.ModelProto, "graph", len(graph) + length) + graph)
            for field, tensor in zip(fields, weights.values(), strict=True):
                file.write(field)
                if external is None:
                    _write_tensor(tensor, file)
        it.counts(path.stat().st_size + (0 if external is None else (path.parent / external).stat().st_size), "bytes")


@contextlib.contextmanager
def _without_weights(model: ir.Model, keep_external: bool) -> Iterator[dict[str, ir.TensorProtocol]]:
    """The large weights of the model's graph, which lacks them while the block runs."""
    initializers = model.graph.initializers
    before = dict(initializers)
    weights = {}
    for name, value in before.items():
        tensor = value.const_value
        if tensor is None or tensor.nbytes < SMALL_BYTES or tensor.dtype == ir.DataType.STRING:
            continue
        if not (keep_external and isinstance(tensor, ir.ExternalTensor)):
            weights[name] = tensor
            del initializers[name]
    try:
        yield weights
    finally:
        initializers.clear()
        initializers.update(before)


def _with_bytes(name: str, tensor: ir.TensorProtocol) -> bytes:
    """The field of a graph for a weight, up to its bytes, which come next."""
    header = _described(name, tensor).SerializeToString()
    header += _tag(onnx.TensorProto, "raw_data", tensor.nbytes)
    return _tag(onnx.GraphProto, "initializer", len(header) + tensor.nbytes) + header


def _in_file(name: str, tensor: ir.TensorProtocol, file: str, offset: int) -> bytes:
    """The field of a graph for a weight whose bytes are in another file."""
    message = _described(name, tensor)
    message.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", offset), ("length", tensor.nbytes)):
        message.external_data.add(key=key, value=str(value))
    content = message.SerializeToString()
    return _tag(onnx.GraphProto, "initializer", len(content)) + content


def _described(name: str, tensor: ir.TensorProtocol) -> onnx.TensorProto:
    return onnx.TensorProto(name=name, data_type=tensor.dtype.value, dims=tensor.shape.numpy())


def _write_beside(weights: Iterable[ir.TensorProtocol], path: Path) -> list[int]:
    """Write weights one after the other, and return where each begins."""
    offsets = []
    with path.open("wb") as file:
        for tensor in weights:
            if tensor.nbytes >= _PAGED_FROM:
                file.write(bytes(-file.tell() % _PAGE_BYTES))
            offsets.append(file.tell())
            _write_tensor(tensor, file)
    return offsets


def _write_tensor(tensor: ir.TensorProtocol, file: BinaryIO) -> None:
    start = file.tell()
    if isinstance(tensor, ir.ExternalTensor) or tensor.dtype.bitwidth < 8:
        tensor.tofile(file)  # type: ignore[attr-defined]  # which all tensors of onnx_ir have
    else:  # as bytes: `tofile` of an array takes five times as long
        file.write(np.ascontiguousarray(tensor.numpy()).reshape(-1).view(np.uint8).data)
    written = file.tell() - start
    if written != tensor.nbytes:
        raise OSError(f"{tensor.name}: must be {tensor.nbytes} bytes, got {written}")


def _tag(message: type, field: str, length: int) -> bytes:
    """What stands before a field that has a length: its number and wire type 2, and the length, as varints."""
    return _varint(message.DESCRIPTOR.fields_by_name[field].number << 3 | 2) + _varint(length)  # type: ignore[attr-defined]  # a generated class


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])
