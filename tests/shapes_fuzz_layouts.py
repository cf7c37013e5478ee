"""Random calls of operators that move elements: reshapes, joins, slices, gathers, reductions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.shapes_fuzz import Chance, Draw, draws, floats, ints


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
