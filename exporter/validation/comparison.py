"""How two results are compared: shapes, dtypes and values, with tolerances that follow dtype, scale and depth."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import onnx_ir as ir
import torch

from shape_inference import Dim

# What of an output's scale two runtimes may differ by, by the coarsest dtype that took part.
TOLERANCES = {torch.float64: 1e-7, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
_OTHER_FLOAT = 1e-1  # float8 and the like
_SHALLOW = 200  # nodes in a row; beyond, rounding errors add up like a random walk


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
        note: whether the exporter or the model itself makes the difference, where that is known.
        ill_conditioned: whether eager in float32 is as far from eager in float64.
    """

    name: str
    absolute: float = 0.0
    relative: float = 0.0
    outside: float = 0.0
    where: tuple[int, ...] = ()
    problem: str = ""
    note: str = ""
    ill_conditioned: bool = False

    @property
    def words(self) -> str:
        """The problem, and whose it is."""
        return f"{self.problem}; {self.note}" if self.note else self.problem


def tolerances_of(model: ir.Model) -> dict[torch.dtype, float]:
    """What of its scale an output of each dtype may differ by.

    No dtype's tolerance is below that of the coarsest dtype that the model computes in; models of more
    than 200 nodes in a row get more, by the square root of their depth.
    """
    values = (output for node in model.graph.all_nodes() for output in node.outputs)
    found = {value.dtype for value in values if value.shape is None or len(value.shape)}  # not numbers made of sizes
    least = max((TOLERANCES[dtype] for onnx, dtype in _COARSE.items() if onnx in found), default=0.0)
    growth = math.sqrt(max(1.0, depth_of(model.graph) / _SHALLOW))
    return {dtype: max(limit, least) * growth for dtype, limit in TOLERANCES.items()}


_COARSE = {
    ir.DataType.BFLOAT16: torch.bfloat16,
    ir.DataType.FLOAT16: torch.float16,
    ir.DataType.FLOAT: torch.float32,  # as the norms of a float64 model may be
}


def depth_of(graph: ir.Graph) -> int:
    """The number of nodes on the longest way through a graph whose nodes are sorted."""
    depths: dict[ir.Node, int] = {}
    for node in graph:
        producers = (value.producer() for value in node.inputs if value is not None)
        depths[node] = 1 + max((depths.get(p, 0) for p in producers if p is not None), default=0)
    return max(depths.values(), default=0)


def axes_by_values(graph: ir.Graph) -> dict[str, tuple[int, ...]]:
    """Output -> its axes whose sizes no sizes of the inputs decide."""
    given = {symbol for value in graph.inputs for dim in value.shape or () for symbol in _symbols(dim)}
    return {
        value.name or "": tuple(axis for axis, dim in enumerate(value.shape or ()) if _symbols(dim) - given)
        for value in graph.outputs
    }


def _symbols(dim: int | ir.SymbolicDim) -> frozenset[str]:
    return dim.free_symbols() if isinstance(dim, Dim) else frozenset()


def compare(
    name: str,
    expected: torch.Tensor,
    actual: torch.Tensor,
    *,
    tolerance: float | None = None,
    tolerances: Mapping[torch.dtype, float] = TOLERANCES,
    values: bool = True,
    open_axes: Collection[int] = (),
) -> Difference:
    """Compare one output.  NaN equals NaN, an infinity itself; integers and bools must be equal.

    Args:
        name: the output's name.
        expected: what eager gave.
        actual: what the runtime gave.
        tolerance: what of the scale they may differ by; by `tolerances` where None.
        tolerances: the tolerance of each dtype.
        values: whether values are compared; random results have only shapes and dtypes in common.
        open_axes: the axes of random results whose size is as random.
    """
    if actual.dtype != expected.dtype:
        return Difference(name, problem=f"dtype {_short(actual.dtype)}, expected {_short(expected.dtype)}")
    if not values and open_axes and actual.ndim == expected.ndim:
        for axis in open_axes:
            actual = actual.narrow(axis, 0, 0)
            expected = expected.narrow(axis, 0, 0)
    if actual.shape != expected.shape:
        return Difference(name, problem=f"shape {list(actual.shape)}, expected {list(expected.shape)}")
    if not values or not expected.numel():
        return Difference(name)
    if not expected.is_floating_point():
        wrong = actual != expected
        return _summary(name, (actual.double() - expected.double()).abs(), wrong, 1.0)
    limit = tolerances.get(expected.dtype, _OTHER_FLOAT) if tolerance is None else tolerance
    wide = expected.dtype if expected.dtype in (torch.float32, torch.float64) else torch.float32
    want, got = expected.to(wide), actual.to(wide)
    scale = _scale(want)
    distance = (want - got).abs()
    if not math.isfinite(float(distance.max())):  # the maximum of NaNs is NaN
        same = (want == got) | (want.isnan() & got.isnan())  # infinities of one sign are equal
        distance = torch.where(same, 0.0, distance).nan_to_num_(nan=float("inf"), posinf=float("inf"))
    return _summary(name, distance, distance > limit * scale, scale)


def _scale(tensor: torch.Tensor) -> float:
    """The largest finite magnitude; 1 where there is none."""
    low, high = (float(bound) for bound in torch.aminmax(tensor))
    if not math.isfinite(low) or not math.isfinite(high):
        finite = tensor[tensor.isfinite()]
        if not finite.numel():
            return 1.0
        low, high = (float(bound) for bound in torch.aminmax(finite))
    return max(-low, high, 1e-6)


def _summary(name: str, distance: torch.Tensor, wrong: torch.Tensor, scale: float) -> Difference:
    worst = float(distance.max())
    where = tuple(int(i) for i in torch.unravel_index(distance.argmax(), distance.shape))
    outside = int(wrong.count_nonzero()) / wrong.numel()
    problem = f"{outside:.2%} of values differ, the most by {worst:.3g} at {list(where)}" if outside else ""
    return Difference(name, worst, worst / scale, outside, where, problem)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
