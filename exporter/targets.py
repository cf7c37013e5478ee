"""The runtimes that a model can be exported for: which opset each takes best.

Rules ask `op.target` where two ways of saying the same differ in what a runtime takes.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.errors import InputError

__all__ = ["TARGETS", "Target", "target_of"]


@dataclass(frozen=True)
class Target:
    """A runtime.

    Attributes:
        name: what rules ask for.
        opset_version: the opset that it gets where none is asked for.
        reason: why that one.
    """

    name: str
    opset_version: int
    reason: str


TARGETS = {
    target.name: target
    for target in (
        Target("", 18, "onnxruntime has kernels for all of it, on every provider"),
        Target("cpu", 18, "from opset 22 on onnxruntime's CPU provider lacks RoiAlign and random numbers"),
        Target("cuda", 18, "the CUDA provider has a kernel for what exporters write"),
        Target("tensorrt", 18, "within the opsets of every TensorRT 10"),
        Target("coreml", 18, "the CoreML provider takes operators of opset 20 at most"),
        Target("openvino", 18, "within what OpenVINO translates"),
    )
}


def target_of(name: str) -> Target:
    """A target by its name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in TARGETS:
        raise InputError(f"target: must be one of {', '.join(filter(None, TARGETS))}, got {name!r}")
    return TARGETS[name]
