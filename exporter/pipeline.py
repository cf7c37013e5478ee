"""The whole way of a model, from Python to ONNX: `export` reads as its table of contents."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch

from aten_lowering import Builder, RuleRegistry
from aten_lowering.errors import OpsetError
from exporter.capture import capture_model
from exporter.capture.custom_functions import has_symbolic
from exporter.capture.decisions import constraints_of, layout_constraints, size_constraints, value_constraints
from exporter.capture.graph import CapturedGraph
from exporter.errors import InputError
from exporter.lowerings import rules_with
from exporter.optimization import optimize
from exporter.precision import lower_precision
from exporter.profile.recording import Profile
from exporter.profile.timeline import current
from exporter.program import Program
from exporter.report import no_garbage_collection, raise_decided, timeline
from exporter.results import name_outputs
from exporter.signature import Signature
from exporter.targets import target_of
from exporter.translation import METADATA, Translator

OPSETS = range(17, 25)
Call = tuple[tuple[Any, ...], dict[str, Any]]
# The first release of ONNX with each opset, and so what a runtime of that age reads.
_IR_VERSIONS = {17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11, 24: 12}


def export(
    model: torch.nn.Module | Callable[..., Any] | torch.export.ExportedProgram,
    example_inputs: Any = (),
    *,
    kwargs: Mapping[str, Any] | None = None,
    dynamic_shapes: Any = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    opset_version: int | None = None,
    target: str = "",
    precision: str = "float32",
    keep_float32: Sequence[str] | None = None,
    capture: str = "auto",
    lowerings: Mapping[Any, Callable[..., Any]] | None = None,
    sizes: Mapping[str, int] | None = None,
    strict: bool = False,
    allow_fixed: bool = False,
    metadata: str = "none",
    return_buffers: bool = False,
    profile: str | Path | Profile | None = None,
    progress: Callable[[str], None] | None = None,
) -> Program:
    """Export a model to ONNX, without running it on real data.

    Args:
        model: a module, a `GraphModule`, an `ExportedProgram` or a function.
        example_inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments; each
            may be any structure of tensors and constants.  Constants become part of the model.  A list of
            such tuples or dicts is several examples: dims whose sizes differ are dynamic.
        kwargs: keyword arguments, beside positional ones.
        dynamic_shapes: which dims are open, by the names of the arguments: `{"x": {0: "batch"}}`.
            Equal names mean equal sizes; `torch.export.Dim` works too.  A dim that the model fixes is an
            error; given as `Dim.AUTO` or `Dim.DYNAMIC`, it becomes static, with a `FixedDimWarning`.  An
            integer with a name or a `Dim` (`{"n": "steps"}`) is an input too, and no constant.
        input_names: names for the tensors among the inputs, in order.
        output_names: names for the results, in order.
        opset_version: the opset that the model will have, 17 to 24; the target's, which is 18, where None.
        target: the runtime that the model is for: "cpu", "cuda", "tensorrt", "coreml", "openvino"; where two
            ways of saying the same differ in what it takes, the model says it in that way.
        precision: what a float32 model computes in: "float32", "float16" or "bfloat16"; inputs and results stay.
        keep_float32: what computes in float32 all the same: op types, and patterns of node names such as
            `head.*`; where None, `exporter.precision.KEPT`: normalizations, Softmax, sums, exponentials.
        capture: "record", "symbolic_trace", "compile", "export", or "auto", which tries them in turn.
        lowerings: overload, custom operator or `autograd.Function` -> a rule of yours, before ours: a function
            over the builder, or an `@onnxscript.script()` function.
        sizes: name of a dynamic dim -> the size to fix it at.
        strict: whether Python code that decides by a dynamic size is an error; else the example's answer
            holds, and the report has the constraint.
        allow_fixed: whether a dynamic dim that Python code needs as a number becomes static; else an error.
        metadata: what each ONNX node tells of its origin in its metadata: "none"; "overload", the ATen
            overload and the module's path; "source", these and the line of the model's code.
        return_buffers: whether the values of the buffers that the model writes to are further results,
            named `<buffer>.updated`; `program.report.mutated` lists them either way.
        profile: a file that shows where the time goes, saving the program included: `.html` (a flame graph),
            `.speedscope.json` or `.json` (Perfetto, Chrome); or a `Profile`, for several files, samples, memory.
        progress: is called with the name of each phase as it begins, those of saving included.

    Returns:
        The program: `save` it, `validate` it.

    Raises:
        ExportError: see `exporter.errors` for its kinds.
    """
    opset_version = target_of(target).opset_version if opset_version is None else opset_version
    check_opset(opset_version)
    if metadata not in METADATA:
        raise InputError(f"metadata: must be one of {', '.join(METADATA)}, got {metadata!r}")
    (args, keywords), *others = _calls(example_inputs, kwargs)
    rules = rules_with(lowerings)
    with timeline(profile, _title(model), progress) as report, no_garbage_collection():
        with report.phase("capture") as phase:
            captured, signature, report.rejected = capture_model(
                model, args, keywords, capture=capture, allow_fixed=allow_fixed, dynamic_shapes=dynamic_shapes,
                sizes=sizes, other_calls=others, input_names=input_names, output_names=output_names,
                keeps=lambda function: rules.find(function) is not None or has_symbolic(function),
            )  # fmt: skip
            phase.counts(len(captured.graph.nodes), "graph nodes")
        with report.phase("translation"):
            if return_buffers:
                signature.updated_buffers = list(captured.mutations)
            onnx_model = translate(captured, signature, rules, opset_version, metadata, target)
            report.describe(captured)
        if strict and captured.constraints:
            raise_decided(captured.constraints)
        with report.phase("optimization"):
            report.passes = dict(optimize(onnx_model))
            lower_precision(onnx_model, precision, keep_float32)
    reference = model.module() if isinstance(model, torch.export.ExportedProgram) else model
    return Program(onnx_model, report, signature, captured, reference, rules, target)


def translate(
    captured: CapturedGraph, signature: Signature, rules: RuleRegistry, opset_version: int, metadata: str = "none",
    target: str = "",
) -> ir.Model:  # fmt: skip
    """The ONNX model of a captured graph, before optimization; the constraints get the formulas found on the way."""
    translator = Translator(Builder(opset_version, target=target), rules, metadata)
    model = model_of(translator, captured, signature)
    captured.constraints = [
        *constraints_of(captured.decisions, signature.sample_sizes, signature.symbols(), translator.size_of),
        *value_constraints(signature.fixed_examples()),
        *layout_constraints(sorted(signature.fixed_layouts)),
        *size_constraints(signature.fixed_dims),
    ]
    return model


def model_of(translator: Translator, captured: CapturedGraph, signature: Signature) -> ir.Model:
    """Translate a captured graph and put what was emitted into a model."""
    op = translator.op
    inputs = translator.inputs(signature)
    inputs += translator.further_inputs(captured, len(inputs))
    results = translator.translate(captured, inputs)
    names = signature.result_names
    outputs = name_outputs(op, results[: len(names)], names, inputs)
    current().add_translation(op.root.emitted, op.root.inferences, op.root.inference_seconds)
    graph = ir.Graph(
        inputs, outputs, nodes=op.nodes, initializers=list(op.root.initializers.values()),
        opset_imports=op.root.opset_imports, name="main_graph",
    )  # fmt: skip
    model = ir.Model(graph, ir_version=_IR_VERSIONS[op.opset_version], producer_name="fx2onnx")
    for function in op.root.functions.values():
        model.functions[function.identifier()] = function
    return model


def _title(model: Any) -> str:
    """What a profile of the model's export is called."""
    named = model if isinstance(model, types.FunctionType) else type(model)
    return named.__qualname__


def _calls(example_inputs: Any, kwargs: Mapping[str, Any] | None) -> list[Call]:
    """The example calls: one, or several where `example_inputs` is a list of tuples or of dicts."""
    several = isinstance(example_inputs, list) and len(example_inputs) > 1
    if several and (all(type(e) is tuple for e in example_inputs) or all(type(e) is dict for e in example_inputs)):
        return [example_call(example, kwargs) for example in example_inputs]
    return [example_call(example_inputs, kwargs)]


def example_call(example: Any, kwargs: Mapping[str, Any] | None) -> Call:
    """Positional and keyword arguments, of what a user gives as example inputs."""
    keywords = dict(kwargs or {})
    if isinstance(example, Mapping) and all(isinstance(name, str) for name in example):
        return (), {**example, **keywords}
    if isinstance(example, (tuple, list)) and not hasattr(example, "_fields"):
        return tuple(example), keywords
    return (example,), keywords


def check_opset(opset_version: int) -> None:
    """Hold a user to the opsets that there are.

    Raises:
        OpsetError: it is none of them.
    """
    if opset_version not in OPSETS:
        raise OpsetError(
            f"opset_version: must be {OPSETS[0]} to {OPSETS[-1]}, got {opset_version}",
            hint="18 is what runtimes support best",
        )
