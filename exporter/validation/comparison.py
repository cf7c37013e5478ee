"""How two results are compared: shapes, dtypes and values, with tolerances that follow the dtype and scale."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
import torch

# What of an output's scale two runtimes may differ by, by the coarsest dtype that took part.
TOLERANCES = {torch.float64: 1e-7, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}


@dataclass(frozen=True)
class Difference:
    """How one output differs.

    Attributes:
        name: the output.
        absolute: the largest absolute difference.
        relative: the largest absolute difference over the output's scale, its largest finite value.
        outside: the share of elements that lie outside the tolerance.
        where: the index of the largest difference.
        problem: why the output does not pass, or "".
    """

    name: str
    absolute: float = 0.0
    relative: float = 0.0
    outside: float = 0.0
    where: tuple[int, ...] = ()
    problem: str = ""


def tolerance_of(model: ir.Model) -> float:
    """The tolerance of the coarsest dtype that a model computes in."""
    found = {output.dtype for node in model.graph.all_nodes() for output in node.outputs}
    return max((TOLERANCES[dtype] for onnx, dtype in _COARSE.items() if onnx in found), default=0.0)


_COARSE = {ir.DataType.BFLOAT16: torch.bfloat16, ir.DataType.FLOAT16: torch.float16}


def compare(
    name: str, expected: torch.Tensor, actual: torch.Tensor, *, tolerance: float | None = None, values: bool = True
) -> Difference:  # fmt: skip
    """Compare one output.

    Args:
        name: the output's name.
        expected: what eager gave.
        actual: what the runtime gave.
        tolerance: what of the scale they may differ by; the dtype's own where None.
        values: whether values are compared; random results have only shapes and dtypes in common.
    """
    if actual.dtype != expected.dtype:
        return Difference(name, problem=f"dtype {_short(actual.dtype)}, expected {_short(expected.dtype)}")
    if actual.shape != expected.shape:
        return Difference(name, problem=f"shape {list(actual.shape)}, expected {list(expected.shape)}")
    if not values or not expected.numel():
        return Difference(name)
    if not expected.is_floating_point():
        wrong = actual != expected
        return _summary(name, (actual.double() - expected.double()).abs(), wrong, 1.0)
    limit = TOLERANCES.get(expected.dtype, 1e-1) if tolerance is None else tolerance
    want, got = expected.double(), actual.double()
    finite = want[want.isfinite()].abs()
    scale = max(float(finite.max()), 1e-6) if finite.numel() else 1.0
    same = (want == got) | (want.isnan() & got.isnan())  # infinities of one sign are equal
    distance = torch.where(same, 0.0, (want - got).abs()).nan_to_num(nan=float("inf"))
    return _summary(name, distance, distance > limit * scale, scale)


def _summary(name: str, distance: torch.Tensor, wrong: torch.Tensor, scale: float) -> Difference:
    worst = float(distance.max())
    where = tuple(int(i) for i in torch.unravel_index(distance.argmax(), distance.shape))
    outside = float(wrong.double().mean())
    problem = f"{outside:.2%} of values differ, the most by {worst:.3g} at {list(where)}" if outside else ""
    return Difference(name, worst, worst / scale, outside, where, problem)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
