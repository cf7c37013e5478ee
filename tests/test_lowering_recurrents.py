"""Recurrent layers, cells and packed sequences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from exporter import export
from tests.lowering import Case, both_ways, check, compare, session_of

_LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


def _x(*shape: int, dtype: torch.dtype = torch.float32) -> Callable[[], list[torch.Tensor]]:
    return lambda: [torch.randn(shape, dtype=dtype)]


def _layer(kind: str, **settings: Any) -> nn.Module:
    torch.manual_seed(1)
    return _LAYERS[kind](3, 4, **settings).eval()


def _with_states(layer: nn.Module, states: int = 1) -> Callable[..., Any]:
    return lambda x, h, c: layer(x, (h, c) if states == 2 else h * c)


def _initial(steps: int, batch: int, layers: int, hidden: int = 4) -> Callable[[], list[torch.Tensor]]:
    return lambda: [torch.randn(steps, batch, 3), torch.randn(layers, batch, hidden), torch.randn(layers, batch, 4)]


def _packed(layer: nn.Module, **settings: Any) -> Callable[..., Any]:
    """A layer over packed sequences, and their padding."""
    total = settings.pop("total_length", None)
    value = settings.pop("padding_value", 0.0)

    def run(x: torch.Tensor, lengths: torch.Tensor) -> Any:
        packed = pack_padded_sequence(x, lengths, **settings)
        output, states = layer(packed)
        first = settings.get("batch_first", False)
        return pad_packed_sequence(output, first, value, total), states

    return run


def _by_sizes(layer: nn.Module) -> Callable[..., Any]:
    """A layer over packed sequences whose lengths are made of the input's sizes."""

    def run(x: torch.Tensor) -> Any:
        packed = pack_padded_sequence(x, [x.shape[0], x.shape[0] - 1])
        return pad_packed_sequence(layer(packed)[0])[0]

    return run


def _changed(layer: nn.Module) -> Callable[..., Any]:
    """What packed sequences hold is changed between packing, two layers and padding."""

    def run(x: torch.Tensor, lengths: torch.Tensor) -> Any:
        packed = pack_padded_sequence(x, lengths)
        output, _ = layer(PackedSequence(packed.data * 2, packed.batch_sizes))
        return pad_packed_sequence(PackedSequence(output.data + 1, output.batch_sizes), padding_value=-1.0)

    return run


def _sequences(*lengths: int, steps: int, batch_first: bool = False) -> Callable[[], list[torch.Tensor]]:
    shape = (len(lengths), steps, 3) if batch_first else (steps, len(lengths), 3)
    return lambda: [torch.randn(shape), torch.tensor(lengths)]


_SEQUENCE = _x(5, 2, 3)
_FALLING = _sequences(5, 3, 2, steps=5)

CASES = [
    Case("lstm", _layer("lstm"), _SEQUENCE, ops="LSTM Squeeze", fixed=(2,)),
    Case("gru", _layer("gru"), _SEQUENCE, ops="GRU Squeeze", fixed=(2,)),
    Case("rnn", _layer("rnn"), _SEQUENCE, ops="RNN Squeeze", fixed=(2,)),
    Case("rnn_relu", _layer("rnn", nonlinearity="relu"), _SEQUENCE, ops="RNN Squeeze", fixed=(2,)),
    Case("lstm_batch_first", _layer("lstm", batch_first=True), _x(2, 5, 3), fixed=(2,)),
    Case("gru_deep", _layer("gru", num_layers=3, bidirectional=True, batch_first=True), _x(2, 5, 3), fixed=(2,)),
    Case("lstm_deep", _layer("lstm", num_layers=2, bidirectional=True, dropout=0.5), _SEQUENCE, fixed=(2,),
         ops="LSTM Transpose Reshape LSTM Transpose Reshape Concat Concat"),
    Case("rnn_deep", _layer("rnn", num_layers=2, bidirectional=True, nonlinearity="relu"), _SEQUENCE, fixed=(2,)),
    Case("lstm_without_bias", _layer("lstm", bias=False), _SEQUENCE, ops="LSTM Squeeze", fixed=(2,)),
    Case("gru_without_bias", _layer("gru", bias=False, bidirectional=True), _SEQUENCE, fixed=(2,)),
    Case("lstm_unbatched", _layer("lstm"), _x(5, 3), fixed=(1,)),
    Case("lstm_states", _with_states(_layer("lstm", num_layers=2), 2), _initial(5, 2, 2), dynamic=False),
    Case("gru_states", _with_states(_layer("gru", bidirectional=True)), _initial(5, 2, 2), dynamic=False),
    Case("lstm_float64", _layer("lstm").double(), _x(5, 2, 3, dtype=torch.float64), fixed=(2,)),
    Case("gru_float64", _layer("gru").double(), _x(5, 2, 3, dtype=torch.float64), fixed=(2,)),
    Case("lstm_float16", _layer("lstm").half(), _x(5, 2, 3, dtype=torch.float16), fixed=(2,)),
    Case("lstm_projected", _layer("lstm", proj_size=2), _SEQUENCE, fixed=(2,)),
    Case("lstm_projected_deep",
         _layer("lstm", proj_size=2, num_layers=2, bidirectional=True, batch_first=True, bias=False), _x(2, 5, 3),
         fixed=(2,)),
    Case("lstm_projected_states", _with_states(_layer("lstm", proj_size=2), 2), _initial(5, 2, 1, hidden=2),
         dynamic=False),
    Case("lstm_cell", nn.LSTMCell(3, 4), _x(2, 3), fixed=(1,), ops="Unsqueeze LSTM Squeeze Squeeze"),
    Case("lstm_cell_states", lambda x, h, c: _LSTM_CELL(x, (h, c)),
         lambda: [torch.randn(2, 3), torch.randn(2, 4), torch.randn(2, 4)], dynamic=False),
    Case("gru_cell", nn.GRUCell(3, 4), _x(2, 3), fixed=(1,), ops="Unsqueeze GRU Squeeze"),
    Case("rnn_tanh_cell", nn.RNNCell(3, 4, bias=False), _x(2, 3), fixed=(1,), ops="Unsqueeze RNN Squeeze"),
    Case("rnn_relu_cell", nn.RNNCell(3, 4, nonlinearity="relu"), _x(3), fixed=(0,)),
    Case("lstm_cell_float64", nn.LSTMCell(3, 4).double(), _x(2, 3, dtype=torch.float64), fixed=(1,)),
    Case("gru_cell_float64", nn.GRUCell(3, 4, bias=False).double(), _x(2, 3, dtype=torch.float64), fixed=(1,)),
    Case("rnn_float64", _layer("rnn", nonlinearity="relu", bidirectional=True).double(),
         _x(5, 2, 3, dtype=torch.float64), fixed=(2,)),
    Case("cells_over_time", lambda x: _over_time(x), _SEQUENCE, fixed=(0, 2)),
    Case("lstm_packed", _packed(_layer("lstm")), _FALLING, dynamic=False),
    Case("gru_packed", _packed(_layer("gru", bidirectional=True, num_layers=2)), _FALLING, dynamic=False),
    Case("rnn_packed", _packed(_layer("rnn")), _FALLING, dynamic=False),
    Case("rnn_relu_packed", _packed(_layer("rnn", nonlinearity="relu")), _FALLING, dynamic=False),
    Case("lstm_packed_batch_first", _packed(_layer("lstm", batch_first=True), batch_first=True),
         _sequences(4, 4, 1, steps=4, batch_first=True), dynamic=False),
    Case("lstm_packed_shorter", _packed(_layer("lstm")), _sequences(4, 3, steps=6), dynamic=False),
    Case("lstm_packed_unsorted", _packed(_layer("lstm"), enforce_sorted=False), _sequences(2, 5, 4, steps=5),
         dynamic=False),
    Case("lstm_packed_total", _packed(_layer("lstm"), total_length=7, padding_value=2.5), _FALLING, dynamic=False),
    Case("lstm_packed_projected", _packed(_layer("lstm", proj_size=2, bidirectional=True)), _FALLING, dynamic=False),
    Case("gru_packed_by_sizes", _by_sizes(_layer("gru")), _x(5, 2, 3), fixed=(1, 2)),
    Case("gru_packed_changed", _changed(_layer("gru")), _FALLING, dynamic=False),
]  # fmt: skip

_LSTM_CELL = nn.LSTMCell(3, 4)


def _over_time(x: torch.Tensor) -> torch.Tensor:
    h, c = x.new_zeros(x.shape[1], 4), x.new_zeros(x.shape[1], 4)
    for step in x.unbind(0):
        h, c = _LSTM_CELL(step, (h, c))
    return h


test_static, test_dynamic = both_ways(*CASES)


@pytest.mark.parametrize("opset_version", [17, 22, 23])
def test_opsets(opset_version: int) -> None:
    for case in CASES:
        if case.name in ("lstm_projected", "gru_packed", "lstm_batch_first"):
            check(replace(case, opset_version=opset_version, ops=None))


@pytest.mark.parametrize("kind", _LAYERS)
@pytest.mark.parametrize("sorted_", [True, False])
def test_packed_at_other_sizes(kind: str, sorted_: bool) -> None:
    """Other lengths, another batch and another time than the example's, with all of time in use or not."""
    call = _packed(_layer(kind, bidirectional=True), enforce_sorted=sorted_)
    shapes = ({0: "time", 1: "batch"}, {0: "batch"})
    session = session_of(export(call, tuple(_FALLING()), dynamic_shapes=shapes))
    for lengths, steps in (([5, 3, 2], 5), ([7, 7, 6, 1], 7), ([3, 2], 6), ([4], 4)):
        compare(session, call, _sequences(*lengths, steps=steps)())


@pytest.mark.parametrize("kind", _LAYERS)
def test_states_of_dims_without_names(kind: str) -> None:
    """The batches of an input and of its initial states are one dim, though nobody said so."""
    layer = _layer(kind, batch_first=True)
    states = [torch.randn(1, 2, 4), torch.randn(1, 2, 4)][: 2 if kind == "lstm" else 1]
    open_dims = [{0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}]
    open_dims += [{1: torch.export.Dim.DYNAMIC} for _ in states]

    def call(x: torch.Tensor, *states: torch.Tensor) -> Any:
        return layer(x, states if kind == "lstm" else states[0])

    shapes = {"x": open_dims[0]} | {f"states_{i}": row for i, row in enumerate(open_dims[1:])}
    program = export(call, (torch.randn(2, 5, 3), *states), dynamic_shapes=shapes)
    compare(session_of(program), call, (torch.randn(3, 7, 3), *(torch.randn(1, 3, 4) for _ in states)))


def test_packed_of_known_lengths() -> None:
    """Lengths that are written in the model give static sizes."""
    lengths = torch.tensor([5, 3, 2])
    call = _packed(_layer("lstm"))
    check(Case("known_lengths", lambda x: call(x, lengths), _x(5, 3, 3), fixed=(1, 2)))
