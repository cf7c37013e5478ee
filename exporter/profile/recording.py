"""A profile of an export: what is recorded beyond its phases, and the files that show it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from exporter.errors import InputError
from exporter.profile.charts import Chart
from exporter.profile.flame_graph import page
from exporter.profile.memory import Peaks
from exporter.profile.sampling import sampled
from exporter.profile.spans import Frame, Spans
from exporter.profile.timeline import Timeline
from exporter.profile.traces import chrome_trace, speedscope
from exporter.serialization import write_whole

__all__ = ["Profile", "Recording", "as_profile", "render"]

_FORMATS = {".html": page, ".speedscope.json": speedscope, ".json": chrome_trace}


class Profile:
    """What to record of an export, and where to write it.

    Attributes:
        paths: the files; `.html` is a flame graph, `.speedscope.json` is for speedscope, any other `.json`
            for Perfetto and Chrome.
        sampling: whether Python's stack is sampled every millisecond, by pyinstrument.
        memory: whether the peak of resident memory is measured for each phase.

    Raises:
        InputError: a file has another suffix, or its folder does not exist.
    """

    def __init__(self, *paths: str | Path, sampling: bool = False, memory: bool = False) -> None:
        self.paths = [Path(path) for path in paths]
        self.sampling, self.memory = sampling, memory
        for path in self.paths:
            _format_of(path)
            if not path.parent.is_dir():
                raise InputError(f"profile: the folder of {path} must exist", hint=f"make {path.parent} first")


class Recording:
    """The profile of one export, and of every time that its model is saved.

    Attributes:
        profile: what was asked for.
        timeline: the phases, and every call.
        title: what was exported.
        functions: the sampled stacks, one frame for each time that it ran.
    """

    def __init__(self, profile: Profile, title: str) -> None:
        self.profile, self.title = profile, title
        self.spans = Spans()
        self.timeline = Timeline(spans=self.spans, peaks=Peaks() if profile.memory else None)
        self.functions: list[Frame] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Record a block; afterwards the files are written, or written anew."""
        with ExitStack() as stack:
            if self.profile.sampling:
                stack.enter_context(sampled(self.functions, self.spans.began))
            yield
        self.write()

    def charts(self) -> list[Chart]:
        """The timeline as a chart, and the sampled functions as another."""
        charts = [
            Chart(self.title, self.spans.tree(self.title), list(self.timeline.phases.values()), self.timeline.rules)
        ]
        if self.functions:
            end = max(frame.start + frame.seconds for frame in self.functions)
            root = Frame(f"{self.title}: Python functions", "profile", 0.0, end, self.functions)
            charts.append(Chart(root.name, root, note="Sampled every millisecond by pyinstrument."))
        return charts

    def write(self) -> None:
        """Write the files, each whole or not at all.

        Raises:
            SaveError: a file cannot be written.
        """
        charts = self.charts()
        for path in self.profile.paths:
            write_whole(path, render(path, self.title, charts).encode())


def as_profile(profile: str | Path | Profile) -> Profile:
    """The profile that a user asks for by a path."""
    return profile if isinstance(profile, Profile) else Profile(profile)


def render(path: Path, title: str, charts: list[Chart]) -> str:
    """The text of a profile's file, in the format that its suffix tells."""
    return _FORMATS[_format_of(path)](title, charts)


def _format_of(path: Path) -> str:
    suffix = next((suffix for suffix in _FORMATS if path.name.endswith(suffix)), None)
    if suffix is None:
        raise InputError(
            f"profile: {path} must end in {', '.join(_FORMATS)}",
            hint=".html is a flame graph, .speedscope.json is for speedscope, .json for Perfetto and Chrome",
        )
    return suffix
