"""Every use of a name that torch does not document, in one place.

Checked on torch 2.13.0.  A new release of torch is this file's work, and no other's.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import (
    SUPPORTED_NODES,
    GetAttrKey,
    KeyEntry,
    MappingKey,
    SequenceKey,
    TreeSpec,
    tree_flatten,
    tree_flatten_with_path,
    tree_leaves,
    tree_map,
    tree_unflatten,
)

from exporter.capture.limits import ENDLESS

__all__ = [
    "SUPPORTED_NODES",
    "DispatchMode",
    "DynamoError",
    "GetAttrKey",
    "KeyEntry",
    "MappingKey",
    "SequenceKey",
    "TreeSpec",
    "above_autograd",
    "adaptive_softmax_result",
    "backward_sequence",
    "below_autograd",
    "call_with_hooks",
    "compiling",
    "control_flow_as_called",
    "decomposition_of",
    "disabled_torch_function",
    "dynamo_settings",
    "forward_sequence",
    "guards_of",
    "higher_order",
    "is_higher_order",
    "is_mutable",
    "is_of_control_flow",
    "is_random",
    "is_scripted",
    "is_transformed",
    "layer_bindings",
    "mark_dynamic",
    "new_wrapper",
    "original_module",
    "outside_modes",
    "overload_of",
    "parse_schema",
    "quantized_ops",
    "replace_tensor",
    "reset_dynamo",
    "reshape_in_place",
    "same_storage",
    "schema_of",
    "script_calls",
    "script_parameters",
    "sequence_bindings",
    "size_from_node",
    "storage_of",
    "transforms_ended",
    "tree_flatten",
    "tree_flatten_with_path",
    "tree_leaves",
    "tree_map",
    "tree_unflatten",
]


class DispatchMode(TorchDispatchMode):
    """A dispatch mode without the wrapper that keeps Dynamo out, which costs as much as our own work."""

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


adaptive_softmax_result = torch.nn.modules.adaptive._ASMoutput
parse_schema = torch._C.parse_schema
_CLASSES = "__torch__.torch.classes."  # written in C++, such as that of packed weights
_SCRIPTED = (torch._C.ScriptFunction, torch._C.ScriptMethod)
DynamoError = (torch._dynamo.exc.TorchDynamoException, torch.fx.experimental.symbolic_shapes.ConstraintViolationError)
call_with_hooks = torch.nn.Module._call_impl  # what calling a module does, where calls mean something else
disabled_torch_function = torch._C._disabled_torch_function_impl
layer_bindings = torch._C._nn  # the functions in C++ that layers call
sequence_bindings = torch._VF  # and those for packed sequences
outside_modes = torch.utils._python_dispatch._disable_current_modes


def new_wrapper(
    cls: type[torch.Tensor],
    shape: Sequence[int | torch.SymInt],
    stride: Sequence[int | torch.SymInt],
    dtype: torch.dtype,
    device: torch.device,
) -> Any:
    """A tensor of `cls` that has a shape, dtype and device, and no memory."""
    # Without a storage_size torch would compute it, by eleven questions about sizes for a tensor with two of them.
    return torch.Tensor._make_wrapper_subclass(
        cls, shape, strides=stride, dtype=dtype, device=device, storage_size=ENDLESS
    )


def quantized_ops() -> Any:
    """The operators of `quantized_decomposed`, which exist once their library is imported."""
    import torch.ao.quantization.fx._decomposed

    return torch.ops.quantized_decomposed


def higher_order(name: str) -> Any:
    """An operator that takes functions, by its name: `cond`."""
    return getattr(torch.ops.higher_order, name)


def is_higher_order(target: Any) -> bool:
    """Whether an operator takes functions."""
    return isinstance(target, torch._ops.HigherOrderOperator)


def is_of_control_flow(error: BaseException) -> bool:
    """Whether what torch does for operators that take functions has failed."""
    folder = os.path.join("torch", "_higher_order_ops", "")
    return any(folder in frame.filename for frame in traceback.extract_tb(error.__traceback__))


def replace_tensor(tensor: torch.Tensor, other: torch.Tensor) -> None:
    """Make the Python object `tensor` the tensor that `other` is."""
    torch._C._swap_tensor_impl(tensor, other)
    tensor.__dict__, other.__dict__ = other.__dict__, tensor.__dict__


def reshape_in_place(tensor: torch.Tensor, like: torch.Tensor) -> None:
    """Give a tensor without memory the sizes and strides of another, and leave what autograd knows of it."""
    with torch._C._DisableTorchDispatch(), torch.no_grad():
        tensor.as_strided_(like.shape, like.stride())


def same_storage(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two tensors look at one piece of memory."""
    return storage_of(first) == storage_of(second)


def storage_of(tensor: torch.Tensor) -> int:
    """The identity of a tensor's memory while the tensor lives; meta tensors have one too, and no address."""
    identity: int = tensor.untyped_storage()._cdata
    return identity


def schema_of(overload: Any) -> torch.FunctionSchema:
    """The schema of an OpOverload."""
    schema: torch.FunctionSchema = overload._schema
    return schema


def is_random(target: Any) -> bool:
    """Whether an overload draws random numbers."""
    return isinstance(target, torch._ops.OpOverload) and torch.Tag.nondeterministic_seeded in target.tags


def is_mutable(overload: Any) -> bool:
    """Whether the overload writes to one of its arguments, as its schema tells."""
    return bool(overload._schema.is_mutable)


def mark_dynamic(tensor: torch.Tensor, axis: int) -> None:
    """Tell Dynamo that a dim of an example is dynamic, whatever its size is."""
    torch._dynamo.mark_dynamic(tensor, axis)


@contextlib.contextmanager
def dynamo_settings() -> Iterator[None]:
    """Let Dynamo capture recurrent layers whole, which it refuses lest others take them apart, and log no refusal."""
    log = logging.getLogger("torch._guards")
    before = log.disabled
    log.disabled = True
    try:
        with torch._dynamo.config.patch(allow_rnn=True):
            yield
    finally:
        log.disabled = before


def guards_of(sizes: Sequence[torch.SymInt]) -> Callable[[Sequence[Any]], bool]:
    """What Dynamo took for granted of sizes, as a function of others in their places."""
    if not sizes:
        return lambda others: True
    environment: Any = sizes[0].node.shape_env
    expression = environment.produce_guards_expression(sizes)
    ranges = [environment.bound_sympy(size.node.expr) for size in sizes]
    least = [int(r.lower) if r.lower.is_Integer and r.lower > _LEAST_OF_DYNAMO else 0 for r in ranges]
    most = [int(r.upper) if r.upper.is_Integer and r.upper < ENDLESS else ENDLESS for r in ranges]

    def hold(others: Sequence[Any]) -> bool:
        within = [n >= low and n <= high for n, low, high in zip(others, least, most, strict=True)]
        return all(within) and (expression is None or environment.evaluate_guards_expression(expression, others))

    return hold


_LEAST_OF_DYNAMO = 2  # a size of 0 or 1 is no dynamic one to it


@contextlib.contextmanager
def transforms_ended() -> Iterator[None]:
    """End what is on of `torch.func.grad` and its like after the block, as where a graph that starts them fails."""
    depth = torch._C._functorch.get_dynamic_layer_stack_depth()
    try:
        yield
    finally:
        torch._C._functorch.pop_dynamic_layer_stack_and_undo_to_depth(depth)


def is_transformed() -> bool:
    """Whether a transform of torch.func is at work."""
    return bool(torch._C._are_functorch_transforms_active())


def reset_dynamo() -> None:
    """Forget what Dynamo compiled."""
    torch._dynamo.reset()


def original_module(model: Any) -> Any:
    """The module that `torch.compile` wrapped, or the model itself."""
    return model._orig_mod if isinstance(model, torch._dynamo.eval_frame.OptimizedModule) else model


def decomposition_of(overload: Any) -> Callable[..., Any] | None:
    """Torch's decomposition of an overload into others, or None."""
    if not isinstance(overload, torch._ops.OpOverload):
        return None
    table = torch._decomp.decomposition_table
    if overload in table:
        return table[overload]
    if torch._C._dispatch_has_kernel_for_dispatch_key(overload.name(), "CompositeImplicitAutograd"):
        return overload.decompose
    if torch._C._dispatch_has_kernel_for_dispatch_key(overload.name(), "CompositeExplicitAutograd"):
        return lambda *args, **kwargs: overload._op_dk(torch._C.DispatchKey.CompositeExplicitAutograd, *args, **kwargs)
    return None


def overload_of(operator: Any) -> Any:
    """The overload that an operator is: itself, its only one, or that of `torch.library.custom_op`; else None."""
    if isinstance(operator, torch._library.custom_ops.CustomOpDef):
        return operator._opoverload
    if isinstance(operator, torch._ops.OpOverloadPacket) and len(operator.overloads()) == 1:
        return getattr(operator, operator.overloads()[0])
    return operator if isinstance(operator, torch._ops.OpOverload) else None


def size_from_node(node: Any) -> Any:
    """The SymInt, SymFloat or SymBool that Python sees for a size node of ours."""
    if node.is_int():
        return torch.SymInt(node)
    return torch.SymFloat(node) if node.is_float() else torch.SymBool(node)


@contextlib.contextmanager
def above_autograd() -> Iterator[None]:
    """Hand overloads to dispatch modes as they were called, before autograd takes them apart.

    Under inference mode alone, a view of a parameter would still be tied to it as autograd does.
    """
    views = torch._C.DispatchKeySet(torch._C.DispatchKey.ADInplaceOrView)
    with torch.inference_mode(), torch._C._ExcludeDispatchKeyGuard(views):
        yield


@contextlib.contextmanager
def below_autograd(formulas: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """Let autograd see the calls first and dispatch modes what it makes of them, backward passes too.

    Attention and recurrent layers come in their formulas: what fuses them here is no part of a model.  `formulas`
    are called in the place of the overloads of these names (`aten::cdist`).
    """
    math = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    mkldnn = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            math,
            torch.library._scoped_library("aten", "IMPL") as aten,
        ):
            for name, function in formulas.items():
                for key in ("AutogradCPU", "AutogradCUDA"):
                    aten.impl(name, function, key)
            yield
    finally:
        torch._C._set_mkldnn_enabled(mkldnn)


def forward_sequence() -> int:
    """The number of the autograd node that was made last, which is that of the call now under way."""
    return int(torch._C._autograd._get_sequence_nr()) - 1


def backward_sequence() -> int | None:
    """The number of the autograd node that runs backward now; None where none does."""
    node = torch._C._current_autograd_node()
    return None if node is None else int(node._sequence_nr())


@contextlib.contextmanager
def compiling(count: int = 2) -> Iterator[None]:
    """Make so many of `torch.compiler.is_compiling()` and `is_exporting()` true, in this order; fused layers are whole.

    Libraries ask this to leave out what no graph can hold (checks of values, warnings, fast paths).
    """
    flags = ("_is_compiling_flag", "_is_exporting_flag")[:count]
    before = [getattr(torch.compiler, flag) for flag in flags]
    fastpath = torch.backends.mha.get_fastpath_enabled()
    for flag in flags:
        setattr(torch.compiler, flag, True)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        for flag, value in zip(flags, before, strict=True):
            setattr(torch.compiler, flag, value)
        torch.backends.mha.set_fastpath_enabled(fastpath)


@contextlib.contextmanager
def control_flow_as_called() -> Iterator[None]:
    """Let `torch.cond` and the like come to the dispatch mode as they are, not compiled first."""
    module = torch._higher_order_ops.utils
    original = module._hop_compile_and_call
    module._hop_compile_and_call = lambda function, args, kwargs=None: function(*args, **(kwargs or {}))
    try:
        yield
    finally:
        module._hop_compile_and_call = original


def is_scripted(model: Any) -> bool:
    """Whether a model is TorchScript, and not Python."""
    return isinstance(model, (*_SCRIPTED, torch.jit.ScriptModule))


def script_parameters(function: Any) -> list[inspect.Parameter] | None:
    """The parameters of scripted or traced code, without `self`; None for other functions."""
    if not isinstance(function, _SCRIPTED):
        return None
    schema: Any = function.schema
    arguments = schema.arguments[isinstance(function, torch._C.ScriptMethod) :]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [
        inspect.Parameter(a.name, kind, default=a.default_value if a.has_default_value() else inspect.Parameter.empty)
        for a in arguments
    ]


@contextlib.contextmanager
def script_calls(run: Callable[..., Any]) -> Iterator[None]:
    """Send calls of TorchScript to `run(function, args, kwargs, owner)`, the owner being that of a method."""
    function, method = _SCRIPTED
    originals = function.__call__, method.__call__

    def call_function(self: Any, *args: Any, **kwargs: Any) -> Any:
        return run(self, args, kwargs, None)

    def call_method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if str(self.schema.arguments[0].type).startswith(_CLASSES):
            return originals[1](self, *args, **kwargs)
        return run(self, args, kwargs, torch.jit._recursive.wrap_cpp_module(self.owner))

    function.__call__, method.__call__ = call_function, call_method  # type: ignore[method-assign]  # it is put back
    try:
        yield
    finally:
        function.__call__, method.__call__ = originals  # type: ignore[method-assign]  # it is put back
