"""Decoders with their cache as input and output, run step by step in onnxruntime as a user generates text."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
import zoo

from exporter import Program, export
from exporter.validation.runtime import session_of

STEPS = 10
PROMPT = torch.tensor([[5, 17, 3, 40, 8, 21]])


def _exported(name: str) -> tuple[Program, torch.nn.Module]:
    case = zoo.CASES[name]
    model = case.build()
    return export(model, case.inputs(), dynamic_shapes=case.dynamic_shapes), model


def _empty_caches(session: onnxruntime.InferenceSession) -> dict[str, np.ndarray]:
    """A cache of no tokens, for every input but the first."""
    return {node.name: np.zeros([1, node.shape[1], 0, node.shape[3]], np.float32) for node in session.get_inputs()[1:]}


def _greedy(session: onnxruntime.InferenceSession, prompt: torch.Tensor, steps: int) -> list[int]:
    """The tokens that the model puts behind a prompt; each step takes the cache of the one before."""
    caches, tokens, found = _empty_caches(session), prompt.numpy(), []
    for _ in range(steps):
        logits, *state = session.run(None, {session.get_inputs()[0].name: tokens, **caches})
        caches = dict(zip(caches, state, strict=True))
        found.append(int(logits[0, -1].argmax()))
        tokens = np.array([[found[-1]]])
    return found


def check(name: str) -> None:
    program, model = _exported(name)
    names = [value.name for value in program.model.graph.inputs]
    assert names[1:3] == ["past_key_values.0.key", "past_key_values.0.value"]
    assert [str(n) for n in program.model.graph.inputs[1].shape][::2] == ["batch", "past"]
    assert str(program.model.graph.outputs[1].shape[2]) == "past + seq"
    with torch.no_grad():
        expected = model.generate(PROMPT, max_new_tokens=STEPS, do_sample=False, eos_token_id=-1, use_cache=True)
    assert _greedy(session_of(program.model), PROMPT, STEPS) == expected[0, PROMPT.shape[1] :].tolist()


@pytest.mark.parametrize("name", ["gpt2_small_cache", "llama_small_cache"])
def test_ten_greedy_steps(name: str) -> None:
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt2_cache", "llama_cache"])
def test_ten_greedy_steps_of_large_models(name: str) -> None:
    check(name)
