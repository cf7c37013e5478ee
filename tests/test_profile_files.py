"""The files of a profile: Chrome's trace, speedscope's, and the errors for what cannot be written."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from exporter import Profile, export
from exporter.cli import app
from exporter.errors import InputError, SaveError
from exporter.profile.spans import Frame, Spans, module_frames


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(x).softmax(-1)


def net() -> tuple[Any, ...]:
    return Net().eval(), (torch.randn(2, 4),)


def profiled(path, **options: Any) -> Any:
    program = export(*net(), profile=Profile(path, **options))
    program.save(path.parent / "net.onnx")
    return json.loads(path.read_text())


def test_chrome_trace_nests_phases_modules_and_ops(tmp_path) -> None:
    trace = profiled(tmp_path / "trace.json")
    events = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    linear = [(e["ts"], e["ts"] + e["dur"]) for e in events if e["name"] == "aten.linear.default"]
    assert len(linear) == 2, "captured and translated"
    around = [
        [
            e["name"]
            for e in events
            if e["ts"] <= start and end <= e["ts"] + e["dur"] and e["cat"] in ("phase", "module")
        ]
        for start, end in linear
    ]
    assert around[0] == ["export", "capture", "blocks", "blocks.0"]
    assert around[1][:2] == ["export", "translation"]
    assert around[1][-1] == "blocks.0"
    capture = next(e for e in events if e["name"] == "capture")
    assert capture["args"] == {"graph nodes": 7}
    assert {"name": "process_name", "ph": "M", "pid": 0, "tid": 0, "args": {"name": "Net"}} in trace["traceEvents"]


def test_the_trace_has_every_node_and_its_shape_inference(tmp_path) -> None:
    trace = profiled(tmp_path / "trace.json")
    translation = next(e for e in trace["traceEvents"] if e["name"] == "translation")
    end = translation["ts"] + translation["dur"]
    inside = [e for e in trace["traceEvents"][1:] if e["ph"] == "X" and translation["ts"] <= e["ts"] <= end]
    assert {e["name"] for e in inside if e["cat"] == "node"} == {"Gemm", "Relu", "Softmax"}
    assert len([e for e in inside if e["cat"] == "inference"]) == len([e for e in inside if e["cat"] == "node"])


def test_speedscope_opens_and_closes_frames_in_turn(tmp_path) -> None:
    content = profiled(tmp_path / "net.speedscope.json", sampling=True)
    assert content["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    names = [frame["name"] for frame in content["shared"]["frames"]]
    assert len(content["profiles"]) == 2
    for profile in content["profiles"]:
        open_frames: list[int] = []
        for event in profile["events"]:
            if event["type"] == "O":
                open_frames.append(event["frame"])
            else:
                assert open_frames.pop() == event["frame"]
        assert not open_frames
        assert all(a["at"] <= b["at"] + 1e-9 for a, b in pairwise(profile["events"]))
        assert profile["events"][-1]["at"] <= profile["endValue"] + 1e-9
    assert {"export", "capture", "blocks.0", "aten.relu.default"} <= set(names)
    assert any(name.startswith("export ") and "pipeline.py:" in name for name in names), "a sampled function"


def test_the_time_between_export_and_save_is_left_out(tmp_path) -> None:
    program = export(*net(), profile=tmp_path / "trace.json")
    before = {e["name"] for e in json.loads((tmp_path / "trace.json").read_text())["traceEvents"]}
    torch.randn(2000, 2000) @ torch.randn(2000, 2000)
    program.save(tmp_path / "net.onnx")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert {e["name"] for e in events} - before >= {"save", "serialization", "writing"}
    whole, exported, saved = (
        next(e for e in events if e["ph"] == "X" and e["name"] == n) for n in ("Net", "export", "save")
    )
    assert saved["ts"] == pytest.approx(exported["ts"] + exported["dur"], abs=0.2)
    assert whole["dur"] == pytest.approx(exported["dur"] + saved["dur"], abs=0.3)


def test_an_export_without_a_profile_records_no_calls() -> None:
    report = export(*net()).report
    assert report.recording is None
    assert report.timeline.spans is None


def test_subgraphs_stay_inside_the_call_that_has_them(tmp_path) -> None:
    def branches(x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x.cos(), (x,))

    export(branches, (torch.randn(3),), profile=tmp_path / "trace.json")
    events = [e for e in json.loads((tmp_path / "trace.json").read_text())["traceEvents"] if e["ph"] == "X"]
    assert events[0]["name"] == "test_subgraphs_stay_inside_the_call_that_has_them.<locals>.branches"
    cond = next(e for e in events if e["name"] == "cond")
    inside = [e["name"] for e in events if cond["ts"] < e["ts"] < cond["ts"] + cond["dur"] and e["cat"] == "op"]
    assert inside == ["aten.sin.default", "aten.cos.default"]


@pytest.mark.parametrize(
    ("path", "frames"),
    [
        ("", []),
        ("fc", ["fc"]),
        ("encoder.block.0.mlp", ["encoder", "encoder.block.0", "encoder.block.0.mlp"]),
        ("layers.0.1", ["layers.0.1"]),
    ],
)
def test_module_frames(path: str, frames: list[str]) -> None:
    assert module_frames(path) == frames


def test_spans_become_a_tree() -> None:
    spans = Spans()
    with spans.span("export", "phase"):
        for path in ("a.0", "a.0.b", "c"):
            with spans.op(path, f"op of {path}"), spans.op("elsewhere", "inside"):
                pass
        spans.leave_modules()
    root = spans.tree("all")
    assert outline(root) == ["all", [
        "export", ["a.0", ["op of a.0", ["inside"]], ["a.0.b", ["op of a.0.b", ["inside"]]]], ["c", ["op of c", ["inside"]]]
    ]]  # fmt: skip
    for frame in root.walk():
        for child in frame.children:
            assert frame.start <= child.start
            assert child.start + child.seconds <= frame.start + frame.seconds + 1e-9


def outline(frame: Frame) -> list[Any]:
    return [frame.name, *map(outline, frame.children)]


def test_the_suffix_must_be_known(tmp_path) -> None:
    with pytest.raises(InputError) as caught:
        export(*net(), profile=tmp_path / "trace.svg")
    assert str(caught.value) == (
        f"profile: {tmp_path / 'trace.svg'} must end in .html, .speedscope.json, .json\n"
        "  hint: .html is a flame graph, .speedscope.json is for speedscope, .json for Perfetto and Chrome"
    )


def test_the_folder_must_exist(tmp_path) -> None:
    with pytest.raises(InputError, match=r"profile: the folder of .* must exist"):
        export(*net(), profile=tmp_path / "missing" / "trace.json")


def test_a_file_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "trace.json").mkdir()
    (tmp_path / "trace.json" / "file").touch()
    with pytest.raises(SaveError, match=r"trace\.json: cannot be written"):
        export(*net(), profile=tmp_path / "trace.json")


def test_sampling_needs_pyinstrument(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyinstrument", None)
    with pytest.raises(InputError) as caught:
        export(*net(), profile=Profile(sampling=True))
    assert str(caught.value) == (
        "sampling: the package pyinstrument must be installed\n  hint: pip install 'fx2onnx[profile]'"
    )


def command(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["profile", "test_profile_files:net", *arguments], env={"COLUMNS": "160"})


def test_the_command_writes_what_it_is_asked_for(tmp_path) -> None:
    files = [tmp_path / name for name in ("net.html", "net.json", "net.speedscope.json")]
    result = command(*(word for file in files for word in ("-o", str(file))), "--rules", "--memory", "--sampling")
    assert result.exit_code == 0, result.output
    assert all(file.stat().st_size for file in files)
    for said in ("capture", "shape inference", "common subexpressions", "writing", "peak memory", "MiB", "graph nodes"):
        assert said in result.output
    assert "3 rules by total time" in result.output
    assert "The 3 slowest by time for a node that they emit" in result.output
    assert result.output.count("aten.linear.default") == 2


def test_the_command_without_options_shows_the_phases() -> None:
    result = command("--warm-up", "0")
    assert result.exit_code == 0, result.output
    assert "optimization" in result.output
    assert "peak memory" not in result.output
    assert "aten.linear.default" not in result.output


def test_the_command_shows_an_error_as_one_of_ours(tmp_path) -> None:
    result = command("-o", str(tmp_path / "net.txt"))
    assert result.exit_code == 1
    assert "must end in .html" in " ".join(result.output.split())
