"""What the fuzzers of shape inference share: random sizes and arrays, random calls by operator, and onnxruntime."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto

onnxruntime.set_default_logger_severity(4)

DTYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.int64): TensorProto.INT64,
    np.dtype(bool): TensorProto.BOOL,
    np.dtype(np.uint8): TensorProto.UINT8,
}
OPSET = 18


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


def run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> list[np.ndarray] | None:
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
