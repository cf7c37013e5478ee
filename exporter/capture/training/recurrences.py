"""Recurrent layers of a training step: one scan over time forward, one backward, at any length.

torch takes them apart into steps, as many as the example has.  Here autograd sees a function whose gradients are
written down: the scan backward gives those of the gates, and products over all of time give those of the weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

from exporter.capture.control_flow import scan
from exporter.capture.handlers import pack_padded_sequence
from exporter.capture.recorder import Recorder
from exporter.capture.torch_internals import higher_order, is_transformed

__all__ = ["recurrent_formulas"]

Tensor = torch.Tensor
Tensors = Sequence[torch.Tensor]
aten = torch.ops.aten


@dataclass(frozen=True)
class _Cell:
    """One kind of layer.  All tensors are of one step: [B, *].

    Attributes:
        step: the gates of the input, those of the state, the states -> the new states, what `back` needs.
        back: gradients of the new states, these, what was kept, the states before -> gradients of the gates of
            the input, of those of the state, of the states before but for what comes through the gates.
    """

    step: Callable[[Tensor, Tensor, Tensors], tuple[Tensors, Tensors]]
    back: Callable[[Tensors, Tensors, Tensors, Tensors], tuple[Tensor, Tensor, Tensors]]


def _lstm_step(x: Tensor, y: Tensor, states: Tensors) -> tuple[Tensors, Tensors]:
    i, f, g, o = (x + y).chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    cell = f * states[1] + i * g
    return (o * cell.tanh(), cell), (i, f, g, o)


def _lstm_back(grads: Tensors, new: Tensors, kept: Tensors, before: Tensors) -> tuple[Tensor, Tensor, Tensors]:
    i, f, g, o = kept
    size = new[1].tanh()
    cell = grads[1] + grads[0] * o * (1 - size * size)
    gates = torch.cat(
        [
            cell * g * i * (1 - i),
            cell * before[1] * f * (1 - f),
            cell * i * (1 - g * g),
            grads[0] * size * o * (1 - o),
        ],
        1,
    )
    return gates, gates, (torch.zeros_like(grads[0]), cell * f)


def _gru_step(x: Tensor, y: Tensor, states: Tensors) -> tuple[Tensors, Tensors]:
    (reset, update, new), (r, z, n) = x.chunk(3, 1), y.chunk(3, 1)
    reset, update = (reset + r).sigmoid(), (update + z).sigmoid()
    new = (new + reset * n).tanh()
    return (new + update * (states[0] - new),), (reset, update, new, n)


def _gru_back(grads: Tensors, states: Tensors, kept: Tensors, before: Tensors) -> tuple[Tensor, Tensor, Tensors]:
    reset, update, new, n = kept
    news = grads[0] * (1 - update) * (1 - new * new)
    resets = news * n * reset * (1 - reset)
    updates = grads[0] * (before[0] - new) * update * (1 - update)
    return (
        torch.cat([resets, updates, news], 1),
        torch.cat([resets, updates, news * reset], 1),
        (grads[0] * update,),
    )


def _rnn(activation: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor]) -> _Cell:
    def step(x: Tensor, y: Tensor, states: Tensors) -> tuple[Tensors, Tensors]:
        return (activation(x + y),), ()

    def back(grads: Tensors, new: Tensors, kept: Tensors, before: Tensors) -> tuple[Tensor, Tensor, Tensors]:
        gates = grads[0] * slope(new[0])
        return gates, gates, (torch.zeros_like(grads[0]),)

    return _Cell(step, back)


_LSTM, _GRU = _Cell(_lstm_step, _lstm_back), _Cell(_gru_step, _gru_back)
_TANH, _RELU = _rnn(torch.tanh, lambda y: 1 - y * y), _rnn(torch.relu, lambda y: (y > 0).to(y.dtype))


def _step(
    cell: _Cell, weight: Tensor, bias: Tensor | None, projection: Tensor | None, states: Tensors, x: Tensor,
    inside: Tensor | None,
) -> tuple[Tensors, Tensors]:  # fmt: skip
    """The states after one step, and what is kept of it; where `inside` is given and not true, they stay."""
    new, kept = cell.step(x, F.linear(states[0], weight, bias), states)
    if projection is not None:
        new, kept = (F.linear(new[0], projection), *new[1:]), (*kept, new[0])
    if inside is not None:
        new = [torch.where(inside, a, b) for a, b in zip(new, states, strict=True)]
    return new, kept


def _unrolled(
    recorder: Recorder, cell: _Cell, inside: Tensor | None, gates: Tensor, weight: Tensor, bias: Tensor | None,
    projection: Tensor | None, *initial: Tensor,
) -> tuple[Tensor, ...]:  # fmt: skip
    """What `_Recurrence` computes, step by step: the transforms of torch.func look into each of them."""
    states: Tensors = initial
    every = []
    for time, x in enumerate(gates.unbind(0)):
        states, _ = _step(cell, weight, bias, projection, states, x, None if inside is None else inside[time])
        every.append(states[0])
    return (torch.stack(every), *states)


class _Recurrence(torch.autograd.Function):
    """[T, B, G] gates of the input, the weights and the states -> [T, B, H] and the last states.

    Where `inside` [T, B, 1] is given and not true, the states stay as they are.
    """

    @staticmethod
    def forward(
        ctx: Any, recorder: Recorder, cell: _Cell, inside: Tensor | None, gates: Tensor, weight: Tensor,
        bias: Tensor | None, projection: Tensor | None, *initial: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        count = len(initial)

        def step(*values: Tensor) -> list[Tensor]:
            states, (x, *within) = values[:count], values[count:]
            new, kept = _step(cell, weight, bias, projection, states, x, within[0] if within else None)
            return [*new, *new, *kept]

        rows = [gates] if inside is None else [gates, inside]
        results = scan(recorder, higher_order("scan"), step, initial, rows)
        last, every, kept = results[:count], results[count : 2 * count], results[2 * count :]
        ctx.recorder, ctx.cell, ctx.count = recorder, cell, count
        ctx.save_for_backward(inside, weight, bias, projection, *initial, *every, *kept)
        return (every[0], *last)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        inside, weight, bias, projection, *saved = ctx.saved_tensors
        count, cell = ctx.count, ctx.cell
        initial, every, kept = saved[:count], saved[count : 2 * count], saved[2 * count :]
        before = [torch.cat([start.unsqueeze(0), all_[:-1]]) for start, all_ in zip(initial, every, strict=True)]

        def step(*values: Tensor) -> list[Tensor]:
            given = iter(values)
            later, (coming,), new, old, within, used = (
                list(itertools.islice(given, n)) for n in (count, 1, count, count, int(inside is not None), len(kept))
            )
            later[0] = later[0] + coming
            through = [later[0] @ projection, *later[1:]] if projection is not None else later
            x, y, states = cell.back(through, new, used[: len(used) - (projection is not None)], old)
            direct = states[0] if projection is None else 0.0  # a projected state comes through the gates alone
            earlier = [direct + y @ weight, *states[1:]]
            projected = [] if projection is None else [later[0]]
            if within:
                x, y, *projected = (value * within[0] for value in (x, y, *projected))
                earlier = [torch.where(within[0], a, b) for a, b in zip(earlier, later, strict=True)]
            return [*earlier, x, y, *projected]

        rows = [grads[0], *every, *before, *([] if inside is None else [inside]), *kept]
        results = scan(ctx.recorder, higher_order("scan"), step, grads[1:], [row.flip(0) for row in rows])
        first, (x, y, *projected) = results[:count], [row.flip(0) for row in results[count:]]
        flat = y.flatten(0, 1)
        return (
            None, None, None, x, flat.mT @ before[0].flatten(0, 1), None if bias is None else flat.sum(0),
            projected[0].flatten(0, 1).mT @ kept[-1].flatten(0, 1) if projected else None, *first,
        )  # fmt: skip


@dataclass(frozen=True)
class _Settings:
    """What a call of a layer says beside its tensors."""

    has_biases: bool
    num_layers: int
    dropout: float
    train: bool
    bidirectional: bool


def _layers(
    recorder: Recorder, cell: _Cell, x: Tensor, states: Tensors, params: Tensors, settings: _Settings,
    inside: Tensor | None = None,
) -> tuple[Tensor, list[Tensor]]:  # fmt: skip
    """[T, B, I], each [L D, B, H] -> [T, B, D H], each [L D, B, H]."""
    directions = 1 + settings.bidirectional
    each = len(params) // (settings.num_layers * directions)
    last: list[Tensors] = []
    for layer in range(settings.num_layers):
        outputs = []
        for direction in range(directions):
            place = layer * directions + direction
            w_ih, weight, *others = params[place * each : (place + 1) * each]
            biases = [others.pop(0) for _ in range(2)] if settings.has_biases else [None, None]
            gates = F.linear(x, w_ih, biases[0])
            within = inside if inside is None or not direction else inside.flip(0)
            recurrence = _unrolled if is_transformed() else _Recurrence.apply
            y, *finals = recurrence(
                recorder, cell, within, gates.flip(0) if direction else gates, weight, biases[1],
                others[0] if others else None, *(state[place] for state in states),
            )  # fmt: skip
            outputs.append(y.flip(0) if direction else y)
            last.append(finals)
        x = torch.cat(outputs, -1) if len(outputs) > 1 else outputs[0]
        if settings.dropout and settings.train and layer < settings.num_layers - 1:
            x = torch.dropout(x, settings.dropout, True)
    return x, [torch.stack(list(column)) for column in zip(*last, strict=True)]


def _layer(recorder: Recorder, cell: _Cell) -> Callable[..., Any]:
    def layer(
        input: Tensor, hx: Any, params: Tensors, has_biases: bool, num_layers: int, dropout: float, train: bool,
        bidirectional: bool, batch_first: bool,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """[T, B, I], [L D, B, H] or two of it -> [T, B, D H], the last states; batch_first swaps T and B."""
        settings = _Settings(has_biases, num_layers, dropout, train, bidirectional)
        states = [hx] if isinstance(hx, torch.Tensor) else list(hx)
        x = input.transpose(0, 1) if batch_first else input
        y, last = _layers(recorder, cell, x, states, params, settings)
        return (y.transpose(0, 1) if batch_first else y, *last)

    return layer


class _Pack(torch.autograd.Function):
    """[T, B, *L] -> packed [S, *L] and the batch sizes; gradients are padded with zeros."""

    @staticmethod
    def forward(ctx: Any, recorder: Recorder, input: Tensor, lengths: Tensor, batch_first: bool) -> tuple[Tensor, ...]:
        data, batch_sizes = pack_padded_sequence(
            recorder, aten._pack_padded_sequence.default, input, lengths, batch_first
        )
        ctx.recorder, ctx.settings = recorder, (batch_first, 0.0, input.shape[int(batch_first)])
        ctx.save_for_backward(batch_sizes)
        ctx.mark_non_differentiable(batch_sizes)
        return data, batch_sizes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        arguments = (grads[0], *ctx.saved_tensors, *ctx.settings)
        return None, ctx.recorder.call(aten._pad_packed_sequence.default, arguments, {})[0], None, None


class _Pad(torch.autograd.Function):
    """Packed [S, *L] -> [T, B, *L] and the lengths [B]; gradients are packed."""

    @staticmethod
    def forward(
        ctx: Any, recorder: Recorder, lengths: Tensor | None, data: Tensor, batch_sizes: Tensor, batch_first: bool,
        padding_value: float, total_length: int,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        ctx.recorder, ctx.batch_first, ctx.count = recorder, batch_first, data.shape[0]
        ctx.save_for_backward(lengths, batch_sizes)
        arguments = (data, batch_sizes, batch_first, padding_value, total_length)
        padded, found = recorder.call(aten._pad_packed_sequence.default, arguments, {})
        ctx.mark_non_differentiable(found)
        return padded, found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        lengths, batch_sizes = ctx.saved_tensors
        if lengths is None:
            steps = grads[0].transpose(0, 1) if ctx.batch_first else grads[0]
            return None, None, _taken(steps, batch_sizes, ctx.count), *[None] * 4
        arguments = (grads[0], lengths, ctx.batch_first)
        return None, None, ctx.recorder.call(aten._pack_padded_sequence.default, arguments, {})[0], *[None] * 4


def _taken(steps: Tensor, batch_sizes: Tensor, count: int) -> Tensor:
    """[T, B, *L] -> packed [count, *L]."""
    ends, rows = batch_sizes.cumsum(0), torch.arange(count)
    times = torch.searchsorted(ends, rows, right=True)
    return steps[times, rows - (ends - batch_sizes)[times]]


class _PackedSequences:
    """Packing, padding and layers over packed sequences, for one recording.

    A packed sequence has its batch sizes alone.  What was packed here is packed again by the same lengths.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._lengths: dict[fx.Node, Tensor] = {}

    def _node(self, batch_sizes: Tensor) -> fx.Node:
        return self._recorder.node_of(self._recorder.tensor(batch_sizes))

    def pack(self, input: Tensor, lengths: Tensor, batch_first: bool) -> tuple[Tensor, Tensor]:
        data, batch_sizes = _Pack.apply(self._recorder, input, lengths, batch_first)
        self._lengths[self._node(batch_sizes)] = lengths
        return data, batch_sizes

    def pad(
        self, data: Tensor, batch_sizes: Tensor, batch_first: bool, padding_value: Any = 0.0, total_length: Any = -1
    ) -> tuple[Tensor, Tensor]:
        lengths = self._lengths.get(self._node(batch_sizes))
        return _Pad.apply(self._recorder, lengths, data, batch_sizes, batch_first, padding_value, total_length)

    def layer(self, cell: _Cell) -> Callable[..., Any]:
        def layer(
            data: Tensor, batch_sizes: Tensor, hx: Any, params: Tensors, has_biases: bool, num_layers: int,
            dropout: float, train: bool, bidirectional: bool,
        ) -> tuple[Tensor, ...]:  # fmt: skip
            """Packed [S, I], [L D, B, H] or two of it -> packed [S, D H], the last states."""
            settings = _Settings(has_biases, num_layers, dropout, train, bidirectional)
            states = [hx] if isinstance(hx, torch.Tensor) else list(hx)
            x, lengths = self.pad(data, batch_sizes, False)
            known = self._lengths.get(self._node(batch_sizes))
            inside = torch.arange(x.shape[0]).unsqueeze(1) < (lengths if known is None else known)
            y, last = _layers(self._recorder, cell, x, states, params, settings, inside.unsqueeze(2))
            packed = _taken(y, batch_sizes, data.shape[0]) if known is None else self.pack(y, known, False)[0]
            return (packed, *last)

        return layer


def recurrent_formulas(recorder: Recorder) -> dict[str, Callable[..., Any]]:
    """What a training step calls in place of recurrent layers, and of packing for them."""
    cells = {"lstm": _LSTM, "gru": _GRU, "rnn_tanh": _TANH, "rnn_relu": _RELU}
    packed = _PackedSequences(recorder)
    return {
        "_pack_padded_sequence": packed.pack,
        "_pad_packed_sequence": packed.pad,
        **{f"{name}.input": _layer(recorder, cell) for name, cell in cells.items()},
        **{f"{name}.data": packed.layer(cell) for name, cell in cells.items()},
    }
