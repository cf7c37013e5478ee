"""What a user wrote as `dynamic_shapes`: which dim of which tensor it opens, and which integers.

Every spelling of `torch.export` is understood, and shorter ones: a tree like the arguments', with axes, names of
dims and `Dim`s as its leaves; by the names of the inputs; `"*"` for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from exporter import structures
from exporter.dynamic_dims import NUMBER, Dims, DynamicDim, describe_dim
from exporter.errors import InputError
from exporter.parameters import Parameters

if TYPE_CHECKING:
    from exporter.signature import Signature

_HINTS = (torch.export.Dim.AUTO, torch.export.Dim.DYNAMIC)


def described_dims(signature: Signature, spec: Any, parameters: Parameters) -> Dims:
    """For each leaf of a call, axis -> the dynamic dim.

    Args:
        signature: the leaves, their paths and names.
        spec: what the user wrote.
        parameters: of the function that is called.

    Raises:
        InputError: it names what is not there, or is no spelling of a dim.
    """
    tree = _by_name(spec, parameters)
    if isinstance(tree, Mapping):
        _check_known(tree, signature, parameters)
    result: Dims = []
    for path, name, leaf in zip(signature.paths, signature.input_names, signature.leaves, strict=True):
        found = _find(tree, path, name)
        if isinstance(leaf, torch.Tensor):
            is_named = isinstance(tree, Mapping) and name in tree
            if leaf.ndim or is_named or len(path) == 1:  # else given for a structure, as a cache that counts its tokens
                result.append(_dims_of_tensor(found, name, leaf))
                continue
        result.append({} if isinstance(leaf, torch.Tensor) else _dims_of_number(found, name, leaf))
    return result


def differing_dims(signature: Signature, examples: Sequence[Sequence[Any]], spec: Any) -> dict[str, Any]:
    """The dims that differ between examples, dims of equal sizes in all of them under one name; integers too.

    Args:
        signature: of the first example.
        examples: the leaves of the others.
        spec: what the user wrote as well, which must be nothing.

    Raises:
        InputError: the examples do not fit together.
    """
    if spec is not None:
        raise InputError("dynamic_shapes: must be left out where several example inputs tell the dynamic dims")
    names: dict[tuple[int, ...], str] = {}
    shapes: dict[str, Any] = {}
    for i, (leaf, input_name) in enumerate(zip(signature.leaves, signature.input_names, strict=True)):
        others = [example[i] if i < len(example) else None for example in examples]
        integers = tuple(number for number in (leaf, *others) if type(number) is int)
        if len(integers) == 1 + len(others) and len(set(integers)) > 1:
            shapes[input_name] = names.setdefault(integers, input_name)
        if not isinstance(leaf, torch.Tensor):
            continue
        if any(not isinstance(other, torch.Tensor) or other.ndim != leaf.ndim for other in others):
            raise InputError(f"example_inputs: {input_name} must be a tensor of {leaf.ndim} dims in every example")
        for axis in range(leaf.ndim):
            sizes = (leaf.shape[axis], *(other.shape[axis] for other in others if other is not None))
            if len(set(sizes)) > 1:
                shapes.setdefault(input_name, {})[axis] = names.setdefault(sizes, f"{input_name}_dim_{axis}")
    return shapes


def _by_name(spec: Any, parameters: Parameters) -> Any:
    """The tree by the names of the arguments, those of `*xs` and `**kw` beside the others."""
    names, rest, named, further, _ = parameters
    if isinstance(spec, (tuple, list)):
        if rest is not None and len(spec) == named + 1 and _is_of_several(spec[named], len(names) - named):
            spec = [*spec[:named], *spec[named]]
        if len(spec) > len(names):
            raise InputError(
                f"dynamic_shapes: must have at most one entry for each of the {len(names)} positional inputs, "
                f"got {len(spec)}"
            )
        return dict(zip(names, spec, strict=False))
    if not isinstance(spec, Mapping):
        return spec
    tree = dict(spec)
    if rest in tree and isinstance(tree[rest], (tuple, list)):
        tree |= dict(zip(names[named:], tree.pop(rest), strict=False))
    if further in tree and isinstance(tree[further], Mapping) and not _are_axes(tree[further]):
        tree |= tree.pop(further)
    return tree


def _is_of_several(spec: Any, count: int) -> bool:
    """Whether an entry is one for each of several tensors, and not the axes of one."""
    return (
        isinstance(spec, (tuple, list))
        and len(spec) == count
        and all(item is None or isinstance(item, (Mapping, tuple, list)) for item in spec)
    )


def _check_known(tree: Mapping[Any, Any], signature: Signature, parameters: Parameters) -> None:
    known = {str(path[0]) for path in signature.paths} | set(signature.input_names) | {"*"}
    known |= set(signature.keywords)
    for key, spec in tree.items():
        if key not in known and not (key in parameters.absent and spec is None):
            raise InputError(
                f"dynamic_shapes: no input is called {key!r}",
                hint=f"the inputs are {', '.join(sorted(known - {'*'}))}",
            )


def _find(tree: Any, path: structures.Path, name: str) -> Any:
    """What the user's tree has for the leaf at `path`, or None."""
    if isinstance(tree, str):
        return {0: tree}
    if isinstance(tree, Mapping) and name in tree and len(path) > 1:
        return tree[name]
    for depth, key in enumerate(path):
        if tree is None or (depth and _are_axes(tree)):
            return tree  # axes given for a whole structure hold for every tensor in it
        if isinstance(tree, Mapping) and not (key in tree or "*" in tree):
            if key not in structures.SILENT_KEYS:
                return tree.get(name)
        else:
            children = structures.children(tree)
            tree = children.get(key, children.get("*", tree))
    return tree


def _are_axes(tree: Any) -> bool:
    """Whether this is `{axis: dim}`, and not a deeper structure."""
    dims = (str, int, type(None), torch.export.Dim, type(torch.export.Dim.AUTO))
    return isinstance(tree, Mapping) and all(type(k) is int and isinstance(v, dims) for k, v in tree.items())


def _dims_of_tensor(axes: Any, name: str, leaf: torch.Tensor) -> dict[int, DynamicDim]:
    if not axes:
        return {}
    if isinstance(axes, (list, tuple)):
        axes = dict(enumerate(axes))
    if not isinstance(axes, Mapping):
        raise InputError(
            f"dynamic_shapes: {name} must have a dict of axes to names, got {axes!r}",
            hint='write {"x": {0: "batch"}}',
        )
    dims = {}
    for axis, dim in axes.items():
        if not isinstance(axis, int) or not -leaf.ndim <= axis < leaf.ndim:
            raise InputError(f"dynamic_shapes: {name} has {leaf.ndim} axes, got axis {axis!r}")
        described = describe_dim(dim, f"{name}_dim_{axis % leaf.ndim}", leaf.shape[axis])
        if described is not None:
            dims[axis % leaf.ndim] = described
    return dims


def _dims_of_number(spec: Any, name: str, leaf: Any) -> dict[int, DynamicDim]:
    """What opens an integer: a name or a `Dim`, where a tensor has its axes.

    Raises:
        InputError: it is for another constant, or the integer is below 0.
    """
    is_hint = any(spec is hint for hint in _HINTS)
    if leaf is None or not (is_hint or isinstance(spec, (str, torch.export.Dim))):
        return {}
    if type(leaf) is int and leaf >= 0:
        described = describe_dim(spec, name, leaf)
        return {} if described is None else {NUMBER: described}
    if spec is torch.export.Dim.AUTO:
        return {}
    raise InputError(
        f"dynamic_shapes: {name} must be a tensor or an integer from 0 on to be open, got {leaf!r}",
        hint=f"give torch.tensor({leaf!r}) instead",
    )
