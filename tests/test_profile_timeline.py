"""Every export knows where its time went: phases with counts, rules, and peaks of memory on request."""

from __future__ import annotations

import mmap
import re

import pytest
import torch

from exporter import Profile, export
from exporter.errors import InputError
from exporter.profile.charts import slowest_rules
from exporter.profile.memory import Peaks
from exporter.profile.timeline import Phase, RuleTime, Timeline, current, phase


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(x) + 1


def test_phases_of_an_export_with_their_counts(tmp_path) -> None:
    program = export(Net().eval(), (torch.randn(2, 4),))
    path = program.save(tmp_path / "net.onnx")
    phases = program.report.timeline.phases
    assert [p[1] for p in phases if len(p) == 2] == [
        "capture", "translation", "optimization", "serialization", "writing"
    ]  # fmt: skip
    captured = len(program.captured.graph.nodes)
    assert phases["export", "capture"].count == captured
    assert phases["export", "translation"].count == sum(r.nodes for r in program.report.timeline.rules.values())
    assert phases["export", "translation", "shape inference"].count >= phases["export", "translation"].count
    assert phases["save", "writing"].count == path.stat().st_size
    assert phases["save", "writing"].unit == "bytes"


def test_the_timeline_as_text(tmp_path) -> None:
    program = export(Net().eval(), (torch.randn(2, 4),))
    program.save(tmp_path / "net.onnx")
    words = [re.sub(r"^ *[\d.]+ ms  ", "", line) for line in str(program.report.timeline).splitlines()]
    captured = len(program.captured.graph.nodes)
    assert words[:3] == ["export", f"  capture, {captured} graph nodes", "  translation, 4 nodes"]
    assert "    shape inference, 4 nodes" in words
    assert words.index("save") > words.index("    fusion, 0 rewrites")


def test_each_pass_is_a_phase_that_counts_its_rewrites() -> None:
    program = export(Net().eval(), (torch.randn(2, 4),))
    timeline = program.report.timeline
    passes = {p.name: p.count for p in timeline.inside("export", "optimization")}
    assert passes == program.report.passes
    assert sum(passes.values()) > 0


def test_phases_lie_inside_each_other() -> None:
    program = export(Net().eval(), (torch.randn(2, 4),))
    timeline = program.report.timeline
    for outer in timeline.phases.values():
        inside = [p.seconds for p in timeline.inside(*outer.path) if p.name != "shape inference"]
        assert sum(inside) <= outer.seconds
    assert program.report.seconds["total"] == timeline.seconds("export")
    assert set(program.report.seconds) == {"capture", "translation", "optimization", "total"}


def test_rules_count_their_calls_and_nodes() -> None:
    program = export(Net().eval(), (torch.randn(2, 4),))
    rules = program.report.timeline.rules
    assert rules["aten.linear.default"].calls == 2
    assert rules["aten.relu.default"] == RuleTime("aten.relu.default", 1, 1, rules["aten.relu.default"].seconds)
    assert all(rule.seconds > 0 for rule in rules.values())


def test_nodes_in_subgraphs_count() -> None:
    def total(x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, lambda x: x.sin().cos(), lambda x: x.cos(), (x,))

    rules = export(total, (torch.randn(3),)).report.timeline.rules
    assert (rules["aten.cos.default"].nodes, rules["aten.sin.default"].nodes) == (2, 1)


def test_overloads_that_are_decomposed_are_counted() -> None:
    library = torch.library.Library("test_profile_timeline", "DEF")
    library.define("squared_sine(Tensor x) -> Tensor")
    library.impl("squared_sine", lambda x: x.sin() * x.sin(), "CompositeImplicitAutograd")
    squared_sine = torch.ops.test_profile_timeline.squared_sine
    program = export(lambda x: squared_sine(squared_sine(x)), (torch.rand(3),))
    found = program.report.timeline.phases["export", "translation", "decomposition"]
    assert (found.count, found.unit) == (2, "ATen calls")
    assert program.report.timeline.rules["aten.sin.default"].calls == 4


def test_slowest_rules() -> None:
    rules = {r.overload: r for r in (RuleTime("a", 1, 10, 3.0), RuleTime("b", 1, 1, 2.0), RuleTime("c", 5, 0, 1.0))}
    assert [r.overload for r in slowest_rules(rules)] == ["a", "b", "c"]
    assert [r.overload for r in slowest_rules(rules, by_node=True)] == ["b", "a", "c"]
    assert rules["c"].seconds_a_node == 0.2
    assert rules["a"] + rules["a"] == RuleTime("a", 2, 20, 6.0)


def test_a_phase_outside_of_an_export_leaves_no_trace() -> None:
    with phase("alone"):
        assert ("alone",) in current().phases
    assert not current().phases


def test_a_phase_ends_with_an_error() -> None:
    timeline = Timeline()
    with pytest.raises(ValueError, match="stop"), timeline.phase("outer"), timeline.phase("inner"):
        raise ValueError("stop")
    assert timeline.path == ()
    assert [p.runs for p in timeline.phases.values()] == [1, 1]


def test_a_phase_that_runs_again_adds_up() -> None:
    timeline = Timeline()
    for _ in range(3):
        with timeline.phase("pass") as it:
            it.counts(2, "rewrites")
    found = timeline.phases["pass",]
    assert found == Phase(("pass",), found.seconds, runs=3, count=6, unit="rewrites")


def test_peak_memory_of_each_phase(tmp_path) -> None:
    timeline = Timeline(peaks=Peaks())
    with timeline.phase("outer"):
        with timeline.phase("small"):
            pass
        with timeline.phase("large"), mmap.mmap(-1, 2**26) as pages:  # 64 MB that no allocator had, gone at once
            pages.write(bytes(2**26))
        with timeline.phase("after"):
            pass
    small, large, after = (timeline.phases["outer", name].peak_bytes or 0 for name in ("small", "large", "after"))
    assert large > small + 50 * 2**20
    assert large > after + 50 * 2**20
    assert timeline.phases["outer",].peak_bytes == large


def test_peak_memory_of_an_export(tmp_path) -> None:
    program = export(Net().eval(), (torch.randn(2, 4),), profile=Profile(memory=True))
    assert all(p.peak_bytes for p in program.report.timeline.phases.values() if p.name != "shape inference")


def test_memory_needs_a_system_that_keeps_peaks(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("exporter.profile.memory._RESET", tmp_path / "missing" / "clear_refs")
    with pytest.raises(InputError, match="memory: the peak by phase must be kept by the system"):
        export(Net().eval(), (torch.randn(2, 4),), profile=Profile(memory=True))
