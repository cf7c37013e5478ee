"""`fx2onnx shapes`: what it prints, writes and refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from typer.testing import CliRunner

from exporter.cli import app

HEADER = '<ir_version: 8, opset_import: ["": 18, "custom": 1]>'
MODEL = """g (float[batch, seq, 4] x) => (y, z) {
  m = custom.Mystery(x)
  y = Concat<axis = 1>(x, x)
  p = NonZero(x)
  z = Add(m, y)
}"""


def written(folder: Path, text: str = MODEL, header: str = HEADER) -> Path:
    path = folder / "model.onnx"
    onnx.save(onnx.parser.parse_model(f"{header} {text}"), path)
    return path


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["shapes", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def test_prints_the_table_with_unresolved_values_first(tmp_path: Path) -> None:
    path = written(tmp_path)
    lines = [line.rstrip() for line in run(path).splitlines()]
    assert lines == [
        "size of data nonzero_0 (by NonZero)",
        "value  dtype  shape              by              unresolved",
        "m      ?      ?                  custom.Mystery  type (by custom.Mystery)",
        "z      FLOAT  ?                  Add             rank (by custom.Mystery)",
        "x      FLOAT  [batch, seq, 4]    input",
        "y      FLOAT  [batch, 2*seq, 4]  Concat",
        "p      INT64  [3, nonzero_0]     NonZero",
        f"{path}: opset 18, 5 values, 2 unresolved, 0 errors",
    ]
    only = run(path, "--unresolved")
    assert "custom.Mystery" in only
    assert "Concat" not in only


def test_sets_dims_and_shapes(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert "[2, 2*seq, 4]" in run(path, "--set", "batch=2")
    assert "[1, 2*n, 4]" in run(path, "--set", "x=1,n,4")


def test_writes_the_typed_model(tmp_path: Path) -> None:
    path = written(tmp_path)
    out = tmp_path / "out.onnx"
    run(path, "-o", out, "--set", "batch=2")
    inferred = {info.name: info for info in onnx.load(out).graph.value_info}
    assert [dim.dim_value or dim.dim_param for dim in inferred["p"].type.tensor_type.shape.dim] == [3, "nonzero_0"]
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


@pytest.mark.parametrize("elsewhere", [False, True])
def test_weights_in_other_files_stay_or_come_along(tmp_path: Path, elsewhere: bool) -> None:
    weights = onnx.numpy_helper.from_array(np.arange(512, dtype=np.float32).reshape(4, 128), "w")
    proto = onnx.parser.parse_model(f"{HEADER} g (float[N, 4] x) => (float[N, 128] y) {{ y = MatMul(x, w) }}")
    proto.graph.initializer.append(weights)
    path = tmp_path / "model.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    folder = tmp_path / "other" if elsewhere else tmp_path
    folder.mkdir(exist_ok=True)
    run(path, "-o", folder / "out.onnx")
    found = ir.load(folder / "out.onnx").graph.initializers["w"].const_value
    assert isinstance(found, ir.ExternalTensor)
    assert found.location == ("out.onnx.data" if elsewhere else "weights.bin")
    np.testing.assert_array_equal(found.numpy(), onnx.numpy_helper.to_array(weights))


def test_a_model_that_contradicts_itself_ends_with_an_error(tmp_path: Path) -> None:
    path = written(tmp_path, "g (float[2, 3] x) => (y) { m = MatMul(x, x) y = Neg(x) }")
    text = run(path, code=1)
    assert text.startswith("error MatMul: the inner sizes must be equal, got 3 and 2\n")
    assert "FLOAT  [2, 3]  Neg" in text
    assert f"{path}: MatMul: the inner sizes must be equal, got 3 and 2" in run(path, "--strict", code=1).replace(
        "\n", ""
    )


def test_rules_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mystery_rules.py").write_text(
        "from shape_inference import infers, TensorType\n"
        "@infers('Mystery', domain='custom.command')\n"
        "def mystery(call):\n"
        "    x = call.tensor(0)\n"
        "    return (TensorType(x.dtype, x.shape),)\n"
    )
    monkeypatch.chdir(tmp_path)
    header = HEADER.replace("custom", "custom.command")
    path = written(tmp_path, MODEL.replace("custom.", "custom.command."), header)
    text = run(path, "--rules", "mystery_rules")
    assert "m      FLOAT  [batch, seq, 4]" in text
    assert "0 unresolved" not in run(written(tmp_path))


REFUSALS = {
    "no file": (["nowhere.onnx"], "nowhere.onnx: there is no such file"),
    "no model": (["text.onnx"], "text.onnx: must be an ONNX model, got "),
    "no size": (["model.onnx", "--set", "batch"], "--set batch: must be NAME=SIZE"),
    "unknown name": (
        ["model.onnx", "--set", "btch=1"],
        "--set btch: must be an input of the model or a dim of one, got a model with x, batch, seq",
    ),
    "rank": (["model.onnx", "--set", "x=1,2"], "--set x: must have 3 dims, got 2"),
    "an input is no size": (["model.onnx", "--set", "x=1"], "--set x: must be a shape, as it is an input, got 1"),
    "no rules": (["model.onnx", "--rules", "no_such_rules"], "--rules no_such_rules: there is no module"),
    "no folder": (["model.onnx", "-o", "nowhere/out.onnx"], "nowhere/out.onnx: its folder does not exist"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refuses(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, message = REFUSALS[name]
    written(tmp_path)
    (tmp_path / "text.onnx").write_text("this is no model")
    monkeypatch.chdir(tmp_path)
    assert message in run(*arguments, code=1).replace("\n", "")
