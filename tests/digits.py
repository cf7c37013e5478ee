"""The PFN report's MNIST training on data that is here: scikit-learn's 1,797 handwritten digits of 8 x 8 pixels."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn

from exporter import export_training
from exporter.validation.runtime import run, session_of

STEPS, BATCH, TEST = 200, 32, 360
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "SGD with momentum": lambda parameters: torch.optim.SGD(parameters, 0.01, momentum=0.9, weight_decay=1e-4),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, 1e-3),
}


@dataclass(frozen=True)
class Outcome:
    """What both runtimes made of one training: the losses of all steps, and the share of test digits read right."""

    ours: list[float]
    torchs: list[float]
    our_accuracy: float
    torchs_accuracy: float

    @property
    def largest_difference(self) -> float:
        """The largest difference between the losses of a step, relative to torch's."""
        return max(abs(a - b) / abs(b) for a, b in zip(self.ours, self.torchs, strict=True))


def network() -> nn.Sequential:
    """A small CNN for [N, 1, 8, 8] -> [N, 10].

    The convolution before batch norm has no bias: its gradient would be rounding alone, which Adam scales up to steps.
    """
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Images [1797, 1, 8, 8] in a fixed random order, and their classes [1797]."""
    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    return images[order], torch.tensor(data.target)[order]


def batches(images: torch.Tensor, classes: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """`STEPS` batches of the training part, in the same order each time."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        chosen = torch.randint(TEST, len(classes), (BATCH,), generator=generator)
        yield images[chosen], classes[chosen]


def train(name: str) -> Outcome:
    """Train in onnxruntime and in torch, from the same start on the same batches."""
    images, classes = digits()
    model, loss = network(), nn.CrossEntropyLoss()
    twin = copy.deepcopy(model)
    first = next(batches(images, classes))
    program = export_training(
        model, first[0], targets=first[1], loss=loss, optimizer=OPTIMIZERS[name](model.parameters()),
        dynamic_shapes={"input": {0: "batch"}, "target": {0: "batch"}},
    )  # fmt: skip
    session, optimizer = program.session(), OPTIMIZERS[name](twin.parameters())
    ours, torchs = [], []
    for batch, target in batches(images, classes):
        ours.append(session.step(batch, target))
        optimizer.zero_grad()
        value = loss(twin(batch), target)
        value.backward()
        optimizer.step()
        torchs.append(float(value.detach()))
    (scores,) = run(session_of(session.inference_program().model), [images[:TEST]])
    with torch.no_grad():
        expected = twin.eval()(images[:TEST])
    return Outcome(ours, torchs, _accuracy(scores, classes), _accuracy(expected, classes))


def _accuracy(scores: torch.Tensor, classes: torch.Tensor) -> float:
    return float((scores.argmax(1) == classes[:TEST]).double().mean())
