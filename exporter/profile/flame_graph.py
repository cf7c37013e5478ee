"""A flame graph as one HTML file that opens from disk: no network, nothing beside it."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exporter.profile.charts import Chart, slowest_rules
from exporter.profile.timeline import Phase, RuleTime

__all__ = ["page"]

_TEMPLATE = Path(__file__).with_name("flame_graph.html")
_RULES_SHOWN = 30


def page(title: str, charts: Sequence[Chart]) -> str:
    """The page: one flame graph a chart, below each other on one scale of time."""
    data = json.dumps({"title": title, "charts": [_chart(chart) for chart in charts]}, separators=(",", ":"))
    # "</script>" in a name would end the element that holds the data.
    text = _TEMPLATE.read_text().replace("{{title}}", html.escape(title))
    return text.replace("{{data}}", data.replace("<", "\\u003c"))


def _chart(chart: Chart) -> dict[str, Any]:
    """The chart as the page's script reads it: frames are rows of numbers, in order, times in microseconds."""
    names: dict[str, int] = {}
    kinds: dict[str, int] = {}
    frames = [
        [
            names.setdefault(frame.name, len(names)),
            kinds.setdefault(frame.kind, len(kinds)),
            round(frame.start * 1e6, 1),
            round(frame.seconds * 1e6, 1),
            depth,
        ]
        for frame, depth in chart.flat()
    ]
    return {
        "title": chart.title,
        "note": chart.note,
        "names": list(names),
        "kinds": list(kinds),
        "frames": frames,
        "phases": [_phase(phase) for phase in chart.phases],
        "rules": [_rule(rule) for rule in slowest_rules(chart.rules)[:_RULES_SHOWN]],
    }


def _phase(phase: Phase) -> dict[str, Any]:
    return {
        "path": phase.path,
        "seconds": phase.seconds,
        "runs": phase.runs,
        "count": phase.count,
        "unit": phase.unit,
        "peak": phase.peak_bytes,
    }


def _rule(rule: RuleTime) -> dict[str, Any]:
    return {"overload": rule.overload, "calls": rule.calls, "nodes": rule.nodes, "seconds": rule.seconds}
