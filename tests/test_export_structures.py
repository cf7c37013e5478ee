"""Arguments and results of any structure."""

from __future__ import annotations

import collections
import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import pytest
import torch
from torch import nn
from transformers.utils.output_capturing import CompileableContextVar

from exporter import export

X = torch.arange(6.0).reshape(2, 3)


@dataclasses.dataclass
class Pair:
    """A user's own result."""

    left: torch.Tensor
    right: torch.Tensor | None = None


class Point(NamedTuple):
    """A named tuple."""

    x: torch.Tensor
    y: torch.Tensor


class Bag(dict):
    """A dict subclass."""


def names(values: Any) -> list[str]:
    return [value.name for value in values]


def test_one_tensor_a_tuple_a_dict() -> None:
    def add(a: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
        return a + 1 if b is None else a + b

    for inputs, expected in [(X, ["a"]), ((X, X), ["a", "b"]), ({"a": X, "b": X}, ["a", "b"]), ((X, None), ["a"])]:
        program = export(add, inputs)
        assert names(program.model.graph.inputs) == expected
        program.validate().check()


def test_nested_arguments_and_results() -> None:
    def model(pair: Pair, points: list[Point], table: dict[str, Any]) -> dict[str, Any]:
        total = pair.left + points[0].x + points[1].y * table["scale"]
        return {"sum": total, "pair": Pair(total * 2), "bag": Bag(a=total + 1), "n": 3, "none": None}

    program = export(model, (Pair(X), [Point(X, X), Point(X, X + 1)], {"scale": 2.5, "unused": "text"}))
    assert names(program.model.graph.inputs) == [
        "pair.left", "points.0.x", "points.0.y", "points.1.x", "points.1.y",
    ]  # fmt: skip
    assert names(program.model.graph.outputs) == ["sum", "pair.left_1", "bag.a", "n"]
    program.validate().check()


def test_results_that_are_inputs_weights_or_the_same() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x: torch.Tensor) -> tuple[Any, ...]:
            y = x * 2
            return x, self.weight, y, y, x.shape[0], 1.5, True

    program = export(Model(), (X,), dynamic_shapes={"x": {0: "n"}})
    program.validate().check()
    assert len(program.model.graph.outputs) == 7


def test_names_as_asked_for() -> None:
    program = export(lambda a, b: (a + b, a - b), (X, X), input_names=["left", "right"], output_names=["sum"])
    assert names(program.model.graph.inputs) == ["left", "right"]
    assert names(program.model.graph.outputs) == ["sum", "output_1"]


def test_variable_arguments() -> None:
    def model(*tensors: torch.Tensor, **named: torch.Tensor) -> torch.Tensor:
        return torch.cat(tensors) + named["bias"]

    program = export(model, (X, X), kwargs={"bias": X[0]})
    assert names(program.model.graph.inputs) == ["tensors_0", "tensors_1", "bias"]
    program.validate().check()


@pytest.mark.parametrize("capture", ["record", "compile", "export"])
def test_a_cache_in_and_out(capture: str) -> None:
    from transformers import DynamicCache

    class Model(nn.Module):
        def forward(self, x: torch.Tensor, past: DynamicCache) -> tuple[torch.Tensor, DynamicCache]:
            keys, values = past.update(x, x + 1, 0)
            return (keys * values).sum(), past

    def cache() -> DynamicCache:
        made = DynamicCache()
        made.update(torch.ones(1, 2, 3, 4), torch.ones(1, 2, 3, 4), 0)
        return made

    example = cache()
    inputs = (torch.ones(1, 2, 1, 4), example)
    program = export(Model(), inputs, dynamic_shapes={"past": {2: "past"}}, capture=capture)
    assert names(program.model.graph.inputs) == ["x", "past.0.key", "past.0.value"]
    assert [str(d) for d in program.model.graph.outputs[1].shape] == ["1", "2", "past + 1", "4"]
    assert example.get_seq_length() == 3
    program.validate().check()


@pytest.mark.parametrize("capture", ["record", "compile", "export"])
def test_a_cache_that_is_returned_as_it_was_given(capture: str) -> None:
    from transformers import DynamicCache, EncoderDecoderCache

    class Model(nn.Module):
        def forward(self, x: torch.Tensor, past: EncoderDecoderCache) -> tuple[torch.Tensor, EncoderDecoderCache]:
            past.self_attention_cache.update(x, x + 1, 0)
            return x * past.cross_attention_cache.layers[0].keys.sum(), past

    def inputs(value: float) -> tuple[torch.Tensor, EncoderDecoderCache]:
        caches = DynamicCache(), DynamicCache()
        for cache in caches:
            cache.update(torch.full((1, 2, 3, 4), value), torch.ones(1, 2, 3, 4), 0)
        return torch.full((1, 2, 1, 4), value), EncoderDecoderCache(*caches)

    program = export(Model(), inputs(1.0), capture=capture)
    program.validate(inputs=[inputs(2.0)]).check()


def test_a_cache_of_a_fixed_length_that_counts_its_tokens() -> None:
    from transformers import LlamaConfig, StaticCache

    config = LlamaConfig(num_hidden_layers=1, hidden_size=8, num_attention_heads=2, num_key_value_heads=2)

    class Model(nn.Module):
        def forward(self, x: torch.Tensor, past: StaticCache) -> tuple[torch.Tensor, StaticCache]:
            keys, values = past.update(x, x + 1, 0)
            return keys * values, past

    example = StaticCache(config, max_cache_len=6)
    example.update(torch.ones(3, 2, 2, 4), torch.ones(3, 2, 2, 4), 0)
    program = export(Model(), (torch.rand(3, 2, 1, 4), example), dynamic_shapes={"x": {0: "b"}, "past": {0: "b"}})
    assert names(program.model.graph.inputs) == ["x", "past.0.key", "past.0.value", "past.0.cumulative_length"]
    program.validate().check()


def test_ordered_and_default_dicts() -> None:
    ordered = collections.OrderedDict(b=X, a=X + 1)
    program = export(lambda d: d["a"] - d["b"], (ordered,))
    assert names(program.model.graph.inputs) == ["d.b", "d.a"]


@pytest.mark.parametrize("external", [True, False])
def test_external_data_as_asked(tmp_path: Path, external: bool) -> None:
    model = nn.Linear(64, 64).eval()
    path = export(model, (torch.zeros(1, 64),)).save(tmp_path / "model.onnx", external_data=external)
    assert (tmp_path / "model.onnx.data").exists() == external
    onnx.checker.check_model(str(path), full_check=True)


def test_what_a_model_within_a_model_records() -> None:
    """As GIT and SAM with `output_attentions=True`: the outer one goes on recording behind the inner one."""
    recorded = CompileableContextVar("recorded")

    def inner(x: torch.Tensor) -> torch.Tensor:
        token = recorded.set([])
        recorded.get().append(x + 1)
        recorded.reset(token)
        return x * 2

    def outer(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found: list[torch.Tensor] = []
        token = recorded.set(found)
        y = inner(x)
        if recorded.get() is not None:
            recorded.get().append(y * 3)
        recorded.reset(token)
        return y, *found

    program = export(outer, (torch.randn(2, 3),))
    assert len(program.model.graph.outputs) == 2
    program.validate().check()
