"""Recurrent layers in a training step: gradients as torch's at other lengths than the example's."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from training import Batch, check_gradients, check_steps

from exporter import export_training

WORDS, HIDDEN, CLASSES = 20, 8, 3
LOSS = nn.CrossEntropyLoss()
OPEN = {"words": {0: "batch", 1: "time"}, "target": {0: "batch"}}
OPEN_LENGTHS = {**OPEN, "lengths": {0: "batch"}}

LAYERS: dict[str, tuple[type[nn.RNNBase], dict[str, Any]]] = {
    "lstm": (nn.LSTM, {}),
    "gru": (nn.GRU, {}),
    "rnn": (nn.RNN, {}),
    "rnn of relu": (nn.RNN, {"nonlinearity": "relu"}),
    "two layers of lstm, both ways": (nn.LSTM, {"num_layers": 2, "bidirectional": True}),
    "two layers of gru, both ways": (nn.GRU, {"num_layers": 2, "bidirectional": True}),
    "lstm with projections": (nn.LSTM, {"num_layers": 2, "proj_size": 5}),
    "lstm without biases": (nn.LSTM, {"bias": False}),
    "gru without biases": (nn.GRU, {"bias": False}),
}


class _Tagger(nn.Module):
    """Words to classes, by what a recurrent layer says at each of them and in its last states."""

    def __init__(self, name: str, *, batch_first: bool = True) -> None:
        super().__init__()
        kind, settings = LAYERS[name]
        self.words = nn.Embedding(WORDS, 6)
        self.layer = kind(6, HIDDEN, batch_first=batch_first, **settings)
        width = (settings.get("proj_size") or HIDDEN) * (1 + settings.get("bidirectional", False))
        self.head = nn.Linear(width, CLASSES)
        self.first = 1 if batch_first else 0

    def classes(self, outputs: torch.Tensor, states: Any) -> torch.Tensor:
        states = states if isinstance(states, tuple) else (states,)
        amount = sum(state.square().sum() for state in states) * torch.linspace(0.1, 0.3, CLASSES)
        return self.head(outputs.select(self.first, -1) + outputs.select(self.first, 0)) + amount

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        words = words if self.first else words.t()
        return self.classes(*self.layer(self.words(words)))


class _Packed(_Tagger):
    def __init__(self, name: str, **settings: Any) -> None:
        super().__init__(name)
        self.settings = settings

    def forward(self, words: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = pack_padded_sequence(self.words(words), lengths, batch_first=True, **self.settings)
        outputs, states = self.layer(packed)
        return self.classes(pad_packed_sequence(outputs, batch_first=True)[0], states)


def _batch(count: int, time: int) -> Batch:
    return (torch.randint(0, WORDS, (count, time)),), torch.randint(0, CLASSES, (count,))


def _sequences(time: int, *lengths: int) -> Batch:
    (words,), classes = _batch(len(lengths), time)
    return (words, torch.tensor(lengths)), classes


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_at_other_lengths(name: str) -> None:
    torch.manual_seed(0)
    model = _Tagger(name, batch_first=name != "gru")
    check_gradients(model, LOSS, [_batch(3, 5), _batch(4, 7), _batch(2, 1)], dynamic_shapes=OPEN)


@pytest.mark.parametrize("name", ["lstm", "rnn", "two layers of gru, both ways", "lstm with projections"])
def test_packed_sequences(name: str) -> None:
    torch.manual_seed(0)
    batches = [_sequences(5, 5, 3, 2), _sequences(7, 6, 6, 1, 1)]
    check_gradients(_Packed(name), LOSS, batches, dynamic_shapes=OPEN_LENGTHS)
    check_gradients(_Packed(name), LOSS, batches[:1])


def test_packed_sequences_in_any_order() -> None:
    torch.manual_seed(0)
    batches = [_sequences(5, 3, 5, 2), _sequences(7, 1, 6, 2, 6)]
    model = _Packed("two layers of lstm, both ways", enforce_sorted=False)
    check_gradients(model, LOSS, batches, dynamic_shapes=OPEN_LENGTHS)


class _GivenPacked(_Tagger):
    def forward(self, data: torch.Tensor, batch_sizes: torch.Tensor) -> torch.Tensor:
        outputs, states = self.layer(PackedSequence(self.words(data), batch_sizes))
        return self.classes(pad_packed_sequence(outputs, batch_first=True)[0], states)


def test_sequences_that_come_packed() -> None:
    torch.manual_seed(0)
    (words, lengths), classes = _sequences(5, 5, 3, 2)
    packed = pack_padded_sequence(words, lengths, batch_first=True)
    check_gradients(_GivenPacked("two layers of gru, both ways"), LOSS, [(tuple(packed[:2]), classes)])


def test_steps() -> None:
    torch.manual_seed(0)
    model = _Tagger("two layers of lstm, both ways")
    batches = [_batch(3, 5), _batch(4, 7)]
    check_steps(model, LOSS, lambda m: torch.optim.Adam(m.parameters(), 0.01), batches, dynamic_shapes=OPEN)


def test_a_graph_does_not_grow_with_the_length() -> None:
    model = _Tagger("lstm")
    counts = []
    for time in (3, 50):
        inputs, targets = _batch(2, time)
        program = export_training(model, inputs, targets=targets, loss=LOSS)
        counts.append(Counter(node.op_type for node in program.model.graph))
    assert counts[0] == counts[1]
    assert counts[0]["Scan"] == 2  # one forward, one backward


def test_dropout_between_layers_follows_from_the_seed() -> None:
    model = nn.Sequential(nn.LSTM(6, 200, 2, dropout=0.5))
    x = torch.randn(4, 3, 6)
    program = export_training(model, x, targets=torch.zeros(1), loss=lambda y, zero: y[0].square().mean() + zero)
    run = program.session().run
    losses = [float(run(x, torch.zeros(1), seed=seed)["loss"]) for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]
