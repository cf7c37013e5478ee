"""Writes through views become values, and indices that are no numbers yet are followed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from exporter import export
from exporter.errors import CaptureError
from tests.lowering import Case, both_ways, cases, check, ops

Write = Callable[..., Any]


def _x() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5)]


def _with_place() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5), torch.tensor(1)]


def _with_places() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5), torch.tensor([2, 0])]


def _with_mask() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5), torch.rand(3, 4) > 0.5]


def written(write: Write) -> Write:
    """`write` on a copy, and the copy beside a view that was taken before."""

    def function(x: torch.Tensor, *others: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        copy = x.clone()
        before = copy[1:]
        write(copy, *others)
        return copy, before * 2

    return function


def slices(x: torch.Tensor) -> None:
    x[..., 1:] = 2
    x[:, ::2] *= 3
    x[1:, 1:-1] = x[:-1, 1:-1].clone()


def numbers(x: torch.Tensor) -> None:
    x[:, 0] = x[:, 1]
    x[0, 1:3, 2] += 5
    x[..., -1] = x[..., 0]
    x[-1].fill_(3)
    x[1] = 7


def views(x: torch.Tensor) -> None:
    x.view(-1)[3:5] = 7
    x.transpose(0, 1)[1] = 3
    x.permute(2, 0, 1)[0] += 1
    x.unsqueeze(0).squeeze(0)[2].mul_(2)
    x.flatten(1)[:, 3].neg_()
    x.diagonal().zero_()
    x.narrow(1, 1, 2).add_(1)


def parts(x: torch.Tensor) -> None:
    x.unbind(0)[1].mul_(2)
    x.chunk(2, 1)[1].zero_()
    x.split(2, 1)[0].add_(3)
    x.tensor_split(2, 2)[0].sub_(1)


def chunks(x: torch.Tensor) -> None:
    x.chunk(2, 1)[1].zero_()
    x.split(2, 1)[0].add_(3)
    x.unbind(1)[1].mul_(2)


def masks(x: torch.Tensor, mask: torch.Tensor) -> None:
    x[mask] = 0
    x[mask] += 1
    x[x > 1] = x.new_tensor(9)
    x[:, mask[0]] = 5
    x.masked_fill_(x < -1, -1)


def chosen(x: torch.Tensor, mask: torch.Tensor) -> None:
    x[mask] = x[mask] * 2 + 1


def places(x: torch.Tensor, i: torch.Tensor) -> None:
    x[i] = 1
    x[:, i] += 2
    x[i, i] = x[i, i] + 1
    x[:, :, i] = torch.arange(2.0)
    x[i, 1:, i] = 3
    x[torch.arange(2), 1] = 4
    x.index_add_(1, i, x[:, :2])
    x.index_fill_(0, i, 4)


def place(x: torch.Tensor, i: torch.Tensor) -> None:
    x[i] = 1
    x[:, i] += 2
    x[:, i : i + 1] = 5
    x[0, ..., i] = x[0, ..., 0]
    x[:, i:, 0] = 6


def several(x: torch.Tensor) -> None:
    first, second = x[0], x[:, 0]
    first.add_(1)
    second.mul_(first[0])
    first[:] = second[0]
    torch.add(x, 1, out=x)
    second.clamp_(max=0.5)


def lists(x: torch.Tensor) -> None:
    """Overloads that write to lists of tensors, and return nothing."""
    first, rest = x[:1], x[1:]
    torch._foreach_add_([first, rest], 1)
    torch._foreach_mul_([rest], [first])
    torch.ops.aten._foreach_abs.out([x], out=[x])


def overlapping_lists(x: torch.Tensor) -> None:
    """Views that share memory are written one after the other."""
    torch._foreach_mul_([x[:3], x[1:]], 2.0)
    torch._foreach_add_([x[0], x[2]], [x[1], x[0]])
    torch._foreach_addcmul_([x[:, 0], x[0]], [x[:, 1], x[1]], [x[:, 2], x[2]], [2.0, 3.0])
    torch._foreach_mul_([x[0], x[1]], [x[0], x[1]])


def diagonals(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    cube, long = torch.zeros(3, 3, 3).fill_diagonal_(2.0), x.repeat(3, 1).fill_diagonal_(5.0, wrap=True)
    return x.clone().fill_diagonal_(7.0), cube, long


def outs(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What is told its dtype by out= alone, and grows to its size."""
    ones, full, line, grown = torch.empty(2), torch.empty(2, dtype=torch.int64), torch.empty(0), torch.empty(0)
    torch.ones(2, out=ones)
    torch.full((2,), 3.0, out=full)
    torch.linspace(x[0, 0, 0], 2, 3, out=line)
    torch.split_with_sizes_copy(x, [1, 3], 1, out=[grown, x[:, 1:]])
    return ones, full, line[1:] + 1, grown, x.clone().add_(2).bernoulli_(1.0), (x.abs() + 1).polygamma_(1)


def trained(x: torch.Tensor) -> list[torch.Tensor]:
    """Running statistics that a schema does not call written."""
    mean, variance, *saved = torch.zeros(4), torch.ones(4), torch.empty(0), torch.empty(0), torch.empty(0)
    torch.native_batch_norm(x, None, None, mean, variance, True, 0.1, 1e-5, out=saved)
    return [mean, variance, *saved]


def turned(x: torch.Tensor) -> torch.Tensor:
    """Writes to a tensor whose sizes have changed in place."""
    x = x * 1
    x.transpose_(0, 2).add_(1)
    x[0] = 5
    x.unsqueeze_(0)
    x.mul_(2)
    return x.squeeze_()


def turned_with_gradient(x: torch.Tensor) -> torch.Tensor:
    """The same below autograd."""
    with torch.enable_grad():
        x = x.requires_grad_()
        return torch.autograd.grad(turned(x).square().sum(), x)[0]


CASES = [
    Case("turned", turned, _x),
    Case("turned with a gradient", turned_with_gradient, _x, dynamic=False),
    Case("lists", written(lists), _x),
    Case("overlapping lists", written(overlapping_lists), _x, dynamic=False),
    Case("diagonals", diagonals, lambda: [torch.randn(4, 3)]),
    Case("outs", outs, _x, fixed=(1,)),
    Case("statistics", trained, _x, fixed=(1,)),
    Case("slices", written(slices), _x),
    Case("numbers", written(numbers), _x),
    Case("views", written(views), _x, fixed=(0, 1, 2)),
    Case("parts", written(parts), _x, dynamic=False),
    Case("chunks", written(chunks), _x),
    Case("masks", written(masks), _with_mask),
    Case("a mask and as many", written(chosen), _with_mask),
    Case("places", written(places), _with_places, fixed=(0,)),
    Case("a place", written(place), _with_place),
    Case("several views", written(several), _x),
]

test_static, test_dynamic = both_ways(*CASES)


LEAN = [
    Case("nothing is written twice", written(lambda x: x[0].add_(1)), _x),
    Case("x[i] += y", lambda x: _added(x.clone()), _x, ops="Gather Add Where"),
    Case("x[mask] = 0", lambda x: _cleared(x.clone()), _x, ops="Greater Where"),
    Case("x[:, :2] = y", lambda x: _fronted(x.clone()), _x, ops="Slice Neg Slice Concat"),
]


def _added(x: torch.Tensor) -> torch.Tensor:
    x[1] += 1
    return x


def _cleared(x: torch.Tensor) -> torch.Tensor:
    x[x > 0] = 0
    return x


def _fronted(x: torch.Tensor) -> torch.Tensor:
    x[:, :2] = -x[:, :2]
    return x


@cases(*LEAN)
def test_no_node_too_many(case: Case) -> None:
    check(case)


class _Cache(torch.nn.Module):
    """A key-value cache of a fixed length, written at a place that the caller says."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("keys", torch.zeros(1, 2, 8, 3))

    def forward(self, key: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        places = start + torch.arange(key.shape[2])
        self.keys[:, :, places] = key
        return self.keys[:, :, : key.shape[2]].sum(-1)


def test_a_cache_that_is_written_in_place() -> None:
    program = export(_Cache(), (torch.randn(1, 2, 3, 3), torch.tensor(4)), dynamic_shapes={"key": {2: "length"}})
    assert ops(program) == "Shape Squeeze Range Add Unsqueeze Expand ScatterElements Slice ReduceSum"


class _Positions(torch.nn.Module):
    """Symbolic places in a tensor of the model's own."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(16, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.table[x.shape[0] - 1] + self.table[: x.shape[0]] + self.table[-x.shape[0] :]


def test_places_in_a_parameter() -> None:
    module = _Positions()
    check(Case("positions", module.forward, lambda: [torch.randn(4, 3)], fixed=(1,)), dynamic=True)


class _Expanded(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x.unfold(0, 2, 1)[0].zero_()
        return x


def test_a_write_that_cannot_be_followed() -> None:
    with pytest.raises(CaptureError, match="a write to this view cannot be followed"):
        export(_Expanded(), (torch.randn(4),), capture="record")


class _Strided(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.as_strided((2, 2), (1, 2))


def test_memory_that_is_not_in_order() -> None:
    with pytest.raises(CaptureError, match="as_strided: the memory that it looks at must be contiguous"):
        export(_Strided(), (torch.randn(4, 5).t(),), capture="record")


class _Masked(torch.nn.Module):
    """A convolution of PixelCNN: its weight is masked where it stands."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.weight.data *= torch.ones(3, 3).tril()
        return x @ self.weight


def test_data_of_a_parameter() -> None:
    model = _Masked()
    program = export(model, torch.randn(2, 3))
    assert model.weight.all(), "the export wrote to the model"
    program.validate().check()
    assert program.report.mutated == ["weight"]


def data_of_another(x: torch.Tensor) -> torch.Tensor:
    copy = x * 2
    copy.data = x + 5
    return copy * copy.data


def data_of_its_own(x: torch.Tensor) -> torch.Tensor:
    copy = x * 2
    copy.data = copy.data[:, :2]
    copy.data.mul_(3)
    copy += 1
    return copy


def shape_of_its_own(x: torch.Tensor) -> torch.Tensor:
    copy = x * 2
    return copy.t_().add_(1)


@pytest.mark.parametrize("function", [data_of_another, data_of_its_own, shape_of_its_own])
def test_tensors_that_become_others(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    check(Case(function.__name__, function, lambda: [torch.randn(4, 3)]))


def test_data_of_another_shape() -> None:
    class Cut(_Masked):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.weight.data = self.weight.data[:, :2]
            return x @ self.weight

    with pytest.raises(CaptureError, match=r"changes the shape of a tensor of the model's state, \[3, 3\]"):
        export(Cut(), torch.randn(2, 3), capture="record")


class _Scripted(torch.nn.Module):
    """Code that TorchScript compiles: what it has computed is kept by name, as LeViT keeps its attention biases."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = torch.jit.Attribute({}, dict[str, torch.Tensor])
        self.weight = torch.nn.Parameter(torch.randn(3))

    def weights(self, name: str) -> torch.Tensor:
        if name not in self.kept:
            self.kept[name] = self.weight * 2
        return self.kept[name]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weights("a") + self.weights("b") / self.weights("a")


def test_a_dict_that_a_script_fills() -> None:
    scripted = torch.jit.script(_Scripted().eval())
    program = export(scripted, torch.randn(2, 3), dynamic_shapes={"x": {0: "batch"}})
    assert not scripted.kept, "what a recording computes is not left in the model"
    program.validate().check()
