"""The report of a validation as one HTML page that needs no other file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jinja2

from exporter.validation.placement import CPU, Placement, Stretch

if TYPE_CHECKING:
    from exporter.validation.reports import ProviderResult, ValidationReport

__all__ = ["page_of"]

_MOST_NAMES = 40  # of a stretch, in the words that the pointer shows


@dataclass(frozen=True)
class Block:
    """One stretch of a strip.

    Attributes:
        kind: "own", "cpu" or "other": which colour it has.
        share: of the strip's width, in percent.
        title: what the pointer shows.
        label: what stands in it, where it is wide enough.
    """

    kind: str
    share: float
    title: str
    label: str


def page_of(report: ValidationReport) -> str:
    """The report as HTML: verdicts, a strip per provider that shows where nodes went, and each difference."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("exporter.validation"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.globals.update(strip_of=strip_of, modules_of=modules_of, colour_of=colour_of)
    return environment.get_template("report.html.jinja").render(report=report)


def strip_of(placement: Placement) -> list[Block]:
    """The blocks of a provider's strip, in the order of the model's nodes."""
    total = max(len(placement.nodes), 1)
    return [_block(stretch, placement.provider, total) for stretch in placement.stretches]


def modules_of(placement: Placement) -> list[tuple[str, str, int, str]]:
    """Module path, provider, how many nodes, and their operators; modules in the model's order."""
    groups: dict[tuple[str, str], Counter[str]] = {}
    for node in placement.nodes:
        groups.setdefault((node.module, node.provider), Counter())[node.op_type] += 1
    return [
        (module or "(model)", provider, sum(kinds.values()), _kinds(kinds))
        for (module, provider), kinds in groups.items()
    ]


def colour_of(result: ProviderResult) -> str:
    """The style class of a verdict."""
    return {"passed": "good", "not available here": "absent"}.get(result.verdict, "bad")


def _block(stretch: Stretch, provider: str, total: int) -> Block:
    kind = "own" if stretch.provider == provider else "cpu" if stretch.provider == CPU else "other"
    names = [node.name for node in stretch.nodes[:_MOST_NAMES]]
    if len(stretch.nodes) > _MOST_NAMES:
        names.append(f"... and {len(stretch.nodes) - _MOST_NAMES} more")
    share = 100 * len(stretch.nodes) / total
    label = f"{len(stretch.nodes)}" if share > 4 else ""
    return Block(kind, share, f"{stretch.provider}: {len(stretch.nodes)} nodes\n" + "\n".join(names), label)


def _kinds(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} {op}" if count > 1 else op for op, count in kinds.most_common())
