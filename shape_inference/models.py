"""Types every value of a model, in one pass over its nodes."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from shape_inference.dims import Dim, Size, parse, same, symbol
from shape_inference.errors import InferenceError
from shape_inference.inputs import Given, Names, input_types
from shape_inference.ordering import in_order
from shape_inference.registry import UNKNOWN, Call, NotTyped, Rule, rule_for
from shape_inference.report import Report, label
from shape_inference.signatures import Signature, signature_of
from shape_inference.types import Content, TensorType, Type
from shape_inference.values import tensor_type, type_of, write

__all__ = ["infer"]

Types = tuple[Type | None, ...]

# What a rule may raise on a node that no runtime would accept.
_MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def infer(model: ir.Model, *, inputs: Given | None = None, strict: bool = False) -> Report:
    """Type every value of a model, in place; no weight is read.

    Args:
        model: The model. Types and shapes that it has are checked, and used where inference
            alone knows less.
        inputs: What is known beyond the model: by an input's name its shape (or its type), by
            a symbol's name its size, as in `{"x": (1, 3, "h", "w"), "batch": 1}`.
        strict: Raise the first error instead of reporting all of them.

    Returns:
        What was found: every type, every error, and what stayed open and why.

    Raises:
        InferenceError: The model is not valid, and `strict` is set.
        GivenError: `inputs` has a name that the model has not, or a shape of another rank.
    """
    with _collector_paused():
        return _Inference(model, inputs or {}, strict).report()


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the garbage collector from looking, again and again, at what a pass makes: all of it stays.

    On a chain of 20,000 nodes it would take longer than the pass itself.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Unsorted(Exception):  # it is no error: the nodes are sorted then
    """A node uses what a later node makes."""


class _Plan:
    """How the nodes of one operator are typed.

    Attributes:
        function: The function of the model that they call.
        rule: The rule.
        version: The opset version that it is called with.
        signature: What the schema demands.
        repeats: Whether all that the types of outputs depend on can be compared.
        known: Results of nodes, by what they depend on.
    """

    __slots__ = ("function", "known", "repeats", "rule", "signature", "version")

    def __init__(self, function: ir.Function | None, rule: Rule, version: int, signature: Signature | None) -> None:
        self.function = function
        self.rule = rule
        self.version = version
        self.signature = signature
        self.repeats = signature is not None and signature.is_plain
        self.known: dict[object, Types] = {}


def _no_such_op(call: Call) -> Types:
    call.fail("the op must exist", f"opset {call.version}")


def _no_rule(call: Call) -> Types:
    raise NotTyped


def _by_address(items: Content | None) -> tuple[object, ...] | None:
    """Sizes or contents as a part of a key: a dim by its address, because its hash would want its text."""
    return items and tuple([(id(item),) if item.__class__ is Dim else item for item in items])


class _Inference:
    """One run over one model."""

    def __init__(self, model: ir.Model, given: Given, strict: bool) -> None:
        self._model = model
        self._given = given
        self._strict = strict
        self._types: dict[ir.Value, Type] = {}
        self._settled: set[ir.Value] = set()  # constants, whose own types stay
        self._names = Names()
        self.fresh = self._names.fresh
        self._errors: list[InferenceError] = []
        self._active: set[object] = set()
        self._cached: dict[object, tuple[Type | None, ...]] = {}
        self._attributes: Mapping[str, ir.Attr] = {}
        self._opsets: Mapping[str, int] = model.opset_imports
        self._functions = model.functions
        self._plans: dict[ir.OperatorIdentifier, _Plan] = {}
        self._interned: dict[object, TensorType] = {}
        self._alone: set[int] = set()  # the addresses of types that no others are equal to
        self._held: list[Any] = []  # types that are not shared, so that their addresses stay their own

    def report(self) -> Report:
        graph = self._model.graph
        # Before IR version 4 every initializer was an input too; since then such an input is a default.
        with_defaults = (self._model.ir_version or 4) < 4
        self._types = input_types(graph, self._given, self._names, with_defaults=with_defaults)
        self._graph(graph)
        for value in graph.outputs:
            self._outcome(value)
        types = {value: given for value, given in self._types.items() if given is not UNKNOWN}
        write(types, self._settled)
        return Report(self._errors, types, self._names.origins, self._names.data_sizes, graph)

    def _graph(self, nodes: Iterable[ir.Node]) -> None:
        """Type what the nodes make, in an order in which they can run."""
        errors, sizes = len(self._errors), set(self._names.data_sizes)
        try:
            for node in nodes:
                self._visit(node)
        except _Unsorted:
            # What was found so far is found again.
            del self._errors[errors:]
            for name in self._names.data_sizes.keys() - sizes:
                del self._names.data_sizes[name]
            for node in self._sorted(nodes):
                self._visit(node, unsorted=True)

    def _sorted(self, nodes: Iterable[ir.Node]) -> list[ir.Node]:
        """The nodes in order; those on a cycle come last, and are an error."""
        ordered, stuck = in_order(nodes)
        if stuck:
            names = ", ".join(label(node) for node in stuck[:3])
            self._fail(InferenceError(label(stuck[0]), "nodes must form no cycle", names))
        return ordered + stuck

    def _visit(self, node: ir.Node, *, unsorted: bool = False) -> None:
        """Type the outputs of one node. What is not known at all is UNKNOWN in the table of types."""
        types = self._types
        inputs: list[Type | None] = []
        for value in node.inputs:
            given = None
            if value is not None:
                given = types.get(value)
                if given is None:
                    given = types[value] = self._source(value, node, unsorted)
            inputs.append(given)
        outputs = node.outputs
        for value, result in zip(outputs, self._results(node, inputs, len(outputs))):  # noqa: B905  # a rule may give more
            if value.shape is not None or value.type is not None:
                self._names.node = node
                result = self._reconciled(value, result)
                self._held.append(result)
            types[value] = UNKNOWN if result is None else result

    def _source(self, value: ir.Value, node: ir.Node | None, unsorted: bool = True) -> Type:
        """The type of a value that no node made before: a constant, or one that nothing makes.

        Raises:
            _Unsorted: A node makes it, and the nodes are not sorted yet.
        """
        constant = value.const_value
        if constant is not None:
            if value.shape is not None:
                self._settled.add(value)
            try:
                return tensor_type(constant, self._tensor)
            except _MALFORMED as error:
                self._fail(InferenceError(f"initializer {value.name!r}", "its data must fit its shape", error))
                return UNKNOWN
        if value.producer() is not None:
            if not unsorted:
                raise _Unsorted
        elif not value.is_graph_input() and not value.is_initializer():
            name = self._names.path + (label(node) if node is not None else "graph")
            kind = "input" if node is not None else "output"
            self._fail(InferenceError(name, f"{kind} {value.name!r} must be made by a node, or be an input"))
        return type_of(value, self.fresh) or UNKNOWN

    def _tensor(self, dtype: ir.DataType, shape: tuple[Size, ...] | None, content: Content | None = None) -> TensorType:
        """The one type that stands for all that are equal to it."""
        key = id(dtype), shape, content
        known = self._interned.get(key)
        if known is None:
            known = self._interned[key] = TensorType(dtype, shape, content)
        return known

    def _results(self, node: ir.Node, inputs: list[Type | None], count: int) -> Types:
        """The types of the outputs of a node; what is like a node before is not typed again."""
        plan = self._plans.get(node.op_identifier())
        if plan is None or node.version is not None:
            plan = self._planned(node)
        attributes = {name: attr.value for name, attr in node.attributes.data.items()}
        if self._attributes:
            return self._typed(node, plan, inputs, self._resolved(node), count)
        names, alone = self._names, self._alone
        made_up = len(names.made_up)
        is_alone = alone and not alone.isdisjoint(map(id, inputs))
        if is_alone or not plan.repeats:
            results = self._typed(node, plan, inputs, attributes, count)
            self._held.append(results)
            if is_alone or len(names.made_up) != made_up:
                alone.update([id(item) for item in results if item is not None])
            return results
        values = attributes.values()
        key = (count, *map(id, inputs), *attributes, *values, *map(type, values))  # 1 is 1.0, but of another type
        known = plan.known.get(key)
        if known is not None:
            return known
        errors = len(self._errors)
        results = self._typed(node, plan, inputs, attributes, count)
        if len(names.made_up) != made_up:
            self._held.append(results)
            alone.update([id(item) for item in results if item is not None])
        elif len(self._errors) == errors:
            results = tuple([self._shared(item) if item.__class__ is TensorType else item for item in results])
            plan.known[key] = results
        return results

    def _shared(self, given: TensorType) -> TensorType:
        """The one type that stands for all that are equal to this one."""
        key = id(given.dtype), _by_address(given.shape), _by_address(given.content)
        return self._interned.setdefault(key, given)

    def _typed(
        self, node: ir.Node, plan: _Plan, inputs: list[Type | None], attributes: dict[str, Any], count: int
    ) -> Types:
        """Type the outputs of a node; what is wrong with it is noted, and nothing known of them then."""
        names = self._names
        names.node = node
        try:
            if plan.function is not None:
                return self._called(node, plan.function, inputs, attributes)
            if plan.signature is not None:
                plan.signature.check(node, inputs, attributes, count)
            results = plan.rule(
                Call(node.op_type, node.domain, plan.version, inputs, attributes, count, self.fresh, self._body)
            )
            missing = count - len(results)
            if missing:
                return results + (None,) * missing if missing > 0 else results[:count]
            return results
        except NotTyped:
            pass
        except InferenceError as error:
            self._fail(InferenceError(names.path + label(node), error.must, error.got))
        except _MALFORMED as error:
            what = f"{type(error).__name__}: {error}"
            self._fail(InferenceError(names.path + label(node), "the node must be valid", what))
        return (None,) * count

    def _planned(self, node: ir.Node) -> _Plan:
        """How nodes like this one are typed."""
        domain = "" if node.domain == "ai.onnx" else node.domain
        version = node.version or self._opsets.get(domain) or 1
        rule = rule_for(node.op_type, domain, version)
        signature = signature_of(node.op_type, domain, version)
        if rule is None:
            rule = _no_such_op if signature is None and not domain else _no_rule
        plan = _Plan(self._functions.get(node.op_identifier()), rule, version, signature)
        if node.version is None:
            self._plans[node.op_identifier()] = plan
        return plan

    def _resolved(self, node: ir.Node) -> dict[str, Any]:
        """The attributes, those of the function put in place of references."""
        attributes = {}
        for name, attr in node.attributes.items():
            source = self._attributes.get(attr.ref_attr_name) if attr.is_ref() else attr  # type: ignore[arg-type]  # a reference has a name
            if source is not None:
                attributes[name] = source.value
        return attributes

    def _body(self, graph: ir.Graph, inputs: Sequence[Type | None], dead: bool) -> tuple[Type | None, ...]:
        """Type a graph attribute for these inputs."""
        saved = self._names.node, self._errors, self._strict
        if dead:
            self._errors, self._strict = [], False
        for value, given in zip(graph.inputs, inputs, strict=False):
            self._types[value] = (type_of(value, self.fresh) if given is None else given) or UNKNOWN
            self._held.append(self._types[value])
        self._graph(graph)
        self._names.node, self._errors, self._strict = saved
        return tuple([self._outcome(value) for value in graph.outputs])

    def _outcome(self, value: ir.Value) -> Type | None:
        if value not in self._types:
            self._types[value] = self._source(value, None)
        given = self._types[value]
        return None if given is UNKNOWN else given

    def _called(
        self,
        node: ir.Node,
        function: ir.Function,
        inputs: list[Type | None],
        attributes: dict[str, Any],
    ) -> tuple[Type | None, ...]:
        """Type a call of a model-local function by typing its body for these inputs."""
        key = (function.identifier(), tuple(inputs), repr(attributes))
        if key in self._cached:
            return self._cached[key]
        if function.identifier() in self._active:
            raise InferenceError(label(node), "a function must not call itself")
        saved = self._types, self._attributes, self._opsets, self._plans, self._names.path
        made_up = len(self._names.made_up)
        self._types = {}
        self._attributes = {**function.attributes, **_as_given(node, self._attributes)}
        self._opsets = {**saved[2], **function.opset_imports}
        self._plans = {}
        self._names.path = f"{saved[4]}{label(node)} > "
        for place, value in enumerate(function.inputs):
            self._types[value] = (inputs[place] if place < len(inputs) else None) or UNKNOWN
        self._active.add(function.identifier())
        try:
            self._graph(function)
            results = tuple([self._outcome(value) for value in function.outputs])
        finally:
            self._active.discard(function.identifier())
            self._types, self._attributes, self._opsets, self._plans, self._names.path = saved
        if len(self._names.made_up) == made_up:
            self._cached[key] = results
        return results

    # -- what the model says itself --------------------------------------------------------

    def _reconciled(self, value: ir.Value, inferred: Type | None) -> Type | None:
        """Check what the model says about a value, and take from it what is not inferred."""
        if inferred is None:
            return type_of(value, self.fresh, self._names.symbols)
        if not isinstance(inferred, TensorType):
            return inferred
        dtype, said = inferred.dtype, value.type
        if type(said) is ir.TensorType and said.dtype is not dtype:
            if dtype is ir.DataType.UNDEFINED:
                dtype = said.dtype
            elif said.dtype is not ir.DataType.UNDEFINED:
                self._contradict(value, said.dtype.name, dtype.name)
        dims = self._reconciled_dims(value, inferred)
        if dtype is inferred.dtype and dims is inferred.shape:
            return inferred
        return TensorType(dtype, dims, inferred.content)

    def _reconciled_dims(self, value: ir.Value, inferred: TensorType) -> tuple[Size, ...] | None:
        said, dims = value.shape, inferred.shape
        if said is None:
            return dims
        if dims is None:
            claimed = type_of(value, self.fresh, self._names.symbols)
            return claimed.shape if isinstance(claimed, TensorType) else None
        if len(said) != len(dims):
            self._contradict(value, f"{said}", f"{inferred}")
            return dims
        result: list[Size] | None = None
        for axis, (theirs, ours) in enumerate(zip(said.dims, dims, strict=True)):
            if theirs is ours or theirs == ours:
                continue
            if isinstance(theirs, int):
                if theirs < 0:
                    continue
                if same(theirs, ours) is False:
                    self._contradict(value, f"{said}", f"{inferred}")
                    return dims
                taken: Size | None = theirs if self._is_made_up(ours) else None
            else:
                taken = self._adopted(theirs, ours)
            if taken is not None:
                result = result or list(dims)
                result[axis] = taken
        return dims if result is None else tuple(result)

    def _is_made_up(self, size: Size) -> bool:
        return type(size) is Dim and not self._names.made_up.isdisjoint(size.free_symbols())

    def _adopted(self, theirs: ir.SymbolicDim, ours: Size) -> Size | None:
        """The model's own formula, where we have but a made-up name."""
        if theirs.value is None or theirs.value in self._names.made_up or not self._is_made_up(ours):
            return None
        size = theirs if type(theirs) is Dim else parse(theirs.value, self._names.symbols)
        if type(size) is Dim:
            for name in size.free_symbols() - self._names.symbols.keys():
                self._names.symbols[name] = symbol(name)
                self._names.note(name)
        return size

    def _contradict(self, value: ir.Value, said: str, found: str) -> None:
        node = value.producer()
        name = self._names.path + (label(node) if node is not None else "input")
        must = f"output {value.name!r} must be what the model says, {said}"
        self._fail(InferenceError(name, must, found))

    def _fail(self, error: InferenceError) -> None:
        if self._strict:
            raise error
        self._errors.append(error)


def _as_given(node: ir.Node, outer: Mapping[str, ir.Attr]) -> dict[str, ir.Attr]:
    """The attributes of a function call, references replaced."""
    given = {}
    for name, attr in node.attributes.items():
        source = outer.get(attr.ref_attr_name or "") if attr.is_ref() else attr
        if source is not None:
            given[name] = source
    return given
