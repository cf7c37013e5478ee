"""Transposes, broadcasts, repetitions, rolls, flips and windows."""

from __future__ import annotations

import torch

from tests.lowering import Case, both_ways, cases, check, ops

aten = torch.ops.aten


def _x() -> list[torch.Tensor]:
    return [torch.randn(2, 3, 4)]


def _square() -> list[torch.Tensor]:
    return [torch.randn(3, 3)]


def _thin() -> list[torch.Tensor]:
    return [torch.randn(2, 1, 3)]


def _pair() -> list[torch.Tensor]:
    return [torch.randn(1, 1, 3), torch.randn(2, 4, 3)]


def _repeats() -> list[torch.Tensor]:
    return [torch.randn(2, 3, 4), torch.tensor([2, 0, 1])]


def _wide() -> list[torch.Tensor]:
    return [torch.randn(2, 3, 8)]


def _strided(x: torch.Tensor) -> torch.Tensor:
    return x.as_strided((x.shape[0] - 1, 2, x.shape[1]), (x.shape[1], x.shape[1], 1))


CASES = [
    Case("transpose", lambda x: x.transpose(1, -1), _x, ops="Transpose"),
    Case("transpose of a square", lambda x: x.transpose(0, 1), _square, ops="Transpose"),
    Case("transpose_copy", lambda x: torch.transpose_copy(x, 0, 1), _x, ops="Transpose"),
    Case("swaps", lambda x: (x.swapaxes(0, 1), x.swapdims(1, 2)), _x, ops="Transpose Transpose"),
    Case("permute", lambda x: x.permute(2, 0, -2), _x, ops="Transpose"),
    Case("permute back", lambda x: x.permute(2, 0, 1).permute(1, 2, 0) + 1, _x, ops="Add"),
    Case("permute_copy", lambda x: torch.permute_copy(x, (1, 0, 2)), _x, ops="Transpose"),
    Case("t", lambda x: (x.t(), torch.t_copy(x)), _square, ops="Transpose Transpose"),
    Case("t of a vector", lambda x: x[0].t() + 1, _square, ops="Gather Add"),
    Case("matrix transposes", lambda x: (x.mT, x.mH, x.adjoint()), _x, ops="Transpose Transpose Transpose"),
    Case("numpy transposes", lambda x: (x.T, x.H), _square, ops="Transpose Transpose"),
    Case("movedim", lambda x: (x.movedim(0, -1), x.moveaxis(-1, 0)), _x, ops="Transpose Transpose"),
    Case("movedims", lambda x: (x.movedim((0, 1), (1, 2)), x.moveaxis((0, -1), (2, 0))), _x, ops="Transpose Transpose"),
    Case("expand", lambda x: x.expand(5, -1, 4, -1), _thin, ops="Expand"),
    Case("expand to the same", lambda x: x.expand(-1, -1, -1) + 1, _thin, ops="Add"),
    Case("expand_copy", lambda x: torch.expand_copy(x, (-1, 4, -1)), _thin, ops="Expand"),
    Case("broadcast_to", lambda x: x.broadcast_to(3, *x.shape), _thin, ops="Expand"),
    Case("expand_as", lambda x, y: x.expand_as(y), _pair, ops="Expand"),
    Case("expand by another", lambda x, y: x.expand(y.shape[0], -1, -1), _pair, ops="Expand"),
    Case("broadcast_tensors", lambda x, y: torch.broadcast_tensors(x, y), _pair, ops="Expand Identity"),
    Case("repeat", lambda x: x.repeat(2, 1, 3), _x, ops="Tile"),
    Case("repeat with a new dim", lambda x: x.repeat(3, 1, 2, 1), _x, ops="Unsqueeze Tile"),
    Case("repeat ones", lambda x: x.repeat(2, 1, 4, 1), _thin, fixed=(2,)),
    Case("repeat what is 1", lambda x: x.repeat(1, 4, 1), _thin, ops="Expand"),
    Case("repeat by a size", lambda x, y: x.repeat(y.shape[0], 1, 2), _pair, ops="Tile"),
    Case("tile", lambda x: (x.tile(2), x.tile((2, 1, 1, 1))), _x),
    Case("repeat_interleave", lambda x: x.repeat_interleave(2, 1), _x, ops="Gather"),
    Case("repeat_interleave flat", lambda x: x.repeat_interleave(3), _x, ops="Reshape Gather"),
    Case("repeat_interleave by a constant", lambda x: x.repeat_interleave(torch.tensor([1, 0, 2]), 1), _x,
         ops="Gather", fixed=(1,)),
    Case("repeat_interleave by a tensor", lambda x, r: x.repeat_interleave(r, dim=1), _repeats),
    Case("repeat_interleave of a size", lambda x, r: x.repeat_interleave(r, dim=1, output_size=3), _repeats,
         dynamic=False),
    Case("repeat_interleave by one", lambda x, r: x.repeat_interleave(r[:1], dim=0), _repeats),
    Case("repeat_interleave of places", lambda x, r: torch.repeat_interleave(r), _repeats),
    Case("roll", lambda x: x.roll(1, 0), _wide, ops="Gather"),
    Case("roll dims", lambda x: x.roll((1, -2), (1, 2)), _wide, ops="Gather Split Concat"),
    Case("roll too far", lambda x: x.roll(7, 1), _x),
    Case("roll flat", lambda x: x.roll(5), _x),
    Case("roll by nothing", lambda x: x.roll(3, 1) + 1, _x, ops="Add"),
    Case("flip", lambda x: x.flip((0, -1)), _x, ops="Slice"),
    Case("flips", lambda x: (x.flipud(), x.fliplr()), _x, ops="Slice Slice"),
    Case("flip of nothing", lambda x: x[:, :0].flip(1) + 1, _x),
    Case("rot90", lambda x: [x.rot90(k, (0, 2)) for k in (1, 2, 3)], _x),
    Case("unfold", lambda x: x.unfold(1, 2, 1), _x, ops="Gather Transpose"),
    Case("unfold steps", lambda x: x.unfold(-1, 3, 2), _wide, ops="Gather"),
    Case("unfold_copy", lambda x: torch.unfold_copy(x, 0, 2, 1), _x),
    Case("as_strided", _strided, lambda: [torch.randn(4, 5)]),
    Case("as_strided of a view", lambda x: x.t()[1:].as_strided((2, 2), (1, 2)), _square, dynamic=False),
    Case("as_strided_copy", lambda x: torch.as_strided_copy(x, (2, 2), (1, 2), 1), _square),
    *(
        Case(f"dtype {kind}", lambda x: (x.roll(1, 0), x.flip(0), x.repeat(2, 1), x.t()),
             lambda kind=kind: [torch.randint(0, 2, (3, 4)).to(kind)])
        for kind in (torch.bool, torch.uint8, torch.int16, torch.int64, torch.float16, torch.float64)
    ),
]  # fmt: skip

test_static, test_dynamic = both_ways(*CASES)


def _repeat_heads(x: torch.Tensor) -> torch.Tensor:
    """What grouped-query attention does to its keys."""
    batch, heads, length, width = x.shape
    return x[:, :, None].expand(batch, heads, 3, length, width).reshape(batch, heads * 3, length, width)


LEAN = [
    Case("expand", lambda x: x.expand(-1, 4, -1), _thin, ops="Expand"),
    Case("repeat", lambda x: x.repeat(1, 4, 1), _thin, ops="Expand"),
    Case("repeat heads", _repeat_heads, lambda: [torch.randn(2, 2, 5, 4)], ops="Unsqueeze Expand Reshape", fixed=(1, 3)),
    Case("flip", lambda x: x.flip(1), _x, ops="Slice"),
]  # fmt: skip


@cases(*LEAN)
def test_no_shape_chains(case: Case) -> None:
    program = check(case, dynamic=True)
    assert program is not None
    assert ops(program) == case.ops
