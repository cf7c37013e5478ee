"""What a user is told when a training step cannot be built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from exporter import ExportError, export_training
from exporter.errors import (
    DynamicShapeError,
    GradientError,
    InputError,
    LossError,
    MissingRuleError,
    OpsetError,
    OptimizerError,
    ValidationError,
)

X, Y = torch.randn(3, 4), torch.tensor([0, 1, 0])
LOSS = nn.CrossEntropyLoss()


def _told(kind: type[ExportError], model: Any = None, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        export_training(model or nn.Linear(4, 2), options.pop("inputs", X), **{"targets": Y, "loss": LOSS, **options})
    return str(caught.value)


def test_loss_of_several_numbers() -> None:
    assert _told(LossError, loss=nn.CrossEntropyLoss(reduction="none")) == (
        "loss: must be one number, got a tensor of shape [3]\n  hint: reduce it, as mean() does"
    )


def test_loss_that_is_no_tensor() -> None:
    assert _told(LossError, loss=lambda result, target: 3.0) == "loss: must be a tensor of shape [], got float"


def test_loss_of_integers() -> None:
    told = _told(LossError, loss=lambda result, target: result.argmax())
    assert told == "loss: must be of floating point, got torch.int64"


def test_loss_that_depends_on_nothing() -> None:
    assert _told(LossError, loss=lambda result, target: result.detach().sum()) == (
        "loss: must depend on a parameter that is trained\n"
        "  hint: see that the model does not detach() or run under torch.no_grad()"
    )


class _Returns(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.spare = nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.layer(x)}


def test_model_without_a_loss() -> None:
    assert _told(LossError, _Returns(), targets=(), loss=None) == (
        "loss: must be given, for the model returns none\n"
        "  hint: give loss and targets, or the labels with which the model computes its own loss"
    )


def test_model_that_returns_two_tensors_and_no_loss() -> None:
    told = _told(LossError, nn.LSTM(4, 4), targets=(), loss=None)
    assert told.startswith("loss: must be given, for the model returns none\n")


def test_targets_without_a_loss() -> None:
    assert _told(InputError, loss=None) == (
        "loss: must be given for the targets target\n  hint: loss=torch.nn.CrossEntropyLoss()"
    )


def test_parameter_without_gradient() -> None:
    assert _told(GradientError, _Returns(), loss=lambda result, target: LOSS(result["logits"], target)) == (
        "parameters: each must have a gradient, got none for spare.weight, spare.bias\n"
        "  hint: set requires_grad=False on what the loss does not depend on, or export with allow_unused=True"
    )


def test_parameter_without_gradient_may_be_left_out() -> None:
    model = _Returns()
    program = export_training(
        model, X, targets=Y, loss=lambda result, target: LOSS(result["logits"], target), allow_unused=True,
        optimizer=torch.optim.SGD(model.parameters(), 0.1),
    )  # fmt: skip
    assert "spare.weight" not in program.input_names
    session = program.session()
    session.step(X, Y)
    assert torch.equal(session.state_dict()["spare.weight"], model.spare.weight)


def test_unsupported_optimizer() -> None:
    model = nn.Linear(4, 2)
    assert _told(OptimizerError, model, optimizer=torch.optim.RMSprop(model.parameters())) == (
        "optimizer: must be SGD, Adam or AdamW of torch.optim, got RMSprop\n"
        "  hint: leave optimizer out and update by the gradients, which then are results"
    )


def test_unsupported_option_of_an_optimizer() -> None:
    model = nn.Linear(4, 2)
    told = _told(OptimizerError, model, optimizer=torch.optim.Adam(model.parameters(), amsgrad=True))
    assert told.startswith("optimizer: Adam's amsgrad must be False, got True\n")


def test_schedule_that_changes_the_momentum() -> None:
    model = nn.Linear(4, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10)
    assert _told(OptimizerError, model, optimizer=optimizer) == (
        "optimizer: AdamW's momentum must stay as it is, got one that a schedule changes at each step\n"
        "  hint: schedule the learning rate alone: OneCycleLR(..., cycle_momentum=False)"
    )


def test_model_that_is_spread_over_devices() -> None:
    assert _told(InputError, nn.DataParallel(nn.Linear(4, 2))) == (
        "model: must be one module, got DataParallel\n  hint: give model.module"
    )


def test_optimizer_of_another_model() -> None:
    told = _told(OptimizerError, optimizer=torch.optim.SGD(nn.Linear(7, 2).parameters(), 0.1))
    assert told == (
        "optimizer: its parameters must be the model's, got one of shape [2, 7] that is not\n"
        "  hint: make it with model.parameters(); a loss with parameters belongs into the model"
    )


def test_nothing_to_train() -> None:
    told = _told(InputError, nn.Linear(4, 2).requires_grad_(False))
    assert told == "model: must have a parameter to train, got none with requires_grad=True"


def test_accumulation_without_an_optimizer() -> None:
    assert _told(InputError, accumulate=4) == "accumulate: must be 1, or more with an optimizer, got 4"


class _Steps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, step: torch.Tensor) -> torch.Tensor:
        return self.layer(step)


def test_argument_with_a_name_of_the_step() -> None:
    assert _told(InputError, _Steps()) == (
        "example_inputs: 'step' is an input of the training step itself\n  hint: give the model's argument another name"
    )


def test_target_with_a_name_of_the_model() -> None:
    assert _told(InputError, _Steps(), targets={"step": Y}) == (
        "targets: 'step' is an argument of the model\n  hint: name the targets: targets={'labels': labels}"
    )


class _Powers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigvals(self.matrix * x.sum()).abs()  # the line to be named


def test_op_without_a_rule_names_the_forward_line_for_what_its_backward_calls() -> None:
    told = _told(MissingRuleError, _Powers(), loss=lambda result, target: result.sum())
    line = next(
        i for i, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "# the line to be named" in text
    )
    for overload in ("aten.linalg_eig.default", "aten._linalg_solve_ex.default"):
        assert f"{overload}: 1 call, first from {__file__}:{line}, in forward" in told


class _Branches(nn.Module):
    def __init__(self, grad: bool) -> None:
        super().__init__()
        self.layer, self.grad = nn.Linear(4, 2), grad

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.set_grad_enabled(self.grad):
            scale = torch.cond(x.sum() > 0, lambda x: x * 2, lambda x: x / 2, (x,))
        return self.layer(scale)


class _Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state, outputs = x.new_zeros(x.shape[0], 2), []
        for i in range(x.shape[1]):  # the loop to be named
            state = self.cell(x[:, i], state)
            outputs.append(state)
        return torch.stack(outputs, 2)


def test_python_loop_over_an_open_length_is_named() -> None:
    targets = torch.zeros(3, 5, dtype=torch.int64)
    open_length = {"x": {1: "time"}, "target": {1: "time"}}
    told = _told(
        DynamicShapeError, _Decoder(), inputs=torch.randn(3, 5, 4), targets=targets, dynamic_shapes=open_length
    )
    lines = Path(__file__).read_text().splitlines()
    line = next(i for i, text in enumerate(lines, 1) if "# the loop to be named" in text)
    assert f"{__file__}:{line}, in forward needs a number, which fixes time == 5" in told


def test_branch_in_the_way_of_gradients() -> None:
    told = _told(GradientError, _Branches(True))
    assert told.startswith(
        "cond: no gradient can be taken through it in a training step\n"
        "  hint: use torch.where, or compute it under torch.no_grad()\n"
        f"  from: {__file__}:"
    )


class _Looping(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.layer, self.kind = nn.Linear(4, 4), kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        if self.kind == "while_loop":
            return torch.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * 1.5), (torch.tensor(0), y))[1]
        if self.kind == "map":
            return torch._higher_order_ops.map(lambda row: row * 2, y)
        return torch.cond(x.sum() > 0, lambda y: (y * 2,), lambda y: (y.sin(),), (y,))[0]


@pytest.mark.parametrize("dims", [None, {"x": {0: "n"}, "target": {0: "n"}}])
@pytest.mark.parametrize("kind", ["while_loop", "map"])
def test_loop_in_the_way_of_gradients(kind: str, dims: Any) -> None:
    told = _told(GradientError, _Looping(kind), dynamic_shapes=dims)
    assert ": no gradient can be taken through it in a training step\n  hint: use torch.where" in told
    assert f"\n  from: {__file__}:" in told


def test_branch_whose_functions_get_tensors_of_open_sizes() -> None:
    told = _told(GradientError, _Looping("cond"), dynamic_shapes={"x": {0: "n"}, "target": {0: "n"}})
    assert told.startswith("torch.cond or a loop of torch: no gradient can be taken through it in a training step\n")
    assert f"\n  from: {__file__}:" in told


def test_branch_without_gradients() -> None:
    model = _Branches(False)
    run = export_training(model, X, targets=Y, loss=LOSS).session().run
    for x in (X, -X):
        LOSS(model(x), Y).backward()
        torch.testing.assert_close(run(x, Y)["layer.weight.grad"], model.layer.weight.grad, rtol=1e-4, atol=1e-5)
        model.zero_grad()


def test_dropout_below_opset_18() -> None:
    assert _told(OpsetError, nn.Sequential(nn.Linear(4, 2), nn.Dropout()), opset_version=17).startswith(
        "random numbers from a seed: need opset 18, got 17\n  hint: ask for opset_version=18, or train with dropout=False"
    )


def test_step_without_an_optimizer() -> None:
    session = export_training(nn.Linear(4, 2), X, targets=Y, loss=LOSS).session()
    with pytest.raises(InputError) as caught:
        session.step(X, Y)
    assert str(caught.value) == (
        "step: the program must have an optimizer, got one that ends with gradients\n"
        "  hint: export_training(..., optimizer=...), or take the gradients from run()"
    )


def test_step_with_other_inputs() -> None:
    model = nn.Linear(4, 2)
    program = export_training(model, X, targets=Y, loss=LOSS, optimizer=torch.optim.SGD(model.parameters(), 0.1))
    with pytest.raises(InputError, match="step: target must be a tensor, got NoneType"):
        program.session().step(X)
    with pytest.raises(InputError, match=r"step: input must be of torch\.float32, got torch\.float64"):
        program.session().step(X.double(), Y)
    with pytest.raises(InputError) as caught:
        program.session().step(X[:2], Y[:2])
    assert str(caught.value) == (
        "step: input must be of shape [3, 4], got [2, 4]\n"
        "  hint: name what may change in dynamic_shapes of export_training"
    )
    with pytest.raises(InputError, match="learning_rate: must be one or 1 numbers, got 2"):
        program.session().step(X, Y, learning_rate=[0.1, 0.2])


def test_provider_without_a_kernel() -> None:
    model = nn.Linear(4, 2).bfloat16()
    program = export_training(model, X.bfloat16(), targets=Y, loss=LOSS)
    with pytest.raises(ValidationError) as caught:
        program.session()
    assert str(caught.value).startswith("session: onnxruntime refuses the step: Could not find an implementation for ")
