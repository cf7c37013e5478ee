"""Have the parts of an export record each of their calls; nothing of it is there in an export without a profile."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

from exporter.profile.spans import Spans

__all__ = ["watch_recorder", "watch_rewriter", "watch_translator"]

_LEAST_SECONDS = 20e-6  # of a visit of a rewriter to a node: most find nothing, and end sooner


def watch_recorder(recorder: Any, spans: Spans) -> None:
    """Record each overload that a capture records."""
    recorder.call = spans.spanned(recorder.call, lambda overload, *_: str(overload), "op")


def watch_translator(translator: Any, spans: Spans) -> None:
    """Record each captured call under its module, the nodes that its rule emits, and their shape inference."""
    translate, op = translator._call, translator.op

    def call(node: Any, values: Mapping[Any, Any]) -> Any:
        with spans.op(node.meta.get("module", ""), str(node.target)):
            return translate(node, values)

    translator._call = call
    op.emit = spans.spanned(op.emit, lambda op_type, *_, **__: op_type, "node")
    op.root.infer = spans.spanned(op.root.infer, lambda *_: "shape inference", "inference")


def watch_rewriter(rewriter: Any, spans: Spans) -> None:
    """Record each visit to a node that takes its time, under the module in the node's name."""
    visit = rewriter._visit

    def watched(node: Any, rules: Any) -> Any:
        name, op_type, started = node.name or "", node.op_type, perf_counter()
        found = visit(node, rules)
        if perf_counter() - started > _LEAST_SECONDS:
            spans.past(name.rpartition("/")[0], op_type, started)
        return found

    rewriter._visit = watched
