"""The small models of the zoo, static and dynamic, on inputs that the export did not see."""

from __future__ import annotations

import pytest
import zoo
from running import agree

from exporter import export
from exporter.validation.runtime import session_of

SMALL = [case.name for case in zoo.tagged("small", without=("slow",))]
LARGE = [name for name in zoo.CASES if name not in SMALL]


def check(name: str, dynamic: bool) -> None:
    case = zoo.CASES[name]
    model = case.build()
    program = export(model, case.inputs(), dynamic_shapes=case.dynamic_shapes if dynamic else None)
    program.validate().check()
    session = session_of(program.model)
    unseen = [case.same_size_inputs, case.other_inputs] if dynamic else [case.same_size_inputs]
    for make in unseen:
        agree(program, session, model, make())


@pytest.mark.parametrize("name", SMALL)
def test_static(name: str) -> None:
    check(name, dynamic=False)


@pytest.mark.parametrize("name", SMALL)
def test_dynamic(name: str) -> None:
    check(name, dynamic=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_large(name: str, dynamic: bool) -> None:
    check(name, dynamic)


@pytest.mark.parametrize(
    "name", ["mnist_cnn", "t5_small", *(pytest.param(n, marks=pytest.mark.slow) for n in ("resnet50", "t5"))]
)
@pytest.mark.parametrize("capture", ["symbolic_trace", "compile", "export"])
def test_every_way_of_capture(name: str, capture: str) -> None:
    case = zoo.CASES[name]
    export(case.build(), case.inputs(), capture=capture).validate().check()


def test_a_symbolic_trace_returns_the_cache() -> None:
    case = zoo.CASES["gpt2_small_cache"]
    program = export(case.build(), case.inputs(), dynamic_shapes=case.dynamic_shapes, capture="symbolic_trace")
    program.validate().check()
