"""If, Loop and Scan: operators that run graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from shape_inference.broadcasting import unified
from shape_inference.dims import Dim, Size, same
from shape_inference.registry import Call, NotTyped, infers
from shape_inference.rules.sequences import common, symbols_in, without_content
from shape_inference.types import OptionalType, SequenceType, TensorType, Type

Types = tuple[Type | None, ...]
_INT64, _BOOL = ir.DataType.INT64, ir.DataType.BOOL

# A carried shape that still changes after so many rounds is given up.
_ROUNDS = 4


@infers("If")
def if_(call: Call) -> Types:
    """Run one of two graphs: what their outputs have in common, or those of the branch taken."""
    condition = call.tensor(0)
    if condition.dtype not in (_BOOL, ir.DataType.UNDEFINED):
        call.fail("condition must be BOOL", condition.dtype.name)
    then, other = call.required("then_branch"), call.required("else_branch")
    chosen = condition.content
    decided = chosen is not None and isinstance(chosen[0], bool)
    then_types = call.run(then, (), decided and chosen == (False,))
    else_types = call.run(other, (), decided and chosen == (True,))
    if len(then_types) != len(else_types):
        call.fail("both branches must have as many outputs", f"{len(then_types)}, {len(else_types)}")
    if decided:
        return then_types if chosen == (True,) else else_types
    return tuple(_either(call, a, b) for a, b in zip(then_types, else_types, strict=True))


def _either(call: Call, a: Type | None, b: Type | None) -> Type | None:
    if a is None or b is None:
        return None
    if isinstance(a, OptionalType) != isinstance(b, OptionalType):
        a, b = _optional(a), _optional(b)
    if isinstance(a, TensorType) and isinstance(b, TensorType):
        same_content = a.content is not None and a.content == b.content and a.shape == b.shape
        if same_content:
            return a
    either: Type | None = common(call, a, b, set())
    return either


def _optional(given: Type) -> OptionalType:
    if isinstance(given, OptionalType):
        return given
    return OptionalType(without_content(given))


def _carried(
    call: Call, initial: Sequence[Type | None], rounds: Any
) -> tuple[list[Type | None], tuple[Type | None, ...]]:
    """Widen the types that a body carries around until a round changes nothing.

    `rounds` runs the body on these types and returns what it carries on, then the rest.
    """
    state: list[Type | None] = [without_content(item) for item in initial]
    widened: set[Dim] = set()  # sizes that stand for any: they hold whatever comes
    for attempt in range(_ROUNDS):
        results = rounds(state)
        changed = False
        for place, result in enumerate(results[: len(state)]):
            wider = _wider(call, state[place], result, attempt, widened)
            if wider is not state[place]:
                state[place] = wider
                changed = True
        if not changed:
            break
    return state, results


def _wider(call: Call, before: Type | None, after: Type | None, attempt: int, widened: set[Dim]) -> Type | None:
    """A type that holds both; `before` itself where that does."""
    if before is None or after is None:
        return before
    if isinstance(before, TensorType) and isinstance(after, TensorType):
        return _wider_tensor(call, before, after, attempt, widened)
    if isinstance(before, SequenceType) and isinstance(after, SequenceType):
        return _wider_sequence(call, before, after, attempt)
    return before


def _wider_tensor(call: Call, before: TensorType, after: TensorType, attempt: int, widened: set[Dim]) -> TensorType:
    if before.dtype is not after.dtype:
        if ir.DataType.UNDEFINED not in (before.dtype, after.dtype):
            call.fail("what a body carries on must keep its element type", f"{before}, {after}")
        if before.dtype is ir.DataType.UNDEFINED:
            return TensorType(after.dtype, before.shape)
    if before.shape is None:
        return before
    dims = after.shape
    if dims is None or len(dims) != len(before.shape) or attempt == _ROUNDS - 1:
        settled = dims is not None and len(dims) == len(before.shape)
        if settled and not _changes(before.shape, dims or (), widened):
            return before
        return TensorType(before.dtype, None)
    changes = _changes(before.shape, dims, widened)
    if not changes:
        return before
    result = list(before.shape)
    for axis in changes:
        result[axis] = call.fresh("carried")
        widened.add(result[axis])  # type: ignore[arg-type]  # a fresh symbol is a Dim
    return TensorType(before.dtype, tuple(result))


def _changes(before: Sequence[Size], after: Sequence[Size], widened: set[Dim]) -> list[int]:
    """The axes along which a round changes the size, and may not yet."""
    return [
        axis
        for axis, (x, y) in enumerate(zip(before, after, strict=True))
        if x not in widened and x is not y and not same(x, y)
    ]


def _wider_sequence(call: Call, before: SequenceType, after: SequenceType, attempt: int) -> SequenceType:
    """A sequence whose elements come from any round, so that their symbols may all differ."""
    if before.length is None and before.element is None:
        return before
    length = before.length if before.length is after.length else None
    if before.length == 0:
        return SequenceType(after.element, length, symbols_in(after.element))
    varying = set(before.varying)
    element = common(call, before.element, after.element, varying)
    if attempt == _ROUNDS - 1 and element != before.element:
        element = None
    if element == before.element and length is before.length:
        return before
    return SequenceType(element, length, frozenset(varying))


@infers("Loop")
def loop(call: Call) -> Types:
    """Repeat a graph: the carried values, then what each round adds, [trips, *S]."""
    body: ir.Graph = call.required("body")
    count = max(len(call.inputs) - 2, 0)
    initial = [call.any_type(place + 2) for place in range(count)]
    counter = TensorType(_INT64, ())
    going = TensorType(_BOOL, ())

    def rounds(state: list[Type | None]) -> tuple[Type | None, ...]:
        results = call.run(body, (counter, going, *state), False)
        if len(results) <= count:
            call.fail(f"body must have at least {count + 1} outputs", len(results))
        conditions.append(results[0])
        return results[1:]

    conditions: list[Type | None] = []
    state, results = _carried(call, initial, rounds)
    trips = _trips(call, body, conditions[-1])
    for place, result in enumerate(results[:count]):
        item = state[place]
        if isinstance(item, OptionalType) and result.__class__ is not OptionalType:
            state[place] = result
    stacked: list[Type | None] = []
    for result in results[count:]:
        if not isinstance(result, TensorType):
            stacked.append(None)
        elif result.shape is None:
            stacked.append(TensorType(result.dtype, None))
        else:
            stacked.append(TensorType(result.dtype, (trips, *result.shape)))
    return (*state, *stacked)


def _trips(call: Call, body: ir.Graph, condition: Type | None) -> Size:
    """How often a Loop runs: its trip count, where nothing can stop it earlier."""
    limit = call.sizes(0) if call.has(0) else None
    started = not call.has(1) or call.content(1) == (True,)
    if call.content(1) == (False,):
        return 0
    goes_on = isinstance(condition, TensorType) and condition.content == (True,)
    if not goes_on and len(body.outputs) > 0:
        goes_on = _passes(body)
    if limit is None or not started or not goes_on:
        return call.fresh("trips")
    if isinstance(limit[0], int):
        return max(limit[0], 0)
    return limit[0]


def _passes(body: ir.Graph) -> bool:
    """Whether the body's condition is the one it got, or a constant true."""
    value = body.outputs[0]
    for _ in range(8):
        if value is body.inputs[1]:
            return True
        node = value.producer()
        if node is None or node.op_type not in ("Identity", "Cast", "Constant"):
            break
        if node.op_type == "Constant":
            tensor = node.attributes.get_tensor("value", None)
            return tensor is not None and bool(tensor.numpy().all())
        source = node.inputs[0]
        if source is None:
            return False
        value = source
    constant = value.const_value
    return constant is not None and bool(constant.numpy().all())


@infers("Scan", since=9)
def scan(call: Call) -> Types:
    """Run a graph along an axis: the carried values, then [*L, T, *R] of what each step adds."""
    body: ir.Graph = call.required("body")
    scanned = call.required("num_scan_inputs")
    count = len(call.inputs) - scanned
    if count < 0:
        call.fail(f"there must be at least {scanned} inputs", len(call.inputs))
    axes = call.attribute("scan_input_axes") or (0,) * scanned
    steps: Size | None = None
    slices: list[Type | None] = []
    for place, axis in enumerate(axes):
        x = call.tensor(count + place)
        if x.shape is None:
            slices.append(TensorType(x.dtype, None))
            continue
        axis = call.axis(axis, len(x.shape))
        dim = x.shape[axis]
        steps = dim if steps is None else unified(call, steps, dim, "the lengths of the scans")
        slices.append(TensorType(x.dtype, x.shape[:axis] + x.shape[axis + 1 :]))
    initial = [call.any_type(place) for place in range(count)]
    state, results = _carried(call, initial, lambda state: call.run(body, (*state, *slices), False))
    trips = call.fresh("scan") if steps is None else steps
    return (*state, *_stacked(call, results[count:], trips, lead=0))


def _stacked(call: Call, results: Sequence[Type | None], steps: Size, *, lead: int) -> list[Type | None]:
    """Each step's outputs with an axis for the steps."""
    axes = call.attribute("scan_output_axes") or (0,) * len(results)
    stacked: list[Type | None] = []
    for result, axis in zip(results, axes, strict=True):
        if not isinstance(result, TensorType):
            stacked.append(None)
        elif result.shape is None:
            stacked.append(TensorType(result.dtype, None))
        else:
            place = call.axis(axis, len(result.shape) + 1) + lead
            dims = (*result.shape[:place], steps, *result.shape[place:])
            stacked.append(TensorType(result.dtype, dims))
    return stacked


@infers("Scan")
def batched_scan(call: Call) -> Types:
    """Run a graph along axis 1 of batches, as opset 8 had it: [B, *S], [B, T, *S]."""
    body: ir.Graph = call.required("body")
    scanned = call.required("num_scan_inputs")
    given = [call.any_type(place) for place in range(1, len(call.inputs))]
    count = len(given) - scanned
    batch: Size | None = None
    steps: Size | None = None
    inner: list[Type | None] = []
    for place, x in enumerate(given):
        if not isinstance(x, TensorType) or x.shape is None:
            raise NotTyped
        batch = x.shape[0]
        steps = x.shape[1] if place >= count else steps
        inner.append(TensorType(x.dtype, x.shape[1 if place < count else 2 :]))
    if batch is None or steps is None:
        raise NotTyped
    state, results = _carried(call, inner[:count], lambda state: call.run(body, (*state, *inner[count:]), False))
    lead = (batch,)
    outputs: list[Type | None] = [
        TensorType(item.dtype, None if item.shape is None else lead + item.shape)
        if isinstance(item, TensorType)
        else None
        for item in state
    ]
    for item in results[count:]:
        if isinstance(item, TensorType) and item.shape is not None:
            outputs.append(TensorType(item.dtype, (batch, steps, *item.shape)))
        else:
            outputs.append(None)
    return tuple(outputs)
