"""Record the calls of torch.onnx's two exporters as ours are recorded: by phase, module path and op.

Their functions are replaced while they run by ones that record each call; checked on torch 2.13.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import bench

from exporter.capture.replacements.torch_functions import module_calls
from exporter.profile.charts import Chart
from exporter.profile.spans import Spans

__all__ = ["dynamo_chart", "torchscript_chart"]

NOTE = "Its own functions record each call, which costs it a little."


def dynamo_chart(model: Any, inputs: Any, dynamic_shapes: Any = None, folder: Path | None = None) -> Chart:
    """Export with torch.onnx.export(dynamo=True), and save where a folder is given."""
    spans = Spans()
    with dynamo_spans(spans, model):
        with spans.span("export", "phase"):
            program = bench.export_torch(model, inputs, dynamic_shapes)
        if folder is not None:
            with spans.span("save", "phase"), bench.quiet():
                program.save(folder / "torch.onnx")
    title = "torch.onnx.export(dynamo=True)"
    return Chart(title, spans.tree(title), note=NOTE)


def torchscript_chart(model: Any, inputs: Any, folder: Path | None = None) -> Chart:
    """Export with torch.onnx.export(dynamo=False), which writes the model as it goes."""
    spans = Spans()
    file = io.BytesIO() if folder is None else str(folder / "torchscript.onnx")
    with torchscript_spans(spans, model), spans.span("export", "phase"):
        bench.export_torchscript(model, inputs, file)
    title = "torch.onnx.export(dynamo=False)"
    return Chart(title, spans.tree(title), note=NOTE)


@contextmanager
def dynamo_spans(spans: Spans, model: Any) -> Iterator[None]:
    """Record what the current exporter calls."""
    import onnx
    import onnx_ir as ir
    import torch.onnx
    from torch.fx.experimental import proxy_tensor
    from torch.onnx._internal.exporter import _capture_strategies, _core, _onnx_program, _registration

    with ExitStack() as stack:
        replace = _replacer(stack)
        for owner, name, phase in (
            (_capture_strategies.CaptureStrategy, "__call__", "capture"),
            (_core, "_prepare_exported_program_for_export", "decomposition"),
            (_core, "_exported_program_to_onnx_program", "translation"),
            (_onnx_program.ONNXProgram, "optimize", "optimization"),
            (_core.onnxscript_apis, "convert_version", "optimization"),
            (ir.serde, "serialize_model", "serialization"),
            (ir.external_data, "unload_from_model", "writing"),
            (onnx, "save", "writing"),
        ):
            replace(owner, name, _as_phase(spans, phase))
        registry, as_registration = _registration.ONNXRegistry, _as_phase(spans, "registration")
        replace(registry, "from_torchlib", lambda call: staticmethod(as_registration(call)))
        replace(proxy_tensor, "proxy_call", lambda call: spans.spanned(call, lambda _, func, *__: str(func), "op"))
        replace(torch.fx.Interpreter, "run_node", lambda call: _of_node(spans, call, lambda _, node: node))
        replace(
            _core, "_handle_call_function_node_with_lowering",
            lambda call: _of_node(spans, call, lambda _, node, *__, **___: node),
        )  # fmt: skip
        path = _paths(model)
        replace(
            proxy_tensor._ModuleStackTracer, "call_module",
            lambda call: spans.spanned(call, lambda _, module, *__: path(module), "module"),
        )  # fmt: skip
        yield


@contextmanager
def torchscript_spans(spans: Spans, model: Any) -> Iterator[None]:
    """Record what the former exporter calls; its passes are C++, and each is one frame."""
    import torch
    from torch.onnx._internal.torchscript_exporter import onnx_proto_utils, utils

    with ExitStack() as stack:
        replace = _replacer(stack)
        replace(utils, "_create_jit_graph", _as_phase(spans, "capture"))
        replace(torch._C, "_jit_pass_onnx", _as_phase(spans, "translation"))
        for name in dir(torch._C):
            if name.startswith("_jit_pass_") and name != "_jit_pass_onnx":
                replace(torch._C, name, _as_phase(spans, "optimization", name.removeprefix("_jit_pass_")))
        replace(utils, "_run_symbolic_function", lambda call: _of_jit_node(spans, call))
        replace(torch._C.Graph, "_export_onnx", _as_phase(spans, "serialization"))
        replace(onnx_proto_utils, "_export_file", _as_phase(spans, "writing"))
        stack.enter_context(module_calls(_module_spans(spans, _paths(model))))
        yield


Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]


def _replacer(stack: ExitStack) -> Callable[[Any, str, Wrapper], None]:
    """What replaces an attribute of a module or class until the stack is left."""

    def replace(owner: Any, name: str, wrapper: Wrapper) -> None:
        stack.enter_context(patch.object(owner, name, wrapper(getattr(owner, name))))

    return replace


def _as_phase(spans: Spans, phase: str, part: str = "") -> Wrapper:
    """Record a function's calls as a phase, and a part of it where it has a name of its own."""

    def wrapper(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with ExitStack() as stack:
                stack.enter_context(spans.span(phase, "phase"))
                stack.callback(spans.leave_modules)
                if part:
                    stack.enter_context(spans.span(part, "pass"))
                return function(*args, **kwargs)

        return call

    return wrapper


def _of_node(spans: Spans, call: Callable[..., Any], node_of: Callable[..., Any]) -> Callable[..., Any]:
    """Record a function's calls by the module and the target of the fx node that they are for."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        node = node_of(*args, **kwargs)
        stack = list(node.meta.get("nn_module_stack", {}).values())
        path = str(stack[-1][0]) if stack else ""
        with spans.op(path.removeprefix("L['self']").lstrip("."), str(node.target)):
            return call(*args, **kwargs)

    return wrapped


def _of_jit_node(spans: Spans, call: Callable[..., Any]) -> Callable[..., Any]:
    """Record a symbolic function's calls by the scope and the kind of the node that they are for."""

    def wrapped(graph: Any, block: Any, node: Any, *args: Any, **kwargs: Any) -> Any:
        with spans.op(_module_path(node.scopeName()), node.kind()):
            return call(graph, block, node, *args, **kwargs)

    return wrapped


def _module_path(scope: str) -> str:
    """`Net::/Sequential::blocks/Linear::blocks.0` -> `blocks.0`: an item repeats the name of its list."""
    path: list[str] = []
    for part in scope.split("/")[1:]:
        name = part.rpartition("::")[2]
        if path and name.startswith(path[-1] + "."):
            path.pop()
        path.append(name)
    return ".".join(path)


def _paths(model: Any) -> Callable[[Any], str]:
    """Module -> its path in the model; torch.export calls stand-ins that share a module's dict."""
    names = {id(vars(module)): name for name, module in model.named_modules()}
    return lambda module: names.get(id(vars(module))) or type(module).__name__


def _module_spans(spans: Spans, path: Callable[[Any], str]) -> Callable[..., Any]:
    """What `module_calls` takes."""

    def around(call: Callable[..., Any], module: Any, *args: Any, **kwargs: Any) -> Any:
        with spans.span(path(module), "module"):
            return call(module, *args, **kwargs)

    return around
