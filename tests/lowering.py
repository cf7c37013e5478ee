"""How the tests of lowering rules export a call, run it in onnxruntime and compare it with eager."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from exporter import Program, export
from tests.running import Calling

_TOLERANCES = {torch.float64: 1e-7, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}


@dataclass(frozen=True)
class Case:
    """One call: `function(*inputs)`; `inputs` are made anew by each test from the same seed.

    `ops`, where it is given, is what the static graph must consist of, as `"Concat Relu"`.
    `dynamic` is False for a call that eager itself takes at no other size; `fixed` names the dims of
    every input that it takes at no other size.
    """

    name: str
    function: Callable[..., Any]
    inputs: Callable[[], Sequence[Any]]
    ops: str | None = None
    dynamic: bool = True
    fixed: tuple[int, ...] = ()
    opset_version: int = 18
    options: dict[str, Any] = field(default_factory=dict)


def cases(*rows: Case) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test once for each case."""
    return pytest.mark.parametrize("case", rows, ids=[row.name for row in rows])


def both_ways(*rows: Case) -> tuple[Callable[..., None], Callable[..., None]]:
    """The two tests of a family's cases: exported statically, and with dynamic dims."""

    @cases(*rows)
    def test_static(case: Case) -> None:
        check(case)

    @cases(*rows)
    def test_dynamic(case: Case) -> None:
        check(case, dynamic=True)

    return test_static, test_dynamic


def check(case: Case, *, dynamic: bool = False) -> Program | None:
    """Export the case, statically or with every dim above 1 dynamic, run it, and compare with eager.

    A dynamic export runs at the example's sizes and with every dynamic dim larger by 2.
    """
    torch.manual_seed(0)
    inputs = tuple(case.inputs())
    shapes = None
    if dynamic:
        shapes = tuple(
            dict.fromkeys(_open_dims(t, case.fixed), torch.export.Dim.DYNAMIC) if isinstance(t, torch.Tensor) else None
            for t in inputs
        )
        if not case.dynamic or not any(shapes):
            return None
    module = Calling(case.function).eval()
    program = export(module, inputs, dynamic_shapes=shapes, opset_version=case.opset_version, **case.options)
    assert program.model.opset_imports[""] == case.opset_version
    session = session_of(program)
    compare(session, case.function, inputs)
    if dynamic:
        compare(session, case.function, tuple(_grown(t, case.fixed) for t in inputs))
    elif case.ops is not None:
        assert ops(program) == case.ops
    return program


def ops(program: Program) -> str:
    """The op types of the main graph, in order, in one line."""
    return " ".join(node.op_type for node in program.model.graph)


def session_of(program: Program) -> onnxruntime.InferenceSession:
    """The program in onnxruntime, on the CPU, with all of its optimizations, as users run it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return onnxruntime.InferenceSession(
        program.to_proto().SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def compare(session: onnxruntime.InferenceSession, function: Callable[..., Any], inputs: Sequence[Any]) -> None:
    """Run both and compare shapes, dtypes and values of every result."""
    tensors = [t for t in inputs if isinstance(t, torch.Tensor)]
    given = {i.name: _real(t).numpy() for i, t in zip(session.get_inputs(), tensors, strict=True)}
    actual = session.run(None, given)
    with torch.no_grad():
        expected = function(*(t.clone() if isinstance(t, torch.Tensor) else t for t in inputs))
    expected = [e for e in torch.utils._pytree.tree_leaves(expected) if e is not None]
    assert len(actual) == len(expected)
    for got, want in zip(actual, expected, strict=True):
        want = _real(torch.as_tensor(want))
        assert tuple(got.shape) == tuple(want.shape)
        assert got.dtype == want.numpy().dtype
        if want.is_floating_point():
            tolerance = _TOLERANCES[want.dtype]
            finite = want.double()[want.isfinite()].abs()
            scale = max(1.0, float(finite.max())) if finite.numel() else 1.0
            np.testing.assert_allclose(got, want.numpy(), rtol=tolerance, atol=tolerance * scale * 0.1)
        else:
            np.testing.assert_array_equal(got, want.numpy())


def _real(tensor: torch.Tensor) -> torch.Tensor:
    """A complex tensor as a real one with a last dim of 2; a real one itself."""
    tensor = tensor.resolve_neg()
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _open_dims(tensor: torch.Tensor, fixed: Sequence[int]) -> list[int]:
    """The dims above 1 that are not fixed."""
    return [dim for dim, size in enumerate(tensor.shape) if size > 1 and dim not in fixed]


def _grown(tensor: Any, fixed: Sequence[int]) -> Any:
    """Every open dim larger by 2, the values taken from the old ones."""
    if not isinstance(tensor, torch.Tensor):
        return tensor
    for dim in _open_dims(tensor, fixed):
        size = tensor.shape[dim]
        tensor = tensor.index_select(dim, torch.arange(size + 2) % size)
    return tensor
