"""Types every value of a model, in one pass over its nodes."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from shape_inference.dims import Dim, Size, parse, same, symbol
from shape_inference.errors import InferenceError
from shape_inference.inputs import Given, Names, input_types
from shape_inference.ordering import in_order
from shape_inference.registry import UNKNOWN, Call, NotTyped, Rule, rule_for
from shape_inference.report import Report, label
from shape_inference.signatures import ANY, Signature, signature_of
from shape_inference.types import TensorType, Type
from shape_inference.values import tensor_type, type_of, write

__all__ = ["infer"]

Types = tuple[Type | None, ...]

# What a rule may raise on a node that no runtime would accept.
_MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def infer(model: ir.Model, *, inputs: Given | None = None, strict: bool = False) -> Report:
    """Type every value of a model, in place; no weight is read.

    The garbage collector does not run meanwhile: all that a pass makes stays, and looking at it again and
    again would take longer than the pass itself.

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
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return _Inference(model, inputs or {}, strict).report()
    finally:
        if was_enabled:
            gc.enable()


class _Unsorted(Exception):  # it is no error: the nodes are sorted then
    """A node uses what a later node makes."""


class _Types(dict[ir.Value, Type]):
    """The type of each value; that of one that no node made is sought when a node asks for it.

    Args:
        source: Says what the type is.
    """

    __slots__ = ("_source",)

    def __init__(self, source: Callable[[ir.Value], Type]) -> None:
        self._source = source

    def __missing__(self, value: ir.Value | None) -> Type | None:
        if value is None:
            return None
        given = self[value] = self._source(value)
        return given


@dataclass(slots=True)
class _Plan:
    """How the nodes of one operator are typed.

    Attributes:
        rule: The rule; for a function of the model, its body.
        signature: What the schema demands.
        call: What the rule is given, filled anew for each node.
    """

    rule: Rule
    signature: Signature
    call: Call


def _no_such_op(call: Call) -> Types:
    call.fail("the op must exist", f"opset {call.version}")


def _no_rule(call: Call) -> Types:
    raise NotTyped


class _Inference:
    """One run over one model."""

    def __init__(self, model: ir.Model, given: Given, strict: bool) -> None:
        self._model = model
        self._given = given
        self._strict = strict
        self._types = _Types(self._source)
        self._settled: set[ir.Value] = set()  # constants, whose own types stay
        self._names = Names()
        self.fresh = self._names.fresh
        self._errors: list[InferenceError] = []
        self._active: set[object] = set()
        self._cached: dict[object, Types] = {}
        self._attributes: Mapping[str, ir.Attr] = {}
        self._opsets: Mapping[str, int] = model.opset_imports
        self._functions = model.functions
        self._plans: dict[ir.OperatorIdentifier, _Plan] = {}
        self._is_sorted = False

    def report(self) -> Report:
        graph = self._model.graph
        # Before IR version 4 every initializer was an input too; since then such an input is a default.
        with_defaults = (self._model.ir_version or 4) < 4
        self._types.update(input_types(graph, self._given, self._names, with_defaults=with_defaults))
        self._graph(graph)
        self._outcomes(graph)
        types = {value: given for value, given in self._types.items() if given is not UNKNOWN}
        write(types, self._settled)
        del self._types, self._plans  # they refer back: without them this goes when it is done, not with the collector
        return Report(self._errors, types, self._names.origins, self._names.data_sizes, graph)

    def _graph(self, nodes: Iterable[ir.Node]) -> None:
        """Type what the nodes make, in an order in which they can run."""
        errors, sizes, was_sorted = len(self._errors), set(self._names.data_sizes), self._is_sorted
        self._is_sorted = False
        try:
            self._run(nodes)
        except _Unsorted:
            # What was found so far is found again.
            del self._errors[errors:]
            for name in self._names.data_sizes.keys() - sizes:
                del self._names.data_sizes[name]
            self._is_sorted = True
            self._run(self._sorted(nodes))
        self._is_sorted = was_sorted

    def _sorted(self, nodes: Iterable[ir.Node]) -> list[ir.Node]:
        """The nodes in order; those on a cycle come last, and are an error."""
        ordered, stuck = in_order(nodes)
        if stuck:
            names = ", ".join(label(node) for node in stuck[:3])
            self._fail(InferenceError(label(stuck[0]), "nodes must form no cycle", names))
        return ordered + stuck

    def _run(self, nodes: Iterable[ir.Node]) -> None:
        """Type what nodes make, one after the other; what is not known at all is UNKNOWN in the table of types.

        This is the loop that a pass spends its time in: what it uses is at hand, and what is rare is elsewhere.
        """
        names, types, plans, outer = self._names, self._types, self._plans, self._attributes
        results: Types
        for node in nodes:
            names.node = node
            inputs: list[Type | None] = [types[value] for value in node.inputs]  # type: ignore[index]  # None is of no type
            outputs = node.outputs
            try:
                plan = plans.get(node.op_identifier())
                if plan is None or node.version is not None:
                    plan = self._planned(node)
                signature, call = plan.signature, plan.call
                call.inputs, call.output_count = inputs, len(outputs)
                signature.check(node, inputs, len(outputs))
                call.attributes = signature.attributes(node, outer)
                results = plan.rule(call)
            except NotTyped:
                results = ()
            except (InferenceError, *_MALFORMED) as error:
                self._fail(self._named(node, error))
                results = ()
            if len(results) < len(outputs):
                results += (None,) * (len(outputs) - len(results))
            for value, result in zip(outputs, results):  # noqa: B905  # a rule may give more
                if value.shape is not None or value.type is not None:
                    result = self._reconciled(value, result)
                types[value] = UNKNOWN if result is None else result

    def _named(self, node: ir.Node, error: Exception) -> InferenceError:
        """What a rule raised, as an error that names the node."""
        name = self._names.path + label(node)
        if isinstance(error, InferenceError):
            return InferenceError(name, error.must, error.got)
        return InferenceError(name, "the node must be valid", f"{type(error).__name__}: {error}")

    def _source(self, value: ir.Value) -> Type:
        """The type of a value that no node made before: a constant, or one that nothing makes.

        Raises:
            _Unsorted: A node makes it, and the nodes are not sorted yet.
        """
        constant = value.const_value
        if constant is not None:
            if value.shape is not None:
                self._settled.add(value)
            try:
                return tensor_type(constant)
            except _MALFORMED as error:
                self._fail(InferenceError(f"initializer {value.name!r}", "its data must fit its shape", error))
                return UNKNOWN
        if value.producer() is not None:
            if not self._is_sorted:
                raise _Unsorted
        elif not value.is_graph_input() and not value.is_initializer():
            node = self._names.node
            name = self._names.path + (label(node) if node is not None else "graph")
            kind = "input" if node is not None else "output"
            self._fail(InferenceError(name, f"{kind} {value.name!r} must be made by a node, or be an input"))
        return type_of(value, self.fresh) or UNKNOWN

    def _planned(self, node: ir.Node) -> _Plan:
        """How nodes like this one are typed."""
        domain = "" if node.domain == "ai.onnx" else node.domain
        version = node.version or self._opsets.get(domain) or 1
        function = self._functions.get(node.op_identifier())
        signature = None
        if function is not None:
            rule: Rule | None = functools.partial(self._called, function)
        else:
            rule, signature = rule_for(node.op_type, domain, version), signature_of(node.op_type, domain, version)
        if rule is None:
            rule = _no_such_op if signature is None and not domain else _no_rule
        call = Call(node.op_type, node.domain, version, (), {}, 0, self.fresh, self._body)
        plan = _Plan(rule, signature or ANY, call)
        if node.version is None:
            self._plans[node.op_identifier()] = plan
        return plan

    def _body(self, graph: ir.Graph, inputs: Sequence[Type | None], dead: bool) -> Types:
        """Type a graph attribute for these inputs."""
        saved = self._names.node, self._errors, self._strict, self._plans
        self._plans = {}  # the call of the node at hand is still used
        if dead:
            self._errors, self._strict = [], False
        for value, given in zip(graph.inputs, inputs, strict=False):
            self._types[value] = (type_of(value, self.fresh) if given is None else given) or UNKNOWN
        self._graph(graph)
        results = self._outcomes(graph)
        self._names.node, self._errors, self._strict, self._plans = saved
        return results

    def _outcomes(self, graph: ir.Graph | ir.Function) -> Types:
        """The types of what a graph gives, once its nodes are typed."""
        was_sorted, self._is_sorted = self._is_sorted, True
        self._names.node = None
        found = [self._types[value] for value in graph.outputs]
        self._is_sorted = was_sorted
        return tuple([None if given is UNKNOWN else given for given in found])

    def _called(self, function: ir.Function, call: Call) -> Types:
        """Type a call of a model-local function by typing its body for these inputs."""
        inputs, node = call.inputs, self._names.node
        assert node is not None
        key = (function.identifier(), tuple(inputs), repr(call.attributes))
        if key in self._cached:
            return self._cached[key]
        if function.identifier() in self._active:
            raise InferenceError(label(node), "a function must not call itself")
        saved = self._types, self._attributes, self._opsets, self._plans, self._names.path
        made_up = len(self._names.made_up)
        self._types = _Types(self._source)
        self._attributes = {**function.attributes, **_as_given(node, self._attributes)}
        self._opsets = {**saved[2], **function.opset_imports}
        self._plans = {}
        self._names.path = f"{saved[4]}{label(node)} > "
        for place, value in enumerate(function.inputs):
            self._types[value] = (inputs[place] if place < len(inputs) else None) or UNKNOWN
        self._active.add(function.identifier())
        try:
            self._graph(function)
            results = self._outcomes(function)
        finally:
            self._active.discard(function.identifier())
            self._types, self._attributes, self._opsets, self._plans, self._names.path = saved
            self._names.node = node
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
