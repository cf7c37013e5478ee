"""What became worse: a model's facts beside those of its baseline, each difference with its kind, old and new."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from exporter.check.outcomes import Facts, Outcome, Port, Verdict
from exporter.check.specs import Tolerances

# CPU time, in calibrations, below which two exports are not told apart: a few milliseconds.
_NOISE = 0.1
# What a file may grow by in any case: longer names are no news.
_NAMES_BYTES = 1024


class Kind(str, Enum):
    """The ways in which a model can be worse than its baseline."""

    EXPORT = "stopped exporting"
    NUMBERS = "differs numerically"
    PROVIDER = "fell off a provider"
    GROWTH = "grew"
    OP = "gained an op"
    DIM = "froze a dim"
    INTERFACE = "changed its inputs or outputs"
    SPEED = "became slower"


@dataclass(frozen=True)
class Regression:
    """One thing that became worse: what, as it was in the baseline and as it is now."""

    kind: Kind
    what: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.what}: was {self.old}, is {self.new}"


def regressions(old: Facts, outcome: Outcome, tolerances: Tolerances) -> list[Regression]:
    """What is worse in an outcome than in the facts of a baseline in which the model passed."""
    new, found = outcome.facts, list[Regression]()
    if outcome.verdict == Verdict.DIFFERS and new is not None:
        values = f"{new.max_difference:.2g} ({outcome.message})"
        found.append(Regression(Kind.NUMBERS, "largest difference from eager", f"{old.max_difference:.2g}", values))
    elif outcome.verdict not in (Verdict.PASSED, Verdict.REFUSED):
        message = f"{outcome.verdict.value}: {outcome.message}"
        return [Regression(Kind.EXPORT, "verdict", Verdict.PASSED.value, message)]
    if new is None:
        return found
    found += _providers(old, new, outcome.message)
    found += _growth(old, new, tolerances)
    found += _ops(old, new)
    found += [*_ports("input", old.inputs, new.inputs), *_ports("output", old.outputs, new.outputs)]
    if _slower(old.calibrated_seconds, new.calibrated_seconds, tolerances.seconds):
        times = (f"{facts.calibrated_seconds:.3g} calibrations" for facts in (old, new))
        found.append(Regression(Kind.SPEED, "export", *times))
    return found


def _providers(old: Facts, new: Facts, message: str) -> Iterator[Regression]:
    for provider, before in old.providers.items():
        now = new.providers.get(provider, before)  # one that is no longer asked for is nobody's loss
        if before == Verdict.PASSED.value and now not in (Verdict.PASSED.value, Verdict.DIFFERS.value):
            because = f" ({message})" if message else ""
            yield Regression(Kind.PROVIDER, provider, before, now + because)
    for provider, ops in new.left_to_cpu.items():
        for op, count in ops.items():
            already = old.left_to_cpu.get(provider, {}).get(op, 0)
            if provider in old.providers and count > already:
                what = f"{provider}, nodes of {op} left to the CPU"
                yield Regression(Kind.PROVIDER, what, str(already), str(count))


def _growth(old: Facts, new: Facts, tolerances: Tolerances) -> Iterator[Regression]:
    counts = (
        ("nodes", old.nodes, new.nodes, tolerances.nodes, 0),
        ("file bytes", old.file_bytes, new.file_bytes, tolerances.bytes, _NAMES_BYTES),
        ("initializer bytes", old.initializer_bytes, new.initializer_bytes, tolerances.bytes, 0),
    )
    for what, before, now, tolerance, slack in counts:
        if now > before * (1 + tolerance) + slack:
            more = f" (+{now / before - 1:.1%})" if before else ""
            yield Regression(Kind.GROWTH, what, f"{before:,}", f"{now:,}{more}")


def _ops(old: Facts, new: Facts) -> Iterator[Regression]:
    for op, count in new.ops.items():
        if op not in old.ops:
            yield Regression(Kind.OP, op, "0 nodes", f"{count} node{'s' * (count > 1)}")


def _ports(what: str, old: dict[str, Port], new: dict[str, Port]) -> Iterator[Regression]:
    if list(old) != list(new):
        yield Regression(Kind.INTERFACE, f"names of {what}s", ", ".join(old), ", ".join(new))
    for name, before in old.items():
        now = new.get(name)
        if now is None or now == before:
            continue
        frozen = [
            (axis, a, b)
            for axis, (a, b) in enumerate(zip(before[1:], now[1:], strict=False))
            if isinstance(a, str) and isinstance(b, int)
        ]
        for axis, a, b in frozen:
            yield Regression(Kind.DIM, f"{what} {name}, axis {axis}", f"{a} ({shown(before)})", f"{b} ({shown(now)})")
        if not frozen and _fixed(before) != _fixed(now):
            yield Regression(Kind.INTERFACE, f"{what} {name}", shown(before), shown(now))


def shown(port: Port) -> str:
    """A dtype and dims as they are written: `float32[batch, 3]`."""
    return f"{port[0]}[{', '.join(map(str, port[1:]))}]"


def _fixed(port: Port) -> list[object]:
    """The dtype, the rank and the sizes that are numbers; the name of a dim is nobody's contract."""
    return [part if axis == 0 or isinstance(part, int) else None for axis, part in enumerate(port)]


def _slower(old: float, new: float, tolerance: float) -> bool:
    return new > old * (1 + tolerance) and new - old > _NOISE
