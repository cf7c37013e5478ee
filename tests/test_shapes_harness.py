"""What the tests of shape rules share: types written as text, and one call.

A type is `float[N, seq + 1]`, with `{…}` behind it for its contents, `?` in place of the brackets where the rank
is unknown, `seq(…)` and `optional(…)` around it; `-` is an input that is absent. A symbol in capitals is at least 1.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import onnx_ir as ir
import pytest

from shape_inference import (
    Dim,
    InferenceError,
    OptionalType,
    SequenceType,
    TensorType,
    Type,
    infer_call,
    parse,
    symbol,
)

_TENSOR = re.compile(r"(\w+)(\?|\[(.*?)\])(?:\{(.*)\})?$")
_DTYPES = {"float": "FLOAT", "double": "DOUBLE", "int": "INT32", "string": "STRING", "bool": "BOOL"}


class Symbols(dict[str, Dim]):
    """The symbols that names stand for."""

    def __missing__(self, name: str) -> Dim:
        return symbol(name, minimum=1 if name[:1].isupper() else 0)

    def __contains__(self, name: object) -> bool:
        return True


def _element(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text) if "." in text or text in ("inf", "nan") else int(text)
    except ValueError:
        return parse(text, Symbols())


def _split(text: str) -> list[str]:
    """Split at the commas that stand in no parentheses."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def type_from(text: str) -> Any:
    """Read a type."""
    text = text.strip()
    if text == "-":
        return None
    for word, kind in (("seq(", SequenceType), ("optional(", OptionalType)):
        if text.startswith(word):
            return kind(type_from(text[len(word) : -1]))
    match = _TENSOR.match(text)
    assert match, text
    name, shape, dims, content = match.groups()
    dtype = ir.DataType[_DTYPES.get(name, name.upper())]
    elements = None if content is None else tuple(map(_element, _split(content)))
    sizes = None if shape == "?" else tuple(map(_element, _split(dims)))
    return TensorType(dtype, sizes, elements)


def types_from(text: str) -> list[Any]:
    """Read types with `; ` between them."""
    return [type_from(part) for part in text.split(";")] if text.strip() else []


def counter() -> Callable[[str], Dim]:
    """Make new symbols named `?0`, `?1` and so on."""
    numbers = itertools.count()
    return lambda hint: symbol(f"?{next(numbers)}")


def text_of(given: Type | None, *, content: bool = True) -> str:
    """Write a type as the tests do."""
    if given is None:
        return "-"
    if isinstance(given, SequenceType):
        return f"seq({text_of(given.element)})"
    if isinstance(given, OptionalType):
        return f"optional({text_of(given.element)})"
    names = {value: key for key, value in _DTYPES.items()}
    name = names.get(given.dtype.name, given.dtype.name.lower())
    shape = "?" if given.shape is None else f"[{', '.join(map(str, given.shape))}]"
    elements = ""
    if content and given.content is not None:
        elements = (
            "{" + ", ".join(str(item).lower() if isinstance(item, bool) else str(item) for item in given.content) + "}"
        )
    return f"{name}{shape}{elements}"


def inferred(
    op_type: str,
    inputs: str,
    *,
    domain: str = "",
    version: int = 18,
    outputs: int = 1,
    **attributes: Any,
) -> str:
    """Type one call, as text."""
    op_type, _, tail = op_type.partition(" ")
    if tail and not tail.startswith("("):
        version = int(tail.split()[0])
    types = infer_call(
        op_type,
        types_from(inputs),
        attributes,
        domain=domain,
        version=version,
        output_count=outputs,
        fresh=counter(),
    )
    return "; ".join(map(text_of, types))


def fails(op_type: str, inputs: str, **keywords: Any) -> str:
    """The text of the error that a call raises."""
    with pytest.raises(InferenceError) as caught:
        inferred(op_type, inputs, **keywords)
    return str(caught.value)


# A row: op and maybe its version, inputs, attributes, outputs. Rows of one table are tests of one function.
Row = tuple[str, str, dict[str, Any], str]


def ids(rows: list[Row]) -> list[str]:
    """Name rows by what they infer."""
    return [f"{row[0]}: {row[1]} -> {row[3]}"[:110] for row in rows]


def check(row: Row, *, domain: str = "", version: int = 18) -> None:
    """Type the call of a row and compare."""
    op_type, inputs, attributes, wanted = row
    count = len(wanted.split(";"))
    assert inferred(op_type, inputs, domain=domain, version=version, outputs=count, **attributes) == wanted


def test_reads_what_it_writes() -> None:
    for text in ("float[N, seq + 1, 3]", "int64[2]{1, seq}", "bool?", "seq(float[2])", "optional(int[])", "-"):
        assert text_of(type_from(text)) == text
