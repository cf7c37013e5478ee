"""Random calls of pointwise operators, products, convolutions, normalizations, quantized and signal operators."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from tests.shapes_fuzz import Chance, Draw, draws, floats, ints


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
