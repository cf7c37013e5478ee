"""Profiles for other viewers: Chrome and Perfetto, and speedscope.

Source: the Trace Event Format's complete events ("ph": "X", microseconds), and
https://www.speedscope.app/file-format-schema.json, evented profiles.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from exporter.profile.charts import Chart
from exporter.profile.spans import Frame

__all__ = ["chrome_trace", "speedscope"]


def chrome_trace(title: str, charts: Sequence[Chart]) -> str:
    """A trace with one thread a chart."""
    events: list[dict[str, Any]] = [_named("process_name", 0, title)]
    for thread, chart in enumerate(charts):
        events.append(_named("thread_name", thread, chart.title))
        notes: dict[str, dict[str, Any]] = {chart.root.name: {"note": chart.note}} if chart.note else {}
        notes |= {phase.name: {phase.unit or "count": phase.count} for phase in chart.phases if phase.count}
        for frame, _ in chart.flat():
            events.append(
                {
                    "name": frame.name, "cat": frame.kind, "ph": "X", "pid": 0, "tid": thread,
                    "ts": round(frame.start * 1e6, 1), "dur": round(frame.seconds * 1e6, 1),
                    "args": notes.get(frame.name, {}) if frame.kind in ("phase", "profile") else {},
                }
            )  # fmt: skip
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}, separators=(",", ":"))


def _named(kind: str, thread: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": 0, "tid": thread, "args": {"name": name}}


def speedscope(title: str, charts: Sequence[Chart]) -> str:
    """A file of speedscope with one profile a chart."""
    index: dict[str, int] = {}
    profiles = [
        {
            "type": "evented", "name": chart.title, "unit": "seconds", "startValue": 0,
            "endValue": chart.root.seconds, "events": list(_events(chart.root, index)),
        }
        for chart in charts
    ]  # fmt: skip
    content = {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "name": title,
        "exporter": "fx2onnx",
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": name} for name in index]},
        "profiles": profiles,
    }
    return json.dumps(content, separators=(",", ":"))


def _events(frame: Frame, index: dict[str, int]) -> Iterator[dict[str, Any]]:
    number = index.setdefault(frame.name, len(index))
    yield {"type": "O", "frame": number, "at": frame.start}
    for child in frame.children:
        yield from _events(child, index)
    yield {"type": "C", "frame": number, "at": frame.start + frame.seconds}
