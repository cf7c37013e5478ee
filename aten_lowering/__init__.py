"""ATen to ONNX: one rule an overload, one file a family."""

from __future__ import annotations

import importlib
import pkgutil

from aten_lowering import rules
from aten_lowering.builder import Builder, Value
from aten_lowering.registry import Rule, RuleRegistry, lowers, registry

__all__ = ["Builder", "Rule", "RuleRegistry", "Value", "lowers", "registry"]

for _module in pkgutil.iter_modules(rules.__path__):
    importlib.import_module(f"{rules.__name__}.{_module.name}")
