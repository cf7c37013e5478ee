"""The pytest plugin of fx2onnx: `assert_exportable`, and `@pytest.mark.exportable`.

    def test_net(assert_exportable):
        assert_exportable(net(), (torch.randn(2, 8),), dynamic_shapes={"x": {0: "batch"}})

    @pytest.mark.exportable(opset=20)
    def test_other():
        return other(), (torch.randn(2, 8),)

It stands outside of the packages, so that a run of pytest that uses none of it does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from exporter.check.outcomes import Facts

MARKER = "exportable(**settings): the test returns (model, inputs) or (model, inputs, dynamic_shapes), to be exportable"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture
def assert_exportable(request: pytest.FixtureRequest) -> Callable[..., Facts]:
    """A function that fails the test where a model does not export, or its ONNX model differs from eager.

    It takes the model, its inputs, `dynamic_shapes`, and settings as a manifest has them: opset, providers,
    tolerances (a dict), capture, strict, allow_fixed; those of the marker `exportable` hold where it has none.
    It gives the facts of the exported model: its ops, sizes, dims and the largest difference.
    """
    marker = request.node.get_closest_marker("exportable")
    defaults = marker.kwargs if marker else {}

    def check(model: Any, inputs: Any = (), *, dynamic_shapes: Any = None, **settings: Any) -> Facts:
        __tracebackhide__ = True
        return _checked(request.node.name, model, inputs, dynamic_shapes, {**defaults, **settings})

    return check


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is marked and asks for no `assert_exportable`: what it returns must be exportable."""
    marker = pyfuncitem.get_closest_marker("exportable")
    if marker is None or "assert_exportable" in pyfuncitem.fixturenames:
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    made = pyfuncitem.obj(**arguments)
    if not isinstance(made, tuple) or len(made) not in (2, 3):
        pytest.fail(f"must return (model, inputs) or (model, inputs, dynamic_shapes), got {made!r}", pytrace=False)
    model, inputs, dynamic_shapes = (*made, None)[:3]
    _checked(pyfuncitem.name, model, inputs, dynamic_shapes, marker.kwargs)
    return True


def _checked(name: str, model: Any, inputs: Any, dynamic_shapes: Any, settings: Mapping[str, Any]) -> Facts:
    __tracebackhide__ = True
    from exporter.check.manifest import settings_of
    from exporter.check.measuring import examine
    from exporter.check.outcomes import Verdict

    spec = settings_of(name, settings)
    outcome = examine(model, inputs, dynamic_shapes, spec)
    if outcome.verdict != Verdict.PASSED or outcome.facts is None:
        pytest.fail(f"{name}: {outcome.verdict.value}: {outcome.message}", pytrace=False)
    return outcome.facts
