"""float16 and bfloat16 models: cast at export, held to the float32 model, float32 where that is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
import zoo

from exporter import Program, export
from exporter.errors import InputError


def dtypes(program: Program) -> dict[str, set[str]]:
    """Operator -> the float dtypes of its results."""
    found: dict[str, set[str]] = {}
    for node in program.model.graph:
        for value in node.outputs:
            if value.dtype is not None and value.dtype.is_floating_point():
                found.setdefault(node.op_type, set()).add(value.dtype.name)
    return found


@pytest.mark.parametrize("name", ["mnist_cnn", "bert_small", "gpt2_small", "t5_small"])
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_models_agree_with_float32(name: str, precision: str) -> None:
    case = zoo.CASES[name]
    model = case.build()
    program = export(model, case.inputs(), dynamic_shapes=case.dynamic_shapes, precision=precision)
    program.validate(find=False).check()
    full = export(model, case.inputs(), dynamic_shapes=case.dynamic_shapes)
    assert len(program.to_proto().SerializeToString()) < 0.8 * len(full.to_proto().SerializeToString())
    for before, after in zip(full.model.graph.inputs, program.model.graph.inputs, strict=True):
        assert before.dtype == after.dtype
    for before, after in zip(full.model.graph.outputs, program.model.graph.outputs, strict=True):
        assert (before.name, before.dtype) == (after.name, after.dtype)


def test_what_stays_float32() -> None:
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 4), torch.nn.Softmax(-1)
    )
    found = dtypes(export(model, (torch.randn(2, 4),), precision="float16"))
    assert found["Gemm"] == {"FLOAT16"}
    assert found["LayerNormalization"] == {"FLOAT"}
    assert found["Softmax"] == {"FLOAT"}
    all_low = dtypes(export(model, (torch.randn(2, 4),), precision="float16", keep_float32=[]))
    assert all_low["LayerNormalization"] == {"FLOAT16"}
    chosen = export(model, (torch.randn(2, 4),), precision="float16", keep_float32=["Softmax", "0/*"])
    kinds = {node.name: node.outputs[0].dtype for node in chosen.model.graph}
    assert kinds["0/Gemm"] == ir.DataType.FLOAT
    assert kinds["2/Gemm"] == ir.DataType.FLOAT16


def test_a_node_between_two_that_stay_stays() -> None:
    """The epsilon of a hand-written norm: a mean of squares leaves float16's range."""

    def norm(x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)

    program = export(norm, (400 * torch.randn(2, 64),), precision="float16")
    assert dtypes(program)["Add"] == {"FLOAT"}
    assert program.validate().passed


def test_finite_numbers_stay_finite() -> None:
    """A mask's -3.4e38 does not become -inf, of which a Softmax over a masked row would make NaN."""

    def masked(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > 0, x, torch.finfo(torch.float32).min) * 1.0

    program = export(masked, (torch.randn(8),), precision="float16")
    weights = [v.const_value.numpy() for v in program.model.graph.initializers.values() if v.const_value is not None]
    assert all(np.isfinite(w).all() for w in weights if w.dtype.kind == "f")


def test_branches_and_integers_are_left_alone() -> None:
    def branches(x: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.cond(x.sum() > 0, lambda x: x @ x, lambda x: x + 1, (x,)) @ x, ids + 1

    program = export(branches, (torch.randn(3, 3), torch.arange(3)), precision="float16")
    program.validate().check()


def test_the_file_runs(tmp_path: Path) -> None:
    model = torch.nn.Linear(64, 64)
    path = export(model, (torch.randn(2, 64),), precision="float16").save(tmp_path / "half.onnx")
    assert path.stat().st_size < 0.6 * 64 * 64 * 4 + 1000
    import exporter

    assert exporter.validate(path, model).passed


def test_an_unknown_precision() -> None:
    with pytest.raises(InputError, match="precision: must be one of float32, float16, bfloat16, got 'int8'"):
        export(torch.relu, (torch.ones(2),), precision="int8")
