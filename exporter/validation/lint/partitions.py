"""Into how many parts a provider would get a model, by the checker that ships in onnxruntime's wheel."""

from __future__ import annotations

from collections.abc import Collection

import onnx
import onnx_ir as ir
from onnxruntime.tools.mobile_helpers.usability_checker import check_partitioning

__all__ = ["partitions_of"]


class _Supported:
    """What the checker asks: whether a node is taken."""

    def __init__(self, left: Collection[str]) -> None:
        self.left = left

    def is_op_supported(self, node: onnx.NodeProto) -> bool:
        return node.name not in self.left


def partitions_of(graph: ir.Graph, left: Collection[str]) -> int:
    """How many partitions onnxruntime's checker counts where some nodes are left to another provider.

    Args:
        graph: the model's; its weights are not read.
        left: the names of the nodes that the provider does not take.
    """
    bare = onnx.GraphProto(name="graph")
    for node in graph:
        made = bare.node.add(name=node.name or "", op_type=node.op_type, domain=node.domain)
        made.input.extend("" if value is None else value.name or "" for value in node.inputs)
        made.output.extend(value.name or "" for value in node.outputs)
        if node.op_type == "Transpose" and (perm := node.attributes.get("perm")) is not None:
            made.attribute.append(onnx.helper.make_attribute("perm", list(perm.as_ints())))
        elif node.op_type == "Transpose":  # the checker takes the first attribute for the permutation
            made.attribute.append(onnx.helper.make_attribute("perm", [0]))
    for value in graph.initializers.values():
        bare.initializer.add(name=value.name or "")
    for value in graph.inputs:
        bare.input.add(name=value.name or "")
    return int(check_partitioning(bare, _Supported(left), False).num_partitions)
