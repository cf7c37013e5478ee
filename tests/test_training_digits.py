"""A whole training on real data: in onnxruntime as in torch, step by step."""

from __future__ import annotations

import digits
import pytest


@pytest.mark.parametrize("name", digits.OPTIMIZERS)
def test_digits(name: str) -> None:
    outcome = digits.train(name)
    assert len(outcome.ours) == 200
    assert outcome.largest_difference < 1e-3
    assert outcome.our_accuracy == outcome.torchs_accuracy
    assert outcome.our_accuracy > 0.9
