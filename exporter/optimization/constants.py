"""Fold what does not depend on the input.

1. A Constant node becomes an initializer.
2. Shape and Size of a value with static dims.
3. A node on small constants, or on ones that the exporter has made, is computed at once.
4. A node on weights becomes a lazy tensor: computed when it is written. No weight is read here.
5. CastLike needs the other value's dtype alone, which is known: it is a Cast.

A result must not make the model larger, unless within the budget: at most LARGEST_BYTES for each,
and growth_bytes for all of them together.

Only the ops of `evaluation` are folded: random ops, subgraphs and custom ops never are. A node
that makes a graph output stays, because not every runtime takes an initializer for one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from exporter.optimization.evaluation import (
    COMPUTES,
    EVALUATORS,
    GROWS,
    MOVES,
    evaluate,
)
from exporter.optimization.later import MOST_STEPS, LaterTensor, steps
from exporter.optimization.rewriting import LARGEST_BYTES, Rewriter, Rules
from exporter.optimization.values import (
    FLOATS,
    SMALL_BYTES,
    Array,
    attribute,
    bytes_of,
    constant,
    size_bytes,
    static_dims,
)

__all__ = ["run"]

_FIELDS = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


def run(rewriter: Rewriter) -> int:
    """Fold constants; return how many nodes became constants."""
    return rewriter.apply(RULES)


def _constant(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    if node.outputs[0].is_graph_output():
        return None
    for name, attr in node.attributes.data.items():
        if name == "value" and attr.as_tensor().dtype is not ir.DataType.STRING:
            return rewriter.constant_for(node.outputs[0], _own(attr.as_tensor()))  # 1
        if name in _FIELDS:
            array = np.array(attr.value, dtype=_FIELDS[name])
            return rewriter.constant_for(node.outputs[0], ir.Tensor(array))  # 1
    return None


def _own(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """A tensor with a name of its own: nodes may share the one in their attribute."""
    if tensor.nbytes <= SMALL_BYTES:
        return ir.Tensor(tensor.numpy(), dtype=tensor.dtype)
    return LaterTensor(lambda: tensor, tensor.dtype, ir.Shape(tensor.shape.numpy()))


def _shape(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    data = node.inputs[0]
    if data is None or data.shape is None or node.outputs[0].is_graph_output():
        return None
    part = data.shape.dims[attribute(node, "start", 0) : attribute(node, "end", None)]
    if not all(isinstance(dim, int) for dim in part):
        return None
    return rewriter.constant_for(node.outputs[0], ir.Tensor(np.array(part, dtype=np.int64)))  # 2


def _size(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    shape = static_dims(node.inputs[0])
    if shape is None or node.outputs[0].is_graph_output():
        return None
    count = np.array(math.prod(shape), dtype=np.int64)
    return rewriter.constant_for(node.outputs[0], ir.Tensor(count))  # 2


def _cast_like(rewriter: Rewriter, node: ir.Node) -> ir.Value | None:
    like = node.inputs[1]
    if like is None or like.dtype is None:
        return None
    kept = [attr for name, attr in node.attributes.data.items() if name != "to"]
    to = ir.AttrInt64("to", like.dtype.value)
    return rewriter.emit(node, "Cast", node.inputs[:1], [to, *kept])  # 5


def _fold(rewriter: Rewriter, node: ir.Node) -> list[ir.Value] | None:
    tensors: list[ir.TensorProtocol | None] = []
    for value in node.inputs:
        tensor = None
        if value is not None:
            if value.const_value is None:  # nearly every node ends here
                return None
            tensor = constant(value)
            if tensor is None or tensor.dtype is ir.DataType.STRING:
                return None
        tensors.append(tensor)
    if any(output.is_graph_output() for output in node.outputs):
        return None
    sizes = [size_bytes(output) for output in node.outputs]
    known = [size for size in sizes if size is not None]
    is_small = all(tensor is None or bytes_of(tensor) <= SMALL_BYTES for tensor in tensors)
    if len(known) < len(sizes):
        return _at_once(rewriter, node, tensors) if is_small and node.op_type not in GROWS else None
    if is_small and sum(known) <= SMALL_BYTES:
        return _at_once(rewriter, node, tensors)
    if node.op_type not in MOVES and node.op_type not in COMPUTES:
        return None
    if is_small or all(tensor is None or _is_readable(tensor) for tensor in tensors):
        is_affordable = max(known) <= LARGEST_BYTES and rewriter.affords(known, node.inputs)
        return _at_once(rewriter, node, tensors) if is_affordable else None
    if _may_fail(node, tensors) or steps(tensors) >= MOST_STEPS or not rewriter.affords(known, node.inputs):
        return None
    return _when_written(rewriter, node, tensors)


def _is_readable(tensor: ir.TensorProtocol) -> bool:
    """Whether the constant is small, or the exporter has made it: parameters are tensors of other kinds."""
    return bytes_of(tensor) <= SMALL_BYTES or (type(tensor) is ir.Tensor and isinstance(tensor.raw, np.ndarray))


def _at_once(rewriter: Rewriter, node: ir.Node, tensors: Sequence[ir.TensorProtocol | None]) -> list[ir.Value] | None:
    arrays = [None if tensor is None else tensor.numpy() for tensor in tensors]
    try:
        results = evaluate(node.op_type, _attributes(node), arrays, [output.dtype for output in node.outputs])
    except (NotImplementedError, TypeError, ValueError, ArithmeticError, IndexError):
        return None  # not valid for numpy: the runtime decides what it is
    for output, result in zip(node.outputs, results, strict=True):
        shape = static_dims(output)
        if shape is not None and shape != result.shape:
            return None
    return [
        rewriter.constant_for(output, ir.Tensor(result))  # 3
        for output, result in zip(node.outputs, results, strict=True)
    ]


def _may_fail(node: ir.Node, tensors: Sequence[ir.TensorProtocol | None]) -> bool:
    """Whether computing the node later may fail, when it is too late to leave it to the runtime.

    That is a cast that not every number survives, and indices beyond the data; those that only a weight
    holds are not read.
    """
    if node.op_type == "Gather":
        data, indices = tensors
        return data is not None and indices is not None and _is_beyond(data, indices, attribute(node, "axis", 0))
    if node.op_type != "Cast":
        return False
    source, target = (value.dtype for value in (node.inputs[0], node.outputs[0]) if value)
    return source is None or target is None or not _is_safe_cast(source, target)


def _is_beyond(data: ir.TensorProtocol, indices: ir.TensorProtocol, axis: int) -> bool:
    """Whether an index is none of [-n, n) along a dim of n."""
    if not _is_readable(indices) or indices.size == 0:
        return False
    size, places = data.shape.numpy()[axis], indices.numpy()
    return bool(places.min() < -size or places.max() >= size)


def _is_safe_cast(source: ir.DataType, target: ir.DataType) -> bool:
    return (source in FLOATS and target in FLOATS) or (
        source.is_integer() and not source.is_floating_point() and target in FLOATS
    )


def _when_written(rewriter: Rewriter, node: ir.Node, tensors: Sequence[ir.TensorProtocol | None]) -> list[ir.Value]:
    attributes = _attributes(node)
    dtypes = [output.dtype for output in node.outputs]
    values = []
    for index, output in enumerate(node.outputs):
        if output.dtype is None or output.shape is None:
            raise TypeError(f"{output.name} must have a type and a shape to be computed later")
        compute = functools.partial(
            _compute, node.op_type, attributes, tuple(tensors), dtypes, index, output.shape.dims
        )
        lazy = LaterTensor(compute, output.dtype, output.shape.copy(frozen=True), sources=tensors)
        values.append(rewriter.constant_for(output, lazy))  # 4
    return values


def _compute(
    op_type: str,
    attributes: dict[str, Any],
    tensors: Sequence[ir.TensorProtocol | None],
    dtypes: Sequence[ir.DataType | None],
    index: int,
    shape: tuple[int | ir.SymbolicDim, ...],
) -> ir.TensorProtocol:
    arrays: list[Array | None] = [None if tensor is None else tensor.numpy() for tensor in tensors]
    result = evaluate(op_type, attributes, arrays, dtypes)[index]
    if result.shape != shape:
        raise ValueError(f"folded {op_type} must have shape {shape}, got {result.shape}")
    return ir.Tensor(result, dtype=dtypes[index])


def _attributes(node: ir.Node) -> dict[str, Any]:
    found = {name: attr.value for name, attr in node.attributes.data.items()}
    return {**found, "outputs": len(node.outputs)}


RULES: Rules = {
    **dict.fromkeys(EVALUATORS, (_fold,)),
    "CastLike": (_cast_like,),
    "Constant": (_constant,),
    "Shape": (_shape,),
    "Size": (_size,),
}
