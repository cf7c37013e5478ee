"""Whole models at every opset that can be asked for: of exactly that opset, valid, and equal to eager."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import zoo

from exporter import export
from exporter.pipeline import OPSETS

SMALL = ["mnist_cnn", "bert_small", "gpt2_small", "t5_small"]
LARGE = ["resnet50", "bert", "gpt2", "t5"]


def check(name: str, opset: int, path: Path) -> None:
    case = zoo.CASES[name]
    program = export(case.build(), case.inputs(), dynamic_shapes=case.dynamic_shapes, opset_version=opset)
    program.save(path)
    onnx.checker.check_model(str(path), full_check=True)
    assert {imported.domain: imported.version for imported in onnx.load(path).opset_import} == {"": opset}
    program.validate().check()


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("name", SMALL)
def test_every_opset(name: str, opset: int, tmp_path: Path) -> None:
    check(name, opset, tmp_path / "model.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("name", LARGE)
def test_every_opset_of_large_models(name: str, opset: int, tmp_path: Path) -> None:
    check(name, opset, tmp_path / "model.onnx")
