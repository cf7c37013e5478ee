"""Text files, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from exporter.errors import SaveError


def write_text(path: Path, text: str) -> Path:
    """Write a file under a temporary name and move it into place; makes its folder.

    Raises:
        SaveError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fx2onnx-") as folder:
            temporary = Path(folder, path.name)
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, path)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise SaveError(f"{path}: cannot be written: {reason}") from error
    return path
