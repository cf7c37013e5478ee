"""Complex tensors between real ones: arithmetic, functions, products of matrices, creations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tests.lowering import Case, both_ways

aten = torch.ops.aten
Shape = tuple[int, ...]


def _z(*shapes: Shape, dtype: torch.dtype = torch.complex64) -> Callable[[], list[torch.Tensor]]:
    return lambda: [torch.randn(shape, dtype=dtype) for shape in shapes]


def _mixed(*shapes: Shape) -> Callable[[], list[torch.Tensor]]:
    """A complex tensor and a real one."""
    return lambda: [torch.randn(shapes[0], dtype=torch.complex64), torch.randn(shapes[1])]


def _rotary(x: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    """The rotary embedding of Llama 4."""
    turns = torch.polar(torch.ones_like(frequencies), frequencies)
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turns[:, :, None, :]).flatten(3).type_as(x)


def _one(name: str, function: Callable[..., Any], **options: Any) -> Case:
    return Case(name, function, _z((2, 3)), **options)


PARTS = [
    Case("rotary", _rotary, lambda: [torch.randn(2, 4, 3, 8), torch.randn(2, 4, 4)], fixed=(3,), dynamic=False),
    Case("view_as_complex", torch.view_as_complex, lambda: [torch.randn(3, 2)], dynamic=False),
    Case("view_as_real", torch.view_as_real, _z((2, 3)), ops="Identity"),
    Case("real", torch.real, _z((2, 3)), ops="Gather"),
    Case("imag", torch.imag, _z((2, 3)), ops="Gather"),
    Case("complex", torch.complex, lambda: [torch.randn(2, 3), torch.randn(2, 3)]),
    Case("complex broadcast", torch.complex, lambda: [torch.randn(2, 3), torch.randn(3)]),
    Case("polar", torch.polar, lambda: [torch.rand(2, 3), torch.randn(2, 3)]),
    _one("abs", torch.abs, ops="ReduceL2"),
    _one("angle", torch.angle),
    _one("conj", torch.conj, ops="Mul"),
    _one("conj_physical", torch.conj_physical, ops="Mul"),
    Case(
        "isinf", lambda z: (z.isinf(), z.isfinite()), lambda: [torch.tensor([1 + 2j, complex(1, torch.inf), torch.nan])]
    ),
    _one("conj_copy", torch.ops.aten._conj_copy, ops="Mul"),
    _one("resolved", lambda z: z.conj().resolve_conj().resolve_neg(), ops="Mul"),
    _one("conj imag", lambda z: z.conj().imag),
    _one("view as real dtype", lambda z: z.view(torch.float32), ops="Reshape"),
    Case("view as complex dtype", lambda x: x.view(torch.complex64), lambda: [torch.randn(2, 4)], ops="Reshape"),
    _one("to double", lambda z: z.to(torch.complex128)),
    _one("to real", lambda z: z.to(torch.float64)),
    Case("real to complex", lambda x: x.to(torch.complex64), lambda: [torch.randn(2, 3)]),
    Case("integer to complex", lambda x: x.to(torch.complex128), lambda: [torch.arange(3)]),
    Case("to other", lambda x, z: x.type_as(z), lambda: [torch.randn(3), torch.randn(3, dtype=torch.complex64)]),
    Case("to real other", lambda x, z: z.to(x), lambda: [torch.randn(3), torch.randn(3, dtype=torch.complex64)]),
]
ARITHMETIC = [
    Case("add", torch.add, _z((2, 3), (3,)), ops="Add"),
    Case("add alpha", lambda a, b: torch.add(a, b, alpha=2), _z((2, 3), (2, 3))),
    Case("add real", torch.add, _mixed((2, 3), (3,))),
    _one("add number", lambda z: z + 2, ops="Add"),
    _one("add complex number", lambda z: z + (1 - 2j), ops="Add"),
    Case("number to real", lambda x: x + 1j, lambda: [torch.randn(3)]),
    Case("sub", torch.sub, _z((2, 3), (3,)), ops="Sub"),
    Case("sub alpha", lambda a, b: torch.sub(a, b, alpha=2 + 1j), _z((2, 3), (2, 3))),
    _one("rsub", lambda z: 1 - z),
    _one("neg", torch.neg, ops="Neg"),
    Case("mul", torch.mul, _z((2, 3), (2, 3))),
    Case("mul broadcast", torch.mul, _z((3,), (2, 3))),
    Case("mul real", torch.mul, _mixed((2, 3), (3,)), ops="Unsqueeze Mul"),
    Case("mul rank 0", torch.mul, _mixed((2, 3), ()), ops="Mul"),
    Case("mul by double rank 0", lambda z, x: z * x.double(), _mixed((2, 3), ())),
    Case("mul double", lambda z, x: z * x.double(), _mixed((2, 3), (3,))),
    _one("mul number", lambda z: z * 2.5, ops="Mul"),
    _one("mul i", lambda z: z * 1j, ops="Gather Mul"),
    _one("mul complex number", lambda z: z * (2 - 3j)),
    Case("real mul i", lambda x: x * 1j, lambda: [torch.randn(3)]),
    Case("div", torch.div, _z((2, 3), (3,))),
    Case("div real", torch.div, _mixed((2, 3), (3,)), ops="Unsqueeze Div"),
    _one("div number", lambda z: z / 2, ops="Div"),
    _one("div complex number", lambda z: z / (2 - 1j)),
    _one("rdiv", lambda z: 1 / z),
    _one("square", torch.square),
    *[_one(f"pow {n}", lambda z, n=n: z**n) for n in (2, 3, -1, 0.5, 2.5, 1 + 1j)],
    Case("eq", torch.eq, lambda: [torch.tensor([1 + 1j, 2, 3j]), torch.tensor([1 + 1j, 2j, 3j])]),
    Case("ne", torch.ne, lambda: [torch.tensor([1 + 1j, 2, 3j]), torch.tensor([1 + 1j, 2j, 3j])]),
    Case("isnan", torch.isnan, lambda: [torch.tensor([1 + 1j, complex(0, float("nan"))])]),
]
FUNCTIONS = [
    _one(name, getattr(torch, name))
    for name in (
        "exp", "log", "sqrt", "cos", "sin", "sigmoid", "tanh", "sgn", "cosh", "sinh", "tan", "asin", "acos", "atan",
        "asinh", "acosh", "atanh", "log10", "log2", "log1p", "expm1", "exp2", "rsqrt",
    )
]  # fmt: skip
FUNCTIONS += [
    Case("pow of two", torch.pow, lambda: [torch.tensor([1 + 2j, 0, 0]), torch.tensor([2 - 1j, 1, 0])], dynamic=False),
    _one("pow of number", lambda z: 2**z),
    _one("prod", torch.prod),
    _one("prod of an axis", lambda z: z.prod(1, keepdim=True)),
    _one("cumprod", lambda z: z.cumprod(-1)),
    Case("rank 0", lambda z: (z.prod(0), z.cumprod(0)), _z(())),
]
REDUCTIONS = [
    _one("sum", torch.sum, ops="ReduceSum"),
    _one("sum of an axis", lambda z: z.sum(-1), ops="ReduceSum"),
    _one("sum keeping", lambda z: z.sum((0, 1), keepdim=True), ops="ReduceSum"),
    _one("mean", torch.mean, ops="ReduceMean"),
    _one("mean of an axis", lambda z: z.mean(0), ops="ReduceMean"),
]
PRODUCTS = [
    Case("matmul", torch.matmul, _z((4, 2, 3), (3, 5))),
    Case("matmul by real", lambda z, x: torch.matmul(z, x.to(z.dtype)), _mixed((2, 3), (3, 4))),
    Case("matmul vector", torch.matmul, _z((4, 2, 3), (3,))),
    Case("vector matmul", torch.matmul, _z((3,), (4, 3, 2))),
    Case("mm", torch.mm, _z((2, 3), (3, 4))),
    Case("bmm", torch.bmm, _z((5, 2, 3), (5, 3, 4))),
    Case("mv", torch.mv, _z((2, 3), (3,))),
    Case("dot", torch.dot, _z((3,), (3,))),
    Case("vdot", torch.vdot, _z((3,), (3,))),
    Case("einsum", lambda a, b: torch.einsum("bhid,bhjd->bhij", a, b), _z((2, 2, 3, 4), (2, 2, 5, 4))),
    Case("linear", torch.nn.functional.linear, _z((2, 3), (4, 3))),
]
CREATIONS = [
    _one("zeros_like", torch.zeros_like),
    _one("ones_like", lambda z: torch.ones_like(z) * z),
    _one("full_like", lambda z: torch.full_like(z, 2 + 1j) * z),
    _one("real like", lambda z: torch.ones_like(z, dtype=torch.float32) * z),
    _one("zeros", lambda z: torch.zeros(z.shape, dtype=torch.complex64) + z),
    _one("ones", lambda z: torch.ones(z.shape, dtype=torch.complex128) + z),
    _one("full", lambda z: torch.full(z.shape, 3j) + z),
    _one("new_zeros", lambda z: z.new_zeros(z.shape) + z),
    _one("new_ones", lambda z: z.new_ones(z.shape) + z),
]

test_static, test_dynamic = both_ways(*PARTS, *ARITHMETIC, *FUNCTIONS, *REDUCTIONS, *PRODUCTS, *CREATIONS)
