"""Optimizer steps and attention previews: the domains ai.onnx.preview.*."""

from __future__ import annotations

from shape_inference.registry import Call, infers
from shape_inference.types import TensorType, Type

Types = tuple[Type | None, ...]

_TRAINING = "ai.onnx.preview.training"


def _kept(call: Call, groups: int) -> Types:
    """The tensors after R and T come in groups (X, G, state, …): all but G are returned."""
    tensors = [call.tensor(index) for index in range(2, len(call.inputs))]
    if len(tensors) % groups:
        call.fail(f"there must be a multiple of {groups} tensors after R and T", len(tensors))
    size = len(tensors) // groups
    kept = tensors[:size] + tensors[2 * size :]
    return tuple(TensorType(tensor.dtype, tensor.shape) for tensor in kept)


@infers("Adagrad", "Momentum", domain=_TRAINING)
def momentum(call: Call) -> Types:
    """Take a step: R, T, X_i, G_i, S_i -> X_i, S_i as they were."""
    return _kept(call, 3)


@infers("Adam", domain=_TRAINING)
def adam(call: Call) -> Types:
    """Take a step: R, T, X_i, G_i, V_i, H_i -> X_i, V_i, H_i as they were."""
    return _kept(call, 4)


@infers("Gradient", domain=_TRAINING)
def gradient(call: Call) -> Types:
    """Return the derivatives by `xs`, each as its x is."""
    count = len(call.required("xs"))
    tensors = [call.tensor(index) for index in range(count)]
    return tuple(TensorType(tensor.dtype, tensor.shape) for tensor in tensors)


@infers("FlexAttention", domain="ai.onnx.preview")
def flex_attention(call: Call) -> Types:
    """Attend: Q [B, H, L, E], K [B, G, S, E], V [B, G, S, F] -> [B, H, L, F]."""
    q, v = call.tensor(0), call.tensor(2)
    for name, tensor in (("Q", q), ("V", v)):
        if tensor.shape is not None and len(tensor.shape) != 4:
            call.fail(f"{name} must have rank 4", tensor)
    if q.shape is None:
        return (TensorType(q.dtype, call.unknown_shape(4, "attention")),)
    size = call.fresh("head_size") if v.shape is None else v.shape[3]
    return (TensorType(q.dtype, (*q.shape[:3], size)),)
