"""The manifest: `exportable.toml`, or `[tool.fx2onnx]` in pyproject.toml, becomes a list of `ModelSpec`."""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.check.specs import ModelSpec, Tolerances
from exporter.errors import ManifestError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MANIFEST, PYPROJECT = "exportable.toml", "pyproject.toml"
ZOOS = Path(__file__).parent / "zoos"

_KINDS: dict[str, tuple[type, ...]] = {
    "factory": (str,), "arguments": (dict,), "inputs": (list, dict), "dynamic_shapes": (dict, list, str),
    "opset": (int,), "capture": (str,), "strict": (bool,), "allow_fixed": (bool,), "providers": (list, tuple),
    "tolerances": (dict,), "tags": (list,), "timeout_seconds": (int, float), "memory_mb": (int, float),
    "setup": (str,), "path": (list,),
}  # fmt: skip
_TABLES = ("models", "defaults")


@dataclass(frozen=True)
class Manifest:
    """The models of a file, in its order."""

    path: Path
    models: tuple[ModelSpec, ...]

    @property
    def baseline_path(self) -> Path:
        """Where the baseline is kept: beside the manifest; for a zoo, in the current folder."""
        if self.path.parent == ZOOS:
            return Path(f"exportable.{self.path.stem}.lock.json")
        return self.path.with_name("exportable.lock.json")

    def chosen(self, names: Collection[str] = (), tags: Collection[str] = (), shard: str = "") -> list[ModelSpec]:
        """The models whose name fits one of the patterns and that have one of the tags; of these one shard.

        Raises:
            ManifestError: a pattern fits no model, or the shard is none.
        """
        for pattern in names:
            if not any(fnmatch.fnmatchcase(model.name, pattern) for model in self.models):
                raise ManifestError(f"{self.path}: has no model {pattern!r}", hint=f"it has {_listed(self.models)}")
        found = [
            model
            for model in self.models
            if (not names or any(fnmatch.fnmatchcase(model.name, pattern) for pattern in names))
            and (not tags or set(tags) & set(model.tags))
        ]
        index, count = _shard(shard)
        return found[index::count]


def find_manifest(folder: Path) -> Path:
    """The manifest of a folder.

    Raises:
        ManifestError: there is none.
    """
    path = folder / MANIFEST
    if path.is_file():
        return path
    project = folder / PYPROJECT
    if project.is_file() and "fx2onnx" in _parsed(project).get("tool", {}):
        return project
    raise ManifestError(
        f"{path}: there is no manifest here, nor [tool.fx2onnx] in {PYPROJECT}",
        hint="write one with `fx2onnx check --init package.module:function`",
    )


def read_manifest(path: Path, *, setup: str = "") -> Manifest:
    """Read a manifest.

    Args:
        path: a TOML file; of pyproject.toml its [tool.fx2onnx].
        setup: `package.module:function`, called first in each process, where the manifest names none.

    Raises:
        ManifestError: it cannot be read, or something in it is not as it must be.
    """
    tree = _parsed(path)
    if path.name == PYPROJECT:
        tree = tree.get("tool", {}).get("fx2onnx", {})
    _check_keys(tree, _TABLES, str(path))
    models, defaults = (_table(tree, name, str(path)) for name in _TABLES)
    _check_entry(defaults, f"{path}: [defaults]")
    if not models:
        raise ManifestError(f"{path}: must have a model", hint=f"add [models.NAME] and {'factory'!r} below it")
    folder = Path.cwd() if path.parent == ZOOS else path.resolve().parent
    defaults = {**({"setup": setup} if setup else {}), **defaults}
    where = f"{path}: [models.%s]"
    specs = (_model(where % name, folder, name, _table(models, name, str(path)), defaults) for name in models)
    return Manifest(path, tuple(specs))


def settings_of(name: str, settings: Mapping[str, Any], where: str = "settings") -> ModelSpec:
    """The spec of a model with these settings, as a manifest has them.

    Raises:
        ManifestError: there is no such setting, or it is of another kind.
    """
    _check_entry(settings, where)
    values = {"factory": "", **settings, "tolerances": Tolerances(**settings.get("tolerances", {}))}
    values["dynamic_shapes"] = _with_axes(values.get("dynamic_shapes"))
    for key in ("providers", "tags", "path"):
        if key in values:
            values[key] = tuple(values[key])
    return ModelSpec(name=name, folder=os.getcwd(), **values)


def _model(where: str, folder: Path, name: str, entry: Mapping[str, Any], defaults: Mapping[str, Any]) -> ModelSpec:
    _check_entry(entry, where)
    tolerances = {**defaults.get("tolerances", {}), **entry.get("tolerances", {})}
    values = {**defaults, **entry, "tolerances": tolerances}
    if ":" not in values.get("factory", ""):
        raise ManifestError(f'{where}: must have factory = "package.module:function"')
    values["path"] = [*(str(folder / added) for added in values.get("path", ())), str(folder)]
    return settings_of(name, values, where)


def _check_entry(entry: Mapping[str, Any], where: str) -> None:
    _check_keys(entry, _KINDS, where)
    for key, value in entry.items():
        if not isinstance(value, _KINDS[key]) or (isinstance(value, bool) and bool not in _KINDS[key]):
            kinds = " or ".join(kind.__name__ for kind in _KINDS[key])
            raise ManifestError(f"{where}: {key} must be a {kinds}, got {value!r}")
    tolerances = entry.get("tolerances", {})
    _check_keys(tolerances, [found.name for found in dataclasses.fields(Tolerances)], f"{where}: tolerances")
    for key, value in tolerances.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise ManifestError(f"{where}: tolerances: {key} must be a share of at least 0, got {value!r}")


def _check_keys(entry: Mapping[str, Any], known: Collection[str], where: str) -> None:
    for key in entry:
        if key not in known:
            raise ManifestError(f"{where}: there is no setting {key!r}", hint=f"the settings are {', '.join(known)}")


def _table(tree: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    table = tree.get(name, {})
    if not isinstance(table, dict):
        raise ManifestError(f"{where}: {name} must be a table, got {table!r}")
    return table


def _with_axes(dims: Any) -> Any:
    """Dynamic dims with the axes as numbers again, which are words in TOML."""
    if isinstance(dims, dict):
        return {int(key) if key.lstrip("-").isdigit() else key: _with_axes(value) for key, value in dims.items()}
    if isinstance(dims, list):
        return [_with_axes(value) for value in dims]
    return dims or None


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ManifestError(f"{path}: must be TOML: {error}") from error


def _shard(shard: str) -> tuple[int, int]:
    index, _, count = (shard or "1/1").partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise ManifestError(f"--shard: must be I/N with 1 <= I <= N, got {shard!r}", hint="for instance 2/5")
    return int(index) - 1, int(count)


def _listed(models: Sequence[ModelSpec]) -> str:
    names = [model.name for model in models]
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
