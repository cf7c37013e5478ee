"""Elementwise rules: broadcasting, types, contents."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from tests.test_shapes_harness import Row, check, fails, ids

INT64, FLOAT, BOOL = (int(dtype) for dtype in (ir.DataType.INT64, ir.DataType.FLOAT, ir.DataType.BOOL))

ROWS: list[Row] = [
    ("Relu", "float[N, 3]", {}, "float[N, 3]"),
    ("Sin", "double?", {}, "double?"),
    ("Softmax", "float16[N, seq]", {"axis": -1}, "float16[N, seq]"),
    ("Identity", "seq(float[2])", {}, "seq(float[2])"),
    ("Add", "float[N, 1, 3]; float[seq, 1]", {}, "float[N, seq, 3]"),
    ("Add", "float[N, C]; float[C]", {}, "float[N, C]"),
    ("Add", "float[N]; float[C]", {}, "float[max(C, N)]"),
    ("Add", "float[n]; float[c]", {}, "float[broadcast(c, n)]"),
    ("Add", "float[n]; float[5]", {}, "float[5]"),
    ("Add", "float[]; float[n]", {}, "float[n]"),
    ("Add", "float?; float[n]", {}, "float?"),
    ("Add", "int64[2]{1, seq}; int64[]{1}", {}, "int64[2]{2, seq + 1}"),
    ("Sub", "int64[]{seq}; int64[]{seq}", {}, "int64[]{0}"),
    ("Mul", "int64[2]{N, seq}; int64[2]{seq, 2}", {}, "int64[2]{N*seq, 2*seq}"),
    ("Div", "int64[]{seq}; int64[]{2}", {}, "int64[]{seq // 2}"),
    ("Div", "int64[]{-7}; int64[]{2}", {}, "int64[]{-3}"),
    ("Div", "int64[]{7}; int64[]{0}", {}, "int64[]"),
    ("Div", "float[]{7.0}; float[]{2.0}", {}, "float[]{3.5}"),
    ("Div", "float[]{seq}; float[]{2.0}", {}, "float[]"),
    ("Div", "float[]{6*seq}; float[]{2.0}", {}, "float[]{3*seq}"),
    ("Mul", "float[]{seq}; float[]{2.0}", {}, "float[]{2*seq}"),
    ("Mul", "float[]{seq}; float[]{0.5}", {}, "float[]"),
    ("Mod", "int64[]{seq}; int64[]{7}", {}, "int64[]{seq % 7}"),
    ("Mod", "int64[]{-5}; int64[]{3}", {}, "int64[]{1}"),
    ("Mod", "int64[]{-5}; int64[]{3}", {"fmod": 1}, "int64[]"),
    ("Pow", "float[N]; int64[]", {}, "float[N]"),
    ("Pow", "int64[]{seq}; int64[]{2}", {}, "int64[]{seq**2}"),
    ("Add", "int32[]{2000000000}; int32[]{2000000000}", {}, "int[]"),
    ("Add", "float[]{0.1}; float[]{0.2}", {}, "float[]{0.30000001192092896}"),
    ("Max", "int64[]{seq}; int64[]{1}; int64[]{3}", {}, "int64[]{max(seq, 3)}"),
    ("Min", "float[N, 3]; float[3]; float[]", {}, "float[N, 3]"),
    ("Sum", "int64[]{seq}; int64[]{1}; int64[]{2}", {}, "int64[]{seq + 3}"),
    ("Mean", "float[N]; float[N]", {}, "float[N]"),
    ("Neg", "int64[1]{seq}", {}, "int64[1]{-seq}"),
    ("Abs", "int64[2]{-3, seq}", {}, "int64[2]{3, seq}"),
    ("Floor", "float[]{2.5}", {}, "float[]{2.0}"),
    ("Ceil", "float[2]{2.5, seq}", {}, "float[2]{3.0, seq}"),
    ("Sqrt", "float[]{16.0}", {}, "float[]{4.0}"),
    ("Not", "bool[1]{true}", {}, "bool[1]{false}"),
    ("Equal", "int64[2]{seq, N}; int64[2]{seq, 0}", {}, "bool[2]{true, false}"),
    ("Equal", "int64[]{seq}; int64[]{5}", {}, "bool[]"),
    ("Less", "int64[]{seq}; int64[]{0}", {}, "bool[]{false}"),
    ("Greater", "int64[]{N}; int64[]{0}", {}, "bool[]{true}"),
    ("GreaterOrEqual", "float[N]; float[]", {}, "bool[N]"),
    ("And", "bool[]{true}; bool[]{false}", {}, "bool[]{false}"),
    ("Or", "bool[N, 1]; bool[seq]", {}, "bool[N, seq]"),
    ("Xor", "bool[]{true}; bool[]{true}", {}, "bool[]{false}"),
    ("Where", "bool[N, 1]; float[3]; float[]", {}, "float[N, 3]"),
    ("Where", "bool[2]{true, false}; int64[2]{seq, 1}; int64[2]{5, N}", {}, "int64[2]{seq, N}"),
    ("Where", "bool[1]; int64[1]{seq}; int64[1]{seq}", {}, "int64[1]{seq}"),
    ("Where", "bool[1]; int64[1]{seq}; int64[1]{1}", {}, "int64[1]"),
    ("Cast", "float[N]", {"to": INT64}, "int64[N]"),
    ("Cast", "int64[1]{seq}", {"to": FLOAT}, "float[1]{seq}"),
    ("Cast", "float[1]{2.7}", {"to": INT64}, "int64[1]{2}"),
    ("Cast", "int64[2]{0, N}", {"to": BOOL}, "bool[2]{false, true}"),
    ("Cast", "int64[1]{seq}", {"to": BOOL}, "bool[1]"),
    ("CastLike", "int64[1]{seq}; float[]", {}, "float[1]{seq}"),
    ("IsNaN", "float[N]", {}, "bool[N]"),
    ("BitCast 26", "float[N]", {"to": int(ir.DataType.INT32)}, "int[N]"),
    ("BitShift", "uint8[N]; uint8[1]", {"direction": "LEFT"}, "uint8[N]"),
    ("BitwiseAnd", "int64[]{6}; int64[]{3}", {}, "int64[]{2}"),
    ("Clip", "float[N]; float[]; float[]", {}, "float[N]"),
    ("Clip", "int64[2]{-3, seq}; int64[]{0}", {}, "int64[2]{0, seq}"),
    ("PRelu", "float[N, C, 4]; float[C, 1]", {}, "float[N, C, 4]"),
    ("Dropout", "float[N, 3]", {}, "float[N, 3]; bool[N, 3]"),
    ("Dropout 7", "float[N]", {}, "float[N]; float[N]"),
    ("Relu", "int64[1]{seq - 5}", {}, "int64[1]{max(seq - 5, 0)}"),
]


@pytest.mark.parametrize("row", ROWS, ids=ids(ROWS))
def test_rule(row: Row) -> None:
    check(row)


ERRORS = [
    ("Add", "float[2]; float[3]", {}, "Add: shapes must broadcast, got 2 against 3"),
    ("Add", "float[2]; int64[2]", {}, "Add: inputs must have one element type, got FLOAT, INT64"),
    ("And", "bool[2]; int64[2]", {}, "And: inputs must be BOOL, got INT64"),
    ("Add", "float[2]; seq(float[2])", {}, "Add: input 1 must be a tensor, got sequence(FLOAT[2])"),
    ("Where", "float[2]; float[2]; float[2]", {}, "Where: condition must be BOOL, got FLOAT"),
    ("Cast", "float[2]", {}, "Cast: attribute to must be given"),
    ("PRelu", "float[2]; float[2, 2]", {}, "PRelu: slope must have at most the rank of X, got 2 > 1"),
]


@pytest.mark.parametrize("row", ERRORS, ids=[row[3] for row in ERRORS])
def test_error(row: Row) -> None:
    assert fails(row[0], row[1], **row[2]) == row[3]
