"""Bad input gets a clear error of our own, and nothing is lost."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from exporter import ExportError, export
from exporter.errors import (
    DataDependentError,
    DynamicShapeError,
    InputError,
    MissingRuleError,
    ModelError,
    OpsetError,
    SaveError,
)

X = torch.zeros(2, 4)
LINEAR = nn.Linear(4, 3).eval()


def text(call: Any, kind: type[ExportError]) -> str:
    """The text of the error that the call raises."""
    with pytest.raises(kind) as caught:
        call()
    assert isinstance(caught.value, ExportError)
    return str(caught.value)


def test_a_model_that_fails_in_eager() -> None:
    message = text(lambda: export(LINEAR, (torch.zeros(2, 5),)), ModelError)
    assert message.startswith(
        "the model fails in eager PyTorch: RuntimeError: mat1 and mat2 shapes cannot be multiplied"
    )
    assert "hint: check the example inputs" in message


def test_a_wrong_number_of_inputs() -> None:
    assert "takes at most 1 positional arguments (input), got 2" in text(lambda: export(LINEAR, (X, X)), InputError)
    assert "the model needs input too, got 0" in text(lambda: export(LINEAR, ()), InputError)
    assert "has no argument 'z'" in text(lambda: export(LINEAR, (X,), kwargs={"z": X}), InputError)


def test_dynamic_shapes_that_do_not_fit() -> None:
    unknown = text(lambda: export(LINEAR, (X,), dynamic_shapes={"y": {0: "n"}}), InputError)
    assert unknown == "dynamic_shapes: no input is called 'y'\n  hint: the inputs are input"
    assert "input has 2 axes, got axis 5" in text(
        lambda: export(LINEAR, (X,), dynamic_shapes={"input": {5: "n"}}), InputError
    )
    assert text(lambda: export(LINEAR, (X,), dynamic_shapes={"input": [0, 1]}), InputError) == (
        "dynamic_shapes: input_dim_0, given as 0, must have that size, the example has 2\n"
        '  hint: name what is open: {"x": {0: "batch"}}'
    )
    assert "dim 'n': must have one size in all inputs, got 2 and 4" in text(
        lambda: export(LINEAR, (X,), dynamic_shapes={"input": {0: "n", 1: "n"}}), InputError
    )


def test_a_dim_that_the_model_fixes() -> None:
    message = text(lambda: export(LINEAR, (X,), dynamic_shapes={"input": {1: "width"}}), DynamicShapeError)
    assert "does not work at other sizes of its dynamic dims (width)" in message


def test_a_loop_over_a_dynamic_dim() -> None:
    def unrolled(x: torch.Tensor) -> torch.Tensor:
        total = x[0]
        for i in range(1, x.shape[0]):
            total = total + i**i * x[i]
        return total

    message = text(lambda: export(unrolled, (X,), dynamic_shapes={"x": {0: "n"}}), DynamicShapeError)
    assert "dynamic dim n: the model's code needs a number here, which fixes n == 2" in message
    assert "test_export_errors.py" in message
    assert export(unrolled, (X,), dynamic_shapes={"x": {0: "n"}}, allow_fixed=True).model.graph.inputs[0].shape == (
        2,
        4,
    )


def test_a_decision_by_values() -> None:
    def decided(x: torch.Tensor) -> torch.Tensor:
        while x.sum() > 0:
            x = x - 1
        return x

    message = text(lambda: export(decided, (X,)), DataDependentError)
    assert "torch.cond" in message
    assert "test_export_errors.py" in message


def test_all_missing_rules_at_once() -> None:
    library = torch.library.Library("fx2onnx_test", "FRAGMENT")
    for name in ("first", "second"):
        library.define(f"{name}(Tensor x) -> Tensor")
        library.impl(name, lambda x: x.clone(), "CPU")
        library.impl(name, lambda x: torch.empty_like(x), "Meta")
    namespace = torch.ops.fx2onnx_test

    def model(x: torch.Tensor) -> torch.Tensor:
        return namespace.first(namespace.second(namespace.first(x)))

    with pytest.raises(MissingRuleError) as caught:
        export(model, (X,))
    assert {name: len(lines) for name, lines in caught.value.missing.items()} == {
        "fx2onnx_test.first.default": 2,
        "fx2onnx_test.second.default": 1,
    }
    assert "2 overloads have no lowering rule" in str(caught.value)
    program = export(
        model, (X,),
        lowerings={namespace.first.default: lambda op, x: op.Identity(x), namespace.second.default: lambda op, x: op.Neg(x)},
    )  # fmt: skip
    assert [node.op_type for node in program.model.graph] == ["Neg"]


def test_opset_and_capture_that_do_not_exist() -> None:
    assert "opset_version: must be 17 to 24, got 12" in text(lambda: export(LINEAR, (X,), opset_version=12), OpsetError)
    assert "capture: must be auto, record" in text(lambda: export(LINEAR, (X,), capture="jit"), InputError)
    assert "model: must be a module" in text(lambda: export(3, (X,)), InputError)


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    program = export(LINEAR, (X,))
    assert "its folder does not exist" in text(lambda: program.save(tmp_path / "no" / "m.onnx"), SaveError)
    assert "is a folder" in text(lambda: program.save(tmp_path), SaveError)


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    program = export(LINEAR, (X,))
    path = program.save(tmp_path / "model.onnx")
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        assert "cannot be written: File too large" in text(lambda: program.save(path), SaveError)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
