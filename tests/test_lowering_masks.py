"""Elements chosen by a mask."""

from __future__ import annotations

import torch

from tests.lowering import Case, both_ways

aten = torch.ops.aten


def _x() -> list[torch.Tensor]:
    return [torch.randn(2, 3, 4), torch.rand(2, 3, 4) > 0.5]


def _row() -> list[torch.Tensor]:
    return [torch.randn(2, 3, 4), torch.rand(3, 1) > 0.5]


def _source() -> list[torch.Tensor]:
    return [*_x(), torch.arange(400.0)]


def _scalar() -> list[torch.Tensor]:
    return [torch.tensor(2.0), torch.tensor(True)]


def _last_chosen(x: torch.Tensor, m: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What was put behind the rest, and the rest, by the length of what a mask chose."""
    chosen = x[m]
    whole = torch.cat([x.flatten(), chosen])
    return whole[-len(chosen) :] * chosen, whole[: -len(chosen)] + x.flatten()


CASES = [
    Case("masked_fill", lambda x, m: x.masked_fill(m, -1.0), _x, ops="Where"),
    Case("masked_fill broadcasts", lambda x, m: (x.masked_fill(m, float("-inf")), x[0, :1].masked_fill(m, 1)), _row),
    Case("masked_fill by a tensor", lambda x, m: x.masked_fill(m, torch.tensor(2)), _x, ops="Where"),
    Case("masked_fill of truths", lambda x, m: ((x > 0).masked_fill(m, True), (x > 0).masked_fill(m, False)), _x,
         ops="Greater Or Not And"),
    Case("masked_select", lambda x, m: x.masked_select(m), _x, ops="Reshape Reshape Compress"),
    Case("masked_select broadcasts", lambda x, m: x.masked_select(m), _row),
    Case("masked_scatter", lambda x, m, y: x.masked_scatter(m, y), _source, fixed=(0, 1, 2)),
    Case("masked_scatter broadcasts", lambda x, m: x.masked_scatter(m, x * 2), _row),
    Case("masked_scatter dynamic", lambda x, m: x.masked_scatter(m, x + 1), _x),
    Case("nonzero", lambda x, m: (m.nonzero(), torch.argwhere(x)), _x),
    Case("nonzero of a scalar", lambda x, m: (x.nonzero(), m.nonzero(), (x * 0).nonzero()), _scalar),
    Case("nonzero by axes", lambda x, m: (m.nonzero(as_tuple=True), torch.where(m[0, 0])), _x),
    Case("where alone", lambda x, m: aten.where.default(m), _x, ops="NonZero Gather Gather Gather"),
    Case("nonzero by axes of a scalar", lambda x, m: x.nonzero(as_tuple=True), _scalar),
    Case("nonzero_static", lambda x, m: (torch.nonzero_static(m, size=3), torch.nonzero_static(m, size=30, fill_value=7)),
         _x),
    Case("what is chosen and what is left", lambda x, m: torch.cat([x[m], x[~m] * 2]) + x.flatten(), _x),
    Case("what is left, before others", lambda x, m: (
        torch.cat([x[~m], x[x > 0], x[m], x[~(x > 0)]]) + torch.cat([x, x]).flatten()), _x),
    Case("what is left, row by row", lambda x, m: (
        torch.stack([torch.cat([row[k], row[~k]]) for row, k in zip(x[:, 0], m[:, 0], strict=True)]) + x[:, 0]), _x,
         fixed=(0,)),
    Case("as many as a mask chose, from the end", _last_chosen, _x),
    Case("nonzero of a constant", lambda x, m: x[:, torch.tensor([1, 0, 1]).nonzero()[:, 0]], _x, fixed=(1,)),
    *(
        Case(f"dtype {kind}", lambda x: (x.nonzero(), x.masked_fill(x > 0, 1), x.masked_select(x > 0)),
             lambda kind=kind: [torch.randint(0, 2, (3, 4)).to(kind)])
        for kind in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float64)
    ),
]  # fmt: skip

test_static, test_dynamic = both_ways(*CASES)
