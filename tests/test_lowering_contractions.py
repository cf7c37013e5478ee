"""Einsum and other sums of products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tests.lowering import Case, both_ways

aten = torch.ops.aten


def _r(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Callable[[], list[torch.Tensor]]:
    return lambda: [(torch.randn(shape) * 3).to(dtype) for shape in shapes]


def _einsum(equation: str, *shapes: tuple[int, ...], ops: str | None = None, **options: Any) -> Case:
    dtype = options.pop("dtype", torch.float32)
    name = f"{equation} {str(dtype)[6:]}"
    return Case(name, lambda *t: torch.einsum(equation, *t), _r(*shapes, dtype=dtype), ops=ops, **options)


class _Weighted(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(5, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bi,oi->bo", x, self.weight)


EINSUM = [
    _einsum("ij->ji", (2, 3), ops="Transpose"),
    _einsum("ij->i", (2, 3), ops="ReduceSum"),
    _einsum("ij->", (2, 3), ops="ReduceSum"),
    _einsum("ij", (2, 3)),
    _einsum("ji", (2, 3), ops="Transpose"),
    _einsum("ii->i", (3, 3), ops="Einsum"),
    _einsum("ii", (3, 3), ops="Einsum"),
    _einsum("...ii->...i", (2, 3, 3), ops="Einsum"),
    _einsum("ij,jk->ik", (2, 3), (3, 4), ops="MatMul"),
    _einsum("ij,kj->ik", (2, 3), (4, 3)),
    _einsum("ij,jk", (2, 3), (3, 4), ops="MatMul"),
    _einsum("ij,jk->ki", (2, 3), (3, 4), ops="MatMul Transpose"),
    _einsum("ij,jk->ik", (2, 1), (3, 4), ops="Einsum", dynamic=False),
    _einsum("bij,bjk->bik", (2, 3, 4), (2, 4, 5), ops="MatMul"),
    _einsum("bhid,bhjd->bhij", (2, 3, 4, 5), (2, 3, 6, 5), ops="Transpose MatMul"),
    _einsum("bhij,bhjd->bhid", (2, 3, 4, 6), (2, 3, 6, 5), ops="MatMul"),
    _einsum("bind,bjnd->bnij", (2, 4, 3, 5), (2, 6, 3, 5), ops="Einsum"),
    _einsum("bij,jk->bik", (2, 3, 4), (4, 5), ops="MatMul"),
    _einsum("bi,bi->b", (2, 3), (2, 3), ops="Einsum"),
    _einsum("bi,bi->bi", (2, 3), (2, 3), ops="Mul"),
    _einsum("i,j->ij", (2,), (3,), ops="Unsqueeze Mul"),
    Case("einsum of two dtypes", lambda x, y: torch.einsum("...n,d->...nd", x, y.double()), _r((2, 3), (4,))),
    _einsum("bi,i->bi", (2, 3), (3,), ops="Mul"),
    _einsum("bij,b->bij", (2, 3, 4), (2,), ops="Unsqueeze Mul"),
    _einsum("i,i->", (3,), (3,), ops="MatMul"),
    _einsum("ij,j->i", (2, 3), (3,), ops="MatMul"),
    _einsum("j,ij->i", (3,), (2, 3)),
    _einsum("ij,jk,kl->il", (2, 3), (3, 4), (4, 5), ops="Einsum"),
    _einsum("...i,...j->...ij", (2, 3), (4,), ops="Unsqueeze Mul"),
    _einsum("...i,...i->...", (2, 3), (1, 3)),
    _einsum("b...i,ji->b...j", (2, 5, 3), (4, 3), ops="Transpose MatMul"),
    _einsum("...ij,...jk", (2, 3, 4), (4, 5), ops="MatMul"),
    _einsum("ij...,ij...->...", (2, 3, 4), (2, 3, 1)),
    _einsum("aB,Bc->ca", (2, 3), (3, 4)),
    _einsum("iij,jk->ik", (2, 2, 3), (3, 4)),
    _einsum("ij,kl->", (2, 3), (4, 5)),
    _einsum("i,->i", (3,), ()),
    _einsum("ij,jk->ik", (2, 0), (0, 4), dynamic=False),
    _einsum(" i j , j k -> i k ", (2, 3), (3, 4)),
    _einsum("ij,jk->ik", (2, 3), (3, 4), dtype=torch.int64),
    _einsum("ij,jk->ik", (2, 3), (3, 4), dtype=torch.int8),
    _einsum("ij,ij->ij", (2, 3), (2, 3), dtype=torch.bool),
    _einsum("i,j->ji", (2,), (3,), dtype=torch.bool),
    _einsum("ij->i", (2, 3), dtype=torch.bool),
    _einsum("ij->j", (2, 3), dtype=torch.int32),
    _einsum("ij,jk->ik", (2, 3), (3, 4), dtype=torch.float64),
    _einsum("bi,bi->b", (2, 3), (2, 3), dtype=torch.float16),
    Case("sublist", lambda a, b: torch.einsum(a, [0, 1], b, [1, 2], [0, 2]), _r((2, 3), (3, 4)), ops="MatMul"),
    Case("with weight", _Weighted().requires_grad_(False), _r((2, 4)), dynamic=False),
]
OTHERS = [
    Case("tensordot 1", lambda a, b: torch.tensordot(a, b, 1), _r((2, 3, 4), (4, 5)), ops="MatMul"),
    Case("tensordot 2", lambda a, b: torch.tensordot(a, b, 2), _r((2, 3, 4), (3, 4, 5))),
    Case("tensordot 0", lambda a, b: torch.tensordot(a, b, 0), _r((2,), (3, 4))),
    Case("tensordot lists", lambda a, b: torch.tensordot(a, b, ([0, -1], [1, 0])), _r((2, 3, 4), (4, 2, 5))),
    Case("bilinear", torch.nn.functional.bilinear, _r((2, 3), (2, 4), (5, 3, 4), (5,)), ops="Einsum Add"),
    Case("bilinear ranks", torch.nn.functional.bilinear, _r((2, 6, 3), (2, 6, 4), (5, 3, 4))),
    Case("bilinear rank 1", torch.nn.functional.bilinear, _r((3,), (4,), (5, 3, 4))),
    Case("kron", torch.kron, _r((2, 3), (4, 5))),
    Case("kron ranks", torch.kron, _r((2,), (4, 5))),
    Case("kron other ranks", torch.kron, _r((2, 3, 2), (5,))),
    Case("kron scalar", torch.kron, _r((2, 3), ())),
    Case("kron types", torch.kron, lambda: [torch.randn(2, 3), torch.randint(5, (2, 2))]),
    Case("kron bool", torch.kron, _r((2, 3), (2, 2), dtype=torch.bool)),
]

test_static, test_dynamic = both_ways(*EINSUM, *OTHERS)
