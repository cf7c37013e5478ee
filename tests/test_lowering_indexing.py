"""`x[i, j]` and `x[i, j] = y` by tensors, and what picks and puts along one axis."""

from __future__ import annotations

import torch

from tests.lowering import Case, both_ways, cases, check, ops

aten = torch.ops.aten


def _places(*shape: int, low: int = -3, high: int = 3) -> torch.Tensor:
    return torch.randint(low, high, shape)


def _x() -> torch.Tensor:
    return torch.randn(3, 4, 5, 6)


def _one() -> list[torch.Tensor]:
    return [_x(), _places(2, 2)]


def _two() -> list[torch.Tensor]:
    return [_x(), _places(2, 2), _places(1, 2)]


def _three() -> list[torch.Tensor]:
    return [_x(), _places(4), _places(4), _places(4)]


def _two_each() -> list[torch.Tensor]:
    """A mask of which the first column and the first row choose two each."""
    return [torch.randn(3, 4, 5), torch.tensor([[1, 0, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0]]).bool()]


def _mask() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5), torch.rand(3, 4) > 0.5]


def _bytes() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5), (torch.rand(3, 4) > 0.5).byte()]


def _rows() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5), torch.tensor([0, 2])]


def _doubled() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5), torch.tensor([0, 2, 0, 0]), torch.randn(3, 4, 5)]


def _flat() -> list[torch.Tensor]:
    return [torch.randn(3, 4), torch.tensor([[0, 7], [-1, 3]]), torch.randn(2, 2)]


def _scalar() -> list[torch.Tensor]:
    return [torch.randn(()), torch.tensor([0])]


GETTING = [
    Case("one", lambda x, i: x[i], _one, ops="Gather"),
    Case("one inside", lambda x, i: (x[:, i], x[..., i]), _one, ops="Gather Gather"),
    Case("one and none", lambda x, i: x[None, :, i], _one, ops="Unsqueeze Gather"),
    Case("two", lambda x, i, j: x[i, j], _two, fixed=(0,)),
    Case("two inside", lambda x, i, j: (x[:, i, j], x[:, :, i, j]), _two, fixed=(0,)),
    Case("two apart", lambda x, i, j: (x[i, :, j], x[:, i, :, j]), _two, fixed=(0,)),
    Case("two and a slice", lambda x, i, j: (x[i, 1:, j], x[i, j, 1:], x[1:, i, j, -1]), _two, fixed=(0,)),
    Case("three", lambda x, i, j, k: (x[i, j, k], x[:, i, j, k], x[i, :, j, k]), _three),
    Case("constants", lambda x: x[[0, 2], [1, 3]], lambda: [_x()], ops="GatherND"),
    Case("constants inside", lambda x: x[:, [0, 2], [1, 3]], lambda: [_x()], ops="Reshape Gather"),
    Case("a grid", lambda x: x[torch.arange(3)[:, None], torch.arange(4)] + 1, lambda: [_x()], ops="Add"),
    Case("a grid in another order", lambda x: x[torch.arange(3), torch.arange(4)[:, None]], lambda: [_x()]),
    Case("half a grid", lambda x, i: x[torch.arange(3)[:, None], i[0], torch.arange(2)], _one, dynamic=False),
    Case("a grid with columns", lambda x, i: x[torch.arange(3)[:, None], i[:1]], _one, fixed=(0,)),
    Case("int32", lambda x, i: aten.index.Tensor(x, [i.int()]), _one, ops="Cast Gather"),
    Case("rows", lambda x, i: x[torch.arange(x.shape[0]), i[0, 0]], _one),
    Case("a mask", lambda x, m: x[m], _mask, ops="Reshape Reshape Compress"),
    Case("a mask of all", lambda x, m: x[x > 0], _mask, ops="Greater Reshape Compress"),
    Case("a mask of one dim", lambda x, m: (x[m[:, 0]], x[:, m[0]]), _mask, ops="Gather Compress Gather Compress"),
    Case("a mask behind", lambda x, m: x.permute(2, 0, 1)[:, m], _mask),
    Case("a mask and a number", lambda x, m: (x[m, 0], x[m[:, 0], 1], x[m[:, 0], :, 1]), _mask),
    Case("a mask and a tensor", lambda x, m: x[m[:, 0], torch.tensor([1])], _mask),
    Case("a mask and tensors", lambda x, m: (x[m[:, 0], torch.tensor([1, 0]), torch.tensor([2, 1])], x[m[:, 0], m[0]]),
         _two_each, dynamic=False),
    Case("a mask of bytes", lambda x, m: x[m], _bytes),
    Case("a truth", lambda x, m: (x[m[0, 0]], x[:, m[0, 0]]), _mask),
    Case("unsafe_index", lambda x, i: aten._unsafe_index(x, [None, i]), _one, ops="Gather"),
    Case("nothing chosen", lambda x, m: x[m & ~m], _mask),
    Case("nothing asked", lambda x, i: x[torch.zeros(0, dtype=torch.int64)], _one),
]  # fmt: skip

PUTTING = [
    Case("one", lambda x, i: x.index_put((i,), torch.tensor(2.0)), _rows, fixed=(0,)),
    Case("one inside", lambda x, i: aten.index_put(x, [None, i], torch.tensor(2.0)), _rows),
    Case("two", lambda x, i: x.index_put((i, i), torch.ones(5)), _rows, fixed=(2,)),
    Case("two of both shapes", lambda x, i: x.index_put((i[:, None], i), torch.tensor(1.0)), _rows),
    Case("two apart", lambda x, i: aten.index_put(x, [i, None, i], torch.tensor(1.0)), _rows),
    Case("two inside", lambda x, i: aten.index_put(x, [None, i, i], torch.arange(3.0)[:, None]), _rows, fixed=(0,)),
    Case("added", lambda x, i: x.index_put((i,), torch.tensor(2.0), True), lambda: _doubled()[:2], fixed=(0,)),
    Case("added inside", lambda x, i: aten.index_put(x, [None, i % 4], torch.ones(5), True), lambda: _doubled()[:2],
         fixed=(2,)),
    Case("added at two", lambda x, i: x.index_put((i, i - 1), torch.tensor(2.0), True), lambda: _doubled()[:2],
         fixed=(0,)),
    Case("added apart", lambda x, i: aten.index_put(x, [i, None, i - 1], torch.tensor(2.0), True),
         lambda: _doubled()[:2], fixed=(0,)),
    Case("impl", lambda x, i: torch._index_put_impl_(x.clone(), [i], torch.tensor(2.0), True), _rows, fixed=(0,)),
    Case("unsafe", lambda x, i: aten._unsafe_index_put(x, [i], torch.tensor(2.0)), _rows, fixed=(0,)),
    Case("a mask", lambda x, m: x.index_put((m,), torch.tensor(0.0)), _mask, ops="Unsqueeze Where"),
    Case("a mask of all", lambda x, m: x.index_put((x > 0,), torch.tensor(0.0)), _mask, ops="Greater Where"),
    Case("a mask and rows", lambda x, m: x.index_put((m,), torch.arange(5.0)), _mask, fixed=(2,)),
    Case("a mask and one row", lambda x, m: x.index_put((m,), torch.arange(5.0)[None]), _mask, fixed=(2,)),
    Case("a mask inside", lambda x, m: aten.index_put(x, [None, m[0]], torch.ones(3, 1, 5)), _mask, fixed=(0, 2)),
    Case("a mask and as many", lambda x, m: x.index_put((m,), x[m] * 2), _mask),
    Case("a mask added", lambda x, m: x.index_put((m,), torch.tensor(1.0), True), _mask),
    Case("a mask and a tensor", lambda x, m: x.index_put((m[:, 0], torch.tensor([1])), torch.tensor(1.0)), _mask),
]  # fmt: skip

ONE_AXIS = [
    Case("index_select", lambda x, i: (x.index_select(1, i), x.index_select(-1, i[0])), _rows, ops="Gather Gather Reshape Gather"),
    Case("index_select of a scalar", lambda x, i: x.index_select(0, i) + 1, _scalar, ops="Add"),
    Case("index_copy", lambda x, i: x.index_copy(1, i, x[:, :2] * 2), _rows, fixed=(0, 1),
         ops="Slice Mul Unsqueeze Expand ScatterElements"),
    Case("index_copy of rows", lambda x, i: x.index_copy(0, i, x[:2] * 2), _rows, fixed=(0,)),
    Case("index_copy of a scalar", lambda x, i: x.index_copy(0, i, torch.tensor(3.0)), _scalar),
    Case("index_add", lambda x, i, y: x.index_add(1, i, y), _doubled, fixed=(0, 1, 2)),
    Case("index_add times", lambda x, i: x.index_add(1, i, x[:, :2], alpha=2), _rows, fixed=(0, 1)),
    Case("index_add of rows", lambda x, i, y: x[0].index_add(0, i, y[0]), _doubled, fixed=(2,)),
    Case("index_fill", lambda x, i: (x.index_fill(1, i, 3), x.index_fill(0, i, torch.tensor(2.0))), _rows, fixed=(0,)),
    Case("index_fill of a scalar", lambda x, i: x.index_fill(0, i, 3), _scalar),
    Case("take", lambda x, i, y: x.take(i), _flat, ops="Reshape Gather", fixed=(0, 1)),
    Case("put", lambda x, i, y: x.put(i, y), _flat, fixed=(0, 1)),
    Case("put and add", lambda x, i, y: x.put(i % 2, y, accumulate=True), _flat, fixed=(0, 1)),
    *(
        Case(f"dtype {kind}", lambda x, i: (x[i], x.index_put((i,), x[0]), x.index_fill(1, i, 1), x.index_add(1, i, x[:, :2])),
             lambda kind=kind: [torch.randint(0, 2, (3, 4)).to(kind), torch.tensor([0, 2])], fixed=(0, 1))
        for kind in (torch.bool, torch.uint8, torch.int32, torch.int64, torch.float16, torch.float64)
    ),
]  # fmt: skip
CASES = [*GETTING, *PUTTING, *ONE_AXIS]

test_static, test_dynamic = both_ways(*CASES)


LEAN = [
    Case("rows", lambda x, i: x[torch.arange(x.shape[0]), i], lambda: [torch.randn(3, 4, 5), torch.tensor([0, 3, -1])],
         ops="Unsqueeze GatherND"),
    Case("a grid", lambda x: x[torch.arange(x.shape[0])[:, None, None, None], torch.arange(x.shape[1])[None, None]],
         lambda: [torch.randn(3, 4, 5)], ops="Reshape", fixed=(2,)),
    Case("rows of a grid", lambda x, i: x[torch.arange(x.shape[0])[:, None], i],
         lambda: [torch.randn(3, 4, 5), torch.tensor([[0, 3], [1, -1], [2, 2]])], ops="Unsqueeze GatherND", fixed=(0, 1)),
    Case("a mask", lambda x, m: x[m], _mask, ops="Flatten Reshape Compress"),
    Case("a mask put", lambda x, m: x.index_put((m,), torch.tensor(0.0)), _mask, ops="Unsqueeze Where"),
    Case("one", lambda x, i: x[:, i], _one, ops="Gather"),
]  # fmt: skip


@cases(*LEAN)
def test_no_shape_chains(case: Case) -> None:
    program = check(case, dynamic=True)
    assert program is not None
    assert ops(program) == case.ops
