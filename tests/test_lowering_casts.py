"""Changes of the element type, and copies."""

from __future__ import annotations

import torch

from tests.lowering import Case, both_ways

aten = torch.ops.aten


def _x() -> list[torch.Tensor]:
    return [torch.tensor([[1.7, -1.7, 0.0], [2.5, -0.3, 100.0]])]


def _xy() -> list[torch.Tensor]:
    return [torch.randn(3, 4), torch.arange(4)]


CASES = [
    Case("to", lambda x: x.to(torch.int32), _x, ops="Cast"),
    Case("to_same", lambda x: x.to(torch.float32), _x, ops="Identity"),
    Case("methods", lambda x: (x.int(), x.long(), x.half(), x.double(), x.bool(), x.short(), x.char()), _x),
    Case("to_device", lambda x: x.to("cpu", torch.float64), _x, ops="Cast"),
    Case("to_dtype_layout", lambda x: aten.to.dtype_layout(x, dtype=torch.float64, layout=torch.strided), _x),
    Case("to_copy", lambda x: aten._to_copy(x, dtype=torch.float16), _x, ops="Cast"),
    Case("to_tensor", lambda x, y: x.to(y), _xy, ops="Cast"),
    Case("to_other", lambda x, y: aten.to.other(x, y), _xy, ops="Cast"),
    Case("convert_element_type", lambda x: torch.ops.prims.convert_element_type(x, torch.int32), _x, ops="Cast"),
    Case("type_as", lambda x, y: y.type_as(x), _xy, ops="Cast"),
    Case("cast_float", lambda x, y: aten._cast_Float(y), _xy, ops="Cast"),
    Case("copies", lambda x: x.clone() + x.contiguous() + x.detach(), _x, ops="Add Add"),
    Case("copies_by_name", lambda x: aten.alias_copy(x) + aten.detach_copy(x) + torch.positive(x), _x, ops="Add Add"),
    Case("resolve", lambda x: x.resolve_neg() + x.resolve_conj(), _x, ops="Add"),
    Case("copy", lambda x, y: aten.copy(x, y), _xy, ops="Cast Expand"),
    Case("copy_in_place", lambda x, y: x.clone().copy_(y) + 1, _xy),
]

test_static, test_dynamic = both_ways(*CASES)
