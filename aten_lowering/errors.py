"""What can go wrong while an ATen graph becomes ONNX; the base of the product's error tree."""

from __future__ import annotations


class ExportError(Exception):
    """Anything that stops an export; users catch it alone.

    Attributes:
        problem: the subject, what must hold and what it got, one line.
        hint: what to do, or "".
        source: where in the user's model, or "".
    """

    def __init__(self, problem: str, *, hint: str = "", source: str = "") -> None:
        self.problem, self.hint, self.source = problem, hint, source
        super().__init__(problem)

    def __str__(self) -> str:
        lines = [self.problem]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        if self.source:
            lines.append(f"  from: {self.source}")
        return "\n".join(lines)


class LoweringError(ExportError):
    """An overload cannot be expressed in ONNX."""


class UnsupportedArgument(LoweringError):
    """An overload has a rule, but the rule does not know this value of an argument."""


class OpsetError(LoweringError):
    """The opset that was asked for cannot express what the model needs, or does not exist."""


class MissingRuleError(LoweringError):
    """Overloads of the model have neither a rule nor a decomposition.

    Attributes:
        missing: the overload's name -> where the model calls it, one entry a call.
    """

    def __init__(self, missing: dict[str, list[str]], *, hint: str = "") -> None:
        self.missing = missing
        lines = [
            f"{name}: {len(sources)} call{'s' * (len(sources) > 1)}, first from {sources[0]}"
            for name, sources in sorted(missing.items(), key=lambda item: -len(item[1]))
        ]
        super().__init__(
            f"{len(missing)} overload{'s have' if len(missing) > 1 else ' has'} no lowering rule:\n  "
            + "\n  ".join(lines),
            hint=hint or "give a rule: export(..., lowerings={overload: rule}); see CONTRIBUTING.md",
        )
