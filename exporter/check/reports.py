"""The reports of a check: a table for the terminal, JUnit XML, JSON, Markdown and HTML."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jinja2
from rich.table import Table
from rich.text import Text

from exporter.check.checking import RED, Checked, CheckReport, Status
from exporter.check.outcomes import Facts
from exporter.check.regressions import shown

_STYLES = {
    Status.OK: "green",
    Status.NEW: "green",
    Status.KNOWN: "yellow",
    Status.FAILED: "red",
    Status.REGRESSED: "red",
}


def table(report: CheckReport) -> Table:
    """One row a model; red ones with their reasons."""
    result = Table(title=report.title, title_justify="left")
    result.add_column("model")
    result.add_column("status")
    for name in ("nodes", "MB", "difference", "seconds"):
        result.add_column(name, justify="right")
    result.add_column("why", overflow="fold")
    for checked in report.checked:
        row = _row(checked)
        why = [*checked.reasons, *checked.notes]
        if checked.status == Status.KNOWN:
            why.insert(0, f"{checked.outcome.verdict.value}: {checked.outcome.message}")
        style = _STYLES[checked.status]
        result.add_row(
            checked.outcome.name, f"[{style}]{checked.status.value}[/]",
            row["nodes"], row["megabytes"], row["difference"], row["seconds"], Text("\n".join(why)),
        )  # fmt: skip
    return result


def junit(report: CheckReport) -> str:
    """JUnit XML: a test case a model, a failure where it is red, skipped where it is known to fail."""
    seconds = sum(checked.outcome.seconds for checked in report.checked)
    counts = {
        "tests": len(report.checked),
        "failures": sum(checked.status in RED for checked in report.checked),
        "errors": 0,
        "skipped": sum(checked.status == Status.KNOWN for checked in report.checked),
    }
    attributes = {"name": "fx2onnx check", "time": f"{seconds:.3f}", **{k: str(v) for k, v in counts.items()}}
    root = ElementTree.Element("testsuites", attributes)
    suite = ElementTree.SubElement(root, "testsuite", {**attributes, "name": report.title})
    for checked in report.checked:
        outcome = checked.outcome
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": report.title, "name": outcome.name, "time": f"{outcome.seconds:.3f}"}
        )
        if checked.status in RED:
            kind = checked.regressions[0].kind.value if checked.regressions else outcome.verdict.value
            failure = ElementTree.SubElement(case, "failure", {"type": kind, "message": _xml(checked.reasons[0])})
            failure.text = _xml("\n".join([*checked.reasons, *_changed(checked)]))
        elif checked.status == Status.KNOWN:
            ElementTree.SubElement(case, "skipped", {"message": _xml(f"known failure: {outcome.message}")})
        if outcome.output:
            ElementTree.SubElement(case, "system-out").text = _xml(outcome.output)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def as_json(report: CheckReport) -> str:
    """Everything that is known, for programs."""
    models = [
        {
            **checked.outcome.to_dict(),
            "status": checked.status.value,
            "regressions": [dataclasses.asdict(regression) for regression in checked.regressions],
            "notes": checked.notes,
            "baseline": dataclasses.asdict(checked.before) if checked.before else None,
        }
        for checked in report.checked
    ]
    tree = {
        "title": report.title, "passed": report.passed, "counts": report.counts, "commit": report.commit,
        "notes": report.notes, "models": models,
    }  # fmt: skip
    return json.dumps(_finite(tree), indent=1) + "\n"


def markdown(report: CheckReport) -> str:
    """Markdown, for the summary of a CI job."""
    return _rendered("report.md", report)


def html(report: CheckReport) -> str:
    """One HTML page that needs nothing beside it."""
    return _rendered("report.html", report)


def _rendered(template: str, report: CheckReport) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=template.endswith(".html"), trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", "<br>")
    environment.filters["shown"] = shown
    return environment.get_template(template).render(
        report=report, rows=[(checked, _row(checked)) for checked in report.checked], red=RED, facts=_compared
    )


def _row(checked: Checked) -> dict[str, str]:
    facts = checked.outcome.facts
    if facts is None:
        empty = {"nodes": "", "megabytes": "", "difference": ""}
        return {**empty, "seconds": f"{checked.outcome.seconds:.1f}"}
    return {
        "nodes": str(facts.nodes),
        "megabytes": f"{facts.file_bytes / 1e6:.2f}",
        "difference": f"{facts.max_difference:.1e}",
        "seconds": f"{checked.outcome.seconds:.1f}",
    }


def _compared(checked: Checked) -> list[tuple[str, str, str]]:
    """Each fact: its name, its old and its new value."""
    old = _described(checked.before.facts) if checked.before and checked.before.facts else {}
    new = _described(checked.outcome.facts) if checked.outcome.facts else {}
    return [(name, old.get(name, ""), new.get(name, "")) for name in {**old, **new}]


def _described(facts: Facts) -> dict[str, str]:
    ports = {f"input {name}": shown(port) for name, port in facts.inputs.items()}
    ports |= {f"output {name}": shown(port) for name, port in facts.outputs.items()}
    return {
        "opset": str(facts.opset),
        "nodes": str(facts.nodes),
        "file bytes": f"{facts.file_bytes:,}",
        "initializer bytes": f"{facts.initializer_bytes:,}",
        "largest difference": f"{facts.max_difference:.2g}",
        "export, in calibrations": f"{facts.calibrated_seconds:.2g}",
        **{f"on {provider}": verdict for provider, verdict in facts.providers.items()},
        **{f"left to the CPU by {provider}": ", ".join(ops) for provider, ops in facts.left_to_cpu.items()},
        **ports,
        **{f"op {op}": str(count) for op, count in facts.ops.items()},
    }


def _changed(checked: Checked) -> list[str]:
    changed = checked.changed_versions
    return [f"{name}: was {old}, is {new}" for name, (old, new) in changed.items()]


def _xml(text: str) -> str:
    """Text without the characters that XML 1.0 cannot hold."""
    return "".join(
        c for c in text if c in "\t\n\r" or "\x20" <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff"
    )


def _finite(tree: Any) -> Any:
    """The tree with the numbers that JSON lacks as words."""
    if isinstance(tree, dict):
        return {key: _finite(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_finite(value) for value in tree]
    return str(tree) if isinstance(tree, float) and not math.isfinite(tree) else tree
