"""Compute once what is computed twice.

1. Two nodes of the same op, inputs, attributes and number of outputs: the first in the graph stays.
   A subgraph also uses what was computed outside before it, never what another branch computed.
2. Add and Mul with their inputs exchanged.
3. Initializers of one tensor, or of one underlying array with the same dtype and shape.
4. Small constants of the exporter's own with equal bytes. Parameters that only happen to be equal
   stay two: users look for both names.

Never random ops, nor nodes with subgraphs, nor custom ones.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from exporter.optimization.rewriting import WITH_SUBGRAPHS, Rewriter, subgraphs
from exporter.optimization.values import FLOATS, SMALL_BYTES

__all__ = ["run"]

Seen: TypeAlias = "dict[Hashable, ir.Node]"

_RANDOM = frozenset(
    {
        "Bernoulli",
        "Dropout",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)
_NEVER = _RANDOM | WITH_SUBGRAPHS
_COMMUTES = frozenset({"Add", "Mul"})


def run(rewriter: Rewriter) -> int:
    """Merge equal initializers, then equal nodes; return how many went."""
    merged = _initializers(rewriter, rewriter.graph)
    merged += _nodes(rewriter, rewriter.graph, [])
    rewriter.flush()
    return merged


def _nodes(rewriter: Rewriter, graph: ir.Graph, outer: list[Seen]) -> int:
    merged = 0
    seen: Seen = {}
    for node in graph:
        op_type = node.op_type
        if op_type in _NEVER or node.domain:
            if op_type in WITH_SUBGRAPHS:
                merged += sum(_nodes(rewriter, body, [*outer, seen]) for body in subgraphs(node))
            continue
        key = _key(op_type, node)
        if key is None:
            continue
        earlier = next((known[key] for known in outer if key in known), None) or seen.setdefault(key, node)
        if earlier is not node and not rewriter.is_kept(node) and _serves(earlier, node):
            merged += rewriter.replace(node, earlier.outputs)  # 1
    return merged


def _key(op_type: str, node: ir.Node) -> Hashable | None:
    inputs = tuple(map(id, node.inputs))
    if op_type in _COMMUTES and inputs[0] > inputs[1]:
        inputs = (inputs[1], inputs[0])  # 2
    attributes = node.attributes.data
    if not attributes:
        return op_type, inputs, len(node.outputs)
    parts: list[Hashable] = []
    for name in sorted(attributes) if len(attributes) > 1 else attributes:
        part = _attribute_key(attributes[name].value)
        if part is None:
            return None
        parts.append((name, part))
    return op_type, inputs, len(node.outputs), tuple(parts)


def _attribute_key(value: object) -> Hashable | None:
    """What equal attributes have in common, or None for one that is equal to none."""
    if isinstance(value, (int, str)):
        return value
    if isinstance(value, float):
        return value, math.copysign(1, value)
    if isinstance(value, (tuple, list)):
        return tuple(map(_attribute_key, value))
    if isinstance(value, ir.TensorProtocol):
        return _bytes_key(value) or id(value)
    return None


def _serves(earlier: ir.Node, node: ir.Node) -> bool:
    """Whether `earlier` has every output that `node` has: an unnamed one is not computed."""
    return all(old.name or not new.name for old, new in zip(earlier.outputs, node.outputs, strict=True))


def _initializers(rewriter: Rewriter, graph: ir.Graph) -> int:
    merged = 0
    seen = rewriter.constants.setdefault(graph, {})
    for value in list(graph.initializers.values()):
        if value in seen:
            continue
        seen[value] = value
        tensor = value.const_value
        if tensor is None or value.is_graph_input():
            continue
        first = seen.setdefault(_storage_key(tensor), value)  # 3
        if first is value and (key := _bytes_key(tensor)) is not None:
            first = seen.setdefault(key, value)  # 4
        if first is value or value.is_graph_output() or value.name in rewriter.keep:
            continue
        rewriter.redirect(value, first)
        del graph.initializers[value.name or ""]
        merged += 1
    for node in graph:
        if node.op_type in WITH_SUBGRAPHS:
            merged += sum(_initializers(rewriter, body) for body in subgraphs(node))
    return merged


def _storage_key(tensor: ir.TensorProtocol) -> Hashable:
    if type(tensor) is ir.Tensor:
        return id(tensor.raw), tensor.dtype, *tensor.shape
    return id(tensor)


def _bytes_key(tensor: ir.TensorProtocol) -> Hashable | None:
    """The contents of a small constant that is no parameter.

    The exporter makes its own from arrays. In a model from a file one cannot tell, so there only
    integers and single numbers count.
    """
    if type(tensor) is ir.Tensor:
        array = tensor.raw
        if not isinstance(array, np.ndarray) or array.nbytes > SMALL_BYTES:
            return None
        return tensor.dtype, array.shape, array.tobytes()
    if type(tensor) is not ir.serde.TensorProtoTensor or tensor.nbytes > SMALL_BYTES:
        return None
    if tensor.dtype in FLOATS and tensor.size > 1:
        return None
    return tensor.dtype, tuple(tensor.shape), tensor.tobytes()
