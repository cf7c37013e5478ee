"""Sums of products over named axes: einsum and what is one."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import onnx_ir as ir
import torch

from aten_lowering.builder import Builder, Value, dims, dtype, rank
from aten_lowering.dtypes import is_float
from aten_lowering.elementwise import pointwise
from aten_lowering.errors import UnsupportedArgument
from aten_lowering.promotion import promoted
from aten_lowering.registry import lowers
from shape_inference import same

__all__ = ["contracted"]

aten = torch.ops.aten
_INT64 = ir.DataType.INT64


@lowers(aten.einsum.default)
def einsum(op: Builder, equation: str, tensors: Sequence[Value], path: Sequence[int] | None) -> Value:
    """Sum the products over the letters that the result lacks: `bij,bjk->bik`.

    `...` become letters, because Einsum wants as many axes under each of them and torch does not. Where nothing
    is summed over, torch multiplies, and so promotes.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    unused = [letter for letter in string.ascii_letters if letter not in equation]
    extra = [rank(t) - len(term.replace("...", "")) for t, term in zip(tensors, terms, strict=True)]
    depth = max(extra)
    if depth > len(unused):
        raise UnsupportedArgument(f"aten.einsum.default: equation must need at most 52 letters, got {equation}")
    hidden = "".join(unused[:depth])
    if not arrow:
        once = sorted(letter for letter in set(left) - set(",.") if left.count(letter) == 1)
        right = "..." + "".join(once)
    spelled = [term.replace("...", hidden[depth - count :]) for term, count in zip(terms, extra, strict=True)]
    return contracted(op, spelled, promoted(op, *tensors), right.replace("...", hidden))


@lowers(aten.tensordot.default)
def tensordot(op: Builder, self: Value, other: Value, dims_self: Sequence[int], dims_other: Sequence[int]) -> Value:
    """[*A, *K], [*K, *B] -> [*A, *B], the axes K named by `dims_self` and `dims_other`."""
    letters = iter(string.ascii_letters)
    first = [next(letters) for _ in range(rank(self))]
    second = [next(letters) for _ in range(rank(other))]
    for a, b in zip(dims_self, dims_other, strict=True):
        second[b] = first[a]
    kept = [letter for letter in first if letter not in second] + [x for x in second if x not in first]
    return contracted(op, ["".join(first), "".join(second)], [self, other], "".join(kept))


@lowers(aten.bilinear.default)
def bilinear(op: Builder, input1: Value, input2: Value, weight: Value, bias: Value | None) -> Value:
    """[*B, I], [*B, J], [O, I, J], [O] -> [*B, O], `sum over i, j of x_i w_oij y_j`."""
    lead = string.ascii_uppercase[: rank(input1) - 1]
    result = contracted(op, [f"{lead}i", "oij", f"{lead}j"], [input1, weight, input2], f"{lead}o")
    return result if bias is None else op.Add(result, bias)


@lowers(aten.kron.default)
def kron(op: Builder, self: Value, other: Value) -> Value:
    """[a, b], [c, d] -> [a c, b d], of any rank; the shorter shape gets ones in front."""
    self, other = promoted(op, self, other)
    count = max(rank(self), rank(other))
    first = (1,) * (count - rank(self)) + dims(self)
    second = (1,) * (count - rank(other)) + dims(other)
    spread = op.unsqueeze(self, range(1, 2 * rank(self), 2))
    inner = op.unsqueeze(other, range(1, 2 * rank(other) - 1, 2))
    product = op.emit("And" if dtype(self) == ir.DataType.BOOL else "Mul", [spread, inner], {})
    return op.reshape(product, [a * b for a, b in zip(first, second, strict=True)])


def contracted(op: Builder, terms: Sequence[str], tensors: Sequence[Value], result: str) -> Value:
    """The sum of products over the letters that `result` lacks, by the cheapest nodes.

    A MatMul or Mul where the axes stand so that one does it with at most one Transpose of a tensor
    that is no weight; runtimes do these faster than Einsum, and fuse them.
    """
    kind = dtype(tensors[0])
    if len(tensors) == 1 and not _repeats(terms[0]):
        return _reduced(op, terms[0], tensors[0], result)
    if len(tensors) == 1 and not is_float(kind) and not set(terms[0]) <= set(result):
        return op.Einsum(op.cast(tensors[0], _INT64), equation=f"{terms[0]}->{result}")  # a sum of integers
    if not is_float(kind) and kind not in (ir.DataType.INT32, _INT64):
        wide = [op.cast(tensor, ir.DataType.INT32) for tensor in tensors]
        return op.cast(contracted(op, terms, wide, result), kind)
    if len(tensors) == 2 and not any(map(_repeats, terms)):
        if set(terms[0]) | set(terms[1]) == set(result):
            if all(_is_subsequence(term, result) for term in terms):
                return _multiplied(op, terms, tensors, result)
        elif (plan := _matmul_plan(terms, tensors, result)) is not None:
            return _by_matmul(op, plan, terms, tensors, result)
    return pointwise(op, "Einsum", *tensors, equation=f"{','.join(terms)}->{result}")


def _repeats(term: str) -> bool:
    return len(set(term)) < len(term)


def _is_subsequence(term: str, result: str) -> bool:
    return [letter for letter in result if letter in term] == list(term)


def _reduced(op: Builder, term: str, tensor: Value, result: str) -> Value:
    """Sum over the axes that the result lacks, and put the others in order; integers sum as int64."""
    gone = [axis for axis, letter in enumerate(term) if letter not in result]
    if gone:
        tensor = op.reduce("ReduceSum", tensor if is_float(dtype(tensor)) else op.cast(tensor, _INT64), gone)
    left = [letter for letter in term if letter in result]
    return op.transpose(tensor, [left.index(letter) for letter in result])


def _multiplied(op: Builder, terms: Sequence[str], tensors: Sequence[Value], result: str) -> Value:
    """The product of two tensors whose axes stand in the order of the result."""
    spread = []
    for term, tensor in zip(terms, tensors, strict=True):
        missing = [axis for axis, letter in enumerate(result) if letter not in term]
        leading = len(result) - len(result.lstrip("".join(set(result) - set(term))))
        spread.append(op.unsqueeze(tensor, [axis - leading for axis in missing if axis >= leading]))
    return op.Mul(*spread)


class _Plan(NamedTuple):
    """A MatMul of two tensors: which is first, how each is spelled before it, how its result is."""

    first: int
    spellings: tuple[str, str]
    result: str


def _matmul_plan(terms: Sequence[str], tensors: Sequence[Value], result: str) -> _Plan | None:
    """The cheapest MatMul that does it with at most one Transpose; None where Einsum is better."""
    inner = [letter for letter in terms[0] if letter in terms[1] and letter not in result]
    summed = (set(terms[0]) | set(terms[1])) - set(result)
    if len(inner) != 1 or len(summed) != 1:
        return None
    k = inner[0]
    lengths = [dims(tensor)[term.index(k)] for term, tensor in zip(terms, tensors, strict=True)]
    if same(*lengths) is False:
        return None
    best: _Plan | None = None
    least = 2
    for plan in _plans(terms, result, k):
        cost = int(plan.result != result)
        for i, spelling in zip((plan.first, 1 - plan.first), plan.spellings, strict=True):
            cost += terms[i] != spelling and tensors[i].const_value is None
        if cost < least:
            best, least = plan, cost
    return best


def _plans(terms: Sequence[str], result: str, k: str) -> Iterator[_Plan]:
    """The ways to say it as a MatMul: [*L, row, k] and [*L, k, column], or a vector [k]."""
    for first in (0, 1):
        x, y = terms[first], terms[1 - first]
        if x == k:
            kept = y.replace(k, "")
            yield _Plan(first, (x, kept[:-1] + k + kept[-1:]), kept)
        elif y == k:
            yield _Plan(first, (x.replace(k, "") + k, y), x.replace(k, ""))
        for row in set(x) - set(y):
            for column in set(y) - set(x):
                lead = "".join(letter for letter in result if letter not in (row, column))
                x_lead = "".join(letter for letter in lead if letter in x)
                y_lead = "".join(letter for letter in lead if letter in y)
                if lead.endswith(x_lead) and lead.endswith(y_lead):
                    yield _Plan(first, (x_lead + row + k, y_lead + k + column), lead + row + column)


def _by_matmul(op: Builder, plan: _Plan, terms: Sequence[str], tensors: Sequence[Value], result: str) -> Value:
    operands = []
    for i, spelling in zip((plan.first, 1 - plan.first), plan.spellings, strict=True):
        operands.append(op.transpose(tensors[i], [terms[i].index(letter) for letter in spelling]))
    product = op.MatMul(*operands)
    return op.transpose(product, [plan.result.index(letter) for letter in result])
