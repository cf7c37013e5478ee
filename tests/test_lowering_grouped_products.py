"""Products of rows with the matrix of their group."""

from __future__ import annotations

import torch

from exporter import export
from tests.lowering import Case, cases, check, compare, session_of

if not hasattr(torch.ops.transformers, "grouped_mm_fallback"):
    import transformers.integrations.moe  # noqa: F401  # it defines the operator


def _grouped(*ends: int) -> list[torch.Tensor]:
    return [torch.randn(8, 4), torch.randn(len(ends), 4, 8), torch.tensor(ends, dtype=torch.int32)]


def _fallback(x: torch.Tensor, weight: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    return torch.ops.transformers.grouped_mm_fallback(x, weight, offsets)


class _Experts(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(3, 8, 4), requires_grad=False)

    def forward(self, x: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        return _fallback(x, self.weight.transpose(1, 2), offsets)


CASES = [
    Case("all rows", _fallback, lambda: _grouped(2, 5, 8), fixed=(1, 2), dynamic=False),
    Case("groups without rows", _fallback, lambda: _grouped(0, 5, 5, 8), dynamic=False),
    Case("rows without a group", _fallback, lambda: _grouped(2, 5, 6), dynamic=False),
    Case("weights", _Experts(), lambda: [torch.randn(8, 4), torch.tensor([2, 2, 8])], dynamic=False),
    Case("grouped_mm", lambda x, w, o: torch._grouped_mm(x, w, offs=o), lambda: _grouped(2, 5, 8), dynamic=False),
    Case("grouped_mm of rank 3", lambda x, w: torch._grouped_mm(x, w),
         lambda: [torch.randn(3, 2, 4), torch.randn(3, 4, 8)], ops="MatMul", dynamic=False),
]  # fmt: skip


@cases(*CASES)
def test_static(case: Case) -> None:
    check(case)


def test_dynamic_rows() -> None:
    model = _Experts()
    program = export(model, (torch.randn(8, 4), torch.tensor([2, 2, 8])), dynamic_shapes={"x": {0: "rows"}})
    for count in (1, 5):
        compare(session_of(program), model, [torch.randn(count, 4), torch.tensor([0, 1, count])])


def test_bfloat16() -> None:
    x, weight, offsets = _grouped(2, 2, 8)
    export(_fallback, (x.bfloat16(), weight.bfloat16(), offsets)).validate().check()
