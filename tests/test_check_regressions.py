"""Each kind of regression, planted in a model whose baseline is written, turns `fx2onnx check` red for its reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from exporter.cli import app

SOURCE = Path(__file__).with_name("check_models.py").read_text()
NAMES = (
    "steady", "leaves_nodes", "stops", "differs", "more_nodes", "more_bytes", "gains_op", "freezes", "leaves_provider", "slows", "renames",
)  # fmt: skip
SETTINGS = {
    "freezes": "allow_fixed = true",
    "leaves_provider": "opset = 22",
    "leaves_nodes": 'providers = ["AzureExecutionProvider"]',  # it is everywhere, and runs no such node itself
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository with a baseline, whose models have all changed since."""
    folder = tmp_path_factory.mktemp("repository")
    entries = (f'[models.{name}]\nfactory = "models:{name}"\n{SETTINGS.get(name, "")}' for name in NAMES)
    (folder / "exportable.toml").write_text("\n".join(entries))
    (folder / "models.py").write_text(SOURCE)
    code, report = run(folder, "--update", "--jobs", "2")
    assert code == 0
    assert {model["verdict"] for model in report["models"]} == {"passed"}
    lock = folder / "exportable.lock.json"
    data = json.loads(lock.read_text())
    data["models"]["slows"]["calibrated_seconds"] = 0.0001  # a slowdown is planted in what is remembered
    data["made_with"][0]["torch"] = "2.0.0"
    lock.write_text(json.dumps(data))
    (folder / "models.py").write_text(SOURCE.replace("CHANGED = False", "CHANGED = True"))
    return folder


def run(folder, *arguments):
    """The exit code and the JSON report of one run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = CliRunner().invoke(app, ["check", *arguments, "--json", "report.json"], catch_exceptions=False)
    return result.exit_code, json.loads((folder / "report.json").read_text())


def regressions(repository, name):
    """What one changed model's check says: kind -> what, old, new."""
    code, report = run(repository, name)
    (model,) = report["models"]
    assert (code, model["status"], report["passed"]) == (1, "regressed", False)
    return {found["kind"]: (found["what"], found["old"], found["new"]) for found in model["regressions"]}


def test_unchanged_is_green(repository):
    code, report = run(repository, "steady")
    assert (code, report["models"][0]["status"], report["models"][0]["regressions"]) == (0, "ok", [])


def test_stops_exporting(repository):
    found = regressions(repository, "stops")
    what, old, new = found.pop("stopped exporting")
    assert (what, old, found) == ("verdict", "passed", {})
    assert new.startswith("does not export: MissingRuleError: ")
    assert "aten.linalg_eigvals.default: 1 call, first from" in new


def test_differs_numerically(repository):
    what, old, new = regressions(repository, "differs")["differs numerically"]
    assert what == "largest difference from eager"
    assert float(old) < 1e-6 < 0.1 < float(new.split()[0])
    assert "cpu: differs: output" in new


def test_grows_in_nodes(repository):
    assert regressions(repository, "more_nodes") == {"grew": ("nodes", "1", "2 (+100.0%)")}


def test_grows_in_bytes(repository):
    code, report = run(repository, "more_bytes")
    found = {r["what"]: (r["kind"], r["old"], r["new"]) for r in report["models"][0]["regressions"]}
    assert code == 1
    assert found["initializer bytes"] == ("grew", "3,200", "12,800 (+300.0%)")
    assert found["file bytes"][0] == "grew"


def test_gains_an_op(repository):
    assert regressions(repository, "gains_op") == {"gained an op": ("Cos", "0 nodes", "1 node")}


def test_freezes_a_dim(repository):
    found = regressions(repository, "freezes")
    assert found["froze a dim"][1:] == ("batch (float32[batch, 8])", "3 (float32[3, 8])")


def test_falls_off_a_provider(repository):
    what, old, new = regressions(repository, "leaves_provider")["fell off a provider"]
    assert (what, old) == ("cpu", "passed")
    assert new.startswith("failed to load (cpu: failed to load: ")


def test_leaves_more_nodes_to_the_cpu(repository):
    found = regressions(repository, "leaves_nodes")["fell off a provider"]
    assert found == ("AzureExecutionProvider, nodes of Sin left to the CPU", "1", "2")


def test_becomes_slower(repository):
    what, old, new = regressions(repository, "slows")["became slower"]
    assert (what, old) == ("export", "0.0001 calibrations")
    assert float(new.split()[0]) > 0.1


def test_changes_its_inputs(repository):
    assert regressions(repository, "renames") == {"changed its inputs or outputs": ("names of inputs", "x", "y")}


def test_the_reports_say_what_was_and_what_is(repository, tmp_path):
    paths = {kind: tmp_path / f"report.{kind}" for kind in ("markdown", "html", "junit")}
    code, report = run(repository, "gains_op", "steady", *(f"--{kind}={path}" for kind, path in paths.items()))
    new = report["models"][0]["versions"]["torch"]
    text = {kind: path.read_text() for kind, path in paths.items()}
    assert "| gained an op: Cos | 0 nodes | 1 node |" in text["markdown"]
    assert f"| version of torch | 2.0.0 | {new} |" in text["markdown"]
    assert "gained an op: Cos: was 0 nodes, is 1 node" in text["html"]
    assert f"<td>version of torch</td><td>2.0.0</td><td>{new}</td>" in text["html"]
    assert 'failures="1"' in text["junit"]
    assert f"torch: was 2.0.0, is {new}" in text["junit"]
    assert code == 1


def test_update_takes_over_what_is(repository, tmp_path):
    baseline = tmp_path / "other.lock.json"
    for name in ("gains_op", "stops"):
        assert run(repository, name, "--update", f"--baseline={baseline}")[0] == 0
    code, report = run(repository, "gains_op", "stops", f"--baseline={baseline}")
    assert {model["name"]: model["status"] for model in report["models"]} == {
        "gains_op": "ok",
        "stops": "known failure",
    }
    assert code == 0
