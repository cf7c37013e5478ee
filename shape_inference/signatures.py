"""What ONNX's schemas demand of a node: how many inputs, which of them, which attributes."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import onnx
import onnx_ir as ir

from shape_inference.errors import InferenceError
from shape_inference.report import label
from shape_inference.types import TensorType, Type

__all__ = ["Signature", "signature_of"]


class Signature:
    """What a schema demands of a node.

    Attributes:
        kinds: The type of each attribute that the op has, by name; None where the op takes any.
        required: The attributes that must be given.
        least, most: How many inputs there may be.
        inputs: The places of the inputs that must be given.
        dtypes: The element types that each input may have; the last are those of all further ones.
        outputs: How many outputs there may be.
    """

    __slots__ = ("dtypes", "inputs", "kinds", "least", "most", "outputs", "required")

    def __init__(self, schema: onnx.defs.OpSchema) -> None:
        formal = onnx.defs.OpSchema.FormalParameterOption
        self.least = schema.min_input
        self.most = schema.max_input
        self.outputs = schema.max_output
        self.required = tuple([name for name, attribute in schema.attributes.items() if attribute.required])
        self.kinds = {name: _kind(attribute) for name, attribute in schema.attributes.items()}
        self.inputs = tuple([place for place, item in enumerate(schema.inputs) if item.option == formal.Single])
        self.dtypes = tuple([_dtypes(item.types) for item in schema.inputs])

    def check(self, node: ir.Node, inputs: list[Type | None], attributes: Mapping[str, Any]) -> None:
        """Check a node.

        Raises:
            InferenceError: It has too few or too many inputs or outputs, lacks one or an attribute,
                or has one of a type that the op does not take.
        """
        count = len(inputs)
        if not self.least <= count <= self.most:
            most = f"to {self.most}" if self.most < 2**31 - 1 else "or more"
            raise InferenceError(label(node), f"the op must have {self.least} {most} inputs", count)
        for place in self.inputs:
            if inputs[place] is None:
                raise InferenceError(label(node), f"input {place} must be given")
        for place, (given, allowed) in enumerate(zip(inputs, self.dtypes)):  # noqa: B905  # what follows the last repeats it
            if given.__class__ is TensorType and given.dtype not in allowed:
                self._refuse(node, place, given)
        if len(node.outputs) > self.outputs:
            raise InferenceError(label(node), f"the op must have at most {self.outputs} outputs", len(node.outputs))
        for name in self.required:
            if name not in attributes:
                raise InferenceError(label(node), f"attribute {name} must be given")
        for name in attributes:
            kind = self.kinds.get(name)
            if kind is None:
                raise InferenceError(label(node), "its attributes must be of the op", name)
            attribute = node.attributes[name]
            if attribute.type != kind:
                wanted = ir.AttributeType(kind).name
                raise InferenceError(label(node), f"attribute {name} must be {wanted}", attribute.type.name)

    def _refuse(self, node: ir.Node, place: int, given: TensorType) -> None:
        names = ", ".join(dtype.name for dtype in self.dtypes[place] if dtype is not ir.DataType.UNDEFINED)
        raise InferenceError(label(node), f"input {place} must be of {names or 'no tensor type'}", given.dtype.name)


def _kind(attribute: onnx.defs.OpSchema.Attribute) -> int:
    number: int = attribute.type.value  # type: ignore[attr-defined]  # onnx's stubs lack that it is an enum
    return number


# The commonest first: an element type is sought from the left.
_BY_NAME = {
    f"tensor({name})": dtype
    for name, dtype in sorted(
        ((str(onnx.TensorProto.DataType.Name(dtype)).lower(), dtype) for dtype in ir.DataType),
        key=lambda item: item[1] not in (ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.BOOL),
    )
}


@functools.cache
def _allowed(types: frozenset[str]) -> tuple[ir.DataType, ...]:
    return (*[dtype for name, dtype in _BY_NAME.items() if name in types], ir.DataType.UNDEFINED)


def _dtypes(types: set[str]) -> tuple[ir.DataType, ...]:
    return _allowed(frozenset(types))


@functools.cache
def signature_of(op_type: str, domain: str, version: int) -> Signature | None:
    """What the schema of an operator demands; None if onnx has none."""
    try:
        return Signature(onnx.defs.get_schema(op_type, version, domain))
    except onnx.defs.SchemaError:
        return None
