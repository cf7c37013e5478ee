"""Test-case folders, in the layout of ONNX's backend tests, run by ONNX's own runner and by onnxruntime."""

from __future__ import annotations

import json
import unittest
from pathlib import Path
from typing import Any

import onnx
import onnx.backend.base
import onnx.backend.test
import onnx.backend.test.loader
import onnx.backend.test.runner as runner
import onnxruntime
import pytest
import torch
import zoo

import exporter
from exporter import export
from exporter.errors import InputError, SaveError
from exporter.validation.tensor_files import read_tensors, write_tensors


class _Prepared(onnx.backend.base.BackendRep):
    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self.session = session

    def run(self, inputs: Any, **kwargs: Any) -> Any:
        feeds = {node.name: value for node, value in zip(self.session.get_inputs(), inputs, strict=True)}
        return tuple(self.session.run(None, feeds))


class _OnnxRuntime(onnx.backend.base.Backend):
    """onnxruntime as a backend of ONNX's test runner."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> _Prepared:
        return _Prepared(onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]))

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"


def run_backend_tests(root: Path, monkeypatch: pytest.MonkeyPatch) -> unittest.TestResult:
    """ONNX's runner on the cases in `root/simple`, and on no others."""
    load = onnx.backend.test.loader.load_model_tests
    monkeypatch.setattr(
        runner,
        "load_model_tests",
        lambda kind: load(str(root), kind) if (root / kind).is_dir() and kind != "node" else [],
    )
    suite = runner.Runner(_OnnxRuntime).test_suite
    result = unittest.TestResult()
    suite.run(result)
    return result


def linear() -> exporter.Program:
    torch.manual_seed(0)
    return export(torch.nn.Linear(4, 3), (torch.randn(2, 4),), dynamic_shapes={"input": {0: "batch"}})


@pytest.mark.parametrize("name", ["mnist_cnn", "t5_small"])
def test_onnx_own_runner_and_onnxruntime(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = zoo.CASES[name]
    program = export(case.build(), case.inputs(), dynamic_shapes=case.dynamic_shapes)
    folder = program.save_testcase(tmp_path / "simple" / "test_model", sizes=[dict(case.other_sizes)])
    result = run_backend_tests(tmp_path, monkeypatch)
    ran = [test for test, reason in result.skipped if "test_model" in str(test)]
    assert result.testsRun == 2
    assert len(ran) == 1
    assert result.wasSuccessful(), result.failures + result.errors
    report = exporter.validate(folder / "model.onnx", folder)
    assert report.passed
    assert [run.inputs for run in report.results[0].runs] == ["test_data_set_0", "test_data_set_1", "test_data_set_2"]


def test_a_wrong_output_fails_in_onnx_own_runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = linear().save_testcase(tmp_path / "simple" / "test_model")
    data = folder / "test_data_set_2"
    (output,) = read_tensors(data, "output")
    write_tensors(data, "output", [output + 1], ["output"])
    assert not run_backend_tests(tmp_path, monkeypatch).wasSuccessful()
    assert not exporter.validate(folder / "model.onnx", folder).passed


def test_layout_sizes_and_metadata(tmp_path: Path) -> None:
    folder = linear().save_testcase(tmp_path / "case", user_metadata={"ticket": 7})
    assert {path.name for path in folder.iterdir()} == {
        "model.onnx", "data.json", "meta.json", *(f"test_data_set_{i}" for i in range(4)),
    }  # fmt: skip
    shapes = [tuple(read_tensors(folder / f"test_data_set_{i}", "output")[0].shape) for i in range(4)]
    assert shapes == [(2, 3), (2, 3), (5, 3), (9, 3)]
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["data_sets"] == ["example", "other values", "batch=5", "batch=9"]
    assert meta["versions"]["torch"] == torch.__version__
    assert meta["opset_version"] == 18
    assert meta["user"] == {"ticket": 7}
    assert meta["dynamic_dims"] == ["batch"]
    assert len(meta["git_commit"].removesuffix("-dirty")) in (0, 40)
    proto = onnx.load_tensor(str(folder / "test_data_set_0" / "input_0.pb"))
    assert (proto.name, list(proto.dims)) == ("input", [2, 4])


def test_data_sets_are_added_and_the_model_stays(tmp_path: Path) -> None:
    folder = linear().save_testcase(tmp_path / "case", sizes=[])
    before = (folder / "model.onnx").read_bytes()
    linear().save_testcase(folder, sizes=[{"batch": 7}], append=True)
    assert (folder / "model.onnx").read_bytes() == before
    assert len(list(folder.glob("test_data_set_*"))) == 5
    assert json.loads((folder / "meta.json").read_text())["data_sets"][-1] == "batch=7"
    assert exporter.validate(folder / "model.onnx", folder).passed


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.float64, torch.uint8])
def test_tensors_of_any_dtype_and_size(dtype: torch.dtype, tmp_path: Path) -> None:
    tensors = [torch.arange(6).reshape(2, 3).to(dtype), torch.tensor(1).to(dtype), torch.zeros(0, 2, dtype=dtype)]
    write_tensors(tmp_path, "input", tensors, ["a", "b", "c"])
    for want, got in zip(tensors, read_tensors(tmp_path, "input"), strict=True):
        assert want.dtype == got.dtype
        assert want.shape == got.shape
        assert torch.equal(want, got)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SaveError, match="must be a test case or not exist"):
        linear().save_testcase(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no dynamic dim"):
        linear().save_testcase(tmp_path / "case", sizes=[{"rows": 1}])
    assert not list(tmp_path.iterdir())


def test_a_model_that_draws_random_numbers() -> None:
    program = export(torch.nn.Dropout().train(), (torch.ones(4),))
    with pytest.raises(InputError, match="must not draw random numbers"):
        program.save_testcase("nowhere")


def test_a_folder_without_data_sets(tmp_path: Path) -> None:
    path = linear().save(tmp_path / "model.onnx")
    with pytest.raises(InputError, match="must have folders test_data_set_"):
        exporter.validate(path, tmp_path)
