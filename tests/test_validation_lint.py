"""Prediction without the hardware: what each provider would leave to the CPU, and models that avoid it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
import zoo
from typer.testing import CliRunner

from exporter import cli, export
from exporter.errors import InputError, OpsetError
from exporter.validation.lint import LintReport, lint
from exporter.validation.lint.coreml import table_of
from exporter.validation.lint.kernels import installed, kept

F = torch.nn.functional


def reasons(report: LintReport, provider: str) -> dict[str, str]:
    """Operator -> why it falls back, for one provider."""
    (verdict,) = [verdict for verdict in report.verdicts if verdict.provider == provider]
    return {finding.op_type: finding.reason for finding in verdict.findings}


def model(op_type: str, shapes: list[list[Any]], constants: dict[int, Any] | None = None, opset: int = 18,
          kind: int = onnx.TensorProto.FLOAT, **attributes: Any) -> onnx.ModelProto:  # fmt: skip
    """One node; inputs of some shapes, some of them constants."""
    constants = constants or {}
    names = [f"x{i}" for i in range(len(shapes))]
    inputs = [onnx.helper.make_tensor_value_info(n, kind, s) for i, (n, s) in enumerate(zip(names, shapes, strict=True))
              if i not in constants]  # fmt: skip
    initializers = [onnx.numpy_helper.from_array(value, names[i]) for i, value in constants.items()]
    node = onnx.helper.make_node(op_type, names, ["y"], name=f"module/{op_type}", **attributes)
    graph = onnx.helper.make_graph([node], "g", inputs, [onnx.ValueInfoProto(name="y")], initializers)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)


floats = lambda *shape: torch.zeros(shape).numpy()  # noqa: E731  # a row of the table below reads better
longs = lambda *values: torch.tensor(values).numpy()  # noqa: E731

CONDITIONS = [
    # model, what MLProgram says, what NeuralNetwork says
    (model("Conv", [[1, 3, 8, 8], [4, 3, 3, 3]], {1: floats(4, 3, 3, 3)}), "", ""),
    (model("Conv", [[1, 3, 8, 8, 8], [4, 3, 3, 3, 3]], {1: floats(4, 3, 3, 3, 3)}), "Only 1D/2D Conv", "Only 1D/2D Conv"),
    (model("Conv", [[1, 3, 8, 8], [4, 3, 3, 3]]), "", "Weights and bias should be constant"),
    (model("Conv", [[1, 3, "h", "w"], [4, 3, 3, 3]], {1: floats(4, 3, 3, 3)}), "dynamic shape", "dynamic shape"),
    (model("MatMul", [[2, 3], [3, 2]]), "", "Input B should be constant"),
    (model("MatMul", [[2, 3], [3, 2]], {1: floats(3, 2)}), "", ""),
    (model("Gemm", [[3, 2], [3, 2]], {1: floats(3, 2)}, transA=1), "Input B must be constant", "Input B should be constant"),
    (model("Relu", [[1, 1, 1, 1, 2, 2]]), "has rank 6; CoreML takes at most 5", "has rank 6"),
    (model("Relu", [[0, 2]]), "is empty", "is empty"),
    (model("Relu", [[2]], kind=onnx.TensorProto.INT32), "[Relu] Input type: [INT32] is not supported", "Input type"),
    (model("Relu", [[2]], kind=onnx.TensorProto.FLOAT16), "", "Input type: [FLOAT16] is not supported"),
    (model("Gather", [[4, 2], []], {1: torch.tensor(1).numpy()}), "ai.onnx:Gather is not in", "`indices` with scalar"),
    (model("Gather", [[4, 2], [1]], {1: longs(1)}), "ai.onnx:Gather is not in", ""),
    (model("Slice", [[4], [1], [1]], {1: longs(0), 2: longs(2)}), "", ""),
    (model("DepthToSpace", [[1, 4, 2, 2]], mode="CRD", blocksize=2), "", "Only DCR mode"),
    (model("MaxPool", [[1, 4, 8]], kernel_shape=[2]), "Only 2D Pool", "Only 2D Pool"),
    (model("Reshape", [[2, 2], [1]], {1: longs(4)}, opset=20), "", ""),
    (model("Reshape", [[2, 2], [1]], {1: longs(4)}, opset=21), "only supported for opset [1, 20]", "opset [1, 20]"),
    (model("ArgMax", [[2, 2]]), "", ""),  # the wheel's table spells it Argmax
    (model("HardSigmoid", [[2, 2]]), "", "ai.onnx:HardSigmoid is not in"),
    (model("Pad", [[1, 1, 2, 2], [8]], {1: longs(0, 0, 1, 1, 0, 0, 1, 1)}), "ai.onnx:Pad is not in", ""),
    (model("Pad", [[1, 1, 2, 2], [8]], {1: longs(0, 1, 0, 0, 0, 0, 0, 0)}), "ai.onnx:Pad is not in", "last two dim padding"),
    (model("GridSample", [[1, 1, 2, 2], [1, 2, 2, 2]], padding_mode="reflection", mode="bilinear"), "is not supported", "not in"),
    (model("Where", [[2], [2], [2]], kind=onnx.TensorProto.BOOL), "branches must be float", "ai.onnx:Where is not in"),
]  # fmt: skip


@pytest.mark.parametrize(("proto", "program", "network"), CONDITIONS, ids=lambda value: None)
def test_conditions_of_coreml(proto: onnx.ModelProto, program: str, network: str) -> None:
    report = lint(proto, ["coreml"])
    for form, expected in (("MLProgram", program), ("NeuralNetwork", network)):
        found = reasons(report, f"coreml {form}")
        text = next(iter(found.values()), "")
        assert expected in text
        assert bool(expected) == bool(text)


def test_dynamic_shapes_count_only_where_they_are_asked_to() -> None:
    proto = model("Relu", [["n", 2]])
    assert reasons(lint(proto, "coreml"), "coreml MLProgram")
    assert not reasons(lint(proto, "coreml", static_shapes=False), "coreml MLProgram")


def test_the_tables_of_the_wheel() -> None:
    assert len(table_of("MLProgram")) >= 50
    assert len(table_of("NeuralNetwork")) >= 30
    assert {"ai.onnx:Conv", "ai.onnx:Reshape", "ai.onnx:Gemm"} <= table_of("MLProgram").keys()
    assert "ai.onnx:ReduceSum" in table_of("NeuralNetwork")


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v3_large"])
def test_vision_models_do_not_fall_back_on_coreml(name: str) -> None:
    case = zoo.CASES[name]
    program = export(case.build(), case.inputs(), target="coreml")
    assert program.model.opset_imports[""] == 18
    verdict = lint(program, ["coreml"]).verdicts[0]
    assert (verdict.provider, verdict.findings, verdict.partitions) == ("coreml MLProgram", (), 1)
    assert program.validate(sizes=[]).passed


def test_the_target_chooses_what_coreml_takes() -> None:
    def picks(x: torch.Tensor) -> torch.Tensor:
        return F.hardswish(x)[:, 0] + x[:, -1]

    x = torch.randn(2, 5, 3)
    plain, chosen = export(picks, (x,)), export(picks, (x,), target="coreml")
    assert set(reasons(lint(plain, "coreml"), "coreml MLProgram")) == {"HardSwish", "Gather"}
    assert not reasons(lint(chosen, "coreml"), "coreml MLProgram")
    assert chosen.validate().passed
    assert chosen.validate(find=True).culprit is None


def test_a_target_that_there_is_not() -> None:
    with pytest.raises(InputError, match=r"target: must be one of cpu, cuda, tensorrt, coreml, openvino, got 'tpu'"):
        export(torch.relu, (torch.ones(1),), target="tpu")
    with pytest.raises(OpsetError):
        export(torch.relu, (torch.ones(1),), target="coreml", opset_version=9)


# CPU: what the lint says beside what onnxruntime does with a model of one node.

KERNELS = [
    ("Relu", [[2]], 18, {}), ("HardSwish", [[2]], 18, {}), ("Swish", [[2]], 24, {}), ("Mish", [[2]], 18, {}),
    ("Gelu", [[2]], 20, {}), ("RandomUniformLike", [[2]], 21, {}), ("RandomUniformLike", [[2]], 22, {}),
    ("Bernoulli", [[2]], 22, {}), ("Multinomial", [[2, 3]], 21, {}), ("Multinomial", [[2, 3]], 22, {}),
    ("Softplus", [[2]], 22, {}), ("Reshape", [[2, 2], [1]], 24, {1: longs(4)}), ("GlobalLpPool", [[1, 2, 3]], 21, {}),
    ("GlobalLpPool", [[1, 2, 3]], 22, {}),
]  # fmt: skip


@pytest.mark.parametrize(("op_type", "shapes", "opset", "constants"), KERNELS)
def test_the_cpu_lint_agrees_with_onnxruntime(op_type: str, shapes: Any, opset: int, constants: Any) -> None:
    proto = model(op_type, shapes, constants, opset)
    proto.graph.output[0].CopyFrom(onnx.ValueInfoProto(name="y"))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        loads = True
    except Exception:
        loads = False
    found = reasons(lint(proto, "cpu"), "cpu")
    if op_type == "Bernoulli":  # onnxruntime expands it into one that has no kernel, which the lint does not look into
        assert not loads
    else:
        assert (not found) == loads, found


def test_types_without_a_kernel() -> None:
    half = model("Gemm", [[2, 2], [2, 2]], kind=onnx.TensorProto.FLOAT16)
    assert reasons(lint(half, "cpu"), "cpu")["Gemm"].startswith(
        "Gemm has no kernel for float16; onnxruntime computes it in"
    )
    assert not reasons(lint(half, "cuda"), "cuda")


def test_cuda_by_a_kept_table() -> None:
    table = kept("cuda")
    assert "onnxruntime-gpu 1.31.1" in table.source
    assert len(table.kernels) > 200
    assert not reasons(lint(model("Relu", [[2]]), "cuda"), "cuda")
    assert reasons(lint(model("Unique", [[2]]), "cuda"), "cuda") == {"Unique": "Unique has no kernel"}
    assert "float" in table.kernels["", "Conv"][0].types["T"]


def test_tensorrt_by_a_kept_table() -> None:
    assert "TensorRT 10.15" in lint(model("Relu", [[2]]), "tensorrt").verdicts[0].source
    assert not reasons(lint(model("Relu", [[2]]), "tensorrt"), "tensorrt")
    assert reasons(lint(model("Det", [[2, 2]]), "tensorrt"), "tensorrt") == {"Det": "ai.onnx:Det is not supported"}
    axes = model("ReduceSum", [[2], [1]], {1: longs(0)})
    assert not reasons(lint(axes, "tensorrt"), "tensorrt")


def test_the_installed_registry() -> None:
    assert len(installed("CPUExecutionProvider").kernels) > 150


def test_reports_and_errors(tmp_path: Path) -> None:
    report = lint(model("HardSwish", [[2]]))
    text = str(report)
    assert "coreml MLProgram: 0 of 1 nodes in 0 partitions (coreml_supported_mlprogram_ops.md of onnxruntime" in text
    assert "  1 HardSwish: ai.onnx:HardSwish is not in coreml_supported_mlprogram_ops.md" in text
    data = json.loads(report.to_json())
    assert [row["provider"] for row in data] == ["coreml MLProgram", "coreml NeuralNetwork", "cpu", "cuda", "tensorrt"]
    with pytest.raises(InputError, match=r"providers: there is no table for 'qnn'\n.*hint: choose from coreml, cpu"):
        lint(model("Relu", [[2]]), ["qnn"])


def factory() -> tuple[torch.nn.Module, tuple[torch.Tensor]]:
    return torch.nn.Hardswish(), (torch.ones(2),)


def test_the_command(tmp_path: Path) -> None:
    path = tmp_path / "lint.json"
    result = CliRunner().invoke(cli.app, ["lint", f"{__name__}:factory", "-p", "coreml", "-o", str(path)])
    assert result.exit_code == 0
    assert "HardSwish is not in" in " ".join(result.output.split())
    assert len(json.loads(path.read_text())) == 2
    result = CliRunner().invoke(cli.app, ["lint", f"{__name__}:factory", "-p", "coreml", "--target", "coreml"])
    assert "coreml MLProgram: 2 of 2 nodes in 1 partition (" in " ".join(result.output.split())
