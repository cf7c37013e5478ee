"""Models for the tests of `fx2onnx check`; with CHANGED, each has lost what its name says."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import psutil
import torch

CHANGED = False


class Function(torch.nn.Module):
    def __init__(self, function, **parameters):
        super().__init__()
        self.function = function
        for name, value in parameters.items():
            self.register_parameter(name, torch.nn.Parameter(value))

    def forward(self, x):
        return self.function(self, x)


def made(old, new=None, **parameters):
    function = new if CHANGED and new else old
    return Function(function, **parameters), (torch.randn(3, 8),), {"x": {0: "batch"}}


def steady():
    return made(lambda self, x: torch.relu(x @ self.weight), weight=torch.randn(8, 4))


def stops():
    return made(lambda self, x: x.sin(), lambda self, x: torch.linalg.eigvals(x.T @ x).real)


def differs():
    calls = itertools.count(1)
    return made(lambda self, x: x.sin(), lambda self, x: x.sin() * next(calls))


def more_nodes():
    return made(lambda self, x: x.sin(), lambda self, x: x.sin().sin())


def more_bytes():
    return made(lambda self, x: x @ self.weight, weight=torch.randn(8, 400 if CHANGED else 100))


def gains_op():
    return made(lambda self, x: x.sin(), lambda self, x: x.cos())


def freezes():
    def by_places(self, x):
        rows = {place: x[place].sin() for place in range(x.shape[0])}
        return torch.stack(list(rows.values()))

    return made(lambda self, x: x.sin(), by_places)


def leaves_provider():
    return made(lambda self, x: x.sin(), lambda self, x: torch.rand_like(x).sin())


def leaves_nodes():
    return more_nodes()


def slows():
    def deep(self, x):
        for _ in range(150):
            x = torch.sin(x)
        return x

    return made(deep)


def renames():
    class Renamed(torch.nn.Module):
        def forward(self, y):
            return y.sin()

    model, inputs, _ = made(lambda self, x: x.sin())
    return (Renamed(), inputs, {"y": {0: "batch"}}) if CHANGED else (model, inputs, {"x": {0: "batch"}})


def hangs():
    while True:
        time.sleep(0.1)


def crashes():
    print("about to crash", flush=True)
    os.abort()


def devours():
    kept = []
    while True:
        kept.append(bytearray(os.urandom(1)) * 2**26)


def leaves():
    os._exit(7)


def is_wrong():
    raise RuntimeError("no such weights")


def bare(width=4):
    torch.nn.init.ones_((layer := torch.nn.Linear(8, width)).weight)
    return torch.nn.Sequential(layer, torch.nn.Dropout())


def kills_its_worker():
    """The first time that a worker of Ray runs it, that worker dies."""
    workers = [
        parent for parent in psutil.Process().parents() if parent.cmdline()[:1] and "ray::" in parent.cmdline()[0]
    ]
    mark = Path(__file__).with_name("killed")
    if workers and not mark.exists():
        mark.touch()
        workers[0].kill()
        time.sleep(60)
    return steady()
