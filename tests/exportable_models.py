"""What exportable.toml checks: models of the zoo, at the dims that the zoo leaves open."""

from __future__ import annotations

from typing import Any

import zoo


def case(name: str) -> tuple[Any, Any, Any]:
    """The model, inputs and open dims of a case of the zoo."""
    found = zoo.CASES[name]
    return found.build(), found.inputs(), found.dynamic_shapes
