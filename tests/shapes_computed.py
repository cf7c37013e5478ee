"""The shape of every tensor of a graph, as onnxruntime computes it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime


class Computed:
    """A model that gives all its values; its nodes run as they are, unoptimized.

    Args:
        model: The model.
        folder: Where its weights are, if they are in other files.
    """

    def __init__(self, model: onnx.ModelProto, folder: Path | None = None) -> None:
        self._names = [name for node in model.graph.node for name in node.output if name]
        shown = onnx.ModelProto()
        shown.CopyFrom(model)
        del shown.graph.output[:]
        shown.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in self._names)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        with tempfile.NamedTemporaryFile(suffix=".onnx", dir=folder) as file:
            Path(file.name).write_bytes(shown.SerializeToString())
            self._session = onnxruntime.InferenceSession(file.name, options, providers=["CPUExecutionProvider"])

    def shapes(self, feed: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, list[int]]:
        """The shape of each value that is a tensor and is there."""
        feeds = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in feed.items()}
        values = self._session.run_with_ort_values(self._names, feeds)
        return {
            name: value.shape()
            for name, value in zip(self._names, values, strict=True)
            if value.has_value() and value.is_tensor()
        }
