"""Padding in every mode; negative pads cut."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tests.lowering import Case, both_ways, check, ops

aten = torch.ops.aten


def _x() -> list[torch.Tensor]:
    return [torch.randn(2, 3, 4, 5)]


def _small() -> list[torch.Tensor]:
    return [torch.randn(3, 4, 5)]


def _volume() -> list[torch.Tensor]:
    return [torch.randn(2, 3, 4, 5, 6)]


def _to_sevens(x: torch.Tensor) -> torch.Tensor:
    return F.pad(x, (0, -x.shape[-1] % 7, 0, (7 - x.shape[-2] % 7) % 7))


def _to_length(x: torch.Tensor) -> torch.Tensor:
    return F.pad(x, (0, 20 - x.shape[-1]))


MODES = ("reflect", "replicate", "circular")
CASES = [
    Case("constant", lambda x: F.pad(x, (1, 2)), _x, ops="Pad"),
    Case("constant of a value", lambda x: F.pad(x, (1, 2, 0, 1), value=3.5), _x, ops="Pad"),
    Case("constant of infinity", lambda x: F.pad(x, (1, 2, 0, 1), value=float("-inf")), _x, ops="Pad"),
    Case("constant negative", lambda x: (F.pad(x, (-1, 2)), F.pad(x, (-1, -2, 1, -1))), _x, ops="Pad Pad"),
    Case("nothing", lambda x: F.pad(x, (0, 0, 0, 0)) + 1, _x, ops="Add"),
    Case("all axes", lambda x: F.pad(x, (1, 0, 0, 1, 2, 0, 0, 2)), _x, ops="Pad"),
    Case("constant_pad_nd", lambda x: torch.constant_pad_nd(x, (1, 2), 2), _x, ops="Pad"),
    Case("pad_enum", lambda x: (aten._pad_enum(x, (1, 2), 3, 2.0), aten._pad_enum(x, (1, 2, 0, 1), 1)), _x, ops="Pad Pad"),
    Case("to multiples", _to_sevens, _x, ops="Pad"),
    Case("to a length", _to_length, _x, ops="Pad"),
    *(Case(f"{mode} 1d", lambda x, mode=mode: F.pad(x, (1, 2), mode), _small) for mode in MODES),
    *(Case(f"{mode} 2d", lambda x, mode=mode: F.pad(x, (1, 2, 0, 2), mode), _x) for mode in MODES),
    *(Case(f"{mode} 3d", lambda x, mode=mode: F.pad(x, (1, 2, 0, 2, 1, 1), mode), _volume) for mode in MODES),
    *(Case(f"{mode} negative", lambda x, mode=mode: F.pad(x, (-1, 2, 2, -1), mode), _x) for mode in MODES),
    Case("circular negative at 19", lambda x: F.pad(x, (-1, 2, 2, -1), "circular"), _x, opset_version=19),
    Case("replicate of what is cut", lambda x: F.pad(x, (-4, 3, 0, 0), "replicate"), lambda: [torch.randn(2, 3, 4, 4)],
         fixed=(3,)),
    Case("circular at 19", lambda x: F.pad(x, (1, 2, 0, 2), "circular"), _x, ops="Pad", opset_version=19),
    Case("reflection_pad", lambda x: (aten.reflection_pad1d(x[0], (1, 2)), aten.reflection_pad2d(x, (1, 2, 1, 0))), _x),
    Case("reflection_pad3d", lambda x: aten.reflection_pad3d(x, (1, 2, 1, 0, 1, 1)), _volume, ops="Pad"),
    Case("replication_pad", lambda x: (aten.replication_pad1d(x[0], (1, 2)), aten.replication_pad2d(x, (1, 2, 1, 0))), _x),
    Case("replication_pad3d", lambda x: aten.replication_pad3d(x, (1, 2, 1, 0, 1, 1)), _volume, ops="Pad"),
    Case("pad_circular", lambda x: aten._pad_circular(x, (1, 2, 1, 0)), _x),
    *(
        Case(f"dtype {kind}", lambda x: (F.pad(x, (1, 2), value=1), F.pad(x[None], (1, 2), "replicate")),
             lambda kind=kind: [torch.randint(0, 2, (3, 4)).to(kind)], opset_version=opset)
        for kind in (torch.bool, torch.uint8, torch.int16, torch.int64, torch.float16, torch.float64)
        for opset in (17, 18, 23)
        if kind != torch.bool
    ),
    Case("truths", lambda x: F.pad(x, (1, 2), value=1), lambda: [torch.rand(3, 4) > 0.5], ops="Pad"),
]  # fmt: skip

test_static, test_dynamic = both_ways(*CASES)


def test_no_shape_chains() -> None:
    program = check(Case("constant", lambda x: F.pad(x, (1, 2, 0, 1)), _x), dynamic=True)
    assert program is not None
    assert ops(program) == "Pad"
