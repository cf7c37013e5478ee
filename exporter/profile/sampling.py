"""Python's stack, sampled while a block runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from exporter.errors import InputError
from exporter.profile.spans import Frame

__all__ = ["sampled"]

_INTERVAL_SECONDS = 0.001


@contextmanager
def sampled(frames: list[Frame], began: float) -> Iterator[None]:
    """Sample Python's stack in a block; one frame that holds the functions is added to `frames`.

    Args:
        frames: Where the frame goes.
        began: The moment, by `perf_counter`, that counts as 0.

    Raises:
        InputError: pyinstrument is not installed.
    """
    try:
        import pyinstrument
    except ImportError as error:
        raise InputError(
            "sampling: the package pyinstrument must be installed", hint="pip install 'fx2onnx[profile]'"
        ) from error
    profiler = pyinstrument.Profiler(interval=_INTERVAL_SECONDS, async_mode="disabled")
    start = perf_counter() - began
    with profiler:
        yield
    session = profiler.last_session
    root = None if session is None else session.root_frame(trim_stem=True)
    if root is not None:
        frames.append(_frame(root, start))


def _frame(found: Any, start: float) -> Frame:
    """A frame of pyinstrument as ours; it keeps durations and the order, from which its start follows."""
    place = f"{found.file_path_short}:{found.line_no}" if found.line_no else ""
    owner = f"{found.class_name}." if found.class_name else ""
    frame = Frame(f"{owner}{found.function}  {place}".rstrip(), "function", start, found.time)
    moment = start
    for child in found.children:
        if not child.is_synthetic:
            frame.children.append(_frame(child, moment))
        moment += child.time
    return frame
