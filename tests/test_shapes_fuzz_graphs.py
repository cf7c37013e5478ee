"""Random graphs over symbolic sizes: the formulas must give the sizes that onnxruntime computes, at several sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from shape_inference import Dim, Report, TensorType, infer, symbol
from tests.shapes_fuzz import OPSET, Chance, floats, run

SYMBOLS = {name: symbol(name) for name in "abcd"}


class Graph:
    """A random graph over symbolic sizes, valid for any value of the symbols that is at least 1."""

    def __init__(self, chance: Chance) -> None:
        self.chance = chance
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.dims: dict[str, list[Any]] = {}  # float tensors: name -> dims that the generator knows, or None
        self.vectors: list[str] = []  # shape tensors
        for _ in range(3):
            dims = [chance.choice([*SYMBOLS, 2, 3, 4]) for _ in range(chance.randint(2, 4))]
            name = f"x{len(self.inputs)}"
            self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
            self.dims[name] = dims

    def add(self, op_type: str, inputs: Sequence[str], *, count: int = 1, **attributes: Any) -> list[str]:
        outputs = [f"v{len(self.nodes)}_{place}" for place in range(count)]
        self.nodes.append(helper.make_node(op_type, inputs, outputs, **attributes))
        return outputs

    def constant(self, *values: int, scalar: bool = False) -> str:
        name = f"c{len(self.constants)}"
        array = np.array(values[0] if scalar else values, np.int64)
        self.constants.append(onnx.numpy_helper.from_array(array, name))
        return name

    def pick(self, low: int = 1) -> str:
        return self.chance.choice([name for name, dims in self.dims.items() if len(dims) >= low])

    def step(self) -> None:
        chance = self.chance
        name = self.pick()
        dims = self.dims[name]
        axis = chance.randrange(len(dims))
        kind = chance.choice(
            ["unary", "transpose", "concat", "slice", "pool", "flatten", "merge", "unsqueeze", "reduce", "expand"]
            + ["tile", "pad", "gather", "split", "chain", "outer", "arange", "conv"]
        )
        getattr(self, f"_{kind}")(name, dims, axis)

    def _unary(self, name: str, dims: list[Any], axis: int) -> None:
        (out,) = self.add(self.chance.choice(["Relu", "Sigmoid"]), [name])
        self.dims[out] = dims

    def _transpose(self, name: str, dims: list[Any], axis: int) -> None:
        perm = list(range(len(dims)))
        self.chance.shuffle(perm)
        (out,) = self.add("Transpose", [name], perm=perm)
        self.dims[out] = [dims[place] for place in perm]

    def _concat(self, name: str, dims: list[Any], axis: int) -> None:
        (out,) = self.add("Concat", [name, name], axis=axis)
        self.dims[out] = [*dims[:axis], f"?{out}", *dims[axis + 1 :]]

    def _slice(self, name: str, dims: list[Any], axis: int) -> None:
        step = self.chance.choice([1, 2, 3])
        bounds = [self.constant(0), self.constant(2**63 - 1), self.constant(axis), self.constant(step)]
        (out,) = self.add("Slice", [name, *bounds])
        self.dims[out] = [*dims[:axis], f"?{out}", *dims[axis + 1 :]]

    def _pool(self, name: str, dims: list[Any], axis: int) -> None:
        if len(dims) < 3 or len(dims) > 5:
            return
        rank = len(dims) - 2
        kernel = [self.chance.randint(1, 3) for _ in range(rank)]
        pads = [size // 2 for size in kernel] * 2
        strides = [self.chance.randint(1, 2) for _ in range(rank)]
        ceil = self.chance.randint(0, 1)
        (out,) = self.add("MaxPool", [name], kernel_shape=kernel, pads=pads, strides=strides, ceil_mode=ceil)
        self.dims[out] = [*dims[:2], *(f"?{out}{place}" for place in range(rank))]

    def _conv(self, name: str, dims: list[Any], axis: int) -> None:
        if len(dims) < 3 or len(dims) > 5 or not isinstance(dims[1], int):
            return
        rank = len(dims) - 2
        weight = f"c{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(floats([2, dims[1], *[3] * rank]), weight))
        strides = [self.chance.randint(1, 2) for _ in range(rank)]
        (out,) = self.add("Conv", [name, weight], pads=[1] * (2 * rank), strides=strides)
        self.dims[out] = [dims[0], 2, *(f"?{out}{place}" for place in range(rank))]

    def _flatten(self, name: str, dims: list[Any], axis: int) -> None:
        """Merge two axes and split them again, by sizes read from the tensor."""
        if len(dims) < 2:
            return
        (shape,) = self.add("Shape", [name])
        (first,) = self.add("Slice", [shape, self.constant(0), self.constant(1)])
        (wanted,) = self.add("Concat", [first, self.constant(-1)], axis=0)
        (flat,) = self.add("Reshape", [name, wanted])
        self.dims[flat] = [dims[0], f"?{flat}"]
        if self.chance.random() < 0.6:
            (back,) = self.add("Reshape", [flat, shape])
            self.dims[back] = dims

    def _merge(self, name: str, dims: list[Any], axis: int) -> None:
        other = self.chance.choice([key for key, known in self.dims.items() if known == dims])
        (out,) = self.add("Add", [name, other])
        self.dims[out] = dims

    def _unsqueeze(self, name: str, dims: list[Any], axis: int) -> None:
        if len(dims) > 4:
            return
        (out,) = self.add("Unsqueeze", [name, self.constant(axis)])
        self.dims[out] = [*dims[:axis], 1, *dims[axis:]]

    def _reduce(self, name: str, dims: list[Any], axis: int) -> None:
        if len(dims) < 2:
            return
        (out,) = self.add("ReduceMean", [name, self.constant(axis)], keepdims=0)
        self.dims[out] = dims[:axis] + dims[axis + 1 :]

    def _expand(self, name: str, dims: list[Any], axis: int) -> None:
        (shape,) = self.add("Shape", [name])
        (one,) = self.add("ReduceMean", [name, self.constant(axis)], keepdims=1)
        (out,) = self.add("Expand", [one, shape])
        self.dims[out] = dims

    def _tile(self, name: str, dims: list[Any], axis: int) -> None:
        repeats = [1] * len(dims)
        repeats[axis] = 2
        (out,) = self.add("Tile", [name, self.constant(*repeats)])
        self.dims[out] = [*dims[:axis], f"?{out}", *dims[axis + 1 :]]

    def _pad(self, name: str, dims: list[Any], axis: int) -> None:
        pads = [0] * (2 * len(dims))
        pads[axis], pads[axis + len(dims)] = self.chance.randint(0, 2), self.chance.randint(0, 2)
        (out,) = self.add("Pad", [name, self.constant(*pads)])
        self.dims[out] = [*dims[:axis], f"?{out}", *dims[axis + 1 :]]

    def _gather(self, name: str, dims: list[Any], axis: int) -> None:
        (out,) = self.add("Gather", [name, self.constant(0, 0, 0)], axis=axis)
        self.dims[out] = [*dims[:axis], 3, *dims[axis + 1 :]]

    def _split(self, name: str, dims: list[Any], axis: int) -> None:
        if not isinstance(dims[axis], int) or dims[axis] < 2:
            return
        parts = self.constant(1, dims[axis] - 1)
        first, second = self.add("Split", [name, parts], count=2, axis=axis)
        self.dims[first] = [*dims[:axis], 1, *dims[axis + 1 :]]
        self.dims[second] = [*dims[:axis], dims[axis] - 1, *dims[axis + 1 :]]

    def _chain(self, name: str, dims: list[Any], axis: int) -> None:
        """Make a tensor of a size that is computed from others."""
        (a,) = self.add("Shape", [name], start=axis, end=axis + 1)
        other = self.pick()
        (b,) = self.add("Shape", [other], start=0, end=1)
        op = self.chance.choice(["Add", "Mul", "Max", "Min", "Div", "Mod", "Sub"])
        (size,) = self.add(op, [a, b])
        (size,) = self.add("Max", [size, self.constant(1)])
        (size,) = self.add("Min", [size, self.constant(40)])
        (out,) = self.add("ConstantOfShape", [size])
        self.dims[out] = [f"?{out}"]

    def _outer(self, name: str, dims: list[Any], axis: int) -> None:
        other = self.pick()
        if len(dims) + len(self.dims[other]) > 4:
            return
        place = self.constant(*range(len(dims), len(dims) + len(self.dims[other])))
        (left,) = self.add("Unsqueeze", [name, place])
        (out,) = self.add("Mul", [left, other])
        self.dims[out] = [*dims, *self.dims[other]]

    def _arange(self, name: str, dims: list[Any], axis: int) -> None:
        (size,) = self.add("Shape", [name], start=axis, end=axis + 1)
        (limit,) = self.add("Squeeze", [size])
        start, delta = self.chance.randint(-1, 1), self.chance.randint(1, 3)
        (places,) = self.add("Range", [self.constant(start, scalar=True), limit, self.constant(delta, scalar=True)])
        (out,) = self.add("Cast", [places], to=TensorProto.FLOAT)
        self.dims[out] = [f"?{out}"]

    def model(self) -> onnx.ModelProto:
        outputs = [helper.make_empty_tensor_value_info(name) for node in self.nodes for name in node.output]
        graph = helper.make_graph(self.nodes, "g", self.inputs, outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def _feeds(model: onnx.ModelProto, chance: Chance) -> Iterator[tuple[dict[str, int], dict[str, np.ndarray]]]:
    for _ in range(3):
        sizes = {name: chance.randint(1, 6) for name in SYMBOLS}
        yield (
            sizes,
            {
                value.name: floats(
                    [sizes.get(dim.dim_param, dim.dim_value) for dim in value.type.tensor_type.shape.dim]
                )
                for value in model.graph.input
            },
        )


def check_graph(seed: int) -> int:
    """Compare all values of a random graph at three sizes; how many sizes onnxruntime ran."""
    chance = Chance(seed)
    graph = Graph(chance)
    for _ in range(chance.randint(3, 14)):
        graph.step()
    if not graph.nodes:
        return 0
    model = graph.model()
    found = ir.serde.deserialize_model(model)
    report = infer(found)
    if report.errors:
        accepted = [sizes for sizes, feed in _feeds(model, chance) if run(model, feed) is not None]
        assert not accepted, f"seed {seed}: {report.errors[0]}"
        return 0
    assert not report.unresolved, f"seed {seed}: {report.unresolved[0]}"
    _compare_with_onnx(model, report, f"seed {seed}")
    ran = 0
    for sizes, feed in _feeds(model, chance):
        computed = run(model, feed)
        if computed is None:
            continue
        ran += 1
        for value, array in zip(found.graph.outputs, computed, strict=True):
            _compare(report.types[value], array, sizes, f"seed {seed}, {value.name} at {sizes}")
    return ran


def _compare_with_onnx(model: onnx.ModelProto, report: Report, what: str) -> None:
    """Whatever number onnx's own pass finds must have been found; its ceil_mode is not onnxruntime's."""
    if any(attribute.name == "ceil_mode" and attribute.i for node in model.graph.node for attribute in node.attribute):
        return
    theirs = onnx.shape_inference.infer_shapes(model, data_prop=True)
    ours = {value.name: given for value, given in report.types.items()}
    for value in theirs.graph.output:
        given = ours[value.name]
        assert isinstance(given, TensorType)
        if not value.type.tensor_type.HasField("shape"):
            continue
        assert given.shape is not None
        sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim]
        assert len(sizes) == len(given.shape), f"{what}: {given}, onnx has {sizes}"
        pairs = zip(given.shape, sizes, strict=True)
        assert all(size is None or size == mine for mine, size in pairs), f"{what}: {given}, onnx has {sizes}"


def _compare(given: Any, array: np.ndarray, sizes: dict[str, int], what: str) -> None:
    def number(size: Any) -> Any:
        return size.evaluate(sizes) if type(size) is Dim else size

    assert given.shape is not None, what
    assert [number(size) for size in given.shape] == list(array.shape), f"{what}: {given} is {array.shape}"
    if given.content is not None:
        assert [number(item) for item in given.content] == array.reshape(-1).tolist(), f"{what}: {given.content}"


@pytest.mark.parametrize("start", range(0, 150, 15))
def test_graphs(start: int) -> None:
    assert sum(check_graph(seed) for seed in range(start, start + 15)) > 5
