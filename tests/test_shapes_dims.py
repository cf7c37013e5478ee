"""Dims against plain integers: whatever is built, evaluating it gives what the integers give."""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable
from typing import Any

import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shape_inference.dims import (
    Dim,
    Size,
    at_least,
    ceil_div,
    divisible,
    larger,
    parse,
    product,
    same,
    smaller,
    stretched,
    symbol,
)

BATCH = symbol("batch", minimum=1)
SEQ = symbol("seq", minimum=1)
PAST = symbol("past")
H = symbol("h")
W = symbol("w", minimum=2, maximum=12)
ANY = symbol("any_integer", minimum=None)
SYMBOLS = (BATCH, SEQ, PAST, H, W, ANY)


def _bindings() -> st.SearchStrategy[dict[str, int]]:
    ranges = {dim.value: (dim.minimum, dim.maximum) for dim in SYMBOLS}
    return st.fixed_dictionaries(
        {
            name: st.integers(-9 if low is None else low, 12 if high is None else high)
            for name, (low, high) in ranges.items()
        }
    )


# A tree of operations: a leaf is a symbol or an int, a node is (operation, left, right).
OPERATIONS: dict[str, tuple[Callable[[Any, Any], Size], Callable[[int, int], int]]] = {
    "+": (operator.add, operator.add),
    "-": (operator.sub, operator.sub),
    "*": (operator.mul, operator.mul),
    "//": (operator.floordiv, operator.floordiv),
    "%": (operator.mod, operator.mod),
    "ceil": (ceil_div, lambda a, b: -(-a // b)),
    "min": (smaller, min),
    "max": (larger, max),
}
LEAVES = st.one_of(st.sampled_from(SYMBOLS), st.integers(-6, 9))
TREES = st.recursive(
    LEAVES,
    lambda inner: st.tuples(st.sampled_from(sorted(OPERATIONS)), inner, inner),
    max_leaves=9,
)


def _built(tree: Any) -> Size:
    if not isinstance(tree, tuple):
        return tree
    name, left, right = tree
    return OPERATIONS[name][0](_built(left), _built(right))


def _computed(tree: Any, bindings: dict[str, int]) -> int:
    if isinstance(tree, Dim):
        return bindings[tree.value]
    if not isinstance(tree, tuple):
        return tree
    name, left, right = tree
    return OPERATIONS[name][1](_computed(left, bindings), _computed(right, bindings))


def _evaluated(size: Size, bindings: dict[str, int]) -> int:
    return size if isinstance(size, int) else size.evaluate(bindings)


def _pair(tree: Any, bindings: dict[str, int]) -> tuple[Size, int] | None:
    """The dim and its number; None where the integers divide by zero."""
    try:
        return _built(tree), _computed(tree, bindings)
    except ZeroDivisionError:
        return None


@settings(max_examples=600, deadline=None)
@given(TREES, _bindings())
def test_evaluates_as_the_integers_do(tree: Any, bindings: dict[str, int]) -> None:
    pair = _pair(tree, bindings)
    if pair is not None:
        assert _evaluated(pair[0], bindings) == pair[1]


@settings(max_examples=400, deadline=None)
@given(TREES, _bindings())
def test_bounds_hold(tree: Any, bindings: dict[str, int]) -> None:
    pair = _pair(tree, bindings)
    if pair is None or isinstance(pair[0], int):
        return
    dim, number = pair
    assert dim.minimum is None or dim.minimum <= number
    assert dim.maximum is None or dim.maximum >= number


@settings(max_examples=400, deadline=None)
@given(TREES, TREES, _bindings())
def test_proofs_hold(left: Any, right: Any, bindings: dict[str, int]) -> None:
    a, b = _pair(left, bindings), _pair(right, bindings)
    if a is None or b is None:
        return
    equal = same(a[0], b[0])
    assert equal is None or equal == (a[1] == b[1])
    order = at_least(a[0], b[0])
    assert order is None or order == (a[1] >= b[1])
    if b[1]:
        whole = divisible(a[0], b[0])
        assert whole is None or whole == (a[1] % b[1] == 0)


@settings(max_examples=400, deadline=None)
@given(TREES, _bindings())
def test_prints_what_parse_reads(tree: Any, bindings: dict[str, int]) -> None:
    pair = _pair(tree, bindings)
    if pair is None or isinstance(pair[0], int) or "formula_" in str(pair[0]):
        return
    names = {dim.value: dim for dim in SYMBOLS}
    assert parse(str(pair[0]), names) is pair[0]


class Integers:
    """An algebra of plain integers."""

    def __init__(self, bindings: dict[str, int]) -> None:
        self.bindings = bindings

    def constant(self, value: int) -> int:
        return value

    def symbol(self, dim: Dim) -> int:
        return self.bindings[dim.value]

    add = staticmethod(operator.add)
    sub = staticmethod(operator.sub)
    mul = staticmethod(operator.mul)
    floordiv = staticmethod(operator.floordiv)
    mod = staticmethod(operator.mod)
    min = staticmethod(min)
    max = staticmethod(max)


@settings(max_examples=300, deadline=None)
@given(TREES, _bindings())
def test_lowers_through_an_algebra(tree: Any, bindings: dict[str, int]) -> None:
    pair = _pair(tree, bindings)
    if pair is not None and isinstance(pair[0], Dim):
        assert pair[0].lower(Integers(bindings)) == pair[1]


@settings(max_examples=200, deadline=None)
@given(TREES, _bindings())
def test_substitutes_numbers_and_formulas(tree: Any, bindings: dict[str, int]) -> None:
    pair = _pair(tree, bindings)
    if pair is None or isinstance(pair[0], int):
        return
    numbers = {**bindings, "batch": SEQ + 1}
    try:
        size = pair[0].substitute(numbers)
        number = _computed(tree, {**bindings, "batch": bindings["seq"] + 1})
    except ZeroDivisionError:
        return
    assert _evaluated(size, bindings) == number


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(SYMBOLS[:4]), max_size=4), st.integers(0, 9), _bindings())
def test_stretches_as_broadcasting_does(dims: list[Dim], size: int, bindings: dict[str, int]) -> None:
    numbers = [bindings[dim.value] for dim in dims] + [size]
    stretched_to = [number for number in numbers if number != 1]
    if len(set(stretched_to)) > 1:
        return
    total: Size = size
    for dim in dims:
        total = stretched(total, dim)
    assert _evaluated(total, bindings) == (stretched_to[0] if stretched_to else 1)


FORMULAS = [
    ((H - 1) // 2 + 1, "(h + 1) // 2"),
    (((H - 1) // 2 + 1 - 1) // 2 + 1, "(h + 3) // 4"),
    (ceil_div(H, 2), "(h + 1) // 2"),
    (BATCH * SEQ * 768 // (SEQ * 768), "batch"),
    (BATCH * (SEQ + PAST) * 768 // ((SEQ + PAST) * 768), "batch"),
    (BATCH * SEQ * 6 // (4 * SEQ), "batch + batch // 2"),
    ((12 * H + 5) // 4, "3*h + 1"),
    ((4 * H + 2) // 8, "h // 2"),
    (SEQ + PAST, "past + seq"),
    (BATCH * SEQ, "batch*seq"),
    (BATCH * (SEQ + PAST) * 3, "3*batch*(past + seq)"),
    (3 - 2 * H, "3 - 2*h"),
    (H % 7, "h % 7"),
    (H + 2 * (H % 7), "h + 2*(h % 7)"),
    (3 - H // 2, "3 - h // 2"),
    (H // 2 + (H + 1) // 2, "h"),
    (H + H % 2, "2*((h + 1) // 2)"),
    (H - H % 2, "2*(h // 2)"),
    (H % 2, "h % 2"),
    (-3 % (7 * H), "7*h - 3"),
    (BATCH * H - BATCH * (H // 2), "batch*((h + 1) // 2)"),
    (-(H // 2), "-(h // 2)"),
    (H * (W // 5), "h*(w // 5)"),
    (H + -H % 7, "7*((h + 6) // 7)"),
    ((7 - H % 7) % 7 + H, "7*((h + 6) // 7)"),
    (larger(BATCH, 1), "batch"),
    (larger(H, 1), "max(h, 1)"),
    (smaller(W, 20), "w"),
    (smaller(smaller(H, 7), SEQ), "min(h, seq, 7)"),
    (larger(BATCH, SEQ), "max(batch, seq)"),
    (stretched(H, PAST), "broadcast(h, past)"),
    (stretched(stretched(H, PAST), H), "broadcast(h, past)"),
    (stretched(BATCH, SEQ), "max(batch, seq)"),
    (stretched(smaller(H, 7), H), "h"),
    (stretched(PAST, smaller(PAST, 512)), "past"),
    (stretched(H, smaller(H, 1)), "broadcast(h, min(h, 1))"),
    (H * H, "h**2"),
    (SEQ // BATCH, "seq // batch"),
    ((W + 1) // 14, "0"),
]


@pytest.mark.parametrize(("size", "text"), FORMULAS, ids=[text for _, text in FORMULAS])
def test_normal_form(size: Size, text: str) -> None:
    assert str(size) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("floor(h/2 - 1/2) + 1", (H + 1) // 2),
        ("floor(h/4 + 3/4)", (H + 3) // 4),
        ("ceiling(h/2)", (H + 1) // 2),
        ("Max(h, w)", larger(H, symbol("w"))),
        ("Mod(h, 7)", H % 7),
        ("h * (w + 1)", H * (symbol("w") + 1)),
        ("2**3", 8),
        ("-3", -3),
        ("h/2*2", H),
        ("batch size", symbol("batch size")),
        ("past.0", symbol("past.0")),
        ("unk__12", symbol("unk__12")),
        ("class", symbol("class")),
        ("", symbol("")),
        ("f(h)", symbol("f(h)")),
    ],
)
def test_parse(text: str, size: Size) -> None:
    assert parse(text) is size or parse(text) == size


def test_decides() -> None:
    assert same(H, H + 1) is False
    assert same(2 * H, 2 * PAST + 1) is False
    assert same(H, PAST) is None
    assert at_least(H, H // 2) is True
    assert at_least(H // 2, H + 1) is False
    assert at_least(larger(H, PAST), PAST) is True
    assert at_least(H, smaller(H, PAST)) is True
    assert divisible(6 * H, 3) is True
    assert divisible(6 * H + 1, 3) is False
    assert divisible(H, 3) is None
    assert divisible(BATCH * SEQ, SEQ) is True
    assert ((H % 7).minimum, (H % 7).maximum) == (0, 6)
    assert (PAST % SEQ).minimum == 0
    assert at_least(SEQ - 1, PAST % SEQ) is True


def test_is_one_object_and_equals_its_text() -> None:
    assert (SEQ + PAST) - PAST is SEQ
    assert SEQ + PAST == "past + seq"
    assert hash(SEQ + PAST) == hash("past + seq")
    assert ir.SymbolicDim("past + seq") == SEQ + PAST
    assert SEQ != "past"
    assert SEQ != 3
    assert SEQ - SEQ == 0
    assert type(SEQ - SEQ) is int


def test_lives_in_an_ir_shape() -> None:
    shape = ir.Shape([BATCH, SEQ + 1, 3])
    assert shape == ["batch", "seq + 1", 3]
    assert shape.evaluate({"batch": 2, "seq": 4}) == [2, 5, 3]
    assert shape.free_symbols() == {"batch", "seq"}


def test_copies_and_pickles_to_itself() -> None:
    dim = larger(H, PAST) // 3 + BATCH * SEQ
    assert copy.copy(dim) is dim
    assert copy.deepcopy([dim])[0] is dim
    assert pickle.loads(pickle.dumps(dim)) is dim


def test_refuses() -> None:
    with pytest.raises(TypeError, match="must be made with"):
        Dim("x")
    with pytest.raises(TypeError, match="must be divided with"):
        _ = H / 2
    with pytest.raises(ZeroDivisionError):
        _ = H // 0
    with pytest.raises(KeyError):
        (H + SEQ).evaluate({"h": 1})


def test_long_formulas_get_names_and_stay_exact() -> None:
    number, dim = 1000, H
    for _ in range(100):
        number, dim = number // 2 + number % 3 * 5, dim // 2 + dim % 3 * 5
    assert dim.evaluate({"h": 1000}) == number
    assert len(str(dim)) < 800
    assert pickle.loads(pickle.dumps(dim)).evaluate({"h": 1000}) == number


def test_long_products_cancel() -> None:
    dims = [symbol(f"dim_{index}", minimum=1) + 1 for index in range(12)]
    whole = product(dims)
    assert whole // product(dims[1:]) == dims[0] or isinstance(whole // product(dims[1:]), Dim)
    assert same(whole, product(reversed(dims))) is not False
