"""`fx2onnx check --init`: a manifest and a workflow for a repository that has neither."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path

import jinja2

from exporter.check.files import write_text
from exporter.check.manifest import MANIFEST, PYPROJECT
from exporter.errors import ManifestError

WORKFLOW = Path(".github", "workflows", "exportable.yml")


def start(folder: Path, factories: Sequence[str]) -> list[Path]:
    """Write `exportable.toml` with a model for each factory, and a GitHub workflow that checks them.

    Returns:
        What was written; a file that is there already is left as it is.

    Raises:
        ManifestError: there is a manifest already, or a factory is not MODULE:FUNCTION.
    """
    if (folder / MANIFEST).exists():
        raise ManifestError(f"{folder / MANIFEST}: is there already", hint="add [models.NAME] to it")
    entries = []
    for factory in factories:
        name = factory.rpartition(":")[2]
        if ":" not in factory or not name.isidentifier():
            raise ManifestError(f"--init: must be MODULE:FUNCTION, got {factory!r}")
        entries.append(f"[models.{name}]\nfactory = {json.dumps(factory)}\n")
    written = [write_text(folder / MANIFEST, "\n".join(entries))]
    if not (folder / WORKFLOW).exists():
        written.append(write_text(folder / WORKFLOW, _workflow(folder)))
    return written


def _workflow(folder: Path) -> str:
    template = (Path(__file__).parent / "templates" / "workflow.yml").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        variable_start_string="<<", variable_end_string=">>", trim_blocks=True, keep_trailing_newline=True
    )
    project = folder / PYPROJECT
    return environment.from_string(template).render(
        requirement=_requirement(),
        requirements_file=(folder / "requirements.txt").exists(),
        project=project.exists() and "[project]" in project.read_text(encoding="utf-8"),
    )


def _requirement() -> str:
    """What pip is to install in CI: this product from where it was installed here, if CI can reach that."""
    try:
        origin = json.loads(importlib.metadata.distribution("fx2onnx").read_text("direct_url.json") or "{}")
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        origin = {}
    if "vcs_info" in origin:
        info = origin["vcs_info"]
        return f"fx2onnx @ {info['vcs']}+{origin['url']}@{info['commit_id']}"
    return "fx2onnx"
