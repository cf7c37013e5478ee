"""`op`, through which every rule emits ONNX: each value is typed the moment it exists.

`op.Concat(a, b, axis=1)` emits a node.  Inputs may be values, Python numbers and lists (constants, of
the dtype that the op asks for), and lists with symbolic sizes in them.  A result whose contents are
known numbers (the shape of a static tensor) becomes a constant, and no node is emitted.

Lower-case methods are shorthands that choose the cheapest way to say something: `op.reshape` with
symbolic sizes needs no Shape node where -1 and 0 suffice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import onnx_ir as ir
import torch
from onnxscript import BuilderBase

from aten_lowering.dtypes import DEFAULT_DTYPES, as_dtype, from_torch
from aten_lowering.errors import LoweringError
from aten_lowering.root import Root
from aten_lowering.schemas import OpSchema, make_attribute, op_schema, type_variable
from aten_lowering.size_nodes import SizeNodes, flattening
from shape_inference import Dim, InferenceError, SequenceType, Size, TensorType, Type, same, symbol
from shape_inference.types import MAX_CONTENT

__all__ = ["Builder", "Value", "dims", "dtype", "rank"]

Value = ir.Value


def dims(value: Value) -> tuple[Size, ...]:
    """The shape of a value: integers and symbolic dims."""
    return cast("tuple[Size, ...]", cast(ir.Shape, value.shape).dims)


def rank(value: Value) -> int:
    """The number of dims of a value."""
    return len(cast(ir.Shape, value.shape))


def dtype(value: Value) -> ir.DataType:
    """The element type of a value."""
    return cast(ir.DataType, value.dtype)


class Builder(BuilderBase):
    """Emits typed ONNX nodes into one graph.

    Attributes:
        nodes: what was emitted, in order.
        opset_version: the opset that the model will have; rules choose by it.
        scope: the module path that names of new nodes begin with.
        metadata: properties that new nodes get, or None.
        target: the runtime that the user exports for, or "".
    """

    def __init__(self, opset_version: int, *, parent: Builder | None = None, target: str = "") -> None:
        super().__init__()
        self.nodes: list[ir.Node] = []
        self.opset_version = opset_version
        self.parent = parent
        self.root: Root = parent.root if parent is not None else Root(opset_version)
        self.scope: str = parent.scope if parent is not None else ""
        self.target: str = parent.target if parent is not None else target
        self.metadata: dict[str, str] | None = None
        self._sources: dict[Dim, tuple[Value, int | None]] = {}
        self._contents: dict[Dim, tuple[Value, int]] = {}
        self._sizes: dict[Any, Value] = {}
        self._scalars: dict[tuple[Size, ir.DataType], Value] = {}  # apart: (n, FLOAT) equals the sizes (n, 1)

    def __getattr__(self, op_type: str) -> Callable[..., Any]:
        if not op_type[:1].isupper():
            raise AttributeError(op_type)

        def emit(*inputs: Any, _outputs: int = 1, _domain: str = "", **attributes: Any) -> Any:
            return self.emit(op_type, inputs, attributes, outputs=_outputs, domain=_domain)

        self.__dict__[op_type] = emit
        return emit

    def emit(
        self, op_type: str, inputs: Sequence[Any], attributes: Mapping[str, Any], *, outputs: int = 1, domain: str = ""
    ) -> Any:  # fmt: skip
        """Emit a node and return its output, or a tuple of them.

        Raises:
            OpsetError: the op does not exist at this opset.
            LoweringError: the op does not take these inputs.
        """
        info = op_schema(domain, op_type, self.opset_version) if not domain else None
        values = self._inputs(inputs, info)
        types = self.root.types
        given = {name: value for name, value in attributes.items() if value is not None}
        try:
            results = self.root.infer(
                op_type, [None if value is None else self._type(value, types) for value in values], given,
                domain, outputs, self.fresh,
            )  # fmt: skip
        except InferenceError as error:
            raise LoweringError(f"{self.scope or 'model'}: {error}") from error
        if outputs == 1 and (constant := self._known(results[0])) is not None:
            return constant
        made = self._append(op_type, values, self._attributes(given, info), results, domain)
        return made[0] if outputs == 1 else made

    def call_op(  # type: ignore[override]  # the base names every option
        self, op_type: str, args: Sequence[Any], kwargs: dict[str, Any], /, **options: Any
    ) -> Any:
        """What `BuilderBase` calls; the same as `emit`."""
        return self.emit(op_type, args, kwargs, outputs=options.get("outputs", 1), domain=options.get("domain", ""))

    def _add_node(self, node: ir.Node) -> None:
        self.nodes.append(node)

    def _add_initializer(self, value: ir.Value) -> None:
        self.root.initializers[cast(str, value.name)] = value

    def _record_opset(self, domain: str, version: int | None) -> None:
        self.root.opset_imports.setdefault(domain, version or 1)

    def _append(
        self, op_type: str, inputs: Sequence[Value | None], attributes: Sequence[ir.Attr],
        types: Sequence[Type | None], domain: str,
    ) -> tuple[Value, ...]:  # fmt: skip
        name = self.unique(f"{self.scope}/{op_type}" if self.scope else op_type)
        outputs = []
        for i, inferred in enumerate(types):
            value = Value(name=name if len(types) == 1 else f"{name}.{i}")
            if inferred is not None:
                self.set_type(value, inferred)
            outputs.append(value)
        node = ir.Node(domain, op_type, inputs, attributes, outputs=outputs, name=name)
        if self.metadata is not None:
            node.metadata_props.update(self.metadata)
        if domain and domain not in self.root.opset_imports:
            self.root.opset_imports[domain] = 1
        self.nodes.append(node)
        self.root.emitted += 1
        return tuple(outputs)

    def set_type(self, value: Value, inferred: Type) -> None:
        """Give a value its type; where its dims are new, they can be computed from it from now on."""
        self.root.types[value] = inferred
        if isinstance(inferred, TensorType):
            value.type = ir.TensorType(inferred.dtype)
            if inferred.shape is not None:
                value.shape = ir.Shape(inferred.shape)
                for axis, size in enumerate(inferred.shape):
                    if isinstance(size, Dim) and size not in self._sources:
                        self._sources[size] = value, axis
            for place, number in enumerate(inferred.content or ()):
                if isinstance(number, Dim):
                    self._contents.setdefault(number, (value, place))
        elif isinstance(inferred, SequenceType) and isinstance(inferred.element, TensorType):
            value.type = ir.SequenceType(ir.TensorType(inferred.element.dtype))

    def unique(self, name: str) -> str:
        """The name, with a number behind it where it is taken."""
        names = self.root.names
        count = names.get(name)
        if count is None:
            names[name] = 1
            return name
        names[name] = count + 1
        return self.unique(f"{name}_{count}")

    def fresh(self, hint: str) -> Dim:
        """A new symbolic size."""
        return symbol(self.unique(hint))

    # Constants.

    def constant(self, value: Any, dtype: ir.DataType | None = None) -> Value:
        """A constant of numbers, a list or a numpy array; equal ones are one value."""
        array = value if isinstance(value, np.ndarray) else np.asarray(value)
        if dtype is None and array.size == 0 and not isinstance(value, np.ndarray):
            dtype = ir.DataType.INT64  # an empty list is one of sizes
        if dtype is None:
            dtype = DEFAULT_DTYPES.get(array.dtype.kind) if not isinstance(value, np.ndarray) else None
            dtype = dtype or ir.DataType.from_numpy(array.dtype)
        if array.size == 0 and not isinstance(value, np.ndarray):
            array = array.astype(np.int64)
        array = as_dtype(array, dtype)
        key = (dtype, array.shape, array.tobytes())
        known = self.root.constants.get(key)
        if known is None:
            name = self.unique(f"constant_{len(self.root.constants)}")
            known = self.weight(name, ir.Tensor(array, dtype=dtype, name=name), array)
            self.root.constants[key] = known
        return known

    def weight(self, name: str, tensor: ir.TensorProtocol, contents: np.ndarray | None = None) -> Value:
        """A tensor of the model under its name, with its contents where they are small and of use for sizes."""
        shape = cast("tuple[int, ...]", tuple(tensor.shape))
        value = Value(name=name, const_value=tensor)
        content = None
        if contents is not None and contents.size <= MAX_CONTENT and contents.dtype.kind in "iufb":
            content = tuple(contents.reshape(-1).tolist())
        self.set_type(value, TensorType(tensor.dtype, shape, content))
        self.root.initializers[name] = value
        return value

    def content(self, value: Value) -> tuple[Any, ...] | None:
        """The contents of a small value, row-major, where inference knows them."""
        known = self.root.types.get(value)
        return known.content if isinstance(known, TensorType) else None

    def _known(self, result: Type | None) -> Value | None:
        """The constant for a result that inference knows by its numbers."""
        if not isinstance(result, TensorType) or result.content is None or result.shape is None:
            return None
        for item in (*result.content, *result.shape):
            if type(item) is not int and type(item) is not bool:
                return None
        array = np.array(result.content, dtype=np.int64).reshape(cast("tuple[int, ...]", result.shape))
        return self.constant(array.astype(result.dtype.numpy()), result.dtype)

    # Sizes.

    def source(self, size: Dim, value: Value, axis: int | None) -> None:
        """Say where a symbolic size comes from: a value's axis, or (None) the number that it holds."""
        self._sources[size] = value, axis

    def size(self, size: Size) -> Value:
        """A symbolic size as an int64 value of shape [1]."""
        if isinstance(size, int):
            return self.constant([size])
        known = self._sizes.get(size)
        if known is None:
            owner = self._owner(size)
            known = self._sizes[size] = owner.size(size) if owner is not self else self._compute(size)
        return known

    def scalar(self, size: Size, dtype: ir.DataType = ir.DataType.INT64) -> Value:
        """A symbolic size as a value of rank 0."""
        if type(size) is int:
            return self.constant(size, dtype)
        key = (size, dtype)
        if key not in self._scalars:
            plain = self._scalars.get((size, ir.DataType.INT64))
            if plain is None:
                plain = self._scalars[(size, ir.DataType.INT64)] = self.Squeeze(self.size(size), [0])
            self._scalars[key] = self.cast(plain, dtype)
        return self._scalars[key]

    def shape(self, sizes: Sequence[Size]) -> Value:
        """Sizes as an int64 value of shape [n]: a constant, one Shape, or parts put together."""
        if all(type(size) is int for size in sizes):
            return self.constant(np.array(sizes, dtype=np.int64))
        key = tuple(sizes)
        if key not in self._sizes:
            parts: list[Value] = []
            place = 0
            while place < len(key):
                part, place = self._part(key, place)
                parts.append(part)
            self._sizes[key] = parts[0] if len(parts) == 1 else self.Concat(*parts, axis=0)
        return self._sizes[key]

    def _part(self, sizes: Sequence[Size], start: int) -> tuple[Value, int]:
        """The value of as many sizes as one node or constant gives, and the place behind them."""
        span = self._span(sizes, start)
        if span is not None:
            source, axis, count = span
            return self._shape_of(source, axis, axis + count), start + count
        first = next((i for i in range(start, len(sizes)) if type(sizes[i]) is not int), len(sizes))
        if first > start:
            return self.constant(np.array(sizes[start:first], dtype=np.int64)), first
        return self.size(sizes[start]), start + 1

    def _span(self, sizes: Sequence[Size], start: int) -> tuple[Value, int, int] | None:
        """A value that has the sizes from `start` on side by side, its first such axis, and how many these are."""
        first = next((i for i in range(start, len(sizes)) if type(sizes[i]) is not int), None)
        source, axis = (None, None) if first is None else self._sources.get(cast(Dim, sizes[first]), (None, None))
        if first is None or source is None or axis is None or axis < first - start:
            return None
        old, offset = dims(source), axis - first
        end = start
        while end < len(sizes) and end + offset < len(old) and sizes[end] == old[end + offset]:
            end += 1
        return (source, start + offset, end - start) if end > first and end - start > 1 else None

    def _shape_of(self, value: Value, start: int, end: int) -> Value:
        """The sizes of some axes of a value, read off it."""
        limits = {"start": start, "end": end} if (start, end) != (0, rank(value)) else {}
        attributes = self._attributes(limits, op_schema("", "Shape", self.opset_version))
        inferred = TensorType(ir.DataType.INT64, (end - start,), dims(value)[start:end])
        return self._append("Shape", [value], attributes, [inferred], "")[0]

    def _owner(self, size: Dim) -> Builder:
        """The outermost builder that can compute a size."""
        if self.parent is not None and (
            self.parent.has_source(size) or all(map(self.parent.has_source, size.symbols()))
        ):
            return self.parent._owner(size)
        return self

    def has_source(self, size: Dim) -> bool:
        """Whether a size can be read off a value of this graph or one around it."""
        known = size in self._sources or size in self._contents
        return known or (self.parent is not None and self.parent.has_source(size))

    def _compute(self, size: Dim) -> Value:
        source = self._sources.get(size)
        if source is None and size in self._contents and size.symbols() == {size}:
            value, place = self._contents[size]
            return self.Slice(self.reshape(value, [math.prod(dims(value))]), [place], [place + 1])
        if source is None:
            return size.lower(SizeNodes(self))
        value, axis = source
        if axis is None:
            return self.reshape(value, [1])
        return self._shape_of(value, axis, axis + 1)

    # Shorthands.

    def cast(self, value: Value, dtype: ir.DataType) -> Value:
        """The value as another element type; itself where it is that already."""
        return value if value.dtype == dtype else self.Cast(value, to=dtype)

    def reshape(self, value: Value, sizes: Sequence[Size]) -> Value:
        """The value in another shape, whose sizes are all given."""
        old = dims(value)
        if len(old) == len(sizes) and all(a == b for a, b in zip(old, sizes, strict=True)):
            return value
        target: list[Size] = list(sizes)
        if any(size == 0 for size in target if type(size) is int):
            return self.Reshape(value, self.shape(target), allowzero=1)
        open_axes = [i for i, size in enumerate(target) if type(size) is not int]
        for axis in open_axes if len(open_axes) > 1 else ():
            if axis < len(old) and same(old[axis], target[axis]):
                target[axis] = 0
        open_axes = [i for i, size in enumerate(target) if type(size) is not int]
        if len(open_axes) > 1 and len(target) == 2 and (cut := flattening(old, sizes)) is not None:
            return self.sized(self.Flatten(value, axis=cut), sizes)
        if len(open_axes) > 1 and (span := self._span(sizes, 0)) is not None and span[2] == len(sizes):
            target = list(sizes)
        elif open_axes:
            computed = (axis for axis in open_axes if sizes[axis] not in self._sources)
            target[next(computed, open_axes[-1])] = -1
        return self.sized(self.Reshape(value, self.shape(target)), sizes)

    def expand(self, value: Value, sizes: Sequence[Size]) -> Value:
        """The value broadcast to a shape; itself where it has that already."""
        old = dims(value)
        if len(old) == len(sizes) and all(a == b for a, b in zip(old, sizes, strict=True)):
            return value
        span = self._span(sizes, 0)
        stretches = self._stretches(old, sizes)
        if len(old) == len(sizes) and all(type(size) is int and size == 1 for size in stretches):
            return value
        if span is None or span[2] < len(sizes) or all(type(size) is int for size in stretches):
            return self.sized(self.Expand(value, self.shape(stretches)), sizes)
        return self.sized(self.Expand(value, self.shape(sizes)), sizes)

    def _stretches(self, old: Sequence[Size], sizes: Sequence[Size]) -> list[Size]:
        """What to expand by: 1 where the size stays."""
        new = len(sizes) - len(old)
        return [1 if i >= new and same(old[i - new], size) else size for i, size in enumerate(sizes)]

    def sized(self, value: Value, sizes: Sequence[Size]) -> Value:
        """The value; its sizes are these, though inference may not see that."""
        inferred = self.root.types.get(value)
        if isinstance(inferred, TensorType) and inferred.shape != tuple(sizes):
            self.set_type(value, TensorType(inferred.dtype, tuple(sizes), inferred.content))
        return value

    def squeeze(self, value: Value, axes: Sequence[int]) -> Value:
        """The value without the given axes, each of size 1."""
        return self.Squeeze(value, list(axes)) if axes else value

    def unsqueeze(self, value: Value, axes: Sequence[int]) -> Value:
        """The value with axes of size 1 put in."""
        return self.Unsqueeze(value, list(axes)) if axes else value

    def transpose(self, value: Value, permutation: Sequence[int]) -> Value:
        """The value with its axes in another order; itself where the order stays."""
        order = [axis % len(permutation) for axis in permutation]
        return value if order == sorted(order) else self.Transpose(value, perm=order)

    def slice(self, value: Value, axis: int, start: Size, end: Size, step: int = 1) -> Value:
        """`value[start:end:step]` on one axis, 0 <= start <= end <= size of the axis."""
        axis %= rank(value)
        if start == 0 and step == 1 and end == dims(value)[axis]:
            return value
        limit: Size = 2**63 - 1 if type(end) is not int and end == dims(value)[axis] else end
        return self.Slice(value, self.shape([start]), self.shape([limit]), [axis], [step])

    def reduce(self, op_type: str, value: Value, axes: Sequence[int], keepdims: bool = False) -> Value:
        """A reduction over axes, given as the opset wants them; over none, the value itself."""
        if not axes:
            return value
        axes = [axis % rank(value) for axis in axes]  # onnxruntime does not fold an empty axis by a negative number
        if self.opset_version >= 18 or op_type == "ReduceSum":
            return cast(Value, self.emit(op_type, [value, axes], {"keepdims": int(keepdims)}))
        return cast(Value, self.emit(op_type, [value], {"axes": axes, "keepdims": int(keepdims)}))

    def split(self, value: Value, sizes: Sequence[Size], axis: int) -> tuple[Value, ...]:
        """The value cut into parts of the given sizes along an axis."""
        if len(sizes) == 1:
            return (value,)
        return cast("tuple[Value, ...]", self.Split(value, self.shape(sizes), axis=axis, _outputs=len(sizes)))

    # Subgraphs and functions.

    def subgraph(
        self, body: Callable[..., Sequence[Value]], inputs: Sequence[tuple[str, Type]] = (), name: str = "body"
    ) -> ir.Graph:  # fmt: skip
        """A graph for If, Loop or Scan: `body(op, *inputs)` returns its outputs.

        The body may use values from outside.  Each output is a node's own.
        """
        inner = Builder(self.opset_version, parent=self)
        values = []
        for hint, inferred in inputs:
            value = Value(name=self.unique(hint))
            inner.set_type(value, inferred)
            values.append(value)
        results = list(body(inner, *values))
        own = {output for node in inner.nodes for output in node.outputs}
        for i, result in enumerate(results):
            if result not in own or result in results[:i]:
                results[i] = inner._append("Identity", [result], [], [inner.type(result)], "")[0]
        return ir.Graph(values, results, nodes=inner.nodes, name=self.unique(name))

    def type(self, value: Value) -> TensorType:
        """The inferred type of a value."""
        return cast(TensorType, self._type(value, self.root.types))

    def _type(self, value: Value, types: Mapping[Value, Type]) -> Type:
        known = types.get(value)
        if known is not None:
            return known
        shape = None if value.shape is None else cast("tuple[Size, ...]", value.shape.dims)
        return TensorType(value.dtype or ir.DataType.UNDEFINED, shape)

    def _inputs(self, inputs: Sequence[Any], info: OpSchema | None) -> list[Value | None]:
        """The inputs as values; Python numbers take the dtype that the schema asks for."""
        if all(isinstance(value, Value) for value in inputs):
            return list(inputs)
        bound: dict[str, ir.DataType] = {}
        names = [type_variable(info, i) for i in range(len(inputs))]
        for name, value in zip(names, inputs, strict=True):
            if isinstance(value, Value) and value.dtype is not None:
                bound.setdefault(name, value.dtype)
        values: list[Value | None] = []
        for name, value in zip(names, inputs, strict=True):
            if value is None or isinstance(value, Value):
                values.append(value)
            else:
                values.append(self._literal(value, bound.get(name) or _FIXED.get(name)))
        while values and values[-1] is None:
            values.pop()
        return values

    def _literal(self, value: Any, dtype: ir.DataType | None) -> Value:
        if isinstance(value, Dim):
            return self.scalar(value, dtype or ir.DataType.INT64)
        if isinstance(value, (list, tuple)) and any(isinstance(item, Dim) for item in value):
            return self.shape(value)
        if isinstance(value, torch.Tensor):
            return self.constant(value.numpy(), from_torch(value.dtype))
        return self.constant(value, dtype)

    def _attributes(self, attributes: Mapping[str, Any], info: OpSchema | None) -> list[ir.Attr]:
        return [self._attribute(name, value, info) for name, value in attributes.items()]

    def _attribute(self, name: str, value: Any, info: OpSchema | None) -> ir.Attr:
        kind = info.attribute_types.get(name) if info is not None else None
        if info is not None and kind is None:
            raise LoweringError(
                f"{self.scope or 'model'}: the op has no attribute {name!r} at opset {self.opset_version}"
            )
        return make_attribute(name, value, kind)


_FIXED = {
    "tensor(int64)": ir.DataType.INT64,
    "tensor(bool)": ir.DataType.BOOL,
    "tensor(float)": ir.DataType.FLOAT,
}
