"""Wrong rules, planted on purpose, are found: the right node is named, and shown alone."""

from __future__ import annotations

import inspect
import runpy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
import zoo

from exporter import export, optimization
from exporter.errors import SaveError
from exporter.optimization import Rewriter

aten = torch.ops.aten


# Ten wrong rules, each a mistake that a rule's author may make.


def relu_as_abs(op, self):
    return op.Abs(self)


def gelu_as_sigmoid(op, self, approximate):
    return op.Mul(self, op.Sigmoid(op.Mul(self, 1.702)))


def linear_without_bias(op, input, weight, bias=None):
    return op.MatMul(input, op.Transpose(weight, perm=[1, 0]))


def layer_norm_with_large_epsilon(op, input, normalized_shape, weight, bias, eps, cudnn_enable=True):
    return op.LayerNormalization(input, weight, bias, axis=-1, epsilon=0.1)


def softmax_over_the_first_dim(op, self, dim, dtype=None):
    return op.Softmax(self, axis=0)


def add_that_forgets_alpha(op, self, other, alpha=1):
    return op.Add(self, other)


def mean_as_maximum(op, self, dim, keepdim=False, dtype=None):
    return op.ReduceMax(self, dim, keepdims=int(keepdim))


def attention_without_scale(op, query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None,
                            enable_gqa=False):  # fmt: skip
    scores = op.MatMul(query, op.Transpose(key, perm=[0, 1, 3, 2]))
    return op.MatMul(op.Softmax(scores, axis=-1), value)


def pool_with_padding_that_counts(
    op, self, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
):
    return op.AveragePool(self, kernel_shape=list(kernel_size), strides=list(stride), pads=[*padding, *padding],
                          count_include_pad=1)  # fmt: skip


def argmax_that_takes_the_last(op, self, dim, keepdim=False):
    return op.ArgMax(self, axis=dim, keepdims=int(keepdim), select_last_index=1)


class Block(torch.nn.Module):
    """A block of a transformer, with sublayers by name."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(width)
        self.up = torch.nn.Linear(width, 2 * width)
        self.down = torch.nn.Linear(2 * width, width)
        self.act = torch.nn.GELU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(self.act(self.up(self.norm(x))))


class Attention(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.Sequential(Block(), Block())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = self.blocks(x).unflatten(-1, (2, 4)).transpose(1, 2)
        mixed = torch.nn.functional.scaled_dot_product_attention(heads, heads, heads)
        return mixed.transpose(1, 2).flatten(-2).softmax(-1)


class Convolutions(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AvgPool2d(3, 2, 1,
                                            count_include_pad=False))  # fmt: skip
        self.head = torch.nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = self.features(x).mean((2, 3))
        return torch.sub(self.head(pooled), 0.5)


class Choice(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        ties = torch.add(x.round(), x.round(), alpha=2)
        return ties.argmax(-1) * 2, ties.sin()


@dataclass(frozen=True)
class Planted:
    overload: Any
    rule: Callable[..., Any]
    model: Callable[[], torch.nn.Module]
    shape: tuple[int, ...]
    module: str


PLANTED = [
    Planted(aten.relu.default, relu_as_abs, Convolutions, (2, 3, 12, 12), "features.1"),
    Planted(aten.gelu.default, gelu_as_sigmoid, Attention, (2, 5, 8), "blocks.0.act"),
    Planted(aten.linear.default, linear_without_bias, Attention, (2, 5, 8), "blocks.0.up"),
    Planted(aten.layer_norm.default, layer_norm_with_large_epsilon, Attention, (2, 5, 8), "blocks.0.norm"),
    Planted(aten.softmax.int, softmax_over_the_first_dim, Attention, (2, 5, 8), ""),
    Planted(aten.add.Tensor, add_that_forgets_alpha, Choice, (3, 6), ""),
    Planted(aten.mean.dim, mean_as_maximum, Convolutions, (2, 3, 12, 12), ""),
    Planted(aten.scaled_dot_product_attention.default, attention_without_scale, Attention, (2, 5, 8), ""),
    Planted(aten.avg_pool2d.default, pool_with_padding_that_counts, Convolutions, (2, 3, 12, 12), "features.2"),
    Planted(aten.argmax.default, argmax_that_takes_the_last, Choice, (3, 6), ""),
]


@pytest.mark.parametrize("planted", PLANTED, ids=[p.rule.__name__ for p in PLANTED])
def test_ten_planted_bugs(planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    model, x = planted.model().eval(), torch.randn(planted.shape)
    assert export(model, (x,)).validate().passed
    program = export(
        model,
        (x,),
        lowerings={planted.overload: planted.rule},
        dynamic_shapes={next(iter(_names(model))): {0: "batch"}},
    )
    report = program.validate()
    assert not report.passed
    culprit = report.culprit
    assert culprit is not None
    assert culprit.kind == "rule"
    assert culprit.target == str(planted.overload)
    assert culprit.module == planted.module
    assert planted.rule.__name__ in culprit.rule
    assert "test_validation_culprit.py" in culprit.rule
    assert culprit.difference is not None
    assert culprit.difference.outside > 0
    assert culprit.source
    assert not culprit.note
    assert_shown_alone(culprit, tmp_path / "alone", capsys)


def _names(model: torch.nn.Module) -> list[str]:
    return list(inspect.signature(model.forward).parameters)


def assert_shown_alone(culprit: Any, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert culprit.save(folder) == folder
    model = onnx.load(str(folder / "model.onnx"))
    assert 1 <= len(model.graph.node) <= 8
    with pytest.raises(SystemExit, match="True"):
        runpy.run_path(str(folder / "reproduce.py"))
    assert "DIFFERENT" in capsys.readouterr().out
    assert f"torch.ops.{culprit.target}(" in (folder / "reproduce.py").read_text()


@pytest.mark.parametrize(
    ("name", "overload", "rule", "module"),
    [
        ("bert_small", aten.layer_norm.default, layer_norm_with_large_epsilon, "embeddings.LayerNorm"),
        ("gpt2_small", aten.layer_norm.default, layer_norm_with_large_epsilon, "h.0.ln_1"),
        ("t5_small", aten.relu.default, relu_as_abs, "encoder.block.0.layer.1.DenseReluDense.act"),
    ],
)
def test_planted_bugs_in_real_models(name: str, overload: Any, rule: Any, module: str) -> None:
    case = zoo.CASES[name]
    program = export(case.build(), case.inputs(), dynamic_shapes=case.dynamic_shapes, lowerings={overload: rule})
    culprit = program.validate().culprit
    assert culprit is not None
    assert (culprit.kind, culprit.target) == ("rule", str(overload))
    assert culprit.module.endswith(module)
    assert "transformers" in culprit.source


def test_a_bug_at_another_size_only() -> None:
    """The rule freezes a dynamic size at the example's."""

    def frozen(op, self, dim, dtype=None):
        summed = op.ReduceMean(self, dim, keepdims=0)
        return op.Mul(summed, 4.0)  # the example has four

    def total(x: torch.Tensor) -> torch.Tensor:
        return x.exp().sum([1])

    def lowered(op, self, dim, keepdim=False, dtype=None):
        return frozen(op, self, dim, dtype)

    program = export(
        total, (torch.randn(2, 4),), dynamic_shapes={"x": {1: "n"}}, lowerings={aten.sum.dim_IntList: lowered}
    )
    report = program.validate()
    assert report.culprit is not None
    assert report.culprit.target == "aten.sum.dim_IntList"
    assert report.culprit.inputs_of_run.startswith("n=")
    assert report.culprit.inputs != ("float32[2, 4]",)


def test_a_rule_that_returns_its_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = export(torch.nn.Sequential(torch.nn.Tanh(), torch.nn.ReLU()), (torch.randn(4),),
                     lowerings={aten.relu.default: lambda op, self: self})  # fmt: skip
    culprit = program.validate().culprit
    assert culprit is not None
    assert culprit.target == "aten.relu.default"
    assert culprit.module == "1"
    assert_shown_alone(culprit, tmp_path / "alone", capsys)


def test_a_wrong_call_in_a_branch() -> None:
    class Branches(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cond(x.sum() > 0, lambda x: x.relu() + 1, lambda x: x - 1, (x,)).tanh()

    program = export(Branches(), (torch.tensor([-1.0, 3.0]),), lowerings={aten.relu.default: relu_as_abs})
    culprit = program.validate().culprit
    assert culprit is not None
    assert "cond" in culprit.target


def test_a_wrong_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def relu_to_abs(rewriter: Rewriter) -> int:
        found = [node for node in rewriter.graph if node.op_type == "Relu"]
        for node in found:
            node.op_type = "Abs"
        return len(found)

    monkeypatch.setitem(optimization.PASSES, "layout", relu_to_abs)
    culprit = export(torch.nn.ReLU(), (torch.randn(4),)).validate().culprit
    assert culprit is not None
    assert (culprit.kind, culprit.target) == ("optimization", "layout")
    assert culprit.save("nowhere") is None


def test_code_that_decides_by_a_size() -> None:
    def halves(x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.shape[0] > 4 else x

    program = export(halves, (torch.randn(3),), dynamic_shapes={"x": {0: "n"}})
    report = program.validate(sizes=[{"n": 9}])
    assert report.culprit is not None
    assert report.culprit.kind == "capture"
    assert "n <= 4" in report.culprit.note


def test_the_search_can_be_left_out() -> None:
    program = export(torch.nn.ReLU(), (torch.randn(4),), lowerings={aten.relu.default: relu_as_abs})
    assert program.validate(find=False).culprit is None


def test_a_reproduction_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    program = export(torch.nn.ReLU(), (torch.randn(4),), lowerings={aten.relu.default: relu_as_abs})
    culprit = program.validate().culprit
    assert culprit is not None
    done = [sys.executable, str(culprit.save(tmp_path / "alone") / "reproduce.py")]  # type: ignore[operator]
    assert subprocess.run(done, capture_output=True, check=False).returncode == 1
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match="cannot be written"):
        culprit.save(tmp_path / "file" / "folder")
