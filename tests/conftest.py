"""What all tests share: quiet libraries, and the count of the rules that the tests went through."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import torch
from torchvision_without_binary import define_operators

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
torch.set_num_threads(1)
define_operators()  # before any import of transformers, which imports torchvision

hypothesis.settings.register_profile("gate", derandomize=True)  # the gate says the same each time
hypothesis.settings.load_profile("gate")

_USED: set[str] = set()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--every-rule", action="store_true", help="fail where a registered rule was called by no test of this run"
    )


@pytest.fixture(autouse=True, scope="session")
def _count_rules(request: pytest.FixtureRequest) -> Iterator[None]:
    """Note each overload whose rule is called, where that is asked for."""
    if not request.config.getoption("--every-rule"):
        yield
        return
    from aten_lowering.registry import Rule

    original = Rule.__call__

    def call(rule: Rule, *args: Any) -> Any:
        _USED.add(str(rule.overload))
        return original(rule, *args)

    Rule.__call__ = call  # type: ignore[method-assign]
    yield
    Rule.__call__ = original  # type: ignore[method-assign]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Collect what a worker of pytest-xdist used."""
    _USED.update(getattr(node, "workeroutput", {}).get("overloads", ()))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """After a run with --every-rule, fail for rules that no test went through."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["overloads"] = sorted(_USED)
    elif session.config.getoption("--every-rule") and (unused := _unused()):
        print(f"\n{len(unused)} rules that no test calls: {', '.join(unused)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _unused() -> list[str]:
    from aten_lowering import registry

    return sorted({str(rule.overload) for rule in registry} - _USED)
