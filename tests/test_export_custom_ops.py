"""Operators of the user's own: `torch.library`, `autograd.Function`, scripts, nodes of another domain."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
import onnxruntime
import onnxscript
import pytest
import torch
from lowering import compare, session_of
from lowering import ops as op_types
from onnxscript import opset18, script

from aten_lowering.scripts import inline, inlined
from exporter import ExportError, Program, export
from exporter.errors import InputError, LoweringError, OpsetError, SymbolicWarning

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
DOMAIN = onnxscript.values.Opset("house", 1)


@torch.library.custom_op("fx2onnx_custom::scaled", mutates_args=())
def scaled(x: torch.Tensor, factor: float = 2.0) -> torch.Tensor:
    return torch.where(x > 0, x, factor * x)


@scaled.register_fake
def _(x: torch.Tensor, factor: float = 2.0) -> torch.Tensor:
    return torch.empty_like(x)


@script(DOMAIN, default_opset=opset18)
def Positive(x: Any) -> Any:
    return x > opset18.CastLike(0.0, x)


@script(DOMAIN, default_opset=opset18)
def ScaledScript(x: Any, factor: float = 2.0) -> Any:
    return opset18.Where(Positive(x), x, opset18.CastLike(factor, x) * x)


@script(DOMAIN, default_opset=opset18)
def Doubled(x: Any, times: Any) -> Any:
    for _ in range(times):
        x = x + x
    return x


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: float) -> torch.Tensor:
        return x * x * x * scale


class Halves(torch.autograd.Function):
    """Two results; its `symbolic` is one node of the user's domain."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
        first, second = x.chunk(2, dim)
        return first, second

    @staticmethod
    def symbolic(g: Any, x: Any, dim: int) -> Any:
        first, second = g.op("Split", x, g.op("Constant", value_t=torch.tensor([2, 2])), axis_i=dim, outputs=2)
        return first.setType(x.type()), second


class Triple(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return 3 * x

    @staticmethod
    def symbolic(g: Any, x: Any) -> Any:
        return g.op("house::Triple", x, factor_f=3, axes_i=[0, 1])


def shown(program: Program) -> str:
    return " ".join(f"{n.domain}::{n.op_type}" if n.domain else n.op_type for n in program.model.graph)


def agree(program: Program, function: Any, *inputs: Any) -> None:
    compare(session_of(program), function, inputs)


@pytest.mark.parametrize("key", [scaled, torch.ops.fx2onnx_custom.scaled, torch.ops.fx2onnx_custom.scaled.default])
def test_a_custom_op_with_a_python_rule(key: Any) -> None:
    program = export(
        lambda x: scaled(x, 0.5), (X,), lowerings={key: lambda op, x, factor: op.LeakyRelu(x, alpha=factor)}
    )
    assert op_types(program) == "LeakyRelu"
    agree(program, lambda x: scaled(x, 0.5), X)


def test_a_script_is_kept_as_a_function() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return scaled(scaled(x + 1, 0.5), -0.25) - 1

    program = export(model, (X,), dynamic_shapes="batch", lowerings={scaled: ScaledScript})
    assert shown(program) == "Add house::ScaledScript house::ScaledScript Sub"
    assert sorted(f.name for f in program.model.functions.values()) == ["Positive", "ScaledScript"]
    onnx.checker.check_model(program.to_proto(), full_check=True)
    agree(program, model, X)
    agree(program, model, torch.randn(7, 4))
    assert program.model.graph.outputs[0].shape == ["batch", 4]


def test_a_script_is_inlined_where_asked() -> None:
    program = export(lambda x: scaled(x, 0.5), (X,), lowerings={scaled: inlined(ScaledScript)})
    assert op_types(program) == "Greater Mul Where"
    assert not program.model.functions
    agree(program, lambda x: scaled(x, 0.5), X)


def test_a_python_rule_calls_a_script_with_a_loop() -> None:
    program = export(
        lambda x: scaled(x, 8.0).abs(), (X.abs(),),
        lowerings={scaled: lambda op, x, factor: inline(op, Doubled, x, op.constant(3))},
    )  # fmt: skip
    assert op_types(program) == "Loop Abs"
    assert np.allclose(session_of(program).run(None, {"x": X.abs().numpy()})[0], 8 * X.abs().numpy())


@pytest.mark.parametrize("opset_version", [17, 20, 24])
def test_a_script_at_another_opset(opset_version: int) -> None:
    program = export(lambda x: scaled(x, 0.5), (X,), lowerings={scaled: ScaledScript}, opset_version=opset_version)
    assert {f.opset_imports[""] for f in program.model.functions.values()} == {opset_version}
    onnx.checker.check_model(program.to_proto())
    agree(program, lambda x: scaled(x, 0.5), X)


def test_a_script_that_means_something_else_at_the_opset() -> None:
    @script(DOMAIN, default_opset=opset18)
    def Total(x: Any) -> Any:
        return opset18.ReduceMax(x, [0], keepdims=0)

    with pytest.raises(OpsetError, match="Total: ReduceMax must mean the same at opset 17 as at 18"):
        export(
            lambda x: scaled(x), (X,), lowerings={scaled: lambda op, x, factor: inline(op, Total, x)}, opset_version=17
        )


def test_two_scripts_of_one_name() -> None:
    @script(DOMAIN, default_opset=opset18)
    def Positive(x: Any) -> Any:  # not the one above
        return x < opset18.CastLike(0.0, x)

    def rule(op: Any, x: Any, factor: float) -> Any:
        return op.Where(call(op, Positive, x), x, call(op, ScaledScript, x, factor=factor))

    from aten_lowering.scripts import call

    program = export(lambda x: scaled(x, 0.5), (X,), lowerings={scaled: rule})
    assert len({f.identifier() for f in program.model.functions.values()}) == 3
    got = session_of(program).run(None, {"x": X.numpy()})[0]
    assert np.allclose(got, X.numpy())


def test_a_node_of_a_custom_domain_has_the_type_that_torch_says() -> None:
    program = export(
        lambda x: scaled(x, 0.5).reshape(-1) + 1, (X,), dynamic_shapes={"x": {0: "batch"}},
        lowerings={scaled: lambda op, x, factor: op.Scaled(x, factor=factor, _domain="house")},
    )  # fmt: skip
    assert shown(program) == "house::Scaled Reshape Add"
    node = program.model.graph[0]
    assert node.attributes["factor"].as_float() == 0.5
    assert str(node.outputs[0].shape[0]) == "batch"
    assert str(program.model.graph.outputs[0].shape) == "[4*batch]"
    assert program.model.opset_imports["house"] == 1


def test_a_function_with_a_rule_is_one_call() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return Cube.apply(x, 2.0) + 1

    assert op_types(export(model, (X,))) == "Mul Mul Mul Add"
    program = export(model, (X,), lowerings={Cube: lambda op, x, scale: op.Mul(op.Pow(x, 3.0), scale)})
    assert op_types(program) == "Pow Mul Add"
    agree(program, model, X)


@pytest.mark.parametrize("capture", ["record", "symbolic_trace"])
def test_a_symbolic_is_honoured(capture: str) -> None:
    class Model(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            first, second = Halves.apply(x, 1)
            return first.exp(), second

    with warnings.catch_warnings():
        warnings.simplefilter("error", SymbolicWarning)
        program = export(Model(), (X,), capture=capture)
    assert op_types(program) == "Split Exp"
    agree(program, Model(), X)


def test_a_symbolic_of_a_custom_domain() -> None:
    program = export(lambda x: Triple.apply(x) * 2, (X,), dynamic_shapes="batch")
    assert shown(program) == "house::Triple Mul"
    attributes = program.model.graph[0].attributes
    assert attributes["factor"].as_float() == 3.0
    assert list(attributes["axes"].as_ints()) == [0, 1]
    assert program.model.graph.outputs[0].shape == ["batch", 4]


def test_a_rule_comes_before_a_symbolic() -> None:
    program = export(lambda x: Triple.apply(x), (X,), lowerings={Triple: lambda op, x: op.Mul(x, 3.0)})
    assert op_types(program) == "Mul"


def test_a_symbolic_that_asks_for_more_is_ignored_with_a_warning() -> None:
    class Odd(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.exp() + 1

        @staticmethod
        def symbolic(g: Any, x: Any) -> Any:
            return g.at("exp", x)

    with pytest.warns(
        SymbolicWarning, match=r"Odd.symbolic: is not used, its forward\(\) is exported instead: AttributeError"
    ):
        program = export(lambda x: Odd.apply(x) * 2, (X,))
    assert op_types(program) == "Exp Add Mul"
    agree(program, lambda x: Odd.apply(x) * 2, X)


def test_a_symbolic_that_is_ignored_is_ignored_at_every_call() -> None:
    class Odd(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x * 2

        @staticmethod
        def symbolic(g: Any, x: Any) -> Any:
            return g.no_such_thing(x)

    with pytest.warns(SymbolicWarning):
        program = export(lambda x: Odd.apply(Odd.apply(x)), (X,))
    program.validate().check()


def test_a_symbolic_of_a_function_that_writes_is_ignored_with_a_warning() -> None:
    class Written(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.mark_dirty(x)
            return x.mul_(2)

        @staticmethod
        def symbolic(g: Any, x: Any) -> Any:
            return g.op("house::Twice", x)

    def model(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        Written.apply(y)
        return y

    with pytest.warns(SymbolicWarning, match="it writes to its arguments"):
        program = export(model, (X,))
    assert op_types(program) == "Add Mul"
    agree(program, model, X)


@pytest.mark.parametrize(
    ("lowerings", "kind", "words"),
    [
        ({"scaled": lambda op, x: x}, InputError, "a key must be an overload or an autograd.Function, got 'scaled'"),
        ({scaled: 3}, InputError, "must be a function, got int"),
        ({scaled: lambda op, x, scale: x}, InputError, "has no argument 'scale'"),
        ({scaled: lambda op: op}, InputError, "must take fx2onnx_custom.scaled.default's argument 'x'"),
        ({scaled: lambda op, x: op.Mul(x, 2.0)}, LoweringError, "factor must be 2.0, got 0.5"),
        ({scaled: lambda op, x, factor: op.Cast(x, to=7)}, LoweringError, "the rule must return FLOAT, got INT64"),
        ({scaled: lambda op, x, factor: None}, LoweringError, "the rule must return 1 result, got None"),
    ],
)  # fmt: skip
def test_wrong_lowerings(lowerings: dict[Any, Any], kind: type[ExportError], words: str) -> None:
    with pytest.raises(kind, match=words.replace("(", r"\(")):
        export(lambda x: scaled(x, 0.5), (X,), lowerings=lowerings)


def test_onnxruntime_runs_a_kept_function_with_its_optimizer() -> None:
    program = export(lambda x: scaled(x, 0.5), (X,), lowerings={scaled: ScaledScript})
    session = onnxruntime.InferenceSession(program.to_proto().SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.allclose(session.run(None, {"x": X.numpy()})[0], scaled(X, 0.5).numpy())


def test_a_node_that_the_model_spells() -> None:
    """By `torch.onnx.ops.symbolic`, of a domain that nobody can run, and of ONNX's own."""

    def model(x: torch.Tensor) -> Any:
        spelled = torch.onnx.ops.symbolic(
            "house::Scaled", (x, None, x), {"alpha": 0.5, "name": "n", "axes": [0, 1], "by": [0.5]},
            dtype=torch.float16, shape=(*x.shape, 2), version=3, metadata_props={"from": "test"},
        )  # fmt: skip
        top, places = torch.onnx.ops.symbolic_multi_out(
            "house::Top", (x,), {}, dtypes=(x.dtype, torch.int64), shapes=([x.shape[0]], [2])
        )
        return spelled, top, places

    program = export(model, (X,), dynamic_shapes={"x": {0: "batch"}})
    scaled, top = program.model.graph
    assert (scaled.domain, scaled.op_type, scaled.inputs[1]) == ("house", "Scaled", None)  # the input left out
    assert {k: v.value for k, v in scaled.attributes.items()} == {
        "alpha": 0.5,
        "name": "n",
        "axes": (0, 1),
        "by": (0.5,),
    }
    assert scaled.metadata_props["from"] == "test"
    assert (top.domain, top.op_type, len(top.outputs)) == ("house", "Top", 2)
    assert program.model.opset_imports["house"] == 3
    assert [str(output.type) + str(output.shape) for output in program.model.graph.outputs] == [
        "FLOAT16[batch,4,2]", "FLOAT[batch]", "INT64[2]",
    ]  # fmt: skip


def test_a_node_of_onnx_that_the_model_spells() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return torch.onnx.ops.symbolic("Celu", (x,), {"alpha": 0.5}, dtype=x.dtype, shape=x.shape)

    program = export(model, (X,))
    assert op_types(program) == "Celu"
    compare(session_of(program), lambda x: torch.celu(x, 0.5), [X])
