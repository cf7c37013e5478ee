"""Complex tensors put into another shape or order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tests.lowering import Case, both_ways

aten = torch.ops.aten
Shape = tuple[int, ...]


def _z(*shapes: Shape) -> Callable[[], list[torch.Tensor]]:
    return lambda: [torch.randn(shape, dtype=torch.complex64) for shape in shapes]


def _one(name: str, function: Callable[..., Any], shape: Shape = (2, 3, 4), **options: Any) -> Case:
    return Case(name, function, _z(shape), **options)


def _assigned(z: torch.Tensor) -> torch.Tensor:
    z = z.clone()
    z[:, 1:] = z[:, :-1] * 2
    z[..., 0] = 1j
    return z


def _parts_assigned(z: torch.Tensor) -> torch.Tensor:
    x = torch.zeros(z.shape)
    x[1:] = z.real[1:]
    return torch.complex(x, z.imag)


SHAPES = [
    _one("view", lambda z: z.view(-1, z.shape[-1]), ops="Reshape"),
    _one("unsafe_view", lambda z: aten._unsafe_view(z, [z.shape[0], -1])),
    _one("reshape", lambda z: z.permute(2, 0, 1).reshape(z.shape[2], -1)),
    _one("flatten", lambda z: z.flatten(1), ops="Reshape"),
    _one("flatten all", lambda z: z.flatten()),
    _one("unflatten", lambda z: z.unflatten(-1, (2, -1)), dynamic=False),
    _one("expand", lambda z: z[:, None].expand(-1, 3, -1, -1)),
    _one("repeat", lambda z: z.repeat(2, 1, 1, 1)),
    _one("unsqueeze", lambda z: z.unsqueeze(-1), ops="Unsqueeze"),
    _one("squeeze", torch.squeeze, (2, 1, 3, 1), ops="Squeeze"),
    _one("squeeze dim", lambda z: z.squeeze(-1), (2, 1, 3, 1), ops="Squeeze"),
    _one("squeeze dims", lambda z: z.squeeze((1, -1)), (2, 1, 3, 1), ops="Squeeze"),
    _one("contiguous", lambda z: z.transpose(0, 1).contiguous().clone().detach()),
]
ORDERS = [
    _one("permute", lambda z: z.permute(2, 0, 1), ops="Transpose"),
    _one("transpose", lambda z: z.transpose(0, -1), ops="Transpose"),
    _one("t", torch.t, (2, 3), ops="Transpose"),
    _one("mT", lambda z: z.mT, ops="Transpose"),
    _one("mH", lambda z: z.mH),
    _one("flip", lambda z: z.flip(-1, 0)),
    _one("roll", lambda z: z.roll((1, -2), (0, -1))),
    _one("roll flat", lambda z: z.roll(5)),
    _one("fftshift", torch.fft.fftshift),
    _one("diagonal", lambda z: z.diagonal(1, -2, -1), dynamic=False),
    _one("movedim", lambda z: z.movedim(0, -1), ops="Transpose"),
]
PARTS = [
    _one("slice", lambda z: z[:, 1:, ::2]),
    _one("select", lambda z: z[:, -1]),
    _one("index_select", lambda z: z.index_select(-1, torch.tensor([2, 0])), ops="Gather"),
    Case("gather", lambda z, i: z.gather(1, i), lambda: [*_z((2, 3))(), torch.tensor([[0, 2], [1, 1]])], dynamic=False),
    Case("index", lambda z, i: z[:, i], lambda: [*_z((2, 3, 4))(), torch.tensor([0, 2])], dynamic=False),
    _one("index mask", lambda z: z[z.real > 0]),
    _one("split", lambda z: torch.split(z, 2, -1)[1], dynamic=False),
    _one("split sizes", lambda z: torch.split(z, [1, 3], -1)[1], dynamic=False),
    _one("chunk", lambda z: z.chunk(2, -1)[1], dynamic=False),
    _one("unbind", lambda z: torch.unbind(z, 1)[1], dynamic=False),
]
JOINS = [
    Case("cat", lambda a, b: torch.cat([a, b], -1), _z((2, 3), (2, 4)), ops="Concat"),
    Case("stack", lambda a, b: torch.stack([a, b], -1), _z((2, 3), (2, 3))),
    _one("pad", lambda z: torch.nn.functional.pad(z, (1, 2, 0, 1))),
    _one("crop", lambda z: torch.nn.functional.pad(z, (-1, 0))),
    _one("cumsum", lambda z: z.cumsum(-1), ops="CumSum"),
    _one("where", lambda z: torch.where(z.real > 0, z, z.conj())),
    _one("where number", lambda z: torch.where(z.real > 0, z, 0)),
    _one("where real", lambda z: torch.where(z.real > 0, z, z.imag)),
    _one("masked_fill", lambda z: z.masked_fill(z.real > 0, 1 + 2j)),
    _one("assigned", _assigned),
    _one("filled", lambda z: z.clone().fill_(1j) * z),
    _one("copied", lambda z: torch.empty(z.shape, dtype=z.dtype).copy_(z.real) * z),
    _one("parts assigned", _parts_assigned),
    Case("index_put", lambda z, i: z.index_put((i,), z[:2] * 2),
         lambda: [*_z((3, 4))(), torch.tensor([0, 2])], dynamic=False),
]  # fmt: skip

test_static, test_dynamic = both_ways(*SHAPES, *ORDERS, *PARTS, *JOINS)
