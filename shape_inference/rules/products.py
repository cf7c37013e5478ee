"""Matrix products, and what is built on them."""

from __future__ import annotations

import onnx_ir as ir

from shape_inference.broadcasting import broadcast, unified
from shape_inference.dims import Size, same
from shape_inference.registry import Call, infers
from shape_inference.types import TensorType, Type

__all__ = ["matrix_product"]

Types = tuple[Type | None, ...]
Shape = tuple[Size, ...]
_UNDEFINED = ir.DataType.UNDEFINED


def matrix_product(call: Call, a: Shape | None, b: Shape | None) -> Shape | None:
    """[*B, n, k], [*B, k, m] -> [*B, n, m] as numpy does it; vectors lose their axis."""
    if a is None or b is None:
        return None
    if not a or not b:
        call.fail("inputs must have at least rank 1", f"ranks {len(a)} and {len(b)}")
    inner_a = a[-1]
    inner_b = b[-2] if len(b) > 1 else b[-1]
    if inner_a is not inner_b and inner_a != inner_b and same(inner_a, inner_b) is False:
        call.fail("the inner sizes must be equal", f"{inner_a} and {inner_b}")
    if len(b) == 2 and len(a) >= 2:
        return a[:-1] + b[1:]
    lead_a, lead_b = a[:-2], b[:-2]
    lead = lead_a if lead_a == lead_b else broadcast(call, lead_a, lead_b)
    assert lead is not None
    return lead + a[-2:-1] + (b[-1:] if len(b) > 1 else ())


@infers("MatMul")
def matmul(call: Call) -> Types:
    """Multiply matrices: [*B, n, k], [*B, k, m] -> [*B, n, m]."""
    a, b = call.tensor(0), call.tensor(1)
    dtype = a.dtype if a.dtype is not _UNDEFINED else b.dtype
    if b.dtype is not dtype and b.dtype is not _UNDEFINED:
        call.fail("inputs must have one element type", f"{a.dtype.name}, {b.dtype.name}")
    return (TensorType(dtype, matrix_product(call, a.shape, b.shape)),)


@infers("MatMulInteger")
def matmul_integer(call: Call) -> Types:
    """Multiply matrices of bytes: [*B, n, k], [*B, k, m] -> [*B, n, m], INT32."""
    dims = matrix_product(call, call.tensor(0).shape, call.tensor(1).shape)
    return (TensorType(ir.DataType.INT32, dims),)


@infers("QLinearMatMul")
def qlinear_matmul(call: Call) -> Types:
    """Multiply quantized matrices: [*B, n, k], [*B, k, m] -> [*B, n, m], the zero point's type."""
    dims = matrix_product(call, call.tensor(0).shape, call.tensor(3).shape)
    return (TensorType(call.tensor(7).dtype, dims),)


@infers("Gemm")
def gemm(call: Call) -> Types:
    """Multiply and add: A [n, k] and B [k, m], each maybe transposed, C -> [n, m]."""
    a, b = call.tensor(0), call.tensor(1)
    dtype = a.dtype if a.dtype is not _UNDEFINED else b.dtype
    if b.dtype is not dtype and b.dtype is not _UNDEFINED:
        call.fail("inputs must have one element type", f"{a.dtype.name}, {b.dtype.name}")
    for name, tensor in (("A", a), ("B", b)):
        if tensor.shape is not None and len(tensor.shape) != 2:
            call.fail(f"{name} must have rank 2", tensor)
    rows: Size
    columns: Size
    if a.shape is None:
        rows = call.fresh("rows")
    else:
        rows, inner_a = reversed(a.shape) if call.attributes.get("transA") else a.shape
    if b.shape is None:
        columns = call.fresh("columns")
    else:
        inner_b, columns = reversed(b.shape) if call.attributes.get("transB") else b.shape
    if a.shape is not None and b.shape is not None and same(inner_a, inner_b) is False:
        call.fail("the inner sizes must be equal", f"{inner_a} and {inner_b}")
    c = call.optional(2)
    if c is not None and c.shape is not None and len(c.shape) > 2:
        call.fail("C must have at most rank 2", c)
    return (TensorType(dtype, (rows, columns)),)


@infers("Det")
def det(call: Call) -> Types:
    """Return the determinants of square matrices: [*B, n, n] -> [*B]."""
    x = call.tensor(0)
    if x.shape is None:
        return (TensorType(x.dtype, None),)
    if len(x.shape) < 2:
        call.fail("input must have at least rank 2", x)
    unified(call, x.shape[-1], x.shape[-2], "height and width")
    return (TensorType(x.dtype, x.shape[:-2]),)


@infers("Einsum")
def einsum(call: Call) -> Types:
    """Sum over the letters of an equation: `ij,jk->ik`; `...` are axes that stretch."""
    equation: str = call.required("equation").replace(" ", "")
    tensors = [call.tensor(index) for index in range(len(call.inputs))]
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(tensors):
        call.fail(f"equation must have one term an input, {len(tensors)}", equation)
    sizes: dict[str, Size] = {}
    stretched: Shape | None = ()
    unknown = False
    for term, tensor in zip(terms, tensors, strict=True):
        if tensor.shape is None:
            unknown = unknown or "..." in term
            continue
        before, dots, after = term.partition("...")
        middle = len(tensor.shape) - len(before) - len(after)
        if middle < 0 or (middle and not dots):
            call.fail(f"term {term} must have one letter an axis", tensor)
        tail = len(tensor.shape) - len(after)
        letters = list(zip(before, tensor.shape, strict=False))
        letters += list(zip(after, tensor.shape[tail:], strict=True))
        for letter, dim in letters:
            known = sizes.get(letter)
            if known is None or known == 1:
                sizes[letter] = dim
            elif dim != 1:
                sizes[letter] = unified(call, known, dim, f"sizes of {letter}")
        stretched = broadcast(call, stretched, tensor.shape[len(before) : tail] if dots else ())
    dtype = tensors[0].dtype
    if not arrow:
        counts = left.replace(",", "").replace(".", "")
        once = "".join(sorted(letter for letter in set(counts) if counts.count(letter) == 1))
        right = ("..." if "..." in left else "") + once
    if unknown and "..." in right:
        return (TensorType(dtype, None),)
    before, dots, after = right.partition("...")
    head = tuple(sizes[letter] if letter in sizes else call.fresh(letter) for letter in before)
    tail_dims = tuple(sizes[letter] if letter in sizes else call.fresh(letter) for letter in after)
    return (TensorType(dtype, head + ((stretched or ()) if dots else ()) + tail_dims),)
