"""What is validated: a model, its calls, and what the reference gives for each of them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_ir as ir
import torch

from exporter import eager, structures
from exporter.errors import InputError
from exporter.signature import is_value
from exporter.validation import inputs as make
from exporter.validation.conditioning import in_float64, nudged, raised
from exporter.validation.runtime import is_random, run, session_of
from exporter.validation.tensor_files import data_sets

if TYPE_CHECKING:
    from exporter.program import Program

__all__ = ["Call", "Subject", "load", "of_file", "of_program"]


@dataclass(frozen=True)
class Call:
    """One call of the model.

    Attributes:
        description: which inputs these are, in words.
        arguments: what the reference takes.
        tensors: what the ONNX model takes, in the order of its inputs.
    """

    description: str
    arguments: Any
    tensors: list[torch.Tensor]


@dataclass
class Subject:
    """A model and what it is held to.

    Attributes:
        title: the model in words.
        model: the ONNX model.
        path: the file that it came from, or None.
        calls: the calls to compare.
        output_names: the outputs to compare, in order.
        evaluate: what the reference gives for a call, under a random seed.
        untouched: puts back what calls of the reference change.
        code: what the reference runs, which can run in float64 too; None where there is no code.
        program: where the model came from `export`.
    """

    title: str
    model: ir.Model
    path: Path | None
    calls: list[Call]
    output_names: list[str]
    evaluate: Callable[[Call, int], list[torch.Tensor]]
    untouched: Callable[[], AbstractContextManager[None]]
    code: Any = None
    program: Program | None = None

    @property
    def is_random(self) -> bool:
        """Whether the model draws random numbers, by the ops that it has."""
        return any(is_random(node) for node in self.model.graph)

    def exact(self, call: Call) -> list[torch.Tensor]:
        """What the reference gives for a call in float64."""
        with in_float64(self.code):
            return self.evaluate(_changed(call, raised), 0)

    def nearby(self, call: Call) -> list[torch.Tensor]:
        """What the reference gives for inputs that are others by a rounding error."""
        return self.evaluate(_changed(call, nudged), 0)


def of_program(
    program: Program, inputs: Sequence[Any], sizes: Sequence[Mapping[str, int]] | None, awkward: bool
) -> Subject:  # fmt: skip
    """A program beside the eager model that it was exported from.

    Raises:
        InputError: the inputs or sizes do not fit.
    """

    def evaluate(call: Call, seed: int) -> list[torch.Tensor]:
        eager.seed(seed)
        result = eager.call(program.reference, program.signature, call.arguments)
        return _results([result, eager.buffers(program.reference, program.signature.updated_buffers)])

    calls = [
        Call(description, leaves, [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)])
        for description, leaves in _program_calls(program, inputs, sizes, awkward)
    ]
    return Subject(
        type(program.reference).__name__, program.model, None, calls, program.signature.result_names,
        evaluate, lambda: eager.untouched_values(program.reference), program.reference, program,
    )  # fmt: skip


def _program_calls(
    program: Program, inputs: Sequence[Any], sizes: Sequence[Mapping[str, int]] | None, awkward: bool
) -> Iterator[tuple[str, list[Any]]]:
    signature = program.signature
    yield "example", list(signature.leaves)
    if any(isinstance(leaf, torch.Tensor) for leaf in signature.leaves):
        yield "other values", make.other_values(signature, 0)
    for i, chosen in enumerate(make.sizes_to_try(program) if sizes is None else sizes):
        _check_sizes(chosen, signature.sizes_of_example())
        full = {**signature.sizes_of_example(), **chosen}
        yield make.described(chosen), make.other_sizes(signature, full, i + 1)
    if awkward:
        for kind in make.AWKWARD:
            yield kind, make.awkward_values(signature, kind)
    for i, call in enumerate(inputs):
        leaves = [leaf for _, leaf in structures.flatten(_structure(call))]
        if len(leaves) != len(signature.leaves):
            raise InputError(
                f"inputs[{i}]: must have {len(signature.leaves)} tensors and constants like the example, "
                f"got {len(leaves)}"
            )
        yield f"inputs[{i}]", signature.with_numbers(leaves)


def of_file(
    model: str | Path | ir.Model | onnx.ModelProto,
    reference: Callable[..., Any] | str | Path | None,
    inputs: Sequence[Any] | None,
    sizes: Sequence[Mapping[str, int]] | None,
) -> Subject:
    """Any ONNX model beside a callable, a test-case folder, or (None) itself, unoptimized, on the CPU.

    Raises:
        InputError: the model cannot be read, or the inputs or sizes do not fit it.
    """
    loaded, path = load(model)
    title = path.name if path is not None else (loaded.graph.name or "model")
    names = [value.name or "" for value in loaded.graph.outputs]
    if isinstance(reference, (str, Path)):
        sets = data_sets(Path(reference))
        calls = [Call(name, i, tensors) for i, (name, tensors, _) in enumerate(sets)]
        return Subject(
            title, loaded, path, calls, names, lambda call, seed: sets[call.arguments][2], contextlib.nullcontext
        )
    calls = [_file_call(f"inputs[{i}]", call, loaded) for i, call in enumerate(inputs or ())]
    if inputs is None or sizes is not None:
        calls += [
            Call(described, (tuple(tensors), {}), tensors) for described, tensors in make.of_graph(loaded.graph, sizes)
        ]
    if reference is None:
        session = session_of(path or loaded, optimized=False)
        return Subject(
            title, loaded, path, calls, names, lambda call, seed: run(session, call.tensors), contextlib.nullcontext
        )
    function = reference

    def evaluate(call: Call, seed: int) -> list[torch.Tensor]:
        eager.seed(seed)
        args, kwargs = _changed(call, _copy).arguments
        with torch.no_grad():
            return _results(function(*args, **kwargs))

    untouched = functools.partial(eager.untouched_values, function)
    return Subject(title, loaded, path, calls, names, evaluate, untouched, function)


def load(model: str | Path | ir.Model | onnx.ModelProto) -> tuple[ir.Model, Path | None]:
    """A model, and the file that it came from.

    Raises:
        InputError: there is no such file, or it is no ONNX model.
    """
    if isinstance(model, ir.Model):
        return model, None
    if isinstance(model, onnx.ModelProto):
        return ir.from_proto(model), None
    path = Path(model)
    try:
        return ir.load(path), path
    except Exception as error:  # protobuf's and the file system's are many
        reason = "there is no such file" if not path.exists() else f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: must be an ONNX model: {reason}") from error


def _file_call(description: str, call: Any, model: ir.Model) -> Call:
    """A user's call: by the names of the inputs where it is a dict of them, else in their order."""
    arguments = _structure(call)
    leaves = [_tensor(leaf) for _, leaf in structures.flatten(arguments)]
    arguments = structures.rebuild(arguments, iter(leaves))
    names = [value.name for value in model.graph.inputs]
    if not arguments[0] and set(arguments[1]) == set(names):
        tensors = [arguments[1][name] for name in names]
    else:
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    if len(tensors) != len(names):
        raise InputError(
            f"{description}: must have {len(names)} tensors ({', '.join(map(str, names))}), got {len(tensors)}"
        )
    return Call(description, arguments, tensors)


def _structure(call: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(call, Mapping):
        return (), dict(call)
    return (tuple(call), {}) if isinstance(call, (tuple, list)) else ((call,), {})


def _tensor(leaf: Any) -> Any:
    return torch.from_numpy(leaf) if isinstance(leaf, np.ndarray) else leaf


def _changed(call: Call, change: Callable[[Any], Any]) -> Call:
    """A call whose reference takes other leaves."""
    leaves = (change(leaf) for _, leaf in structures.flatten(call.arguments))
    return replace(call, arguments=structures.rebuild(call.arguments, leaves))


def _copy(leaf: Any) -> Any:
    return leaf.clone() if isinstance(leaf, torch.Tensor) else leaf


def _results(result: Any) -> list[torch.Tensor]:
    """The tensors and numbers of a result, flat; complex ones as real ones with a last dim of 2."""
    found = [leaf for _, leaf in structures.flatten(result) if is_value(leaf)]
    results = [torch.as_tensor(leaf).detach().clone() for leaf in found]
    return [torch.view_as_real(r.resolve_conj()) if r.is_complex() else r for r in results]


def _check_sizes(chosen: Mapping[str, int], known: Mapping[str, int]) -> None:
    for name in chosen:
        if name not in known:
            raise InputError(
                f"sizes: there is no dynamic dim {name!r}", hint=f"the dims are {', '.join(sorted(known)) or 'none'}"
            )
