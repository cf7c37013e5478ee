"""Conditions that decide nothing: `seq > 1 and mask is None` is false for every seq where there is a mask."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import re
import sys
import types
from collections import ChainMap
from collections.abc import Mapping
from typing import Any

Extent = tuple[tuple[int, int], tuple[int, int]]

_NOWHERE = ((0, 0), (sys.maxsize, 0))
_IS_CAPTURED = re.compile(r"is_(\w+_)?(compiling|exporting|tracing|scripting)")  # asks whether a model is captured

_TELLS = re.compile(r"check|warn|info|debug|error|log|print")


def is_inert(frame: types.FrameType) -> bool:
    """Whether the condition that a frame is at is part of an `and` or `or` that the other parts decide alone.

    Told from the source, by names that hold None, True or False, and by whether the model is being compiled;
    from Python 3.11 on, which knows the column that an instruction comes from.
    """
    names = ChainMap(frame.f_locals, frame.f_globals)
    return any(is_within(frame, tree) and _truth(tree, names) is not None for tree in _conditions(frame.f_code))


def is_in_message(frame: types.FrameType) -> bool:
    """Whether what a frame is at is part of the text that a check, a warning or an error gives; from Python 3.11 on."""
    return any(is_within(frame, text) for text in _messages(frame.f_code))


def is_within(frame: types.FrameType, tree: ast.expr | ast.stmt) -> bool:
    """Whether what a frame is at was written in a part of its source; False where nobody knows."""
    (start, end), (first, last) = place_of(frame), extent_of(tree)
    return first <= start and end <= last


def place_of(frame: types.FrameType) -> Extent:
    """Line and column of the source where what a frame is at begins and ends; nowhere where nobody knows."""
    if sys.version_info < (3, 11):
        return _NOWHERE
    positions = next(itertools.islice(frame.f_code.co_positions(), frame.f_lasti // 2, None))
    line, end_line, column, end_column = positions
    if line is None or end_line is None or column is None or end_column is None:
        return _NOWHERE
    return (line, column), (end_line, end_column)


def extent_of(tree: ast.expr | ast.stmt) -> Extent:
    """Line and column where a part of a source begins and ends."""
    return (tree.lineno, tree.col_offset), (tree.end_lineno or 0, tree.end_col_offset or 0)


@functools.lru_cache(maxsize=256)
def _conditions(code: types.CodeType) -> list[ast.BoolOp]:
    """The conjunctions and disjunctions in a function's source."""
    tree = tree_of(code)
    return [] if tree is None else [node for node in ast.walk(tree) if isinstance(node, ast.BoolOp)]


@functools.lru_cache(maxsize=256)
def _messages(code: types.CodeType) -> list[ast.expr]:
    """The formatted texts in a function's source that nothing but a reader is given."""
    tree = tree_of(code)
    told: list[ast.AST] = []
    for node in () if tree is None else ast.walk(tree):
        match node:
            case ast.Raise(exc=ast.expr() as part) | ast.Assert(msg=ast.expr() as part):
                told.append(part)
            case ast.Expr(value=ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=parts)):
                told += parts if _TELLS.search(name) else []
    return [text for part in told for text in ast.walk(part) if isinstance(text, ast.JoinedStr)]


@functools.lru_cache(maxsize=256)
def tree_of(code: types.CodeType) -> ast.Module | None:
    """A function's source, by the lines and columns of its file; None where there is none."""
    try:
        lines, first = inspect.getsourcelines(code)
        tree = ast.parse("if True:\n" + "".join(lines) if lines[0][:1].isspace() else "\n" + "".join(lines))
    except (OSError, SyntaxError):
        return None
    ast.increment_lineno(tree, first - 2)
    return tree


def _truth(tree: ast.expr, names: Mapping[str, Any]) -> bool | None:
    """Whether an expression is true; None where that takes more than to look at names."""
    match tree:
        case ast.BoolOp(op=operator, values=values):
            deciding = isinstance(operator, ast.Or)
            parts = [_truth(value, names) for value in values]
            return deciding if deciding in parts else None if None in parts else not deciding
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            truth = _truth(operand, names)
            return None if truth is None else not truth
        case ast.Call(func=ast.Name(id=name), args=[], keywords=[]) if _IS_CAPTURED.fullmatch(name) and name in names:
            return bool(names[name]())
        case ast.Compare(left=ast.Name(id=name), ops=[ast.Is() | ast.IsNot()], comparators=[ast.Constant(value=None)]):
            if name not in names:
                return None
            return (names[name] is None) == isinstance(tree.ops[0], ast.Is)
        case ast.Name(id=name) if isinstance(names.get(name, ...), (bool, types.NoneType)):
            return bool(names[name])
    return None
