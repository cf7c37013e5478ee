"""Random calls and random graphs: what onnxruntime computes must be what was inferred.

`calls` draws one operator with random inputs and attributes at fixed sizes: whatever onnxruntime runs must be
inferred, with the sizes and the contents that come out. `graphs` strings operators together over symbolic sizes:
the formulas must give the sizes that come out, for several values of the symbols.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper

from shape_inference import Dim, Report, TensorType, infer, symbol

onnxruntime.set_default_logger_severity(4)

DTYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.int64): TensorProto.INT64,
    np.dtype(bool): TensorProto.BOOL,
    np.dtype(np.uint8): TensorProto.UINT8,
}
OPSET = 18
OPSETS = (7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 18, 18, 19, 20, 21, 22, 23, 24, 25, 26)


@dataclass
class Draw:
    """A call: the arrays of its inputs (None: absent), which of them are constants, and its attributes."""

    op_type: str
    inputs: list[np.ndarray | None]
    attributes: dict[str, Any] = field(default_factory=dict)
    constants: frozenset[int] = frozenset()
    outputs: int = 1


class Chance(random.Random):
    """Random sizes, shapes, arrays."""

    def size(self, *, zero: bool = False) -> int:
        return self.choice([0, 1, 2, 3, 4, 5, 7, 8] if zero and self.random() < 0.1 else [1, 1, 2, 3, 4, 5, 6, 8])

    def shape(self, low: int = 0, high: int = 4) -> list[int]:
        return [self.size(zero=True) for _ in range(self.randint(low, high))]

    def axis(self, rank: int) -> int:
        return self.randrange(-rank, rank) if rank else 0

    def broadcastable(self, shape: Sequence[int]) -> list[int]:
        kept = list(shape[self.randint(0, len(shape)) :])
        return [1 if self.random() < 0.3 else size for size in kept]


def floats(shape: Sequence[int]) -> np.ndarray:
    return np.ones(shape, np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


CALLS: dict[str, Callable[[Chance], Draw]] = {}


def draws(*names: str) -> Callable[[Callable[[Chance, str], Draw]], Callable[[Chance, str], Draw]]:
    def register(function: Callable[[Chance, str], Draw]) -> Callable[[Chance, str], Draw]:
        for name in names:
            CALLS[name] = lambda chance, name=name: function(chance, name)
        return function

    return register


@draws("Relu", "Sigmoid", "Erf", "Identity", "Abs", "Neg", "Softmax", "Shape", "Size", "NonZero", "IsNaN")
def _unary(chance: Chance, name: str) -> Draw:
    shape = chance.shape(1 if name in ("Softmax", "NonZero") else 0)
    attributes = {"axis": chance.axis(len(shape))} if name == "Softmax" else {}
    if name == "Shape" and chance.random() < 0.5:
        attributes = {"start": chance.randint(-5, 5), "end": chance.randint(-5, 5)}
    return Draw(name, [floats(shape)], attributes)


@draws("Add", "Mul", "Max", "Less", "Equal", "Where")
def _binary(chance: Chance, name: str) -> Draw:
    a = chance.shape()
    b = chance.broadcastable(a)
    if chance.random() < 0.1:
        b = chance.shape()
    pair: list[np.ndarray | None] = [floats(a), floats(b)]
    chance.shuffle(pair)
    if name == "Where":
        pair.insert(0, np.ones(chance.broadcastable(a), bool))
    return Draw(name, pair)


@draws("MatMul")
def _matmul(chance: Chance, name: str) -> Draw:
    lead, inner = chance.shape(0, 2), chance.size()
    a, b = [*lead, chance.size(), inner], [*chance.broadcastable(lead), inner, chance.size()]
    if chance.random() < 0.2:
        a = [inner]
    if chance.random() < 0.2:
        b = [inner]
    return Draw(name, [floats(a), floats(b)])


@draws("Gemm")
def _gemm(chance: Chance, name: str) -> Draw:
    n, k, m = chance.size(), chance.size(), chance.size()
    left, right = chance.randint(0, 1), chance.randint(0, 1)
    a, b = [k, n] if left else [n, k], [m, k] if right else [k, m]
    return Draw(name, [floats(a), floats(b), floats(chance.broadcastable([n, m]))], {"transA": left, "transB": right})


def _window(chance: Chance, rank: int) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    if chance.random() < 0.7:
        attributes["strides"] = [chance.randint(1, 3) for _ in range(rank)]
    if chance.random() < 0.3:
        attributes["dilations"] = [chance.randint(1, 2) for _ in range(rank)]
    if chance.random() < 0.2:
        attributes["auto_pad"] = chance.choice(["SAME_UPPER", "SAME_LOWER", "VALID"])
    elif chance.random() < 0.6:
        attributes["pads"] = [chance.randint(0, 1) for _ in range(2 * rank)]
    return attributes


@draws("Conv", "ConvTranspose")
def _conv(chance: Chance, name: str) -> Draw:
    rank, group = chance.randint(1, 3), chance.choice([1, 1, 2])
    channels, maps = group * chance.randint(1, 3), group * chance.randint(1, 3)
    kernel = [chance.randint(1, 3) for _ in range(rank)]
    x = [chance.randint(1, 2), channels, *(chance.randint(3, 9) for _ in range(rank))]
    w = [maps, channels // group, *kernel] if name == "Conv" else [channels, maps // group, *kernel]
    attributes = {**_window(chance, rank), "group": group}
    if name == "ConvTranspose":
        attributes.pop("auto_pad", None)
        if chance.random() < 0.3:
            attributes["output_padding"] = [chance.randint(0, 1) for _ in range(rank)]
    return Draw(name, [floats(x), floats(w)], attributes)


@draws("MaxPool", "AveragePool", "LpPool", "GlobalMaxPool")
def _pool(chance: Chance, name: str) -> Draw:
    rank = chance.randint(1, 3)
    x = [1, 2, *(chance.randint(3, 9) for _ in range(rank))]
    if name == "GlobalMaxPool":
        return Draw(name, [floats(x)])
    attributes = {**_window(chance, rank), "kernel_shape": [chance.randint(1, 3) for _ in range(rank)]}
    # onnxruntime 1.31 leaves dilations out of LpPool, and out of the padding that auto_pad asks for.
    if name != "MaxPool" or "auto_pad" in attributes:
        attributes.pop("dilations", None)
    if chance.random() < 0.4 and "auto_pad" not in attributes:
        attributes["ceil_mode"] = 1
    return Draw(name, [floats(x)], attributes)


@draws("Reshape")
def _reshape(chance: Chance, name: str) -> Draw:
    shape = chance.shape(0, 4)
    total = int(np.prod(shape))
    wanted: list[int] = []
    rest = total
    for _ in range(chance.randint(0, 3)):
        divisor = chance.choice([size for size in range(1, max(rest, 1) + 1) if rest % size == 0] or [1])
        wanted.append(divisor)
        rest //= divisor
    wanted.append(chance.choice([rest, -1]))
    if chance.random() < 0.2 and shape:
        wanted = [0] * chance.randint(1, len(shape)) + [-1]
    return Draw(name, [floats(shape), ints(*wanted)], {}, frozenset({1}))


@draws("Transpose")
def _transpose(chance: Chance, name: str) -> Draw:
    shape = chance.shape()
    perm = list(range(len(shape)))
    chance.shuffle(perm)
    return Draw(name, [floats(shape)], {"perm": perm} if shape and chance.random() < 0.8 else {})


@draws("Concat")
def _concat(chance: Chance, name: str) -> Draw:
    shape = chance.shape(1)
    axis = chance.axis(len(shape))
    arrays: list[np.ndarray | None] = []
    for _ in range(chance.randint(1, 3)):
        shape[axis] = chance.size(zero=True)
        arrays.append(floats(shape))
    return Draw(name, arrays, {"axis": axis})


@draws("Slice")
def _slice(chance: Chance, name: str) -> Draw:
    shape = chance.shape(1)
    axes = chance.sample(range(len(shape)), chance.randint(1, len(shape)))
    far = [2**63 - 1, -(2**63) + 1, 2**31 - 1, -(2**31)]
    places = [[chance.choice([*range(-10, 11), *far]) for _ in axes] for _ in range(2)]
    # onnxruntime reads the greatest end as "all the way" for negative steps too; ONNX does not.
    steps = [chance.choice([1, 1, 2, 3]) if end > 99 else chance.choice([1, -1, -2]) for end in places[1]]
    signed = [axis - len(shape) if chance.random() < 0.3 else axis for axis in axes]
    inputs = [floats(shape), ints(*places[0]), ints(*places[1]), ints(*signed), ints(*steps)]
    return Draw(name, inputs, {}, frozenset({1, 2, 3, 4}))


@draws("Pad")
def _pad(chance: Chance, name: str) -> Draw:
    shape = [chance.randint(2, 5) for _ in range(chance.randint(1, 3))]
    axes = chance.sample(range(len(shape)), chance.randint(1, len(shape)))
    pads = ints(*(chance.randint(-1, 2) for _ in range(2 * len(axes))))
    return Draw(name, [floats(shape), pads, None, ints(*axes)], {}, frozenset({1, 3}))


@draws("Expand", "Tile", "ConstantOfShape")
def _expand(chance: Chance, name: str) -> Draw:
    shape = chance.shape(0, 3)
    if name == "Tile":
        return Draw(name, [floats(shape), ints(*(chance.randint(0, 3) for _ in shape))], {}, frozenset({1}))
    if name == "ConstantOfShape":
        return Draw(name, [ints(*shape)], {}, frozenset({0}))
    wanted = chance.shape(0, 2) + [size if chance.random() < 0.7 else 1 for size in shape]
    ones = [
        size if size == goal or chance.random() < 0.5 else 1
        for size, goal in zip(shape, wanted[len(wanted) - len(shape) :], strict=True)
    ]
    return Draw(name, [floats(ones), ints(*wanted)], {}, frozenset({1}))


@draws("Squeeze", "Unsqueeze", "Flatten")
def _squeeze(chance: Chance, name: str) -> Draw:
    shape = [chance.choice([1, 1, 2, 3]) for _ in range(chance.randint(1, 4))]
    if name == "Flatten":
        return Draw(name, [floats(shape)], {"axis": chance.randint(-len(shape), len(shape))})
    if name == "Squeeze":
        ones = [axis for axis, size in enumerate(shape) if size == 1]
        if not ones or chance.random() < 0.2:
            return Draw(name, [floats(shape)])
        axes = chance.sample(ones, chance.randint(1, len(ones)))
    else:
        count = chance.randint(1, 2)
        axes = chance.sample(range(len(shape) + count), count)
    return Draw(name, [floats(shape), ints(*axes)], {}, frozenset({1}))


@draws("Gather", "GatherElements", "GatherND", "ScatterND", "ScatterElements")
def _gather(chance: Chance, name: str) -> Draw:
    shape = [chance.size() for _ in range(chance.randint(1, 3))]
    x = floats(shape)
    if name in ("GatherND", "ScatterND"):
        batch = chance.randint(0, len(shape) - 1) if name == "GatherND" else 0
        depth = chance.randint(1, len(shape) - batch)
        places = np.zeros([*shape[:batch], *chance.shape(0, 2), depth], np.int64)
        if name == "GatherND":
            return Draw(name, [x, places], {"batch_dims": batch})
        return Draw(name, [x, places, floats([*places.shape[:-1], *shape[depth:]])])
    axis = chance.axis(len(shape))
    if name == "Gather":
        return Draw(name, [x, np.zeros(chance.shape(0, 2), np.int64)], {"axis": axis})
    places = np.zeros([chance.randint(1, size) for size in shape], np.int64)
    inputs: list[np.ndarray | None] = [x, places]
    return Draw(name, [*inputs, floats(places.shape)] if name == "ScatterElements" else inputs, {"axis": axis})


@draws("ReduceSum", "ReduceMean", "ReduceMax", "ReduceL2", "ArgMax")
def _reduce(chance: Chance, name: str) -> Draw:
    shape = [chance.size() for _ in range(chance.randint(1, 4))]
    keeps = {"keepdims": chance.randint(0, 1)}
    if name == "ArgMax":
        return Draw(name, [floats(shape)], {**keeps, "axis": chance.axis(len(shape))})
    if chance.random() < 0.2:
        return Draw(name, [floats(shape)], {**keeps, "noop_with_empty_axes": chance.randint(0, 1)})
    axes = chance.sample(range(len(shape)), chance.randint(1, len(shape)))
    return Draw(name, [floats(shape), ints(*axes)], keeps, frozenset({1}))


@draws("Split")
def _split(chance: Chance, name: str) -> Draw:
    shape = [chance.randint(2, 8) for _ in range(chance.randint(1, 3))]
    axis, count = chance.axis(len(shape)), chance.randint(1, 3)
    whole = shape[axis]
    if chance.random() < 0.5:
        parts = [chance.randint(0, whole // count) for _ in range(count - 1)]
        parts.append(whole - sum(parts))
        return Draw(name, [floats(shape), ints(*parts)], {"axis": axis}, frozenset({1}), count)
    return Draw(name, [floats(shape)], {"axis": axis, "num_outputs": count}, outputs=count)


@draws("Range")
def _range(chance: Chance, name: str) -> Draw:
    start, limit, delta = chance.randint(-5, 5), chance.randint(-9, 12), chance.choice([1, 2, 3, -1, -2])
    kind = chance.choice([np.int64, np.float32])
    scale = 0.5 if kind is np.float32 else 1
    values: list[np.ndarray | None] = [np.array(item * scale, kind) for item in (start, limit, delta)]
    return Draw(name, values, {}, frozenset({0, 1, 2}))


@draws("TopK")
def _top_k(chance: Chance, name: str) -> Draw:
    shape = [chance.size() for _ in range(chance.randint(1, 3))]
    axis = chance.axis(len(shape))
    k = ints(chance.randint(0, shape[axis]))
    return Draw(name, [floats(shape), k], {"axis": axis}, frozenset({1}), 2)


@draws("Resize")
def _resize(chance: Chance, name: str) -> Draw:
    shape = [1, 2, chance.randint(2, 9), chance.randint(2, 9)]
    if chance.random() < 0.5:
        scales = np.array([1, 1, *(chance.choice([0.5, 0.3, 1.5, 2, 1.7, 2.6]) for _ in range(2))], np.float32)
        return Draw(name, [floats(shape), None, scales], {"mode": "nearest"}, frozenset({2}))
    attributes: dict[str, Any] = {"mode": "nearest", "axes": [2, 3]}
    attributes["keep_aspect_ratio_policy"] = chance.choice(["stretch", "not_larger", "not_smaller"])
    sizes = ints(chance.randint(1, 12), chance.randint(1, 12))
    return Draw(name, [floats(shape), None, None, sizes], attributes, frozenset({3}))


@draws("Einsum")
def _einsum(chance: Chance, name: str) -> Draw:
    sizes = {letter: chance.size() for letter in "ijkl"}
    terms = ["".join(chance.sample("ijkl", chance.randint(1, 3))) for _ in range(chance.randint(1, 2))]
    letters = sorted(set("".join(terms)))
    equation = ",".join(terms)
    if chance.random() < 0.7:
        equation += "->" + "".join(chance.sample(letters, chance.randint(0, len(letters))))
    return Draw(name, [floats([sizes[letter] for letter in term]) for term in terms], {"equation": equation})


@draws("LayerNormalization", "InstanceNormalization", "BatchNormalization")
def _normalization(chance: Chance, name: str) -> Draw:
    shape = [chance.size() for _ in range(chance.randint(3, 4))]
    if name == "LayerNormalization":
        axis = chance.axis(len(shape))
        scale = floats(shape[axis:])
        return Draw(name, [floats(shape), scale], {"axis": axis}, outputs=chance.choice([1, 3]))
    vectors = [floats(shape[1:2]) for _ in range(2 if name[0] == "I" else 4)]
    return Draw(name, [floats(shape), *vectors])


@draws("DepthToSpace", "SpaceToDepth", "LSTM", "GRU", "OneHot", "CumSum", "Trilu", "Clip", "Cast")
def _others(chance: Chance, name: str) -> Draw:
    n, c, h, w = (chance.size() for _ in range(4))
    if name == "DepthToSpace":
        return Draw(name, [floats([n, 4 * c, h, w])], {"blocksize": 2})
    if name == "SpaceToDepth":
        return Draw(name, [floats([n, c, 2 * h, 2 * w])], {"blocksize": 2})
    if name in ("LSTM", "GRU"):
        directions, gates = chance.choice([1, 2]), 4 if name == "LSTM" else 3
        weights = [floats([directions, gates * h, size]) for size in (c, h)]
        way = {"direction": "bidirectional" if directions == 2 else "forward", "hidden_size": h}
        return Draw(name, [floats([w, n, c]), *weights], way, outputs=3 if name == "LSTM" else 2)
    if name == "OneHot":
        rank = chance.randint(0, 2)
        places = np.zeros([n, c][:rank], np.int64)
        return Draw(name, [places, ints(h)[0:1], floats([2])], {"axis": chance.axis(rank + 1)}, frozenset({1}))
    if name == "CumSum":
        return Draw(name, [floats([n, c]), np.array(1)], {}, frozenset({1}))
    if name == "Cast":
        return Draw(name, [floats([n, c])], {"to": TensorProto.INT64})
    return Draw(name, [floats([n, c, h])])


@draws("Det", "EyeLike", "ReverseSequence", "GlobalAveragePool", "GroupNormalization", "LpNormalization", "Hardmax")
def _shaped(chance: Chance, name: str) -> Draw:
    n, c, h, w = (chance.size() for _ in range(4))
    if name == "Det":
        return Draw(name, [np.eye(h, dtype=np.float32)[None].repeat(n, 0)])
    if name == "EyeLike":
        return Draw(name, [floats([n, c])], {"k": chance.randint(-1, 1)})
    if name == "ReverseSequence":
        return Draw(name, [floats([h, n, c]), np.ones(n, np.int64)])
    if name == "GroupNormalization":
        return Draw(name, [floats([n, 2 * c, h, w]), floats([2 * c]), floats([2 * c])], {"num_groups": 2})
    attributes = {"axis": chance.axis(3)} if name[0] in "LH" else {}
    return Draw(name, [floats([n, c, h])], attributes)


@draws("RoiAlign", "MaxRoiPool", "GridSample", "AffineGrid", "CenterCropPad", "Col2Im", "Upsample")
def _spatial(chance: Chance, name: str) -> Draw:
    n, c, h, w = chance.size(), chance.size(), chance.randint(2, 8), chance.randint(2, 8)
    x, count = floats([n, c, h, w]), chance.randint(1, 3)
    size = {"output_height": chance.randint(1, 4), "output_width": chance.randint(1, 4)}
    if name == "RoiAlign":
        return Draw(name, [x, floats([count, 4]), np.zeros(count, np.int64)], size)
    if name == "MaxRoiPool":
        return Draw(name, [x, np.zeros([count, 5], np.float32)], {"pooled_shape": list(size.values())})
    if name == "GridSample":
        return Draw(name, [x, floats([n, *size.values(), 2])])
    if name == "AffineGrid":
        return Draw(name, [floats([n, 2, 3]), ints(n, c, h, w)], {}, frozenset({1}))
    if name == "CenterCropPad":
        wanted = ints(*(chance.randint(1, 9) for _ in range(2)))
        return Draw(name, [x, wanted], {"axes": chance.sample(range(4), 2)}, frozenset({1}))
    if name == "Upsample":
        scales = np.array([1, 1, chance.choice([1, 1.5, 2, 2.6]), chance.choice([1, 2, 3])], np.float32)
        return Draw(name, [x, scales], {"mode": "nearest"}, frozenset({1}))
    blocks = (h - 1) * (w - 1)
    return Draw(name, [floats([n, c * 4, blocks]), ints(h, w), ints(2, 2)], {}, frozenset({1, 2}))


@draws("QuantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "QLinearMatMul", "DequantizeLinear")
def _quantized(chance: Chance, name: str) -> Draw:
    n, k, m = chance.size(), chance.size(), chance.size()
    scale, zero = np.array(0.5, np.float32), np.array(1, np.uint8)
    a, b = np.ones([n, k], np.uint8), np.ones([k, m], np.uint8)
    if name == "QuantizeLinear":
        return Draw(name, [floats([n, k]), scale, zero])
    if name == "DequantizeLinear":
        return Draw(name, [a, scale, zero])
    if name == "DynamicQuantizeLinear":
        return Draw(name, [floats([n, k])], outputs=3)
    if name == "MatMulInteger":
        return Draw(name, [a, b])
    if name == "QLinearMatMul":
        return Draw(name, [a, scale, zero, b, scale, zero, scale, zero])
    return Draw(name, [np.ones([1, k, 5, 6], np.uint8), np.ones([m, k, 2, 3], np.uint8)], _window(chance, 2))


@draws("DFT", "STFT", "HannWindow", "MelWeightMatrix", "RandomNormalLike", "Multinomial", "Bernoulli", "Mod", "RNN")
def _signals(chance: Chance, name: str) -> Draw:
    n, length = chance.size(), chance.randint(4, 20)
    if name == "DFT":
        return Draw(name, [floats([n, length, 1])], {"onesided": chance.randint(0, 1), "axis": 1})
    if name == "STFT":
        step, frame = chance.randint(1, 3), chance.randint(2, 4)
        values = [floats([n, length, 1]), np.array(step), None, np.array(frame)]
        return Draw(name, values, {"onesided": chance.randint(0, 1)}, frozenset({1, 3}))
    if name == "HannWindow":
        return Draw(name, [np.array(length)], {}, frozenset({0}))
    if name == "MelWeightMatrix":
        values = [np.array(chance.randint(1, 5)), np.array(16), np.array(8000), *np.array([0.0, 4000.0], np.float32)]
        return Draw(name, [np.asarray(value) for value in values], {}, frozenset(range(5)))
    if name == "Multinomial":
        return Draw(name, [floats([n, 4])], {"sample_size": chance.randint(1, 5)})
    if name == "Mod":
        return Draw(name, [np.full([n, 1], 7), np.full([length], 3)])
    if name == "RNN":
        weights = [floats([1, 3, size]) for size in (n, 3)]
        return Draw(name, [floats([length, 2, n]), *weights], {"hidden_size": 3}, outputs=2)
    return Draw(name, [floats([n, length])])


def as_of(draw: Draw, opset: int) -> Draw | None:
    """The same call as another opset version writes it; None where it had no such call."""
    inputs, attributes = list(draw.inputs), dict(draw.attributes)

    def moved(name: str, place: int) -> None:
        if place < len(inputs) and inputs[place] is not None:
            attributes[name] = np.asarray(inputs.pop(place)).tolist()

    name = draw.op_type
    if name in ("Squeeze", "Unsqueeze", "ReduceSum") and opset < 13:
        moved("axes", 1)
    if name in ("ReduceMean", "ReduceMax", "ReduceL2") and opset < 18:
        moved("axes", 1)
    if name.startswith("Reduce") and opset < 18 and (name != "ReduceSum" or opset < 13):
        attributes.pop("noop_with_empty_axes", None)
    if name == "Slice" and opset < 10:
        if any(step != 1 for step in inputs.pop(4)):  # type: ignore[union-attr]  # a Slice has them
            return None
        for place in (3, 2, 1):
            moved(("starts", "ends", "axes")[place - 1], place)
    if name == "Pad" and opset < 18:
        rank, pads, axes = inputs[0].ndim, inputs[1], inputs[3]  # type: ignore[union-attr]  # a Pad has them
        whole = np.zeros(2 * rank, np.int64)
        for place, axis in enumerate(axes):  # type: ignore[arg-type, union-attr]  # as above
            whole[[axis, axis + rank]] = pads[[place, place + len(axes)]]  # type: ignore[index, arg-type]  # as above
        inputs = [inputs[0], whole]
        if opset < 11:
            moved("pads", 1)
    if name == "Split" and opset < 18:
        attributes.pop("num_outputs", None)
        if opset < 13:
            moved("split", 1)
    if name == "TopK" and opset < 10:
        attributes["k"] = int(inputs.pop()[0])  # type: ignore[index]  # a TopK has it
    if name == "Upsample" and opset < 9:
        moved("scales", 1)
    if name == "DFT" and opset >= 20:
        inputs = [inputs[0], None, np.array(attributes.pop("axis"))]
        return Draw(name, inputs, attributes, frozenset({2}), draw.outputs)
    constants = frozenset(place for place in draw.constants if place < len(inputs))
    return Draw(name, inputs, attributes, constants, draw.outputs)


def _model(draw: Draw, opset: int = OPSET) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A model of one call, and what to feed it."""
    names, inputs, constants, feed = [], [], [], {}
    for place, array in enumerate(draw.inputs):
        name = "" if array is None else f"i{place}"
        names.append(name)
        if array is None:
            continue
        if place in draw.constants:
            constants.append(onnx.numpy_helper.from_array(array, name))
        else:
            inputs.append(helper.make_tensor_value_info(name, DTYPES[array.dtype], array.shape))
            feed[name] = array
    outputs = [f"o{place}" for place in range(draw.outputs)]
    node = helper.make_node(draw.op_type, names, outputs, **draw.attributes)
    infos = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph([node], "g", inputs, infos, constants)
    version = 8 if opset < 19 else 10
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=version), feed


def _run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> list[np.ndarray] | None:
    """What onnxruntime computes; None if it refuses the model."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, feed)
    except Exception:  # onnxruntime's exceptions share no class of their own
        return None


def check_call(seed: int, opset: int | None = None) -> str | None:
    """Compare one random call, of a random opset version by default; None if onnxruntime refuses it."""
    chance = Chance(seed)
    drawn = CALLS[chance.choice(sorted(CALLS))](chance)
    version = chance.choice(OPSETS) if opset is None else opset
    draw = as_of(drawn, version)
    if draw is None:
        return None
    model, feed = _model(draw, version)
    computed = _run(model, feed)
    if computed is None:
        return None
    found = ir.serde.deserialize_model(model)
    report = infer(found)
    what = f"{draw.op_type} {version} {[None if a is None else a.shape for a in draw.inputs]} {draw.attributes}"
    assert not report.errors, f"{what}: {report.errors[0]}"
    for value, array in zip(found.graph.outputs, computed, strict=True):
        given = report.types[value]
        assert isinstance(given, TensorType), what
        assert given.dtype.numpy() == array.dtype, what
        open_sizes = draw.op_type == "NonZero"
        assert open_sizes or given.shape == array.shape, f"{what}: inferred {given}, computed {array.shape}"
        if given.content is not None:
            assert list(given.content) == array.reshape(-1).tolist(), f"{what}: {given.content}"
    return draw.op_type


@pytest.mark.parametrize("start", range(0, 600, 50))
def test_calls(start: int) -> None:
    ran = [check_call(seed, OPSET) for seed in range(start, start + 50)]
    assert sum(name is not None for name in ran) > 25


@pytest.mark.parametrize("opset", sorted(set(OPSETS)))
def test_calls_of_every_opset(opset: int) -> None:
    ran = [check_call(seed, opset) for seed in range(1000 * opset, 1000 * opset + 60)]
    assert sum(name is not None for name in ran) > 15


# -- graphs --------------------------------------------------------------------------------------

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
        accepted = [sizes for sizes, feed in _feeds(model, chance) if _run(model, feed) is not None]
        assert not accepted, f"seed {seed}: {report.errors[0]}"
        return 0
    assert not report.unresolved, f"seed {seed}: {report.unresolved[0]}"
    _compare_with_onnx(model, report, f"seed {seed}")
    ran = 0
    for sizes, feed in _feeds(model, chance):
        computed = _run(model, feed)
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
