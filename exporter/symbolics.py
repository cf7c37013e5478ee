"""`torch.autograd.Function.symbolic`, written for the TorchScript exporter, as a lowering rule."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from aten_lowering import Builder, Rule, Value
from aten_lowering.errors import ExportError
from exporter.capture.custom_functions import has_symbolic

__all__ = ["SymbolicFailed", "symbolic_rule"]

_CONVERSIONS = {"f": float, "i": int, "s": str}


class SymbolicFailed(Exception):  # a rule of the house's own, never seen by users
    """A `symbolic` asks for more than `g.op`, `type` and `setType`."""


class _Value:
    """What a `symbolic` is given for a tensor."""

    def __init__(self, value: Value) -> None:
        self.value = value

    def type(self) -> Any:
        return self.value.type

    def setType(self, kind: Any) -> _Value:  # as torch calls it
        return self


class _Graph:
    """The `g` of a `symbolic`: `g.op("domain::Name", *inputs, outputs=1, alpha_f=1.0)`."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder

    def op(self, name: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> Any:
        domain, _, op_type = name.rpartition("::")
        given = dict(_attribute(key, value) for key, value in attributes.items())
        if op_type == "Constant" and "value" in given:
            return _Value(self._builder.constant(attributes["value_t"].numpy()))
        domain = "" if domain == "onnx" else domain
        made = self._builder.emit(op_type, [_plain(item) for item in inputs], given, outputs=outputs, domain=domain)
        return _Value(made) if outputs == 1 else tuple(map(_Value, made))


def symbolic_rule(function: Any) -> Rule | None:
    """The rule that a Function's `symbolic` is; None where it has none.

    The rule raises `SymbolicFailed` where the `symbolic` does what only the TorchScript exporter can.
    """
    if not has_symbolic(function):
        return None

    def rule(op: Builder, *args: Any) -> Any:
        given = [_Value(item) if isinstance(item, Value) else item for item in args]
        try:
            result = function.symbolic(_Graph(op), *given)
        except ExportError:
            raise
        except Exception as error:
            raise SymbolicFailed(f"{type(error).__name__}: {error}") from error
        return [_plain(item) for item in result] if isinstance(result, (list, tuple)) else _plain(result)

    has_context = function.setup_context is torch.autograd.Function.setup_context
    parameters = list(inspect.signature(function.forward).parameters.values())[has_context:]
    first = inspect.Parameter("op", inspect.Parameter.POSITIONAL_ONLY)
    rule.__signature__ = inspect.Signature([first, *parameters])  # type: ignore[attr-defined]  # what `Rule` reads
    return Rule(function, rule)


def _plain(item: Any) -> Any:
    return item.value if isinstance(item, _Value) else item


def _attribute(key: str, value: Any) -> tuple[str, Any]:
    """`alpha_f=1` as the name and the value of an attribute."""
    name, _, kind = key.rpartition("_")
    if kind == "t":
        return name, value
    convert = _CONVERSIONS[kind]
    return name, [convert(item) for item in value] if isinstance(value, (list, tuple)) else convert(value)
