"""Every single call of an export with its begin and end, recorded where a profile is asked for.

Frames are named by phase, then by the path of the module, then by op.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

__all__ = ["Frame", "Spans", "module_frames"]


@dataclass(slots=True)
class Frame:
    """One call, and the calls inside it.

    Attributes:
        name: what was called.
        kind: phase, module, op (an ATen overload), node (an ONNX node), inference, pass or function.
        start: seconds since the profile began.
        seconds: how long it took.
        children: the calls inside, in order.
    """

    name: str
    kind: str
    start: float
    seconds: float = 0.0
    children: list[Frame] = field(default_factory=list)

    def walk(self) -> Iterator[Frame]:
        """Itself and all inside, in order."""
        yield self
        for child in self.children:
            yield from child.walk()


class Spans:
    """Calls as they begin and end.

    Recording costs two entries of a list a call; `tree` makes frames of them.
    """

    def __init__(self) -> None:
        self.began = perf_counter()
        self._events: list[tuple[float, str, str] | float] = []
        self._modules: list[str] = []
        self._ops_open = 0

    def open(self, name: str, kind: str) -> None:
        """Begin a call inside the one that is open."""
        self._events.append((perf_counter(), name, kind))

    def close(self) -> None:
        """End the innermost call."""
        self._events.append(perf_counter())

    @contextmanager
    def span(self, name: str, kind: str) -> Iterator[None]:
        """Record a block as one call."""
        self.open(name, kind)
        try:
            yield
        finally:
            self.close()

    def spanned(self, function: Callable[..., Any], name: Callable[..., str], kind: str) -> Callable[..., Any]:
        """The function, each call of it recorded under the name that its arguments give."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self.open(name(*args, **kwargs), kind)
            try:
                return function(*args, **kwargs)
            finally:
                self.close()

        return call

    def modules(self, names: Mapping[int, str], around: Callable[..., Any]) -> Callable[..., Any]:
        """What `module_calls` takes, each module's call recorded under its path.

        Args:
            names: id of a module -> its path.
            around: is called with the module's call, the module and its arguments.
        """

        def spanned(call: Callable[..., Any], module: Any, *args: Any, **kwargs: Any) -> Any:
            name = names.get(id(module))
            if not name:
                return around(call, module, *args, **kwargs)
            with self.span(name, "module"):
                return around(call, module, *args, **kwargs)

        return spanned

    # Modules as frames, where calls come one by one, each with the path of its module.

    @contextmanager
    def op(self, path: str, name: str) -> Iterator[None]:
        """Record a block as one call inside the frames of its module; a call inside another stays inside it."""
        if not self._ops_open:
            self.at(path)
        self._ops_open += 1
        try:
            with self.span(name, "op"):
                yield
        finally:
            self._ops_open -= 1

    def past(self, path: str, name: str, started: float) -> None:
        """Record a call that ends now, inside the frames of its module."""
        self.at(path, started)
        self._events.append((started, name, "node"))
        self.close()

    def at(self, path: str, moment: float | None = None) -> None:
        """Go to the frames of a module: leave those that are not around it, and enter those that are."""
        wanted = module_frames(path)
        shared = 0
        for a, b in zip(self._modules, wanted, strict=False):
            if a != b:
                break
            shared += 1
        moment = moment or perf_counter()
        self._events += [moment] * len(self._modules[shared:])
        self._events += [(moment, name, "module") for name in wanted[shared:]]
        self._modules = wanted

    def leave_modules(self) -> None:
        """Close the frames that `at` opened, where no call is under way inside them."""
        if not self._ops_open:
            self.at("")

    def tree(self, name: str) -> Frame:
        """One frame with all that was recorded inside; what is still open ends now."""
        root = Frame(name, "profile", 0.0)
        stack = [root]
        for event in self._events:
            if isinstance(event, tuple):
                moment, called, kind = event
                frame = Frame(called, kind, moment - self.began)
                stack[-1].children.append(frame)
                stack.append(frame)
            else:
                closed = stack.pop()
                closed.seconds = event - self.began - closed.start
        for frame in stack[1:]:
            frame.seconds = perf_counter() - self.began - frame.start
        root.seconds = _closed_up(root.children)
        return root


def _closed_up(frames: list[Frame]) -> float:
    """Leave out the time between frames, in which something else ran; returns where the last one ends."""
    end = 0.0
    for frame in frames:
        gap = frame.start - end
        for inside in frame.walk():
            inside.start -= gap
        end = frame.start + frame.seconds
    return end


def module_frames(path: str) -> list[str]:
    """The modules around a module, outermost first, and itself; a number stays with the list that it counts in.

    `encoder.block.0.mlp` -> `encoder`, `encoder.block.0`, `encoder.block.0.mlp`.
    """
    parts = path.split(".") if path else []
    return [".".join(parts[: i + 1]) for i in range(len(parts)) if i + 1 == len(parts) or not parts[i + 1].isdecimal()]
