"""Writing a model: whole or not at all, and no weight copied on the way."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir

from exporter.errors import SaveError
from exporter.streaming import write_model

_PROTOBUF_LIMIT = 2 * 2**30 - 16 * 2**20  # bytes: what a protobuf message may hold, less some for the nodes


def save(model: ir.Model, path: Path, *, external_data: bool | None = None, keep_external: bool = False) -> Path:
    """Write `model` to `path`, and its weights to `<path>.data` where they do not fit in or as asked.

    Args:
        model: the model.
        path: the file.
        external_data: whether the weights are written beside it; None: where they do not fit in.
        keep_external: weights that are in files already stay there, which must be in the folder of `path`.

    Raises:
        SaveError: the path cannot be written, the disk is full, or the model is too large for one file.
    """
    path = Path(path)
    size = weight_bytes(model, in_files=not keep_external)
    if external_data is None:
        external_data = size > _PROTOBUF_LIMIT
    elif not external_data and size > _PROTOBUF_LIMIT:
        raise SaveError(
            f"{path}: one ONNX file holds at most 2 GB, got {size / 2**30:.1f} GB of weights",
            hint="leave external_data at None or True",
        )
    if path.is_dir():
        raise SaveError(f"{path}: is a folder", hint="give the path of a file, such as model.onnx")
    if not path.parent.is_dir():
        raise SaveError(f"{path}: its folder does not exist", hint=f"make {path.parent} first")
    with _written(path) as folder:
        beside = f"{path.name}.data" if external_data else None
        write_model(model, folder / path.name, external=beside, keep_external=keep_external)
    return path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        SaveError: the path cannot be written, or the disk is full.
    """
    with _written(path) as folder:
        (folder / path.name).write_bytes(content)


@contextlib.contextmanager
def _written(path: Path) -> Iterator[Path]:
    """A folder whose files take their places beside `path` when the block ends well, `path` itself last."""
    try:
        with _temporary_folder(path.parent) as folder:
            yield folder
            for written in sorted(folder.iterdir(), key=lambda file: file.name == path.name):
                os.replace(written, path.parent / written.name)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise SaveError(f"{path}: cannot be written: {reason}") from error


@contextlib.contextmanager
def _temporary_folder(parent: Path) -> Iterator[Path]:
    """A folder on the same file system, gone afterwards with what is left in it."""
    with tempfile.TemporaryDirectory(dir=parent, prefix=".fx2onnx-") as name:
        yield Path(name)


def weight_bytes(model: ir.Model, *, in_files: bool = True) -> int:
    """The bytes of all weights of the main graph; without `in_files` of those that are in no file yet."""
    tensors = [value.const_value for value in model.graph.initializers.values()]
    return sum(t.nbytes for t in tensors if t is not None and (in_files or not isinstance(t, ir.ExternalTensor)))


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `path` when the block ends without an error; what was there is replaced.

    Raises:
        SaveError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary_folder(path.parent) as folder:
            made = folder / "new"
            made.mkdir()
            yield made
            if path.is_dir():
                os.replace(path, folder / "old")
            os.replace(made, path)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise SaveError(f"{path}: cannot be written: {reason}") from error
