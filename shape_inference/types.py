"""The types that inference deals in: tensors, with contents where known, sequences, optionals."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from shape_inference.dims import Dim, Size

__all__ = ["MAX_CONTENT", "Content", "OptionalType", "SequenceType", "TensorType", "Type", "tensor_in"]

Content = tuple[int | Dim | float | bool, ...]

# Contents are followed for tensors of at most so many elements.
MAX_CONTENT = 64


@dataclass(slots=True, unsafe_hash=True)  # a frozen one takes three times as long to make
class TensorType:
    """A tensor; never changed, as many values share it.

    Attributes:
        dtype: The type of its elements.
        shape: Its sizes; None where the rank is unknown.
        content: Its elements in row-major order where each of them is known, else None.
    """

    dtype: ir.DataType
    shape: tuple[Size, ...] | None
    content: Content | None = None

    def __str__(self) -> str:
        shape = "?" if self.shape is None else f"[{', '.join(map(str, self.shape))}]"
        return f"{self.dtype.name}{shape}"


@dataclass(frozen=True, slots=True)
class SequenceType:
    """A sequence.

    Attributes:
        element: What every element is; None where it is unknown.
        length: How many elements there are; None where it is unknown.
        varying: The symbols in `element` whose values differ from element to element.
    """

    element: TensorType | SequenceType | OptionalType | None
    length: Size | None = None
    varying: frozenset[Dim] = frozenset()

    def __str__(self) -> str:
        return f"sequence({'?' if self.element is None else self.element})"


@dataclass(frozen=True, slots=True)
class OptionalType:
    """An optional; `element` is what it holds if it holds anything (None: unknown)."""

    element: TensorType | SequenceType | None

    def __str__(self) -> str:
        return f"optional({'?' if self.element is None else self.element})"


Type = TensorType | SequenceType | OptionalType


def tensor_in(given: Type | None) -> TensorType | None:
    """The tensor in a type: itself, or what a sequence or optional holds."""
    while given is not None and not isinstance(given, TensorType):
        given = given.element
    return given
