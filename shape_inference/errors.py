"""What inference raises."""

from __future__ import annotations

__all__ = ["GivenError", "InferenceError"]


class InferenceError(ValueError):
    """An operator call, or a model, that no runtime could execute.

    Attributes:
        subject: Who is at fault: an op type, or a node with its op type.
        must: What must hold.
        got: What was found.
    """

    def __init__(self, subject: str, must: str, got: object = None) -> None:
        self.subject = subject
        self.must = must
        self.got = got
        super().__init__(f"{subject}: {must}" + ("" if got is None else f", got {got}"))


class GivenError(InferenceError):
    """What the caller says of a model, beyond the model, does not fit it; `subject` is the name."""
