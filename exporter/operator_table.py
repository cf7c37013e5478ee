"""The table of overloads that have a rule, with the ONNX ops that they become: `docs/operators.md`."""

from __future__ import annotations

import importlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aten_lowering import registry
from aten_lowering.emitted import emitted_ops
from aten_lowering.registry import complex_registry
from exporter.errors import SaveError

__all__ = ["OPSETS", "Row", "markdown", "rows", "write"]

OPSETS = range(17, 25)
_DEFAULT = 18

_HEAD = """\
# Operators

{count} ATen overloads have a lowering rule, {complex} of them one for complex tensors too; `fx2onnx ops` prints them.
An overload without one is taken apart by torch's own decomposition, and the pieces are lowered; a rule of yours
(`lowerings=`) comes before both.

The ops are read off the source of the rules. *ONNX ops* are those that the rule itself names, at opset 18; *further*
are those of functions that it shares with other rules, for some dtypes, shapes or arguments only. Casts of type
promotion and ops that compute sizes are left out. Where another opset differs, its own line says how.

This file is written by `fx2onnx ops --write docs/operators.md`.
"""


@dataclass(frozen=True)
class Row:
    """One overload.

    Attributes:
        overload: its name.
        family: the module of its rule.
        is_complex: whether the rule is the one for complex tensors.
        rule: the function.
    """

    overload: str
    family: str
    is_complex: bool
    rule: Callable[..., Any]

    def ops(self, opset_version: int = _DEFAULT) -> tuple[frozenset[str], frozenset[str]]:
        """The ONNX ops that the rule names, and those of the functions that it calls."""
        own = emitted_ops(self.rule, opset_version, deep=False)
        return own, emitted_ops(self.rule, opset_version) - own

    def differences(self) -> Iterator[str]:
        """How the ops at other opsets differ from those at the default, as `from 20: Gelu`."""
        usual = frozenset().union(*self.ops())
        before: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
        for version in OPSETS:
            ops = frozenset().union(*self.ops(version))
            found = ops - usual, usual - ops
            if found != before and (any(found) or version > _DEFAULT):
                more = [*sorted(found[0]), *(f"no {name}" for name in sorted(found[1]))]
                yield f"{'at' if version < _DEFAULT else 'from'} {version}: {', '.join(more) or 'as at 18'}"
            if version >= _DEFAULT:
                before = found


def rows() -> list[Row]:
    """All overloads that have a rule, by name."""
    found = [
        Row(name, function.__module__.rpartition(".")[2], is_complex, function)
        for rules, is_complex in ((registry, False), (complex_registry, True))
        for name, function in rules.functions()
    ]
    return sorted(found, key=lambda row: (row.overload, row.is_complex))


def markdown() -> str:
    """The text of `docs/operators.md`."""
    families: dict[str, list[Row]] = defaultdict(list)
    found = rows()
    for row in found:
        families[row.family].append(row)
    plain = {row.overload for row in found if not row.is_complex}
    both = len({row.overload for row in found if row.is_complex} & plain)
    parts = [_HEAD.format(count=len({row.overload for row in found}), complex=both)]
    for family, members in sorted(families.items()):
        module = importlib.import_module(f"aten_lowering.rules.{family}")
        says = (module.__doc__ or "").strip().partition("\n")[0]
        parts.append(f"## {family.replace('_', ' ').capitalize()}\n\n{says}\n\n{_table(members)}")
    return "\n".join(parts)


def _table(members: Sequence[Row]) -> str:
    lines = ["| overload | ONNX ops | further | at other opsets |", "|---|---|---|---|"]
    for row in members:
        own, further = row.ops()
        name = f"`{row.overload}`" + (" (complex)" if row.is_complex else "")
        cells = [name, ", ".join(sorted(own)), ", ".join(sorted(further)), "; ".join(row.differences())]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def write(path: Path) -> None:
    """Write `markdown()` to a file, whole or not at all.

    Raises:
        SaveError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(markdown(), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise SaveError(f"{path}: cannot be written: {error.strerror}") from error
