"""float16 and bfloat16: a typed float32 model computes in fewer bits where that is safe.

Inputs and outputs keep their dtypes.  What stays float32 gets Casts around it; a weight is cast when it is written.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Sequence

import numpy as np
import onnx
import onnx_ir as ir

from exporter.errors import InputError

__all__ = ["KEPT", "PRECISIONS", "lower_precision"]

PRECISIONS = {"float32": None, "float16": ir.DataType.FLOAT16, "bfloat16": ir.DataType.BFLOAT16}

# Sums over many elements, and functions whose results leave the range or lose the digits of 16 bits.
KEPT = (
    "Softmax", "LogSoftmax", "LayerNormalization", "BatchNormalization", "InstanceNormalization", "GroupNormalization",
    "RMSNormalization", "ReduceSum", "ReduceMean", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp",
    "ReduceProd", "CumSum", "Pow", "Exp", "Log", "Sqrt", "Reciprocal", "Resize", "Range", "RandomNormal",
    "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli", "NonMaxSuppression",
    "LSTM", "GRU", "RNN", "DFT", "STFT", "DequantizeLinear", "QuantizeLinear", "DynamicQuantizeLinear",
)  # fmt: skip
_FLOAT = ir.DataType.FLOAT


def lower_precision(model: ir.Model, precision: str, keep_float32: Sequence[str] | None = None) -> None:
    """Let a float32 model compute in fewer bits, in place.

    Args:
        model: typed; changed in place.
        precision: "float16" or "bfloat16"; "float32" changes nothing.
        keep_float32: what stays: op types, and patterns of node names such as `head.*` or `*/Softmax`; `KEPT`
            where None.

    Raises:
        InputError: there is no such precision.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision: must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    low = PRECISIONS[precision]
    if low is not None:
        _Lowering(model, low, KEPT if keep_float32 is None else keep_float32).run()


class _Lowering:
    def __init__(self, model: ir.Model, low: ir.DataType, keep: Sequence[str]) -> None:
        self.graph, self.low = model.graph, low
        self.version = model.graph.opset_imports.get("", 1)
        self.suffix = low.name.lower()
        nodes = list(self.graph)
        self.kept = {node for node in nodes if not self._can_be_low(node) or _matches(node, keep)}
        self.kept |= self._between(nodes)
        self._casts: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
        self._lowered: set[ir.Value] = set()  # values that their nodes make in fewer bits

    def run(self) -> None:
        """Decide each value's dtype, then put Casts where makers and readers disagree."""
        wanted = self._readers()
        for node in list(self.graph):
            for index in range(len(node.outputs)):
                if self._is_low(node, index, node.outputs):
                    self._lowered.add(node.outputs[index])
        for value, readers in wanted.items():
            self._serve(value, readers)
        for value in self._lowered:
            value.dtype = self.low
        for node in self.graph:
            to = node.attributes.get("to")
            if node.op_type == "Cast" and node.outputs[0] in self._lowered and to is not None and to.value == _FLOAT:
                node.attributes["to"] = ir.AttrInt64("to", self.low)
        for index, value in enumerate(self.graph.outputs):
            if value in self._lowered:
                self._restore_output(index, value)

    # Which nodes and values.

    def _can_be_low(self, node: ir.Node) -> bool:
        """Whether the operator has a form for the lower dtype; one with a subgraph or of another domain stays."""
        if node.domain or any(a.type in _GRAPHS for a in node.attributes.values()):
            return False
        if {"dtype", "value", "value_float", "value_floats"} & node.attributes.keys():
            return False
        if node.op_type == "Cast" and not (_is_float(node.inputs[0]) and _is_float(node.outputs[0])):
            return False  # integers and what is computed from them: positions, counts, indices
        floats = [i for i, value in enumerate(node.inputs) if value is not None and value.dtype == _FLOAT]
        return any(self._allows(node, i, True) for i in floats)

    def _between(self, nodes: Sequence[ir.Node]) -> set[ir.Node]:
        """The light nodes that are fed by nodes that stay float32 alone, and feed such alone.

        The epsilon between a mean and its root, or what computes an index out of sizes, would else lose digits.
        """
        light = [node for node in nodes if node not in self.kept and node.op_type in _LIGHT]
        fed, feeding = set(self.kept), set(self.kept)
        for node in light:
            makers = [
                v.producer() for v in node.inputs if v is not None and v.dtype == _FLOAT and not v.is_initializer()
            ]
            if makers and all(maker in fed for maker in makers):
                fed.add(node)
        for node in reversed(light):
            readers = [user for value in node.outputs for user, _ in value.uses()]
            is_result = any(value.is_graph_output() for value in node.outputs)
            if readers and not is_result and all(reader in feeding for reader in readers):
                feeding.add(node)
        return fed & feeding

    def _allows(self, node: ir.Node, index: int, is_input: bool) -> bool:
        """Whether the schema lets an input or output be of the lower dtype."""
        schema = onnx.defs.get_schema(node.op_type, self.version, node.domain)
        formals = schema.inputs if is_input else schema.outputs
        return f"tensor({self.suffix})" in formals[min(index, len(formals) - 1)].types

    def _is_low(self, node: ir.Node, index: int, values: Sequence[ir.Value | None]) -> bool:
        """Whether a node reads or makes a float32 value in fewer bits."""
        value = values[index]
        is_input = values is node.inputs
        return (
            node not in self.kept and value is not None and value.dtype == _FLOAT
            and self._allows(node, index, is_input)
        )  # fmt: skip

    def _readers(self) -> dict[ir.Value, list[tuple[ir.Node, int, bool]]]:
        """Each float32 value with the nodes that read it: which input, and whether in fewer bits."""
        wanted: dict[ir.Value, list[tuple[ir.Node, int, bool]]] = {}
        own = set(self.graph)
        for node in self.graph.all_nodes():
            for index, value in enumerate(node.inputs):
                if value is not None and value.dtype == _FLOAT:
                    is_low = node in own and self._is_low(node, index, node.inputs)
                    wanted.setdefault(value, []).append((node, index, is_low))
        return wanted

    # Casts.

    def _serve(self, value: ir.Value, readers: Collection[tuple[ir.Node, int, bool]]) -> None:
        """Give each reader the value in the dtype that it reads."""
        is_own = value.is_initializer() and value.const_value is not None and not value.is_graph_output()
        if is_own and all(low for _, _, low in readers):
            value.const_value = self._weight(value)
            value.dtype = self.low
            return
        for node, index, is_low in readers:
            if is_low != (value in self._lowered):
                node.replace_input_with(index, self._cast(value, self.low if is_low else _FLOAT))

    def _weight(self, value: ir.Value) -> ir.LazyTensor:
        stored = value.const_value
        assert stored is not None  # asked by `_serve`
        return ir.LazyTensor(
            lambda: ir.Tensor(_clipped(stored.numpy(), self.low), dtype=self.low, name=value.name),
            dtype=self.low, shape=ir.Shape(stored.shape.numpy()), name=value.name,
        )  # fmt: skip

    def _cast(self, value: ir.Value, to: ir.DataType) -> ir.Value:
        """The value in another dtype: one Cast for all that read it, or a second weight."""
        known = self._casts.get((value, to))
        if known is not None:
            return known
        name = f"{value.name}/{to.name.lower() if to != _FLOAT else 'float32'}"
        result = ir.Value(name=name, type=ir.TensorType(to), shape=value.shape)
        if value.is_initializer() and value.const_value is not None:
            result.const_value = self._weight(value)
            result.const_value.name = name
            self.graph.initializers.add(result)
        else:
            cast = ir.Node("", "Cast", [value], [ir.AttrInt64("to", to)], outputs=[result], name=name)
            producer = value.producer()
            if producer is None:
                self.graph.insert_before(next(iter(self.graph)), cast)
            else:
                self.graph.insert_after(producer, cast)
        self._casts[value, to] = result
        return result

    def _restore_output(self, index: int, value: ir.Value) -> None:
        """A Cast back to float32 takes over the name of an output."""
        name = value.name
        value.name = f"{name}/{self.suffix}"
        result = ir.Value(name=name, type=ir.TensorType(_FLOAT), shape=value.shape)
        self.graph.append(
            ir.Node("", "Cast", [value], [ir.AttrInt64("to", _FLOAT)], outputs=[result], name=f"{name}/Cast")
        )
        self.graph.outputs[index] = result


# Costs nothing beside the products around it.
_LIGHT = frozenset(
    [
        "Abs", "Add", "Cast", "Ceil", "Clip", "Concat", "Div", "Expand", "Floor", "Gather", "Identity", "Max", "Min",
        "Mul", "Neg", "Reshape", "Round", "Sign", "Slice", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where",
    ]
)  # fmt: skip
_GRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


def _is_float(value: ir.Value | None) -> bool:
    return value is not None and value.dtype is not None and value.dtype.is_floating_point()


def _matches(node: ir.Node, patterns: Sequence[str]) -> bool:
    return any(node.op_type == pattern or fnmatch.fnmatchcase(node.name or "", pattern) for pattern in patterns)


def _clipped(array: np.ndarray, low: ir.DataType) -> np.ndarray:
    """The array in fewer bits; what is finite stays so: a mask's -3.4e38 becomes the least number, not -inf."""
    if low == ir.DataType.FLOAT16:
        bound = float(np.finfo(np.float16).max)
        array = np.where(np.isfinite(array), np.clip(array, -bound, bound), array)
    return array.astype(low.numpy())
