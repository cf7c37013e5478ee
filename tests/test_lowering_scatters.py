"""gather, scatter and their reductions."""

from __future__ import annotations

import onnxruntime
import pytest
import torch

from exporter import export
from exporter.errors import OpsetError
from tests.lowering import Case, both_ways

aten = torch.ops.aten


def _x() -> list[torch.Tensor]:
    return [torch.randn(3, 4), torch.randint(0, 3, (2, 2)), torch.randn(3, 4)]


def _scalars() -> list[torch.Tensor]:
    return [torch.randn(()), torch.tensor(0), torch.randn(())]


def _rows() -> list[torch.Tensor]:
    return [torch.randn(3, 4), torch.tensor([0, 2, 0, 0]), torch.randn(3, 4)]


def _along() -> list[torch.Tensor]:
    return [torch.randn(3, 4), torch.tensor([[0], [3], [-1]])]


def _cache() -> list[torch.Tensor]:
    return [torch.randn(2, 5, 3), torch.tensor([[[1]], [[4]]]).expand(2, 1, 3).contiguous(), torch.randn(2, 1, 3)]


REDUCES = ("sum", "prod", "mean", "amax", "amin")
CASES = [
    Case("gather", lambda x, i, y: x.gather(1, i), _x, ops="GatherElements", dynamic=False),
    Case("gather of rows", lambda x, i: x.gather(-1, i), lambda: _along()[:1] + [torch.tensor([[0], [3], [2]])],
         ops="GatherElements"),
    Case("gather of scalars", lambda x, i, y: x.gather(0, i) + 1, _scalars, ops="Add"),
    Case("gather by a scalar", lambda x, i: x[0].gather(0, i), lambda: [torch.randn(3, 4), torch.tensor(1)]),
    Case("take_along_dim", lambda x, i: torch.take_along_dim(x, i, 1), _along, ops="GatherElements"),
    Case("take_along_dim broadcasts", lambda x, i: torch.take_along_dim(x, i[:1], 1), _along,
         ops="Slice Expand GatherElements", fixed=(0,)),
    Case("take_along_dim flat", lambda x, i: torch.take_along_dim(x, i % 3), _along),
    Case("scatter", lambda x, i, y: x.scatter(1, i, y), _x, ops="Slice ScatterElements", dynamic=False),
    Case("scatter a number", lambda x, i, y: x.scatter(1, i, 2.0), _x, ops="ScatterElements", dynamic=False),
    Case("scatter into a cache", lambda x, i, y: x.scatter(1, i, y), _cache, ops="ScatterElements", fixed=(0, 1, 2)),
    Case("scatter of scalars", lambda x, i, y: (x.scatter(0, i, y), x[None].scatter(0, i, y)), _scalars),
    Case("scatter added", lambda x, i, y: x.scatter(1, i, y, reduce="add"), _x, dynamic=False),
    Case("scatter multiplied", lambda x, i, y: x.scatter(1, i, y, reduce="multiply"), _x, dynamic=False),
    Case("scatter a number by", lambda x, i, y: x.scatter(1, i, 2.0, reduce="multiply"), _x, dynamic=False),
    Case("scatter_add", lambda x, i, y: x.scatter_add(1, i, y), _x, dynamic=False),
    Case("scatter_add dynamic", lambda x, i: x.scatter_add(1, i % 4, x[:, :1]), _along, fixed=(1,)),
    *(
        Case(f"scatter_reduce {reduce} {included}",
             lambda x, i, y, reduce=reduce, included=included: x.scatter_reduce(1, i, y, reduce, include_self=included),
             _x, dynamic=False)
        for reduce in REDUCES for included in (True, False)
    ),
    *(
        Case(f"index_reduce {reduce} {included}",
             lambda x, i, y, reduce=reduce, included=included: x.index_reduce(1, i, y, reduce, include_self=included),
             _rows, dynamic=False)
        for reduce in REDUCES[1:] for included in (True, False)
    ),
    *(
        Case(f"dtype {kind}", lambda x, i, y: [x.gather(1, i), x.scatter(1, i, y), x.scatter_add(1, i, y)],
             lambda kind=kind: [torch.randint(0, 3, (3, 4)).to(kind), _x()[1], torch.randint(0, 2, (3, 4)).to(kind)],
             dynamic=False)
        for kind in (torch.bool, torch.uint8, torch.int32, torch.int64, torch.float16, torch.float64)
    ),
    *(
        Case(f"integers {reduce}", lambda x, i, y, reduce=reduce: x.scatter_reduce(1, i, y, reduce, include_self=False),
             lambda: [torch.randint(-9, 9, (3, 4)), torch.tensor([[0, 0], [1, 1]]), torch.randint(-9, 9, (3, 4))],
             dynamic=False)
        for reduce in REDUCES
    ),
    Case("truths", lambda x, i, y: (x > 0).scatter_reduce(1, i, y > 0, "amax"), _x, dynamic=False),
]  # fmt: skip

test_static, test_dynamic = both_ways(*CASES)


class _Largest(torch.nn.Module):
    def forward(self, x: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
        return x.scatter_reduce(0, i, x, "amax")


def test_largest_needs_opset_18() -> None:
    with pytest.raises(OpsetError, match="scatter by max: needs opset 18"):
        export(_Largest(), (torch.randn(3), torch.tensor([0, 0, 1])), opset_version=17)


class _Count(torch.nn.Module):
    def forward(self, table: torch.Tensor, rows: torch.Tensor, places: torch.Tensor) -> list[torch.Tensor]:
        return [table.index_add(0, places, rows), table.index_put((places,), rows, accumulate=True)]


def test_additions_to_one_place_are_not_lost() -> None:
    """Onnxruntime's ScatterND reduces on several threads at once; no rule may reduce by it."""
    table, rows, places = torch.zeros(3, 4), torch.ones(100_000, 4), torch.arange(100_000) % 3
    program = export(_Count(), (table, rows, places))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 4
    session = onnxruntime.InferenceSession(program.to_proto().SerializeToString(), options)
    for _ in range(5):
        for result in session.run(None, {"table": table.numpy(), "rows": rows.numpy(), "places": places.numpy()}):
            assert result.sum() == 400_000
    assert "ScatterND" not in {node.op_type for node in program.model.graph}
