"""Whole models: gradients of every parameter, steps of an optimizer, and an open batch, against torch's own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from training import Batch, check_gradients, check_steps, torch_loss

from exporter import export_training

BATCH, CLASSES = 4, 7
LOSS = nn.CrossEntropyLoss()
# The same numbers in single precision, in which a step takes them.  The usual one is 0.1 for 256 images, scaled to 5.
RATE, USUAL_RATE = 2.0**-13, 2.0**-9


@dataclass(frozen=True)
class Model:
    """How to make a model, and a batch of a size; the dims that are open.

    Trainings of deep networks with ReLU are compared in double precision, for in single precision rounding decides on
    which side of its kink one or another of their millions of units is, and torch's own losses part at once where a
    weight changes by its last bit (`test_rounding_parts_trainings_in_torch_as_well`).
    """

    build: Callable[[], nn.Module]
    batch: Callable[[int], Batch]
    dims: dict[str, dict[int, str]]
    loss: Any = LOSS
    rate: float = 1e-3
    dtype: torch.dtype = torch.float32


def _images(size: int) -> Callable[[int], Batch]:
    return lambda count: ((torch.randn(count, 3, size, size),), torch.randint(0, CLASSES, (count,)))


def _vision(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import torchvision

        return getattr(torchvision.models, name)(num_classes=CLASSES)

    return build


def _vit() -> nn.Module:
    import timm

    return timm.create_model("vit_tiny_patch16_224", num_classes=CLASSES, img_size=64)


class _Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.layers = nn.Embedding(50, 24), nn.LSTM(24, 32, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(64, CLASSES)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(self.words(words))[0][:, -1])


def _words(count: int) -> Batch:
    return (torch.randint(0, 50, (count, 9)),), torch.randint(0, CLASSES, (count,))


class _OwnLoss(nn.Module):
    """A transformers model reduced to its own loss."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids=input_ids, labels=labels).loss


SMALL = {"vocab_size": 500, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def _bert(**config: Any) -> nn.Module:
    from transformers import BertConfig, BertForMaskedLM

    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return _OwnLoss(BertForMaskedLM(BertConfig(**config, **none)))


def _gpt2(**config: Any) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    none = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return _OwnLoss(GPT2LMHeadModel(GPT2Config(use_cache=False, **config, **none)))


def _t5(**config: Any) -> nn.Module:
    from transformers import T5Config, T5ForConditionalGeneration

    settings = T5Config(use_cache=False, dropout_rate=0.0, decoder_start_token_id=0, **config)
    return _OwnLoss(T5ForConditionalGeneration(settings))


def _texts(vocabulary: int, length: int) -> Callable[[int], Batch]:
    def batch(count: int) -> Batch:
        ids = torch.randint(1, vocabulary, (count, length))
        labels = ids.roll(1, 1)
        labels[:, 0] = -100
        return {"input_ids": ids, "labels": labels}, ()

    return batch


OPEN_IMAGES = {"x": {0: "batch"}, "target": {0: "batch"}}
OPEN_TEXTS = {"input_ids": {0: "batch"}, "labels": {0: "batch"}}

# The gate's: each kind of layer, small.
GATE = {
    "lstm": Model(_Classifier, _words, {"words": {0: "batch"}, "target": {0: "batch"}}),
    "bert": Model(lambda: _bert(**SMALL, intermediate_size=128), _texts(500, 6), OPEN_TEXTS, None),
    "gpt2": Model(lambda: _gpt2(vocab_size=500, n_embd=64, n_layer=2, n_head=4), _texts(500, 6), OPEN_TEXTS, None),
    "t5": Model(lambda: _t5(vocab_size=500, d_model=64, d_ff=128, num_layers=2, d_kv=16, num_heads=4),
                _texts(500, 6), OPEN_TEXTS, None),
}  # fmt: skip
# The sweep's: real sizes.
LARGE = {
    "resnet18": Model(_vision("resnet18"), _images(64), OPEN_IMAGES, rate=RATE, dtype=torch.float64),
    "resnet50": Model(_vision("resnet50"), _images(64), OPEN_IMAGES, rate=RATE / 16, dtype=torch.float64),
    "mobilenet_v3": Model(_vision("mobilenet_v3_large"), _images(64), OPEN_IMAGES, rate=RATE, dtype=torch.float64),
    "vit_tiny": Model(_vit, _images(64), OPEN_IMAGES),
    "bert_small": Model(lambda: _bert(hidden_size=512, num_hidden_layers=4, num_attention_heads=8,
                                      intermediate_size=2048), _texts(30000, 16), OPEN_TEXTS, None, 1e-4),
    "gpt2_small": Model(_gpt2, _texts(50000, 16), OPEN_TEXTS, None, 1e-4),
    "t5_small": Model(_t5, _texts(32000, 16), OPEN_TEXTS, None, 1e-4),
}  # fmt: skip


def _as(batch: Batch, dtype: torch.dtype) -> Batch:
    return torch.utils._pytree.tree_map(lambda x: x.to(dtype) if x.is_floating_point() else x, batch)


def _made(model: Model, dtype: torch.dtype) -> tuple[nn.Module, list[Batch]]:
    """The model in train mode without dropout, and batches of two sizes."""
    torch.manual_seed(0)
    module = model.build().train().to(dtype)
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    return module, [_as(model.batch(count), dtype) for count in (BATCH, BATCH + 1)]


def _sgd(rate: float) -> Callable[[nn.Module], torch.optim.Optimizer]:
    return lambda module: torch.optim.SGD(module.parameters(), rate, momentum=0.9)


def _check(model: Model, steps: int) -> None:
    """Gradients at two sizes of the batch; then steps of SGD with momentum on the same batches."""
    module, batches = _made(model, model.dtype)
    same_slopes = model.dtype == torch.float32
    check_gradients(module, model.loss, batches, dynamic_shapes=model.dims, same_slopes=same_slopes)
    check_steps(module, model.loss, _sgd(model.rate), batches, steps=steps, dynamic_shapes=model.dims)


@pytest.mark.parametrize("name", GATE)
def test_small(name: str) -> None:
    _check(GATE[name], steps=4)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_large(name: str) -> None:
    _check(LARGE[name], steps=20)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, model in LARGE.items() if model.dtype == torch.float64])
def test_single_precision(name: str) -> None:
    """Gradients, and each of 20 steps at a usual rate from where the training is."""
    model = LARGE[name]
    module, batches = _made(model, torch.float32)
    check_gradients(module, model.loss, batches, dynamic_shapes=model.dims, same_slopes=True)
    options = {"steps": 20, "dynamic_shapes": model.dims, "each_alone": True}
    check_steps(module, model.loss, _sgd(USUAL_RATE), batches, **options)


@pytest.mark.slow
def test_rounding_parts_trainings_in_torch_as_well() -> None:
    """ResNet-50 at a usual rate: ours is no further from torch's than torch's is where weights differ in the last bit."""
    model = LARGE["resnet50"]
    module, batches = _made(model, torch.float32)
    inputs, targets = batches[0]
    options = {"dynamic_shapes": model.dims, "optimizer": _sgd(USUAL_RATE)(module)}
    session = export_training(module, inputs, targets=targets, loss=LOSS, **options).session()
    order = batches * 10
    ours, torchs = [session.step(*batch) for batch in order], _torchs_losses(module, order)
    perturbed = [_torchs_losses(_last_bits_changed(module), order) for _ in range(2)]

    def distance(losses: list[float]) -> float:
        return sum(abs(a - b) for a, b in zip(losses, torchs, strict=True)) / sum(torchs)

    assert distance(ours) <= 2 * max(map(distance, perturbed))
    assert min(map(distance, perturbed)) > 1e-2


def _torchs_losses(module: nn.Module, batches: list[Batch]) -> list[float]:
    twin = copy.deepcopy(module)
    optimizer = _sgd(USUAL_RATE)(twin)
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        loss = torch_loss(twin, LOSS, batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def _last_bits_changed(module: nn.Module) -> nn.Module:
    twin = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(1 + torch.randint(-1, 2, parameter.shape) * 2.0**-23)
    return twin


@pytest.mark.slow
@pytest.mark.parametrize("name", GATE)
def test_many_steps(name: str) -> None:
    _check(GATE[name], steps=20)
