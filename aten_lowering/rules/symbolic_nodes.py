"""Nodes of any domain that a model spells itself, by `symbolic` of torch's operators for ONNX.

These exist only once they are imported, so they are registered by their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aten_lowering.builder import Builder, Value
from aten_lowering.registry import lowers


@lowers("onnx_symbolic._symbolic.default")
def symbolic(
    op: Builder, inputs: Sequence[Value | None], op_type: str, onnx_dtype: int, shape: Any,
    attr_keys: Sequence[str], attr_types: Sequence[str], attr_pos: Sequence[Sequence[int]],
    attr_ints: Sequence[int], attr_floats: Sequence[float], attr_strs: Sequence[str],
    metadata_props_keys: Sequence[str], metadata_props_values: Sequence[str], domain: str, version: int | None,
) -> Value:  # fmt: skip
    """Of any shapes -> the shape that the model says."""
    attributes = _attributes(attr_keys, attr_types, attr_pos, attr_ints, attr_floats, attr_strs)
    notes = dict(zip(metadata_props_keys, metadata_props_values, strict=True))
    return _node(op, op_type, inputs, attributes, 1, domain, version, notes)[0]


@lowers("onnx_symbolic._symbolic_multi_out.default")
def symbolic_multi_out(
    op: Builder, inputs: Sequence[Value | None], op_type: str, onnx_dtypes: Sequence[int], shapes: Any,
    attr_keys: Sequence[str], attr_types: Sequence[str], attr_pos: Sequence[Sequence[int]],
    attr_ints: Sequence[int], attr_floats: Sequence[float], attr_strs: Sequence[str],
    metadata_props_keys: Sequence[str], metadata_props_values: Sequence[str], domain: str, version: int | None,
) -> list[Value]:  # fmt: skip
    """Of any shapes -> the shapes that the model says."""
    attributes = _attributes(attr_keys, attr_types, attr_pos, attr_ints, attr_floats, attr_strs)
    notes = dict(zip(metadata_props_keys, metadata_props_values, strict=True))
    return _node(op, op_type, inputs, attributes, len(onnx_dtypes), domain, version, notes)


def _attributes(
    keys: Sequence[str], types: Sequence[str], places: Sequence[Sequence[int]],
    integers: Sequence[int], floats: Sequence[float], strings: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    """The attributes, which a call holds as one list of each kind: `types` has "i", "f", "s", "is", "fs" or "ss"."""
    lists: dict[str, Sequence[Any]] = {"i": integers, "f": floats, "s": strings}
    return {
        key: lists[kind[0]][start] if len(kind) == 1 else list(lists[kind[0]][start:end])
        for key, kind, (start, end) in zip(keys, types, places, strict=True)
    }


def _node(
    op: Builder, op_type: str, inputs: Sequence[Value | None], attributes: dict[str, Any], count: int,
    domain: str, version: int | None, notes: dict[str, str],
) -> list[Value]:  # fmt: skip
    if domain and version is not None:
        op.root.opset_imports[domain] = version
    made = op.emit(op_type, inputs, attributes, outputs=count, domain=domain)
    results = [made] if count == 1 else list(made)
    node = results[0].producer()
    if node is not None:  # not a constant
        node.metadata_props.update(notes)
    return results
