"""Models with sparse tensors, which a graph holds as dense ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from exporter import export
from exporter.errors import CaptureError, InputError

_ADJACENCY = torch.tensor([[0, 1.0, 0], [0, 0, 2.0], [3.0, 0, 0]])


class _Graph(nn.Module):
    """A layer over a graph that is a buffer."""

    def __init__(self, sparse: Tensor, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.register_buffer("adjacency", sparse)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.adjacency, x)


def _gathered(adjacency: Tensor, x: Tensor) -> Tensor:
    (rows, columns), values = adjacency.coalesce().indices(), adjacency.coalesce().values()
    return torch.zeros_like(x).index_add(0, rows, values[:, None] * x[columns])


COORDINATES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mm": torch.sparse.mm,
    "matmul": lambda a, x: a @ x,
    "addmm": lambda a, x: torch.sparse.addmm(x, a, x, beta=0.5, alpha=2.0),
    "sum": lambda a, x: x * torch.sparse.sum(a, 1).to_dense()[:, None],
    "to_dense": lambda a, x: a.to_dense() @ x,
    "parts": _gathered,
    "to_sparse": lambda a, x: torch.sparse.mm(x.relu().to_sparse(), x.t()).relu(),
}
ROWS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "matmul": lambda a, x: a @ x,
    "addmm": lambda a, x: torch.addmm(x, a, x),
    "transpose": lambda a, x: a.t() @ x,
    "parts": lambda a, x: x[a.col_indices()] * a.values()[:, None],
}


def _check(model: nn.Module, *inputs: Any, dynamic_shapes: Any) -> None:
    for shapes in (None, dynamic_shapes):
        program = export(model, inputs, dynamic_shapes=shapes)
        assert program.validate().passed


@pytest.mark.parametrize("name", COORDINATES)
def test_by_coordinates(name: str) -> None:
    model = _Graph(_ADJACENCY.to_sparse(), COORDINATES[name])
    _check(model, torch.randn(3, 4), dynamic_shapes={"x": {1: "features"}})


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_by_rows(name: str) -> None:
    model = _Graph(_ADJACENCY.to_sparse_csr(), ROWS[name])
    _check(model, torch.randn(3, 4), dynamic_shapes={"x": {1: "features"}})


def test_a_graph_that_is_an_input() -> None:
    """A graph convolution over edges; the same edge twice counts twice."""

    class Convolution(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 5)

        def forward(self, x: Tensor, edges: Tensor, weights: Tensor) -> Tensor:
            adjacency = torch.sparse_coo_tensor(edges, weights, (x.shape[0], x.shape[0]))
            degrees = torch.sparse.sum(adjacency, dim=1).to_dense().clamp(min=1)
            return torch.sparse.mm(adjacency, self.linear(x) * degrees.rsqrt()[:, None])

    inputs = torch.randn(3, 4), torch.tensor([[0, 1, 2, 0, 0], [1, 2, 0, 1, 1]]), torch.rand(5)
    shapes = {"x": {0: "nodes"}, "edges": {1: "edges"}, "weights": {0: "edges"}}
    _check(Convolution(), *inputs, dynamic_shapes=shapes)


@pytest.mark.parametrize(
    ("kind", "x"),
    [
        ("sparse_coo", torch.eye(3).to_sparse()),
        ("quantized", torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8)),
        ("nested", torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])),
    ],
)
def test_inputs_are_dense(kind: str, x: Tensor) -> None:
    with pytest.raises(InputError, match=f"example_inputs: x must be a dense tensor, .* got a {kind} one"):
        export(lambda x: x * 2, (x,))


def test_parts_that_depend_on_inputs() -> None:
    with pytest.raises(CaptureError, match="a part of a sparse tensor that depends on the inputs"):
        export(lambda x: x.to_sparse().indices(), (torch.eye(3),))
