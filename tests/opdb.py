"""Operators of PyTorch's own test database, each call exported, run in onnxruntime and compared with eager.

A call becomes a function of its tensors; all else is part of it.  It runs on the sample, on other values, and
where its dims are dynamic at other sizes.  Where eager itself is random, only shapes and dtypes are compared.
"""

from __future__ import annotations

import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from lowering import _real, session_of
from torch.testing._internal import common_methods_invocations as database
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from exporter import export

OPERATORS = {operator.full_name: operator for operator in database.op_db}
DTYPES = {"float32": torch.float32, "int64": torch.int64, "float16": torch.float16, "bool": torch.bool}

_LARGEST = 100_000  # elements of a sample
_UNDEFINED = re.compile(r"empty|resize_")  # operators whose values eager leaves open
_TOLERANCES = {
    torch.float64: (1e-6, 1e-8), torch.float32: (1e-4, 1e-5), torch.float16: (1e-2, 2e-3), torch.bfloat16: (5e-2, 1e-2),
}  # fmt: skip

# The database seeds every sample function; random operators must stay random here.
database.wrapper_set_seed = lambda function, *args, **kwargs: function(*args, **kwargs)


class NotAsked(Exception):
    """Eager does not take the sample, or it is none for an exporter (sparse, quantized, too large)."""


def names(dtype: str) -> list[str]:
    """The operators that take a dtype on the CPU."""
    return [name for name, operator in OPERATORS.items() if DTYPES[dtype] in operator.supported_dtypes("cpu")]


def verdict(name: str, dtype: str, *, samples: int, dynamic: bool = False) -> str | None:
    """What the first failing sample of an operator says; None where all pass.

    Skips the test where no sample can be asked.
    """
    asked = 0
    for sample in _samples(name, dtype):
        try:
            problem = _problem(sample, dynamic)
        except NotAsked:
            continue
        if problem is not None:
            return problem
        asked += 1
        if asked == samples:
            break
    if not asked:
        pytest.skip("eager takes no sample of it on the CPU that an exporter could be asked")
    return None


class _Sample:
    """A call as a function of its tensors."""

    def __init__(self, operator: Any, sample: Any) -> None:
        self.operator, self.writes = operator, False
        self.leaves, self.spec = tree_flatten((sample.input, tuple(sample.args), dict(sample.kwargs)))
        _check(self.leaves)
        self.places = [i for i, leaf in enumerate(self.leaves) if isinstance(leaf, torch.Tensor)]
        self.tensors = [self.leaves[i].detach() for i in self.places]
        self.expected = self.eager(self.tensors)
        again = [self.eager(self.tensors, seed) for seed in range(1, 7)]
        is_random = any(difference(self.expected, other, self.tensors, True) for other in again)
        self.has_values = not _UNDEFINED.search(operator.name) and not is_random

    def call(self, *tensors: torch.Tensor) -> tuple[Any, ...]:
        leaves = list(self.leaves)
        for place, tensor in zip(self.places, tensors, strict=True):
            leaves[place] = tensor.clone() if self.writes else tensor
        first, args, kwargs = tree_unflatten(leaves, self.spec)
        return tuple(leaf for leaf in tree_leaves(self.operator.op(first, *args, **kwargs)) if leaf is not None)

    def eager(self, tensors: Sequence[torch.Tensor], seed: int = 0) -> list[Any]:
        torch.manual_seed(seed)
        copies = [tensor.clone() for tensor in tensors]
        versions = [copy._version for copy in copies]
        try:
            with torch.no_grad():
                result = self.call(*copies)
        except Exception as error:
            raise NotAsked(str(error)) from error
        self.writes |= versions != [copy._version for copy in copies]
        _check(result, are_results=True)
        return [leaf.clone() if isinstance(leaf, torch.Tensor) else leaf for leaf in result]


def _check(leaves: Sequence[Any], *, are_results: bool = False) -> None:
    for leaf in leaves:
        if isinstance(leaf, torch.Tensor):
            plain = leaf.layout == torch.strided and not leaf.is_quantized and type(leaf) is torch.Tensor
            if not plain or leaf.numel() > _LARGEST:
                raise NotAsked("sparse, of a special kind, or large")
        elif isinstance(leaf, (complex, torch.Generator)) or (are_results and not isinstance(leaf, (int, float))):
            raise NotAsked(f"a {type(leaf).__name__}")
    if not leaves:
        raise NotAsked("nothing")


def _samples(name: str, dtype: str) -> Iterator[_Sample]:
    """At most 24 samples, the same each time."""
    torch.manual_seed(zlib.crc32(f"{name} {dtype}".encode()))
    np.random.seed(zlib.crc32(name.encode()))
    operator = OPERATORS[name]
    inputs = operator.sample_inputs("cpu", DTYPES[dtype], requires_grad=False, set_seed=False)
    for sample in [sample for sample, _ in zip(inputs, range(24), strict=False)]:
        try:
            yield _Sample(operator, sample)
        except NotAsked:
            continue


def _problem(sample: _Sample, dynamic: bool) -> str | None:
    shapes = None
    if dynamic:
        shapes = tuple({d: torch.export.Dim.DYNAMIC for d, n in enumerate(t.shape) if n > 1} for t in sample.tensors)
        if not any(shapes):
            raise NotAsked("no dim to make dynamic")
    runs = [(sample.tensors, sample.expected)]
    for tensors in [_other_values(sample.tensors), *([_larger(sample.tensors)] if dynamic else [])]:
        try:
            expected = sample.eager(tensors)
        except NotAsked:
            continue
        if len(expected) == len(sample.expected):  # a graph has a fixed number of results
            runs.append((tensors, expected))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = export(_module(sample), tuple(t.clone() for t in sample.tensors), dynamic_shapes=shapes)
        session = session_of(program)
        for tensors, expected in runs:
            if problem := difference(expected, _run(session, tensors), tensors, sample.has_values):
                return problem
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def _module(sample: _Sample) -> torch.nn.Module:
    inputs, scope = ", ".join(f"in_{i}" for i in range(len(sample.tensors))), {"call": sample.call}
    exec(f"def forward(self, {inputs}):\n    return call({inputs})\n", scope)
    return type("Call", (torch.nn.Module,), {"forward": scope["forward"]})()


def _run(session: onnxruntime.InferenceSession, tensors: Sequence[torch.Tensor]) -> list[Any]:
    given = {f"in_{i}": _real(tensor).contiguous().numpy() for i, tensor in enumerate(tensors)}
    wanted = {value.name for value in session.get_inputs()}
    feeds = {name: onnxruntime.OrtValue.ortvalue_from_numpy(given[name]) for name in wanted}
    return [
        torch.from_dlpack(result).float() if "bfloat16" in result.data_type() else result.numpy()
        for result in session.run_with_ort_values(None, feeds)
    ]


def _other_values(tensors: Sequence[torch.Tensor], noise: float = 0.03) -> list[torch.Tensor]:
    """Values nearer to 0, which stay in the operator's domain; integers beside floats are indices and stay."""
    floats = any(tensor.is_floating_point() for tensor in tensors)
    torch.manual_seed(1)
    others = []
    for tensor in tensors:
        if tensor.is_floating_point():
            other = (tensor * (1 - noise * torch.rand(tensor.shape))).to(tensor.dtype)
            others.append(other if len(other.unique()) >= len(tensor.unique()) else tensor * 0.5)  # no new ties
        else:
            others.append(tensor if floats or tensor.is_complex() else tensor.roll(1))
    return others


def _larger(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Every dim above 1 larger by 2, the values made from the old ones."""
    grown = []
    for tensor in tensors:
        for dim, size in enumerate(tensor.shape):
            if size > 1:
                tensor = tensor.index_select(dim, torch.arange(size + 2) % size)
        grown.append(tensor)
    return _other_values(grown, noise=0.3)  # less would leave rows equal, and matrices singular


def difference(
    expected: Sequence[Any], actual: Sequence[Any], inputs: Sequence[torch.Tensor], values: bool
) -> str | None:
    """How results differ in number, shape, dtype, and where asked in values; None where they agree."""
    if len(actual) != len(expected):
        return f"{len(actual)} results, expected {len(expected)}"
    for place, (given, got) in enumerate(zip(expected, actual, strict=True)):
        if isinstance(got, torch.Tensor):
            got = _real(got).float() if got.dtype == torch.bfloat16 else _real(got)
        got = np.asarray(got)
        kind = None if isinstance(given, torch.Tensor) else torch.from_numpy(got.reshape(-1)).dtype
        tensor = _real(torch.as_tensor(given, dtype=kind))
        tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor  # which numpy lacks
        want = tensor.numpy()
        if got.shape != want.shape or got.dtype != want.dtype:
            return f"result {place}: {got.dtype}{list(got.shape)}, expected {want.dtype}{list(want.shape)}"
        if not values:
            continue
        same = got == want
        if want.dtype.kind == "f":
            relative, absolute = map(
                max, zip(*(_TOLERANCES[t.dtype] for t in (*inputs, tensor) if t.dtype in _TOLERANCES), strict=True)
            )
            got, want = got.astype(np.float64), want.astype(np.float64)
            scale = np.clip(np.abs(want[np.isfinite(want)]).max(initial=0.0), 1.0, 100.0)
            same = np.isclose(got, want, relative, absolute * scale, equal_nan=True)
        if not np.all(same):
            return f"result {place}: {int(np.sum(~np.asarray(same)))} of {want.size} values differ"
    return None
