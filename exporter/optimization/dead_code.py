"""Remove what nothing uses.

1. A node none of whose outputs is used: every ONNX operator is pure. Back to front, so that one
   sweep also removes what only removed nodes have used.
2. An initializer that nothing uses and that is not a graph output or input.

An unused output of a node that is needed otherwise stays.
"""

from __future__ import annotations

import onnx_ir as ir

from exporter.optimization.rewriting import WITH_SUBGRAPHS, Rewriter, subgraphs
from exporter.optimization.values import is_used

__all__ = ["run", "run_on_initializers"]


def run(rewriter: Rewriter) -> int:
    """Remove unused nodes and initializers; return how many."""
    removed = _nodes(rewriter, rewriter.graph)
    rewriter.flush()
    return removed + run_on_initializers(rewriter)


def run_on_initializers(rewriter: Rewriter) -> int:
    """Remove unused initializers, which is all that other passes leave behind; return how many."""
    return _initializers(rewriter, rewriter.graph)


def _nodes(rewriter: Rewriter, graph: ir.Graph) -> int:
    removed = 0
    for node in reversed(graph):
        if rewriter.is_unused(node):
            removed += rewriter.remove(node)  # 1
        elif node.op_type in WITH_SUBGRAPHS:
            removed += sum(_nodes(rewriter, body) for body in subgraphs(node))
    return removed


def _initializers(rewriter: Rewriter, graph: ir.Graph) -> int:
    unused = [
        name
        for name, value in graph.initializers.items()
        if not is_used(value)
        and not value.is_graph_output()
        and not value.is_graph_input()
        and name not in rewriter.keep
    ]
    for name in unused:
        del graph.initializers[name]  # 2
    removed = len(unused)
    for node in graph:
        if node.op_type in WITH_SUBGRAPHS:
            removed += sum(_initializers(rewriter, body) for body in subgraphs(node))
    return removed
