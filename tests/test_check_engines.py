"""One process a model: what hangs, crashes or devours memory loses nothing else; Ray says the same."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from exporter.check.checking import outcomes_of
from exporter.check.isolation import run_models
from exporter.check.manifest import read_manifest
from exporter.check.outcomes import Verdict
from exporter.check.ray_engine import run_models_on_ray

SOURCE = Path(__file__).with_name("check_models.py").read_text()


def manifest(folder, entries):
    (folder / "models.py").write_text(SOURCE)
    lines = (f'[models.{name}]\nfactory = "models:{factory}"\n{more}\n' for name, factory, more in entries)
    (folder / "exportable.toml").write_text("".join(lines))
    return read_manifest(folder / "exportable.toml").models


def test_forty_models_of_which_three_go_wrong(tmp_path):
    bad = {5: ("hangs", "timeout_seconds = 2"), 17: ("crashes", ""), 31: ("devours", "memory_mb = 1000")}
    entries = [(f"m{i}", *bad.get(i, ("steady", ""))) for i in range(40)]
    outcomes = {outcome.name: outcome for outcome in outcomes_of(run_models(manifest(tmp_path, entries), jobs=2))}
    assert len(outcomes) == 40
    assert sum(outcome.verdict == Verdict.PASSED for outcome in outcomes.values()) == 37
    hangs, crashes, devours = (outcomes[f"m{i}"] for i in bad)
    assert hangs.verdict == Verdict.TIMEOUT
    assert re.fullmatch(r"still \w+ after [\d.]+ s, the limit is 2 s", hangs.message)
    assert (crashes.verdict, crashes.message) == (Verdict.CRASHED, "the process was ended by SIGABRT")
    assert "about to crash" in crashes.output
    assert 'models.py", line' in crashes.output
    assert devours.verdict == Verdict.MEMORY
    assert devours.message.endswith("MB while building, the limit is 1000 MB")


ENTRIES = (
    ("steady", "steady", ""),
    ("broken", "is_wrong", ""),
    ("absent", "nothing", ""),
    ("crashes", "crashes", ""),
    ("leaves", "leaves", ""),
    ("bare", "bare", 'inputs = ["float32[2, 8]"]\narguments = { width = 2 }\ndynamic_shapes = { input = { 0 = "n" } }'),
    ("needs_inputs", "bare", ""),
    ("killer", "kills_its_worker", ""),
)
EXPECTED = {
    "steady": (Verdict.PASSED, ""),
    "broken": (Verdict.BROKEN, "RuntimeError: no such weights"),
    "absent": (Verdict.BROKEN, "InputError: models:nothing: models has no function 'nothing'"),
    "crashes": (Verdict.CRASHED, "the process was ended by SIGABRT"),
    "leaves": (Verdict.CRASHED, "the process ended by itself with exit code 7"),
    "bare": (Verdict.PASSED, ""),
    "needs_inputs": (Verdict.BROKEN, "ManifestError: needs_inputs: must have inputs: models:bare returns only a model"),
    "killer": (Verdict.PASSED, ""),
}


def verdicts(events):
    return {outcome.name: (outcome.verdict, outcome.message.partition("\n")[0]) for outcome in outcomes_of(events)}


def test_verdicts(tmp_path):
    assert verdicts(run_models(manifest(tmp_path, ENTRIES), jobs=2)) == EXPECTED


@pytest.fixture
def cluster():
    """A cluster of one worker on this machine."""
    import ray

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


def test_ray_gives_the_same_verdicts_and_starts_a_killed_worker_again(tmp_path, cluster):
    assert verdicts(run_models_on_ray(manifest(tmp_path, ENTRIES))) == EXPECTED
    assert (tmp_path / "killed").exists()  # so a worker was killed, and its model passed after all


def test_without_ray(monkeypatch):
    from exporter.errors import InputError

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match="Ray is not installed"):
        next(run_models_on_ray([]))
