"""What ONNX's own schemas say that emission needs, and attributes made by them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import onnx
import onnx_ir as ir

from aten_lowering.errors import OpsetError

__all__ = ["OpSchema", "make_attribute", "op_schema", "type_variable"]


class OpSchema(NamedTuple):
    """What the schema of an op says that emission needs."""

    attribute_types: Mapping[str, ir.AttributeType]
    input_types: Sequence[str]
    variadic: bool


@functools.cache
def op_schema(domain: str, op_type: str, version: int) -> OpSchema:
    """The schema of an op at an opset.

    Raises:
        OpsetError: the opset does not have the op.
    """
    try:
        schema = onnx.defs.get_schema(op_type, version, domain)
    except onnx.defs.SchemaError as error:
        raise OpsetError(
            f"{op_type}: does not exist at opset {version}",
            hint="ask for a newer opset_version",
        ) from error
    if schema.deprecated:
        raise OpsetError(f"{op_type}: is deprecated at opset {version}")
    variadic = bool(schema.inputs) and schema.inputs[-1].option == onnx.defs.OpSchema.FormalParameterOption.Variadic
    return OpSchema(
        {name: ir.AttributeType(_number(attribute.type)) for name, attribute in schema.attributes.items()},
        [formal.type_str for formal in schema.inputs],
        variadic,
    )


def type_variable(info: OpSchema | None, index: int) -> str:
    """The type variable of an input; one for all where there is no schema."""
    if info is None or not info.input_types:
        return "T"
    if index < len(info.input_types):
        return info.input_types[index]
    return info.input_types[-1]


_MAKERS: dict[ir.AttributeType, Callable[..., ir.Attr]] = {
    ir.AttributeType.INT: ir.AttrInt64,
    ir.AttributeType.FLOAT: lambda name, value: ir.AttrFloat32(name, float(value)),
    ir.AttributeType.STRING: ir.AttrString,
    ir.AttributeType.INTS: ir.AttrInt64s,
    ir.AttributeType.FLOATS: lambda name, value: ir.AttrFloat32s(name, [float(item) for item in value]),
    ir.AttributeType.STRINGS: ir.AttrStrings,
    ir.AttributeType.TENSOR: ir.AttrTensor,
    ir.AttributeType.GRAPH: ir.AttrGraph,
}


def make_attribute(name: str, value: Any, kind: ir.AttributeType | None) -> ir.Attr:
    """An attribute of a type, or of the type of the Python value where no schema tells."""
    if kind is None:
        kind = _kind_of(value)
    return _MAKERS[kind](name, value)


def _kind_of(value: Any) -> ir.AttributeType:
    """The attribute type of a Python value, where no schema tells."""
    if isinstance(value, (list, tuple)):
        first = value[0] if value else 0
        if isinstance(first, str):
            return ir.AttributeType.STRINGS
        return ir.AttributeType.FLOATS if isinstance(first, float) else ir.AttributeType.INTS
    if isinstance(value, ir.Graph):
        return ir.AttributeType.GRAPH
    if isinstance(value, str):
        return ir.AttributeType.STRING
    if isinstance(value, float):
        return ir.AttributeType.FLOAT
    return ir.AttributeType.INT if isinstance(value, int) else ir.AttributeType.TENSOR


def _number(kind: Any) -> int:
    """The number of an attribute type of onnx, which is an enum of C++."""
    number: int = kind.value
    return number
