"""Which kernels a provider has, by operator and version: of the installed onnxruntime, and of kept tables.

onnxruntime takes a kernel whose versions end nowhere (`14+`) only for an operator of exactly that version: the next
definition of the operator needs a kernel of its own.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from importlib import resources

import onnx
import onnx_ir as ir
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from exporter.validation.lint.facts import since_version

__all__ = ["KernelTable", "installed", "kept", "reason"]

_OPEN = 2**31 - 1
Key = tuple[str, str]


@dataclass(frozen=True)
class Kernel:
    """The versions that a kernel is for, and the element types that it takes for each type variable."""

    first: int
    last: int
    types: dict[str, frozenset[str]]

    def fits(self, since: int) -> bool:
        """Whether onnxruntime takes it for an operator of this version."""
        return self.first == since if self.last == _OPEN else self.first <= since <= self.last


@dataclass(frozen=True)
class KernelTable:
    """The kernels of a provider.

    Attributes:
        provider: onnxruntime's name.
        source: where the table is from, with the version.
        kernels: (domain, operator) -> its kernels.
        functions: whether an operator without a kernel may be expanded into others.
    """

    provider: str
    source: str
    kernels: dict[Key, list[Kernel]]
    functions: bool


@functools.cache
def installed(provider: str) -> KernelTable:
    """The kernel registry of the installed onnxruntime."""
    kernels: dict[Key, list[Kernel]] = {}
    for found in runtime.get_all_opkernel_def():
        if found.provider == provider:
            first, last = found.version_range
            types = {
                variable: frozenset(re.sub(r"^tensor\((.*)\)$", r"\1", name) for name in names)
                for variable, names in found.type_constraints.items()
            }
            domain = "" if found.domain == "ai.onnx" else found.domain
            kernels.setdefault((domain, found.op_name), []).append(Kernel(first, last, types))
    return KernelTable(provider, f"the kernel registry of onnxruntime {runtime.get_version_string()}", kernels, True)


@functools.cache
def kept(name: str) -> KernelTable:
    """A table of `tables/`: operator -> versions -> type variable -> element types."""
    text = resources.files("exporter.validation.lint").joinpath(f"tables/{name}.json").read_text(encoding="utf-8")
    data = json.loads(text)
    kernels: dict[Key, list[Kernel]] = {}
    for name_in_table, rows in data["operators"].items():
        domain, _, op_type = name_in_table.rpartition(":")
        kernels[domain, op_type] = [_ranged(versions, types) for versions, types in rows.items()]
    return KernelTable(data["provider"], data["source"], kernels, data["functions"])


def _ranged(versions: str, types: dict[str, str]) -> Kernel:
    """A kernel of versions such as `7-12`, `13` or `14+`."""
    first, _, last = versions.rstrip("+").partition("-")
    allowed = {variable: frozenset(names.split()) for variable, names in types.items()}
    return Kernel(int(first), _OPEN if versions.endswith("+") else int(last or first), allowed)


def reason(node: ir.Node, table: KernelTable, opset_version: int) -> str:
    """Why a provider would leave a node to another; "" where it has a kernel for it."""
    since = since_version(node, opset_version)
    kernels = table.kernels.get((node.domain, node.op_type), [])
    if since is None:
        return "" if kernels else f"{node.domain or 'ai.onnx'}:{node.op_type} has no kernel"
    fitting = [kernel for kernel in kernels if kernel.fits(since)]
    if not kernels or not fitting:
        schema = onnx.defs.get_schema(node.op_type, opset_version, node.domain)
        if table.functions and schema.has_function:  # type: ignore[attr-defined]  # its stub leaves it out
            return ""
        if not kernels:
            return f"{node.op_type} has no kernel"
        have = ", ".join(f"{k.first}+" if k.last == _OPEN else f"{k.first}-{k.last}" for k in _distinct(kernels))
        return f"{node.op_type} of opset {since} has no kernel; there are those of {have}"
    return "" if any(_takes(kernel, node, since) for kernel in fitting) else _type_reason(node)


def _distinct(kernels: list[Kernel]) -> list[Kernel]:
    return list({(k.first, k.last): k for k in kernels}.values())


def _takes(kernel: Kernel, node: ir.Node, since: int) -> bool:
    """Whether a kernel takes the element types of a node's inputs and outputs."""
    schema = onnx.defs.get_schema(node.op_type, since, node.domain)
    for values, formals in ((node.inputs, schema.inputs), (node.outputs, schema.outputs)):
        for place, value in enumerate(values):
            formal = formals[min(place, len(formals) - 1)]
            allowed = kernel.types.get(formal.type_str) or kernel.types.get(formal.name)
            if value is None or value.dtype is None or allowed is None or isinstance(value.type, ir.SequenceType):
                continue
            if _TYPE_NAMES.get(value.dtype, value.dtype.name.lower()) not in allowed:
                return False
    return True


def _type_reason(node: ir.Node) -> str:
    types = sorted({v.dtype.name.lower() for v in node.inputs if v is not None and v.dtype is not None})
    cast = "; onnxruntime computes it in float32, between Casts" if "float16" in types else ""
    return f"{node.op_type} has no kernel for {', '.join(types)}{cast}"


_TYPE_NAMES = {ir.DataType.FLOAT: "float", ir.DataType.DOUBLE: "double"}
