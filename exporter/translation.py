"""From the captured graph to ONNX: one lowering rule per node."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any

import onnx_ir as ir
import torch
from torch import fx

from aten_lowering.builder import Builder, Value, dims
from aten_lowering.complexes import Complex
from aten_lowering.dtypes import from_torch
from aten_lowering.errors import ExportError, LoweringError, MissingRuleError
from aten_lowering.quotients import SIZE_FUNCTIONS
from aten_lowering.registry import Rule, RuleRegistry, complex_registry
from exporter.capture.custom_functions import warn_ignored
from exporter.capture.graph import CapturedGraph, live_nodes
from exporter.capture.sizes import SAMPLES
from exporter.capture.tensors import Spec
from exporter.control_flow import CONTROL_FLOW, with_inner
from exporter.decomposition import decompose
from exporter.profile.timeline import RuleTime, current
from exporter.profile.watching import watch_translator
from exporter.signature import Signature
from exporter.symbolics import SymbolicFailed, symbolic_rule
from exporter.weights import weight
from shape_inference import Dim, Size, TensorType

aten = torch.ops.aten
_OVERLOAD_AND_MODULE: dict[str, Callable[[fx.Node], str]] = {
    "overload": lambda node: str(node.target),
    "module": lambda node: str(node.meta.get("module", "")),
}
# What each level of metadata tells of an ONNX node, under "fx2onnx.<key>".
METADATA: dict[str, dict[str, Callable[[fx.Node], str]]] = {
    "none": {},
    "overload": _OVERLOAD_AND_MODULE,
    "source": {**_OVERLOAD_AND_MODULE, "source": lambda node: str(node.meta.get("source") or "")},
}


class Translator:
    """Translates captured graphs into the graph of one builder.

    Attributes:
        op: the builder.
        decisions: what the code of the model, and of decompositions, decided by dynamic sizes.
        origins: ONNX node name -> the captured node that it came from.
    """

    def __init__(self, op: Builder, rules: RuleRegistry, metadata: str = "none") -> None:
        self.op, self.rules = op, rules
        self._metadata = METADATA[metadata]
        self._decomposed: dict[fx.Node, CapturedGraph] = {}
        self._state: dict[int, Value] = {}
        self._values: dict[fx.Node, Any] = {}
        self._checked: set[tuple[Dim, tuple[int, ...]]] = set()
        self._samples: list[dict[str, int]] = [{}]
        self._timeline, self._times = current(), dict[Any, RuleTime]()
        if self._timeline.spans is not None:
            watch_translator(self, self._timeline.spans)
        self._ignored: set[type] = set()  # Functions whose `symbolic` cannot be used

    def inputs(self, signature: Signature) -> list[Value]:
        """The inputs of the ONNX graph, with the names of their dynamic dims."""
        values, symbols = [], signature.symbols()
        self._samples = [{n: sizes[i] for n, sizes in signature.sample_sizes.items()} for i in range(SAMPLES)]
        for index in signature.tensor_indices:
            name = signature.input_names[index]
            leaf = signature.leaves[index]
            shape = signature.symbolic_shape(index, symbols)
            if leaf.is_complex():
                shape.append(2)
            self.op.unique(name)
            value = Value(name=name)
            number = signature.symbolic_number(index, symbols)
            content = None if number is None else (number,)
            self.op.set_type(value, TensorType(from_torch(leaf.dtype), tuple(shape), content))
            if isinstance(number, Dim):
                self.op.source(number, value, None)
            values.append(value)
        return values

    def further_inputs(self, captured: CapturedGraph, count: int) -> list[Value]:
        """The inputs behind the first `count`, which are those of the signature: static tensors of a training step."""
        values = []
        for node in [node for node in captured.graph.nodes if node.op == "placeholder"][count:]:
            ((spec,),) = node.meta["specs"]
            value = Value(name=self.op.unique(str(node.target)))
            self.op.set_type(value, TensorType(from_torch(spec.dtype), spec.shape))
            values.append(value)
        return values

    def translate(self, captured: CapturedGraph, inputs: Sequence[Any]) -> list[Any]:
        """Emit the nodes of a captured graph and return its outputs: values, sizes or constants.

        Raises:
            MissingRuleError: some overloads have no rule and no decomposition; it names them all.
            LoweringError: a rule cannot express a call; it names the user's line.
        """
        self.decisions = captured.decisions
        wanted = [*captured.outputs, *captured.mutations.values()]
        live = live_nodes(captured.graph, [item for item in wanted if isinstance(item, fx.Node)])
        with self._timeline.phase("decomposition") as phase:
            self._find_missing(live)
            phase.counts(len(self._decomposed), "ATen calls")
        return self._run(captured, live, inputs, self._values)

    def translate_inner(
        self, captured: CapturedGraph, op: Builder, inputs: Sequence[Any], outside: Mapping[fx.Node, Any]
    ) -> list[Any]:  # fmt: skip
        """Emit the nodes of a branch or a loop's body through a builder of its own, and return its outputs.

        Args:
            captured: the graph of the function.
            op: the builder of the subgraph.
            inputs: what each round gives it.
            outside: what the nodes of the graphs around that it uses became.
        """
        around, self.op = self.op, op
        try:
            return self._run(captured, live_nodes(captured.graph, captured.outputs), inputs, dict(outside))
        finally:
            self.op = around

    def size_of(self, node: fx.Node, axis: int) -> Size | None:
        """The formula of a size of a translated tensor; None where it is not known."""
        value = self._values.get(node)
        if not isinstance(value, Value) or value.shape is None or not -len(value.shape) <= axis < len(value.shape):
            return None
        return dims(value)[axis]

    def value_of(self, node: fx.Node) -> Any:
        """What a node of the translated graph became: a value, several, a size, or None where it was not needed."""
        return self._values.get(node)

    def rule_of(self, node: fx.Node) -> Callable[..., Any] | None:
        """The function that lowers a node; None where it is decomposed."""
        rule = self._rule(node.target, _touches_complex(node))
        return _OWN.get(node.target) if rule is None else rule.function

    # Inside.

    def _find_missing(self, live: Sequence[fx.Node]) -> None:
        missing: dict[str, list[str]] = {}
        for node in with_inner(live):
            if not self._is_covered(node, ()):
                missing.setdefault(str(node.target), []).append(str(node.meta.get("source") or "the model"))
        if missing:
            raise MissingRuleError(missing)

    def _is_covered(self, node: fx.Node, above: tuple[Any, ...]) -> bool:
        """Whether the node's target has a rule, or decomposes into some that have; `above` are under way."""
        target: Any = node.target
        if node.op != "call_function" or target in SIZE_FUNCTIONS or target in _OWN:
            return True
        if self._rule(target, _touches_complex(node)) is not None:
            return True
        if target in above or (pieces := decompose(node)) is None:
            return False
        outputs = [item for item in pieces.outputs if isinstance(item, fx.Node)]
        if not all(self._is_covered(piece, (*above, target)) for piece in live_nodes(pieces.graph, outputs)):
            return False
        self._decomposed[node] = pieces
        self.decisions += pieces.decisions
        return True

    def _run(
        self, captured: CapturedGraph, live: Sequence[fx.Node], inputs: Sequence[Any], values: dict[fx.Node, Any]
    ) -> list[Any]:
        """Translate the live nodes; `values` takes what each became."""
        placeholders = (node for node in captured.graph.nodes if node.op == "placeholder")
        values.update(zip(placeholders, inputs, strict=True))
        for node in live:
            if node.op == "get_attr":
                values[node] = self._weight(str(node.target), captured.state[str(node.target)])
            elif node.op == "call_function":
                try:
                    values[node] = self._call(node, values)
                except ExportError as error:
                    error.source = error.source or str(node.meta.get("source") or "")
                    raise
        outputs = [values[item] if isinstance(item, fx.Node) else item for item in captured.outputs]
        return outputs + [values[node] for node in captured.mutations.values()]

    def _call(self, node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
        target: Any = node.target
        is_complex = _touches_complex(node)
        rule = self._rule(target, is_complex)
        if target in self._ignored and node not in self._decomposed:
            self._find_missing([node])  # its `symbolic` failed at an earlier call
        if rule is None and node in self._decomposed:
            return self._pieces(node, values)
        lookup = _tagged(values) if is_complex and target not in _OWN else values.__getitem__
        args, kwargs = _mapped(node.args, lookup), _mapped(node.kwargs, lookup)
        if target in _OWN:
            return _OWN[target](self, node, *args)
        if target in SIZE_FUNCTIONS:
            return SIZE_FUNCTIONS[target](self.op, *args)
        self.op.scope = node.meta.get("module", "")
        if self._metadata:
            told = {f"fx2onnx.{kind}": of(node) for kind, of in self._metadata.items()}
            self.op.metadata = {kind: text for kind, text in told.items() if text}
        assert rule is not None  # `translate` reported the missing ones
        try:
            result = _untagged(self._applied(rule, args, kwargs))
        except SymbolicFailed as error:
            return self._without_symbolic(node, values, str(error))
        self._check_result(node, rule, result, values)
        return result

    def _applied(self, rule: Rule, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """What a rule returns; its time and its nodes go to its account."""
        root, overload = self.op.root, rule.overload
        account = self._times.get(overload)
        if account is None:
            account = self._times[overload] = self._timeline.rules.setdefault(str(overload), RuleTime(str(overload)))
        emitted, started = root.emitted, perf_counter()
        result = rule(self.op, args, kwargs)
        account.seconds += perf_counter() - started
        account.nodes += root.emitted - emitted
        account.calls += 1
        return result

    def _without_symbolic(self, node: fx.Node, values: Mapping[fx.Node, Any], why: str) -> Any:
        """The result of an `autograd.Function` by what its `forward` does."""
        function: Any = node.target
        warn_ignored(function, why)
        self._ignored.add(function)
        self._find_missing([node])
        return self._pieces(node, values)

    def _rule(self, target: Any, is_complex: bool) -> Rule | None:
        """The rule for a call; calls that take or return complex tensors have rules of their own."""
        if is_complex:
            return self.rules.own(target) or complex_registry.find(target)
        rule = self.rules.find(target)
        if rule is None and isinstance(target, type) and target not in self._ignored:
            return symbolic_rule(target)
        return rule

    def _pieces(self, node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
        """The result of a decomposed call; `values` has what the call's arguments became."""
        pieces = self._decomposed[node]
        given = [values[argument] for argument in _nodes_in((node.args, node.kwargs))]
        for piece in pieces.graph.nodes:
            piece.meta["module"] = node.meta.get("module", "")
            piece.meta["source"] = node.meta.get("source")
        outputs = [item for item in pieces.outputs if isinstance(item, fx.Node)]
        results = self._run(pieces, live_nodes(pieces.graph, outputs), given, {})
        if not pieces.is_sequence:
            return results[0]
        return [result for result in results if result is not None]  # a gradient that nobody asked for is no result

    def _check_result(self, node: fx.Node, rule: Rule, result: Any, values: Mapping[fx.Node, Any]) -> None:
        """Hold the rule to what torch says of its results: dtypes, and sizes where both are known."""
        results = result if isinstance(result, (list, tuple)) else [result]
        if results == [None]:
            raise LoweringError(f"{rule.overload}: the rule must return 1 result, got None")
        limited = node.meta.get("limited", ())
        for value, specs in zip(results, node.meta.get("specs", ()), strict=False):
            if not isinstance(value, Value) or isinstance(value.type, ir.SequenceType):
                continue
            expected = from_torch(specs[0].dtype)
            if value.dtype in (None, ir.DataType.UNDEFINED):
                self._set_type(value, specs, limited, _sizes_of(node, values))
                continue
            if value.dtype != expected:
                raise LoweringError(f"{rule.overload}: the rule must return {expected}, got {value.dtype}")
            self._check_shape(value, specs, limited, rule)

    def _set_type(
        self, value: Value, specs: tuple[Spec, ...], limited: Collection[int], known: Mapping[tuple[int, ...], Size]
    ) -> None:
        """Give the result of an op that inference does not know the type that torch says it has."""
        shape: list[Size] = [
            size if type(size) is int else known.get(size) or self.op.fresh("size")
            for size in _sizes_at_samples(specs, limited)
        ]
        self.op.set_type(value, TensorType(from_torch(specs[0].dtype), tuple(shape)))

    def _check_shape(self, value: Value, specs: tuple[Spec, ...], limited: Collection[int], rule: Rule) -> None:
        expected = _sizes_at_samples(specs, limited)
        if value.shape is None:
            shape = [n if type(n) is int else self.op.fresh("size") for n in expected]
            self.op.set_type(value, TensorType(value.dtype, tuple(shape)))  # type: ignore[arg-type]  # its dtype is known
            return
        inferred = dims(value)
        wrong = len(inferred) != len(expected) or any(
            type(a) is int and type(b) is int and a != b for a, b in zip(inferred, expected, strict=True)
        )
        if wrong:
            raise LoweringError(
                f"{rule.overload}: the rule must return shape {expected}, got {list(map(str, inferred))}"
            )
        shape = [
            b if type(b) is int and not self._is_formula(a) else a for a, b in zip(inferred, expected, strict=True)
        ]
        if shape != list(inferred):
            self.op.set_type(value, TensorType(value.dtype, tuple(shape), self.op.content(value)))  # type: ignore[arg-type]  # the same
        for size, samples in zip(inferred, expected, strict=True):
            if isinstance(size, Dim) and type(samples) is tuple and (size, samples) not in self._checked:
                self._checked.add((size, samples))
                self._check_size(size, samples, rule)

    def _is_formula(self, size: Size) -> bool:
        """Whether a size is known in terms of named dims, so that a constant at the samples tells no more."""
        return isinstance(size, Dim) and {str(symbol) for symbol in size.symbols()} <= self._samples[0].keys()

    def _check_size(self, size: Dim, samples: tuple[int, ...], rule: Rule) -> None:
        """Hold a formula to the sizes that torch gave at the samples, where it is one of named dims."""
        if all(samples):
            self.op.root.equal_sizes.present([size])
        if not self._is_formula(size):
            return
        found = tuple(size.evaluate(bindings) for bindings in self._samples)
        if found != samples:
            raise LoweringError(f"{rule.overload}: the rule must return sizes {samples}, got {size}, which is {found}")

    def _weight(self, name: str, tensor: torch.Tensor) -> Value:
        known = self._state.get(id(tensor))
        if known is None:
            stored = weight(tensor, name)
            small = tensor.numel() <= 64 and not tensor.is_floating_point() and not tensor.is_meta
            contents = stored.numpy() if small and not tensor.is_complex() else None
            known = self._state[id(tensor)] = self.op.weight(self.op.unique(name), stored, contents)
        return known

    # What is no overload.

    def _size_of(self, node: fx.Node, value: Value, axis: int) -> Size:
        return dims(value)[axis]

    def _item(self, node: fx.Node, value: Value) -> Any:
        """`tensor.item()`: a symbolic size for an integer, the value itself for any other number."""
        content = self.op.content(value)
        if content is not None and len(content) == 1:
            return content[0]
        scalar = self.op.reshape(value, [])
        if value.dtype is None or not value.dtype.is_integer():
            return scalar
        size = self.op.fresh("item")
        self.op.source(size, self.op.cast(scalar, ir.DataType.INT64), None)
        return size

    def _part(self, node: fx.Node, values: Sequence[Any], index: int) -> Any:
        if index >= len(values) or values[index] is None:
            called: Any = node.args[0]
            raise LoweringError(
                f"{called.target}: its result {index} is used, which the rule does not compute",
                hint="give a rule of yours: export(..., lowerings={overload: rule})",
            )
        return values[index]


_OWN: dict[Any, Callable[..., Any]] = {
    aten.sym_size.int: Translator._size_of,
    aten._local_scalar_dense.default: Translator._item,
    operator.getitem: Translator._part,
    **CONTROL_FLOW,
}


def _is_complex(node: fx.Node) -> bool:
    """Whether a captured node is a complex tensor, or returns one among others."""
    known: bool | None = node.meta.get("complex")
    if known is None:
        known = node.meta["complex"] = any(column[0].dtype.is_complex for column in node.meta.get("specs", ()))
    return known


def _touches_complex(node: fx.Node) -> bool:
    """Whether a captured node takes or returns a complex tensor."""
    return _is_complex(node) or any(map(_is_complex, node.all_input_nodes))


def _tagged(values: Mapping[fx.Node, Any]) -> Callable[[fx.Node], Any]:
    """Look up what nodes became, complex tensors marked as such."""
    return lambda node: Complex(values[node]) if _is_complex(node) else values[node]


def _untagged(result: Any) -> Any:
    """What a rule returned, with complex tensors as real ones with a last dimension of 2."""
    if isinstance(result, Complex):
        return result.value
    if isinstance(result, (list, tuple)):
        return [_untagged(item) for item in result]
    return result


def _sizes_at_samples(specs: tuple[Spec, ...], limited: Collection[int]) -> list[Any]:
    """Each size of a result: a number, or one for each sample where they differ, or where it is among `limited`."""
    columns = zip(*(spec.shape for spec in specs), strict=True)
    sizes: list[Any] = [n[0] if n.count(n[0]) == len(n) and n[0] not in limited else n for n in columns]
    return [*sizes, 2] if specs[0].dtype.is_complex else sizes


def _sizes_of(node: fx.Node, values: Mapping[fx.Node, Any]) -> dict[tuple[int, ...], Size]:
    """A dynamic size of an argument at each sample -> its formula."""
    known: dict[tuple[int, ...], Size] = {}
    for argument in node.all_input_nodes:
        value, columns = values[argument], argument.meta.get("specs", ())
        if isinstance(value, Value) and value.shape is not None and len(columns) == 1:
            samples = zip(*(spec.shape for spec in columns[0]), strict=True)
            known.update((s, size) for s, size in zip(samples, dims(value), strict=False) if isinstance(size, Dim))
    return known


def _mapped(argument: Any, lookup: Callable[[fx.Node], Any]) -> Any:
    """An argument with every captured node replaced by what it became."""
    if isinstance(argument, fx.Node):
        return lookup(argument)
    if isinstance(argument, (list, tuple)):
        return [_mapped(item, lookup) for item in argument]
    if isinstance(argument, dict):
        return {name: _mapped(item, lookup) for name, item in argument.items()}
    return argument


def _nodes_in(argument: Any) -> Iterator[fx.Node]:
    """The captured nodes in an argument, in order, as often as they stand there."""
    if isinstance(argument, fx.Node):
        yield argument
    elif isinstance(argument, (list, tuple)):
        for item in argument:
            yield from _nodes_in(item)
    elif isinstance(argument, dict):
        yield from _nodes_in(list(argument.values()))
