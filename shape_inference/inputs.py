"""The types of a model's inputs, and the names of sizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import onnx_ir as ir

from shape_inference.dims import Dim, Size, parse, symbol
from shape_inference.errors import GivenError
from shape_inference.registry import UNKNOWN
from shape_inference.report import label
from shape_inference.types import SequenceType, TensorType, Type
from shape_inference.values import tensor_type, type_of

__all__ = ["Given", "Names", "input_types"]

Given = Mapping[str, Any]

# Operators whose outputs are as large as their data say.
_DATA_DEPENDENT = frozenset(
    {
        *("Compress", "DynamicTimeWarping", "ImageDecoder", "NonMaxSuppression", "NonZero", "RemovePadding"),
        *("StringNormalizer", "StringSplit", "Tokenizer", "Unique"),
    }
)


class Names:
    """The names of sizes: the model's own, and those that are made up where no formula describes a size.

    Attributes:
        symbols: The size that each name stands for.
        made_up: The names that stand for a size without a formula.
        origins: The nodes, or "input", that they came from, but for those that only the data decide.
        data_sizes: The nodes that those came from.
        node: The node at hand.
        path: The functions that lead to it, as messages begin with them.
    """

    def __init__(self) -> None:
        self.symbols: dict[str, Dim] = {}
        self.made_up: set[str] = set()
        self.origins: dict[str, str] = {}
        self.data_sizes: dict[str, str] = {}
        self.node: ir.Node | None = None
        self.path = ""
        self._numbers: dict[str, int] = {}

    def formula(self, text: str) -> Size:
        """An input's dim that is no plain name: a formula if other inputs name all its symbols."""
        size = parse(text, self.symbols)
        if isinstance(size, int) or size.free_symbols() <= self.symbols.keys():
            return size
        return symbol(text)

    def unused(self, wanted: str) -> str:
        """A name that no symbol has yet."""
        if not wanted.isidentifier():
            wanted = "".join(letter if letter.isalnum() else "_" for letter in wanted)
        name = wanted
        while name in self.symbols:
            self._numbers[wanted] = self._numbers.get(wanted, 0) + 1
            name = f"{wanted}_{self._numbers[wanted]}"
        self.symbols[name] = symbol(name)
        return name

    def fresh(self, hint: str) -> Dim:
        """Make a symbol for a size that no formula describes, and remember whose it is."""
        number = self._numbers.get(hint, 0)
        self._numbers[hint] = number + 1
        name = self.unused(f"{hint}_{number}")
        self.made_up.add(name)
        self.note(name)
        return self.symbols[name]

    def note(self, name: str) -> None:
        """Remember that a name is for a size that the node at hand makes."""
        node = self.node
        by = self.path + (label(node) if node is not None else "input")
        if node is not None and node.op_type in _DATA_DEPENDENT:
            self.data_sizes[name] = by
        else:
            self.origins[name] = by


def input_types(graph: ir.Graph, given: Given, names: Names, *, with_defaults: bool) -> dict[ir.Value, Type]:
    """Type the inputs, and give every dim without a name one that says whose it is.

    Args:
        graph: Whose inputs.
        given: What the caller knows beyond it.
        names: Takes up the names.
        with_defaults: Whether an input that has a value always has that value.

    Raises:
        GivenError: `given` has a name that the graph has not, or a shape of another rank.
    """
    bound = {name: size for name, size in given.items() if isinstance(size, int)}
    shapes = {value: _declared(value, given) for value in graph.inputs}
    if given:
        _check(graph, given, shapes)
    for dims in shapes.values():
        for dim in dims or ():
            if isinstance(dim, str) and dim.isidentifier():
                names.symbols.setdefault(dim, symbol(dim))
            elif type(dim) is Dim:
                names.symbols.update({item.value: item for item in dim.symbols()})
    return {
        value: _input_type(value, dims, given.get(value.name or ""), bound, names, with_defaults)
        for value, dims in shapes.items()
    }


def _input_type(
    value: ir.Value, dims: list[Any] | None, given: Any, bound: Mapping[str, int], names: Names, with_defaults: bool
) -> Type:
    if isinstance(given, (TensorType, SequenceType)):
        return given
    kind, constant = value.type, value.const_value
    if type(kind) is not ir.TensorType and constant is None:
        return type_of(value, names.fresh) or UNKNOWN
    dtype: ir.DataType = constant.dtype if constant is not None else kind.dtype  # type: ignore[union-attr]  # no None
    sizes = content = None
    if dims is not None:
        name = value.name or "input"
        sizes = tuple(
            [
                dim if dim.__class__ is int else _size(dim, f"{name}_{axis}", bound, names)
                for axis, dim in enumerate(dims)
            ]
        )
    if constant is not None and with_defaults:
        content = tensor_type(constant).content
    if content is None and sizes is not None:
        content = _names_of_elements(value, dtype, sizes, names)
    return TensorType(dtype, sizes, content)


def _check(graph: ir.Graph, given: Given, shapes: Mapping[ir.Value, list[Any] | None]) -> None:
    """Check that what the caller says is of this graph."""
    inputs = {value.name: value for value in graph.inputs}
    dims = [dim for shape in shapes.values() for dim in shape or ()]
    known = _symbol_names(dims)
    for name, said in given.items():
        value = inputs.get(name)
        if value is None:
            if name not in known:
                there_are = ", ".join([*(item or "" for item in inputs), *sorted(known)])
                raise GivenError(name, "must be an input of the model or a dim of one", f"a model with {there_are}")
            continue
        if isinstance(said, int) and name not in known:
            raise GivenError(name, "must be a shape, as it is an input", said)
        shape = shapes[value]
        if value.shape is not None and shape is not None and len(shape) != len(value.shape):
            raise GivenError(name, f"must have {len(value.shape)} dims", len(shape))


def _symbol_names(dims: Iterable[Any]) -> set[str]:
    names: set[str] = set()
    for dim in dims:
        size = parse(dim) if isinstance(dim, str) else dim
        names |= size.free_symbols() if type(size) is Dim else set()
    return names


def _declared(value: ir.Value, given: Given) -> list[Any] | None:
    """The dims of an input: ints, ours, texts or None."""
    said = given.get(value.name or "") if given else None
    if said is not None and not isinstance(said, (int, TensorType, SequenceType)):
        return list(said)
    return None if value.shape is None else [_said(dim) for dim in value.shape.dims]


def _said(dim: int | ir.SymbolicDim) -> Any:
    """An int, a dim of ours, a text, or None; some programs write -1 for a size that they do not know."""
    if isinstance(dim, int):
        return dim if dim >= 0 else None
    return dim if type(dim) is Dim else dim.value


def _size(dim: Any, name: str, bound: Mapping[str, int], names: Names) -> Size:
    if isinstance(dim, str):
        if dim in bound:
            return bound[dim]
        size: Size = names.symbols.get(dim) or names.formula(dim)
    elif dim is None:
        size = symbol(names.unused(name))
    else:
        size = dim
    return size.substitute(bound) if bound and type(size) is Dim else size


def _names_of_elements(
    value: ir.Value, dtype: ir.DataType, dims: tuple[Size, ...], names: Names
) -> tuple[Dim, ...] | None:
    """Names for the elements of a small integer input: sizes may depend on them."""
    if dtype not in (ir.DataType.INT64, ir.DataType.INT32) or len(dims) > 1:
        return None
    count = dims[0] if dims else 1
    if not isinstance(count, int) or count > 8:
        return None
    name = value.name or "input"
    wanted = [f"{name}_value_{place}" for place in range(count)] if dims else [name]
    return tuple([symbol(names.unused(item), minimum=None) for item in wanted])
