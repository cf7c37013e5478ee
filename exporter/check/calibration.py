"""How fast this machine is now: the CPU time of a fixed piece of work of the kind that an export is.

It takes no part of the exporter, so that a slower exporter does not hide itself, and no real tensor.
"""

from __future__ import annotations

import time

import torch

_LAYERS = 24


def calibration_seconds() -> float:
    """CPU time of tracing a chain of layers and running it on tensors without memory; some hundredths of a second."""
    with torch.device("meta"):
        layers = [torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.LayerNorm(8)) for _ in range(_LAYERS)]
        chain, x = torch.nn.Sequential(*layers), torch.empty(2, 8)
    started = time.process_time()
    traced = torch.fx.symbolic_trace(chain)
    traced(x)
    sorted(str(node) for node in traced.graph.nodes)
    return time.process_time() - started
