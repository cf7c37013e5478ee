"""Recurrent layers and cells: LSTM, GRU and plain RNN, one ONNX op a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.errors import LoweringError
from aten_lowering.packing import Packed, pack, padded
from aten_lowering.registry import lowers
from aten_lowering.rules.randoms import dropout as dropped
from aten_lowering.windows import float_kernel
from shape_inference import Size, TensorType, same

aten = torch.ops.aten

_ZERO_LIMIT_BYTES = 8192


class _Kind(NamedTuple):
    """One kind of layer: ONNX's op, where each of its gates stands among torch's, and its activation."""

    op_type: str
    gates: tuple[int, ...]
    activation: str | None = None
    states: int = 1


_LSTM = _Kind("LSTM", (0, 3, 1, 2), states=2)  # torch: input, forget, cell, output; ONNX: i, o, f, c
_GRU = _Kind("GRU", (1, 0, 2))  # torch: reset, update, new; ONNX: z, r, h
_RNN_TANH, _RNN_RELU = _Kind("RNN", (0,)), _Kind("RNN", (0,), "Relu")

_LAYERS: dict[Any, _Kind] = {
    aten.gru.input: _GRU, aten.rnn_tanh.input: _RNN_TANH, aten.rnn_relu.input: _RNN_RELU
}  # fmt: skip
_PACKED_LAYERS: dict[Any, _Kind] = {
    aten.gru.data: _GRU, aten.rnn_tanh.data: _RNN_TANH, aten.rnn_relu.data: _RNN_RELU
}  # fmt: skip
_CELLS: dict[Any, _Kind] = {
    aten.gru_cell.default: _GRU, aten.rnn_tanh_cell.default: _RNN_TANH, aten.rnn_relu_cell.default: _RNN_RELU
}  # fmt: skip


class _Stack(NamedTuple):
    """What a call says of its layers: the weights of each direction of each layer, and their initial states."""

    kind: _Kind
    layers: list[list[Sequence[Value]]]
    states: Sequence[Value]
    biases: bool
    dropout: float


@lowers(aten.lstm.input)
def lstm(
    op: Builder, input: Value, hx: Sequence[Value], params: Sequence[Value], has_biases: bool, num_layers: int,
    dropout: float, train: bool, bidirectional: bool, batch_first: bool,
) -> tuple[Value, ...]:  # fmt: skip
    """[T, B, I], two of [L D, B, H] -> [T, B, D H], two of [L D, B, H]; batch_first swaps T and B of the first."""
    stack = _stack(_LSTM, hx, params, has_biases, num_layers, dropout, train, bidirectional)
    return _run(op, input, stack, batch_first)


@lowers(aten.lstm.data)
def lstm_packed(
    op: Builder, data: Value, batch_sizes: Value, hx: Sequence[Value], params: Sequence[Value], has_biases: bool,
    num_layers: int, dropout: float, train: bool, bidirectional: bool,
) -> tuple[Value, ...]:  # fmt: skip
    """Packed [S, I], two of [L D, B, H] -> packed [S, D H], two of [L D, B, H]."""
    stack = _stack(_LSTM, hx, params, has_biases, num_layers, dropout, train, bidirectional)
    return _run_packed(op, data, batch_sizes, stack)


def _layer(overload: Any, kind: _Kind) -> None:
    @lowers(overload)
    def layer(
        op: Builder, input: Value, hx: Value, params: Sequence[Value], has_biases: bool, num_layers: int,
        dropout: float, train: bool, bidirectional: bool, batch_first: bool,
    ) -> tuple[Value, ...]:  # fmt: skip
        """[T, B, I], [L D, B, H] -> [T, B, D H], [L D, B, H]; batch_first swaps T and B of the first."""
        stack = _stack(kind, [hx], params, has_biases, num_layers, dropout, train, bidirectional)
        return _run(op, input, stack, batch_first)


def _packed_layer(overload: Any, kind: _Kind) -> None:
    @lowers(overload)
    def packed_layer(
        op: Builder, data: Value, batch_sizes: Value, hx: Value, params: Sequence[Value], has_biases: bool,
        num_layers: int, dropout: float, train: bool, bidirectional: bool,
    ) -> tuple[Value, ...]:  # fmt: skip
        """Packed [S, I], [L D, B, H] -> packed [S, D H], [L D, B, H]."""
        stack = _stack(kind, [hx], params, has_biases, num_layers, dropout, train, bidirectional)
        return _run_packed(op, data, batch_sizes, stack)


def _cell(overload: Any, kind: _Kind) -> None:
    @lowers(overload)
    def cell(
        op: Builder, input: Value, hx: Value, w_ih: Value, w_hh: Value, b_ih: Value | None, b_hh: Value | None
    ) -> Value:
        """[B, I], [B, H] -> [B, H]."""
        return _one_step(op, kind, input, [hx], [w_ih, w_hh, b_ih, b_hh])[0]


for _table, _make in ((_LAYERS, _layer), (_PACKED_LAYERS, _packed_layer), (_CELLS, _cell)):
    for _overload, _kind in _table.items():
        _make(_overload, _kind)


@lowers(aten.lstm_cell.default)
def lstm_cell(
    op: Builder, input: Value, hx: Sequence[Value], w_ih: Value, w_hh: Value, b_ih: Value | None, b_hh: Value | None
) -> tuple[Value, ...]:
    """[B, I], two of [B, H] -> two of [B, H]."""
    return _one_step(op, _LSTM, input, hx, [w_ih, w_hh, b_ih, b_hh])


def _stack(
    kind: _Kind, states: Sequence[Value], params: Sequence[Value], biases: bool, num_layers: int, dropout: float,
    train: bool, bidirectional: bool,
) -> _Stack:  # fmt: skip
    directions = 2 if bidirectional else 1
    each = len(params) // (num_layers * directions)
    parts = [params[i : i + each] for i in range(0, len(params), each)]
    layers = [parts[i : i + directions] for i in range(0, len(parts), directions)]
    return _Stack(kind, layers, states, biases, dropout if train else 0.0)


def _run(op: Builder, x: Value, stack: _Stack, batch_first: bool) -> tuple[Value, ...]:
    kind = dtype(x)
    steps = op.cast(op.transpose(x, [1, 0, 2]) if batch_first else x, float_kernel(kind))
    output, states = _all_layers(op, steps, None, stack, batch_first)
    return tuple(op.cast(value, kind) for value in (output, *states))


def _run_packed(op: Builder, data: Value, batch_sizes: Value, stack: _Stack) -> tuple[Value, ...]:
    kind = dtype(data)
    packed = padded(op, data, batch_sizes, dims(stack.states[0])[1])
    steps = op.cast(packed.steps, float_kernel(kind))
    output, states = _all_layers(op, steps, packed.lengths, stack, False)
    result = pack(op, Packed(op.cast(output, kind), packed.lengths, packed.longest, zero_behind=True))
    return (result, *(op.cast(value, kind) for value in states))


def _all_layers(
    op: Builder, x: Value, lengths: Value | None, stack: _Stack, batch_first: bool
) -> tuple[Value, list[Value]]:
    """[T, B, I] -> [T, B, D H] or with T and B swapped, and the last states, each [L D, B, H]."""
    count, directions = len(stack.layers), len(stack.layers[0])
    initial = [op.split(state, [directions] * count, 0) for state in _cast_all(op, stack.states, x)]
    zero = [_is_zero(state) for state in stack.states]
    last: list[list[Value]] = [[] for _ in initial]
    for i, weights in enumerate(stack.layers):
        given = [None if empty else state[i] for empty, state in zip(zero, initial, strict=True)]
        y, *finals = _one_layer(op, stack, x, lengths, given, weights)
        x = _joined(op, y, batch_first and i == count - 1)
        if stack.dropout and i < count - 1:
            x = dropped(op, x, stack.dropout, train=True)
        for states, final in zip(last, finals, strict=True):
            states.append(final)
    return x, [states[0] if count == 1 else op.Concat(*states, axis=0) for states in last]


def _cast_all(op: Builder, values: Sequence[Value], like: Value) -> list[Value]:
    return [op.cast(value, dtype(like)) for value in values]


def _joined(op: Builder, y: Value, batch_first: bool) -> Value:
    """[T, D, B, H] -> [T, B, D H] or [B, T, D H]."""
    steps, directions, batch, hidden = dims(y)
    if batch_first:
        return op.reshape(op.transpose(y, [2, 0, 1, 3]), [batch, steps, directions * hidden])
    if directions == 1:
        return op.squeeze(y, [1])
    return op.reshape(op.transpose(y, [0, 2, 1, 3]), [steps, batch, directions * hidden])


def _one_layer(
    op: Builder, stack: _Stack, x: Value, lengths: Value | None, initial: Sequence[Value | None],
    weights: Sequence[Sequence[Value]],
) -> Sequence[Value]:  # fmt: skip
    """[T, B, I] -> [T, D, B, H] and the last states, each [D, B, H]."""
    if dtype(x) == ir.DataType.DOUBLE or len(weights[0]) == (5 if stack.biases else 3):
        return _scanned_layer(op, stack, x, lengths, initial, weights)
    w, r, b = _layer_weights(op, stack.kind, weights, stack.biases, dtype(x))
    return _emit(op, stack.kind, x, (w, r, b), lengths, initial)


def _emit(
    op: Builder, kind: _Kind, x: Value, weights: tuple[Value, Value, Value | None], lengths: Value | None,
    initial: Sequence[Value | None],
) -> Sequence[Value]:  # fmt: skip
    w, r, b = weights
    directions, hidden = dims(r)[0], dims(r)[2]
    if type(hidden) is not int or type(directions) is not int:
        raise LoweringError(f"aten.{kind.op_type.lower()}: the hidden size must be static, got {hidden}")
    attributes: dict[str, Any] = {"hidden_size": hidden}
    if directions == 2:
        attributes["direction"] = "bidirectional"
    if kind.activation:
        attributes["activations"] = [kind.activation] * directions
    if kind.op_type == "GRU":
        attributes["linear_before_reset"] = 1
    results: Sequence[Value] = op.emit(
        kind.op_type, [x, w, r, b, lengths, *initial], attributes, outputs=1 + kind.states
    )
    return results


def _layer_weights(
    op: Builder, kind: _Kind, weights: Sequence[Sequence[Value | None]], biases: bool, wanted: ir.DataType
) -> tuple[Value, Value, Value | None]:
    """[D, gates H, I], [D, gates H, H] and [D, 2 gates H], the gates in ONNX's order; folded when written."""
    columns = list(zip(*weights, strict=True))

    def stacked(values: Sequence[Value]) -> Value:
        rows = [op.unsqueeze(value, [0]) for value in values]
        return rows[0] if len(rows) == 1 else op.Concat(*rows, axis=0)

    def ordered(values: Sequence[Value | None]) -> list[Value]:
        return [_reordered(op, op.cast(value, wanted), kind) for value in values if value is not None]

    w, r = stacked(ordered(columns[0])), stacked(ordered(columns[1]))
    if not biases:
        return w, r, None
    both = zip(ordered(columns[2]), ordered(columns[3]), strict=True)
    return w, r, stacked([op.Concat(*pair, axis=0) for pair in both])


def _reordered(op: Builder, weight: Value, kind: _Kind) -> Value:
    if len(kind.gates) == 1:
        return weight
    hidden = dims(weight)[0] // len(kind.gates)
    parts = op.split(weight, [hidden] * len(kind.gates), 0)
    return op.Concat(*[parts[gate] for gate in kind.gates], axis=0)


def _is_zero(state: Value) -> bool:
    """Whether a state is known to be all zeros, which is what ONNX takes where none is given."""
    producer = state.producer()
    if producer is not None:
        return producer.op_type == "Expand" and producer.inputs[0] is not None and _is_zero(producer.inputs[0])
    constant = state.const_value
    return constant is not None and constant.nbytes <= _ZERO_LIMIT_BYTES and not constant.numpy().any()


def _one_step(
    op: Builder, kind: _Kind, x: Value, states: Sequence[Value], weights: Sequence[Value | None]
) -> tuple[Value, ...]:
    """A cell: a layer over one step of time."""
    biases = weights[2] is not None
    if dtype(x) == ir.DataType.DOUBLE:
        parts = [weight for weight in weights if weight is not None]
        gates = _affine(op, x, parts[0], parts[2] if biases else None)
        return tuple(_step(op, _Stack(kind, [], states, biases, 0.0), gates, states, parts))
    wanted = float_kernel(dtype(x))
    ready = _layer_weights(op, kind, [weights], biases, wanted)
    steps = op.unsqueeze(op.cast(x, wanted), [0])
    given = [None if _is_zero(state) else op.unsqueeze(op.cast(state, wanted), [0]) for state in states]
    _, *finals = _emit(op, kind, steps, ready, None, given)
    return tuple(op.cast(op.squeeze(final, [0]), dtype(x)) for final in finals)


# What ONNX's ops lack: a projected output, and float64, which the runtime has no kernel for. A Scan over time.


def _scanned_layer(
    op: Builder, stack: _Stack, x: Value, lengths: Value | None, initial: Sequence[Value | None],
    weights: Sequence[Sequence[Value]],
) -> Sequence[Value]:  # fmt: skip
    """[T, B, I] -> [T, D, B, P] and the last states, each [D, B, P or H]."""
    columns: list[list[Value]] = [[] for _ in range(1 + len(initial))]
    for direction, parts in enumerate(weights):
        sizes = [dims(parts[1])[1], dims(parts[1])[0] // len(stack.kind.gates)]
        states = [
            op.expand(op.constant(0.0, dtype(x)), [dims(x)[1], size]) if state is None
            else op.squeeze(op.slice(state, 0, direction, direction + 1), [0])
            for state, size in zip(initial, sizes, strict=False)
        ]  # fmt: skip
        results = _scan(op, stack, x, lengths, states, parts, reverse=direction == 1)
        for i, (column, result) in enumerate(zip(columns, results, strict=True)):
            column.append(op.unsqueeze(result, [0 if i else 1]))
    return [
        column[0] if len(column) == 1 else op.Concat(*column, axis=0 if i else 1) for i, column in enumerate(columns)
    ]


def _scan(
    op: Builder, stack: _Stack, x: Value, lengths: Value | None, states: Sequence[Value], parts: Sequence[Value],
    *, reverse: bool,
) -> Sequence[Value]:  # fmt: skip
    """[T, B, I] -> [T, B, P] and the last states, each [B, P or H]."""
    scanned = [_affine(op, x, parts[0], parts[2] if stack.biases else None)]
    if lengths is not None:
        steps = op.unsqueeze(op.Range(op.scalar(0), op.scalar(dims(x)[0]), op.scalar(1)), [1])
        inside = op.Less(op.cast(steps, ir.DataType.INT32), lengths)
        scanned.append(op.unsqueeze(inside, [2]))
    body = op.subgraph(
        _scanned_step(stack, parts),
        [("state", op.type(state)) for state in states]
        + [("step", TensorType(dtype(value), dims(value)[1:])) for value in scanned],
    )
    way = [int(reverse)] * len(scanned)
    *last, y = op.Scan(
        *states, *scanned, body=body, num_scan_inputs=len(scanned), scan_input_directions=way,
        scan_output_directions=way[:1], _outputs=1 + len(states),
    )  # fmt: skip
    return [y, *last]


def _scanned_step(stack: _Stack, parts: Sequence[Value]) -> Callable[..., Sequence[Value]]:
    """The body: states, gates and whether the sequence goes on -> states and the output, zero behind its end."""

    def step(op: Builder, *values: Value) -> Sequence[Value]:
        states = values[: stack.kind.states]
        gates, *inside = values[stack.kind.states :]
        new = _step(op, stack, gates, states, parts)
        if not inside:
            return [*new, new[0]]
        kept = [op.Where(inside[0], a, b) for a, b in zip(new, states, strict=True)]
        return [*kept, op.Where(inside[0], new[0], op.constant(0.0, dtype(new[0])))]

    return step


def _step(op: Builder, stack: _Stack, gates: Value, states: Sequence[Value], parts: Sequence[Value]) -> list[Value]:
    """One step of one direction: the input's gates [B, gates H] and the states -> the new states."""
    h = states[0]
    more = _affine(op, h, parts[1], parts[3] if stack.biases else None)
    if stack.kind.op_type == "RNN":
        total = op.Add(gates, more)
        return [op.Relu(total) if stack.kind.activation else op.Tanh(total)]
    hidden = dims(gates)[1] // len(stack.kind.gates)
    if stack.kind.op_type == "GRU":
        (reset, update, new), (r, z, n) = (op.split(value, [hidden] * 3, 1) for value in (gates, more))
        kept = op.Sigmoid(op.Add(update, z))
        new = op.Tanh(op.Add(new, op.Mul(op.Sigmoid(op.Add(reset, r)), n)))
        return [op.Add(new, op.Mul(kept, op.Sub(h, new)))]
    i, f, g, o = op.split(op.Add(gates, more), [hidden] * 4, 1)
    cell = op.Add(op.Mul(op.Sigmoid(f), states[1]), op.Mul(op.Sigmoid(i), op.Tanh(g)))
    output = op.Mul(op.Sigmoid(o), op.Tanh(cell))
    projection = parts[4 if stack.biases else 2 :]
    return [_affine(op, output, projection[0], None) if projection else output, cell]


def _affine(op: Builder, x: Value, weight: Value, bias: Value | None) -> Value:
    product = op.MatMul(x, op.transpose(op.cast(weight, dtype(x)), [1, 0]))
    return product if bias is None else op.Add(product, op.cast(bias, dtype(x)))


@lowers(aten._pack_padded_sequence.default)
def _pack_padded_sequence(op: Builder, input: Value, lengths: Value, batch_first: bool) -> tuple[Value, Value]:
    """[T, B, *L], [B] falling -> [S, *L], [longest]: step by step, the sequences that are not over."""
    if batch_first:
        input = op.transpose(input, [1, 0, *range(2, rank(input))])
    longest = op.fresh("longest")
    op.source(longest, op.squeeze(op.slice(lengths, 0, 0, 1), [0]), None)
    packed = Packed(input, op.cast(lengths, ir.DataType.INT32), longest, zero_behind=False)
    data = pack(op, packed)
    steps = op.unsqueeze(op.Range(op.scalar(0), op.scalar(longest), op.scalar(1)), [1])
    running = op.cast(op.Less(steps, op.cast(lengths, ir.DataType.INT64)), ir.DataType.INT64)
    return data, op.reduce("ReduceSum", running, [1])


@lowers(aten._pad_packed_sequence.default)
def _pad_packed_sequence(
    op: Builder, data: Value, batch_sizes: Value, batch_first: bool, padding_value: Any, total_length: Size
) -> tuple[Value, Value]:
    """[S, *L], [longest] -> [longest or total_length, B, *L] and the lengths [B]."""
    packed = padded(op, data, batch_sizes, None)
    steps = op.slice(packed.steps, 0, 0, packed.longest)
    if not (packed.zero_behind and padding_value == 0):
        places = op.unsqueeze(op.Range(op.scalar(0), op.scalar(packed.longest), op.scalar(1)), [1])
        inside = op.Less(op.cast(places, ir.DataType.INT32), packed.lengths)
        inside = op.unsqueeze(inside, list(range(2, rank(steps))))
        steps = op.Where(inside, steps, op.constant(padding_value, dtype(steps)))
    if total_length != -1 and same(total_length, packed.longest) is not True:
        missing = total_length - packed.longest
        pads = [0] * rank(steps) + [missing] + [0] * (rank(steps) - 1)
        steps = op.Pad(steps, op.shape(pads), op.constant(padding_value, dtype(steps)))
        op.set_type(steps, TensorType(dtype(steps), (total_length, *dims(steps)[1:])))
    if batch_first:
        steps = op.transpose(steps, [1, 0, *range(2, rank(steps))])
    return steps, op.cast(packed.lengths, ir.DataType.INT64)
