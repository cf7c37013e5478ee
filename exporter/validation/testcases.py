"""Test cases in the layout of ONNX's backend tests: a model, inputs, and the outputs that eager gives.

`model.onnx`, `test_data_set_<n>/{input,output}_<i>.pb`; `data.json` has the tolerances that ONNX's runner reads,
`meta.json` versions, git commit and sizes.

Source: https://github.com/onnx/onnx/blob/main/docs/OnnxBackendTest.md
"""

from __future__ import annotations

import datetime
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from exporter import serialization
from exporter.errors import InputError, ModelError, SaveError
from exporter.validation.comparison import TOLERANCES, tolerances_of
from exporter.validation.reports import versions
from exporter.validation.subjects import Subject, of_program
from exporter.validation.tensor_files import set_folders, write_tensors

if TYPE_CHECKING:
    from exporter.program import Program

__all__ = ["git_commit", "save_testcase"]

_RELATIVE = 1e-3  # what ONNX's own runner allows beside the absolute tolerance


def save_testcase(
    program: Program,
    folder: str | Path,
    *,
    inputs: Sequence[Any] = (),
    sizes: Sequence[Mapping[str, int]] | None = None,
    append: bool = False,
    user_metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write a program as a test case that any runtime's test runner can use.

    There is a data set for the example, one of other values, one for each of `sizes` (two chosen ones where
    None), and one for each of `inputs`.

    Args:
        program: what export() returned.
        folder: made anew, or replaced where it is a test case.
        inputs: further calls: each a tuple of arguments, or a dict of keyword arguments.
        sizes: the sizes to write instead of two chosen ones, each by the names of the dims.
        append: whether data sets are added to the test case that is there, whose model stays.
        user_metadata: goes into `meta.json` under "user".

    Raises:
        InputError: inputs or sizes do not fit, or the model draws random numbers.
        ModelError: eager fails on the inputs.
        SaveError: the folder cannot be written, or holds something else.
    """
    folder = Path(folder)
    subject = of_program(program, inputs, sizes, awkward=False)
    if subject.is_random:
        raise InputError(
            "model: must not draw random numbers for a test case", hint="call model.eval() before export()"
        )
    if folder.exists() and not (folder / "model.onnx").is_file():
        raise SaveError(f"{folder}: must be a test case or not exist", hint="give another folder")
    with serialization.new_folder(folder) as made:
        first = 0
        if append and folder.exists():
            shutil.copytree(folder, made, dirs_exist_ok=True)
            first = len(set_folders(made))
        else:
            program.save(made / "model.onnx")
        scale = _write_sets(subject, made, first)
        _write_json(made / "data.json", {"rtol": _RELATIVE, "atol": max(scale, _recorded_tolerance(made))})
        described = _recorded_sets(made) + [call.description for call in subject.calls]
        _write_json(made / "meta.json", _metadata(program, described, user_metadata))
    return folder


def git_commit() -> str:
    """The commit of the repository that the current folder is in, "-dirty" behind it where it is; or ""."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()


def _write_sets(subject: Subject, folder: Path, first: int) -> float:
    """Write a data set for each call; the absolute tolerance that fits their outputs."""
    tolerances = tolerances_of(subject.model)
    input_names = [value.name or "" for value in subject.model.graph.inputs]
    absolute = 0.0
    for i, call in enumerate(subject.calls):
        try:
            with subject.untouched():
                outputs = subject.evaluate(call, 0)
        except Exception as error:
            raise ModelError(
                f"the model fails in eager on {call.description}: {type(error).__name__}: {error}"
            ) from error
        made = folder / f"test_data_set_{first + i}"
        write_tensors(made, "input", call.tensors, input_names)
        write_tensors(made, "output", outputs, subject.output_names)
        for output in outputs:
            finite = output[output.isfinite()] if output.is_floating_point() else output.new_empty(0)
            if finite.numel():
                limit = tolerances.get(output.dtype, TOLERANCES[torch.bfloat16])
                absolute = max(absolute, limit * float(finite.abs().max()))
    return absolute


def _metadata(program: Program, described: Sequence[str], user: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "producer": {"name": "fx2onnx", "version": _own_version()},
        "versions": versions(),
        "git_commit": git_commit(),
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "model": type(program.reference).__name__,
        "opset_version": program.model.graph.opset_imports.get(""),
        "capture": program.report.capture,
        "dynamic_dims": sorted(program.signature.sample_sizes),
        "constraints": [str(constraint) for constraint in program.report.decisions],
        "data_sets": list(described),
        "user": dict(user or {}),
    }


def _own_version() -> str:
    try:
        return metadata.version("fx2onnx")
    except metadata.PackageNotFoundError:  # run from a checkout
        return ""


def _write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _recorded(folder: Path, file: str) -> dict[str, Any]:
    path = folder / file
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _recorded_tolerance(folder: Path) -> float:
    return float(_recorded(folder, "data.json").get("atol", 0.0))


def _recorded_sets(folder: Path) -> list[str]:
    return list(_recorded(folder, "meta.json").get("data_sets", ()))
