"""What goes in and out of a model: names, structures and dynamic dims of a call's flattened tensors."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from exporter import structures
from exporter.errors import InputError
from shape_inference import Dim, symbol

Shape = tuple[int, ...]
Call = tuple[Sequence[Any], Mapping[str, Any]]


@dataclass(frozen=True)
class DynamicDim:
    """A dim that a user left open.

    Attributes:
        name: what it is called; equal names mean equal sizes.
        minimum: the least size that it may have.
        maximum: the largest, or None.
        automatic: whether the name is ours, so that it may turn out equal to another.
    """

    name: str
    minimum: int = 1
    maximum: int | None = None
    automatic: bool = False


class Signature:
    """The arguments of one call, flat and named, and in time its results.

    Attributes:
        leaves: the flattened arguments: tensors, and constants of any kind.
        input_names: a name for each leaf, as it will stand in the ONNX model.
        positional_names: the parameters that the positional arguments go to.
        dims: for each leaf, axis -> the dynamic dim.
        sample_sizes: name of a dynamic dim -> its sizes while recording, the example's first.
        output_names: a name for each flattened result, once it is known.
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
        self.positional_names = parameters = _parameter_names(function, args, kwargs)
        found = list(structures.flatten(self._structure))
        self.leaves = [leaf for _, leaf in found]
        self.paths = [(parameters[path[1]] if path[0] == 0 else path[1], *path[2:]) for path, _ in found]
        self.input_names = _names(self.paths, self.leaves, input_names)
        if other_calls:
            dynamic_shapes = _differing_dims(self, other_calls, dynamic_shapes)
        self.dims = _dynamic_dims(self, dynamic_shapes, parameters)
        self._freeze(sizes or {})
        self.sample_sizes: dict[str, tuple[int, ...]] = {}
        self.output_names: list[str] = []
        self._wanted_output_names = output_names
        self.choose_samples(0)

    @property
    def tensor_indices(self) -> list[int]:
        """Which leaves are tensors, and so inputs of the model."""
        return [i for i, leaf in enumerate(self.leaves) if isinstance(leaf, torch.Tensor)]

    @property
    def is_dynamic(self) -> bool:
        """Whether any dim is dynamic."""
        return bool(self.sample_sizes)

    def unflatten(self, leaves: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with other leaves in their places."""
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
            tuple(self.sample_sizes[dims[a].name][i] if a in dims else n for a, n in enumerate(shape))
            for i in range(count)
        ]

    def fix(self, names: Collection[str]) -> None:
        """Make dims static, at the sizes of the example."""
        self.dims = [{a: dim for a, dim in dims.items() if dim.name not in names} for dims in self.dims]
        self.choose_samples(0)

    def symbols(self) -> dict[str, Dim]:
        """Name of each dynamic dim -> its symbol."""
        dims = [dim for dims in self.dims for dim in dims.values()]
        return {dim.name: symbol(dim.name, minimum=dim.minimum, maximum=dim.maximum) for dim in dims}

    def _freeze(self, sizes: Mapping[str, int]) -> None:
        known = {dim.name for dims in self.dims for dim in dims.values()}
        for name in sizes:
            if name not in known:
                raise InputError(
                    f"sizes: there is no dynamic dim {name!r}",
                    hint=f"the dims are {', '.join(sorted(known)) or 'none'}",
                )
        for i, (leaf, dims) in enumerate(zip(self.leaves, self.dims, strict=True)):
            for axis, dim in dims.items():
                if dim.name in sizes:
                    leaf = resized(leaf, axis, sizes[dim.name])
            self.leaves[i] = leaf
        self.dims = [{a: dim for a, dim in dims.items() if dim.name not in sizes} for dims in self.dims]

    def unify_equal_sizes(self) -> bool:
        """Take automatic dims of one size for the same dim; whether that changed anything."""
        first: dict[int, DynamicDim] = {}
        changed = False
        for leaf, dims in zip(self.leaves, self.dims, strict=True):
            for axis, dim in dims.items():
                if dim.automatic:
                    same = first.setdefault(leaf.shape[axis], dim)
                    changed |= same is not dim
                    dims[axis] = same
        return changed

    def choose_samples(self, attempt: int) -> None:
        """Choose the sizes at which the model is recorded.

        Args:
            attempt: 0 takes any sizes; 1 multiples of the power of 2 in the example's size, 2 multiples
                of the example's size, for models that work at no other.
        """
        sizes: dict[str, tuple[int, DynamicDim]] = {}
        for leaf, dims in zip(self.leaves, self.dims, strict=True):
            for axis, dim in dims.items():
                size = leaf.shape[axis]
                if dim.name in sizes and sizes[dim.name][0] != size:
                    raise InputError(
                        f"dim {dim.name!r}: must have one size in all inputs, got {sizes[dim.name][0]} and {size}",
                        hint="give dims of different sizes different names",
                    )
                sizes[dim.name] = size, dim
        offsets = itertools.count()
        self.sample_sizes = {}
        for name, (size, dim) in sizes.items():
            step = [1, size & -size or 1, max(size, 1)][attempt]
            used = {sample for samples in self.sample_sizes.values() for sample in samples[1:]}
            self.sample_sizes[name] = (size, *_others(size, step, dim, _OFFSETS[next(offsets) % len(_OFFSETS)], used))


# Steps from the example's size to the two others, one pair a dim: no two dims share a difference.
_OFFSETS = [(3, 7), (5, 12), (8, 19), (11, 25), (14, 33), (17, 38), (20, 47), (23, 51), (26, 61), (29, 64)]


def _others(size: int, step: int, dim: DynamicDim, offsets: tuple[int, int], used: set[int]) -> list[int]:
    """Two other sizes of a dim, within its bounds, and not those of another dim."""
    others: list[int] = []
    for offset in offsets:
        other = size + offset * step
        while other in used or other in others:
            other += step
        if dim.maximum is not None and other > dim.maximum:
            down = (n for n in range(min(size, dim.maximum) - step, max(dim.minimum, 1) - 1, -step))
            up = (n for n in range(size + step, dim.maximum + 1, step))
            other = next((n for n in itertools.chain(up, down) if n not in others and n not in used), size)
        others.append(other)
    return others


def is_value(leaf: Any) -> bool:
    """Whether a leaf of a result becomes an output of the model: a tensor or a number."""
    numbers = (torch.Tensor, int, float, bool, torch.SymInt, torch.SymFloat, torch.SymBool)
    return isinstance(leaf, numbers)


def _parameter_names(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
    """The names of the parameters that positional arguments go to."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a builtin tells nothing
        return [f"input_{i}" for i in range(len(args))]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
    if len(args) > len(positional) and rest is None:
        expected = ", ".join(p.name for p in positional) or "none"
        raise InputError(
            f"example_inputs: the model takes at most {len(positional)} positional arguments ({expected}), got {len(args)}"
        )
    names = [p.name for p in positional[: len(args)]]
    names += [f"{rest}_{i}" for i in range(len(args) - len(positional))]
    missing = [
        p.name for p in positional[len(args) :] if p.default is p.empty and p.name not in kwargs
    ]  # fmt: skip
    if missing:
        raise InputError(
            f"example_inputs: the model needs {', '.join(missing)} too, got {len(args)} positional arguments"
            + (f" and {', '.join(kwargs)}" if kwargs else "")
        )
    keywords = {p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    unknown = [name for name in kwargs if name not in keywords]
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters):
        raise InputError(
            f"example_inputs: the model has no argument {unknown[0]!r}",
            hint=f"it has {', '.join(p.name for p in parameters)}",
        )
    return names


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


def resized(tensor: torch.Tensor, axis: int, size: int) -> torch.Tensor:
    """The tensor with one axis cut or repeated to a size."""
    old = tensor.shape[axis]
    if not old:
        shape = list(tensor.shape)
        shape[axis] = size
        return torch.zeros(shape, dtype=tensor.dtype, device=tensor.device)
    return tensor.index_select(axis, torch.arange(size, device=tensor.device) % old)


def _differing_dims(signature: Signature, calls: Sequence[Call], spec: Any) -> dict[str, dict[int, str]]:
    """The dims that differ between examples, dims of equal sizes in all of them under one name."""
    if spec is not None:
        raise InputError("dynamic_shapes: must be left out where several example inputs tell the dynamic dims")
    examples = [[leaf for _, leaf in structures.flatten((tuple(args), dict(kwargs)))] for args, kwargs in calls]
    names: dict[tuple[int, ...], str] = {}
    shapes: dict[str, dict[int, str]] = {}
    for i, leaf in enumerate(signature.leaves):
        others = [example[i] if i < len(example) else None for example in examples]
        if not isinstance(leaf, torch.Tensor):
            continue
        if any(not isinstance(other, torch.Tensor) or other.ndim != leaf.ndim for other in others):
            raise InputError(
                f"example_inputs: {signature.input_names[i]} must be a tensor of {leaf.ndim} dims in every example"
            )
        for axis in range(leaf.ndim):
            sizes = (leaf.shape[axis], *(other.shape[axis] for other in others))
            if len(set(sizes)) > 1:
                name = names.setdefault(sizes, f"{signature.input_names[i]}_dim_{axis}")
                shapes.setdefault(signature.input_names[i], {})[axis] = name
    return shapes


def _dynamic_dims(signature: Signature, spec: Any, parameters: Sequence[str]) -> list[dict[int, DynamicDim]]:
    """For each leaf, axis -> dynamic dim, from what the user wrote."""
    tree: Any = spec
    if isinstance(spec, (tuple, list)):
        if len(spec) > len(parameters):
            raise InputError(
                f"dynamic_shapes: must have at most one entry for each of the {len(parameters)} positional inputs, got {len(spec)}"
            )
        tree = dict(zip(parameters, spec, strict=False))
    if isinstance(tree, Mapping):
        _check_known(tree, signature)
    result: list[dict[int, DynamicDim]] = []
    for path, name, leaf in zip(signature.paths, signature.input_names, signature.leaves, strict=True):
        axes = _find(tree, path, name) if isinstance(leaf, torch.Tensor) else None
        result.append(dict(_axes(axes, name, leaf)) if axes else {})
    return result


def _check_known(tree: Mapping[Any, Any], signature: Signature) -> None:
    known = {str(path[0]) for path in signature.paths} | set(signature.input_names) | {"*"}
    known |= set(signature._structure[1])
    for key in tree:
        if key not in known:
            raise InputError(
                f"dynamic_shapes: no input is called {key!r}",
                hint=f"the inputs are {', '.join(sorted(known - {'*'}))}",
            )


def _find(tree: Any, path: structures.Path, name: str) -> Any:
    """The axes that the user's tree has for the leaf at `path`, or None."""
    if isinstance(tree, str):
        return {0: tree}
    if isinstance(tree, Mapping) and name in tree and len(path) > 1:
        return tree[name]
    for depth, key in enumerate(path):
        if tree is None or (depth and _are_axes(tree)):
            return tree  # axes given for a whole structure hold for every tensor in it
        if isinstance(tree, Mapping):
            if key in tree or "*" in tree:
                tree = tree.get(key, tree.get("*"))
            elif key not in structures.SILENT_KEYS:
                return tree.get(name)
        elif isinstance(tree, (list, tuple)) and isinstance(key, int) and key < len(tree):
            tree = tree[key]
    return tree


def _are_axes(tree: Any) -> bool:
    """Whether this is `{axis: dim}`, and not a deeper structure."""
    dims = (str, int, type(None), torch.export.Dim, type(torch.export.Dim.AUTO))
    return isinstance(tree, Mapping) and all(type(k) is int and isinstance(v, dims) for k, v in tree.items())


def _axes(axes: Any, name: str, leaf: torch.Tensor) -> Iterator[tuple[int, DynamicDim]]:
    if isinstance(axes, (list, tuple)):
        axes = dict(enumerate(axes))
    if not isinstance(axes, Mapping):
        raise InputError(
            f"dynamic_shapes: {name} must have a dict of axes to names, got {axes!r}",
            hint='write {"x": {0: "batch"}}',
        )
    for axis, dim in axes.items():
        if not isinstance(axis, int) or not -leaf.ndim <= axis < leaf.ndim:
            raise InputError(f"dynamic_shapes: {name} has {leaf.ndim} axes, got axis {axis!r}")
        described = describe_dim(dim, f"{name}_dim_{axis % leaf.ndim}", leaf.shape[axis])
        if described is not None:
            yield axis % leaf.ndim, described


def describe_dim(dim: Any, automatic_name: str, size: int) -> DynamicDim | None:
    """What a user wrote for one axis; None for a static one.

    Raises:
        InputError: it is none of the spellings of a dim, or the example lies outside of it.
    """
    if dim is None or type(dim) is int or dim is torch.export.Dim.STATIC:
        return None
    least = min(size, 1)
    if isinstance(dim, str):
        return DynamicDim(dim, least)
    if dim in (torch.export.Dim.AUTO, torch.export.Dim.DYNAMIC):
        return DynamicDim(automatic_name, least, automatic=True)
    if isinstance(dim, torch.export.Dim):
        maximum = dim.max if dim.max < 2**31 else None  # torch's int_oo is larger than any size
        if size < dim.min or (maximum is not None and size > maximum):
            raise InputError(
                f"dynamic_shapes: dim {dim.__name__!r} must lie in {dim.min}..{maximum or ''}, the example has {size}"
            )
        return DynamicDim(dim.__name__, min(dim.min, least) if dim.min <= 1 else dim.min, maximum)
    raise InputError(
        f"dynamic_shapes: an axis must have a name, a torch.export.Dim or None, got {dim!r}",
        hint='write {"x": {0: "batch"}}',
    )
