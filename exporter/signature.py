"""What goes in and out of a model: names, structures and dynamic dims of a call's flattened tensors."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from exporter import structures
from exporter.capture.graph import Decision
from exporter.dynamic_dims import (
    NUMBER,
    Dims,
    example_sizes,
    extent,
    near_sizes,
    resized,
    sample_sizes,
    with_equals,
    with_formulas,
    with_sums,
)
from exporter.dynamic_shapes import described_dims, differing_dims
from exporter.errors import InputError
from exporter.parameters import parameters_of
from shape_inference import Dim, Size, symbol

Shape = tuple[int, ...]
Call = tuple[Sequence[Any], Mapping[str, Any]]


class Signature:
    """The arguments of one call, flat and named, and in time its results.

    Attributes:
        leaves: the flattened arguments: tensors, and constants of any kind.
        input_names: a name for each leaf, as it will stand in the ONNX model.
        positional_names: the parameters that the positional arguments go to.
        dims: for each leaf, axis -> the dynamic dim, which is an open integer itself at the axis `NUMBER`.
        sample_sizes: name of a dynamic dim -> its sizes while recording, first that by which code decides.
        fixed_dims: name of a dim that became static -> its size, and the line that fixed it, or "".
        fixed_values: the inputs that the model's code takes sizes from, so that the example's values are part of it.
        fixed_layouts: the inputs of integers that hold the numbers which the code looks for where the example does.
        decided: what a recording that failed had decided by dynamic sizes.
        output_names: a name for each flattened result, once it is known.
        updated_buffers: the buffers whose values after the call are results too.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        dynamic_shapes: Any = None,
        input_names: Sequence[str] | None = None,
        output_names: Sequence[str] | None = None,
        sizes: Mapping[str, int] | None = None,
        other_calls: Sequence[Call] = (),
    ) -> None:
        """Flatten the arguments of a call.

        `sizes` fixes dynamic dims at sizes of their own.  `other_calls` are further examples: where a
        size differs from the first, the dim is dynamic.

        Raises:
            InputError: names or dynamic dims do not fit the arguments.
        """
        self._structure = (tuple(args), dict(kwargs))
        parameters = parameters_of(function, args, kwargs)
        self.positional_names = parameters.positional
        found = list(structures.flatten(self._structure))
        self.leaves = [leaf for _, leaf in found]
        self.paths = [
            (self.positional_names[int(path[1])] if path[0] == 0 else path[1], *path[2:]) for path, _ in found
        ]
        self.input_names = _names(self.paths, self.leaves, input_names)
        _check_layouts(self.input_names, self.leaves)
        if other_calls:
            examples = [[leaf for _, leaf in structures.flatten((tuple(a), dict(k)))] for a, k in other_calls]
            dynamic_shapes = differing_dims(self, examples, dynamic_shapes)
        self.dims = described_dims(self, dynamic_shapes, parameters)
        self.leaves = self.with_numbers(self.leaves)
        self.dims = with_formulas(self.dims, self.leaves)
        self._freeze(sizes or {})
        self.sample_sizes: dict[str, tuple[int, ...]] = {}
        self.fixed_dims: dict[str, tuple[int, str]] = {}
        self.fixed_values: set[str] = set()
        self.fixed_layouts: set[str] = set()
        self.decided: list[Decision] = []
        self.output_names: list[str] = []
        self.updated_buffers: list[str] = []
        self._wanted_output_names = output_names
        self.choose_samples()

    @property
    def tensor_indices(self) -> list[int]:
        """Which leaves are tensors, and so inputs of the model."""
        return [i for i, leaf in enumerate(self.leaves) if isinstance(leaf, torch.Tensor)]

    @property
    def keywords(self) -> Mapping[str, Any]:
        """The keyword arguments of the call."""
        return self._structure[1]

    @property
    def numbers(self) -> list[int]:
        """Which leaves are integers that are left open: inputs of no dims, which the model takes as numbers."""
        return [i for i, row in enumerate(self.dims) if NUMBER in row]

    def is_number(self, index: int) -> bool:
        """Whether a leaf is one of these."""
        return NUMBER in self.dims[index]

    def with_numbers(self, leaves: Sequence[Any]) -> list[Any]:
        """The leaves of a call, its open integers as tensors."""
        numbers = self.numbers
        return [torch.tensor(leaf) if i in numbers and type(leaf) is int else leaf for i, leaf in enumerate(leaves)]

    @property
    def result_names(self) -> list[str]:
        """The names of the model's outputs: the results, and the updated buffers."""
        return [*self.output_names, *(f"{name}.updated" for name in self.updated_buffers)]

    @property
    def is_dynamic(self) -> bool:
        """Whether any dim is dynamic."""
        return bool(self.sample_sizes)

    def unflatten(self, leaves: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with other leaves in their places; the model takes open integers as numbers."""
        leaves = list(leaves)
        for i in self.numbers:
            if isinstance(leaves[i], torch.Tensor):
                leaves[i] = leaves[i].item()
        args, kwargs = structures.rebuild(self._structure, iter(leaves))
        return args, kwargs

    def flatten_result(self, result: Any) -> list[Any]:
        """The leaves of a result, without None; names them on the way.

        Raises:
            InputError: there are not as many results as output names.
        """
        found = [(path, leaf) for path, leaf in structures.flatten(result) if leaf is not None]
        found = [(p, leaf) for p, leaf in found if is_value(leaf)]
        wanted = self._wanted_output_names
        if wanted is not None and len(wanted) > len(found):
            raise InputError(f"output_names: must name at most the {len(found)} results, got {len(wanted)} names")
        names = [_output_name(path, len(found)) for path, _ in found]
        names[: len(wanted or ())] = wanted or ()
        self.output_names = _distinct(names, taken=self.input_names)
        return [leaf for _, leaf in found]

    def shapes(self, index: int, count: int) -> list[Shape]:
        """The leaf's shape at each sample; one alone where none of its dims is dynamic."""
        shape, dims = tuple(self.leaves[index].shape), self.dims[index]
        if not dims:
            return [shape]
        return [
            tuple(dims[a].at(sizes) if a in dims else n for a, n in enumerate(shape))
            for sizes in (self.sizes_at(i) for i in range(count))
        ]

    def number_at_samples(self, index: int) -> tuple[int, ...]:
        """An open integer at each sample."""
        count = len(next(iter(self.sample_sizes.values())))
        return tuple(self.dims[index][NUMBER].at(self.sizes_at(i)) for i in range(count))

    def sizes_at(self, sample: int) -> dict[str, int]:
        """Name of each dim that is no formula -> its size at a sample."""
        return {name: sizes[sample] for name, sizes in self.sample_sizes.items()}

    def named_samples(self) -> set[tuple[int, ...]]:
        """The sizes at all samples of each dim that the user named, formulas too."""
        count = len(next(iter(self.sample_sizes.values()), ()))
        dims = [dim for row in self.dims for dim in row.values()]
        return {tuple(dim.at(self.sizes_at(i)) for i in range(count)) for dim in dims}

    def symbolic_shape(self, index: int, symbols: Mapping[str, Dim]) -> list[Size]:
        """The leaf's sizes: numbers, the symbols of dims, and formulas of these."""
        shape: list[Size] = list(self.leaves[index].shape)
        for axis, dim in self.dims[index].items():
            if axis != NUMBER:
                shape[axis] = dim.symbolic(symbols)
        return shape

    def symbolic_number(self, index: int, symbols: Mapping[str, Dim]) -> Size | None:
        """What an open integer is; None for any other leaf."""
        dim = self.dims[index].get(NUMBER)
        return None if dim is None else dim.symbolic(symbols)

    def fixed_examples(self) -> dict[str, torch.Tensor]:
        """Name of each input whose values are part of the model -> the example."""
        leaves = dict(zip(self.input_names, self.leaves, strict=True))
        return {name: leaves[name] for name in sorted(self.fixed_values)}

    def automatic_groups(self) -> list[list[str]]:
        """The names of the dims that the user gave no name, those of one size in the example together."""
        automatic = {dim.name for row in self.dims for dim in row.values() if dim.automatic and dim.formula is None}
        groups: dict[int, list[str]] = {}
        for name, size in example_sizes(self.dims, self.leaves).items():
            if name in automatic:
                groups.setdefault(size, []).append(name)
        return list(groups.values())

    def fix(self, sources: Mapping[str, str]) -> None:
        """Make dims static, at the sizes of the example; `sources` has the line that fixes each, or ""."""
        sizes = example_sizes(self.dims, self.leaves)
        self.fixed_dims |= {name: (sizes[name], source) for name, source in sources.items()}
        self._make_static(set(sources))
        self.choose_samples()

    def symbols(self) -> dict[str, Dim]:
        """Name of each dynamic dim that is no formula -> its symbol."""
        dims = [dim for dims in self.dims for dim in dims.values() if dim.formula is None]
        return {dim.name: symbol(dim.name, minimum=dim.minimum, maximum=dim.maximum) for dim in dims}

    def _freeze(self, sizes: Mapping[str, int]) -> None:
        known = {dim.name for dims in self.dims for dim in dims.values()}
        for name in sizes:
            if name not in known:
                raise InputError(
                    f"sizes: there is no dynamic dim {name!r}",
                    hint=f"the dims are {', '.join(sorted(known)) or 'none'}",
                )
        wanted = example_sizes(self.dims, self.leaves) | dict(sizes)
        for i, (leaf, dims) in enumerate(zip(self.leaves, self.dims, strict=True)):
            for axis, dim in dims.items():
                if dim.at(wanted) != extent(leaf, axis):
                    leaf = resized(leaf, axis, dim.at(wanted))
            self.leaves[i] = leaf
        self._make_static(set(sizes))

    def _make_static(self, names: set[str]) -> None:
        """Take dims out, and put the example's sizes into the formulas that have them."""
        known = {name: size for name, size in example_sizes(self.dims, self.leaves).items() if name in names}
        rows: Dims = []
        for dims in self.dims:
            row = {}
            for axis, dim in dims.items():
                formula = None if dim.formula is None else dim.formula.substitute(known)
                if dim.name not in names and not isinstance(formula, int):
                    row[axis] = replace(dim, formula=formula)
            rows.append(row)
        for i in self.numbers:
            if not rows[i]:
                self.leaves[i] = self.leaves[i].item()
        self.dims = rows

    def relate(self, sums: bool) -> None:
        """Take automatic dims of one size for one dim, and where asked dims that are a sum for that sum."""
        self.dims = with_equals(self.dims, self.leaves)
        if sums:
            self.dims = with_sums(self.dims, self.leaves)

    def choose_samples(self, attempt: int = 0, *, near: bool = False, elsewhere: bool = False) -> None:
        """Choose the sizes at which the model is recorded, as `dynamic_dims.sample_sizes` does.

        With `elsewhere`, its code decides as at another size than the example's.
        """
        self._attempt = attempt
        self.sample_sizes = sample_sizes(self.dims, self.leaves, attempt, near=near)
        if elsewhere:
            self.sample_sizes = {name: (sizes[1], sizes[0], *sizes[2:]) for name, sizes in self.sample_sizes.items()}

    def sizes_of_example(self) -> dict[str, int]:
        """Name of each dim that is no formula -> its size in the example."""
        sizes = example_sizes(self.dims, self.leaves)
        return {name: sizes[name] for name in self.sample_sizes}

    def sizes_to_run(self) -> list[dict[str, int]]:
        """Two choices of sizes near the example's, of the kind that the model took."""
        return near_sizes(self.dims, self.leaves, self._attempt)


def is_value(leaf: Any) -> bool:
    """Whether a leaf of a result becomes an output of the model: a tensor or a number."""
    numbers = (torch.Tensor, int, float, bool, torch.SymInt, torch.SymFloat, torch.SymBool)
    return isinstance(leaf, numbers)


def _names(paths: Sequence[structures.Path], leaves: Sequence[Any], wanted: Sequence[str] | None) -> list[str]:
    names = _distinct([structures.path_name(path) for path in paths], taken=())
    tensors = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    if wanted is not None:
        if len(wanted) > len(tensors):
            raise InputError(
                f"input_names: must name at most the {len(tensors)} tensors among the inputs, got {len(wanted)} names"
            )
        for i, name in zip(tensors, wanted, strict=False):
            names[i] = name
    chosen = [names[i] for i in tensors]
    if len(set(chosen)) < len(chosen):
        raise InputError(f"input_names: must differ, got {', '.join(chosen)}")
    return names


def _check_layouts(names: Sequence[str], leaves: Sequence[Any]) -> None:
    for name, leaf in zip(names, leaves, strict=True):
        if not isinstance(leaf, torch.Tensor):
            continue
        kind = (
            "nested" if leaf.is_nested
            else "quantized" if leaf.is_quantized
            else str(leaf.layout).removeprefix("torch.") if leaf.layout is not torch.strided
            else ""
        )  # fmt: skip
        if kind:
            raise InputError(
                f"example_inputs: {name} must be a dense tensor, as an input of an ONNX model is, got a {kind} one",
                hint=_DENSE_INSTEAD.get(kind, "pass x.to_dense()"),
            )


_DENSE_INSTEAD = {
    "nested": "pass x.to_padded_tensor(0.0), and the lengths",
    "quantized": "pass floats, and quantize them in the model: torch.ao.quantization.QuantStub() does",
}


def _output_name(path: structures.Path, count: int) -> str:
    if not path:
        return "output"
    if all(isinstance(key, int) for key in path):
        return "output_" + "_".join(map(str, path)) if count > 1 else "output"
    return structures.path_name(path)


def _distinct(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    """The names, with numbers behind those that came before."""
    used, distinct = set(taken), []
    for name in names:
        free = name
        for number in itertools.count(1):
            if free not in used:
                break
            free = f"{name}_{number}"
        used.add(free)
        distinct.append(free)
    return distinct
