"""The models that the exporter is tested, measured and shown on.

`CASES` maps a name to a `Case`. Nothing is built and no model library imported before a case is asked for;
nothing is downloaded; everything is seeded. See zoo_values for why parameters are replaced.

Tags: vision, text, speech, multimodal; cache (a key-value cache goes in or comes out); any_size (pixels are
dynamic too); detection; small (reduced, for the test gate) and slow (too large for it); speed (the seven that
the speed bar is measured on); demo (what `make demo` shows).
"""

from __future__ import annotations

import zoo_detection
import zoo_small
import zoo_speech
import zoo_text
import zoo_vision
from zoo_case import Case, Inputs

__all__ = ["CASES", "Case", "Inputs", "tagged"]

_MODULES = (zoo_vision, zoo_detection, zoo_text, zoo_speech, zoo_small)

CASES: dict[str, Case] = {case.name: case for module in _MODULES for case in module.CASES}
if len(CASES) != sum(len(module.CASES) for module in _MODULES):
    raise ValueError("two cases of the zoo have one name")


def tagged(*tags: str, without: tuple[str, ...] = ()) -> list[Case]:
    """List the cases that have all of these tags, and none of the others."""
    return [case for case in CASES.values() if case.tags.issuperset(tags) and case.tags.isdisjoint(without)]
