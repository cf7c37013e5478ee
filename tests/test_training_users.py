"""Trainings as users write them: their models and losses, against torch's own, at an open batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from training import Batch, check_gradients, check_steps

from exporter import export_training

CLASSES = 4


@dataclass(frozen=True)
class Training:
    """How to make a model, two batches, the loss and the open dims."""

    build: Callable[[], nn.Module]
    batches: Callable[[], list[Batch]]
    dims: dict[str, dict[int, str]]
    loss: Any = None


class _UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep, self.up = _block(3, 8), _block(8, 16), _block(24, 8)
        self.larger, self.head = nn.ConvTranspose2d(16, 16, 2, 2), nn.Conv2d(8, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.down(x)
        return self.head(self.up(torch.cat([self.larger(self.deep(F.max_pool2d(first, 2))), first], 1)))


def _block(channels: int, more: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, more, 3, padding=1), nn.BatchNorm2d(more), nn.ReLU(inplace=True))


class _Discriminator(nn.Module):
    """Spectral norm has buffers that each step writes to."""

    def __init__(self) -> None:
        super().__init__()
        first = nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 8, 4, 2, 1))
        second = [nn.Conv2d(8, 16, 4, 2, 1), nn.InstanceNorm2d(16, affine=True), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(first, nn.LeakyReLU(0.2), *second, nn.Flatten(), nn.Linear(256, 1))

    def forward(self, real: torch.Tensor, fake: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.layers(real), self.layers(fake)


class _Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 8))
        self.register_buffer("scale", torch.tensor(2.0), persistent=False)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.layers(a) * self.scale, self.layers(b)


def _contrastive(result: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    a, b = (F.normalize(x, dim=-1) for x in result)
    logits = a @ b.T / 0.07
    classes = torch.arange(logits.shape[0])
    return (F.cross_entropy(logits, classes) + F.cross_entropy(logits.T, classes)) / 2


class _Tasks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.classes, self.value = nn.Linear(6, 8), nn.Linear(8, CLASSES), nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> dict[str, Any]:
        hidden = self.body(x).tanh()
        return {"classes": self.classes(hidden), "value": self.value(hidden).squeeze(-1), "hidden": (hidden,)}


class _Codes(nn.Module):
    """A vector-quantized autoencoder: gradients go straight through the choice of a code."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.codes, self.decode = nn.Linear(6, 4), nn.Embedding(16, 4), nn.Linear(4, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.encode(x)
        code = self.codes(torch.cdist(z, self.codes.weight).argmin(-1))
        decoded = self.decode(z + (code - z).detach())
        return F.mse_loss(decoded, x) + F.mse_loss(code, z.detach()) + 0.25 * F.mse_loss(z, code.detach())


class _Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(6, 4), nn.Parameter(torch.randn(4, 6, CLASSES) * 0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shares, chosen = self.gate(x).softmax(-1).topk(2)
        return (torch.einsum("bi,bkio->bko", x, self.experts[chosen]) * shares.unsqueeze(-1)).sum(1)


class _Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(30, 8, padding_idx=0)
        self.layer, self.head = nn.GRU(8, 8, bidirectional=True, batch_first=True), nn.Linear(16, CLASSES)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(self.words(words))[0]).transpose(1, 2)


class _Speech(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.frames, self.layer = nn.Conv1d(5, 8, 3, 2, 1), nn.LSTM(8, 8, bidirectional=True, batch_first=True)
        self.head = nn.Linear(16, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(self.frames(x).transpose(1, 2))[0]).log_softmax(-1).transpose(0, 1)


def _tags(count: int, length: int) -> Batch:
    tags = torch.randint(0, CLASSES, (count, length))
    tags[0, -1] = -100
    return (torch.randint(0, 30, (count, length)),), tags


def _speech(count: int, length: int) -> Batch:
    texts, lengths = torch.randint(1, 6, (count, 3)), torch.randint(1, 4, (count,))
    return (torch.randn(count, 5, length),), (texts, torch.full((count,), length // 2), lengths)


def _pair(count: int, *sizes: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(count, *sizes), torch.randn(count, *sizes)


def _masks(count: int, height: int, width: int) -> Batch:
    return (torch.randn(count, 3, height, width),), (torch.rand(count, 1, height, width) > 0.5).float()


def _open(*names: str, **more: dict[int, str]) -> dict[str, dict[int, str]]:
    return {name: {0: "batch"} for name in names} | more


SPACE = {0: "batch", 2: "2 * h", 3: "2 * w"}
TRAININGS = {
    "u-net": Training(
        _UNet, lambda: [_masks(2, 16, 16), _masks(3, 24, 8)], {"x": SPACE, "target": SPACE},
        nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0])),
    ),
    "discriminator": Training(
        _Discriminator, lambda: [(_pair(n, 3, 16, 16), ()) for n in (2, 3)], _open("real", "fake"),
        lambda result: F.softplus(-result[0]).mean() + F.softplus(result[1]).mean(),
    ),
    "siamese": Training(
        _Siamese, lambda: [(_pair(n, 6), torch.randint(0, 2, (n,)) * 2 - 1) for n in (3, 5)], _open("a", "b", "target"),
        lambda result, same: F.cosine_embedding_loss(*result, same, margin=0.2),
    ),
    "triplets": Training(
        _Siamese, lambda: [(_pair(n, 6), torch.randn(n, 8)) for n in (3, 5)], _open("a", "b", "target"),
        lambda result, negative: F.triplet_margin_loss(*result, negative),
    ),
    "contrastive": Training(_Siamese, lambda: [(_pair(n, 6), ()) for n in (3, 5)], _open("a", "b"), _contrastive),
    "two tasks": Training(
        _Tasks, lambda: [((torch.randn(n, 6),), (torch.randint(0, CLASSES, (n,)), torch.randn(n))) for n in (3, 5)],
        _open("x", "target_0", "target_1"),
        lambda result, kind, value: F.cross_entropy(result["classes"], kind) + F.mse_loss(result["value"], value),
    ),
    "codes": Training(_Codes, lambda: [((torch.randn(n, 6),), ()) for n in (4, 6)], _open("x")),
    "experts": Training(
        _Experts, lambda: [((torch.randn(n, 6),), torch.randint(0, CLASSES, (n,))) for n in (4, 6)],
        _open("x", "target"), nn.CrossEntropyLoss(),
    ),
    "tags": Training(
        _Tagger, lambda: [_tags(2, 5), _tags(3, 8)],
        {"words": {0: "batch", 1: "time"}, "target": {0: "batch", 1: "time"}}, nn.CrossEntropyLoss(ignore_index=-100),
    ),
    "speech": Training(
        _Speech, lambda: [_speech(2, 16), _speech(3, 20)],
        _open("target_0", "target_1", "target_2", x={0: "batch", 2: "2 * t"}), nn.CTCLoss(zero_infinity=True),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TRAININGS)
def test_trainings(name: str) -> None:
    torch.manual_seed(0)
    training = TRAININGS[name]
    model, batches = training.build().train(), training.batches()
    check_gradients(model, training.loss, batches, dynamic_shapes=training.dims, same_slopes=name == "u-net")
    check_steps(
        model, training.loss, lambda m: torch.optim.SGD(m.parameters(), 1e-3, momentum=0.9), batches, steps=3,
        dynamic_shapes=training.dims,
    )  # fmt: skip


def _classes(count: int) -> torch.Tensor:
    return torch.randint(0, CLASSES, (count,))


def _some_ignored(count: int) -> torch.Tensor:
    classes = _classes(count)
    classes[0] = -100
    return classes


def _shares(count: int) -> torch.Tensor:
    return torch.rand(count, CLASSES).softmax(-1)


def _numbers(count: int) -> torch.Tensor:
    return torch.randn(count, CLASSES)


def _signs(count: int) -> torch.Tensor:
    return torch.randint(0, 2, (count, CLASSES)) * 2.0 - 1


def _focal(result: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    found = result.softmax(-1).gather(1, classes.unsqueeze(1))
    return (-((1 - found) ** 2) * found.log()).mean()


WEIGHT = torch.tensor([1.0, 2.0, 3.0, 4.0])
LOSSES: dict[str, tuple[Callable[..., torch.Tensor], Callable[[int], torch.Tensor]]] = {
    "classes, smoothed, some ignored": (nn.CrossEntropyLoss(label_smoothing=0.1), _some_ignored),
    "classes, smoothed, weighted": (nn.CrossEntropyLoss(weight=WEIGHT, label_smoothing=0.2), _classes),
    "classes, summed": (nn.CrossEntropyLoss(reduction="sum"), _classes),
    "shares of classes": (nn.CrossEntropyLoss(), _shares),
    "nll": (lambda y, t: F.nll_loss(y.log_softmax(-1), t, ignore_index=-100, weight=WEIGHT), _some_ignored),
    "kl": (nn.KLDivLoss(reduction="batchmean"), _shares),
    "kl of logarithms": (nn.KLDivLoss(reduction="batchmean", log_target=True), lambda n: _shares(n).log()),
    "bce": (lambda y, t: F.binary_cross_entropy(y.sigmoid(), t), _shares),
    "bce, weighted": (nn.BCEWithLogitsLoss(weight=WEIGHT), _shares),
    "mse": (nn.MSELoss(), _numbers),
    "l1": (nn.L1Loss(), _numbers),
    "smooth l1": (nn.SmoothL1Loss(beta=0.5), _numbers),
    "huber": (nn.HuberLoss(delta=0.3), _numbers),
    "poisson": (nn.PoissonNLLLoss(full=True), lambda n: 4 * _shares(n)),
    "gaussian": (lambda y, t: F.gaussian_nll_loss(y, t, y.exp()), _numbers),
    "hinge": (nn.HingeEmbeddingLoss(), _signs),
    "soft margin": (nn.SoftMarginLoss(), _signs),
    "margin of classes": (nn.MultiMarginLoss(), _classes),
    "margin of labels": (nn.MultiLabelSoftMarginLoss(), lambda n: (_signs(n) + 1) / 2),
    "focal": (_focal, _classes),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    torch.manual_seed(0)
    loss, targets = LOSSES[name]
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, CLASSES))
    batches = [((torch.randn(n, 6),), targets(n)) for n in (3, 5)]
    check_gradients(model, loss, batches, dynamic_shapes=_open("input", "target"))


def test_a_scheduler_of_torch() -> None:
    """The learning rates of all groups come from the optimizer, which the scheduler changes."""
    torch.manual_seed(0)
    model, twin = (nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, CLASSES)) for _ in range(2))
    twin.load_state_dict(model.state_dict())

    def made(module: nn.Sequential) -> tuple[torch.optim.Optimizer, Any]:
        first, last = (
            {"params": module[0].parameters(), "lr": 0.1},
            {"params": module[2].parameters(), "nesterov": True},
        )
        optimizer = torch.optim.SGD([first, last], 0.01, momentum=0.5)
        return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2)

    (optimizer, schedule), (other, others) = made(model), made(twin)
    inputs, targets = (torch.randn(3, 6),), _classes(3)
    program = export_training(model, inputs, targets=targets, loss=F.cross_entropy, optimizer=optimizer)
    session = program.session()
    for _ in range(6):
        loss = session.step(inputs, targets, learning_rate=[group["lr"] for group in optimizer.param_groups])
        optimizer.step()  # of no gradients: schedulers want to be called after it
        schedule.step()
        expected = F.cross_entropy(twin(*inputs), targets)
        other.zero_grad()
        expected.backward()
        other.step()
        others.step()
        assert abs(loss - expected.item()) < 1e-5
    model.load_state_dict(session.state_dict())
    for name, tensor in twin.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor)
