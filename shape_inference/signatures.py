"""What ONNX's schemas demand of a node: how many inputs, which of them, which attributes."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NoReturn

import onnx
import onnx_ir as ir

from shape_inference.errors import InferenceError
from shape_inference.report import label
from shape_inference.types import TensorType, Type

__all__ = ["ANY", "Signature", "signature_of"]

# How ONNX's schemas write that there may be any number.
_ANY_NUMBER = 2**31 - 1


class Signature:
    """What a schema demands of a node; without a schema, nothing.

    Attributes:
        places: Of each input, the element types that it may have, and whether it must be given; the last
            is that of all further ones.
        least, most: How many inputs there may be.
        outputs: How many outputs there may be.
        kinds: The type of each attribute that the op has, by name; None where it may have any.
        required: The attributes that must be given.
    """

    __slots__ = ("kinds", "least", "most", "outputs", "places", "required")

    def __init__(self, schema: onnx.defs.OpSchema | None) -> None:
        self.places: tuple[tuple[tuple[ir.DataType, ...], bool], ...] = ()
        self.least, self.most, self.outputs = 0, _ANY_NUMBER, _ANY_NUMBER
        self.kinds: dict[str, ir.AttributeType] | None = None
        self.required: tuple[str, ...] = ()
        if schema is None:
            return
        single = onnx.defs.OpSchema.FormalParameterOption.Single
        self.places = tuple([(_allowed(frozenset(item.types)), item.option == single) for item in schema.inputs])
        self.least, self.most, self.outputs = schema.min_input, schema.max_input, schema.max_output
        self.kinds = {name: _kind(attribute) for name, attribute in schema.attributes.items()}
        self.required = tuple([name for name, attribute in schema.attributes.items() if attribute.required])

    def check(self, node: ir.Node, inputs: list[Type | None], outputs: int) -> None:
        """Check what goes in and out of a node.

        Raises:
            InferenceError: It has too few or too many inputs or outputs, lacks one, or has one of a
                type that the op does not take.
        """
        if not self.least <= len(inputs) <= self.most:
            most = f"to {self.most}" if self.most < _ANY_NUMBER else "or more"
            raise InferenceError(label(node), f"the op must have {self.least} {most} inputs", len(inputs))
        for given, (allowed, needed) in zip(inputs, self.places):  # noqa: B905  # what follows the last repeats it
            if given is None:
                if needed:
                    self._refuse(node, inputs)
            elif given.__class__ is TensorType and given.dtype not in allowed:
                self._refuse(node, inputs)
        if outputs > self.outputs:
            raise InferenceError(label(node), f"the op must have at most {self.outputs} outputs", outputs)

    def attributes(self, node: ir.Node, outer: Mapping[str, ir.Attr]) -> dict[str, Any]:
        """The values of the attributes of a node, those of the function that it is in put in place of references.

        Raises:
            InferenceError: It lacks one, or has one that the op has not, or of another type.
        """
        values: dict[str, Any] = {}
        given: dict[str, ir.Attr] = node.attributes.data
        if given:
            kinds = self.kinds
            for name, attr in given.items():
                if kinds is not None and attr.type is not kinds.get(name):
                    raise _refused(node, name, attr, kinds)
                value = attr.value
                if value is None and attr.is_ref():
                    source = outer.get(attr.ref_attr_name or "")
                    if source is None:
                        continue
                    value = source.value
                values[name] = value
        for name in self.required:
            if name not in values:
                raise InferenceError(label(node), f"attribute {name} must be given")
        return values

    def _refuse(self, node: ir.Node, inputs: list[Type | None]) -> NoReturn:
        """Say what is wrong with the inputs."""
        for place, (given, (allowed, needed)) in enumerate(zip(inputs, self.places)):  # noqa: B905  # as above
            if given is None and needed:
                raise InferenceError(label(node), f"input {place} must be given")
            if isinstance(given, TensorType) and given.dtype not in allowed:
                names = ", ".join(dtype.name for dtype in allowed if dtype is not ir.DataType.UNDEFINED)
                raise InferenceError(
                    label(node), f"input {place} must be of {names or 'no tensor type'}", given.dtype.name
                )
        raise AssertionError(node)


def _refused(node: ir.Node, name: str, attr: ir.Attr, kinds: Mapping[str, ir.AttributeType]) -> InferenceError:
    """Say what is wrong with an attribute."""
    kind = kinds.get(name)
    if kind is None:
        return InferenceError(label(node), "its attributes must be of the op", name)
    return InferenceError(label(node), f"attribute {name} must be {kind.name}", attr.type.name)


def _kind(attribute: onnx.defs.OpSchema.Attribute) -> ir.AttributeType:
    return ir.AttributeType(attribute.type.value)  # type: ignore[attr-defined]  # onnx's stubs lack that it is an enum


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


@functools.cache
def signature_of(op_type: str, domain: str, version: int) -> Signature | None:
    """What the schema of an operator demands; None if onnx has none."""
    try:
        return Signature(onnx.defs.get_schema(op_type, version, domain))
    except onnx.defs.SchemaError:
        return None


# What is demanded of an op that has no schema.
ANY = Signature(None)
