"""`@onnxscript.script()` functions as rules: kept as functions of the model, or taken apart into their nodes.

In `lowerings=`, a script is kept; `inlined(script)` is taken apart.  A Python rule calls one by
`call(op, script, x, alpha=0.5)` or `inline(op, script, x, alpha=0.5)`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import onnx
import onnx_ir as ir
from onnxscript import OnnxFunction

from aten_lowering.builder import Builder, Value, dtype
from aten_lowering.errors import LoweringError, OpsetError
from aten_lowering.promotion import as_value
from shape_inference import TensorType, Type

__all__ = ["call", "inline", "inlined", "rule_of"]


def inlined(script: OnnxFunction) -> Callable[..., Any]:
    """A rule that emits the nodes of a script in the place of each call."""
    return rule_of(script, inline)


def rule_of(script: OnnxFunction, emit: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """A rule that calls a script with the arguments of the same names: its inputs, then its attributes."""

    def rule(op: Builder, *args: Any) -> Any:
        given = dict(zip(names, args, strict=True))
        inputs = [given.pop(str(value.name)) for value in script.function_ir.inputs]
        return (emit or call)(op, script, *inputs, **given)

    parameters = list(inspect.signature(script).parameters.values())
    names = [parameter.name for parameter in parameters]
    rule.__name__ = rule.__qualname__ = script.name
    first = inspect.Parameter("op", inspect.Parameter.POSITIONAL_ONLY)
    rule.__signature__ = inspect.Signature([first, *parameters])  # type: ignore[attr-defined]  # what the registry reads
    return rule


def call(op: Builder, script: OnnxFunction, *inputs: Any, **attributes: Any) -> Any:
    """Emit one node that calls a script, which becomes a function of the model.

    Args:
        op: the builder.
        script: the function.
        inputs: values, or numbers that become constants of the dtype of the first value.
        attributes: the script's attributes; those left out have its defaults.

    Returns:
        Its output, or a tuple of them, typed by what its body makes of these inputs.

    Raises:
        OpsetError: an op of the script means something else at the opset of the export.
        LoweringError: the body does not take these inputs.
    """
    values = _values(op, script, inputs)
    probe = Builder(op.opset_version, parent=op)  # its nodes are thrown away, what they say of types is not
    results = _body(probe, script, values, attributes)
    function = _registered(op, script)
    given = [ir.convenience.convert_attribute(name, value) for name, value in attributes.items() if value is not None]
    types = [probe.type(result) for result in results]
    made = op._append(function.name, values, given, types, function.domain)
    op.root.opset_imports[function.domain] = script.opset.version
    return made[0] if len(made) == 1 else made


def inline(op: Builder, script: OnnxFunction, *inputs: Any, **attributes: Any) -> Any:
    """Emit the nodes of a script; arguments and errors are those of `call`."""
    results = _body(op, script, _values(op, script, inputs), attributes)
    return results[0] if len(results) == 1 else tuple(results)


def _values(op: Builder, script: OnnxFunction, inputs: Sequence[Any]) -> list[Value | None]:
    wanted = len(script.function_ir.inputs)
    if len(inputs) > wanted:
        raise LoweringError(f"{script.name}: must be given at most {wanted} inputs, got {len(inputs)}")
    like = next((value for value in inputs if isinstance(value, Value)), None)
    return [_value(op, item, like) for item in inputs] + [None] * (wanted - len(inputs))


def _value(op: Builder, item: Any, like: Value | None) -> Value | None:
    if item is None or isinstance(item, Value):
        return item
    if isinstance(item, (list, tuple)):
        return op.shape(item)
    return as_value(op, item, ir.DataType.FLOAT if like is None else dtype(like))


def _registered(op: Builder, script: OnnxFunction) -> ir.Function:
    """The function of the model for a script, with those that it calls; the name is its own."""
    known = op.root.functions.get(script)
    if known is None:
        callees = {callee: _registered(op, callee) for callee in script.function_ir.get_called_functions().values()}
        known = op.root.functions[script] = script.function_ir.clone()
        taken = {f.identifier() for made, f in op.root.functions.items() if made is not script}
        while known.identifier() in taken:
            known.name += "_"
        known.opset_imports[""] = op.opset_version
        for node in ir.traversal.RecursiveGraphIterator(known.graph):
            if (callee := node.meta.get("callee")) in callees:
                node.op_type = callees[callee].name
    return known


def _body(
    op: Builder, script: OnnxFunction, values: Sequence[Value | None], attributes: Mapping[str, Any]
) -> list[Value]:
    """Emit the body of a script and return its outputs."""
    function = script.function_ir
    unknown = attributes.keys() - function.attributes.keys()
    if unknown:
        raise LoweringError(f"{script.name}: has no attribute {sorted(unknown)[0]!r}")
    given = {name: attribute.value for name, attribute in function.attributes.items() if attribute.value is not None}
    given |= {name: value for name, value in attributes.items() if value is not None}
    body = _Body(script, given, dict(zip(function.inputs, values, strict=True)))
    body.emit(op, function)
    return body.outputs(function.outputs)


class _Body:
    """One pass over the nodes of a script.

    Attributes:
        script: the script.
        given: the values of its attributes.
        values: what its values became.
    """

    def __init__(self, script: OnnxFunction, given: Mapping[str, Any], values: dict[Value, Value | None]) -> None:
        self.script, self.given, self.values = script, given, values

    def emit(self, op: Builder, nodes: Iterable[ir.Node]) -> None:
        """Emit nodes one after the other."""
        for node in nodes:
            made = self._node(op, node)
            self.values.update(zip(node.outputs, made if isinstance(made, (list, tuple)) else [made], strict=True))

    def outputs(self, results: Iterable[Value]) -> list[Value]:
        """What the results of the body became."""
        found = [self.values[result] for result in results]
        assert all(isinstance(value, Value) for value in found)  # a script returns no absent input
        return found  # type: ignore[return-value]  # as asserted

    def _node(self, op: Builder, node: ir.Node) -> Any:
        attributes = dict(self._attributes(op, node))
        if node.op_type == "Constant" and not node.domain:
            return _constant(op, attributes)
        inputs = [None if value is None else self.values[value] for value in node.inputs]
        callee = node.meta.get("callee")
        if isinstance(callee, OnnxFunction):
            return _body(op, callee, _values(op, callee, inputs), attributes)
        if not node.domain:
            self._check(op, node)
        return op.emit(node.op_type, inputs, attributes, outputs=len(node.outputs), domain=node.domain)

    def _attributes(self, op: Builder, node: ir.Node) -> Iterable[tuple[str, Any]]:
        """The attributes of a node as the builder takes them."""
        for name, attribute in node.attributes.items():
            if attribute.is_ref():
                wanted = str(attribute.ref_attr_name)
                if wanted not in self.given:
                    raise LoweringError(f"{self.script.name}: must be given the attribute {wanted!r}")
                yield name, self.given[wanted]
            elif attribute.type == ir.AttributeType.GRAPH:
                yield name, self._graph(op, node, attribute.as_graph())
            else:
                yield name, attribute.value

    def _graph(self, op: Builder, node: ir.Node, graph: ir.Graph) -> ir.Graph:
        """The graph of a branch or a loop's body."""

        def body(inner: Builder, *inputs: Value) -> list[Value]:
            self.values.update(zip(graph.inputs, inputs, strict=True))
            self.emit(inner, graph)
            return self.outputs(graph.outputs)

        types = self._given(op, node, graph)
        return op.subgraph(
            body, [(value.name or "given", kind) for value, kind in zip(graph.inputs, types, strict=True)]
        )

    def _given(self, op: Builder, node: ir.Node, graph: ir.Graph) -> list[Type]:
        """What each round of a loop or scan is given: of what is carried, the dtype alone is sure to stay."""
        values = [value if value is None else self.values[value] for value in node.inputs]
        if node.op_type == "Loop":
            first: list[Type] = [TensorType(ir.DataType.INT64, ()), TensorType(ir.DataType.BOOL, ())]
            return first + [TensorType(dtype(value), None) for value in values[2:] if value is not None]
        count = len(graph.inputs)
        rows = node.attributes["num_scan_inputs"].as_int() if node.op_type == "Scan" else 0
        carried = [TensorType(dtype(value), None) for value in values[: count - rows] if value is not None]
        sliced = [op.type(value) for value in values[count - rows : count] if value is not None]
        return [*carried, *(TensorType(t.dtype, None if t.shape is None else t.shape[1:]) for t in sliced)]

    def _check(self, op: Builder, node: ir.Node) -> None:
        """Hold a node to an op that is the same at the script's opset and at that of the export."""
        written = self.script.function_ir.opset_imports.get("") or op.opset_version
        if not _is_same(node.op_type, written, op.opset_version):
            raise OpsetError(
                f"{self.script.name}: {node.op_type} must mean the same at opset {op.opset_version} as at "
                f"{written}, for which the script was written",
                hint=f"write the script with onnxscript.opset{op.opset_version}, or export at opset {written}",
            )


# Took one scale a group until opset 21, and takes one a channel since, under the same names.
_CHANGED = {"GroupNormalization"}


def _is_same(op_type: str, first: int, second: int) -> bool:
    """Whether what is written for an op at one opset means the same at another.

    Newer versions add dtypes, and inputs and attributes whose defaults keep the meaning; those that change it
    make an input of an attribute, or change a default.
    """
    if first == second:
        return True
    try:
        old, new = (onnx.defs.get_schema(op_type, version, "") for version in (first, second))
    except onnx.defs.SchemaError:
        return False
    if old.since_version == new.since_version:
        return True
    inputs = [{formal.name for formal in schema.inputs} for schema in (old, new)]
    defaults = [
        {name: a.default_value.SerializeToString() for name, a in schema.attributes.items()} for schema in (old, new)
    ]
    moved = inputs[0] & defaults[1].keys() or inputs[1] & defaults[0].keys()
    common = defaults[0].keys() & defaults[1].keys()
    return op_type not in _CHANGED and not moved and all(defaults[0][name] == defaults[1][name] for name in common)


def _constant(op: Builder, attributes: Mapping[str, Any]) -> Value:
    """The value of a Constant node."""
    ((kind, value),) = attributes.items()
    if kind == "value":
        return op.constant(value.numpy(), value.dtype)
    wanted = ir.DataType.FLOAT if "float" in kind else ir.DataType.STRING if "string" in kind else ir.DataType.INT64
    return op.constant(value, wanted)
