"""Tensors put together and taken apart."""

from __future__ import annotations

import pytest
import torch

from exporter import export
from exporter.errors import DataDependentError, DynamicShapeError
from tests.lowering import Case, both_ways, cases, check, ops

aten = torch.ops.aten


def _two() -> list[torch.Tensor]:
    return [torch.randn(2, 3), torch.randn(2, 3)]


def _three() -> list[torch.Tensor]:
    return [torch.randn(2, 3, 4), torch.randn(2, 3, 4), torch.randn(2, 3, 4)]


def _scalars() -> list[torch.Tensor]:
    return [torch.randn(()), torch.randn(())]


def _mixed() -> list[torch.Tensor]:
    return [torch.randn(2, 3), torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 3, dtype=torch.bool)]


def _x() -> list[torch.Tensor]:
    return [torch.randn(2, 6, 4)]


def _even() -> list[torch.Tensor]:
    return [torch.randn(4, 6, 14)]


def _cut() -> list[torch.Tensor]:
    return [torch.randn(2, 6, 4), torch.tensor([1, 4])]


def _with_empty(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.zeros(0), x, torch.zeros(0), y], 1)


CASES = [
    Case("cat", lambda x, y: torch.cat([x, y], -1), _two, ops="Concat"),
    Case("cat of one", lambda x, y: torch.cat([x]) + y, _two, ops="Add"),
    Case("cat beside empty vectors", _with_empty, _two, ops="Concat"),
    Case("cat promotes", lambda x, y, z: torch.cat([x, y, z]), _mixed, ops="Cast Cast Concat"),
    Case("concat", lambda x, y: (torch.concat([x, y]), torch.concatenate([x, y], 1)), _two, ops="Concat Concat"),
    Case("stack", lambda x, y, z: torch.stack([x, y, z]), _three, ops="Concat Reshape"),
    Case("stack inside", lambda x, y, z: torch.stack([x, y, z], 1), _three, ops="Concat Reshape"),
    Case("stack last", lambda x, y: torch.stack([x, y], -1), _two, ops="Unsqueeze Unsqueeze Concat"),
    Case("stack scalars", lambda x, y: torch.stack([x, y]), _scalars, ops="Unsqueeze Unsqueeze Concat"),
    Case("stack one", lambda x, y: torch.stack([x], 1), _two, ops="Unsqueeze"),
    Case("hstack", lambda x, y: (torch.hstack([x, y]), torch.hstack([x[0], y[1]])), _two),
    Case("vstack", lambda x, y: (torch.vstack([x, y]), torch.vstack([x[0], y[1]])), _two),
    Case("row_stack", lambda x, y: torch.row_stack([x, y]), _two, ops="Concat"),
    Case("dstack", lambda x, y: (torch.dstack([x, y]), torch.dstack([x[0], y[1]])), _two),
    Case("column_stack", lambda x, y: (torch.column_stack([x, y]), torch.column_stack([x[:, 0], y])), _two),
    Case("stacks of scalars", lambda x, y: (torch.hstack([x, y]), torch.column_stack([x, y])), _scalars),
    Case("split", lambda x: x.split(2, 1), _x, ops="Split", fixed=(1,)),
    Case("split unevenly", lambda x: x.split(4, 1), _x, ops="Split", fixed=(1,)),
    Case("split into one", lambda x: x.split(9, 1)[0] + 1, _x, ops="Add", fixed=(1,)),
    Case("unsafe_split", lambda x: torch.unsafe_split(x, 3, 1), _x, ops="Split", fixed=(1,)),
    Case("split_copy", lambda x: torch.split_copy(x, 3, 1), _x, ops="Split", fixed=(1,)),
    Case("split by sizes", lambda x: x.split([1, 2, 3], 1), _x, ops="Split", fixed=(1,)),
    Case("split.sizes", lambda x: aten.split.sizes(x, [1, 2, 3], 1), _x, ops="Split", fixed=(1,)),
    Case("split_with_sizes_copy", lambda x: torch.split_with_sizes_copy(x, [1, 5], 1), _x, ops="Split", fixed=(1,)),
    Case("unsafe_split_with_sizes", lambda x: torch.unsafe_split_with_sizes(x, [1, 5], 1), _x, ops="Split", fixed=(1,)),
    Case("split by symbolic sizes", lambda x: x.split([2, x.shape[1] - 2], 1), _x, ops="Split"),
    Case("chunk", lambda x: x.chunk(3, 1), _x, ops="Split"),
    Case("chunk into fewer", lambda x: x.chunk(4, 1), _x, ops="Split", fixed=(1,)),
    Case("chunk of nothing", lambda x: x[:, :0].chunk(2, 1), _x, fixed=(1,)),
    Case("unsafe_chunk", lambda x: torch.unsafe_chunk(x, 2, 1), _x, ops="Split"),
    Case("tensor_split", lambda x: x.tensor_split(4, 1), _x, ops="Split"),
    Case("tensor_split at places", lambda x: x.tensor_split([1, 4], 1), _x, ops="Split"),
    Case("tensor_split at odd places", lambda x: x.tensor_split([-2, 3, 9], 1), _x, fixed=(1,)),
    Case("tensor_split by a constant", lambda x: x.tensor_split(torch.tensor([1, 4]), 1), _x, ops="Split"),
    Case("tensor_split by a constant count", lambda x: x.tensor_split(torch.tensor(3), 1), _x, ops="Split"),
    Case("tensor_split by a tensor", lambda x, i: x.tensor_split(i, 1), _cut, dynamic=False),
    Case("hsplit", lambda x: (x.hsplit(2), x.hsplit([1, 3]), x[0, 0].hsplit(2)), _even),
    Case("vsplit", lambda x: (x.vsplit(2), x.vsplit([1])), _even),
    Case("dsplit", lambda x: (x.dsplit(2), x.dsplit([1])), _even),
    Case("unbind", lambda x: x.unbind(0), _x, ops="Gather Gather", fixed=(0,)),
    Case("unbind what is used", lambda x: x.unbind(1)[2], _x, ops="Gather"),
    Case("unbind of one", lambda x: x[:1].unbind(0)[0] + 1, _x, ops="Slice Squeeze Add", fixed=(0,)),
    Case("unbind_copy", lambda x: torch.unbind_copy(x), _x, ops="Gather Gather", fixed=(0,)),
    Case("iteration", lambda x: [row * 2 for row in x], _x, fixed=(0,)),
]

test_static, test_dynamic = both_ways(*CASES)


LEAN = [
    Case("chunk", lambda x: x.chunk(2, 1), _x, ops="Split"),
    Case("chunk at 17", lambda x: x.chunk(2, -1), _x, ops="Split", fixed=(2,), opset_version=17),
    Case("stack", lambda x, y, z: torch.stack([x, y, z], 1), _three, ops="Concat Reshape", fixed=(2,)),
    Case("first of a split", lambda x: x.split(2, 1)[0], _x, ops="Slice"),
    Case("halves", lambda x: x.split(x.shape[1] // 2, 1)[0], _x, ops="Shape Div Slice"),
]


@cases(*LEAN)
def test_no_shape_chains(case: Case) -> None:
    program = check(case, dynamic=True)
    assert program is not None
    assert ops(program) == case.ops


class _Rows(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return sum(x.unbind(0), torch.zeros(3))


class _Pieces(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat(x.split(2, 0), 1)


class _Cut(torch.nn.Module):
    def forward(self, x: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
        return x.tensor_split(count)[0]


@pytest.mark.parametrize("module", [_Rows(), _Pieces()])
def test_as_many_parts_as_a_dynamic_size_says(module: torch.nn.Module) -> None:
    with pytest.raises(DynamicShapeError, match="which fixes rows == 4"):
        export(module, (torch.randn(4, 3),), dynamic_shapes={"x": {0: "rows"}})
    export(module, (torch.randn(4, 3),), dynamic_shapes={"x": {0: "rows"}}, allow_fixed=True)


def test_as_many_parts_as_a_tensor_says() -> None:
    with pytest.raises(DataDependentError, match="a number of parts that a tensor holds"):
        export(_Cut(), (torch.randn(4, 3), torch.tensor(2)))
