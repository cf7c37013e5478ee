"""Which ONNX ops a rule may emit, read off its source: nothing is called, and no model is needed.

The functions that a rule calls count, and of a branch by `op.opset_version` only the one that is taken.  What
depends on dtypes, shapes or arguments counts whole, so this is what a rule may emit, not what each call does.
"""

from __future__ import annotations

import ast
import functools
import inspect
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FunctionType
from typing import Any

import onnx

__all__ = ["emitted_ops"]

# The builder's shorthands, by the op that they are named after.  Sizes that they compute are left out.
_SHORTHANDS = {
    "cast": "Cast", "expand": "Expand", "reshape": "Reshape", "slice": "Slice", "split": "Split",
    "squeeze": "Squeeze", "transpose": "Transpose", "unsqueeze": "Unsqueeze",
}  # fmt: skip
_LEFT_OUT = ("aten_lowering.promotion", "aten_lowering.builder", "aten_lowering.root")  # casts and sizes
_COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip


def emitted_ops(rule: Callable[..., Any], opset_version: int, *, deep: bool = True) -> frozenset[str]:
    """The ONNX ops that a rule may emit at an opset, with (`deep`) or without those of the functions that it calls."""
    reached: set[FunctionType] = set()
    found: set[str] = set()
    waiting = list(_functions(rule))
    while waiting:
        function = waiting.pop()
        if function not in reached:
            reached.add(function)
            ops, called = _of_function(function, opset_version)
            found |= ops
            waiting += called if deep else ()
    return frozenset(found)


@functools.cache
def _of_function(function: FunctionType, opset_version: int) -> tuple[frozenset[str], tuple[FunctionType, ...]]:
    """The ops that one function names, and the functions that it uses."""
    scan = _Scan(function, opset_version)
    for node in _nodes_of(function):
        scan.visit(node)
    known = _ops_at(opset_version)
    return frozenset(name for name in scan.names if name in known), tuple(scan.functions)


class _Scan(ast.NodeVisitor):
    """Goes through the source of a function."""

    def __init__(self, function: FunctionType, opset_version: int) -> None:
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        self._scope = {**function.__globals__, **{name: _content(cell) for name, cell in cells}}
        self._opset_version = opset_version
        self.names: set[str] = set()
        self.functions: list[FunctionType] = []

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """`op.Relu`, `op.reshape`."""
        self.names.add(_SHORTHANDS.get(node.attr, node.attr))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """`op.reduce("ReduceMax", ...)`."""
        if isinstance(node.value, str):
            self.names.add(node.value)

    def visit_Name(self, node: ast.Name) -> None:
        """A function of this package, a table of such, or the name of an op."""
        self._take(self._scope.get(node.id))

    def visit_If(self, node: ast.If) -> None:
        """The branches that the opset leaves open."""
        self._branches(node.test, node.body, node.orelse)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        """`a if test else b`, likewise."""
        self._branches(node.test, [node.body], [node.orelse])

    def _branches(self, test: ast.expr, body: Iterable[ast.AST], other: Iterable[ast.AST]) -> None:
        answer = self._answer(test)
        for taken, branch in ((answer is not False, body), (answer is not True, other)):
            for item in branch if taken else ():
                self.visit(item)
        if answer is None:
            self.visit(test)

    def _answer(self, test: ast.expr) -> bool | None:
        """What a test of the opset gives; None where something else decides too."""
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            inner = self._answer(test.operand)
            return None if inner is None else not inner
        if isinstance(test, ast.BoolOp):
            answers = [self._answer(value) for value in test.values]
            decisive = isinstance(test.op, ast.Or)
            if decisive in answers:
                return decisive
            return None if None in answers else not decisive
        if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not _is_opset(test.left):
            return None
        limit = self._number(test.comparators[0])
        return None if limit is None else _COMPARISONS[type(test.ops[0])](self._opset_version, limit)

    def _number(self, node: ast.expr) -> int | None:
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(node, ast.Name):
            value = self._scope.get(node.id)
        return value if isinstance(value, int) else None

    def _take(self, item: Any) -> None:
        if isinstance(item, str):
            self.names.add(item)
        elif isinstance(item, Mapping):
            for value in item.values():
                self._take(value)
        elif isinstance(item, (list, tuple)):
            for value in item:
                self._take(value)
        else:
            self.functions += _functions(item)


def _functions(item: Any) -> Iterator[FunctionType]:
    """The functions of this package that an object is, or wraps."""
    if isinstance(item, functools.partial):
        for part in (item.func, *item.args, *item.keywords.values()):
            yield from _functions(part)
    item = inspect.unwrap(item) if callable(item) else item
    if (
        isinstance(item, FunctionType)
        and item.__module__.startswith("aten_lowering.")
        and item.__module__ not in _LEFT_OUT
    ):
        yield item


def _is_opset(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "opset_version"


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _nodes_of(function: FunctionType) -> Iterator[ast.AST]:
    """The body of a function; of all lambdas on its line, where it is one."""
    code = function.__code__
    for node in _definitions(code.co_filename).get(code.co_firstlineno, ()):
        if isinstance(node, ast.Lambda):
            yield node.body
        elif isinstance(node, ast.FunctionDef) and node.name == code.co_name:
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            yield from body
            yield from node.args.defaults
            yield from (default for default in node.args.kw_defaults if default is not None)


@functools.cache
def _definitions(filename: str) -> dict[int, list[ast.AST]]:
    """First line -> the functions and lambdas of a file that begin there, decorators included."""
    found: dict[int, list[ast.AST]] = {}
    with open(filename, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            line = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            found.setdefault(line, []).append(node)
        elif isinstance(node, ast.Lambda):
            found.setdefault(node.lineno, []).append(node)
    return found


@functools.cache
def _ops_at(opset_version: int) -> frozenset[str]:
    """The ONNX ops that exist at an opset and are not deprecated there."""
    names = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if not schema.domain}
    return frozenset(
        name
        for name in names
        if onnx.defs.has(name, opset_version, "") and not onnx.defs.get_schema(name, opset_version, "").deprecated
    )
