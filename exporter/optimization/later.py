"""Tensors that are computed when they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import onnx_ir as ir

__all__ = ["MOST_STEPS", "LaterTensor", "steps"]

MOST_STEPS = 64
"""Nothing is kept between two readings, so a tensor that is used twice is computed twice: past this
many computations for one tensor, its nodes stay in the graph."""


class LaterTensor(ir.LazyTensor):
    """A tensor computed from others at every reading, and in how many steps."""

    __slots__ = ("steps",)

    def __init__(
        self,
        compute: Callable[[], ir.TensorProtocol],
        dtype: ir.DataType,
        shape: ir.Shape,
        *,
        sources: Iterable[ir.TensorProtocol | None] = (),
    ) -> None:
        """Describe the result without computing it.

        Args:
            compute: Gives the tensor.
            dtype: Its dtype.
            shape: Its shape.
            sources: What it is computed from.
        """
        super().__init__(compute, dtype, shape)
        self.steps = 1 + steps(sources)


def steps(sources: Iterable[ir.TensorProtocol | None]) -> int:
    """How many computations reading all of these takes."""
    return sum(source.steps for source in sources if type(source) is LaterTensor)
