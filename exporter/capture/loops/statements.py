"""What a function's source says of its loops and variables."""

from __future__ import annotations

import ast
import inspect
import itertools
import types

_JOINS = {"stack", "cat", "concat", "concatenate"}


def targets_of(statement: ast.For) -> frozenset[str]:
    """The variables that a loop gives values to in each round."""
    return frozenset(node.id for node in ast.walk(statement.target) if isinstance(node, ast.Name))


def called(call: ast.expr) -> str:
    """The name of a function or method that an expression calls, or ""."""
    function = call.func if isinstance(call, ast.Call) else None
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def leaves_early(statement: ast.AST, *, in_loop: bool = False) -> bool:
    """Whether a statement may leave the loop that it is in."""
    if isinstance(statement, (ast.FunctionDef, ast.Lambda)):
        return False
    if isinstance(statement, (ast.Return, ast.Yield, ast.YieldFrom, ast.Await)):
        return True
    if isinstance(statement, ast.Break):
        return not in_loop
    inside = in_loop or isinstance(statement, (ast.For, ast.While))
    return any(leaves_early(child, in_loop=inside) for child in ast.iter_child_nodes(statement))


def loaded_after(tree: ast.AST, loop: ast.For) -> list[ast.Name]:
    """Where variables are used after a loop, as it leaves them, or around it where it is in another."""
    around = [node for node in ast.walk(tree) if node is not loop and loop in ast.walk(node)]
    is_nested = any(isinstance(node, (ast.For, ast.While)) for node in around)
    inner, end = set(ast.walk(loop)), loop.end_lineno or 0
    anew: dict[str, int] = {}  # the line that gives a variable another value, whatever happened before
    for statement in itertools.chain.from_iterable(map(ast.iter_child_nodes, around)):
        if isinstance(statement, (ast.Assign, ast.For)) and statement.lineno > end and not is_nested:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            line = (statement if isinstance(statement, ast.Assign) else statement.iter).end_lineno or 0
            for target in targets:
                if isinstance(target, ast.Name):
                    anew[target.id] = min(line, anew.get(target.id, line))
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node not in inner
        if is_nested or end < node.lineno <= anew.get(node.id, node.lineno)
    ]


def arguments_of_joins(tree: ast.AST) -> set[ast.expr]:
    """What is given to `torch.stack(...)` and `torch.cat(...)`: a list there is asked for no length, order or part."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute))
    return {node.args[0] for node in calls if node.args and getattr(node.func, "attr", "") in _JOINS}


def parameters(code: types.CodeType) -> tuple[str, ...]:
    """The variables that hold what a function was given, or shares with others."""
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return code.co_varnames[:count] + code.co_freevars
