"""Recurrent layers: RNN, GRU, LSTM."""

from __future__ import annotations

from shape_inference.broadcasting import unified
from shape_inference.dims import Size
from shape_inference.registry import Call, infers
from shape_inference.types import TensorType, Type

Types = tuple[Type | None, ...]

_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


@infers(*_GATES)
def recurrence(call: Call) -> Types:
    """Run over time: [T, B, I], [D, gates*H, I] -> [T, D, B, H], [D, B, H], for LSTM twice.

    With layout=1 the batch comes first: [B, T, I] -> [B, T, D, H], [B, D, H].
    """
    x, w, r = call.tensor(0), call.tensor(1), call.tensor(2)
    for name, tensor in (("X", x), ("W", w), ("R", r)):
        if tensor.shape is not None and len(tensor.shape) != 3:
            call.fail(f"{name} must have rank 3", tensor)
    direction = call.attribute("direction", "forward")
    directions: Size = 2 if direction == "bidirectional" else 1
    if w.shape is not None:
        unified(call, directions, w.shape[0], "the directions and the first axis of W")
    if x.shape is not None and w.shape is not None:
        unified(call, x.shape[2], w.shape[2], "the input sizes of X and W")
    hidden: Size | None = call.attribute("hidden_size")
    if hidden is None:
        if r.shape is not None:
            hidden = r.shape[2]
        elif w.shape is not None:
            hidden = w.shape[1] // _GATES[call.op_type]
        else:
            hidden = call.fresh("hidden")
    batch_first = call.attribute("layout", 0)
    time: Size
    batch: Size
    if x.shape is None:
        time, batch = call.fresh("time"), call.fresh("batch")
    elif batch_first:
        batch, time = x.shape[:2]
    else:
        time, batch = x.shape[:2]
    if batch_first:
        whole: tuple[Size, ...] = (batch, time, directions, hidden)
        last: tuple[Size, ...] = (batch, directions, hidden)
    else:
        whole = (time, directions, batch, hidden)
        last = (directions, batch, hidden)
    state = TensorType(x.dtype, last)
    return TensorType(x.dtype, whole), state, state
