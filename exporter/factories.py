"""Functions of a project that make its models, by their names."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from exporter.errors import InputError


def function_named(name: str) -> Callable[..., Any]:
    """The function that `package.module:function` names.

    Raises:
        InputError: the name has no colon, or there is no such module or function.
    """
    module_name, _, function_name = name.partition(":")
    if not function_name:
        raise InputError(f"{name}: must be MODULE:FUNCTION", hint="for instance mypackage.models:resnet")
    try:
        function: Callable[..., Any] = vars(importlib.import_module(module_name))[function_name]
    except ModuleNotFoundError as error:
        raise InputError(f"{name}: there is no module {error.name!r}") from error
    except KeyError as error:
        raise InputError(f"{name}: {module_name} has no function {function_name!r}") from error
    return function
