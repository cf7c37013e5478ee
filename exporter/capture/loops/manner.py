"""In which way a model's code is run while it is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from exporter.capture.loops.number_types import Globals


@dataclass
class Manner:
    """How a model's code is run; what cannot be recorded in one way is recorded again in another.

    Attributes:
        rolls: whether Python's loops may become loops of the graph, and lists of numbers vectors.
        flags: how many of `torch.compiler.is_compiling()` and `is_exporting()` are true, in this order.
        rolled: whether one became so.
        symbolic_in: the modules in which `int(size)` stays symbolic, by their globals; None where it never does.
        no_rounds: the rounds of loops over nonzero() that no input comes to, each a loop and a place; None where
            the model cannot be recorded again without them.
    """

    rolls: bool = False
    flags: int = 2
    rolled: bool = False
    symbolic_in: list[Globals] | None = None
    no_rounds: frozenset[tuple[Any, int]] | None = None

    def roll(self) -> bool:
        """Whether a loop or a list may become one of the graph, which is then taken to do so."""
        self.rolled |= self.rolls
        return self.rolls
