"""Dynamic exports of whole models at sizes that the export did not see, 1 and 2,048 tokens among them."""

from __future__ import annotations

import pytest
import zoo
from running import InDouble, agree

from exporter import export
from exporter.validation.runtime import session_of

BATCHES = [{"batch": n} for n in (1, 3, 4, 5, 7)]
TOKENS = [
    {"batch": 1, "seq": 1}, {"batch": 3, "seq": 5}, {"batch": 1, "seq": 2048}, {"batch": 2, "seq": 33}, {"batch": 4, "seq": 64},
]  # fmt: skip
TOKENS_OF_TWO = [
    {"batch": 1, "seq": 1, "target": 1}, {"batch": 1, "seq": 2048, "target": 1}, {"batch": 3, "seq": 5, "target": 70},
    {"batch": 1, "seq": 40, "target": 2048}, {"batch": 2, "seq": 33, "target": 4},
]  # fmt: skip
PAST = [
    {"batch": 1, "seq": 1, "past": 0}, {"batch": 3, "seq": 5, "past": 1}, {"batch": 2, "seq": 1, "past": 40},
    {"batch": 1, "seq": 7, "past": 2041}, {"batch": 4, "seq": 33, "past": 64},
]  # fmt: skip
PICTURES = [
    {"batch": n, "height": 32 * h, "width": 32 * w}
    for n, h, w in ((1, 3, 5), (2, 5, 4), (1, 7, 7), (3, 4, 3), (1, 6, 9))
]

SIZES = {
    "bert_small": TOKENS,
    "gpt2_small": TOKENS,
    "gpt2_small_cache": PAST,
    "t5_small": TOKENS_OF_TWO,
    "llama_small": TOKENS,
    "llama_small_cache": PAST,
    "whisper_small": [{"batch": b, "seq": s} for b, s in ((1, 1), (3, 5), (1, 64), (2, 33), (4, 2))],
    "rrdbnet_small": [
        {"batch": n, "height": h, "width": w}
        for n, h, w in ((1, 8, 9), (2, 33, 20), (1, 64, 5), (3, 4, 4), (1, 17, 70))
    ],
}
LARGE_SIZES = {
    "resnet50": BATCHES,
    "vit_b_16": BATCHES,
    "swin_t": BATCHES,
    "bert": [{**sizes, "seq": min(sizes["seq"], 512)} for sizes in TOKENS],
    "gpt2": [{**sizes, "seq": min(sizes["seq"], 1024)} for sizes in TOKENS],
    "gpt2_cache": [{**sizes, "past": min(sizes["past"], 1017)} for sizes in PAST],
    "t5": TOKENS_OF_TWO,
    "llama": TOKENS,
    "llama_cache": PAST,
    "whisper_tiny": [{"batch": b, "seq": s} for b, s in ((1, 1), (3, 5), (1, 448), (2, 33), (4, 2))],
    "deeplabv3_mobilenet_v3_large_any_size": PICTURES,
    "fcn_resnet50_any_size": PICTURES,
    "resnet50_any_size": PICTURES,
}  # fmt: skip

# Eager itself is up to 8e-5 of its scale from what float64 gives; with our own rounding it is over 1e-4.
IN_DOUBLE = {"fcn_resnet50_any_size"}


def check(name: str, sizes: list[dict[str, int]]) -> None:
    case = zoo.CASES[name]
    model = case.build()
    program = export(model, case.inputs(), dynamic_shapes=case.dynamic_shapes)
    session = session_of(program.model)
    reference = InDouble(model) if name in IN_DOUBLE else model
    for i, chosen in enumerate(sizes):
        assert all(decision.admits(chosen) for decision in program.report.decisions), chosen
        agree(program, session, reference, case.inputs_at(i, **chosen))


@pytest.mark.parametrize("name", SIZES)
def test_unseen_sizes(name: str) -> None:
    check(name, SIZES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE_SIZES)
def test_unseen_sizes_of_large_models(name: str) -> None:
    check(name, LARGE_SIZES[name])
