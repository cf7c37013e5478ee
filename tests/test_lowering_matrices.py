"""Products of matrices and vectors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from tests.lowering import Case, both_ways

aten = torch.ops.aten
Shape = tuple[int, ...]


def _r(*shapes: Shape, dtype: torch.dtype = torch.float32) -> Callable[[], list[torch.Tensor]]:
    return lambda: [(torch.randn(shape) * 3).to(dtype) for shape in shapes]


_ADDMM = ((2, 4), (2, 3), (3, 4))
_BADDBMM = ((2, 3, 5), (2, 3, 4), (2, 4, 5))
LINEAR = [
    Case("linear", functional.linear, _r((2, 3), (4, 3), (4,)), ops="Gemm"),
    Case("linear without bias", functional.linear, _r((2, 3), (4, 3)), ops="Gemm"),
    Case("linear rank 3", functional.linear, _r((2, 5, 3), (4, 3), (4,)), ops="Transpose MatMul Add"),
    Case("linear rank 1", functional.linear, _r((3,), (4, 3), (4,)), ops="Transpose MatMul Add"),
    Case("linear of a vector", functional.linear, _r((2, 3), (3,)), ops="MatMul"),
    Case("linear int64", functional.linear, _r((2, 3), (4, 3), (4,), dtype=torch.int64)),
    Case("linear int8", functional.linear, _r((2, 3), (4, 3), dtype=torch.int8)),
    Case("linear half", functional.linear, _r((2, 3), (4, 3), (4,), dtype=torch.float16), ops="Gemm"),
    Case("linear double", functional.linear, _r((2, 3), (4, 3), (4,), dtype=torch.float64), ops="Gemm"),
    Case("linear of nothing", functional.linear, _r((0, 3), (4, 3), (4,))),
    Case("linear over nothing", functional.linear, _r((2, 0), (4, 0), (4,)), dynamic=False),
]
PRODUCTS = [
    Case("matmul", torch.matmul, _r((2, 3), (3, 4)), ops="MatMul"),
    Case("matmul batched", torch.matmul, _r((5, 1, 2, 3), (6, 3, 4)), ops="MatMul"),
    Case("matmul by vector", torch.matmul, _r((5, 2, 3), (3,)), ops="MatMul"),
    Case("vector by matmul", torch.matmul, _r((3,), (5, 3, 2)), ops="MatMul"),
    Case("matmul vectors", torch.matmul, _r((3,), (3,)), ops="MatMul"),
    Case("matmul uint8", torch.matmul, _r((2, 3), (3, 4), dtype=torch.uint8)),
    Case("matmul int16", torch.matmul, _r((2, 3), (3, 4), dtype=torch.int16)),
    Case("matmul int32", torch.matmul, _r((2, 3), (3, 4), dtype=torch.int32), ops="MatMul"),
    Case("matmul over nothing", torch.matmul, _r((2, 0), (0, 4)), dynamic=False),
    Case("linalg.matmul", torch.linalg.matmul, _r((2, 3), (3, 4)), ops="MatMul"),
    Case("mm", torch.mm, _r((2, 3), (3, 4)), ops="MatMul"),
    Case("bmm", torch.bmm, _r((5, 2, 3), (5, 3, 4)), ops="MatMul"),
    Case("int_mm", torch._int_mm, _r((32, 8), (8, 8), dtype=torch.int8), ops="MatMulInteger", dynamic=False),
    Case("mv", torch.mv, _r((2, 3), (3,)), ops="MatMul"),
    Case("dot", torch.dot, _r((3,), (3,)), ops="MatMul"),
    Case("vdot", torch.vdot, _r((3,), (3,)), ops="MatMul"),
    Case("inner", torch.inner, _r((2, 3), (4, 3))),
    Case("inner of vectors", torch.inner, _r((3,), (3,)), ops="MatMul"),
    Case("inner of tensors", torch.inner, _r((2, 5, 3), (6, 4, 3))),
    Case("inner by scalar", torch.inner, _r((2, 3), ()), ops="Mul"),
    Case("outer", torch.outer, _r((2,), (3,)), ops="Unsqueeze Mul"),
    Case("outer bool", torch.outer, _r((2,), (3,), dtype=torch.bool), ops="Unsqueeze And"),
    Case("outer types", torch.outer, lambda: [torch.randn(2), torch.arange(3)]),
    Case("ger", torch.ger, _r((2,), (3,))),
    Case(
        "multi_dot",
        lambda *t: torch.linalg.multi_dot(t),
        _r((3, 10), (10, 2), (2, 30), (30, 4)),
        ops="MatMul MatMul MatMul",
    ),
    Case("multi_dot of vectors", lambda *t: torch.linalg.multi_dot(t), _r((3,), (3, 2), (2, 4), (4,))),
    Case("multi_dot of two", lambda *t: torch.linalg.multi_dot(t), _r((3,), (3,)), ops="MatMul"),
    Case("chain_matmul", torch.chain_matmul, _r((3, 4), (4, 2), (2, 5))),
    Case("vecdot", torch.linalg.vecdot, _r((2, 3), (2, 3)), ops="Mul ReduceSum"),
    Case("vecdot dim", lambda a, b: torch.linalg.vecdot(a, b, dim=0), _r((3, 2), (3, 2))),
    Case("vecdot broadcast", torch.linalg.vecdot, _r((2, 3), (3,))),
]
SUMS = [
    Case("addmm", torch.addmm, _r(*_ADDMM), ops="Gemm"),
    Case("addmm row", torch.addmm, _r((4,), *_ADDMM[1:]), ops="Gemm"),
    Case("addmm column", torch.addmm, _r((2, 1), *_ADDMM[1:]), ops="Gemm", dynamic=False),
    Case("addmm factors", lambda *t: torch.addmm(*t, beta=0.5, alpha=-2), _r(*_ADDMM), ops="Gemm"),
    Case("addmm beta 0", lambda a, *t: torch.addmm(a / 0, *t, beta=0), _r(*_ADDMM)),
    Case("addmm double", lambda *t: torch.addmm(*t, beta=0.1, alpha=0.7), _r(*_ADDMM, dtype=torch.float64)),
    Case("addmm over nothing", lambda *t: torch.addmm(*t, beta=0.2), _r((2, 4), (2, 0), (0, 4)), dynamic=False),
    Case("addmm int64", lambda *t: torch.addmm(*t, beta=2, alpha=3), _r(*_ADDMM, dtype=torch.int64)),
    Case("addmm int8", torch.addmm, _r(*_ADDMM, dtype=torch.int8)),
    Case("addmm relu", lambda *t: torch._addmm_activation(*t), _r((4,), *_ADDMM[1:]), ops="Gemm Relu"),
    Case("addmm gelu", lambda *t: torch._addmm_activation(*t, use_gelu=True), _r((4,), *_ADDMM[1:])),
    Case("addmm gelu at 20", lambda *t: torch._addmm_activation(*t, use_gelu=True), _r((4,), *_ADDMM[1:]),
         ops="Gemm Gelu", opset_version=20),
    Case("baddbmm", torch.baddbmm, _r(*_BADDBMM), ops="MatMul Add"),
    Case("baddbmm factors", lambda *t: torch.baddbmm(*t, beta=0.5, alpha=2.0), _r(*_BADDBMM)),
    Case("baddbmm beta 0", lambda *t: torch.baddbmm(*t, beta=0, alpha=0.5), _r(*_BADDBMM), ops="MatMul Mul"),
    Case("addbmm", torch.addbmm, _r((3, 5), *_BADDBMM[1:]), ops="Transpose Reshape Reshape Gemm"),
    Case("addbmm factors", lambda *t: torch.addbmm(*t, beta=0.5, alpha=2.0), _r((3, 5), *_BADDBMM[1:])),
    Case("addmv", torch.addmv, _r((2,), (2, 3), (3,)), ops="MatMul Add"),
    Case("addmv factors", lambda *t: torch.addmv(*t, beta=0.5, alpha=2.0), _r((2,), (2, 3), (3,))),
    Case("addr", torch.addr, _r((2, 3), (2,), (3,))),
    Case("addr factors", lambda *t: torch.addr(*t, beta=0.5, alpha=2.0), _r((2, 3), (2,), (3,))),
    Case("addr bool", torch.addr, _r((2, 3), (2,), (3,), dtype=torch.bool)),
    Case("addr bool, no product", lambda *t: torch.addr(*t, beta=True, alpha=False),
         _r((2, 3), (2,), (3,), dtype=torch.bool)),
]  # fmt: skip
CROSS = [
    Case("cross", torch.linalg.cross, _r((4, 3), (4, 3)), ops="Gather Gather Mul Mul Sub Gather", dynamic=False),
    Case("cross dim", lambda a, b: torch.linalg.cross(a, b, dim=0), _r((3, 4), (3, 4)), dynamic=False),
    Case("cross broadcast", torch.linalg.cross, _r((4, 1, 3), (1, 5, 3)), dynamic=False),
    Case("cross without dim", torch.cross, _r((4, 3, 5), (4, 3, 5)), dynamic=False),
    Case("cross int8", torch.linalg.cross, _r((4, 3), (4, 3), dtype=torch.int8), dynamic=False),
]

test_static, test_dynamic = both_ways(*LINEAR, *PRODUCTS, *SUMS, *CROSS)
