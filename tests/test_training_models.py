"""Whole models: gradients of every parameter, steps of an optimizer, and an open batch, against torch's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from training import Batch, check_gradients, check_steps

BATCH, CLASSES = 4, 7
LOSS = nn.CrossEntropyLoss()
RATE = 2.0**-13  # the same number in single precision, in which a step takes it


@dataclass(frozen=True)
class Model:
    """How to make a model, and a batch of a size; the dims that are open.

    Deep networks with ReLU are compared in double precision: with fresh weights torch's own gradients in single
    precision are up to 0.3 of their scale off (ResNet-50, 8 images of 96 x 96), for a few of the millions of units
    change their sign.
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


def _check(model: Model, steps: int) -> None:
    """Gradients at two sizes of the batch; then steps of SGD with momentum on the same batches."""
    torch.manual_seed(0)
    module = model.build().train().to(model.dtype)
    batches = [_as(model.batch(count), model.dtype) for count in (BATCH, BATCH + 1)]
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    check_gradients(module, model.loss, batches, dynamic_shapes=model.dims)
    check_steps(
        module, model.loss, lambda m: torch.optim.SGD(m.parameters(), model.rate, momentum=0.9), batches, steps=steps,
        dynamic_shapes=model.dims,
    )  # fmt: skip


@pytest.mark.parametrize("name", GATE)
def test_small(name: str) -> None:
    _check(GATE[name], steps=4)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_large(name: str) -> None:
    _check(LARGE[name], steps=20)


@pytest.mark.slow
@pytest.mark.parametrize("name", GATE)
def test_many_steps(name: str) -> None:
    _check(GATE[name], steps=20)
