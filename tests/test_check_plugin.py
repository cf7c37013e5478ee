"""The pytest plugin: `assert_exportable`, and the marker."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import exporter.check.measuring  # noqa: F401  # pytester forgets what is first imported in it, and torch comes but once

pytest_plugins = ["pytester"]

HEAD = """
import pytest
import torch

class Net(torch.nn.Module):
    def forward(self, x):
        return x.sin()

class Wrong(torch.nn.Module):
    def forward(self, x):
        raise RuntimeError("no such layer")
"""
TESTS = {
    "fixture": (
        """
        def test_net(assert_exportable):
            facts = assert_exportable(Net(), (torch.randn(2, 8),), dynamic_shapes={"x": {0: "batch"}}, opset=20)
            assert (facts.ops, facts.inputs, facts.opset) == ({"Sin": 1}, {"x": ["float32", "batch", 8]}, 20)
        """,
        "",
    ),
    "fixture, red": (
        """
        def test_net(assert_exportable):
            assert_exportable(Wrong(), (torch.randn(2, 8),))
        """,
        "test_net: does not export: ModelError: ",
    ),
    "marker's settings": (
        """
        @pytest.mark.exportable(opset=19)
        def test_net(assert_exportable):
            assert assert_exportable(Net(), (torch.randn(2, 8),)).opset == 19
        """,
        "",
    ),
    "marker": (
        """
        @pytest.fixture
        def width():
            return 8

        @pytest.mark.exportable
        def test_net(width):
            return Net(), (torch.randn(2, width),), {"x": {0: "batch"}}
        """,
        "",
    ),
    "marker, red": (
        """
        @pytest.mark.exportable
        def test_net():
            return Wrong(), (torch.randn(2, 8),)
        """,
        "test_net: does not export: ModelError: ",
    ),
    "marker, nothing": (
        """
        @pytest.mark.exportable
        def test_net():
            return 3
        """,
        "must return (model, inputs) or (model, inputs, dynamic_shapes), got 3",
    ),
    "wrong setting": (
        """
        def test_net(assert_exportable):
            assert_exportable(Net(), (torch.randn(2, 8),), opsets=19)
        """,
        "ManifestError: settings: there is no setting 'opsets'",
    ),
}


@pytest.mark.parametrize(("test", "message"), TESTS.values(), ids=TESTS)
def test_plugin(pytester, test, message):
    pytester.makepyfile(HEAD + textwrap.dedent(test))
    result = pytester.inline_run("-p", "pytest_fx2onnx", "--strict-markers")
    passed, _, failed = result.listoutcomes()
    assert (len(passed), len(failed)) == ((0, 1) if message else (1, 0))
    assert not message or message in str(failed[0].longrepr)


def test_it_is_registered_and_light():
    root = Path(__file__).resolve().parent.parent
    assert 'pytest_fx2onnx = "pytest_fx2onnx"' in (root / "pyproject.toml").read_text()
    command = "import pytest_fx2onnx, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], cwd=root).returncode == 0
