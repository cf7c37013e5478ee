"""Capture: from Python code to a graph of ATen overloads, by one of several front ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from exporter.capture.graph import CapturedGraph
from exporter.capture.record import record
from exporter.signature import Signature

__all__ = ["CapturedGraph", "capture_model"]


def capture_model(
    model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, capture: str, report: Any, **options: Any
) -> tuple[CapturedGraph, Signature]:
    function: Callable[..., Any] = model
    forward = model.forward if isinstance(model, torch.nn.Module) else model
    signature = Signature(forward, args, kwargs, **options)
    captured = record(function, model if isinstance(model, torch.nn.Module) else None, signature)
    report.capture = "record"
    return captured, signature
