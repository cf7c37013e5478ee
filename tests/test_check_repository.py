"""A fresh repository, from nothing to a green check: by the README's own commands, the workflow's, the action's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
SECTION = (ROOT / "README.md").read_text().partition("## Keep models exportable")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", SECTION, flags=re.DOTALL)


def shell(command, folder, **environment):
    """The output of a command that must succeed, in a shell where `fx2onnx` is this checkout."""
    program = f'fx2onnx() {{ {sys.executable} -m exporter "$@"; }}\n'
    git = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    variables = {**os.environ, **git, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **environment}
    done = subprocess.run(
        ["bash", "-euc", program + command], cwd=folder, env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """What the README's commands make, and what the last of them printed."""
    folder = tmp_path_factory.mktemp("fresh")
    source = next(text for language, text in BLOCKS if language == "python")
    (folder / "net.py").write_text(source)
    shell("git init --quiet", folder)
    commands = next(text for language, text in BLOCKS if "fx2onnx check --init" in text).splitlines()
    assert len(commands) <= 5
    assert commands[0].startswith("pip install ")  # installed here already
    outputs = [shell(command, folder) for command in commands[1:]]
    return folder, outputs[-1]


def test_the_readme_leads_to_green(repository):
    folder, printed = repository
    assert "1 model: 1 ok" in printed
    committed = shell("git ls-files", folder).split()
    assert committed == [".github/workflows/exportable.yml", "exportable.lock.json", "exportable.toml"]


def test_the_workflow_it_wrote_is_green(repository, tmp_path):
    folder, _ = repository
    workflow = yaml.safe_load((folder / ".github/workflows/exportable.yml").read_text())
    (job,) = workflow["jobs"].values()
    install, check = (step["run"] for step in job["steps"] if "run" in step)
    assert install.startswith("pip install ")
    assert "fx2onnx" in install
    shell(check, folder, GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"))
    assert "1 model: 1 ok" in (tmp_path / "summary.md").read_text()
    uploaded = next(step["with"]["path"] for step in job["steps"] if "upload-artifact" in step.get("uses", ""))
    assert {path.name for path in (folder / uploaded).iterdir()} == {"junit.xml", "report.html"}


def test_the_action_is_red_for_a_regression(repository, tmp_path):
    folder, _ = repository
    (folder / "net.py").write_text((folder / "net.py").read_text().replace("ReLU", "Sigmoid"))
    steps = yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]
    check = next(step for step in steps if step["name"] == "Check")
    assert set(check["env"]) == {"MANIFEST", "ARGUMENTS"}
    summary, given = tmp_path / "summary.md", {"MANIFEST": "", "ARGUMENTS": "--shard 1/1"}
    with pytest.raises(AssertionError, match="1 model: 1 regressed"):
        shell(check["run"], folder, GITHUB_STEP_SUMMARY=str(summary), RUNNER_TEMP=str(tmp_path), **given)
    assert "| gained an op: Sigmoid | 0 nodes | 1 node |" in summary.read_text()
    assert {path.name for path in (tmp_path / "exportable").iterdir()} == {"junit.xml", "report.json", "report.html"}


def test_actions_and_hooks_name_what_is_there():
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    used = set(re.findall(r"inputs\.(\w+)", (ROOT / "action.yml").read_text()))
    assert used == set(action["inputs"])
    steps = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["exportable"]["steps"]
    ours = next(step for step in steps if step.get("uses") == "./")
    assert set(ours["with"]) <= set(action["inputs"])
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["entry"] == "fx2onnx check"
    assert not hook["pass_filenames"]
