"""Large models: time linear in the nodes, memory without the weights. Work is counted in calls, not seconds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

from shape_inference import infer

ROOT = Path(__file__).resolve().parent.parent


def _chain(nodes: list[ir.Node], inputs: list[ir.Value], outputs: list[ir.Value]) -> ir.Model:
    return ir.Model(ir.Graph(inputs, outputs, nodes=nodes, opset_imports={"": 18}), ir_version=8)


def _input(name: str, *dims: int | str) -> ir.Value:
    return ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(dims))


def growing_chain(count: int) -> ir.Model:
    """Concat and Transpose by turns: sums that grow and never repeat."""
    x = value = _input("x", f"n_{count}", f"m_{count}")  # no size is one that another chain has made
    other, nodes = x, []
    for index in range(count // 2):
        twice = value if index % 50 == 0 and index < 1000 else other
        nodes.append(ir.Node("", "Concat", [value, twice], [ir.AttrInt64("axis", index % 2)]))
        nodes.append(ir.Node("", "Transpose", [nodes[-1].outputs[0]], [ir.AttrInt64s("perm", [0, 1])]))
        value = nodes[-1].outputs[0]
        nodes[-2].outputs[0].name, value.name = f"c{index}", f"t{index}"
        if index % 7 == 0:
            other = value
    return _chain(nodes, [x], [value])


def floor_divisions(stages: int) -> ir.Model:
    """Stages that halve, double and join again: [.., 2*((h + 1) // 2), (w + 1) // 2] each."""
    x, kernel = _input("x", 1, 3, f"h_{stages}", f"w_{stages}"), _input("k", 3, 3, 3, 3)
    nodes, value = [], x
    for index in range(stages):
        attributes = [ir.AttrInt64s("strides", [2, 2]), ir.AttrInt64s("pads", [1, 1, 1, 1])]
        down = ir.Node("", "Conv", [value, kernel], attributes)
        up = ir.Node("", "ConvTranspose", [down.outputs[0], kernel], attributes[:1])
        join = ir.Node("", "Concat", [down.outputs[0], down.outputs[0]], [ir.AttrInt64("axis", 2)])
        nodes += [down, up, join]
        value = join.outputs[0]
        for place, node in enumerate((down, up, join)):
            node.outputs[0].name = f"v{index}_{place}"
    return _chain(nodes, [x, kernel], [value])


def residual_stages(stages: int) -> ir.Model:
    """What a ResNet does, over and over: a convolution of stride 2 beside a pool, added; and an upsampled sum."""
    x, kernel = _input("x", 1, 3, f"h_{stages}", f"w_{stages}"), _input("k", 3, 3, 3, 3)
    nodes: list[ir.Node] = []

    def node(op_type: str, inputs: list[ir.Value], *attributes: ir.Attr) -> ir.Value:
        nodes.append(ir.Node("", op_type, inputs, attributes))
        nodes[-1].outputs[0].name = f"v{len(nodes)}"
        return nodes[-1].outputs[0]

    strides, pads = ir.AttrInt64s("strides", [2, 2]), ir.AttrInt64s("pads", [1, 1, 1, 1])
    value = x
    for _ in range(stages):
        down = node("Conv", [value, kernel], strides, pads)
        pool = node("MaxPool", [value], ir.AttrInt64s("kernel_shape", [3, 3]), strides, pads)
        joined = node("Add", [down, pool])
        wide = node("Concat", [joined, joined], ir.AttrInt64("axis", 2))
        both = node("Concat", [wide, joined], ir.AttrInt64("axis", 2))
        value = node("Concat", [both, both], ir.AttrInt64("axis", 3))
    return _chain(nodes, [x, kernel], [value])


def calls(build: Callable[[int], ir.Model], count: int) -> int:
    """How many Python functions run while a model is inferred."""
    model, number = build(count), 0

    def seen(frame: object, event: str, argument: object) -> None:
        nonlocal number
        number += event == "call"

    sys.setprofile(seen)
    try:
        report = infer(model)
    finally:
        sys.setprofile(None)
    assert not report.errors
    assert not report.unresolved
    assert max(len(str(row.type)) for row in report.values) < 2000
    return number


@pytest.mark.parametrize(
    ("build", "small", "large"),
    [(growing_chain, 2_500, 10_000), (floor_divisions, 50, 200), (residual_stages, 50, 200)],
    ids=["chain", "floor divisions", "residual stages"],
)
def test_work_is_linear(build: Callable[[int], ir.Model], small: int, large: int) -> None:
    assert calls(build, large) < 4.4 * calls(build, small)


def test_floor_divisions_stay_exact() -> None:
    model = floor_divisions(100)
    infer(model, strict=True)
    height, width = 1000, 900
    for node in list(model.graph)[2::3]:
        height, width = ((height + 1) // 2) * 2, (width + 1) // 2
        assert node.outputs[0].shape.evaluate({"h_100": 1000, "w_100": 900}) == [1, 3, height, width]


def test_residual_stages_stay_exact() -> None:
    model = residual_stages(100)
    infer(model, strict=True)
    height, width = 37, 500
    for node in list(model.graph)[5::6]:
        height, width = 3 * ((height - 1) // 2 + 1), 2 * ((width - 1) // 2 + 1)
        assert node.outputs[0].shape.evaluate({"h_100": 37, "w_100": 500}) == [1, 3, height, width]


MEASURE = """
import resource, sys
import onnx_ir as ir
from shape_inference import infer

def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

before = peak_bytes()
model = ir.load(sys.argv[1])
report = infer(model, strict=True)
assert not report.unresolved
print(peak_bytes() - before, model.graph.outputs[0].shape)
"""


def test_three_gigabytes_of_weights_take_no_memory(tmp_path: Path) -> None:
    """A model with 3 GB in another file, which is there (and sparse): loaded and inferred within 100 MB."""
    layers, width, height = 96, 4096, 2048
    size = 4 * width * height
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(op, [f"x{i}", f"w{i}"], [f"x{i + 1}"]) for i, op in enumerate(["MatMul"] * layers)],
        "g",
        [onnx.helper.make_tensor_value_info("x0", onnx.TensorProto.FLOAT, ["N", width])],
        [onnx.helper.make_empty_tensor_value_info(f"x{layers}")],
    )
    for index in range(layers):
        dims = [width, height] if index % 2 == 0 else [height, width]
        weight = onnx.TensorProto(name=f"w{index}", data_type=onnx.TensorProto.FLOAT, dims=dims)
        weight.data_location = onnx.TensorProto.EXTERNAL
        for key, text in (("location", "weights.bin"), ("offset", index * size), ("length", size)):
            weight.external_data.add(key=key, value=str(text))
        graph.initializer.append(weight)
    with open(tmp_path / "weights.bin", "wb") as file:
        file.truncate(layers * size)
    assert (tmp_path / "weights.bin").stat().st_size >= 3 * 10**9
    path = tmp_path / "model.onnx"
    path.write_bytes(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)]).SerializeToString()
    )
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    peak, shape = done.stdout.strip().split(" ", 1)
    assert shape == "[N,4096]"
    assert int(peak) < 100 * 10**6
