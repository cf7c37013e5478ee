"""Slices, selections, and tensors with such a part replaced."""

from __future__ import annotations

import torch

from tests.lowering import Case, both_ways, cases, check, ops

aten = torch.ops.aten


def _x() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5)]


def _pair() -> list[torch.Tensor]:
    return [torch.randn(7, 5), torch.randn(2, 5)]


def _at() -> list[torch.Tensor]:
    return [torch.randn(4, 5), torch.tensor(1)]


CASES = [
    Case("slice", lambda x: x[:, 1:3], _x, ops="Slice"),
    Case("slice of all", lambda x: x[:, :, 0:5] + 1, _x, ops="Add", fixed=(2,)),
    Case("slice to far", lambda x: x[:, 1:100], _x, ops="Slice"),
    Case("slice from behind", lambda x: (x[:, -2:], x[..., :-1], x[:, -100:2]), _x, ops="Slice Slice Slice"),
    Case("slice in steps", lambda x: (x[..., ::2], x[..., 1:-1:3]), _x, ops="Slice Slice"),
    Case("slices of several axes", lambda x: x[1:, :, 1:3], _x, ops="Slice"),
    Case("slice of nothing", lambda x: x[:, 3:1], _x, ops="Slice"),
    Case("slice_copy", lambda x: torch.slice_copy(x, 1, 1, 3), _x, ops="Slice"),
    Case("slice by a size", lambda x, y: (x[: y.shape[0]], x[y.shape[0] :], x[-y.shape[0] :]), _pair),
    Case("slice by a step of a size", lambda x, y: x[:: y.shape[0]], _pair),
    Case("slice by a tensor", lambda x, i: (x[:i], x[i:], x[i : i + 2]), _at),
    Case("select", lambda x: (x[0], x[:, -1], x[..., 2]), _x, ops="Gather Gather Gather"),
    Case("select from one", lambda x: x[:1][0] + 1, _x, ops="Slice Squeeze Add", fixed=(0,)),
    Case("select_copy", lambda x: torch.select_copy(x, 1, 2), _x, ops="Gather"),
    Case("select by a size", lambda x, y: (x[y.shape[0]], x[y.shape[0] - 1, 1:]), _pair),
    Case("select by a tensor", lambda x, i: (x[i], x[:, i], x[..., i]), _at),
    Case("narrow", lambda x: (x.narrow(1, 1, 2), x.narrow(-1, -2, 2)), _x, ops="Slice Slice"),
    Case("narrow_copy", lambda x: torch.narrow_copy(x, 1, 0, 2), _x, ops="Slice"),
    Case("narrow at a tensor", lambda x, i: torch.narrow(x, 0, i, 2), _at, ops="Add Gather"),
    Case("narrow to a size", lambda x, y: x.narrow(0, 1, y.shape[0]), _pair),
    Case("slice_scatter", lambda x: torch.slice_scatter(x, x[:, 1:3] * 2, 1, 1, 3), _x),
    Case("slice_scatter at the front", lambda x: torch.slice_scatter(x, x[:, :2] * 2, 1, 0, 2), _x,
         ops="Slice Mul Slice Concat"),
    Case("slice_scatter at the back", lambda x: torch.slice_scatter(x, x[:, -2:] * 2, 1, -2), _x,
         ops="Slice Mul Slice Concat"),
    Case("slice_scatter mixed", lambda x: torch.slice_scatter(x, x[:, 1:-1] * 2, 1, 1, -1), _x),
    Case("slice_scatter of all", lambda x: torch.slice_scatter(x, x * 2, 1), _x, ops="Mul"),
    Case("slice_scatter of nothing", lambda x: torch.slice_scatter(x, x[:, :0], 1, 3, 1), _x, fixed=(1,)),
    Case("slice_scatter in steps", lambda x: torch.slice_scatter(x, x[:, ::2] * 2, 1, 0, None, 2), _x),
    Case("slice_scatter one in steps", lambda x: torch.slice_scatter(x, x[:, :1] * 2, 1, 3, 4, 2), _x, fixed=(1,)),
    Case("slice_scatter of nothing in steps", lambda x: torch.slice_scatter(x, x[:, 3:1:2], 1, 3, 1, 2), _x, fixed=(1,)),
    Case("slice_scatter by a size", lambda x, y: torch.slice_scatter(x, y, 0, 1, y.shape[0] + 1), _pair),
    Case("select_scatter", lambda x: torch.select_scatter(x, x[:, 0] * 2, 1, 2), _x, ops="Gather Mul Unsqueeze Where"),
    Case("select_scatter of one", lambda x: torch.select_scatter(x[:1], x[0] * 2, 0, 0), _x,
         ops="Gather Mul Unsqueeze", fixed=(0,)),
    Case("select_scatter at the ends", lambda x: (torch.select_scatter(x, x[:, 2], 1, 0),
                                                  torch.select_scatter(x, x[:, 2], 1, -1)), _x),
    Case("select_scatter of rows", lambda x: torch.select_scatter(x, x[0] * 2, 0, -1), _x),
    Case("as_strided_scatter", lambda x: torch.as_strided_scatter(x, x[:2, 0, :2] * 2, (2, 2), (20, 3), 1), _x,
         dynamic=False),
    *(
        Case(f"dtype {kind}", lambda x: (torch.select_scatter(x, x[:, 0], 1, 2), torch.slice_scatter(x, x[:, 1:], 1, 1),
                                         torch.slice_scatter(x, x[:, ::2], 1, 0, None, 2)),
             lambda kind=kind: [torch.randint(0, 2, (3, 4)).to(kind)])
        for kind in (torch.bool, torch.uint8, torch.int16, torch.int64, torch.float16, torch.float64)
    ),
]  # fmt: skip

test_static, test_dynamic = both_ways(*CASES)


LEAN = [
    Case("slice", lambda x: x[:, 1:-1], _x, ops="Slice"),
    Case("slice to the end", lambda x: x[:, 1 : x.shape[1]], _x, ops="Slice"),
    Case("last", lambda x: x[:, x.shape[1] - 1], _x, ops="Gather"),
    Case("all", lambda x: x[: x.shape[0]] + 1, _x, ops="Add"),
    Case("slice_scatter", lambda x: torch.slice_scatter(x, x[:, :2] * 2, 1, 0, 2), _x, ops="Slice Mul Slice Concat"),
    Case("select_scatter", lambda x: torch.select_scatter(x, x[:, 0], 1, -1), _x, ops="Gather Unsqueeze Slice Concat"),
]


@cases(*LEAN)
def test_no_shape_chains(case: Case) -> None:
    program = check(case, dynamic=True)
    assert program is not None
    assert ops(program) == case.ops
