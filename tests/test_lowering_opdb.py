"""PyTorch's own operator database: a sample of it in the gate, all of it under `slow`, and what does not pass and why.

The list is held to be true: an operator in it that passes is a failure as well.
"""

from __future__ import annotations

import zlib

import opdb
import pytest

_TIES = "eager takes any of equal values, ONNX the first: which place stands for them is not defined"
_SIGNS = "vectors are defined up to their signs, and ONNX has no LAPACK to choose the same"
_UNSORTED = "its larger input is not sorted, and eager leaves open what it gives then"
_PIVOTS = "Bunch-Kaufman pivots are LAPACK's: ONNX has no such op, and the permutation depends on values step by step"
_EIGENVALUES = "ONNX has no eigenvalues of general matrices, which an iteration of unknown length would have to find"
_COUNT = "as many results as a tensor's values say: a graph has a fixed number"
_OVERFLOW = "eager overflows to nan on the way in float16; onnxruntime computes in float32 and gives the number"
_CHUNKS = "its kernel cuts the batch into chunks of a size that it computes as a number: see the error, which says so"
_CONDITION = "the larger input is near to singular, and errors of rounding grow beyond the tolerance"

# Operator -> dtype ("dynamic": float32 with open dims) -> why it does not pass.
KNOWN: dict[str, dict[str, str]] = {
    "argsort": dict.fromkeys(["float16", "bool", "dynamic"], _TIES),
    "bucketize": dict.fromkeys(["int64", "dynamic"], _UNSORTED),
    "histogram": {"dynamic": _UNSORTED},
    "kthvalue": {"int64": _TIES},
    "linalg.cholesky_ex": {"dynamic": _CONDITION},
    "linalg.eig": dict.fromkeys(["float32", "dynamic"], _EIGENVALUES),
    "linalg.eigh": dict.fromkeys(["float32", "dynamic"], _SIGNS),
    "linalg.eigvals": dict.fromkeys(["float32", "dynamic"], _EIGENVALUES),
    "linalg.ldl_factor": dict.fromkeys(["float32", "dynamic"], _PIVOTS),
    "linalg.ldl_factor_ex": dict.fromkeys(["float32", "dynamic"], _PIVOTS),
    "linalg.ldl_solve": dict.fromkeys(["float32", "dynamic"], _PIVOTS),
    "matrix_exp": {"float16": _OVERFLOW},
    "nn.functional.embedding_bag": {"dynamic": _UNSORTED},
    "nn.functional.linear_cross_entropy.chunked": {"dynamic": _CHUNKS},
    "nn.functional.linear_cross_entropy.chunked_none": {"dynamic": _CHUNKS},
    "pca_lowrank": {"dynamic": _SIGNS},
    "pinverse": {"dynamic": _CONDITION},
    "sort": dict.fromkeys(["float16", "bool", "dynamic"], _TIES),
    "svd_lowrank": {"dynamic": _SIGNS},
    "tensor_split": dict.fromkeys(["float32", "dynamic"], _COUNT),
    "topk": {"int64": _TIES},
}

_GATE = 12  # one in so many operators is in the gate


def _sampled(name: str, dtype: str) -> bool:
    """Whether a call is in the gate, which leaves open dims to the tests of each family."""
    return dtype != "dynamic" and zlib.crc32(f"gate {name} {dtype}".encode()) % _GATE == 0


_CALLS = [(name, dtype) for dtype in opdb.DTYPES for name in opdb.names(dtype)]
_CALLS += [(name, "dynamic") for name in opdb.names("float32")]


@pytest.mark.parametrize(("name", "dtype"), [call for call in _CALLS if _sampled(*call)])
def test_a_sample(name: str, dtype: str) -> None:
    _check(name, dtype, samples=1)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dtype"), _CALLS)
def test_all(name: str, dtype: str) -> None:
    problem = _check(name, dtype, samples=3 if dtype == "float32" else 2 if dtype == "dynamic" else 1)
    if dtype in KNOWN.get(name, {}):
        assert problem is not None, f"{name} passes with {dtype}: take it out of the list"


def _check(name: str, dtype: str, *, samples: int) -> str | None:
    """What does not pass, if it is in the list."""
    dynamic = dtype == "dynamic"
    problem = opdb.verdict(name, "float32" if dynamic else dtype, samples=samples, dynamic=dynamic)
    assert problem is None or dtype in KNOWN.get(name, {}), problem
    return problem


def test_the_list_names_operators_and_says_why() -> None:
    for name, reasons in KNOWN.items():
        assert reasons.keys() <= {*opdb.DTYPES, "dynamic"}
        assert name in opdb.OPERATORS
        assert all(len(reason) > 20 for reason in reasons.values())
