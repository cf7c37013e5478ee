"""The highest resident memory of this process during each of several nested phases."""

from __future__ import annotations

import re
from pathlib import Path

from exporter.errors import InputError

__all__ = ["Peaks"]

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Peaks:
    """Follows phases as they open and close.

    Linux keeps a process's peak and sets it back on request, so nothing is sampled and no peak is missed.

    Raises:
        InputError: the system keeps no such peak.
    """

    def __init__(self) -> None:
        self._open: list[int] = []
        try:
            _set_back()
        except OSError as error:
            raise InputError(
                "memory: the peak by phase must be kept by the system, as Linux does in /proc/self",
                hint="profile without memory=True here",
            ) from error

    def enter(self) -> None:
        """Begin a phase."""
        if self._open:
            self._open[-1] = max(self._open[-1], _peak_bytes())
        self._open.append(0)
        _set_back()

    def leave(self) -> int:
        """End the innermost phase; returns its peak in bytes."""
        peak = max(self._open.pop(), _peak_bytes())
        if self._open:
            self._open[-1] = max(self._open[-1], peak)
        _set_back()
        return peak


def _peak_bytes() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
    if found is None:
        raise OSError(f"{_STATUS} has no VmHWM")
    return int(found[1]) * 1024


def _set_back() -> None:
    _RESET.write_text("5")
