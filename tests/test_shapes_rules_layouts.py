"""Rules that make, read, change, join, cut and index shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from tests.test_shapes_harness import Row, check, fails, ids

FAR = 2**63 - 1
ONE = ir.tensor(np.array([1], dtype=np.int64))

LAYOUTS: list[Row] = [
    ("Shape", "float[N, seq, 3]", {}, "int64[3]{N, seq, 3}"),
    ("Shape", "float[N, seq, 3]", {"start": 1, "end": -1}, "int64[1]{seq}"),
    ("Shape", "float[N, seq, 3]", {"start": -5, "end": 9}, "int64[3]{N, seq, 3}"),
    ("Size", "float[N, seq, 3]", {}, "int64[]{3*N*seq}"),
    ("Reshape", "float[N, seq, 768]; int64[4]{N, seq, 12, 64}", {}, "float[N, seq, 12, 64]"),
    ("Reshape", "float[N, seq, 768]; int64[2]{-1, 768}", {}, "float[N*seq, 768]"),
    ("Reshape", "float[N, seq, 768]; int64[4]{0, 0, 12, -1}", {}, "float[N, seq, 12, 64]"),
    ("Reshape", "float[N, seq, 768]; int64[4]{N, -1, 12, 64}", {}, "float[N, seq, 12, 64]"),
    ("Reshape", "float[N, 12, seq, 64]; int64[3]{N, seq, -1}", {}, "float[N, seq, 768]"),
    ("Reshape", "float[N*seq, 64]; int64[3]{N, -1, 64}", {}, "float[N, seq, 64]"),
    ("Reshape", "float[N, seq]; int64[2]{-1, 4}", {}, "float[(N*seq) // 4, 4]"),
    ("Reshape", "float[N, seq]; int64[3]", {}, "float[?0, ?1, ?2]"),
    ("Reshape", "float[N, seq]; int64[rank]", {}, "float?"),
    ("Reshape", "float[0, 3]; int64[2]{0, 3}", {"allowzero": 1}, "float[0, 3]"),
    ("Reshape", "float[N, seq]; int64[2]{0, -1}", {}, "float[N, seq]"),
    ("Reshape", "int64[2]{1, seq}; int64[2]{2, 1}", {}, "int64[2, 1]{1, seq}"),
    ("Reshape", "float?; int64[2]{-1, 4}", {}, "float[?0, 4]"),
    ("Flatten", "float[N, 3, H]", {}, "float[N, 3*H]"),
    ("Flatten", "float[N, 3, H]", {"axis": 0}, "float[1, 3*H*N]"),
    ("Flatten", "float[N, 3, H]", {"axis": -1}, "float[3*N, H]"),
    ("Expand", "float[N, 1]; int64[2]{1, seq}", {}, "float[N, seq]"),
    ("Expand", "float[3]; int64[3]{N, 1, 1}", {}, "float[N, 1, 3]"),
    ("Expand", "int64[1]{7}; int64[1]{3}", {}, "int64[3]{7, 7, 7}"),
    ("Unsqueeze", "float[N]; int64[2]{0, -1}", {}, "float[1, N, 1]"),
    ("Unsqueeze", "int64[]{seq}; int64[1]{0}", {}, "int64[1]{seq}"),
    ("Unsqueeze 11", "float[N]", {"axes": [0]}, "float[1, N]"),
    ("Unsqueeze", "float[N]; int64[2]", {}, "float[?0, ?1, ?2]"),
    ("Squeeze", "float[1, N, 1]; int64[1]{-1}", {}, "float[1, N]"),
    ("Squeeze", "float[1, 3, 1]", {}, "float[3]"),
    ("Squeeze", "float[1, n]", {}, "float?"),
    ("Squeeze 11", "float[1, n]", {"axes": [0]}, "float[n]"),
    ("Transpose", "float[N, seq, 3]", {}, "float[3, seq, N]"),
    ("Transpose", "float[N, seq, 3]", {"perm": [0, 2, 1]}, "float[N, 3, seq]"),
    ("ConstantOfShape", "int64[2]{N, 3}", {}, "float[N, 3]"),
    ("ConstantOfShape", "int64[1]{2}", {"value": ONE}, "int64[2]{1, 1}"),
    ("ConstantOfShape", "int64[2]", {}, "float[?0, ?1]"),
    ("Range", "int64[]{0}; int64[]{seq}; int64[]{1}", {}, "int64[seq]"),
    ("Range", "int64[]{past}; int64[]{past + seq}; int64[]{1}", {}, "int64[seq]"),
    ("Range", "int64[]{1}; int64[]{8}; int64[]{3}", {}, "int64[3]{1, 4, 7}"),
    ("Range", "int64[]{5}; int64[]{0}; int64[]{-2}", {}, "int64[3]{5, 3, 1}"),
    ("Range", "float[]{0.0}; float[]{1.0}; float[]{0.3}", {}, "float[4]"),
    ("Range", "int64[]; int64[]; int64[]", {}, "int64[?0]"),
    ("Tile", "float[N, 3]; int64[2]{2, seq}", {}, "float[2*N, 3*seq]"),
    ("Tile", "int64[2]{1, 2}; int64[1]{2}", {}, "int64[4]{1, 2, 1, 2}"),
    ("DepthToSpace", "float[N, 8, H, W]", {"blocksize": 2}, "float[N, 2, 2*H, 2*W]"),
    ("SpaceToDepth", "float[N, 2, 4*H, 6]", {"blocksize": 2}, "float[N, 8, 2*H, 3]"),
    ("Trilu", "float[N, 3, 4]", {}, "float[N, 3, 4]"),
    ("ReverseSequence", "float[T, N, 3]; int64[N]", {}, "float[T, N, 3]"),
    ("Concat", "float[N, 2]; float[N, seq]; float[N, 3]", {"axis": -1}, "float[N, seq + 5]"),
    ("Concat", "int64[1]{seq}; int64[2]{-1, 3}", {"axis": 0}, "int64[3]{seq, -1, 3}"),
    ("Concat", "float[N, past, 4]; float[N, seq, 4]", {"axis": 1}, "float[N, past + seq, 4]"),
    ("Concat", "float?; float[N, 2]", {"axis": 1}, "float[N, ?0]"),
    ("Split", "float[N, 6]", {"axis": 1}, "float[N, 3]; float[N, 3]"),
    ("Split", "float[7]", {"num_outputs": 3}, "float[3]; float[3]; float[1]"),
    ("Split", "float[4*N]", {}, "float[2*N]; float[2*N]"),
    ("Split", "int64[4]{1, 2, seq, 4}; int64[2]{1, 3}", {}, "int64[1]{1}; int64[3]{2, seq, 4}"),
    ("Split 11", "float[5]", {"split": [2, 3]}, "float[2]; float[3]"),
    ("Slice", "float[N, seq]; int64[1]{0}; int64[1]{-1}; int64[1]{1}", {}, "float[N, max(seq - 1, 0)]"),
    ("Slice", "float[N, T]; int64[1]{0}; int64[1]{-1}; int64[1]{1}", {}, "float[N, T - 1]"),
    ("Slice", f"float[seq]; int64[1]{{2}}; int64[1]{{{FAR}}}", {}, "float[seq - min(seq, 2)]"),
    (
        "Slice",
        f"float[seq]; int64[1]{{0}}; int64[1]{{{FAR}}}; int64[1]{{0}}; int64[1]{{2}}",
        {},
        "float[(seq + 1) // 2]",
    ),
    ("Slice", f"float[5]; int64[1]{{-1}}; int64[1]{{{-FAR}}}; int64[1]{{0}}; int64[1]{{-1}}", {}, "float[5]"),
    ("Slice", "int64[4]{1, 2, 3, 4}; int64[1]{-1}; int64[1]{-9}; int64[1]{0}; int64[1]{-2}", {}, "int64[2]{4, 2}"),
    ("Slice", "int64[3]{N, seq, 4}; int64[1]{1}; int64[1]{9}", {}, "int64[2]{seq, 4}"),
    ("Slice", "float[10]; int64[1]{seq}; int64[1]{9}", {}, "float[max(9 - min(seq, 10), 0)]"),
    ("Slice", "float[N, 10]; int64[1]; int64[1]; int64[1]{1}", {}, "float[N, ?0]"),
    ("Slice", "float[N, 10]; int64[1]; int64[1]; int64[1]", {}, "float[?0, ?1]"),
    ("Slice 9", "float[N, 10]", {"starts": [1], "ends": [4], "axes": [1]}, "float[N, 3]"),
    ("Pad", "float[N, 3]; int64[4]{0, 1, 0, 2}", {}, "float[N, 6]"),
    ("Pad", "float[N, 3]; int64[2]{1, seq}; -; int64[1]{0}", {}, "float[N + seq + 1, 3]"),
    ("Pad", "int64[2]{3, seq}; int64[2]{1, 0}; int64[]{9}", {}, "int64[3]{9, 3, seq}"),
    ("Pad", "float[N, 3]; int64[4]", {}, "float[?0, ?1]"),
    ("Pad 9", "float[N, 3]", {"pads": [0, 1, 0, 1]}, "float[N, 5]"),
]

INDEXING: list[Row] = [
    ("Gather", "float[V, 64]; int64[N, seq]", {}, "float[N, seq, 64]"),
    ("Gather", "int64[3]{N, seq, 4}; int64[]{-2}", {}, "int64[]{seq}"),
    ("Gather", "int64[2, 2]{1, 2, 3, seq}; int64[1]{1}", {"axis": 1}, "int64[2, 1]{2, seq}"),
    ("Gather", "float[N, 3]; int64?", {}, "float?"),
    ("GatherElements", "float[N, 3]; int64[seq, 3]", {"axis": 0}, "float[seq, 3]"),
    ("GatherND", "float[N, 3, 4]; int64[seq, 2]", {}, "float[seq, 4]"),
    ("GatherND", "float[N, 3, 4]; int64[N, seq, 1]", {"batch_dims": 1}, "float[N, seq, 4]"),
    ("ScatterElements", "float[N, 3]; int64[1, 3]; float[1, 3]", {}, "float[N, 3]"),
    ("ScatterND", "float[N, 3]; int64[seq, 1]; float[seq, 3]", {}, "float[N, 3]"),
    ("ScatterND", "int64[3]{1, 2, 3}; int64[1, 1]{1}; int64[1]{seq}", {}, "int64[3]{1, seq, 3}"),
    ("TensorScatter 24", "float[N, 4, T, 8]; float[N, 4, 1, 8]", {}, "float[N, 4, T, 8]"),
    ("TopK", "float[N, 10]; int64[1]{3}", {}, "float[N, 3]; int64[N, 3]"),
    ("TopK", "float[N, 10]; int64[1]", {}, "float[N, ?0]; int64[N, ?0]"),
    ("TopK 9", "float[N, 10]", {"k": 2}, "float[N, 2]; int64[N, 2]"),
    ("NonZero", "float[N, 3]", {}, "int64[2, ?0]"),
    ("NonZero", "int64[3]{0, 5, N}", {}, "int64[1, 2]{1, 2}"),
    ("Compress", "float[N, 3]; bool[3]{true, false, true}", {"axis": 1}, "float[N, 2]"),
    ("Compress", "float[N, 3]; bool[3]", {}, "float[?0]"),
    ("Unique", "float[N, 3]", {}, "float[?0]; int64[?0]; int64[3*N]; int64[?0]"),
    ("Unique", "float[N, 3]", {"axis": 0}, "float[?0, 3]; int64[?0]; int64[N]; int64[?0]"),
    ("OneHot", "int64[N]; int64[]{10}; float[2]", {}, "float[N, 10]"),
    ("OneHot", "int64[N, 3]; int64[1]{seq}; float[2]", {"axis": 1}, "float[N, seq, 3]"),
    ("NonMaxSuppression", "float[1, N, 4]; float[1, 2, N]", {}, "int64[?0, 3]"),
    ("EyeLike", "float[N, 3]", {"dtype": 7}, "int64[N, 3]"),
]


@pytest.mark.parametrize("row", LAYOUTS + INDEXING, ids=ids(LAYOUTS + INDEXING))
def test_rule(row: Row) -> None:
    check(row)


ERRORS: list[tuple[str, str, dict[str, Any], str]] = [
    ("Reshape", "float[2, 3]; int64[2]{4, 2}", {}, "Reshape: shape must hold all elements, got [2, 3] as [4, 2]"),
    ("Reshape", "float[2, 3]; int64[2]{-1, -1}", {}, "Reshape: shape must have at most one -1, got [-1, -1]"),
    (
        "Reshape",
        "float[6]; int64[2]{-1, 4}",
        {},
        "Reshape: the other dims must divide the elements, got [6] as [-1, 4]",
    ),
    ("Reshape", "float[6]; int64[1]{-2}", {}, "Reshape: shape must have no negative number but -1, got [-2]"),
    ("Reshape", "float[6]; int64[2]{6, 0}", {}, "Reshape: shape must have no 0 beyond the rank 1, got [6, 0]"),
    ("Reshape", "float[6]; float[1]", {}, "Reshape: input 1 must be INT64, got FLOAT"),
    ("Concat", "float[2]; float[2]", {"axis": 1}, "Concat: axis must be in [-1, 0], got 1"),
    ("Concat", "float[2, 3]; float[3, 3]", {"axis": 1}, "Concat: sizes of axis 0 must be equal, got 2 and 3"),
    ("Concat", "float[2]; float[2]", {}, "Concat: attribute axis must be given"),
    ("Concat", "float[2]; float[2, 1]", {"axis": 0}, "Concat: inputs must have one rank, got [1, 2]"),
    ("Squeeze", "float[2, 3]; int64[1]{0}", {}, "Squeeze: axis 0 must have size 1, got 2"),
    ("Transpose", "float[2, 3]", {"perm": [0, 0]}, "Transpose: perm must be a permutation of 0..1, got [0, 0]"),
    ("Gather", "float[2]; float[1]", {}, "Gather: indices must be INT32 or INT64, got FLOAT"),
    ("Gather", "int64[2]{1, 2}; int64[]{5}", {}, "Gather: indices must be in [-2, 1], got 5"),
    (
        "Split",
        "float[7]; int64[2]{3, 3}",
        {"outputs": 2},
        "Split: the axis and the sum of the parts must be equal, got 6 and 7",
    ),
    ("TopK", "float[2]; int64[1]{3}", {"outputs": 2}, "TopK: k must be at most the size of the axis, 2, got 3"),
    ("Pad", "float[2]; int64[4]{0, 0, 0, 0}", {}, "Pad: pads must have 2 elements, got 4"),
    (
        "Slice",
        "float[2]; int64[1]{0}; int64[2]{1, 1}",
        {},
        "Slice: starts, ends, axes and steps must have one length, got [1, 2]",
    ),
    ("Range", "int64[]{0}; int64[]{3}; int64[]{0}", {}, "Range: delta must not be 0, got 0"),
]


@pytest.mark.parametrize("row", ERRORS, ids=[row[3] for row in ERRORS])
def test_error(row: Row) -> None:
    assert fails(row[0], row[1], **row[2]) == row[3]
