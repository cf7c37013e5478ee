"""What a builder shares with those of its subgraphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

import onnx_ir as ir

from aten_lowering.equal_sizes import EqualSizes
from shape_inference import Dim, Type, infer_call

__all__ = ["Root"]


class Root:
    """The names, constants, types and functions of one model while it is built.

    Attributes:
        types: what inference knows of each value.
        equal_sizes: which sizes are known to be equal.
        constants: dtype, shape and bytes of a constant -> its value.
        initializers: name -> weight or constant.
        functions: the functions of the model, by identifier.
        notes: what a rule knows of a value that it made, for rules that follow.
        emitted: how many nodes were emitted.
        inferences: how many nodes were typed; those whose result was known became constants.
        inference_seconds: the time that it took to type them.
    """

    def __init__(self, opset_version: int) -> None:
        self.opset_version = opset_version
        self.types: dict[ir.Value, Type] = {}
        self.equal_sizes = EqualSizes()
        self.names: dict[str, int] = {}
        self.constants: dict[Any, ir.Value] = {}
        self.initializers: dict[str, ir.Value] = {}
        self.opset_imports: dict[str, int] = {"": opset_version}
        self.functions: dict[Any, ir.Function] = {}
        self.notes: dict[ir.Value, Any] = {}
        self.emitted = self.inferences = 0
        self.inference_seconds = 0.0

    def infer(
        self, op_type: str, types: Sequence[Type | None], attributes: Mapping[str, Any], domain: str, outputs: int,
        fresh: Callable[[str], Dim],
    ) -> tuple[Type | None, ...]:  # fmt: skip
        """Type the outputs of a node that is to be emitted, and count that and its time.

        Raises:
            InferenceError: the node is not valid.
        """
        started = perf_counter()
        results = infer_call(
            op_type, types, attributes, domain=domain, version=self.opset_version, output_count=outputs, fresh=fresh
        )
        results = tuple(map(self.equal_sizes.in_type, results))
        self.inferences += 1
        self.inference_seconds += perf_counter() - started
        return results
