"""Loss functions."""

from __future__ import annotations

from shape_inference.broadcasting import merged
from shape_inference.dims import Size
from shape_inference.registry import Call, infers
from shape_inference.types import TensorType, Type

Types = tuple[Type | None, ...]


@infers("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
def loss(call: Call) -> Types:
    """Compare: [N, C, *S], [N, *S] -> [], or [N, *S] with reduction="none"; and the log-softmax."""
    x, target = call.tensor(0), call.tensor(1)
    dims: tuple[Size, ...] | None = ()
    if x.shape is not None and len(x.shape) < 2:
        call.fail("input must have at least rank 2", x)
    expected = None if x.shape is None else (*x.shape[:1], *x.shape[2:])
    compared = merged(call, target.shape, expected, "the target and the input without classes")
    if call.attribute("reduction", "mean") == "none":
        dims = compared
    return TensorType(x.dtype, dims), TensorType(x.dtype, x.shape)
