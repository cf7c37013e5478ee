"""Training steps of small models: gradients, optimizers, and what a step carries from one to the next."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from training import Batch, check_gradients, check_steps

from exporter import export_training
from exporter.errors import InputError, SaveError

LOSS = nn.CrossEntropyLoss()
OPEN = {"input": {0: "batch"}, "target": {0: "batch"}}


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 4))


def _batches(count: int = 3, size: int = 5) -> list[Batch]:
    torch.manual_seed(1)
    return [((torch.randn(size + i, 6),), torch.randint(0, 4, (size + i,))) for i in range(count)]


class _Images(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.head = nn.Linear(4 * 16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
        return self.head(x.flatten(1))


def _images(size: int) -> Batch:
    torch.manual_seed(size)
    return (torch.randn(size, 1, 8, 8),), torch.randint(0, 3, (size,))


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), 0.1),
    "momentum": lambda model: torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda model: torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True),
    "dampening": lambda model: torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, dampening=0.5),
    "maximize": lambda model: torch.optim.SGD(model.parameters(), 0.01, maximize=True),
    "adam": lambda model: torch.optim.Adam(model.parameters(), 0.01, weight_decay=0.1),
    "adamw": lambda model: torch.optim.AdamW(model.parameters(), 0.01, betas=(0.8, 0.9), eps=1e-6),
    "groups": lambda model: torch.optim.AdamW(
        [{"params": [model[0].weight], "weight_decay": 0.1}, {"params": [model[3].bias], "lr": 0.1}], 0.01
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str) -> None:
    check_steps(_network(), LOSS, OPTIMIZERS[name], _batches(), dynamic_shapes=OPEN)


def test_gradients_and_names() -> None:
    program = check_gradients(_network(), LOSS, _batches(), dynamic_shapes=OPEN)
    names = [f"{i}.{kind}" for i in (0, 2, 3) for kind in ("weight", "bias")]
    assert set(program.input_names) == {"input", "target", *names}
    assert program.output_names == ["loss", "output", *(f"{name}.grad" for name in names)]
    assert program.model.graph.inputs[0].shape.dims[0].value == "batch"


def test_batch_norm_writes_its_statistics() -> None:
    torch.manual_seed(0)
    model = _Images()
    dims = {"x": {0: "batch"}, "target": {0: "batch"}}
    program = check_gradients(model, LOSS, [_images(4), _images(7)], dynamic_shapes=dims)
    assert {"norm.running_mean.updated", "norm.running_var.updated", "norm.num_batches_tracked.updated"} <= set(
        program.output_names
    )
    check_steps(model, LOSS, OPTIMIZERS["momentum"], [_images(4), _images(6)], dynamic_shapes=dims)
    assert not check_gradients(model.eval(), LOSS, [_images(4)]).model.graph.outputs[-1].name.endswith("updated")


def test_learning_rate_is_an_input() -> None:
    check_steps(_network(), LOSS, OPTIMIZERS["adamw"], _batches(), dynamic_shapes=OPEN, rates=[0.1, 0.05, 0.01, 0.0, 1])


def test_clipping() -> None:
    def clip(model: nn.Module, step: int) -> bool:
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        return True

    check_steps(_network(), LOSS, OPTIMIZERS["sgd"], _batches(), dynamic_shapes=OPEN, clip_norm=0.1, after=clip)


@pytest.mark.parametrize("name", ["adamw", "dampening"])
def test_accumulation(name: str) -> None:
    def every_third(model: nn.Module, step: int) -> bool:
        if step % 3 == 2:
            for parameter in model.parameters():
                parameter.grad.div_(3)
        return step % 3 == 2

    options = {"steps": 9, "accumulate": 3, "dynamic_shapes": OPEN}
    program = check_steps(_network(), LOSS, OPTIMIZERS[name], _batches(), after=every_third, **options)
    assert "0.weight.accumulated" in program.input_names


def test_frozen_parameters_stay_in_the_model() -> None:
    model = _network()
    model[0].requires_grad_(False)
    program = check_steps(model, LOSS, OPTIMIZERS["adamw"], _batches(), dynamic_shapes=OPEN)
    assert "0.weight" not in program.input_names
    assert "3.weight" in program.input_names


class _Teacher(nn.Module):
    """A frozen copy of the encoder, which each step draws towards it."""

    def __init__(self) -> None:
        super().__init__()
        self.student = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh())
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            for kept, new in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
                kept.mul_(0.9).add_(new, alpha=0.1)
            wanted = self.teacher(other)
        return 2 - 2 * F.cosine_similarity(self.student(one), wanted).mean()


def test_frozen_parameters_that_a_step_writes_to_are_carried() -> None:
    torch.manual_seed(0)
    dims = {"one": {0: "batch"}, "other": {0: "batch"}}
    batches: list[Batch] = [((torch.randn(n, 6), torch.randn(n, 6)), ()) for n in (4, 6)]
    program = check_steps(_Teacher(), None, OPTIMIZERS["sgd"], batches, dynamic_shapes=dims)
    assert "teacher.0.weight.updated" in program.output_names


class _Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(9, 6, padding_idx=0), nn.Linear(6, 9, bias=False)
        self.head.weight = self.words.weight

    def forward(self, words: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        logits = self.head(self.words(words).tanh())
        return {"loss": F.cross_entropy(logits.flatten(0, 1), labels.flatten()), "logits": logits}


def test_tied_weights_are_one_and_a_model_may_have_its_own_loss() -> None:
    torch.manual_seed(0)
    model = _Tied()
    words = torch.randint(0, 9, (3, 5))
    program = export_training(
        model, {"words": words, "labels": words}, dynamic_shapes={"words": {0: "b"}, "labels": {0: "b"}}
    )
    assert program.output_names == ["loss", "logits", "words.weight.grad"]
    session = program.session()
    more = torch.randint(0, 9, (4, 5))
    actual = session.run({"words": more, "labels": more})
    loss = model(more, more)["loss"]
    loss.backward()
    torch.testing.assert_close(actual["words.weight.grad"], model.words.weight.grad)
    assert session.state_dict().keys() == model.state_dict().keys()


def test_targets_by_name_and_a_function_as_loss() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    x, one, two = torch.randn(4, 3), torch.randn(4, 2), torch.rand(4, 2)

    def loss(result: torch.Tensor, wanted: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
        return ((result - wanted).abs() * share).sum()

    for targets in ((one, two), {"wanted": one, "share": two}):
        program = export_training(model, x, targets=targets, loss=loss)
        assert abs(float(program.session().run(x, targets)["loss"]) - float(loss(model(x), one, two).detach())) < 1e-5
    assert {"wanted", "share"} <= set(program.input_names)


# Randomness.


def _dropping() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 400), nn.Dropout(0.3), nn.Linear(400, 4))


def test_dropout_follows_from_the_seed() -> None:
    model, batch = _dropping(), _batches()[0]
    session = export_training(model, batch[0], targets=batch[1], loss=LOSS).session()
    first, again, other = (session.run(*batch, seed=seed)["2.weight.grad"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_dropout_drops_its_share() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Dropout(0.3))
    nn.init.ones_(model[0].weight)
    ones = torch.ones(20000, 1)
    session = export_training(model, ones, loss=lambda y, _: y.mean(), targets=torch.zeros(1)).session()
    drawn = [session.run(ones, torch.zeros(1), seed=seed)["output"].flatten() for seed in range(4)]
    for output in drawn:
        assert abs(float((output == 0).float().mean()) - 0.3) < 0.015
        torch.testing.assert_close(output.unique(), torch.tensor([0, 1 / 0.7]))
    for a, b in itertools.pairwise(drawn):
        assert abs(float(torch.corrcoef(torch.stack([a, b]))[0, 1])) < 0.03


def test_dropout_can_be_off() -> None:
    model = _dropping()
    program = export_training(model, _batches()[0][0], targets=_batches()[0][1], loss=LOSS, dropout=False)
    assert "seed" not in program.input_names
    assert model[1].p == 0.3
    batch = _batches()[0]
    model.eval()
    expected = LOSS(model(*batch[0]), batch[1])
    assert abs(float(program.session().run(*batch)["loss"]) - float(expected.detach())) < 1e-5


class _Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> Any:
        return self.scale * torch.stack(
            [torch.randn_like(x), torch.rand_like(x), torch.randn(x.shape), torch.rand(x.shape)]
        )


def test_other_random_numbers_follow_from_the_seed() -> None:
    x = torch.zeros(30000)
    program = export_training(_Noisy(), x, loss=lambda y, _: y.sum(), targets=torch.zeros(1))
    session = program.session()
    drawn = session.run(x, torch.zeros(1), seed=7)["output"]
    assert torch.equal(drawn, session.run(x, torch.zeros(1), seed=7)["output"])
    torch.testing.assert_close(drawn.mean(1), torch.tensor([0.0, 0.5, 0.0, 0.5]), atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.std(1), torch.tensor([1.0, 0.2887, 1.0, 0.2887]), atol=0.03, rtol=0)
    assert float(drawn[1].min()) >= 0
    assert float(drawn[1].max()) < 1
    assert not {node.op_type for node in program.model.graph} & {"RandomNormal", "RandomUniform", "Bernoulli"}


# What comes out.


def test_the_optimizer_goes_on_where_it_was() -> None:
    model, batches = _network(), _batches()
    optimizer = OPTIMIZERS["adamw"](model)
    for inputs, targets in batches:
        LOSS(model(*inputs), targets).backward()
        optimizer.step()
        optimizer.zero_grad()
    inputs, targets = batches[0]
    program = export_training(model, inputs, targets=targets, loss=LOSS, optimizer=optimizer)
    session = program.session()
    assert session.steps == 3
    for _ in range(3):
        expected = LOSS(model(*inputs), targets)
        expected.backward()
        optimizer.step()
        optimizer.zero_grad()
        assert abs(session.step(inputs, targets) - float(expected.detach())) < 1e-5


def test_weights_go_back_into_the_model_and_into_an_inference_program() -> None:
    model = nn.Sequential(_Images(), nn.Dropout(0.5))
    (inputs, targets), more = _images(4), _images(6)
    dims = {"input": {0: "batch"}, "target": {0: "batch"}}
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    program = export_training(
        model, inputs, targets=targets, loss=LOSS, dynamic_shapes=dims, optimizer=OPTIMIZERS["momentum"](model)
    )
    session = program.session()
    for _ in range(3):
        session.step(inputs, targets)
    inference = session.inference_program()
    inference.validate().check()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])  # nothing has touched the module itself
    model.load_state_dict(session.state_dict())
    assert not torch.equal(model[0].conv.weight, before["0.conv.weight"])
    from exporter.validation.runtime import run, session_of

    (output,) = run(session_of(inference.model), more[0])
    torch.testing.assert_close(output, model.eval()(*more[0]), atol=1e-5, rtol=1e-4)


def test_save(tmp_path: Path) -> None:
    inputs, targets = _batches()[0]
    model = _network()
    program = export_training(model, inputs, targets=targets, loss=LOSS, optimizer=OPTIMIZERS["adamw"](model))
    path = program.save(tmp_path / "step.onnx")
    onnx.checker.check_model(path, full_check=True)
    assert list(program.initial_state()) == program.state_names()


@pytest.mark.parametrize("opset_version", [17, 20, 23])
def test_opsets(opset_version: int) -> None:
    model = _dropping() if opset_version > 17 else _network()
    inputs, targets = _batches()[0]
    options = {"opset_version": opset_version, "dynamic_shapes": OPEN}
    program = export_training(
        model, inputs, targets=targets, loss=LOSS, optimizer=OPTIMIZERS["momentum"](model), **options
    )
    assert program.model.opset_imports == {"": opset_version, "fx2onnx": 1}
    session = program.session()
    losses = [session.step(inputs, targets) for _ in range(20)]
    assert losses[-1] < losses[0]


def test_testcase_folder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    inputs, targets = _images(4)
    program = export_training(_Images(), inputs, targets=targets, loss=LOSS, clip_norm=0.5)
    folder = program.save_testcase(tmp_path / "case")
    files = {path.name for path in (folder / "test_data_set_0").iterdir()}
    count = len(program.step.parameters)
    assert {f"gradient_{i}.pb" for i in range(count)} == {name for name in files if name.startswith("gradient")}
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    feeds = dict(_read(folder, "input", len(program.input_names)))
    actual = dict(zip(program.output_names, session.run(None, feeds), strict=True))
    for name, expected in _read(folder, "output", len(program.output_names)):
        np.testing.assert_allclose(actual[name], expected, rtol=1e-4, atol=1e-5)
    for name, expected in _read(folder, "gradient", count):
        np.testing.assert_allclose(actual[f"{name}.grad"], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(SaveError, match="case: must be a new folder, is there already"):
        program.save_testcase(folder)
    random = export_training(nn.Sequential(_Images(), nn.Dropout()), inputs, targets=targets, loss=LOSS)
    with pytest.raises(InputError, match="save_testcase: the step must end with gradients and draw no random numbers"):
        random.save_testcase(tmp_path / "other")


def _read(folder: Path, kind: str, count: int) -> Iterator[tuple[str, np.ndarray]]:
    for i in range(count):
        tensor = onnx.TensorProto.FromString((folder / "test_data_set_0" / f"{kind}_{i}.pb").read_bytes())
        yield tensor.name, onnx.numpy_helper.to_array(tensor)
