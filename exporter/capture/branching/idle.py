"""Conditions before what does nothing where they are false: `if mask.any(): x[mask] = 0` writes nothing for no mask.

Such code saves time, and its graph needs no condition: what stands below the `if` is right for every input.
"""

from __future__ import annotations

import ast
import functools
import types
from typing import NamedTuple

from exporter.capture.branching.inert import extent_of, is_within, place_of, tree_of


class _Guard(NamedTuple):
    """An `if` without `else`, and what it depends on last; what comes before in an `and` is true once this is asked."""

    statement: ast.If
    test: ast.expr


_PLAIN = {"clone", "expand", "expand_as", "float", "half", "to", "unsqueeze"}  # take empty tensors as others


def guards_nothing(frame: types.FrameType) -> bool:
    """Whether what depends on the condition that a frame is at does nothing where the condition is false.

    Told from the source, from Python 3.11 on:
    1. `if mask.any():` before writes to nothing but places where the mask is true;
    2. `if n < x.shape[-1]:` before the cut `x = x[..., :n]`, which takes all of a shorter x.
    """
    return any(_asks(frame, guard) and (_is_masked_write(guard) or _is_cut(guard)) for guard in _guards(frame.f_code))


@functools.lru_cache(maxsize=256)
def _guards(code: types.CodeType) -> list[_Guard]:
    """Those of a function."""
    tree = tree_of(code)
    found = []
    for node in () if tree is None else ast.walk(tree):
        if isinstance(node, ast.If) and not node.orelse:
            test = node.test
            while isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
                test = test.values[-1]
            found.append(_Guard(node, test))
    return found


def _asks(frame: types.FrameType, guard: _Guard) -> bool:
    """Whether a frame is at the condition; where that is a call, Python 3.11 says that it is at the whole statement."""
    at_statement = guard.test is guard.statement.test and place_of(frame) == extent_of(guard.statement)
    return is_within(frame, guard.test) or at_statement


def _is_masked_write(guard: _Guard) -> bool:
    """Case 1; what is written may be no more than a look-up, as other calls need not take tensors of no elements."""
    match guard.test:
        case ast.Call(func=ast.Attribute(value=mask, attr="any"), args=[], keywords=[]):
            pass
        case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="any"), args=[mask], keywords=[]):
            pass
        case _:
            return False
    return all(_writes_where(ast.unparse(mask), statement) for statement in guard.statement.body)


def _writes_where(mask: str, statement: ast.stmt) -> bool:
    match statement:
        case ast.Assign(targets=[ast.Subscript(slice=index)], value=value):
            calls = [node.func for node in ast.walk(value) if isinstance(node, ast.Call)]
            is_plain = all(isinstance(called, ast.Attribute) and called.attr in _PLAIN for called in calls)
            return is_plain and ast.unparse(index) == mask
    return False


def _is_cut(guard: _Guard) -> bool:
    """Case 2, for any axis and either way round; where the condition is false, n is no less than the size."""
    match guard.test, guard.statement.body:
        case (
            ast.Compare(left=left, ops=[operator], comparators=[right]),
            [ast.Assign(targets=[target], value=ast.Subscript(value=cut, slice=index))],
        ):
            if isinstance(operator, (ast.Gt, ast.GtE)):
                left, right = right, left
            elif not isinstance(operator, (ast.Lt, ast.LtE)):
                return False
            name = ast.unparse(target)
            return name == ast.unparse(cut) and ast.unparse(right) in _sizes(name, ast.unparse(left), index)
    return False


def _sizes(name: str, end: str, index: ast.expr) -> list[str]:
    """How the size that a subscript cuts at `end` may be written; nothing where it takes anything else."""
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    *others, last = map(ast.unparse, parts)
    if last != f":{end}" or any(part != ":" for part in others[1:]) or others[:1] not in ([], [":"], ["..."]):
        return []
    axes = [-1] if others[:1] == ["..."] and len(others) == 1 else [] if "..." in others else [len(others)]
    return [written for axis in axes for written in (f"{name}.shape[{axis}]", f"{name}.size({axis})")]
