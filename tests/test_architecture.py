"""The house's own rules: imports point one way, files and functions stay small, names are public on purpose."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("exporter", "aten_lowering", "shape_inference")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MAX_FILE_LINES, MAX_FUNCTION_LINES = 500, 60

# What a package may not import: everything above it.
FORBIDDEN = {
    "shape_inference": {"exporter", "aten_lowering", "torch"},
    "aten_lowering": {"exporter"},
    "exporter": set(),
}


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", FILES, ids=_id)
def test_imports_point_down(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    roots = {name.split(".")[0] for name in _imports(path)}
    assert not roots & FORBIDDEN[package]


@pytest.mark.parametrize("path", FILES, ids=_id)
def test_no_other_exporter_is_used(path: Path) -> None:
    assert not [name for name in _imports(path) if name.startswith(("torch.onnx", "onnxscript.function_libs"))]
    assert "torch.onnx." not in path.read_text().replace("torch.onnx.export", "")


@pytest.mark.parametrize("path", FILES, ids=_id)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_FILE_LINES
    functions = (n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef))
    assert not [f.name for f in functions if _lines(f) > MAX_FUNCTION_LINES]


def _lines(function: ast.FunctionDef) -> int:
    """The lines of a function, its docstring's aside: what a public one promises needs room."""
    docstring = ast.get_docstring(function, clean=False) or ""
    return (function.end_lineno or 0) - function.lineno + 1 - len(docstring.splitlines())


def test_profiling_is_no_package_and_hides_no_module() -> None:
    folder = ROOT / "profiling"
    assert not (folder / "__init__.py").exists()
    assert not {path.stem for path in folder.glob("*.py")} & set(sys.stdlib_module_names)


def test_every_package_is_installed() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    folders = {path.parent.relative_to(ROOT) for path in FILES if path.name == "__init__.py"}
    assert not [folder for folder in folders if f'"{".".join(folder.parts)}",' not in project]


def test_public_interface() -> None:
    import exporter
    import shape_inference

    for package in (exporter, shape_inference):
        assert all(hasattr(package, name) for name in package.__all__)


def test_private_torch_names_stand_in_one_module() -> None:
    """`torch._something` appears in `capture/torch_internals.py` alone."""
    offenders = []
    for path in FILES:
        if path.name == "torch_internals.py" or path.parts[-3:-1] == ("exporter", "tests"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                root = node.value
                if isinstance(root, ast.Name) and root.id == "torch":
                    offenders.append(f"{_id(path)}:{node.lineno} torch.{node.attr}")
    assert not offenders
